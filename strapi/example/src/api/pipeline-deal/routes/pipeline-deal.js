'use strict';

module.exports = require('@strapi/strapi').factories.createCoreRouter('api::pipeline-deal.pipeline-deal');
