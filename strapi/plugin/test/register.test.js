'use strict';

const { test } = require('node:test');
const assert = require('node:assert/strict');
const plugin = require('../server');
const { startStrapi, Strapi, WebhookRunner, SECRET } = require('./strapi');

class Renamed extends WebhookRunner {
  run(webhook) { return fetch(webhook.url).catch(() => ({ statusCode: 500 })); }
}
class Streaming extends WebhookRunner {
  run(webhook) { return this.fetch(webhook.url, { body: new Blob(['x']), headers: {} }); }
}
class Unnamed extends WebhookRunner {
  run(webhook) { return this.fetch(webhook.url, { body: '{}', headers: {} }); }
}
class Failing extends WebhookRunner {
  run() { throw new TypeError('this.client is undefined'); }
}

const send = () => assert.fail('the check sent something');

for (const [name, services, part] of [
  ['no runner', {}, 'there is no webhookRunner'],
  ['no method run', { webhookRunner: { fetch: send } }, 'there is no webhookRunner with a method run'],
  ['no property fetch', { webhookRunner: new WebhookRunner({ fetch: undefined }) }, 'webhookRunner.fetch is not a function'],
  ['run that sends another way', { webhookRunner: new Renamed({ fetch: send }) }, 'does not send by this.fetch'],
  ['a body that is no text', { webhookRunner: new Streaming({ fetch: send }) }, 'does not send its body as text'],
  ['an event without a name', { webhookRunner: new Unnamed({ fetch: send }) }, 'does not name the event'],
  ['run that throws', { webhookRunner: new Failing({ fetch: send }) }, 'this.client is undefined'],
  ['fetch that cannot be replaced', { webhookRunner: Object.freeze(new WebhookRunner({ fetch: send })) }, 'read only property'],
]) {
  test(`register/refuses to start unsigned: ${name}`, async () => {
    const strapi = new Strapi({ secret: SECRET }, services);
    await assert.rejects(plugin.register({ strapi }), (error) => {
      assert.match(error.message, /cannot sign the webhooks of this version of Strapi/);
      assert.ok(error.message.includes(part), `no "${part}" in ${error.message}`);
      return true;
    });
  });
}

test('register/logs what is signed, and shows no secret', async (t) => {
  const { strapi } = await startStrapi(t, { urls: ['https://a.example/canary'] });
  assert.deepEqual(strapi.lines, ['info: dealbox-webhooks: webhooks are signed (URLs: 1, secrets: 1, retries: 6)']);
});

test('config/the validator refuses what register would', () => {
  assert.throws(() => plugin.config.validator({ secret: 'short' }));
  plugin.config.validator({ secret: SECRET });
});
