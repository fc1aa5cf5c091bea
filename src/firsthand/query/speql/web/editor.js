// The editor: CodeMirror inside a shadow root, where its style sheets need no inline style.
import {
  acceptCompletion, autocompletion, closeBrackets, closeBracketsKeymap, closeCompletion, completionKeymap,
} from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, isolateHistory } from "@codemirror/commands";
import { SQLDialect, sql } from "@codemirror/lang-sql";
import { HighlightStyle, bracketMatching, syntaxHighlighting } from "@codemirror/language";
import { Compartment, EditorState, Prec, StateEffect, StateField } from "@codemirror/state";
import { Decoration, EditorView, drawSelection, highlightActiveLine, keymap, lineNumbers, placeholder } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { cteSource } from "./ctes.js";

// Words of queries alone: standard SQL reserves a thousand more, "day" and "constraint_schema" among them.
const DIALECT = SQLDialect.define({
  keywords:
    "all and any as asc between by case cross cube desc distinct else end escape except exclude exists filter first " +
    "following from full group grouping having ilike in inner intersect is join last lateral left like limit " +
    "materialized natural not null nulls offset on or order outer over partition pivot positional preceding qualify " +
    "range recursive replace right rollup row rows sample select semi anti asof sets similar some tablesample then " +
    "to unbounded union unnest unpivot using values when where window with within cast try_cast coalesce interval " +
    "true false count sum avg min max",
  types:
    "bigint bit blob boolean char date datetime decimal double enum float hugeint int integer json list map numeric " +
    "real smallint string struct text time timestamp timestamptz tinyint ubigint uinteger uuid varchar",
  operatorChars: "+-*/<>=~!@%^&|:",
  doubleDollarQuotedStrings: true,
});

const colours = HighlightStyle.define([
  { tag: tags.keyword, color: "var(--word)", fontWeight: "600" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--text)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--number)" },
  { tag: tags.typeName, color: "var(--type)" },
  { tag: [tags.lineComment, tags.blockComment], color: "var(--muted)", fontStyle: "italic" },
]);

const look = EditorView.theme({
  "&": { color: "var(--ink)", backgroundColor: "transparent", fontSize: "0.9375rem" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55", minHeight: "9.5rem", maxHeight: "42vh" },
  ".cm-content": { caretColor: "var(--ink)", padding: "0.6rem 0" },
  ".cm-cursor": { borderLeftColor: "var(--ink)", borderLeftWidth: "2px" },
  ".cm-gutters": { backgroundColor: "transparent", color: "var(--muted)", border: "0" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--active)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    backgroundColor: "var(--selected)",
  },
  "&.cm-focused .cm-matchingBracket": { backgroundColor: "var(--selected)", outline: "1px solid var(--rule)" },
  ".cm-placeholder": { color: "var(--muted)" },
  ".cm-ignored": { textDecoration: "underline wavy 1px var(--inconclusive)", textUnderlineOffset: "0.25em" },
  ".cm-tooltip": { backgroundColor: "var(--raised)", color: "var(--ink)", border: "1px solid var(--rule)" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)", fontSize: "0.8125rem", maxHeight: "14em" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--link)", color: "var(--page)" },
  ".cm-completionDetail": { color: "inherit", fontStyle: "normal", marginLeft: "1em" },
  ".cm-completionMatchedText": { textDecoration: "none", fontWeight: "700" },
});

// Typing over a selection is done here: the browser would keep the look of what it replaces as an inline style, which
// the page's policy refuses and its console complains of.
const replaceTyped = EditorView.domEventHandlers({
  beforeinput(event, view) {
    const { from, to } = view.state.selection.main;
    if (event.inputType !== "insertText" || from === to || !event.data || view.composing) return false;
    const change = () =>
      view.state.update(view.state.replaceSelection(event.data), { userEvent: "input.type", scrollIntoView: true });
    const handlers = view.state.facet(EditorView.inputHandler);
    if (!handlers.some((handle) => handle(view, from, to, event.data, change))) view.dispatch(change());
    return true;
  },
});

