const whole = new Intl.NumberFormat("en-GB");

// number shows a count; a value that is not known is a dash.
export const number = (n) => (n === null || n === undefined ? "–" : whole.format(n));

// money shows an amount without its cents, or short (1.2M) on an axis.
export function money(amount, currency, short = false) {
  const options = short ? { notation: "compact", maximumFractionDigits: 1 } : { maximumFractionDigits: 0 };
  const text = new Intl.NumberFormat("en-US", options).format(amount);
  return short || !currency ? text : `${text} ${currency}`;
}

export function month(text, short = false) {
  const at = new Date(`${text}T00:00:00Z`);
  return at.toLocaleDateString("en-US", { month: "short", year: short ? "2-digit" : "numeric", timeZone: "UTC" });
}

// span shows a number of seconds in its largest unit.
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  if (s < 90 * 60) return `${Math.round(s / 60)} min`;
  if (s < 36 * 3600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} days`;
}

// ago and until compare with the server's clock, given in milliseconds.
export const ago = (text, now) => (text ? `${span((now - Date.parse(text)) / 1000)} ago` : "never");
export const until = (text, now) => (Date.parse(text) > now ? `in ${span((Date.parse(text) - now) / 1000)}` : "now");

export const clock = (text) => new Date(text).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
