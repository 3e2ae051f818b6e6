'use strict';

const { test } = require('node:test');
const assert = require('node:assert/strict');
const { sign } = require('../server/sign');
const { parseSecret } = require('../server/secret');

// Published by the Standard Webhooks project and by Svix.
const VECTORS = [
  {
    secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', id: 'msg_p5jXN8AQM9LWM0D4loKWxJek', seconds: 1614265330,
    body: '{"test": 2432232314}', signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  },
  {
    secret: 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD', id: 'msg_27UH4WbU6Z5A5EzD8u03UvzRbpk', seconds: 1649367553,
    body: '{"email":"test@example.com","username":"test_user"}', signature: 'v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=',
  },
];

for (const { secret, id, seconds, body, signature } of VECTORS) {
  test(`sign/published vector ${id}`, () => {
    assert.deepEqual(sign([parseSecret(secret)], id, seconds, Buffer.from(body)), {
      'webhook-id': id, 'webhook-timestamp': String(seconds), 'webhook-signature': signature,
    });
  });
}

test('sign/every key signs, with one space between', () => {
  const [a, b] = VECTORS;
  const keys = [parseSecret(b.secret), parseSecret(a.secret)];
  const { 'webhook-signature': both } = sign(keys, a.id, a.seconds, a.body);
  const [first, second, ...rest] = both.split(' ');
  assert.equal(second, a.signature);
  assert.equal(first, sign([keys[0]], a.id, a.seconds, a.body)['webhook-signature']);
  assert.deepEqual(rest, []);
});

test('parseSecret/raw text is its own bytes', () => {
  assert.deepEqual(parseSecret('Schlüssel'), Buffer.from('Schlüssel', 'utf8'));
});

for (const [name, text] of Object.entries({
  'empty': '',
  'prefix alone': 'whsec_',
  'no base64': 'whsec_not base64!',
  'base64url': 'whsec_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_-_',
  'padding missing': 'whsec_AAA',
  'stray bits': 'whsec_AB==',
})) {
  test(`parseSecret/refuses ${name}`, () => {
    assert.throws(() => parseSecret(text), (error) => text.length < 8 || !error.message.includes(text.slice(6)));
  });
}
