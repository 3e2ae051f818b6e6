'use strict';

module.exports = ({ env }) => ({
  // SIGN_WEBHOOKS=false is a stock Strapi. The plugin reads STRAPI_WEBHOOK_SECRET.
  'dealbox-webhooks': { enabled: env.bool('SIGN_WEBHOOKS', true) },
});
