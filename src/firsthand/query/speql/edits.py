"""Edits of a text that is repaired in several steps, all told in places of the text as it was typed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from firsthand.query.speql.text import Span

__all__ = ["Draft", "Edit", "apply_edits"]


@dataclass(frozen=True)
class Edit:
    """One replaced piece.

    Attributes:
        start, end: of the piece in the text as it was typed, [start, end) in Unicode code points.
        new: what stands there instead; "" where it is left out.
        why: for a reader.
    """

    start: int
    end: int
    new: str
    why: str = ""


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """The text with all edits made; they must be in order and must not overlap."""
    parts = []
    at = 0
    for edit in edits:
        parts.append(text[at : edit.start])
        parts.append(edit.new)
        at = edit.end
    parts.append(text[at:])
    return "".join(parts)


@dataclass(frozen=True)
class _Piece:
    """A run of a draft: `text` kept from `origin`, or put in (`origin` None); a cut is put in with text ""."""

    text: str
    origin: int | None
    why: str = ""


class Draft:
    """A piece of a text on its way to something that runs: what it reads now and how it came from the original."""

    def __init__(
        self, original: str, start: int, end: int, *, pieces: Sequence[_Piece] | None = None
    ) -> None:
        self._original = original
        self._start, self._end = start, end
        self._pieces = list(pieces) if pieces is not None else [_Piece(original[start:end], start)]
        self.text = "".join(piece.text for piece in self._pieces)

    @property
    def span(self) -> Span:
        """The piece of the original that this is made from."""
        return Span(self._start, self._end)

    def changed(self, edits: Iterable[Edit]) -> Draft:
        """This with edits made, which are told in places of this draft, in order and without overlap."""
        pieces: list[_Piece] = []
        waiting = list(self._pieces)
        at = 0  # of the first waiting piece in the draft

        def take(upto: int) -> list[_Piece]:
            nonlocal at
            taken = []
            while waiting and (at < upto or (at == upto and not waiting[0].text)):
                piece = waiting.pop(0)
                room = upto - at
                if len(piece.text) > room:
                    rest = None if piece.origin is None else piece.origin + room
                    waiting.insert(0, _Piece(piece.text[room:], rest, piece.why))
                    piece = _Piece(piece.text[:room], piece.origin, piece.why)
                taken.append(piece)
                at += len(piece.text)
            return taken

        for edit in edits:
            pieces += take(edit.start)
            gone = take(edit.end)
            reasons = [piece.why for piece in gone if piece.why]
            pieces += [_Piece("", None, why) for why in reasons]
            pieces.append(_Piece(edit.new, None, edit.why))
        pieces += waiting
        return Draft(self._original, self._start, self._end, pieces=pieces)

    def edits(self) -> tuple[Edit, ...]:
        """How the original becomes this draft: in order, apart from each other, none without effect."""
        found: list[Edit] = []
        at = self._start
        new: list[str] = []
        reasons: list[str] = []
        for piece in [*self._pieces, _Piece("", self._end)]:
            if piece.origin is None:
                new.append(piece.text)
                reasons.append(piece.why)
                continue
            if not piece.text and piece.origin < self._end:
                continue
            text = "".join(new)
            if text != self._original[at : piece.origin]:
                found.append(Edit(at, piece.origin, text, "; ".join(dict.fromkeys(filter(None, reasons)))))
            new, reasons = [], []
            at = piece.origin + len(piece.text)
        return tuple(found)
