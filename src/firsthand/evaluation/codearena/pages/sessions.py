"""Who is logged in at the pages: a token shown once, kept on the server, and named by a cookie.

The cookie is random, read by no script (HttpOnly) and sent from no other site (SameSite=Strict); the token itself never
leaves the server again. Every request looks the token up, so that one that was revoked opens nothing any more. A form
that changes something carries its session's own secret, which another site cannot know.

Sessions live in the memory of one server: a restart logs everybody out. Knows cookies. Knows no routes.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["COOKIE", "TICKET", "Session", "Sessions"]

COOKIE = "arena-session"
TICKET = "arena-login"
_IDLE_S = 12 * 3600.0
_LONGEST_S = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Session:
    """A token that was shown, and the secret that this session's forms carry."""

    token: str = field(repr=False)
    form_secret: str = field(repr=False)
    since: float

    def owns(self, sent: str) -> bool:
        """Whether a form is this session's."""
        return hmac.compare_digest(self.form_secret.encode(), sent.encode("utf-8", "replace"))


class Sessions:
    """Sessions of one server.

    Args:
        most: how many are kept; the one not seen for longest goes first.
    """

    def __init__(self, *, most: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._kept: OrderedDict[bytes, tuple[Session, float]] = OrderedDict()
        self._lock = threading.Lock()
        self._key = secrets.token_bytes(32)

    def open(self, token: str) -> tuple[str, Session]:
        """The cookie's value and the session of a token that was found to be good."""
        cookie = secrets.token_urlsafe(32)
        now = self._clock()
        session = Session(token, secrets.token_urlsafe(32), now)
        with self._lock:
            self._kept[_name(cookie)] = (session, now)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return cookie, session

    def find(self, cookie: str) -> Session | None:
        """The session that a cookie names; None where there is none, or where it has run out."""
        name, now = _name(cookie), self._clock()
        with self._lock:
            kept = self._kept.get(name)
            if kept is None:
                return None
            session, seen = kept
            if now - seen > _IDLE_S or now - session.since > _LONGEST_S:
                del self._kept[name]
                return None
            self._kept[name] = (session, now)
            self._kept.move_to_end(name)
        return session

    def close(self, cookie: str) -> None:
        """Forget a session."""
        with self._lock:
            self._kept.pop(_name(cookie), None)

    # --- the form that logs in, before there is a session -----------------------------------------

    def ticket(self, sent: str = "") -> tuple[str, str]:
        """A cookie and what the form must carry beside it, so that no other site can log anybody in.

        Args:
            sent: the cookie that the browser has already; used again, so that two open forms both work.
        """
        cookie = sent if 20 <= len(sent) <= 100 else secrets.token_urlsafe(32)
        return cookie, self._seal(cookie)

    def fits(self, cookie: str, sealed: str) -> bool:
        """Whether a form's seal belongs to the cookie."""
        return bool(cookie) and hmac.compare_digest(
            self._seal(cookie).encode(), sealed.encode("utf-8", "replace")
        )

    def _seal(self, cookie: str) -> str:
        return hmac.new(self._key, cookie.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def _name(cookie: str) -> bytes:
    # Its hash, so that how long a look-up takes tells nothing of cookies that others have.
    return hashlib.sha256(cookie.encode("utf-8", "replace")).digest()
