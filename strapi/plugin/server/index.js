'use strict';

const { fromEnvironment, readSettings } = require('./settings');
const { checkRunner } = require('./runner');
const { Outbox } = require('./outbox');

const NAME = 'dealbox-webhooks';

async function register({ strapi }) {
  const settings = readSettings(strapi.config.get(`plugin::${NAME}`));
  // v5 throws for a service that is not there.
  const runner = strapi.has('webhookRunner') ? strapi.get('webhookRunner') : undefined;
  await checkRunner(runner);
  const outbox = new Outbox(settings, runner.fetch);
  runner.fetch = (url, init) => outbox.fetch(url, init);
  strapi.log.info(`${NAME}: ${summary(settings)}`);
}

function summary({ keys, urls }) {
  const target = urls === undefined ? 'every URL' : `${urls.size} URL(s)`;
  return `webhooks to ${target} are signed with ${keys.length} secret(s)`;
}

module.exports = {
  config: { default: fromEnvironment, validator: readSettings },
  register,
};
