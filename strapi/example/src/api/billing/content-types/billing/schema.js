'use strict';

module.exports = require('../../../../localized')({
  kind: 'collectionType',
  collectionName: 'billings',
  info: { singularName: 'billing', pluralName: 'billings', displayName: 'Billing' },
  options: { draftAndPublish: require('../../../../drafts') },
  attributes: {
    billing_id: { type: 'string' },
    amount: { type: 'decimal' },
    currency: { type: 'string' },
    billing_status: { type: 'string' },
    invoice_date: { type: 'date' },
    collected_date: { type: 'date' },
    recognition_month: { type: 'date' },
    deal: { type: 'relation', relation: 'manyToOne', target: 'api::pipeline-deal.pipeline-deal', inversedBy: 'billings' },
  },
}, ['billing_id', 'currency']);
