"""Which kind of scorer: made by name, read from its folder."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from numpy.typing import ArrayLike

from firsthand.data.preselect.fasttext_scorer import FastTextScorer
from firsthand.data.preselect.hashed_scorer import HashedLinearScorer
from firsthand.data.preselect.scorer import Scorer, read_meta
from firsthand.errors import FirsthandError, InputError

__all__ = ["ScorerKind", "load_scorer", "make_scorer"]

ScorerKind = Literal["auto", "fasttext", "hashed"]

_log = logging.getLogger("firsthand")

_KINDS: dict[str, type[Scorer]] = {"fasttext": FastTextScorer, "hashed": HashedLinearScorer}


def make_scorer(kind: ScorerKind = "auto", **parameters: Any) -> Scorer:
    """A new scorer. "auto" is fastText; only where it is not installed, hashed bigrams, and that is said.

    The stand-in is logged as a warning and written to the scorer's meta (`"stands_in_for": "fasttext"`).
    A fastText that is installed and broken is an error, never a reason to fall back.

    Args:
        kind: "auto", "fasttext" or "hashed".
        parameters: of the scorer; those that only the other kind has are an error, except under "auto".
    """
    if kind not in ("auto", "fasttext", "hashed"):
        raise InputError(f"the scorer must be 'auto', 'fasttext' or 'hashed', not {kind!r}")
    if kind == "auto" and importlib.util.find_spec("fasttext") is not None:
        kind = "fasttext"
    if kind == "auto":
        _log.warning("fastText is not installed: hashed bigrams with logistic regression stand in for it")
        known = {"word_ngrams", "features", "penalty", "seed"}
        return _StandIn(**{name: value for name, value in parameters.items() if name in known})
    try:
        return _KINDS[kind](**parameters)
    except TypeError as error:
        raise InputError(f"scorer {kind!r}: {error}") from error


class _StandIn(HashedLinearScorer):
    """A `HashedLinearScorer` whose meta says that it stands in for fastText."""

    def fit(self, texts: Sequence[str], y: ArrayLike) -> Self:
        super().fit(texts, y)
        self.meta["stands_in_for"] = "fasttext"
        return self


def load_scorer(path: Path | str) -> Scorer:
    """Read a scorer of whichever kind lies at `path`; raises as `Scorer.load` does."""
    folder = Path(path)
    kind = read_meta(folder).get("kind")
    if kind not in _KINDS:
        raise InputError(f"{folder}: unknown kind of scorer {kind!r}; known are {sorted(_KINDS)}")
    try:
        return _KINDS[str(kind)].load(folder)
    except FirsthandError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: cannot be loaded: {error}") from error
