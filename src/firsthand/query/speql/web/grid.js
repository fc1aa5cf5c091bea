// Rows as tables: a small one whole, a large one through a window that asks the server for what is looked at.
import { count, make } from "./dom.js";

const ROW = 26; // pixels
const TALLEST = 8_000_000; // pixels: browsers cannot lay out what is much taller
const TALL = 384; // pixels of the window, at most
const PAGE = 500; // rows
const PAGES_KEPT = 40;

export function cell(value, column) {
  if (value === null || value === undefined) return make("td", { class: "null", text: "NULL" });
  return make("td", { class: column.kind === "number" ? "number" : null, text: String(value) });
}

export function head(columns, first) {
  const names = columns.map((column) =>
    make("th", { scope: "col", class: column.kind === "number" ? "number" : null },
      make("span", { class: "name", text: column.name }), make("span", { class: "type", text: column.type })),
  );
  return make("thead", {}, make("tr", {}, first ? make("th", { scope: "col", class: "place", text: "#" }) : null, ...names));
}

// A small table, whole; `more(row, place)` may add a text behind a value.
export function smallTable(caption, columns, rows, more = () => "") {
  const vectors = columns.map((_, place) => rows.getChildAt(place));
  const body = make("tbody");
  for (let row = 0; row < rows.numRows; row++) {
    body.append(
      make("tr", {}, ...columns.map((column, place) => {
        const one = cell(vectors[place].get(row), column);
        const added = more(row, place);
        if (added) one.append(make("span", { class: "interval", text: ` ${added}` }));
        return one;
      })),
    );
  }
  return make("table", { class: "rows" }, make("caption", { class: "unseen", text: caption }), head(columns, false), body);
}

export class LargeTable {
  // host: a focusable element that scrolls; ask(start, count): the rows will come to `put`.
  constructor(host, ask, onMove) {
    this.host = host;
    this.ask = ask;
    this.onMove = onMove;
    this.spacer = make("div", { class: "spacer" });
    this.table = make("table", { class: "rows large" });
    this.spacer.append(this.table);
    this.waiting = false;
    host.addEventListener("scroll", () => this.later());
    host.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.later()).observe(host);
  }

  show(columns, total, rows) {
    Object.assign(this, { columns, total, top: 0, pages: new Map(), asked: new Set() });
    this.height = Math.min(TALLEST, (total + 1) * ROW + 24);
    this.spacer.style.height = `${this.height}px`;
    this.body = make("tbody");
    this.table.replaceChildren(
      make("caption", { class: "unseen", text: "Rows of the result" }), head(columns, true), this.body,
    );
    this.table.setAttribute("aria-rowcount", total + 1);
    this.host.replaceChildren(this.spacer);
    this.host.style.height = `${Math.min(TALL, 66 + total * ROW)}px`;
    this.host.scrollTop = 0;
    this.put(0, rows);
  }

  put(start, rows) {
    for (let at = 0; at < Math.max(rows.numRows, 1); at += PAGE) {
      const page = Math.floor((start + at) / PAGE);
      this.pages.set(page, { rows, offset: start });
      this.asked.delete(page);
    }
    while (this.pages.size > PAGES_KEPT) this.pages.delete(this.pages.keys().next().value);
    this.later();
  }

  // After the answer was lost: what is not here will not come.
  stop() {
    this.ask = () => {};
  }

  get visible() {
    return Math.max(1, Math.floor((this.host.clientHeight - this.table.tHead.offsetHeight) / ROW));
  }

  get scaled() {
    return this.height >= TALLEST;
  }

  get last() {
    return Math.max(0, this.total - this.visible);
  }

  later() {
    if (this.waiting || !this.columns) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.render();
    });
  }

  render() {
    if (!this.host.clientHeight) return; // another tab is shown
    const room = Math.max(1, this.height - this.host.clientHeight);
    const at = this.host.scrollTop;
    if (this.moved !== at) {
      this.top = this.scaled ? Math.round((at / room) * this.last) : Math.min(this.last, Math.floor(at / ROW));
    }
    this.moved = at;
    const end = Math.min(this.total, this.top + this.visible + 1);
    const lines = [];
    for (let row = this.top; row < end; row++) lines.push(this.line(row));
    this.body.replaceChildren(...lines);
    this.table.style.transform = `translateY(${Math.min(at, Math.max(0, this.height - this.table.offsetHeight))}px)`;
    this.onMove(this.top + 1, Math.min(this.total, this.top + this.visible), this.total);
  }

  line(row) {
    const page = Math.floor(row / PAGE);
    const found = this.pages.get(page);
    if (!found && !this.asked.has(page)) {
      this.asked.add(page);
      this.ask(page * PAGE, PAGE);
    }
    const cells = this.columns.map((column, place) =>
      found ? cell(found.rows.getChildAt(place).get(row - found.offset), column) : make("td", { class: "null", text: "…" }),
    );
    return make("tr", { "aria-rowindex": row + 2 }, make("th", { scope: "row", class: "place", text: count(row + 1) }), ...cells);
  }

  key(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: this.visible, PageUp: -this.visible, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (step === undefined || !this.columns || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.top = Math.max(0, Math.min(this.last, this.top + step));
    const room = this.height - this.host.clientHeight;
    this.host.scrollTop = this.scaled ? (this.top / Math.max(1, this.last)) * room : this.top * ROW;
    this.moved = this.host.scrollTop; // `top` is exact; the scroll position may stand for many rows
    this.later();
  }

  // The first `most` rows that are here, as arrays by column.
  values(most) {
    const found = this.columns.map(() => []);
    for (let row = 0; row < Math.min(most, this.total); row++) {
      const page = this.pages.get(Math.floor(row / PAGE));
      if (!page) break;
      found.forEach((list, place) => list.push(page.rows.getChildAt(place).get(row - page.offset)));
    }
    return found;
  }
}
