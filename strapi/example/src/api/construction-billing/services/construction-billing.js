'use strict';

module.exports = require('@strapi/strapi').factories.createCoreService('api::construction-billing.construction-billing');
