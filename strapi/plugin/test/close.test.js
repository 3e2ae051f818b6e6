'use strict';

const { test } = require('node:test');
const assert = require('node:assert/strict');
const plugin = require('../server');
const { startReceiver } = require('./receiver');
const { startOutbox, startStrapi } = require('./strapi');

const NEVER = { firstDelay: 3_600_000, longestDelay: 3_600_000, tryTimeout: 3_600_000 };
const LONG = { retries: 20, retrySeconds: 36_000 };

test('close/tries what waits a last time', async (t) => {
  const receiver = await startReceiver(t, (count, res) => res.writeHead(count <= 8 ? 503 : 202).end());
  const { outbox, runner, lines } = startOutbox(t, { ...LONG, graceSeconds: 30 }, NEVER);
  for (let i = 0; i < 8; i += 1) await runner.run({ url: receiver.url }, 'entry.update');
  await outbox.close();
  assert.equal(receiver.requests.length, 16);
  assert.match(lines.at(-1), /^warn: .*: 7 failed and will be tried again, 8 arrived on a later try/);
});

test('close/waits for Strapi\'s own queue', async (t) => {
  const receiver = await startReceiver(t, (count, res) => setTimeout(() => res.writeHead(count % 2 ? 202 : 500).end('no'), 20));
  const { outbox, runner } = startOutbox(t, { ...LONG, graceSeconds: 60 }, NEVER);
  for (let i = 0; i < 31; i += 1) runner.enqueue({ url: receiver.url }, 'entry.update');
  await outbox.close();
  assert.equal(runner.results.length, 31);
});

test('close/waits for the next webhook of the same event', async (t) => {
  const failing = await startReceiver(t, (_, res) => {
    res.writeHead(500).flushHeaders();
    setTimeout(() => res.end('why'), 40); // Strapi reads it before it goes on
  });
  const next = await startReceiver(t);
  const { outbox, runner } = startOutbox(t, { ...LONG, graceSeconds: 60 }, NEVER);
  runner.run({ url: failing.url }, 'entry.update').then(() => runner.run({ url: next.url }, 'entry.update'));
  await outbox.close();
  assert.equal(next.requests.length, 1);
});

test('close/ends after its grace, and counts what is lost', async (t) => {
  const receiver = await startReceiver(t, (count, res) => count === 1 && res.writeHead(503).end());
  const { outbox, runner, lines } = startOutbox(t, { ...LONG, graceSeconds: 0.05 }, NEVER);
  await runner.run({ url: receiver.url }, 'entry.update');
  await outbox.close(); // its last try is never answered
  assert.match(lines.at(-1), /^error: .*: 1 given up, because Strapi stops/);
});

test('close/counts what is lost of Strapi\'s own queue', async (t) => {
  const receiver = await startReceiver(t, () => {}); // never answers
  const { strapi, runner } = await startStrapi(t);
  for (let i = 0; i < 12; i += 1) runner.enqueue({ url: receiver.url }, 'entry.update');
  await plugin.destroy({ strapi });
  assert.equal(strapi.lines.at(-1), 'error: dealbox-webhooks: Strapi stops with 5 webhooks under way and 7 in its own queue: they may be lost');
});

test('close/a delivery that fails meanwhile does not wait', async (t) => {
  const receiver = await startReceiver(t, (_, res) => res.writeHead(503).end());
  const { outbox, runner, lines } = startOutbox(t, { ...LONG, graceSeconds: 30 }, NEVER);
  runner.enqueue({ url: receiver.url }, 'entry.update');
  await outbox.close();
  assert.equal(receiver.requests.length, 1);
  assert.equal(lines.length, 1); // no word of another try
  assert.match(lines[0], /^error: .*: 1 given up, because Strapi stops/);
});

test('close/by the plugin\'s destroy', async (t) => {
  const receiver = await startReceiver(t, (count, res) => res.writeHead(count === 1 ? 503 : 202).end());
  const { strapi, runner } = await startStrapi(t, { graceSeconds: 30 });
  await runner.run({ url: receiver.url }, 'entry.update');
  await plugin.destroy({ strapi });
  assert.equal(receiver.requests.length, 2);
});

test('close/of a Strapi that did not get so far', async () => {
  await plugin.destroy({ strapi: {} });
});
