'use strict';

const { test } = require('node:test');
const assert = require('node:assert/strict');
const { RedirectError } = require('../server/delivery');
const { describe, isTransient, nextDelay, retryAfter } = require('../server/retry');

const NOW = Date.parse('2026-11-24T08:00:00Z');
const SETTINGS = { retries: 6, retrySeconds: 120 };
const unavailable = (headers = {}) => ({ response: new Response(null, { status: 503, headers }) });

for (const [tries, age, headers, random, want] of [
  [1, 0, {}, 0, 500],
  [1, 0, {}, 1, 1000],
  [3, 10, {}, 1, 4000],
  [6, 60, {}, 1, 30_000], // 32 s would be the next power of two
  [7, 60, {}, 0, undefined], // the first try and six retries
  [1, 119, {}, 1, 1000],
  [1, 119.6, {}, 0, undefined],
  [1, 0, { 'retry-after': '5' }, 0, 5000],
  [1, 0, { 'retry-after': '5' }, 1, 6000],
  [4, 0, { 'retry-after': '1' }, 1, 8000], // the backoff is longer
  [1, 0, { 'retry-after': '121' }, 0, undefined],
  [1, 0, { 'retry-after': '9'.repeat(400) }, 0, undefined],
]) {
  test(`nextDelay/after try ${tries} at ${age} s, ${JSON.stringify(headers).slice(0, 40)}, random ${random}`, () => {
    const delivery = { tries, startedAt: NOW - age * 1000 };
    assert.equal(nextDelay(delivery, unavailable(headers), SETTINGS, { now: NOW, random: () => random }), want);
  });
}

for (const [value, date, want] of [
  ['7', undefined, 7000],
  [' 7 ', undefined, 7000],
  ['0', undefined, 0],
  ['-7', undefined, 0],
  ['1.5', undefined, 0],
  ['2027', undefined, 2_027_000],
  ['soon', undefined, 0],
  ['Tue, 24 Nov 2026 08:00:09 GMT', undefined, 9000],
  ['Tue, 24 Nov 2026 07:59:59 GMT', undefined, 0],
  ['Tue, 24 Nov 2026 07:00:09 GMT', 'Tue, 24 Nov 2026 07:00:00 GMT', 9000], // its clock is an hour behind
]) {
  test(`retryAfter/${value} at ${date ?? 'our clock'}`, () => {
    const headers = new Headers({ 'retry-after': value, ...(date && { date }) });
    assert.equal(retryAfter(headers, NOW), want);
  });
}

test('retryAfter/absent', () => {
  assert.equal(retryAfter(new Headers(), NOW), 0);
  assert.equal(retryAfter(undefined, NOW), 0);
});

test('isTransient/these answers and no other', () => {
  const statuses = Array.from({ length: 400 }, (_, i) => 200 + i);
  assert.deepEqual(statuses.filter((status) => isTransient({ response: { status } })), [429, 502, 503, 504]);
});

test('isTransient/any error but a redirect', () => {
  assert.equal(isTransient({ error: new TypeError('fetch failed') }), true);
  assert.equal(isTransient({ error: new RedirectError(302) }), false);
});

test('describe/names the kind of a failure and nothing of the URL', () => {
  const refused = new TypeError('fetch failed', { cause: Object.assign(new Error(), { code: 'ECONNREFUSED' }) });
  assert.equal(describe({ error: refused }), 'ECONNREFUSED');
  assert.equal(describe({ error: new DOMException('late', 'TimeoutError') }), 'TimeoutError');
  assert.equal(describe({ error: new TypeError('Failed to parse URL from https://canary') }), 'TypeError');
  assert.equal(describe({ error: new RedirectError(302) }), 'a redirect');
  assert.equal(describe(unavailable()), 'HTTP 503');
});