const setIgnored = StateEffect.define();
const ignored = StateField.define({
  create: () => Decoration.none,
  update(marks, change) {
    let now = marks.map(change.changes);
    for (const effect of change.effects) {
      if (effect.is(setIgnored)) {
        now = Decoration.set(effect.value.map(([from, to]) => Decoration.mark({ class: "cm-ignored" }).range(from, to)));
      }
    }
    return now;
  },
  provide: (field) => EditorView.decorations.from(field),
});

export class Editor {
  // actions: changed(urgent), run(), runHere(), accept(), cancel() → whether there was anything to cancel
  constructor(host, text, actions) {
    this.tables = {};
    this.language = new Compartment();
    const shadow = host.attachShadow({ mode: "open" });
    const keys = [
      { key: "Mod-Enter", run: (view) => (closeCompletion(view), actions.run(), true) },
      { key: "Mod-Shift-Enter", run: (view) => (closeCompletion(view), actions.runHere(), true) },
      { key: "Escape", run: () => actions.cancel() }, // what runs comes first, then what is open
      { key: "Alt-m", run: () => (actions.accept(), true), preventDefault: true },
    ];
    this.view = new EditorView({
      root: shadow,
      parent: shadow,
      state: EditorState.create({
        doc: text,
        selection: { anchor: text.length },
        extensions: [
          Prec.highest(keymap.of(keys)),
          lineNumbers(), history(), drawSelection(), bracketMatching(), closeBrackets(), highlightActiveLine(), ignored,
          replaceTyped,
          autocompletion({ icons: false, defaultKeymap: false }),
          keymap.of([
            // Tab accepts, never Enter: a line that ends in a name must end when Enter is pressed.
            { key: "Tab", run: acceptCompletion }, ...completionKeymap.filter(({ key }) => key !== "Enter"),
            ...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap,
          ]),
          this.language.of(this.sql()),
          syntaxHighlighting(colours), look, EditorView.lineWrapping,
          placeholder("SELECT … the preview follows the cursor"),
          EditorView.contentAttributes.of({
            "aria-label": "SQL query", "aria-describedby": "editor-keys", spellcheck: "false", autocapitalize: "off",
          }),
          EditorView.updateListener.of((update) => {
            if (!update.docChanged && !update.selectionSet) return;
            let urgent = false;
            update.changes.iterChanges((_from, _to, _a, _b, put) => {
              urgent ||= put.length <= 80 && /[\n;]\s*$/.test(put.toString());
            });
            actions.changed(urgent);
          }),
        ],
      }),
    });
  }

  sql() {
    return [
      sql({ dialect: DIALECT, schema: this.tables, upperCaseKeywords: true }),
      DIALECT.language.data.of({ autocomplete: cteSource(() => this.tables) }),
    ];
  }

  set schema(tables) {
    this.tables = Object.fromEntries(tables.map((table) => [table.name, table.columns.map((column) => column.name)]));
    this.view.dispatch({ effects: this.language.reconfigure(this.sql()) });
  }

  get text() {
    return this.view.state.doc.toString();
  }

  get cursor() {
    return this.view.state.selection.main.head;
  }

  // Underline what the preview leaves out of account; pairs of places in UTF-16 units.
  markIgnored(ranges) {
    this.view.dispatch({ effects: setIgnored.of(ranges) });
  }

  // edits: [from, to, text] in order
  change(edits) {
    this.view.dispatch({
      changes: edits.map(([from, to, insert]) => ({ from, to, insert })),
      annotations: isolateHistory.of("full"), // one step back undoes it, and nothing that was typed
      scrollIntoView: true,
    });
    this.view.focus();
  }

  replaceAll(text) {
    this.view.dispatch({
      changes: { from: 0, to: this.view.state.doc.length, insert: text },
      selection: { anchor: text.length },
      annotations: isolateHistory.of("full"),
    });
    this.view.focus();
  }

  insert(text) {
    this.view.dispatch(this.view.state.replaceSelection(text), { scrollIntoView: true });
    this.view.focus();
  }

  focus() {
    this.view.focus();
  }
}
