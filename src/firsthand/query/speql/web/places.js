// The server counts code points, a browser UTF-16 units.

export function codePoints(text, unit) {
  let count = 0;
  for (let at = 0; at < unit; count++) at += text.codePointAt(at) > 0xffff ? 2 : 1;
  return count;
}

export function units(text, point) {
  let at = 0;
  for (let count = 0; count < point && at < text.length; count++) at += text.codePointAt(at) > 0xffff ? 2 : 1;
  return at;
}
