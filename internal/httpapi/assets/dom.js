// Every text on the page goes through textContent: a deal's name is never markup.

export const byId = (id) => document.getElementById(id);

// el makes an element. Properties that start with data- or are unknown to the
// element become attributes; children are elements or texts.
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value !== undefined && value !== null) node.setAttribute(name, String(value));
  }
  node.append(...children.map((c) => (c instanceof Node ? c : document.createTextNode(String(c)))));
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

// setText leaves the node alone when nothing changed, so that a screen reader
// does not read it again every two seconds.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export const pair = (term, value, props) => el("div", {}, el("dt", {}, term), el("dd", props, value));

// table fills a table. Cells are texts; a zero is shown faintly.
export function table(node, head, rows) {
  const cell = (text, i) => (i === 0 ? el("th", { scope: "row" }, text) : el("td", { class: text === "0" ? "zero" : null }, text));
  node.replaceChildren(
    el("thead", {}, el("tr", {}, ...head.map((h) => el("th", { scope: "col" }, h)))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map(cell)))),
  );
}
