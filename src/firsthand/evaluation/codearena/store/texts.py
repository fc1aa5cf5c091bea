"""Texts from outside: what a database and a compiler can hold, and ids made here.

Knows bytes. A text has no NUL character (PostgreSQL keeps none, C ends at one) and no half of a surrogate pair (which
is not UTF-8).
"""

from __future__ import annotations

import hashlib
import secrets
import time

from firsthand.evaluation.codearena.errors import ArenaError, InvalidSource, SourceTooLarge

__all__ = ["SOURCE_BYTES", "checked_source", "checked_text", "new_sid", "sha256", "storable"]

SOURCE_BYTES = 64 * 1024
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def checked_text(text: object, what: str, longest: int, *, fault: type[ArenaError]) -> str:
    """The text, where it can be stored and has at most `longest` bytes as UTF-8; raises `fault` otherwise."""
    if not isinstance(text, str):
        raise fault(f"{what} must be a text, got {type(text).__name__}")
    if "\0" in text:
        raise fault(f"{what} has a NUL character at {text.index(chr(0))}")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise fault(f"{what} has half of a surrogate pair at {error.start}, which is not UTF-8") from error
    if size > longest:
        raise fault(f"{what} has {size} bytes; at most {longest} are taken")
    return text


def checked_source(source: str | bytes, *, limit: int = SOURCE_BYTES, what: str = "the source") -> str:
    """A program's text.

    Raises:
        InvalidSource: it is empty, has a NUL character, or is not UTF-8.
        SourceTooLarge: more than `limit` bytes.
    """
    if isinstance(source, bytes):
        if len(source) > limit:
            raise SourceTooLarge(f"{what} has {len(source)} bytes; at most {limit} are taken")
        try:
            source = source.decode()
        except UnicodeDecodeError as error:
            raise InvalidSource(f"{what} is not UTF-8: {error.reason} at byte {error.start}") from error
    checked_text(source, what, 1 << 62, fault=InvalidSource)
    if len(source.encode()) > limit:
        raise SourceTooLarge(f"{what} has {len(source.encode())} bytes; at most {limit} are taken")
    if not source.strip():
        raise InvalidSource(f"{what} is empty")
    return source


def storable(text: str, longest: int = 16 * 1024) -> str:
    """A program's own words as a database can keep them: what it cannot is replaced, what is too long is cut."""
    found = text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    return found if len(found) <= longest else found[:longest] + "…"


def sha256(*texts: str) -> str:
    """Hex digest of texts; of several, no two lists have the same bytes."""
    if len(texts) == 1:
        return hashlib.sha256(texts[0].encode()).hexdigest()
    digest = hashlib.sha256()
    for text in texts:
        content = text.encode()
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    return digest.hexdigest()


def new_sid() -> str:
    """A ULID: 26 characters, 48 bits of time in ms and 80 random bits; later ones sort behind earlier ones."""
    number = time.time_ns() // 1_000_000 << 80 | secrets.randbits(80)
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))
