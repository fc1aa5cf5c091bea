// The page: what is typed goes up, what comes down is shown. One object of state, one function for each kind of message.
import { showGraph, showViews } from "./ahead.js";
import { localEdits, showAssumptions } from "./assumptions.js";
import { Chart, MOST } from "./chart.js";
import { byId, count, milliseconds, plural } from "./dom.js";
import { Editor } from "./editor.js";
import { LargeTable, smallTable } from "./grid.js";
import { Link } from "./link.js";
import { codePoints } from "./places.js";
import { Runs, levelText } from "./runs.js";
import { filterTables, showTables } from "./tables.js";

const MAC = /Mac|iPhone|iPad/.test(navigator.platform);
const state = { debounce: 250, timer: 0, late: 0, sent: { id: 0, text: "", cursor: -1 }, edits: [], running: 0, result: null };

// --- up ----------------------------------------------------------------------

function sendEdit() {
  clearTimeout(state.timer);
  const text = editor.text;
  const cursor = codePoints(text, editor.cursor);
  if (text === state.sent.text && cursor === state.sent.cursor) return;
  const id = link.send("edit", { text, cursor });
  if (!id) return;
  state.sent = { id, text, cursor };
  sessionStorage.setItem("speql.text", text);
}

function changed(urgent) {
  clearTimeout(state.timer);
  if (editor.text !== state.sent.text) fallBehind();
  state.timer = setTimeout(sendEdit, urgent ? 0 : state.debounce);
}

// The preview is of an earlier text: dimmed at once, said where a new one does not come soon.
function fallBehind() {
  byId("preview-pane").classList.add("behind");
  clearTimeout(state.late);
  state.late = setTimeout(() => {
    byId("badge").className = "badge earlier";
    byId("badge").textContent = "of an earlier text";
  }, state.debounce + 500);
}

function caughtUp() {
  clearTimeout(state.late);
  byId("preview-pane").classList.remove("behind");
}

function submit(here) {
  const text = editor.text;
  if (state.running) link.send("cancel");
  const id = link.send("submit", { text, cursor: codePoints(text, editor.cursor), here });
  if (!id) return;
  setRunning(id);
  note("Running …");
}

function cancel() {
  if (!state.running) return false;
  link.send("cancel");
  note("Cancelling …");
  return true;
}

function accept() {
  if (!state.edits.length || editor.text !== state.sent.text) return;
  const edits = state.edits;
  state.edits = [];
  editor.change(edits);
  sendEdit();
}

// --- down ----------------------------------------------------------------------

