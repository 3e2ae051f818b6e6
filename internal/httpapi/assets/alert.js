import { byId, el, setText, table } from "./dom.js";
import { clock, number } from "./format.js";

// named is the id of the alert that the address names, as the link in a
// notification does.
export const named = () => location.hash.match(/^#alert-(\d+)$/)?.[1];

export function alertLine(a) {
  const tone = { critical: "bad", error: "bad", warning: "warn" }[a.level];
  const meta = [a.status, a.rule.replaceAll("_", " ")];
  if (a.subject) meta.push(a.subject);
  if (a.occurrences > 1) meta.push(`${number(a.occurrences)} times since ${clock(a.first_seen)}`);
  return el("li", { "data-status": a.status },
    el("span", { class: "tag", "data-tone": tone }, a.level),
    el("a", { class: "message", href: `#alert-${a.id}` }, a.message),
    el("time", { datetime: a.timestamp }, clock(a.timestamp)),
    el("span", { class: "meta" }, meta.join(" · ")));
}

// drawDetail shows an alert with its members, history and notifications, the newest first,
// or the problem with showing it.
export function drawDetail({ problem, ...a }) {
  setText(byId("detail-title"), `Alert ${a.id}`);
  if (problem) {
    byId("detail-body").replaceChildren(el("p", { class: "empty" }, problem));
    return;
  }
  const line = alertLine(a);
  line.id = `alert-${a.id}`; // where the address points
  byId("detail-body").replaceChildren(
    el("ol", { class: "alerts" }, line),
    ...((a.group ?? []).length ? part(`Members (${number(a.members)})`, ["joined", "member", "name", "value", "reason", "shown meanwhile"],
      a.group.map((m) => [clock(m.joined_at), inStrapi(m), m.name, m.value, m.reason, m.shown])) : []),
    ...part("History", ["at", "event", "level", "actor", "reason"],
      (a.history ?? []).map((e) => [clock(e.at), e.kind.replaceAll("_", " "), e.level, e.actor, e.reason || (e.details.message ?? "")])),
    ...part("Notifications", ["at", "channel", "reason", "attempts", "status", "sent at", "not sent because"],
      a.notifications.map((n) => [clock(n.created_at), `${n.channel} ${n.receiver}`.trim(), n.reason, number(n.attempts), n.status,
        n.sent_at ? clock(n.sent_at) : "–", n.suppressed_by ?? n.last_error ?? ""])));
}

// inStrapi is the member, with a link into Strapi's editor where there is one.
const inStrapi = (m) => (/^https?:/.test(m.link) ? el("a", { href: m.link, rel: "noreferrer" }, m.member) : m.member);

function part(name, head, rows) {
  const node = el("table");
  table(node, head, rows.reverse());
  return [el("h3", {}, name), rows.length === 0 ? el("p", { class: "note" }, "none")
    : el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": name }, node)];
}
