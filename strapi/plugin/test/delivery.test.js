'use strict';

const { test } = require('node:test');
const assert = require('node:assert/strict');
const { startReceiver } = require('./receiver');
const { startStrapi, SECRET } = require('./strapi');
const { assertSigned } = require('./verify');

const OTHER = 'the-other-secret-long-enough';

test('delivery/signed over the exact bytes, beyond ASCII too', async (t) => {
  const receiver = await startReceiver(t);
  const { runner } = await startStrapi(t);
  const entry = { name: 'Zürich – 東京 😀 \u2028 "quoted" \ud800' };
  assert.deepEqual(await runner.run({ url: receiver.url }, 'entry.update', { entry }), { statusCode: 202 });
  const [request] = receiver.requests;
  assertSigned(request, SECRET);
  assert.equal(request.method, 'POST');
  assert.equal(request.headers['content-type'], 'application/json');
  assert.equal(request.headers['x-strapi-event'], 'entry.update');
  assert.equal(JSON.parse(request.body).entry.name, entry.name);
});

test('delivery/every secret signs', async (t) => {
  const receiver = await startReceiver(t);
  const { runner } = await startStrapi(t, { secret: [OTHER, SECRET] });
  await runner.run({ url: receiver.url }, 'entry.update');
  assertSigned(receiver.requests[0], SECRET);
  assertSigned(receiver.requests[0], OTHER);
});

test('delivery/each has its own id', async (t) => {
  const receiver = await startReceiver(t);
  const { runner } = await startStrapi(t);
  for (let i = 0; i < 3; i += 1) await runner.run({ url: receiver.url }, 'entry.update');
  assert.equal(new Set(receiver.requests.map(({ headers }) => headers['webhook-id'])).size, 3);
});

test('delivery/headers of the webhook stay, and cannot stand in for a signature', async (t) => {
  const receiver = await startReceiver(t);
  const { runner } = await startStrapi(t);
  const headers = { Authorization: 'Bearer token', 'Webhook-Id': 'mine', 'WEBHOOK-SIGNATURE': 'v1,mine' };
  await runner.run({ url: receiver.url, headers }, 'entry.update');
  assertSigned(receiver.requests[0], SECRET);
  assert.equal(receiver.requests[0].headers.authorization, 'Bearer token');
  assert.doesNotMatch(receiver.requests[0].headers['webhook-signature'], /mine/);
});

for (const status of [301, 302, 303, 307, 308]) {
  test(`delivery/redirect ${status} is an error`, async (t) => {
    const target = await startReceiver(t);
    const receiver = await startReceiver(t, (_, res) => res.writeHead(status, { location: target.url }).end());
    const { runner } = await startStrapi(t);
    const result = await runner.run({ url: receiver.url }, 'entry.update');
    assert.equal(result.statusCode, 500);
    assert.match(result.message, new RegExp(`redirect \\(HTTP ${status}\\)`));
    assert.equal(target.requests.length, 0);
  });
}

test('delivery/only the named URLs are signed, and the log names the others once', async (t) => {
  const signed = await startReceiver(t);
  const plain = await startReceiver(t);
  const { strapi, runner } = await startStrapi(t, { urls: [signed.url] });
  await runner.run({ url: signed.url }, 'entry.update');
  for (let i = 0; i < 2; i += 1) await runner.run({ url: plain.url }, 'entry.update');
  await runner.run({ url: `${signed.url}/other` }, 'entry.update');
  assertSigned(signed.requests[0], SECRET);
  assert.equal(plain.requests[0].headers['webhook-signature'], undefined);
  assert.equal(signed.requests[1].headers['webhook-signature'], undefined);
  const unsigned = (receiver) => `warn: dealbox-webhooks: 127.0.0.1:${receiver.port}: a webhook is sent unsigned, because the setting urls does not name its URL`;
  assert.deepEqual(strapi.lines.slice(1), [unsigned(plain), unsigned(signed)]);
});

test('delivery/an URL that cannot be read fails as it does in Strapi', async (t) => {
  const { runner } = await startStrapi(t);
  const result = await runner.run({ url: 'no url' }, 'entry.update');
  assert.equal(result.statusCode, 500);
});

for (const [name, wrap] of Object.entries({
  'before the plugin': (t, send) => startStrapi(t, {}, send(fetch)),
  'after the plugin': async (t, send) => {
    const { runner } = await startStrapi(t);
    runner.fetch = send(runner.fetch);
    return { runner };
  },
})) {
  test(`delivery/other code may wrap fetch and spread the headers: ${name}`, async (t) => {
    const receiver = await startReceiver(t);
    const { runner } = await wrap(t, (send) => (url, init) => send(url, { ...init, headers: { ...init.headers, 'X-More': 'yes' } }));
    await runner.run({ url: receiver.url }, 'entry.update');
    assertSigned(receiver.requests[0], SECRET);
    assert.equal(receiver.requests[0].headers['content-type'], 'application/json');
    assert.equal(receiver.requests[0].headers['x-more'], 'yes');
  });
}
