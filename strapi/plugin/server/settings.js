'use strict';

const { parseSecret, MIN_KEY_BYTES } = require('./secret');

// A verifier bounds what it reads of a webhook-signature; Dealbox's takes 32.
const MAX_SECRETS = 32;

const NUMBERS = {
  retries: { env: 'STRAPI_WEBHOOK_RETRIES', fallback: 6, low: 0, high: 20 },
  retrySeconds: { env: 'STRAPI_WEBHOOK_RETRY_SECONDS', fallback: 120, low: 1, high: 3600 },
  maxWaiting: { env: 'STRAPI_WEBHOOK_MAX_WAITING', fallback: 1000, low: 1, high: 100_000 },
  graceSeconds: { env: 'STRAPI_WEBHOOK_GRACE_SECONDS', fallback: 5, low: 0, high: 60 },
};

const ENVIRONMENT = {
  secret: 'STRAPI_WEBHOOK_SECRET',
  urls: 'STRAPI_WEBHOOK_URLS',
  ...Object.fromEntries(Object.entries(NUMBERS).map(([name, { env }]) => [name, env])),
};

/** The settings by environment; Strapi lets config/plugins.js win over them. */
function fromEnvironment({ env }) {
  return Object.fromEntries(Object.entries(ENVIRONMENT).map(([name, variable]) => [name, env(variable)]));
}

/**
 * The settings in the form that the plugin works with.
 *
 * @throws {Error} that names every mistake at once, and shows no value.
 */
function readSettings(config) {
  const mistakes = unknownSettings(config);
  const settings = {
    keys: readKeys(config.secret, mistakes),
    urls: readURLs(config.urls, mistakes),
  };
  for (const [name, bounds] of Object.entries(NUMBERS)) {
    settings[name] = readNumber(name, config[name], bounds, mistakes);
  }
  if (mistakes.length > 0) {
    throw new Error(`webhooks would not be signed as you want:\n${mistakes.map((m) => `  - ${m}`).join('\n')}`);
  }
  return settings;
}

function unknownSettings(config) {
  return Object.keys(config)
    .filter((name) => !(name in ENVIRONMENT))
    .map((name) => `${name} is not a setting; known are ${Object.keys(ENVIRONMENT).join(', ')}`);
}

const label = (name) => `${name} (${ENVIRONMENT[name]})`;

// A list is an array, or text with commas as in the environment.
function list(value) {
  const items = typeof value === 'string' ? value.split(',') : value;
  if (!Array.isArray(items) || items.some((item) => typeof item !== 'string')) return undefined;
  return items.map((item) => item.trim()).filter((item) => item !== '');
}

function readKeys(value, mistakes) {
  const wrong = (what) => void mistakes.push(`${label('secret')} ${what}`);
  const secrets = list(value ?? '');
  if (secrets === undefined) return wrong('is neither text nor a list of texts');
  if (secrets.length === 0) return wrong('is not set: give the secret that the receiver verifies webhooks with');
  if (secrets.length > MAX_SECRETS) return wrong(`has ${secrets.length} entries, more than ${MAX_SECRETS}`);
  if (new Set(secrets).size < secrets.length) wrong('holds the same value twice');
  return secrets.map((secret, i) => readKey(secret, (what) => wrong(`entry ${i + 1} ${what}`)));
}

function readKey(secret, wrong) {
  try {
    const key = parseSecret(secret);
    if (key.length < MIN_KEY_BYTES) wrong(`is ${key.length} bytes long, less than ${MIN_KEY_BYTES}`);
    return key;
  } catch (error) {
    return wrong(error.message);
  }
}

// undefined is every URL. What an entry holds is not shown: a path may be a secret.
function readURLs(value, mistakes) {
  if (value === undefined || value === '') return undefined;
  const wrong = (what) => void mistakes.push(`${label('urls')} ${what}`);
  const entries = list(value);
  if (entries === undefined) return wrong('is neither text nor a list of texts');
  if (entries.length === 0) return wrong('names no URL; leave it out to sign every webhook');
  return new Set(entries.map((entry, i) => {
    const url = canonicalURL(entry);
    if (url === undefined) wrong(`entry ${i + 1} is not an http or https URL`);
    return url;
  }));
}

/** One text for each URL, or undefined where there is none to post to. */
function canonicalURL(text) {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url !== undefined && /^https?:$/.test(url.protocol) ? url.href : undefined;
}

function readNumber(name, value, { fallback, low, high }, mistakes) {
  if (value === undefined || value === '') return fallback;
  const isWhole = typeof value === 'number' || (typeof value === 'string' && /^\d+$/.test(value.trim()));
  const number = isWhole ? Number(value) : NaN;
  if (!Number.isInteger(number) || number < low || number > high) {
    mistakes.push(`${label(name)} is not a whole number from ${low} to ${high}`);
  }
  return number;
}

module.exports = { fromEnvironment, readSettings, canonicalURL };
