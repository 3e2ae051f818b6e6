'use strict';

// JavaScript and not schema.json, so that one example shows all: with drafts and without, with locales and without.
module.exports = require('../../../../localized')({
  kind: 'collectionType',
  collectionName: 'pipeline_deals',
  info: { singularName: 'pipeline-deal', pluralName: 'pipeline-deals', displayName: 'Pipeline deal' },
  options: { draftAndPublish: require('../../../../drafts') },
  attributes: {
    deal_id: { type: 'string' },
    name: { type: 'string' },
    deal_value: { type: 'decimal' },
    currency: { type: 'string' },
    // Strapi reserves the name status; Dealbox is told by STRAPI_DEAL_FIELDS=status=deal_status.
    deal_status: { type: 'string' },
    stage: { type: 'string' },
    probability: { type: 'decimal' },
    confidence_override: { type: 'decimal' },
    expected_close_date: { type: 'date' },
    recognition_start_month: { type: 'date' },
    recognition_end_month: { type: 'date' },
    owner: { type: 'string' },
    billings: { type: 'relation', relation: 'oneToMany', target: 'api::billing.billing', mappedBy: 'deal' },
    construction_billings: {
      type: 'relation',
      relation: 'oneToMany',
      target: 'api::construction-billing.construction-billing',
      mappedBy: 'deal',
    },
  },
}, ['deal_id', 'currency', 'owner']);
