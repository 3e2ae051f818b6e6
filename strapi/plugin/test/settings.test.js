'use strict';

const { test } = require('node:test');
const assert = require('node:assert/strict');
const { fromEnvironment, readSettings } = require('../server/settings');

const SECRET = 'a secret of at least 24 bytes';
const OTHER = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';

test('readSettings/a secret is all it needs', () => {
  assert.deepEqual(readSettings({ secret: SECRET }), {
    keys: [Buffer.from(SECRET)], urls: undefined, retries: 6, retrySeconds: 120, maxWaiting: 1000, graceSeconds: 5,
  });
});

test('readSettings/text as in the environment', () => {
  const env = { STRAPI_WEBHOOK_SECRET: ` ${SECRET}, ${OTHER} ,`, STRAPI_WEBHOOK_URLS: 'https://A.example:443/x,http://b.example',
    STRAPI_WEBHOOK_RETRIES: '0', STRAPI_WEBHOOK_RETRY_SECONDS: '9', STRAPI_WEBHOOK_MAX_WAITING: '7', STRAPI_WEBHOOK_GRACE_SECONDS: '' };
  const settings = readSettings(fromEnvironment({ env: (name) => env[name] }));
  assert.equal(settings.keys.length, 2);
  assert.deepEqual([...settings.urls], ['https://a.example/x', 'http://b.example/']);
  assert.deepEqual([settings.retries, settings.retrySeconds, settings.maxWaiting, settings.graceSeconds], [0, 9, 7, 5]);
});

test('readSettings/lists and numbers as in config/plugins.js', () => {
  const settings = readSettings({ secret: [SECRET, OTHER], urls: ['https://a.example/x'], retries: 3 });
  assert.equal(settings.keys.length, 2);
  assert.equal(settings.urls.size, 1);
  assert.equal(settings.retries, 3);
});

test('readSettings/names every mistake at once and shows no value', () => {
  const config = {
    secret: ['short-canary', 'whsec_canary!', 'whsec_Y2FuYXJ5', 'short-canary'],
    urls: ['ftp://canary.example', 'https://a.example', 'canary'],
    retries: 'canary', retrySeconds: 0, maxWaiting: 1.5, graceSeconds: '-1', sekret: 'canary',
  };
  assert.throws(() => readSettings(config), ({ message }) => {
    for (const part of [
      'sekret is not a setting', 'secret (STRAPI_WEBHOOK_SECRET) holds the same value twice',
      'entry 1 is 12 bytes long, less than 24', 'entry 2 starts with whsec_ but is not base64', 'entry 3 is 6 bytes long',
      'urls (STRAPI_WEBHOOK_URLS) entry 1 is not', 'entry 3 is not an http',
      'retries (STRAPI_WEBHOOK_RETRIES) is not a whole number from 0 to 20', 'retrySeconds', 'maxWaiting', 'graceSeconds',
    ]) assert.ok(message.includes(part), `no "${part}" in ${message}`);
    assert.doesNotMatch(message, /canary|Y2FuYXJ5/);
    return true;
  });
});

for (const [name, config, part] of [
  ['no secret', {}, 'is not set'],
  ['an empty secret', { secret: '' }, 'is not set'],
  ['commas alone', { secret: ' , ' }, 'is not set'],
  ['a secret of 23 bytes', { secret: 'x'.repeat(23) }, 'is 23 bytes long'],
  ['a secret that is no text', { secret: 7 }, 'is neither text nor a list'],
  ['more secrets than a verifier reads', { secret: Array.from({ length: 33 }, (_, i) => `${SECRET} ${i}`) }, 'more than 32'],
  ['a list of no URL', { secret: SECRET, urls: [] }, 'names no URL'],
]) {
  test(`readSettings/refuses ${name}`, () => {
    assert.throws(() => readSettings(config), (error) => error.message.includes(part));
  });
}

test('readSettings/measures bytes, not characters', () => {
  assert.equal(readSettings({ secret: 'ü'.repeat(12) }).keys[0].length, 24);
});
