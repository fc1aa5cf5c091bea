"""Tokens into text as they come: no broken characters, no lost spaces, the same text as all tokens at once."""

from __future__ import annotations

from typing import Any

__all__ = ["TextStream"]

_BROKEN = "\N{REPLACEMENT CHARACTER}"


class TextStream:
    """Gives out the text of a growing row of tokens piece by piece.

    A tokenizer may write a token differently after another one (a leading space), and a character may need
    several tokens. So each piece is what the newest tokens add to the text of a few before them, and it is
    held back while it ends in an incomplete character.

    `tokenizer` is anything with `decode(ids) -> str`.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._context = self._given = 0  # where the context of the next piece begins, and what was given out

    def push(self, token: int) -> str:
        """One more token; the text that can be shown now, which may be empty."""
        self._tokens.append(token)
        before, now = self._texts()
        if now.endswith(_BROKEN) or len(now) <= len(before):
            return ""
        self._context, self._given = self._given, len(self._tokens)
        return now[len(before) :]

    def flush(self) -> str:
        """The text is over: what was held back, broken as it may be."""
        before, now = self._texts()
        self._context = self._given = len(self._tokens)
        return now[len(before) :]

    def _texts(self) -> tuple[str, str]:
        decode = self._tokenizer.decode
        return decode(self._tokens[self._context : self._given]), decode(self._tokens[self._context :])
