'use strict';

const PREFIX = 'whsec_';

// The least length of a key, in bytes: Standard Webhooks asks for 24 to 64.
const MIN_KEY_BYTES = 24;

/**
 * The key of a webhook secret: the decoded bytes after whsec_, else the text's
 * own bytes. Dealbox reads its STRAPI_WEBHOOK_SECRET by the same rule.
 *
 * @param {string} text
 * @returns {Buffer}
 * @throws {Error} for bad base64 and an empty key; never with the secret in it.
 */
function parseSecret(text) {
  if (!text.startsWith(PREFIX)) {
    if (text === '') throw new Error('is empty');
    return Buffer.from(text, 'utf8');
  }
  const encoded = text.slice(PREFIX.length);
  const key = Buffer.from(encoded, 'base64');
  // The decoder skips what it cannot read; only its own writing is base64.
  if (key.length === 0 || key.toString('base64') !== encoded) {
    throw new Error('starts with whsec_ but is not base64 after it');
  }
  return key;
}

module.exports = { parseSecret, MIN_KEY_BYTES };
