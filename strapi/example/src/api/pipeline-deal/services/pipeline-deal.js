'use strict';

module.exports = require('@strapi/strapi').factories.createCoreService('api::pipeline-deal.pipeline-deal');
