'use strict';

const { describe } = require('./retry');

// One line a minute for each URL, however many deliveries fail.
const INTERVAL_MS = 60_000;

const WORDS = {
  kept: 'failed and will be tried again',
  arrived: 'arrived on a later try',
  exhausted: 'given up, with no try left in time',
  full: 'given up, because too many wait already',
  stopped: 'given up, because Strapi stops',
  rejected: 'given up at an answer that another try would not change',
};

const LOST = ['exhausted', 'full', 'stopped', 'rejected'];

/** Logs what became of the deliveries to one URL: the first at once, then one line a minute. */
class Report {
  #log;
  #host;
  #interval;
  #counts = new Map();
  #last;
  #timer;

  constructor({ log, url, interval = INTERVAL_MS }) {
    this.#log = log;
    this.#host = hostOf(url);
    this.#interval = interval;
  }

  /** Counts one delivery; the outcome is that of its last try, when it failed. */
  count(kind, outcome) {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
    if (outcome) this.#last = describe(outcome);
    if (this.#timer === undefined) this.flush();
  }

  /** Writes what was counted since the last line, if anything. */
  flush() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#counts.size === 0) return;
    const counts = Object.keys(WORDS).filter((kind) => this.#counts.has(kind));
    this.#log[level(counts)](this.#line(counts));
    this.#counts.clear();
    this.#timer = setTimeout(() => this.flush(), this.#interval);
    this.#timer.unref();
  }

  #line(kinds) {
    const counts = kinds.map((kind) => `${this.#counts.get(kind)} ${WORDS[kind]}`).join(', ');
    return `dealbox-webhooks: ${this.#host}: deliveries: ${counts}${this.#last ? ` (last failure: ${this.#last})` : ''}`;
  }
}

/** The host of a webhook's URL, for the log: the path, the query and the user may be secrets. */
function hostOf(url) {
  return URL.canParse(url) ? new URL(url).host : 'a URL that cannot be read';
}

function level(kinds) {
  if (kinds.some((kind) => LOST.includes(kind))) return 'error';
  return kinds.includes('kept') ? 'warn' : 'info';
}

module.exports = { Report, hostOf };
