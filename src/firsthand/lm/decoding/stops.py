"""Where a text ends: stop ids, stop strings, and the exact length asked for.

Decoders that emit several tokens at once show them to one `Ending`, which takes them one by one and says
where to cut; nothing after the cut is ever returned or streamed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from firsthand.errors import InputError

__all__ = ["Ending", "Stop"]

Reason = Literal["length", "stop"]


@dataclass(frozen=True)
class Stop:
    """What ends a text before its length is reached.

    Attributes:
        ids: token ids; the one that ends the text is its last token.
        strings: texts; the token that completes one is the last. They need `tokenizer`.
        tokenizer: anything with `decode(ids) -> str`.
    """

    ids: tuple[int, ...] = ()
    strings: tuple[str, ...] = ()
    tokenizer: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", tuple(int(token) for token in self.ids))
        object.__setattr__(self, "strings", tuple(self.strings))
        if any(not text for text in self.strings):
            raise InputError("a stop string is empty; it would end every text before it begins")
        if self.strings and self.tokenizer is None:
            raise InputError("stop strings need the model's tokenizer: Stop(strings=..., tokenizer=...)")


class Ending:
    """One text's own end: counts its tokens and looks for what stops it."""

    def __init__(self, stop: Stop, max_new_tokens: int) -> None:
        self._ids = frozenset(stop.ids)
        self._stop = stop
        self._left = max_new_tokens
        self._tokens: list[int] = []
        self.reason: Reason | None = "length" if max_new_tokens == 0 else None

    @property
    def reached(self) -> bool:
        """Whether the text has ended."""
        return self.reason is not None

    def take(self, tokens: Sequence[int]) -> list[int]:
        """Those of `tokens` that still belong to the text, in order."""
        taken: list[int] = []
        for token in tokens:
            if self.reached:
                break
            taken.append(token)
            self._left -= 1
            if self._ends_with(token):
                self.reason = "stop"
            elif self._left == 0:
                self.reason = "length"
        return taken

    def _ends_with(self, token: int) -> bool:
        if token in self._ids:
            return True
        if not self._stop.strings:
            return False
        self._tokens.append(token)
        # A token has at least one byte, and may complete a character begun some tokens ago.
        longest = max(len(text.encode()) for text in self._stop.strings)
        tail = self._tokens[-(longest + 4) :]
        text: str = self._stop.tokenizer.decode(tail)
        before: str = self._stop.tokenizer.decode(tail[:-1])
        return any(text.count(wanted) > before.count(wanted) for wanted in self._stop.strings)
