'use strict';

// npm run env: gives .env the secrets that it lacks. Run it again at any time; what is there stays.
const { randomBytes } = require('node:crypto');
const environment = require('./environment');

const secret = () => randomBytes(32).toString('hex');

const defaults = {
  DATABASE_URL: 'postgres://strapi@127.0.0.1:5432/strapi',
  APP_KEYS: `${secret()},${secret()}`,
  API_TOKEN_SALT: secret(),
  ADMIN_JWT_SECRET: secret(),
  TRANSFER_TOKEN_SALT: secret(),
  ENCRYPTION_KEY: secret(),
  ADMIN_EMAIL: 'admin@example.com',
  // Strapi wants a capital letter and a digit.
  ADMIN_PASSWORD: `A1${secret()}`.slice(0, 40),
  // The other half of this one is Dealbox's setting of the same name.
  STRAPI_WEBHOOK_SECRET: `whsec_${randomBytes(32).toString('base64')}`,
};

environment.add({ ...defaults, ...environment.read() });
