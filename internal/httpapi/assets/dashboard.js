import { alertLine, drawDetail, named } from "./alert.js";
import { byId, el, pair, setText, table } from "./dom.js";
import { ago, clock, money, month, number, span, until } from "./format.js";
import { chart } from "./chart.js";
import { diagnose, failed } from "./diagnosis.js";

const every = 2000; // milliseconds between two rounds
const timeout = 5000; // milliseconds for one answer
let answeredAt = 0; // when the last good answer came, by this machine's clock
let timer = 0;
let shown = {}; // what is on the page, so that only changes are drawn

// ask gets JSON. An unhealthy Dealbox answers 503 with a full body: that is an answer.
async function ask(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(timeout) });
  const body = await response.json();
  if (!response.ok && body.error) throw new Error(`${body.error.message} (${response.status})`);
  return body;
}

async function round() {
  clearTimeout(timer);
  if (document.hidden) return;
  const id = named();
  const requests = [ask("api/v1/health/detailed"), ask("api/v1/alerts?limit=10"), ask("api/v1/models/forecast/base"), id && ask(`api/v1/alerts/${id}`)];
  const [health, alerts, forecast, detail] = await Promise.allSettled(requests);
  if (health.status === "fulfilled") {
    answeredAt = Date.now();
    showHealth(health.value);
  } else {
    showAway(health.reason);
  }
  if (alerts.status === "fulfilled") once("alerts", alerts.value, showAlerts);
  if (forecast.status === "fulfilled") once("forecast", forecast.value, showForecast);
  if (id === named()) showDetail(id, detail);
  showLive(health.status === "fulfilled");
  clearTimeout(timer);
  timer = setTimeout(round, every);
}

// once draws only what differs from the last time.
function once(name, value, draw) {
  const text = JSON.stringify(value);
  if (shown[name] === text) return;
  shown[name] = text;
  draw(value);
}

function showLive(live) {
  byId("live").dataset.state = live ? "live" : "away";
  setText(byId("live-text"), live ? "live" : answeredAt ? `no answer for ${span((Date.now() - answeredAt) / 1000)}` : "no answer");
}

function showHealth(h) {
  const now = Date.parse(h.timestamp);
  setText(byId("version"), h.version);
  showBanner(diagnose(h));
  showSides(h.services);
  once("ledger", { ...h.ledger, late: failed(h, "ledger:oldest_pending") }, showLedger);
  showBreaker(h.circuit_breaker, now);
  once("queues", h.queues, showQueues);
  setText(byId("forecast-when"), h.forecast.computed_at ? `computed ${ago(h.forecast.computed_at, now)}${h.forecast.stale ? `, behind Strapi for ${waiting(h.forecast.stale_since, now)}` : ""}` : "not computed yet");
  once("checks", h.checks, showChecks);
}

const waiting = (since, now) => span((now - Date.parse(since)) / 1000);

const marks = { healthy: "✓", notice: "i", degraded: "!", unhealthy: "✕", unknown: "?" };

function showBanner({ state, title, text, reasons }) {
  byId("banner").dataset.state = state;
  setText(byId("banner-mark"), marks[state]);
  setText(byId("banner-title"), title);
  setText(byId("banner-text"), text);
  once("reasons", reasons, (all) => byId("banner-reasons").replaceChildren(...all.map((r) => el("li", {}, r))));
}

function showAway(reason) {
  showBanner({
    state: "unhealthy", title: "Dealbox does not answer",
    text: answeredAt ? `The values below are ${span((Date.now() - answeredAt) / 1000)} old.` : "This page tries again every two seconds.",
    reasons: [reason instanceof TypeError || reason?.name === "TimeoutError" ? "it is stopped, or the network between this browser and Dealbox fails" : String(reason?.message ?? reason)],
  });
  byId("sides").replaceChildren();
  delete shown.sides;
}

function showSides(services) {
  once("sides", services, () => {
    const side = (name, state) => {
      const tone = { connected: "good", disconnected: "bad" }[state] ?? "warn";
      return el("li", { "data-tone": tone }, `${name}: ${state ?? "unknown"}`);
    };
    byId("sides").replaceChildren(side("Strapi", services.strapi), side("Database", services.database));
  });
}

function showLedger(l) {
  const sum = (text) => el("div", { class: "sign", "aria-hidden": "true" }, text);
  const parts = [
    pair("received", number(l.received)), sum("="),
    pair("processed", number(l.processed)), sum("+"),
    pair("pending", number(l.pending), { "data-tone": l.late ? "warn" : null }), sum("+"),
    pair("dead", number(l.dead), { "data-tone": l.dead > 0 ? "bad" : null }), sum("+"),
    pair("ignored", number(l.ignored)), sum("+"),
    pair("quarantined", number(l.quarantined), { "data-tone": l.quarantined > 0 ? "warn" : null }),
  ];
  byId("ledger").replaceChildren(...parts);
  byId("ledger-note").textContent = l.received === null ? "The counts are not known: the database does not answer." : balance(l);
}

