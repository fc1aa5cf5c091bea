"""Text from tokens as they come: whole characters only, and an end at stop strings.

Knows what `tokenizer.decode` does to parts of a text; knows nothing of models or of HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from firsthand.errors import InputError

__all__ = ["Detokeniser", "StopText"]

_BROKEN = "\ufffd"  # what decoders write where bytes are no character, or not yet
_UNFINISHED = 3  # a character has at most four bytes: so many can wait for the next


class Detokeniser:
    """Text of tokens one at a time: what `add` and `finish` return, joined, is the text of all of them.

    Tokens may hold parts of a character (byte-level BPE, byte fallback), and a token's text may depend on
    whether another stands before it (SentencePiece strips the first space). Therefore tokens are decoded
    behind those of the last whole piece of text, and what may be the beginning of a character waits for its
    rest. Special tokens have no text.

    `tokenizer` has `decode(ids, skip_special_tokens=True) -> str`.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._context: list[int] = []  # tokens of the last whole piece of text
        self._context_length = 0  # characters of it
        self._held: list[int] = []  # tokens since
        self._shown = ""  # of the text of both, what has been returned

    def add(self, tokens: Iterable[int]) -> str:
        """The text that has become certain with `tokens`; "" while a character is not complete."""
        return "".join(self._add(token) for token in tokens)

    def finish(self) -> str:
        """The rest, where the text ends inside a character."""
        text = self._rest(self._decode([*self._context, *self._held]))
        self._context, self._held, self._context_length, self._shown = [], [], 0, ""
        return text

    def _add(self, token: int) -> str:
        self._held.append(token)
        text = self._decode([*self._context, *self._held])
        if text.endswith(_BROKEN):
            certain = len(text)
            while certain > max(0, len(text) - _UNFINISHED) and text[certain - 1] == _BROKEN:
                certain -= 1
            # With byte fallback one broken byte breaks its whole run: then what was shown is not there.
            if certain <= len(self._shown) or not text.startswith(self._shown):
                return ""
            piece = text[len(self._shown) : certain]
            self._shown += piece
            return piece
        if text == self._shown:
            return ""
        piece = self._rest(text)
        self._context, self._held = self._held, []
        self._shown = self._decode(self._context)
        self._context_length = len(self._shown)
        return piece

    def _rest(self, text: str) -> str:
        if text.startswith(self._shown):
            return text[len(self._shown) :]
        return self._decode(self._held)[len(self._shown) - self._context_length :]

    def _decode(self, tokens: list[int]) -> str:
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return text


class StopText:
    """Text up to the first stop string; an end of it that may be the beginning of one is held back.

    Where several stop strings match, the one that is complete first ends the text, as it does when tokens
    have one character each; of two complete at once, the longer.
    """

    def __init__(self, strings: Sequence[str] = ()) -> None:
        if any(not wanted for wanted in strings):
            raise InputError("a stop string is empty; it would end every text before it begins")
        self._strings = tuple(strings)
        self._held = ""
        self.found = False

    def add(self, text: str) -> str:
        """What of the text so far is certain not to belong to a stop string; "" once one was found."""
        if self.found:
            return ""
        text = self._held + text
        ends = [(at + len(wanted), at) for wanted in self._strings if (at := text.find(wanted)) >= 0]
        if ends:
            self.found, self._held = True, ""
            return text[: min(ends)[1]]
        held = max((_overlap(text, wanted) for wanted in self._strings), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def finish(self) -> str:
        """What was held back, where the text ends without it having become a stop string."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, wanted: str) -> int:
    """The length of the longest end of `text` that `wanted` begins with, less than all of it."""
    for length in range(min(len(wanted) - 1, len(text)), 0, -1):
        if wanted.startswith(text[-length:]):
            return length
    return 0
