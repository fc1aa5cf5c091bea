// A chart of the first rows of an answer: bars, a line or points, chosen by the columns' types.
import { byId, count, draw, make } from "./dom.js";

export const MOST = 1000;
const BARS = 40;
const [HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [320, 64, 12, 12, 44];
const [NARROWEST, WIDEST] = [300, 900];

export function guess(columns) {
  const numbers = columns.flatMap((column, place) => (column.kind === "number" ? [place] : []));
  const others = columns.flatMap((column, place) => (column.kind === "number" ? [] : [place]));
  if (!numbers.length) return null;
  const time = others.find((place) => columns[place].kind === "time");
  if (time !== undefined) return { x: time, y: numbers[0], form: "line" };
  if (others.length) return { x: others[0], y: numbers[0], form: "bar" };
  return numbers.length > 1 ? { x: numbers[0], y: numbers[1], form: "scatter" } : { x: -1, y: numbers[0], form: "line" };
}

function ticks(low, high, wanted = 5) {
  const raw = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((one) => one * power >= raw) * power;
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) found.push(Number(at.toPrecision(12)));
  return found;
}

const short = (number) => {
  const most = Math.abs(number);
  return most >= 1e4 ? new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(number) : String(number);
};
const clipped = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function bounds(values, zero) {
  let [low, high] = zero ? [0, 0] : [Infinity, -Infinity];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return low === high ? [low - (zero && low === 0 ? 0 : 1), high + 1] : [low, high];
}

function frame(low, high, y, name, width) {
  return [
    ...ticks(low, high).flatMap((value) => [
      draw("line", { class: "guide", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
      draw("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end", text: short(value) }),
    ]),
    draw("text", { x: LEFT, y: HEIGHT - 4, class: "axis", text: clipped(name, Math.floor(width / 8)) }),
  ];
}

export function chart(columns, values, { x, y, form, width }) {
  const numeric = (value) => (value === null ? NaN : Number(value));
  const across = x < 0 ? values[y].map((_, row) => row + 1) : values[x];
  const xKind = x < 0 ? "number" : columns[x].kind;
  let points = values[y].map((value, row) => ({ label: across[row] === null ? "NULL" : String(across[row]), at: across[row], height: numeric(value) }))
    .filter((point) => Number.isFinite(point.height));
  if (form === "bar") points = points.slice(0, BARS);
  const positions = points.map((point, row) =>
    form === "bar" ? row : xKind === "number" ? numeric(point.at) : xKind === "time" ? Date.parse(String(point.at).replace(" ", "T")) : row);
  const [low, high] = bounds(points.map((point) => point.height), form === "bar");
  const [first, last] = bounds(positions.filter(Number.isFinite), false);
  const yAt = (value) => HEIGHT - BOTTOM - ((value - low) / (high - low)) * (HEIGHT - BOTTOM - TOP);
  const span = width - RIGHT - LEFT;
  const xAt = form === "bar" ? (value) => LEFT + ((value + 0.5) / points.length) * span : (value) => LEFT + 6 + ((value - first) / (last - first)) * (span - 12);
  const xName = x < 0 ? "row" : columns[x].name;
  const marks = [];
  if (form === "bar") {
    const wide = Math.max(2, (span / points.length) * 0.7);
    const every = Math.ceil((points.length * 78) / span);
    points.forEach((point, row) => {
      const [from, to] = [yAt(Math.max(0, point.height)), yAt(Math.min(0, point.height))];
      marks.push(draw("rect", { class: "mark", x: xAt(row) - wide / 2, width: wide, y: from, height: Math.max(1, to - from) },
        draw("title", { text: `${point.label}: ${count(point.height)}` })));
      if (row % every === 0) marks.push(draw("text", { x: xAt(row), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle", text: clipped(point.label, Math.floor((every * span) / points.length / 7)) }));
    });
  } else {
    const placed = points.map((point, row) => [positions[row], point.height]).filter(([at]) => Number.isFinite(at));
    if (form === "line") {
      placed.sort((a, b) => a[0] - b[0]);
      marks.push(draw("path", { class: "stroke", d: placed.map(([at, height], row) => `${row ? "L" : "M"}${xAt(at).toFixed(1)} ${yAt(height).toFixed(1)}`).join("") }));
    } else marks.push(...placed.map(([at, height]) => draw("circle", { class: "point", cx: xAt(at).toFixed(1), cy: yAt(height).toFixed(1), r: 3 })));
    const labels = xKind === "number" ? ticks(first, last, Math.floor(width / 110)).map((value) => [value, short(value)])
      : xKind === "time" ? (width > 480 ? [0, 1 / 3, 2 / 3, 1] : [0, 1]).map((part) => first + (last - first) * part).map((value) => [value, new Date(value).toISOString().slice(0, 10)]) : [];
    labels.forEach(([value, text], row) => marks.push(draw("text", {
      x: xAt(value), y: HEIGHT - BOTTOM + 16, text,
      "text-anchor": xKind === "time" && row === 0 ? "start" : xKind === "time" && row === labels.length - 1 ? "end" : "middle",
    })));
  }
  const words = `${{ bar: "Bars", line: "A line", scatter: "Points" }[form]}: ${columns[y].name} by ${xName}, ${points.length} values from ${short(low)} to ${short(high)}`;
  return [draw("svg", { class: "drawing", viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": words },
    ...frame(low, high, yAt, `${columns[y].name} by ${xName}`, width), ...marks), points.length];
}

export class Chart {
  constructor() {
    this.pickers = ["x", "y", "form"].map((name) => byId(`chart-${name}`));
    this.width = 0;
    new ResizeObserver(() => {
      if (this.columns && this.wide !== this.width) this.draw();
    }).observe(byId("chart"));
    this.pickers.forEach((picker) => picker.addEventListener("change", () => this.draw()));
  }

  show(columns, values, total) {
    Object.assign(this, { columns, values, total });
    const chosen = guess(columns);
    byId("chart-tools").hidden = !chosen;
    if (!chosen) {
      byId("chart").replaceChildren(make("p", { class: "empty", text: "A chart needs a column of numbers." }));
      return;
    }
    const option = (column, place) => make("option", { value: place, text: column.name });
    const [x, y, form] = this.pickers;
    x.replaceChildren(make("option", { value: -1, text: "row number" }), ...columns.map(option));
    y.replaceChildren(...columns.flatMap((column, place) => (column.kind === "number" ? [option(column, place)] : [])));
    [x.value, y.value, form.value] = [chosen.x, chosen.y, chosen.form];
    this.draw();
  }

  get wide() {
    return Math.max(NARROWEST, Math.min(WIDEST, byId("chart").clientWidth));
  }

  draw() {
    if (byId("chart-tools").hidden) return;
    this.width = this.wide;
    const [x, y, form] = this.pickers.map((picker) => picker.value);
    const [svg, shown] = chart(this.columns, this.values, { x: Number(x), y: Number(y), form, width: this.width });
    const part = shown < this.total ? make("p", { class: "why", text: `The first ${count(shown)} of ${count(this.total)} rows.` }) : null;
    byId("chart").replaceChildren(...[svg, part].filter(Boolean));
  }
}