function balance(l) {
  const total = l.processed + l.pending + l.dead + l.ignored + l.quarantined;
  const adds = total === l.received ? `${number(total)} = ${number(l.received)}: it adds up.` : `The parts make ${number(total)}, not ${number(l.received)}: this is a bug in Dealbox, please report it.`;
  const d = l.documents;
  const waits = d.pending > 0 ? `${number(d.pending)} ${d.pending === 1 ? "document waits" : "documents wait"}, the oldest for ${span(l.oldest_pending_age_seconds)}.` : "No document waits.";
  return `${adds} ${waits}${d.dead > 0 ? ` ${number(d.dead)} ${d.dead === 1 ? "document is a dead letter" : "documents are dead letters"}, with or without an event.` : ""}`;
}

function showBreaker(b, now) {
  const state = byId("breaker-state");
  state.dataset.state = b.state ?? "unknown";
  setText(state, { closed: "Closed", open: "Open", half_open: "Half open" }[b.state] ?? "Unknown");
  const meaning = { closed: "calls go through", open: "no calls are made", half_open: "one probe decides whether it closes" }[b.state] ?? "–";
  const details = [["meaning", meaning], ["failures in a row", number(b.failure_count)]];
  if (b.forced) details.push(["held by", `${b.forced.by} since ${clock(b.forced.since)}: ${b.forced.reason || "no reason given"}`]);
  if (b.opened_at) details.push(["open since", `${clock(b.opened_at)} (${ago(b.opened_at, now)})`]);
  if (b.retry_at) details.push(["next probe", until(b.retry_at, now)]);
  once("breaker", details, () => byId("breaker-details").replaceChildren(...details.flatMap(([t, d]) => [el("dt", {}, t), el("dd", {}, d)])));
}

function showQueues(queues) {
  const states = ["available", "running", "retryable", "scheduled"];
  const rows = Object.entries(queues).map(([name, q]) => [name, ...states.map((s) => number(q[s]))]);
  table(byId("queues"), ["queue", ...states], rows);
}

function showChecks(checks) {
  const icon = { pass: ["✓", "good"], warn: ["!", "warn"], fail: ["✕", "bad"] };
  const line = ([name, [c]]) => el("li", {},
    el("span", { class: "mark-small", "data-tone": icon[c.status][1], "aria-label": c.status, role: "img" }, icon[c.status][0]),
    el("span", { class: "name" }, name.replaceAll("_", " ")),
    el("span", {}, `${c.observedValue ?? "unknown"} ${c.observedUnit ?? ""}`));
  byId("checks").replaceChildren(...Object.entries(checks).sort().map(line));
}

function showAlerts({ alerts, summary }) {
  const open = summary.total - (summary.by_status.resolved ?? 0);
  setText(byId("alerts-count"), `${number(open)} open of ${number(summary.total)}`);
  if (alerts.length === 0) {
    byId("alerts").replaceChildren(el("li", { class: "empty" }, "There has been no alert."));
    return;
  }
  byId("alerts").replaceChildren(...alerts.map(alertLine));
}

// showDetail shows the alert that the address names on top of all. An answer that
// fails to come leaves the last one on the page.
function showDetail(id, { value, reason }) {
  const section = byId("detail");
  const opens = id && section.dataset.alert !== id;
  section.hidden = !id;
  section.dataset.alert = id ?? "";
  if (value) once("detail", value, drawDetail);
  else if (opens) once("detail", { id, problem: reason.message }, drawDetail);
  if (opens) section.focus();
}

function showForecast({ forecast }) {
  const { currency, monthly_totals: months, summary: s } = forecast;
  byId("forecast-totals").replaceChildren(
    pair("total", money(s.total_forecast, currency)),
    pair("confirmed", money(s.total_confirmed, currency)),
    pair("tentative", money(s.total_tentative, currency)),
    pair("conversion", `${(100 * s.conversion_rate).toFixed(1)} %`),
    pair("deals", number(s.deals)));
  byId("chart").replaceChildren(chart(months, currency));
  table(byId("forecast"), ["month", "confirmed", "tentative", "total", "billed", "collected"],
    months.map((m) => [month(m.month), ...[m.confirmed, m.tentative, m.total, m.billed, m.collected].map((v) => money(v))]));
  const notes = [`Amounts in ${currency}, each deal weighted by its probability.`];
  if (s.unscheduled > 0) notes.push(`${money(s.unscheduled, currency)} belong to no month: their deals have no dates.`);
  if (s.deals_other_currency > 0) notes.push(`${number(s.deals_other_currency)} deals in other currencies are left out.`);
  setText(byId("forecast-note"), notes.join(" "));
}

document.addEventListener("visibilitychange", round);
addEventListener("hashchange", round);
round();
