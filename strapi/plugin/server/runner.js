'use strict';

// Port 1 of this machine: fetch refuses that port without opening a connection,
// should a future Strapi send the probe after all.
const PROBE_URL = 'http://127.0.0.1:1/';
const PROBE_MS = 5000;

/**
 * Makes sure that Strapi's webhook runner sends each webhook as
 * `this.fetch(url, { body, headers })`, by letting it send one to nowhere. The
 * runner is no public interface of Strapi, so this is checked at every start.
 *
 * Failure policy: closed. A Strapi whose webhooks would leave unsigned does not start.
 *
 * @throws {Error} that names what is missing.
 */
async function checkRunner(runner) {
  if (typeof runner?.run !== 'function') throw unusable('there is no webhookRunner with a method run');
  if (typeof runner.fetch !== 'function') throw unusable('webhookRunner.fetch is not a function');
  const { url, init } = await probe(runner);
  if (url !== PROBE_URL) throw unusable('webhookRunner.run does not send by this.fetch');
  if (typeof init?.body !== 'string') throw unusable('webhookRunner.run does not send its body as text');
  if (new Headers(init.headers).get('x-strapi-event') !== 'trigger-test') {
    throw unusable('webhookRunner.run does not name the event in X-Strapi-Event');
  }
}

// No webhook is loaded yet when plugins register, so nothing else is sent meanwhile.
async function probe(runner) {
  const send = runner.fetch;
  let sent = {};
  try {
    runner.fetch = async (url, init) => {
      sent = { url, init };
      return new Response(null, { status: 204 });
    };
    await within(PROBE_MS, runner.run({ url: PROBE_URL, headers: {} }, 'trigger-test', {}));
  } catch (error) {
    throw unusable(`webhookRunner.run failed (${error.message})`);
  }
  runner.fetch = send;
  return sent;
}

async function within(ms, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer')), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function unusable(what) {
  return new Error(`dealbox-webhooks cannot sign the webhooks of this version of Strapi: ${what}. `
    + 'Strapi does not start, because its webhooks would leave unsigned. Use a version that the plugin knows (5.0 to 5.54), or take the plugin out.');
}

module.exports = { checkRunner };
