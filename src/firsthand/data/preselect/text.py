"""One way to normalise a document, used by training and by scoring alike.

The released code trains on text whose line breaks became spaces and then scores text whose line breaks
were deleted, which glues the last word of a line to the first of the next. Here both go through
`normalize_text`, its version travels with every scorer, and a scorer of another version is refused.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firsthand.errors import InputError, MissingDependencyError, ModelNotFoundError

__all__ = ["NORMALISER_VERSION", "bits_per_char", "encodable", "normalize_text", "token_counter"]

NORMALISER_VERSION = "1"


def normalize_text(text: str) -> str:
    """NFC, every run of white space (NUL included) one space, none at the ends.

    Case is kept, as in the official code. A lone surrogate, which no UTF-8 can hold, becomes U+FFFD.
    """
    if _is_normal(text):
        return text
    if "\x00" in text:
        text = text.replace("\x00", " ")
    text = " ".join(unicodedata.normalize("NFC", text).split())
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = "".join("�" if "\ud800" <= c <= "\udfff" else c for c in text)
    return text


def _is_normal(text: str) -> bool:
    """Whether nothing is left to do, found out faster than by doing it: most lines come normalised.

    Of all white space only the plain space is printable, and a surrogate is not.
    """
    return (
        text.isprintable()
        and "  " not in text
        and text[:1] != " "
        and text[-1:] != " "
        and (text.isascii() or unicodedata.is_normalized("NFC", text))
    )


def bits_per_char(
    nll_nats: ArrayLike, texts: Sequence[str], unit: Literal["char", "byte"] = "char"
) -> NDArray[np.float64]:
    """Normalised loss C = nats / (|d| ln 2) of each document, in bits per character or per byte.

    Args:
        nll_nats: (D,) total negative log-likelihood of each document, nats.
        texts: the D documents; |d| counts Unicode code points, or UTF-8 bytes with `unit="byte"`.
        unit: "char" or "byte".

    Returns:
        (D,) float64; NaN for an empty text. Predictive strength does not depend on this step (one document
        has one length for all models); averages over documents do. Losses per token do not compare between
        tokenizers: this is why the division is by characters.
    """
    nats = np.asarray(nll_nats, dtype=np.float64)
    if nats.shape != (len(texts),):
        raise InputError(f"nll_nats has shape {nats.shape}, but there are {len(texts)} texts")
    if unit not in ("char", "byte"):
        raise InputError(f"unit must be 'char' or 'byte', not {unit!r}")
    sizes = [len(t) if unit == "char" else len(t.encode("utf-8", "surrogatepass")) for t in texts]
    lengths = np.array(sizes, dtype=np.float64)
    lengths[lengths == 0] = np.nan
    return nats / (lengths * math.log(2))


def encodable(text: str) -> str:
    """A lone surrogate becomes "?": no tokenizer takes it."""
    return text.encode("utf-8", "replace").decode("utf-8")


def token_counter(name: str) -> Callable[[str], int]:
    """A function that counts a text's tokens (no special ones) with a Hugging Face tokenizer.

    Args:
        name: a tokenizer.json, a folder that holds one, or a name on the hub.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingDependencyError(
            "counting tokens needs tokenizers: pip install 'firsthand[lm]'"
        ) from error
    path = Path(name).expanduser()
    path = path / "tokenizer.json" if path.is_dir() else path
    try:
        tokenizer: Any = Tokenizer.from_file(str(path)) if path.is_file() else Tokenizer.from_pretrained(name)
    except Exception as error:  # tokenizers raises bare exceptions
        raise ModelNotFoundError(f"the tokenizer {name!r} could not be loaded: {error}") from error
    return lambda text: len(tokenizer.encode(encodable(text), add_special_tokens=False).ids)
