// diagnose puts the worst problem that Dealbox reports into the headline, and the others
// below it. Only without any problem is it green.
export function diagnose(h) {
  const [worst, ...others] = h.problems;
  if (!worst) {
    return { state: "healthy", title: "Everything works, on both sides", text: "Dealbox stores webhooks and mirrors their documents, and Strapi answers.", reasons: [] };
  }
  return {
    state: h.status === "healthy" ? "notice" : h.status,
    title: worst.title,
    text: [...(h.status === "healthy" ? ["Dealbox works."] : []), ended(worst.message), sentence(worst)].filter(Boolean).join(" "),
    reasons: others.map((p) => [p.title, p.first_step].filter(Boolean).join(": ")),
  };
}

// ended closes a sentence; the text of an alert has no stop at its end.
const ended = (text) => (text && !/[.!?]$/.test(text) ? `${text}.` : text);

const sentence = (p) => (p.first_step ? `What to do first: ${p.first_step}.` : "");

export const failed = (h, name) => (h.checks[name] ?? []).some((c) => c.status !== "pass");
