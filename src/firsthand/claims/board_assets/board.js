// The board's only script: theme, sorting, filtering. Without it every page still reads in full.
"use strict";

(function () {
  const root = document.documentElement;
  root.classList.add("js");
  const themes = ["auto", "light", "dark"];

  function stored() {
    try { return localStorage.getItem("firsthand-theme"); } catch { return null; } // storage may be barred
  }

  function apply(theme) {
    if (theme === "auto") root.removeAttribute("data-theme");
    else root.setAttribute("data-theme", theme);
  }

  let theme = themes.includes(stored()) ? stored() : "auto";
  apply(theme); // before the first paint: this script stands in the head

  function themeButton() {
    const button = document.querySelector("[data-theme-toggle]");
    const show = () => { button.textContent = "Theme: " + theme; };
    show();
    button.addEventListener("click", () => {
      theme = themes[(themes.indexOf(theme) + 1) % themes.length];
      try { localStorage.setItem("firsthand-theme", theme); } catch { /* the choice lasts for this page only */ }
      apply(theme);
      show();
    });
  }

  function compare(a, b, key) {
    const x = a.dataset[key], y = b.dataset[key];
    return key === "system" ? x.localeCompare(y) : Number(x) - Number(y);
  }

  function sorting(table, say) {
    const body = table.tBodies[0];
    const written = Array.from(body.rows); // ties keep the order the page was written in
    for (const button of table.querySelectorAll("[data-sort-by]")) {
      button.addEventListener("click", () => {
        const header = button.closest("th");
        const down = header.getAttribute("aria-sort") === "ascending";
        for (const other of table.querySelectorAll("[aria-sort]")) other.setAttribute("aria-sort", "none");
        header.setAttribute("aria-sort", down ? "descending" : "ascending");
        const sign = down ? -1 : 1;
        const rows = written.slice().sort((a, b) => sign * compare(a, b, button.dataset.sortBy));
        body.append(...rows);
        say("Sorted by " + button.textContent.toLowerCase() + (down ? ", descending" : ", ascending"));
      });
    }
  }

  function filtering(table, say) {
    const select = document.querySelector("[data-domain-filter]");
    select.addEventListener("change", () => {
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        row.hidden = select.value !== "" && row.dataset.domain !== select.value;
        if (!row.hidden) shown += 1;
      }
      say(shown === 1 ? "1 row" : shown + " rows");
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    themeButton();
    const table = document.querySelector("[data-board]");
    if (!table) return;
    const status = document.querySelector("[data-status]");
    const say = (text) => { status.textContent = text; };
    sorting(table, say);
    filtering(table, say);
  });
})();
