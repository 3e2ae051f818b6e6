'use strict';

const { test } = require('node:test');
const assert = require('node:assert/strict');
const { startReceiver } = require('./receiver');
const { startOutbox, SECRET } = require('./strapi');
const { assertSigned } = require('./verify');

const SOON = { firstDelay: 1, longestDelay: 1 };
const NEVER = { firstDelay: 3_600_000, longestDelay: 3_600_000 };
const LONG = { retries: 20, retrySeconds: 36_000 };

const answer = (res, status, headers) => res.writeHead(status, headers).end('the answer');
const ids = (requests) => new Set(requests.map(({ headers }) => headers['webhook-id']));

for (const status of [429, 502, 503, 504]) {
  test(`retry/after ${status}: same id, same bytes, signed anew`, async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
    const receiver = await startReceiver(t, (count, res) => {
      t.mock.timers.setTime(Date.now() + 10_000);
      answer(res, count === 1 ? status : 202);
    });
    const { runner } = startOutbox(t, LONG, SOON);
    const result = await runner.run({ url: receiver.url }, 'entry.update', { entry: { name: 'Zürich' } });
    assert.deepEqual(result, { statusCode: status, message: 'the answer' });
    const [first, second] = await receiver.received(2);
    assert.equal(second.headers['webhook-id'], first.headers['webhook-id']);
    assert.deepEqual(second.body, first.body);
    assertSigned(first, SECRET);
    assertSigned(second, SECRET);
    const elapsed = second.headers['webhook-timestamp'] - first.headers['webhook-timestamp'];
    assert.equal(elapsed, 10);
    assert.equal(second.headers['x-strapi-event'], 'entry.update');
    assert.equal(second.headers['content-type'], 'application/json');
  });
}

for (const status of [400, 401, 404, 408, 410, 413, 500]) {
  test(`retry/not after ${status}, and the log says so`, async (t) => {
    const receiver = await startReceiver(t, (_, res) => answer(res, status));
    const { runner, lines } = startOutbox(t, LONG, SOON);
    const result = await runner.run({ url: receiver.url }, 'entry.update');
    assert.equal(result.statusCode, status);
    assert.equal(lines.length, 1);
    assert.match(lines[0], new RegExp(`^error: .*1 given up at an answer .*HTTP ${status}`));
  });
}

test('retry/not after a redirect', async (t) => {
  const receiver = await startReceiver(t, (_, res) => answer(res, 302, { location: '/' }));
  const { runner, lines } = startOutbox(t, LONG, SOON);
  await runner.run({ url: receiver.url }, 'entry.update');
  assert.match(lines[0], /^error: .*1 given up at an answer .*a redirect/);
});

test('retry/after a connection that is cut', async (t) => {
  const receiver = await startReceiver(t, (count, res) => (count === 1 ? res.destroy() : answer(res, 202)));
  const { runner } = startOutbox(t, LONG, SOON);
  const result = await runner.run({ url: receiver.url }, 'entry.update');
  assert.equal(result.statusCode, 500);
  assert.equal(ids(await receiver.received(2)).size, 1);
});

test('retry/after a connection that is refused', async (t) => {
  const { runner, lines } = startOutbox(t, LONG, NEVER);
  await runner.run({ url: 'http://127.0.0.1:2/canary?token=canary' }, 'entry.update'); // nothing listens there
  assert.deepEqual(lines, ['warn: dealbox-webhooks: 127.0.0.1:2: deliveries: 1 failed and will be tried again (last failure: ECONNREFUSED)']);
});

test('retry/after no answer in time, of the first try and of a later one', async (t) => {
  const receiver = await startReceiver(t, (count, res) => count > 2 && answer(res, 202));
  const { outbox } = startOutbox(t, LONG, { ...SOON, tryTimeout: 100 });
  const init = { method: 'post', body: '{}', headers: {}, signal: AbortSignal.timeout(100) };
  await assert.rejects(outbox.fetch(receiver.url, init), { name: 'TimeoutError' });
  assert.equal(ids(await receiver.received(3)).size, 1);
});

