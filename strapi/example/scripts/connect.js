'use strict';

// npm run connect: what a person clicks together in Strapi's settings, for a Strapi that runs.
// Makes the first administrator, two API tokens (read-only for Dealbox, full access for the seed),
// which it adds to .env, and the webhook to DEALBOX_URL (default http://127.0.0.1:8000).
// With STRAPI_WEBHOOK_TOKEN set the webhook carries it as a static header. LOCALES (such as fr,de)
// are locales to make beside the default one. Run it again at any time.
const admin = require('./admin');
const environment = require('./environment');

const webhookName = 'Dealbox';
const events = [
  'entry.create', 'entry.update', 'entry.delete', 'entry.publish', 'entry.unpublish',
  'media.create', 'media.update', 'media.delete',
];

async function apiToken(jwt, setting, name, type) {
  if (environment.get(setting)) return;
  const { data } = await admin.call('POST', '/admin/api-tokens', jwt, { name, description: '', type, lifespan: null });
  environment.add({ [setting]: data.accessKey });
}

async function webhook(jwt) {
  const token = environment.get('STRAPI_WEBHOOK_TOKEN');
  const wanted = {
    name: webhookName,
    url: `${environment.get('DEALBOX_URL') || 'http://127.0.0.1:8000'}/api/v1/webhooks/strapi`,
    headers: token ? { Authorization: `Bearer ${token}` } : {},
    events,
  };
  const { data: all } = await admin.call('GET', '/admin/webhooks', jwt);
  const ours = all.find((candidate) => candidate.name === webhookName);
  if (ours) await admin.call('PUT', `/admin/webhooks/${ours.id}`, jwt, { ...wanted, isEnabled: true });
  else await admin.call('POST', '/admin/webhooks', jwt, wanted);
  return wanted.url;
}

async function locales(jwt) {
  const wanted = (environment.get('LOCALES') || '').split(',').filter(Boolean);
  if (wanted.length === 0) return;
  const there = (await admin.call('GET', '/i18n/locales', jwt)).map((locale) => locale.code);
  for (const code of wanted.filter((candidate) => !there.includes(candidate))) {
    await admin.call('POST', '/i18n/locales', jwt, { code, name: code, isDefault: false });
  }
}

async function main() {
  const jwt = await admin.login();
  await apiToken(jwt, 'STRAPI_API_TOKEN', 'Dealbox', 'read-only');
  await apiToken(jwt, 'STRAPI_SEED_TOKEN', 'Seed', 'full-access');
  await locales(jwt);
  console.log(`Webhooks go to ${await webhook(jwt)}. The API tokens are in .env.`);
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
