// What was run: a timeline of this visit with what each run saved, and a history that outlives it.
import { byId, make, milliseconds, plural } from "./dom.js";

const KEPT = 100;
const LEVELS = new Map([
  [0, "the same query had been answered"],
  [1, "from tables made ahead"],
  [2, "from data read ahead"],
  [null, "run as it is"],
]);

export const levelText = (level) => LEVELS.get(level) ?? "";

export class Runs {
  constructor(use) {
    this.use = use;
    this.runs = [];
    this.key = "speql.history";
    this.show();
  }

  set name(name) {
    this.key = `speql.history.${name}`;
    this.show();
  }

  get history() {
    try {
      const found = JSON.parse(localStorage.getItem(this.key) ?? "[]");
      return Array.isArray(found) ? found.filter((one) => typeof one === "string") : [];
    } catch {
      return [];
    }
  }

  add(result) {
    this.runs.unshift(result);
    this.runs.length = Math.min(this.runs.length, KEPT);
    const queries = [result.text, ...this.history.filter((one) => one !== result.text)].slice(0, KEPT);
    localStorage.setItem(this.key, JSON.stringify(queries));
    this.show();
  }

  show() {
    this.timeline();
    byId("history").replaceChildren(...this.history.map((text) =>
      make("li", {}, make("button", { type: "button", class: "query", onclick: () => this.use(text), text }))));
    byId("no-history").hidden = this.history.length > 0;
  }

  timeline() {
    const longest = Math.max(...this.runs.map((run) => Math.max(run.total_ms, run.direct_ms_estimate ?? 0)), 1e-9);
    byId("timeline").replaceChildren(...this.runs.map((run) => {
      const saved = run.saved_ms_estimate;
      const bar = make("div", { class: "bar", "aria-hidden": "true" });
      const took = make("span", { class: "took" });
      took.style.width = `${(100 * run.total_ms) / longest}%`;
      bar.append(took);
      if (saved > 0) {
        const spared = make("span", { class: "spared" });
        spared.style.width = `${(100 * saved) / longest}%`;
        bar.append(spared);
      }
      const words = saved === null || saved === undefined ? "" : saved > 0
        ? `saved about ${milliseconds(saved)} (estimate)`
        : `cost about ${milliseconds(-saved)} more (estimate)`;
      return make("li", { title: run.text },
        make("p", {}, make("strong", { text: milliseconds(run.total_ms) }), ` ${levelText(run.level)}, ${plural(run.total, "row")}`),
        bar,
        words ? make("p", { class: "saved", text: words }) : null);
    }));
    const known = this.runs.filter((run) => typeof run.saved_ms_estimate === "number");
    const total = known.reduce((sum, run) => sum + Math.max(0, run.saved_ms_estimate), 0);
    byId("saved").textContent = known.length ? `about ${milliseconds(total)} saved (estimate)`
      : this.runs.length ? "too few direct runs to estimate savings" : "no query run yet";
  }
}
