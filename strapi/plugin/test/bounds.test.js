'use strict';

const { test } = require('node:test');
const assert = require('node:assert/strict');
const { startReceiver } = require('./receiver');
const { startOutbox } = require('./strapi');
const { Report } = require('../server/report');
const { RetryQueue, MAX_BYTES } = require('../server/retry-queue');

const NEVER = { firstDelay: 3_600_000, longestDelay: 3_600_000 };
const LONG = { retries: 20, retrySeconds: 36_000 };
const unavailable = { response: new Response(null, { status: 503 }) };

function collect() {
  const lines = [];
  const line = (level) => (text) => lines.push(`${level}: ${text}`);
  return { lines, log: { info: line('info'), warn: line('warn'), error: line('error') } };
}

function counting() {
  const counts = {};
  return { counts, count: (kind) => { counts[kind] = (counts[kind] ?? 0) + 1; } };
}

test('bounds/deliveries that wait, by count', async (t) => {
  const receiver = await startReceiver(t, (_, res) => res.writeHead(503).end());
  const { outbox, runner, lines } = startOutbox(t, { ...LONG, maxWaiting: 2 }, NEVER);
  for (let i = 0; i < 5; i += 1) await runner.run({ url: receiver.url }, 'entry.update');
  assert.match(lines[0], /^warn: .*: 1 failed and will be tried again/);
  await outbox.close();
  assert.match(lines[1], /^error: .*: 1 failed and will be tried again, 3 given up, because too many wait already, 2 given up, because Strapi stops \(last failure: HTTP 503\)$/);
});

test('bounds/deliveries that wait, by bytes', () => {
  const report = counting();
  const queue = new RetryQueue({ settings: { ...LONG, maxWaiting: 10 }, attempt: assert.fail, report, timing: NEVER });
  const delivery = (length) => ({ tries: 1, startedAt: Date.now(), body: { length } });
  queue.afterFirstTry(delivery(MAX_BYTES - 1), unavailable);
  queue.afterFirstTry(delivery(1), unavailable);
  queue.afterFirstTry(delivery(1), unavailable);
  assert.deepEqual(report.counts, { kept: 2, full: 1 });
  queue.drop();
  queue.afterFirstTry(delivery(MAX_BYTES), unavailable);
  assert.deepEqual(report.counts, { kept: 3, full: 1, stopped: 2 });
  assert.equal(queue.size, 1);
});

test('bounds/what waited too long for its turn is given up', () => {
  const report = counting();
  const queue = new RetryQueue({ settings: { retries: 6, retrySeconds: 120, maxWaiting: 10 }, attempt: assert.fail, report });
  const delivery = { tries: 1, startedAt: Date.now() - 60_000, body: { length: 1 } };
  queue.afterFirstTry(delivery, unavailable);
  delivery.startedAt -= 61_000;
  queue.flush();
  assert.deepEqual(report.counts, { kept: 1, exhausted: 1 });
  assert.equal(queue.size, 0);
});

test('bounds/what was dropped is counted once, though a try was under way', async () => {
  const report = counting();
  let end;
  const attempt = () => new Promise((resolve) => { end = resolve; });
  const queue = new RetryQueue({ settings: { ...LONG, maxWaiting: 10 }, attempt, report });
  queue.afterFirstTry({ tries: 1, startedAt: Date.now(), body: { length: 1 } }, unavailable);
  queue.flush();
  queue.drop();
  end(unavailable);
  await new Promise(setImmediate);
  assert.deepEqual(report.counts, { kept: 1, stopped: 1 });
});

test('report/one line at once, then all that was counted in one', () => {
  const { lines, log } = collect();
  const report = new Report({ log, url: 'https://user:canary@dealbox.example/canary?token=canary', interval: 3_600_000 });
  for (let i = 0; i < 1000; i += 1) report.count('kept', unavailable);
  assert.equal(lines.length, 1);
  for (let i = 0; i < 990; i += 1) report.count('arrived');
  for (let i = 0; i < 10; i += 1) report.count('exhausted', unavailable);
  report.flush();
  report.flush();
  assert.deepEqual(lines, [
    'warn: dealbox-webhooks: dealbox.example: deliveries: 1 failed and will be tried again (last failure: HTTP 503)',
    'error: dealbox-webhooks: dealbox.example: deliveries: 999 failed and will be tried again, 990 arrived on a later try, '
      + '10 given up, with no try left in time (last failure: HTTP 503)',
  ]);
});

test('report/the next line comes by itself', async () => {
  const { promise, resolve } = Promise.withResolvers?.() ?? withResolvers();
  const { log } = collect();
  const report = new Report({ log: { ...log, info: resolve }, url: 'https://dealbox.example', interval: 1 });
  report.count('kept', unavailable);
  report.count('arrived');
  const alive = setInterval(() => {}, 1000); // the report keeps no process alive
  assert.match(await promise, /1 arrived on a later try/);
  clearInterval(alive);
});

function withResolvers() {
  let resolve;
  const promise = new Promise((r) => { resolve = r; });
  return { promise, resolve };
}