const down = {
  hello(body) {
    state.debounce = body.debounce_ms;
    byId("source").textContent = body.name;
    document.title = body.name ? `${body.name} · SpeQL` : "SpeQL";
    runs.name = body.name;
    if (!body.resumed && state.result) {
      grid.stop();
      byId("exports").hidden = true;
    }
    if (state.running) {
      setRunning(0);
      note("The connection was lost while the query ran; run it again.", true);
    }
    state.sent = { id: 0, text: "", cursor: -1 };
    if (editor.text) sendEdit();
  },
  schema(body) {
    editor.schema = body.tables;
    showTables(body.tables, (name) => editor.insert(name));
  },
  stale() {
    byId("preview-note").textContent = "The data changed; everything made ahead was dropped.";
    state.sent.text = "";
    sendEdit();
  },
  repaired(body) {
    if (editor.text !== state.sent.text) return;
    state.edits = localEdits(state.sent.text, body.edits);
    showAssumptions(byId("assumptions"), state.sent.text, state.edits, body.dropped, accept);
    editor.markIgnored(state.edits.filter(([from, to]) => to > from));
  },
  repair_failed(body) {
    state.edits = [];
    showAssumptions(byId("assumptions"), "", [], [], accept);
    editor.markIgnored([]);
    noPreview(state.sent.text.trim() ? body.message : "");
  },
  preview_failed(body) {
    noPreview(body.message);
  },
  preview(body, rows) {
    const badge = byId("badge");
    badge.hidden = false;
    badge.className = `badge ${body.trust}`;
    badge.textContent = body.trust;
    const shown = body.more ? `the first ${count(rows.numRows)} rows` : plural(rows.numRows, "row");
    const source = body.used.length ? ` · from ${plural(body.used.length, "table")} made ahead` : "";
    byId("preview-note").textContent = `${shown} · ${milliseconds(body.milliseconds)}${source}`;
    const halves = body.columns.map((column) => body.intervals[column.name]);
    const interval = (row, place) => {
      const half = halves[place]?.[row];
      return half === null || half === undefined ? "" : `± ${Number(half.toPrecision(3))}`;
    };
    byId("preview").replaceChildren(smallTable("Preview", body.columns, rows, interval));
    byId("sampled").hidden = body.trust !== "sampled";
    byId("sampled").textContent = body.unscaled.length
      ? "From a random sample: rows stand for themselves, not for all."
      : "From a random sample: scaled up, ± 95 % intervals.";
    caughtUp();
  },
  planned(body) {
    showGraph(body.nodes);
    showViews(body.views);
  },
  progress(body) {
    const share = body.share > 0 ? `, ${Math.round(100 * body.share)} %` : "";
    note(`Running … ${body.seconds.toFixed(1)} s${share}`);
  },
  result(body, rows) {
    setRunning(0);
    state.result = body;
    byId("result-pane").hidden = false;
    note(`${plural(body.total, "row")} · ${milliseconds(body.total_ms)} · ${levelText(body.level)}`);
    byId("result-warning").textContent = body.note;
    for (const form of ["csv", "parquet", "arrow"]) {
      byId(`export-${form}`).href = `/export/${encodeURIComponent(link.client)}/result.${form}`;
    }
    byId("exports").hidden = false;
    grid.ask = (start, size) => link.send("rows", { result: body.id, start, count: size });
    grid.show(body.columns, body.total, rows);
    if (body.total > rows.numRows) grid.line(rows.numRows); // the chart wants the second page too
    chart.show(body.columns, grid.values(MOST), body.total);
    runs.add(body);
  },
  rows(body, rows) {
    if (state.result?.id !== body.id) return;
    grid.put(body.start, rows);
    if (body.start < MOST) chart.show(state.result.columns, grid.values(MOST), state.result.total);
  },
  error(body) {
    if (body.id === state.running && state.running) {
      setRunning(0);
      note(body.interrupted ? "Cancelled." : body.message, !body.interrupted);
    } else if (body.id === 0 || body.id === state.result?.id) {
      note(body.message, true);
    }
  },
};

function noPreview(message) {
  byId("badge").hidden = true;
  byId("sampled").hidden = true;
  byId("preview-note").textContent = message;
  byId("preview").replaceChildren();
  caughtUp();
}

function setRunning(id) {
  state.running = id;
  byId("cancel").disabled = !id;
  document.body.classList.toggle("running", id > 0);
}

function note(text, wrong = false) {
  byId("run-note").textContent = text;
  byId("run-note").classList.toggle("wrong", wrong);
}

function tab(name) {
  for (const one of ["rows", "chart"]) {
    byId(`tab-${one}`).setAttribute("aria-selected", one === name);
    byId(`tab-${one}`).tabIndex = one === name ? 0 : -1;
    byId(`panel-${one}`).hidden = one !== name;
  }
  if (name === "rows") grid.later();
}

// --- the parts ----------------------------------------------------------------------

const actions = { changed, run: () => submit(false), runHere: () => submit(true), accept, cancel };
const editor = new Editor(byId("editor"), sessionStorage.getItem("speql.text") ?? "", actions);
const runs = new Runs((text) => editor.replaceAll(text));
const chart = new Chart();
const grid = new LargeTable(byId("result"), () => {}, (from, to, total) => {
  byId("window").textContent = total ? `${count(from)}–${count(to)} of ${count(total)}` : "no rows";
});
const link = new Link((body, rows) => down[body.kind]?.(body, rows), (now, failures) => {
  byId("link").className = now;
  byId("link").textContent = now === "open" ? "connected"
    : failures > 4 ? "no connection: start the server again and open the address that it prints" : "reconnecting …";
});

byId("run").addEventListener("click", () => submit(false));
byId("run-here").addEventListener("click", () => submit(true));
byId("cancel").addEventListener("click", cancel);
byId("filter").addEventListener("input", (event) => filterTables(event.target.value));
for (const name of ["rows", "chart"]) {
  byId(`tab-${name}`).addEventListener("click", () => tab(name));
  byId(`tab-${name}`).addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const other = name === "rows" ? "chart" : "rows";
    tab(other);
    byId(`tab-${other}`).focus();
  });
}
document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented) return;
  if (event.key === "Escape") cancel();
  else if (event.altKey && event.code === "KeyM") accept();
  else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit(event.shiftKey);
});
if (MAC) for (const key of document.querySelectorAll("kbd")) key.textContent = key.textContent.replace("Ctrl", "⌘").replace("Alt", "⌥");
showGraph([]);
showViews([]);
editor.focus();
