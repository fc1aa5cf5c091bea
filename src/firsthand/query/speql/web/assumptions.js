// What was repaired, as a difference between the text and the statement that runs.
import { make } from "./dom.js";
import { units } from "./places.js";

const AROUND = 28; // characters shown before and behind a change

// Edits in UTF-16 units: [from, to, new, why].
export function localEdits(text, edits) {
  return edits.map((edit) => [units(text, edit.start), units(text, edit.end), edit.new, edit.why]);
}

export function difference(text, edits) {
  const line = make("code", { class: "difference" });
  let at = Math.max(0, (edits[0]?.[0] ?? 0) - AROUND);
  if (at > 0) {
    const blank = text.slice(at, edits[0][0]).search(/\s\S/); // begin with a whole word
    at += blank < 0 ? 0 : blank + 1;
    line.append("… ");
  }
  for (const [from, to, put] of edits) {
    const kept = text.slice(at, from);
    line.append(kept.length > 3 * AROUND ? `${kept.slice(0, AROUND)} … ${kept.slice(-AROUND)}` : kept);
    if (to > from) line.append(make("del", {}, make("span", { class: "unseen", text: "left out: " }), text.slice(from, to)));
    if (put) line.append(make("ins", {}, make("span", { class: "unseen", text: "put in: " }), put));
    at = to;
  }
  const rest = text.slice(at, at + AROUND);
  line.append(rest, at + AROUND < text.length ? " …" : "");
  return line;
}

export function showAssumptions(host, text, edits, dropped, accept) {
  host.hidden = edits.length === 0;
  if (host.hidden) return host.replaceChildren();
  const reasons = [...new Set(edits.map((edit) => edit[3]).filter(Boolean))];
  const words = dropped.length ? dropped : reasons;
  return host.replaceChildren(
    make("h2", { text: "Assumed" }),
    make("p", {}, difference(text, edits)),
    make("p", { class: "why", text: words.join("; ") }),
    make("button", { type: "button", class: "small", onclick: accept }, "Accept ", make("kbd", { text: "Alt+M" })),
  );
}
