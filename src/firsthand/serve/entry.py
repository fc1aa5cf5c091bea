"""How a browser gets in: the token once in the address, a cookie from then on.

A browser sends no Authorization header with what it navigates to, downloads or opens as a websocket. So the first GET
may carry `?token=…`; it is answered by a cookie and the same address without the token, which therefore stays
neither in the address bar nor in a Referer. Knows cookies and addresses. Knows nothing of who else may ask (`shell`).

Cookies know no ports: a server beside this one on the loopback is sent the same ones. Therefore the cookie is named
after the port, and holds a digest that opens this server alone, never the token. What it says counts for nothing where
the browser itself tells that another page asked (Sec-Fetch-Site).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, MutableMapping, Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

__all__ = ["cookie_opens", "entry_headers"]

Headers = Mapping[bytes, Sequence[bytes]]


def cookie_opens(scope: MutableMapping[str, Any], headers: Headers, token: bytes) -> bool:
    """Whether a request carries this server's cookie, and no page but its own sent it."""
    if any(site.lower() not in (b"same-origin", b"none") for site in headers.get(b"sec-fetch-site", ())):
        return False
    wanted = _value(scope, token).encode()
    for header in headers.get(b"cookie", ()):
        found: SimpleCookie = SimpleCookie()
        try:
            found.load(header.decode("latin-1"))
        except CookieError:
            continue
        morsel = found.get(_name(scope))
        if morsel is not None and hmac.compare_digest(morsel.value.encode(), wanted):
            return True
    return False


def entry_headers(scope: MutableMapping[str, Any], token: bytes) -> list[tuple[str, str]] | None:
    """Headers of the answer to a GET whose address carries the token; None where it does not, or not the right one."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return None
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    given = [value for name, value in query if name == "token"]
    if len(given) != 1 or not hmac.compare_digest(given[0].encode(), token):
        return None
    rest = urlencode([(name, value) for name, value in query if name != "token"])
    # One slash in front: what begins with two would be the address of another machine.
    path = "/" + quote(scope["path"].lstrip("/\\"))
    return [
        ("Location", path + (f"?{rest}" if rest else "")),
        ("Set-Cookie", f"{_name(scope)}={_value(scope, token)}; HttpOnly; SameSite=Strict; Path=/"),
        ("Cache-Control", "no-store"),
        ("Referrer-Policy", "no-referrer"),
    ]


def _port(scope: MutableMapping[str, Any]) -> int:
    server = scope.get("server")
    return 0 if server is None or server[1] is None else int(server[1])


def _name(scope: MutableMapping[str, Any]) -> str:
    return f"firsthand-{_port(scope)}"


def _value(scope: MutableMapping[str, Any], token: bytes) -> str:
    return hmac.new(token, f"cookie of port {_port(scope)}".encode(), hashlib.sha256).hexdigest()
