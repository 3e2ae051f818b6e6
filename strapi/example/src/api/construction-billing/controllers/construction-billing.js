'use strict';

module.exports = require('@strapi/strapi').factories.createCoreController('api::construction-billing.construction-billing');
