'use strict';

const assert = require('node:assert/strict');
const { createHmac } = require('node:crypto');

/** Fails unless one of the signatures is that of the key over what arrived. */
function assertSigned({ headers, body }, key) {
  const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures } = headers;
  assert.match(id, /^msg_[0-9a-f-]{36}$/);
  assert.match(timestamp, /^[1-9]\d*$/);
  assert.ok(Math.abs(Number(timestamp) - Date.now() / 1000) < 60, `timestamp ${timestamp} is not now`);
  const mac = createHmac('sha256', key).update(Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body])).digest('base64');
  assert.ok(signatures.split(' ').includes(`v1,${mac}`), 'no signature over the bytes that arrived');
}

module.exports = { assertSigned };
