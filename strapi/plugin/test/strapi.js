'use strict';

const plugin = require('../server');
const { Outbox } = require('../server/outbox');
const { TIMING } = require('../server/retry');
const { readSettings } = require('../server/settings');

// Strapi's webhook runner as it is in 5.0 to 5.54, without its event hub: the
// same call of fetch, the same queue. The real one is tested end to end.
class WebhookRunner {
  constructor({ fetch, concurrency = 5 }) {
    this.fetch = fetch;
    this.config = { defaultHeaders: {} };
    this.concurrency = concurrency;
    this.running = 0;
    this.queue = { queue: [] };
    this.results = [];
  }

  run(webhook, event, info = {}) {
    return this.fetch(webhook.url, {
      method: 'post',
      body: JSON.stringify({ event, createdAt: new Date(), ...info }),
      headers: { ...this.config.defaultHeaders, ...webhook.headers, 'X-Strapi-Event': event, 'Content-Type': 'application/json' },
      signal: AbortSignal.timeout(10000),
    }).then(async (res) => (res.ok ? { statusCode: res.status } : { statusCode: res.status, message: await res.text() }))
      .catch((err) => ({ statusCode: 500, message: err.message }));
  }

  enqueue(webhook, event, info) {
    this.queue.queue.push({ webhook, event, info });
    if (this.running < this.concurrency) {
      this.running += 1;
      this.#work();
    }
  }

  async #work() {
    const { queue } = this.queue;
    for (let job = queue.shift(); job !== undefined; job = queue.shift()) {
      this.results.push(await this.run(job.webhook, job.event, job.info));
    }
    this.running -= 1;
  }
}

/** As much of Strapi as the plugin asks for. */
class Strapi {
  constructor(config, services) {
    this.config = { get: (key) => (key === 'plugin::dealbox-webhooks' ? config : undefined) };
    this.services = services;
    this.lines = [];
    const line = (level) => (text) => this.lines.push(`${level}: ${text}`);
    this.log = { info: line('info'), warn: line('warn'), error: line('error'), debug: line('debug') };
  }

  get(name) {
    if (!(name in this.services)) throw new Error(`Could not resolve service ${name}`);
    return this.services[name];
  }
}

const SECRET = 'the-first-secret-long-enough';

/** A webhook runner with the plugin's outbox, and what that logs; `settings` and `timing` may be shorter than a user's. */
function startOutbox(t, settings = {}, timing = {}) {
  const strapi = new Strapi({}, {});
  const runner = new WebhookRunner({ fetch: (url, init) => outbox.fetch(url, init) });
  const outbox = new Outbox({
    settings: { ...readSettings({ secret: SECRET, graceSeconds: 0 }), ...settings },
    send: (url, init) => fetch(url, init),
    log: strapi.log,
    backlog: () => runner.queue.queue.length,
    timing: { ...TIMING, ...timing },
  });
  t.after(() => outbox.close());
  return { outbox, runner, lines: strapi.lines };
}

/** A started Strapi with the plugin, and its webhook runner. */
async function startStrapi(t, config = {}, send = fetch) {
  const runner = new WebhookRunner({ fetch: (url, init) => send(url, init) });
  const strapi = new Strapi({ secret: SECRET, graceSeconds: 0, ...config }, { webhookRunner: runner });
  await plugin.register({ strapi });
  t.after(() => plugin.destroy({ strapi }));
  return { strapi, runner };
}

module.exports = { startStrapi, startOutbox, Strapi, WebhookRunner, SECRET };
