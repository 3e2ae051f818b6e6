'use strict';

// A second type of billings, whose amount has another name. It never has locales.
module.exports = {
  kind: 'collectionType',
  collectionName: 'construction_billings',
  info: { singularName: 'construction-billing', pluralName: 'construction-billings', displayName: 'Construction billing' },
  options: { draftAndPublish: require('../../../../drafts') },
  attributes: {
    billing_id: { type: 'string' },
    total: { type: 'decimal' },
    currency: { type: 'string' },
    billing_status: { type: 'string' },
    invoice_date: { type: 'date' },
    collected_date: { type: 'date' },
    recognition_month: { type: 'date' },
    deal: {
      type: 'relation',
      relation: 'manyToOne',
      target: 'api::pipeline-deal.pipeline-deal',
      inversedBy: 'construction_billings',
    },
  },
};
