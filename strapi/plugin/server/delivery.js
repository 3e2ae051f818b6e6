'use strict';

const { randomUUID } = require('node:crypto');
const { sign } = require('./sign');

/** The plugin follows no redirect: it would carry a signed body to an address that nobody registered. */
class RedirectError extends Error {
  constructor(status) {
    super(`the receiver answered with a redirect (HTTP ${status}), which is not followed: give the webhook its final URL`);
    this.name = 'RedirectError';
  }
}

/**
 * One webhook on its way to one URL. Its id stays the same for all its tries, so
 * that the receiver can distinguish a second arrival from a second change.
 */
class Delivery {
  #init;
  #headers;

  /** The arguments are those that Strapi's webhook runner gives to fetch. */
  constructor(url, init) {
    if (typeof init?.body !== 'string') throw new TypeError('the body of a webhook must be text to be signed');
    this.url = url;
    this.id = `msg_${randomUUID()}`;
    this.startedAt = Date.now();
    this.tries = 0;
    // Encoded once, so that the signed bytes are the bytes that are sent.
    this.body = Buffer.from(init.body, 'utf8');
    this.#headers = new Headers(init.headers);
    const { signal, ...rest } = init;
    this.#init = rest;
  }

  /** A test that somebody pressed a button for: the answer is shown, and there is no second try. */
  get isTest() {
    return this.#headers.get('x-strapi-event') === 'trigger-test';
  }

  /** Signs and sends it once; throws when no answer comes, and at a redirect. */
  async try(send, keys, signal) {
    this.tries += 1;
    const response = await send(this.url, {
      ...this.#init,
      body: this.body,
      headers: this.#signed(keys),
      // Not 'error': its text is 'fetch failed', which does not name the cause.
      redirect: 'manual',
      signal,
    });
    if (response.type === 'opaqueredirect' || [301, 302, 303, 307, 308].includes(response.status)) {
      discard(response);
      throw new RedirectError(response.status);
    }
    return response;
  }

  // A plain object, because other code around fetch may spread it. A header of
  // the webhook's own that has one of these names is replaced.
  #signed(keys) {
    const headers = new Headers(this.#headers);
    const seconds = Math.floor(Date.now() / 1000);
    for (const [name, value] of Object.entries(sign(keys, this.id, seconds, this.body))) headers.set(name, value);
    return Object.fromEntries(headers);
  }
}

/** Cancels the body of an answer that nobody reads. */
function discard(response) {
  response.body?.cancel().catch(() => {});
}

module.exports = { Delivery, RedirectError, discard };
