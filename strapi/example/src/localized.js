'use strict';

const on = process.env.LOCALIZED === 'true';

// LOCALIZED=true gives a type locales. All attributes have a value of their own in each, but for the
// shared ones: Strapi copies those to every other locale of the document, without a webhook.
module.exports = (schema, shared) => {
  if (!on) return schema;
  const attributes = Object.entries(schema.attributes).map(([name, attribute]) => [
    name,
    shared.includes(name) ? attribute : { ...attribute, pluginOptions: { i18n: { localized: true } } },
  ]);
  return { ...schema, pluginOptions: { i18n: { localized: true } }, attributes: Object.fromEntries(attributes) };
};
