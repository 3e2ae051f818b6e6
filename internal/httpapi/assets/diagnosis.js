import { number, span, until } from "./format.js";

// diagnose says whose side has the problem, Dealbox's or Strapi's. It only reads the
// detailed health.
export function diagnose(h, now) {
  if (h.services.database !== "connected") {
    return say("unhealthy", "Problem on Dealbox's side: Postgres does not answer", "Dealbox cannot store webhooks and answers them with 503. Strapi does not send them again. When Postgres is back, a full reconciliation reads what they were about from Strapi.");
  }
  if (failed(h, "postgres:partitions")) {
    return say("unhealthy", "Problem on Dealbox's side: the inbox has no partition for today", "Dealbox cannot store webhooks until a worker makes the partition. Check that a worker runs, and its log.");
  }
  if (failed(h, "strapi:token")) {
    return say("degraded", "Strapi refuses Dealbox's token", "Dealbox still stores webhooks and loses nothing, but it cannot read from Strapi. Check STRAPI_API_TOKEN.", others(h, "strapi:token"));
  }
  if (failed(h, "strapi:breaker")) {
    const b = h.circuit_breaker;
    const forced = b.state === "open" && !b.retry_at;
    return say("degraded",
      forced ? "An operator holds the circuit breaker open" : "Problem on Strapi's side: its answers fail",
      `Dealbox still stores webhooks and loses nothing. ${forced ? "It reads nothing from Strapi until an operator resets the breaker." : nextProbe(b, now)}`,
      others(h, "strapi:breaker"));
  }
  if (h.status === "degraded") {
    return say("degraded", "Strapi works; Dealbox needs attention", "Dealbox stores webhooks.", others(h));
  }
  return say("healthy", "Everything works, on both sides", "Dealbox stores webhooks and mirrors their documents, and Strapi answers.");
}

const say = (state, title, text, reasons = []) => ({ state, title, text, reasons });

export const failed = (h, name) => (h.checks[name] ?? []).some((c) => c.status !== "pass");

function nextProbe(b, now) {
  return b.state === "half_open" || !b.retry_at ? "Dealbox is trying it right now." : `Dealbox tries again ${until(b.retry_at, now)}.`;
}

const many = (n, one, more) => `${number(n)} ${n === 1 ? one : more}`;

const texts = {
  "ledger:dead": (c) => `${many(c.observedValue, "event is a dead letter", "events are dead letters")}: Dealbox stopped trying to mirror the document`,
  "ledger:oldest_pending": (c) => `the oldest event has been waiting for ${span(c.observedValue)}`,
  "notifications:failing_channels": (c) => `alerts are not delivered through ${c.observedValue}`,
  "clock:skew": (c) => `compared with the database, this machine's clock is ${span(Math.abs(c.observedValue) / 1000)} ${c.observedValue < 0 ? "behind" : "ahead"}`,
  "postgres:partitions": (c) => `the inbox has partitions for only ${many(c.observedValue, "more day", "more days")}`,
  "postgres:reads": () => "some values on this page could not be read",
  "strapi:breaker": () => "the circuit breaker is not closed",
  "strapi:token": () => "Strapi refuses Dealbox's token",
  "reconciliation:last_run": (c) => c.observedValue === "overdue"
    ? "reconciliation is overdue: check that a worker runs" : "reconciliation with Strapi fails",
  "reconciliation:guard": () => "the deletion guard holds deletions back",
};

// others returns the checks that do not pass, in words.
function others(h, except) {
  return Object.entries(h.checks)
    .filter(([name, checks]) => name !== except && checks.some((c) => c.status !== "pass"))
    .map(([name, checks]) => texts[name]?.(checks[0]) ?? name);
}
