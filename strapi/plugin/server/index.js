'use strict';

const { fromEnvironment, readSettings } = require('./settings');
const { checkRunner } = require('./runner');
const { Outbox } = require('./outbox');

const NAME = 'dealbox-webhooks';

const outboxes = new WeakMap(); // by Strapi

async function register({ strapi }) {
  const settings = readSettings(strapi.config.get(`plugin::${NAME}`));
  const runner = findRunner(strapi);
  await checkRunner(runner);
  const outbox = new Outbox({
    settings,
    send: runner.fetch,
    log: strapi.log,
    // Where it is missing, a shutdown only knows less.
    backlog: () => runner.queue?.queue?.length ?? 0,
  });
  runner.fetch = (url, init) => outbox.fetch(url, init);
  outboxes.set(strapi, outbox);
  strapi.log.info(`${NAME}: ${summary(settings)}`);
}

function findRunner(strapi) {
  try {
    return strapi.get('webhookRunner');
  } catch {
    return undefined; // Strapi throws for a service that is not there.
  }
}

function summary({ keys, urls, retries }) {
  return `webhooks are signed (URLs: ${urls?.size ?? 'all'}, secrets: ${keys.length}, retries: ${retries})`;
}

// Strapi destroys its plugins first, so its own queue still works meanwhile.
async function destroy({ strapi }) {
  await outboxes.get(strapi)?.close();
}

module.exports = {
  config: { default: fromEnvironment, validator: readSettings },
  register,
  destroy,
};