test('retry/a pressed trigger shows the answer and is not tried again', async (t) => {
  const receiver = await startReceiver(t, (_, res) => answer(res, 503));
  const { runner, lines } = startOutbox(t, LONG, SOON);
  const result = await runner.run({ url: receiver.url }, 'trigger-test');
  assert.deepEqual(result, { statusCode: 503, message: 'the answer' });
  assert.deepEqual(lines, []); // no word of another try
});

test('retry/Retry-After beyond the time for retries ends it', async (t) => {
  const receiver = await startReceiver(t, (_, res) => answer(res, 503, { 'retry-after': '3600' }));
  const { runner, lines } = startOutbox(t, { retries: 6, retrySeconds: 120 }, SOON);
  await runner.run({ url: receiver.url }, 'entry.update');
  assert.match(lines[0], /^error: .*1 given up, with no try left in time/);
});

test('retry/as many times as set, then the log says what is lost', async (t) => {
  const receiver = await startReceiver(t, (_, res) => answer(res, 503));
  const { outbox, runner, lines } = startOutbox(t, { ...LONG, retries: 2, graceSeconds: 30 }, SOON);
  await runner.run({ url: receiver.url }, 'entry.update');
  await receiver.received(3);
  await outbox.close();
  assert.equal(receiver.requests.length, 3);
  assert.equal(ids(receiver.requests).size, 1);
  assert.match(lines.at(-1), /^error: .*: 1 given up/);
});

test('retry/none when set to 0', async (t) => {
  const receiver = await startReceiver(t, (_, res) => answer(res, 503));
  const { runner, lines } = startOutbox(t, { ...LONG, retries: 0 }, SOON);
  await runner.run({ url: receiver.url }, 'entry.update');
  assert.match(lines[0], /^error: .*1 given up, with no try left in time/);
});

test('retry/what waits holds no place of Strapi\'s queue', async (t) => {
  const down = await startReceiver(t, (_, res) => answer(res, 503));
  const up = await startReceiver(t);
  const { runner } = startOutbox(t, LONG, NEVER);
  for (let i = 0; i < 20; i += 1) runner.enqueue({ url: down.url }, 'entry.update');
  runner.enqueue({ url: up.url }, 'entry.update');
  await up.received(1);
  await down.received(20); // the last five go out together with the one above
  assert.equal(down.requests.length, 20);
});

test('retry/a receiver that hangs holds back no retry to another', async (t) => {
  const hanging = await startReceiver(t, (_, res, again) => !again && answer(res, 503));
  const other = await startReceiver(t, (count, res) => answer(res, count === 1 ? 503 : 202));
  const { runner } = startOutbox(t, LONG, { ...SOON, tryTimeout: 3_600_000 });
  for (let i = 0; i < 10; i += 1) runner.enqueue({ url: hanging.url }, 'entry.update');
  await hanging.received(15); // five retries are under way, and end with the test
  await runner.run({ url: other.url }, 'entry.update');
  await other.received(2);
});

test('retry/not more than five to one URL at once', async (t) => {
  let most = 0;
  let open = [];
  const receiver = await startReceiver(t, (_, res, again) => {
    if (!again) return answer(res, 503);
    open.push(res);
    most = Math.max(most, open.length);
    return open.length === 5 && setTimeout(answerAll, 100); // time for a sixth
  });
  const answerAll = () => {
    for (const res of open) answer(res, 202);
    open = [];
  };
  const { outbox, runner } = startOutbox(t, { ...LONG, graceSeconds: 60 }, NEVER);
  for (let i = 0; i < 20; i += 1) await runner.run({ url: receiver.url }, 'entry.update');
  await outbox.close(); // all are due at once
  assert.equal(ids(receiver.requests).size, 20);
  assert.equal(receiver.requests.length, 40);
  assert.equal(most, 5);
});
