'use strict';

module.exports = require('@strapi/strapi').factories.createCoreRouter('api::construction-billing.construction-billing');
