import { number, span, until } from "./format.js";

// verdict answers the question that brings people here: is it my side or
// Strapi's? It only reads the detailed health.
export function verdict(h, now) {
  if (h.services.database !== "connected") {
    return say("unhealthy", "It is our side: Postgres does not answer", "Webhooks cannot be stored and are answered 503. Strapi does not send them again; they are made good from Strapi's own data later.");
  }
  if (failed(h, "postgres:partitions")) {
    return say("unhealthy", "It is our side: there is no partition for today", "Webhooks cannot be stored until the partition is made. Look at the log of the workers.");
  }
  if (failed(h, "strapi:token")) {
    return say("degraded", "Strapi refuses our token", "Webhooks are still stored and nothing is lost, but nothing can be read from Strapi. Check STRAPI_API_TOKEN.", others(h, "strapi:token"));
  }
  if (failed(h, "strapi:breaker")) {
    const b = h.circuit_breaker;
    const held = b.state === "open" && !b.retry_at;
    return say("degraded",
      held ? "An operator holds the circuit breaker open" : "It is Strapi's side: it does not answer as it should",
      `Webhooks are still stored and nothing is lost. ${held ? "Nothing is read from Strapi until it is reset." : nextProbe(b, now)}`,
      others(h, "strapi:breaker"));
  }
  if (h.status === "degraded") {
    return say("degraded", "Strapi works; something on our side needs a look", "Webhooks are stored.", others(h));
  }
  return say("healthy", "Everything works, on both sides", "Webhooks are stored and mirrored, and Strapi answers.");
}

const say = (state, title, text, reasons = []) => ({ state, title, text, reasons });

const failed = (h, name) => (h.checks[name] ?? []).some((c) => c.status !== "pass");

function nextProbe(b, now) {
  return b.state === "half_open" || !b.retry_at ? "Dealbox is trying it right now." : `Dealbox tries again ${until(b.retry_at, now)}.`;
}

const many = (n, one, more) => `${number(n)} ${n === 1 ? one : more}`;

const texts = {
  "ledger:dead": (c) => `${many(c.observedValue, "event is a dead letter", "events are dead letters")}: Dealbox gave up on the document`,
  "ledger:oldest_pending": (c) => `the oldest event has been waiting for ${span(c.observedValue)}`,
  "notifications:failing_channels": (c) => `nobody hears of alerts through ${c.observedValue}`,
  "clock:skew": (c) => `this machine's clock is ${span(Math.abs(c.observedValue) / 1000)} off the database's`,
  "postgres:partitions": (c) => `partitions for new events end in ${many(c.observedValue, "day", "days")}`,
  "postgres:reads": () => "some numbers could not be read",
  "strapi:breaker": () => "the circuit breaker is not closed",
  "strapi:token": () => "Strapi refuses our token",
  "reconciliation:last_run": (c) => c.observedValue === "overdue"
    ? "nobody compares the mirror with Strapi: does a worker run?" : "the reconciliation with Strapi fails",
  "reconciliation:guard": () => "deletions are held back",
};

// others are the checks that do not pass, in words.
function others(h, except) {
  return Object.entries(h.checks)
    .filter(([name, checks]) => name !== except && checks.some((c) => c.status !== "pass"))
    .map(([name, checks]) => texts[name]?.(checks[0]) ?? name);
}
