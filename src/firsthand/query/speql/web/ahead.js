// The tables that are made ahead: a graph of them (each below what it is made from) and a list of those that are there.
import { byId, draw, make, milliseconds, plural, size } from "./dom.js";

const ROW = 44;
const LANE = 16;
const NAMES = { rows: "rows", groups: "groups", answer: "answer", text: "answer" };

// A text without what stands in parentheses: inner queries, CTEs, calls.
function outermost(query) {
  let depth = 0;
  let found = "";
  for (const one of query) {
    if (one === ")") depth--;
    if (depth === 0) found += one;
    if (one === "(") depth++;
  }
  return found;
}

function tablesOf(query) {
  const own = outermost(query);
  const found = [...(/\b(FROM|JOIN)\s+["\w]/i.test(own) ? own : query).matchAll(/\b(?:FROM|JOIN)\s+((?:"[^"]+"|\w+)(?:\.(?:"[^"]+"|\w+))*)/gi)].map((one) => one[1].split(".").at(-1).replaceAll('"', ""));
  const names = [...new Set(found)];
  return names.length > 2 ? `${names.slice(0, 2).join(", ")} and ${names.length - 2} more` : names.join(", ");
}

function depths(nodes) {
  const byKey = new Map(nodes.map((node) => [node.key, node]));
  const found = new Map();
  const depth = (node) => {
    if (!found.has(node.key)) {
      found.set(node.key, 0); // a circle would end here
      const above = node.parents.map((key) => byKey.get(key)).filter(Boolean);
      found.set(node.key, above.length ? 1 + Math.max(...above.map(depth)) : 0);
    }
    return found.get(node.key);
  };
  nodes.forEach(depth);
  return found;
}

function graph(nodes) {
  const depth = depths(nodes);
  const deepest = Math.min(4, Math.max(...depth.values()));
  const width = 14 + LANE * (deepest + 1);
  const place = new Map(nodes.map((node, row) => [node.key, [12 + LANE * Math.min(4, depth.get(node.key)), ROW * row + ROW / 2]]));
  const edges = nodes.flatMap((node) => node.parents.filter((key) => place.has(key)).map((key) => {
    const [[x0, y0], [x1, y1]] = [place.get(key), place.get(node.key)];
    return draw("path", { class: "edge", d: `M${x0} ${y0}C${x0} ${(y0 + y1) / 2} ${x1} ${(y0 + y1) / 2} ${x1} ${y1}` });
  }));
  const dots = nodes.map((node) => {
    const [x, y] = place.get(node.key);
    return draw("circle", { class: `dot ${node.state}`, cx: x, cy: y, r: 6 });
  });
  return [draw("svg", { class: "graph", width, height: ROW * nodes.length, "aria-hidden": "true" }, ...edges, ...dots), width];
}

export function showGraph(nodes) {
  const host = byId("graph");
  if (!nodes.length) {
    host.replaceChildren(make("p", { class: "empty", text: "Nothing yet: type a query." }));
    return;
  }
  const [svg, width] = graph(nodes);
  const list = make("ol", { class: "vertices" }, ...nodes.map((node) => {
    const tables = tablesOf(node.query);
    const detail = [node.state, node.milliseconds ? milliseconds(node.milliseconds) : "", node.reason].filter(Boolean).join(" · ");
    return make("li", { title: node.query },
      make("span", { class: "what", text: `${NAMES[node.of] ?? node.of}${tables ? ` of ${tables}` : ""}` }),
      make("span", { class: `state ${node.state}`, text: detail }));
  }));
  list.style.marginLeft = `${width}px`;
  host.replaceChildren(svg, list);
}

export function showViews(views) {
  const host = byId("views");
  byId("views-total").textContent = views.length
    ? `${plural(views.length, "table")}, ${size(views.reduce((sum, view) => sum + view.bytes, 0))}`
    : "none yet";
  host.replaceChildren(...views.map((view) =>
    make("li", {},
      make("span", { class: "what", text: `#${view.view} ${NAMES[view.of] ?? view.of}` }),
      make("span", { class: "figure", text: `${plural(view.rows, "row")}, ${size(view.bytes)} · ${milliseconds(view.milliseconds)}` }))));
}
