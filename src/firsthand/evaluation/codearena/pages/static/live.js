// Brings the verdict into the page when it is there. Without this the page reloads itself (noscript) or by its link.
"use strict";
(() => {
  const place = () => document.getElementById("verdict");
  let wait = 300; // ms until the next question; grows, so that a long queue is not asked twenty times a second

  async function ask() {
    if (document.hidden) {
      document.addEventListener("visibilitychange", ask, { once: true });
      return;
    }
    try {
      const answer = await fetch(`${location.pathname}/verdict`, { headers: { Accept: "text/html" } });
      if (answer.ok) {
        const found = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("verdict");
        if (found) show(found);
      } else if (answer.status === 429) {
        wait = Math.max(wait, 1000 * Number(answer.headers.get("Retry-After") || 5));
      } else if (answer.status < 500) {
        location.reload(); // logged out, or it was taken away: the page says so
        return;
      }
    } catch {
      // The server is away: ask again later.
    }
    if (place().dataset.waits === "yes") {
      wait = Math.min(wait * 1.3, 4000);
      setTimeout(ask, wait);
    }
  }

  function show(found) {
    const now = place();
    if (found.innerHTML === now.innerHTML) return;
    // The status paragraph stays the same element, so that a screen reader says what it has come to hold.
    const status = now.querySelector("#verdict-status");
    status.replaceChildren(...found.querySelector("#verdict-status").childNodes);
    found.querySelector("#verdict-status").remove();
    now.replaceChildren(status, ...found.childNodes);
    now.dataset.waits = found.dataset.waits;
  }

  setTimeout(ask, wait);
})();
