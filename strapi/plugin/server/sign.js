'use strict';

const { createHmac } = require('node:crypto');

/**
 * The headers of Standard Webhooks (github.com/standard-webhooks) for one try.
 * Every key signs, so that a receiver who knows any of them accepts it.
 *
 * @param {Buffer[]} keys
 * @param {string} id of the delivery, the same for all its tries; without a dot
 * @param {number} seconds unix time of this try
 * @param {Uint8Array | string} body exactly as it is sent
 */
function sign(keys, id, seconds, body) {
  const start = `${id}.${seconds}.`;
  const signatures = keys.map((key) => `v1,${createHmac('sha256', key).update(start).update(body).digest('base64')}`);
  return {
    'webhook-id': id,
    'webhook-timestamp': String(seconds),
    'webhook-signature': signatures.join(' '),
  };
}

module.exports = { sign };
