"""The paper's scorer: fastText, with what it does to repeatability and to some words made good."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firsthand.data.preselect.scorer import Scorer
from firsthand.errors import InputError, MissingDependencyError, OutputError

__all__ = ["FastTextScorer"]

_M_PERTURB = -6  # of glibc's malloc.h


class FastTextScorer(Scorer):
    """fastText supervised with the paper's settings (epoch 3, lr 0.1, word bigrams).

    Args:
        epoch, lr, word_ngrams, dim: as in fastText; the defaults are the paper's.
        bucket: hash buckets for n-grams. The official 2 000 000 makes an 800 MB model
            (bucket · dim · 4 bytes); our default of 200 000 makes 80 MB and suits a laptop. It is raised
            where the vectors would take less than 32 MiB, see `_least_bucket`.
        threads: 1 makes training repeat bit for bit; more do not.
        seed: seeds weights and training order.
    """

    kind = "fasttext"
    weights_name = "model.bin"

    def __init__(
        self,
        epoch: int = 3,
        lr: float = 0.1,
        word_ngrams: int = 2,
        dim: int = 100,
        bucket: int = 200_000,
        threads: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(
            epoch=epoch, lr=lr, word_ngrams=word_ngrams, dim=dim, bucket=bucket, threads=threads, seed=seed
        )
        self._model: Any = None

    def _train(self, texts: list[str], labels: NDArray[np.int_]) -> None:
        fasttext = _fasttext()
        p = self.parameters
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "training.txt"
                with path.open("w", encoding="utf-8", newline="\n") as stream:
                    for text, label in zip(texts, labels, strict=True):
                        stream.write(f"__label__{label} {_plain_words(text)}\n")  # the last line ends too
                with _memory_comes_zeroed():
                    self._model = fasttext.train_supervised(
                        input=str(path),
                        epoch=p["epoch"],
                        lr=p["lr"],
                        wordNgrams=p["word_ngrams"],
                        dim=p["dim"],
                        bucket=max(p["bucket"], _least_bucket(p["dim"])),
                        thread=p["threads"],
                        seed=p["seed"],
                        verbose=0,
                    )
        except OSError as error:
            raise OutputError(f"cannot write fastText's training file: {error.strerror or error}") from error
        except RuntimeError as error:
            raise InputError(
                f"fastText gave up on this training set ({error}); a lower lr may help"
            ) from error

    def _probabilities(self, texts: list[str]) -> ArrayLike:
        # What the library's `predict` calls once it has looked for line breaks: normalised texts have none.
        lines = [_plain_words(text) + "\n" for text in texts]
        labels, values = self._model.f.multilinePredict(lines, 2, 0.0, "strict")
        # Words that training never saw and no bucket either leave no label at all: no evidence, one half.
        return [
            (vs[0] if ls[0] == "__label__1" else vs[1]) if len(ls) == 2 else _one_label(ls, vs)
            for ls, vs in zip(labels, values, strict=True)
        ]

    def _word_weights(self) -> tuple[list[str], NDArray[np.float64]]:
        rows = self._model.get_output_matrix()
        names = self._model.get_labels()
        difference = rows[names.index("__label__1")] - rows[names.index("__label__0")]
        words = [word for word in self._model.get_words(on_unicode_error="replace") if word != "</s>"]
        vectors = np.array([self._model.get_word_vector(word) for word in words])
        if not words:
            return [], np.empty(0)
        return words, np.asarray(vectors, dtype=np.float64) @ np.asarray(difference, dtype=np.float64)

    def _write_weights(self, path: Path) -> None:
        self._model.save_model(str(path))

    def _read_weights(self, path: Path) -> None:
        self._model = _fasttext().load_model(str(path))


def _one_label(labels: Sequence[str], values: Sequence[float]) -> float:
    return next((value for name, value in zip(labels, values, strict=True) if name == "__label__1"), 0.5)


def _fasttext() -> Any:
    try:
        import fasttext
    except ImportError as error:
        raise MissingDependencyError(
            "this scorer needs fastText: pip install 'firsthand[data]' (Python 3.11 to 3.13), or use the "
            "scorer 'hashed'"
        ) from error
    return fasttext


@contextlib.contextmanager
def _memory_comes_zeroed() -> Iterator[None]:
    """For the while, the C library fills the memory that it hands out with zeros (glibc's M_PERTURB).

    fastText sets its initial vectors in tenths, one a thread: with one thread nine tenths stay what the
    memory held before. In used memory training then gives other weights each time, or NaN; in zeros those
    vectors start at zero, every time. Where there is no glibc, large blocks have to do (`_least_bucket`).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        yield
        return
    mallopt(_M_PERTURB, 0xFF)  # memory gets the complement of this byte
    try:
        yield
    finally:
        mallopt(_M_PERTURB, 0)


def _least_bucket(dim: int) -> int:
    """Buckets that make the vectors larger than 32 MiB.

    C libraries take blocks above some such size as fresh pages, which hold zeros, unless they have as much
    lying free: rarely used memory, then, where `_memory_comes_zeroed` can do nothing.
    """
    return (33 << 20) // (4 * dim) + 1


def _plain_words(text: str) -> str:
    """Words that fastText would read as commands, made ordinary.

    `</s>` ends a line early, and a word that begins with `__label__` becomes a label of the document: a page
    about fastText would otherwise teach, or be scored, on its own first words only.
    """
    if "</s>" not in text and "__label__" not in text:
        return text
    words = []
    for word in text.split(" "):
        if word == "</s>":
            word = "<\\s>"
        elif word.startswith("__label__"):
            word = "_" + word.lstrip("_")
        words.append(word)
    return " ".join(words)
