// The schema browser: every name is a button that writes it into the query.
import { byId, count, make } from "./dom.js";

const plain = /^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*$/;
const quoted = (name) => (plain.test(name) ? name : `"${name.replaceAll('"', '""')}"`);

export function showTables(tables, insert) {
  const few = tables.length <= 4;
  byId("tables").replaceChildren(...tables.map((table) =>
    make("details", { open: few },
      make("summary", {}, make("span", { class: "what", text: table.name }), make("span", { class: "figure", text: table.rows === null ? "" : count(table.rows) })),
      make("ul", {},
        make("li", {}, make("button", { type: "button", class: "name", onclick: () => insert(quoted(table.name)) },
          "insert ", make("span", { class: "unseen", text: "the name " }), table.name)),
        ...table.columns.map((column) => make("li", {},
          make("button", { type: "button", class: "name", onclick: () => insert(quoted(column.name)), text: column.name }),
          make("span", { class: "type", text: column.type })))))));
  byId("no-tables").hidden = tables.length > 0;
}

export function filterTables(words) {
  for (const details of byId("tables").children) {
    const hit = details.textContent.toLowerCase().includes(words.toLowerCase());
    details.hidden = !hit;
    if (hit && words) details.open = true;
  }
}
