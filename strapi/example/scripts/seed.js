'use strict';

// npm run seed [-- COUNT]: makes deals (default 20) with a billing each, through the REST API, so each is a webhook.
const admin = require('./admin');
const environment = require('./environment');

const stages = ['prospecting', 'qualification', 'proposal', 'negotiation', 'closed-won'];

// month is the first day of the month that is n months from now.
function month(n) {
  const now = new Date();
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + n, 1)).toISOString().slice(0, 10);
}

async function main() {
  const token = environment.get('STRAPI_SEED_TOKEN');
  if (!token) throw new Error('STRAPI_SEED_TOKEN is missing: run `npm run connect` first');
  const count = Number(process.argv[2] || 20);
  for (let i = 0; i < count; i += 1) {
    const { data: deal } = await admin.call('POST', '/api/pipeline-deals', token, {
      data: {
        deal_id: `EX-${i + 1}`,
        name: `Example deal ${i + 1}`,
        deal_value: 50000 * (1 + (i % 7)),
        currency: 'THB',
        deal_status: 'active',
        stage: stages[i % stages.length],
        recognition_start_month: month(i % 4),
        recognition_end_month: month((i % 4) + 2),
        owner: ['ada', 'bo', 'cy'][i % 3],
      },
    });
    await admin.call('POST', '/api/billings', token, {
      data: {
        billing_id: `EX-B${i + 1}`,
        amount: 10000,
        currency: 'THB',
        billing_status: 'sent',
        invoice_date: month(0),
        recognition_month: month(0),
        deal: deal.documentId,
      },
    });
  }
  console.log(`Made ${count} deals and ${count} billings.`);
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
