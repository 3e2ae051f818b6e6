'use strict';

const { TIMING, isTransient, isLate, nextDelay } = require('./retry');
const { discard } = require('./delivery');

// As many as Strapi itself sends at once.
const CONCURRENCY = 5;

// Bytes of bodies that may wait for one URL; Dealbox takes up to 16 MiB in one.
const MAX_BYTES = 32 * 1024 * 1024;

/**
 * The deliveries to one URL that wait for another try, in memory and bounded.
 * Each URL has its own, so that one receiver that is down holds back no other.
 */
class RetryQueue {
  #settings;
  #timing;
  #attempt;
  #report;
  #kept = new Set();
  #timers = new Map();
  #due = [];
  #running = 0;
  #bytes = 0;
  #stopping = false;

  /**
   * @param {object} settings as readSettings returns them
   * @param {(delivery, signal: AbortSignal) => Promise<object>} attempt returns the outcome of one try
   * @param {import('./report').Report} report
   */
  constructor({ settings, attempt, report, timing = TIMING }) {
    this.#settings = settings;
    this.#attempt = attempt;
    this.#report = report;
    this.#timing = timing;
  }

  /** How many deliveries are kept, those under way included. */
  get size() {
    return this.#kept.size;
  }

  /** Keeps a delivery for another try where the outcome of its first one asks for it. */
  afterFirstTry(delivery, outcome) {
    if (outcome.response?.ok) return;
    const delay = this.#delay(delivery, outcome);
    if (delay === undefined) return;
    if (!this.#hasRoom(delivery)) {
      this.#report.count('full', outcome);
      return;
    }
    this.#kept.add(delivery);
    this.#bytes += delivery.body.length;
    this.#report.count('kept', outcome);
    this.#wait(delivery, delay);
  }

  /** Tries all that wait at once, each a last time. */
  flush() {
    this.#stopping = true;
    for (const [delivery, timer] of this.#timers) {
      clearTimeout(timer);
      this.#due.push(delivery);
    }
    this.#timers.clear();
    this.#work();
  }

  /** Drops all that is still kept, and counts it. */
  drop() {
    for (const delivery of this.#kept) this.#end(delivery, 'stopped');
    this.#due = [];
  }

  // undefined when there is no other try; the reason is counted.
  #delay(delivery, outcome) {
    if (!isTransient(outcome)) return void this.#report.count('rejected', outcome);
    if (this.#stopping) return void this.#report.count('stopped', outcome);
    const delay = nextDelay(delivery, outcome, this.#settings, { now: Date.now(), timing: this.#timing });
    if (delay === undefined) this.#report.count('exhausted', outcome);
    return delay;
  }

  #hasRoom(delivery) {
    return this.#kept.size < this.#settings.maxWaiting && this.#bytes + delivery.body.length <= MAX_BYTES;
  }

  #wait(delivery, delay) {
    const timer = setTimeout(() => {
      this.#timers.delete(delivery);
      this.#due.push(delivery);
      this.#work();
    }, delay);
    // What waits must not keep a process alive that has nothing else to do.
    timer.unref();
    this.#timers.set(delivery, timer);
  }

  #work() {
    while (this.#running < CONCURRENCY && this.#due.length > 0) {
      const delivery = this.#due.shift();
      if (isLate(delivery, this.#settings, Date.now())) this.#end(delivery, 'exhausted');
      else void this.#retry(delivery);
    }
  }

  async #retry(delivery) {
    this.#running += 1;
    const outcome = await this.#attempt(delivery, AbortSignal.timeout(this.#timing.tryTimeout));
    if (outcome.response) discard(outcome.response);
    this.#running -= 1;
    if (this.#kept.has(delivery)) this.#afterRetry(delivery, outcome);
    this.#work();
  }

  #afterRetry(delivery, outcome) {
    if (outcome.response?.ok) return this.#end(delivery, 'arrived');
    const delay = this.#delay(delivery, outcome);
    if (delay === undefined) return this.#forget(delivery);
    return this.#wait(delivery, delay);
  }

  #end(delivery, kind) {
    this.#report.count(kind);
    this.#forget(delivery);
  }

  #forget(delivery) {
    this.#kept.delete(delivery);
    this.#bytes -= delivery.body.length;
  }
}

module.exports = { RetryQueue, MAX_BYTES };
