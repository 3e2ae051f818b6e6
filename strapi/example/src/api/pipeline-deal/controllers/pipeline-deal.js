'use strict';

module.exports = require('@strapi/strapi').factories.createCoreController('api::pipeline-deal.pipeline-deal');
