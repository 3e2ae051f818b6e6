import { svg } from "./dom.js";
import { money, month } from "./format.js";

const width = 960;
const height = 250;
const box = { left: 52, right: 4, top: 10, bottom: 24 };

// ticks are three to six round values that cover 0 to top.
function ticks(top) {
  const rough = top / 4;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * unit).find((s) => s >= rough);
  const all = [];
  for (let v = 0; v < top + step; v += step) all.push(v);
  return all;
}

// chart draws confirmed with tentative on top of it, a column a month. The
// table below it says the same in words, so the picture is one image to a
// screen reader.
export function chart(months, currency) {
  const top = Math.max(...months.map((m) => Math.max(0, m.confirmed) + Math.max(0, m.tentative)), 0);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Forecast in ${currency}: confirmed and tentative revenue of ${months.length} months` });
  const marks = ticks(top || 1);
  const highest = marks[marks.length - 1];
  const floor = height - box.bottom;
  const y = (v) => floor - (Math.max(0, v) / highest) * (floor - box.top);

  if (top > 0) {
    for (const v of marks) {
      root.append(
        svg("line", { class: "grid", x1: box.left, x2: width - box.right, y1: y(v), y2: y(v) }),
        label(box.left - 8, y(v) + 4, money(v, "", true), "end"),
      );
    }
  }
  const slot = (width - box.left - box.right) / months.length;
  const every = Math.ceil(months.length / 16);
  months.forEach((m, i) => root.append(column(m, i, { slot, y, currency, named: i % every === 0 })));
  root.append(svg("line", { class: "base", x1: box.left, x2: width - box.right, y1: floor, y2: floor }));
  return root;
}

function column(m, i, { slot, y, currency, named }) {
  const bar = Math.min(44, slot * 0.62);
  const x = box.left + slot * i + (slot - bar) / 2;
  const split = y(m.confirmed);
  const above = y(Math.max(0, m.confirmed) + Math.max(0, m.tentative));
  const title = svg("title");
  title.textContent = `${month(m.month)}: ${money(m.confirmed, currency)} confirmed, ${money(m.tentative, currency)} tentative`;
  const group = svg("g", { class: "column" }, title,
    svg("rect", { class: "tentative", x, width: bar, y: above, height: split - above }),
    svg("rect", { class: "confirmed", x, width: bar, y: split, height: y(0) - split }));
  if (named) group.append(label(x + bar / 2, height - 7, month(m.month, true), "middle"));
  return group;
}

function label(x, y, text, anchor) {
  const node = svg("text", { x, y, "text-anchor": anchor });
  node.textContent = text;
  return node;
}
