'use strict';

const { RedirectError } = require('./delivery');

/** Times in milliseconds. */
const TIMING = {
  // The delay before the first retry; each one after it doubles, up to the longest.
  firstDelay: 1000,
  longestDelay: 30_000,
  // One retry, the same as Strapi gives to the first try.
  tryTimeout: 10_000,
};

// 429 and 503 mean it themselves; with 502 and 504 a proxy reports a receiver that
// is away. After any other answer the same bytes would get the same answer.
const TRANSIENT = [429, 502, 503, 504];

/** Whether another try can help. An outcome is { response } or { error }. */
function isTransient({ response, error }) {
  return error ? !(error instanceof RedirectError) : TRANSIENT.includes(response.status);
}

/** What went wrong, for the log: never a URL, a header or a body. */
function describe({ response, error }) {
  if (response) return `HTTP ${response.status}`;
  if (error instanceof RedirectError) return 'a redirect';
  return error.cause?.code ?? error.name;
}

/**
 * Milliseconds until the next try, or undefined when there is none: all retries
 * are used, or it would come too late. Between half of the backoff and all of
 * it, so that deliveries that failed together do not come back together.
 */
function nextDelay(delivery, outcome, settings, { now, random = Math.random, timing = TIMING }) {
  const { tries } = delivery;
  if (tries > settings.retries) return undefined;
  const backoff = Math.min(timing.firstDelay * 2 ** (tries - 1), timing.longestDelay) * (0.5 + random() / 2);
  const asked = retryAfter(outcome.response?.headers, now);
  const delay = asked > 0 ? Math.max(backoff, asked + random() * timing.firstDelay) : backoff;
  return isLate(delivery, settings, now + delay) ? undefined : delay;
}

/** Whether the time for retries is over at a moment in unix milliseconds. */
function isLate({ startedAt }, { retrySeconds }, at) {
  return at > startedAt + retrySeconds * 1000;
}

/** Milliseconds that an answer's Retry-After asks for (RFC 9110 §10.2.3); 0 when absent, past or not in form. */
function retryAfter(headers, now) {
  const value = headers?.get('retry-after')?.trim() ?? '';
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  if (!/^[A-Z][a-z]{2}/.test(value)) return 0; // Date.parse would take much else.
  // By the receiver's own clock, where the answer has its Date: ours may differ.
  const sentAt = Date.parse(headers.get('date') ?? '');
  const delay = Date.parse(value) - (Number.isNaN(sentAt) ? now : sentAt);
  return delay > 0 ? delay : 0;
}

module.exports = { TIMING, isTransient, describe, nextDelay, isLate, retryAfter };
