// Names for the completion that the schema does not have: CTEs of the text and the columns that they give.

function closing(text, open) {
  let depth = 0;
  let quote = "";
  for (let at = open; at < text.length; at++) {
    const one = text[at];
    if (quote) {
      if (one === quote) quote = "";
    } else if (one === "'" || one === '"') quote = one;
    else if (one === "(") depth++;
    else if (one === ")" && --depth === 0) return at;
  }
  return text.length;
}

function parts(list) {
  const found = [""];
  let depth = 0;
  let quote = "";
  for (const one of list) {
    if (quote) {
      if (one === quote) quote = "";
    } else if (one === "'" || one === '"') quote = one;
    else if (one === "(" || one === "[") depth++;
    else if (one === ")" || one === "]") depth--;
    if (one === "," && depth === 0 && !quote) found.push("");
    else found[found.length - 1] += one;
  }
  return found;
}

function selectList(body) {
  const begun = body.match(/^\s*SELECT\s+(DISTINCT\s+)?/i);
  if (!begun) return "";
  let depth = 0;
  for (let at = begun[0].length; at < body.length; at++) {
    if (body[at] === "(") depth++;
    else if (body[at] === ")") depth--;
    else if (depth === 0 && /\s/.test(body[at]) && /^\s+FROM\b/i.test(body.slice(at))) {
      return body.slice(begun[0].length, at);
    }
  }
  return body.slice(begun[0].length);
}

function outputName(item) {
  const named = item.match(/\bAS\s+("[^"]+"|\w+)\s*$/i) ?? item.match(/(?:^|[\s.)])("[^"]+"|[A-Za-z_]\w*)\s*$/);
  return named ? named[1] : null;
}

// { name: [columns] } of all CTEs of a text, finished or not; `tables` gives the columns behind a *.
export function ctes(text, tables = {}) {
  const found = {};
  if (!/\bWITH\b/i.test(text)) return found;
  const pattern = /(?:\bWITH\s+(?:RECURSIVE\s+)?|,\s*)("[^"]+"|\w+)\s*(?:\(([^()]*)\)\s*)?AS\s*(?:(?:NOT\s+)?MATERIALIZED\s*)?\(/gi;
  for (const match of text.matchAll(pattern)) {
    const open = match.index + match[0].length - 1;
    const body = text.slice(open + 1, closing(text, open));
    const given = match[2]?.split(",").map((name) => name.trim());
    const listed = parts(selectList(body)).flatMap((item) => {
      if (!/\*\s*$/.test(item)) return [outputName(item)];
      const from = body.match(/\bFROM\s+([\w.]+)/i)?.[1] ?? "";
      return found[from] ?? tables[from] ?? [];
    });
    found[match[1]] = given ?? [...new Set(listed.filter(Boolean))];
  }
  return found;
}

// A completion source over them: names of CTEs, their columns, and columns behind `cte.` or the alias of one.
export function cteSource(tables) {
  return (context) => {
    const text = context.state.doc.toString();
    const known = ctes(text, tables());
    if (!Object.keys(known).length) return null;
    const word = context.matchBefore(/(?:[A-Za-z_]\w*\.)?\w*/);
    if (!word || (word.from === word.to && !context.explicit)) return null;
    const dot = word.text.indexOf(".");
    if (dot < 0) {
      const names = Object.keys(known).map((label) => ({ label, type: "type", detail: "CTE", boost: 2 }));
      const columns = Object.entries(known).flatMap(([cte, its]) =>
        its.map((label) => ({ label, type: "property", detail: cte, boost: 1 })),
      );
      return { from: word.from, options: [...names, ...columns], validFor: /^\w*$/ };
    }
    const prefix = word.text.slice(0, dot);
    const alias = [...text.matchAll(/\b(?:FROM|JOIN)\s+(\w+)\s+(?:AS\s+)?(\w+)/gi)].find((one) => one[2] === prefix);
    const columns = known[prefix] ?? (alias && known[alias[1]]);
    if (!columns) return null;
    const options = columns.map((label) => ({ label, type: "property", boost: 2 }));
    return { from: word.from + dot + 1, options, validFor: /^\w*$/ };
  };
}
