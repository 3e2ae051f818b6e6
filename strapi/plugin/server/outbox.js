'use strict';

const { canonicalURL } = require('./settings');
const { Delivery } = require('./delivery');

/** What stands between Strapi's webhook runner and its fetch. */
class Outbox {
  #settings;
  #send;

  /**
   * @param {object} settings as readSettings gives them
   * @param {typeof fetch} send the runner's own
   */
  constructor(settings, send) {
    this.#settings = settings;
    this.#send = send;
  }

  /** Sends a webhook in the place of the runner's fetch. */
  async fetch(url, init) {
    if (!this.#signs(url)) return this.#send(url, init);
    return new Delivery(url, init).try(this.#send, this.#settings.keys, init.signal);
  }

  #signs(url) {
    const { urls } = this.#settings;
    return urls === undefined || urls.has(canonicalURL(url));
  }
}

module.exports = { Outbox };
