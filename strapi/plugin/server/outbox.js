'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { canonicalURL } = require('./settings');
const { Delivery } = require('./delivery');
const { Report, hostOf } = require('./report');
const { RetryQueue } = require('./retry-queue');

// Strapi starts the next of an event's webhooks a moment after one ends, so that
// all is sent only when nothing was under way for a while. In milliseconds.
const QUIET = { step: 20, steps: 10 };

/**
 * What stands between Strapi's webhook runner and its fetch. The runner waits
 * for the first try only, as it does without the plugin; the others happen
 * outside its queue.
 */
class Outbox {
  #settings;
  #send;
  #log;
  #backlog;
  #timing;
  #lanes = new Map(); // by URL; there are as many as webhooks were registered
  #unsigned = new Set(); // hosts that the log has named
  #firstTries = 0;
  #closing = false;

  /**
   * @param {object} settings as readSettings returns them
   * @param {typeof fetch} send the runner's own
   * @param {{ info, warn, error }} log
   * @param {() => number} backlog how many webhooks wait in Strapi's own queue
   * @param {object} [timing] as TIMING of retry.js
   */
  constructor({ settings, send, log, backlog, timing }) {
    this.#settings = settings;
    this.#send = send;
    this.#log = log;
    this.#backlog = backlog;
    this.#timing = timing;
  }

  /** Sends a webhook in the place of the runner's fetch, and returns the answer to the first try. */
  async fetch(url, init) {
    if (!this.#signs(url)) return this.#sendUnsigned(url, init);
    const delivery = new Delivery(url, init);
    this.#firstTries += 1;
    const outcome = await this.#attempt(delivery, init.signal);
    this.#firstTries -= 1;
    if (!delivery.isTest) this.#lane(url).queue.afterFirstTry(delivery, outcome);
    if (outcome.error) throw outcome.error;
    return outcome.response;
  }

  /**
   * Gives Strapi's own queue and all that waits for another try their last
   * chance, for at most graceSeconds.
   */
  async close() {
    this.#closing = true;
    for (const { queue } of this.#lanes.values()) queue.flush();
    const end = Date.now() + this.#settings.graceSeconds * 1000;
    for (let quiet = 0; quiet < QUIET.steps && Date.now() < end;) {
      await sleep(QUIET.step);
      quiet = this.#isIdle() ? quiet + 1 : 0;
    }
    for (const { queue, report } of this.#lanes.values()) {
      queue.drop();
      report.flush();
    }
    this.#countUnsent();
  }

  #signs(url) {
    const { urls } = this.#settings;
    return urls === undefined || urls.has(canonicalURL(url));
  }

  // As Strapi does, with one warning a host: a URL may be left out by a slip.
  #sendUnsigned(url, init) {
    const host = hostOf(url);
    if (!this.#unsigned.has(host)) {
      this.#unsigned.add(host);
      this.#log.warn(`dealbox-webhooks: ${host}: a webhook is sent unsigned, because the setting urls does not name its URL`);
    }
    return this.#send(url, init);
  }

  async #attempt(delivery, signal) {
    try {
      return { response: await delivery.try(this.#send, this.#settings.keys, signal) };
    } catch (error) {
      return { error };
    }
  }

  #lane(url) {
    if (!this.#lanes.has(url)) this.#lanes.set(url, this.#newLane(url));
    return this.#lanes.get(url);
  }

  #newLane(url) {
    const report = new Report({ log: this.#log, url });
    const attempt = (delivery, signal) => this.#attempt(delivery, signal);
    const queue = new RetryQueue({ settings: this.#settings, attempt, report, timing: this.#timing });
    if (this.#closing) queue.flush();
    return { queue, report };
  }

  #countUnsent() {
    const [underWay, queued] = [this.#firstTries, this.#backlog()];
    if (underWay + queued === 0) return;
    this.#log.error(`dealbox-webhooks: Strapi stops with ${underWay} webhooks under way and ${queued} in its own queue: they may be lost`);
  }

  #isIdle() {
    return this.#firstTries === 0 && this.#backlog() === 0 && [...this.#lanes.values()].every(({ queue }) => queue.size === 0);
  }
}

module.exports = { Outbox };
