"""The cut through a scored corpus: the kept documents, written once, with a manifest.

The threshold is found on the compact scores that `scoring` left; then the kept documents are written with the
schema and in the order of their input, plus a column `preselect_score`. Files that a former run finished are
not written again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from firsthand.corpora.files import InputFile, Layout, read_batches
from firsthand.corpora.ids import identity
from firsthand.corpora.output import OutputFolder, keep_off, only_writer
from firsthand.corpora.places import as_place
from firsthand.corpora.quotas import Quotas, find_quotas
from firsthand.corpora.threshold import Chunk, Measure, budget_of, find_threshold
from firsthand.corpora.writing import open_writer
from firsthand.data.preselect.scoring import HEAD, SCORE_COLUMN, Progress, read_scores, storable
from firsthand.errors import InputError, NotFoundError

__all__ = ["select_corpus"]


def select_corpus(
    files: Sequence[InputFile],
    scores: Path | str,
    folder: Path | str,
    *,
    fraction: float | None = None,
    amount: int | None = None,
    measure: Measure = "chars",
    max_share: float | Mapping[str, float] | None = None,
    layout: Layout | None = None,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the documents of `files` that make up the top of the corpus.

    Args:
        files: the corpus, as it was scored.
        scores: the folder that `score_corpus` wrote.
        folder: gets a file for each input file that has a kept document, with its name (`.txt` becomes
            `.txt.jsonl`), and `manifest.json`, written last.
        fraction: of the total size of documents with a score, in (0, 1]; 0.1 where no amount is given.
        amount: or the size itself: so many characters, tokens or documents.
        measure: what size is: "chars" (as in the paper), "tokens" or "docs"; they give different sets.
        max_share: no source fills more than this share of what is kept, see `find_quotas`. Sources are the
            layout's at the time of scoring.
        layout: which field holds what.
        seed: seeds the order among documents of equal score.
        on_progress: called after each file.

    Returns:
        The manifest.

    Raises:
        NotFoundError: no scores there. InputError: scores of another corpus, a bad fraction, quotas that leave
            too little, another run that writes to the folder.
        OutputError: writing failed; the file in question was not left half-written.
    """
    layout = layout or Layout()
    scores, folder = as_place(scores), as_place(folder)
    if fraction is None and amount is None:
        fraction = 0.1
    if measure not in ("chars", "tokens", "docs"):
        raise InputError(f"measure must be 'chars', 'tokens' or 'docs', not {measure!r}")
    head = _read_head(scores, files, layout)
    keep_off(files, (folder / name for name in map(_output_name, files)))
    cut = _Cut(files, scores, head["keys"], measure, fraction, amount, max_share, seed)
    key = identity(json.dumps([head, cut.as_dict(), measure, repr(layout)])).hex()
    with only_writer(folder):
        output = OutputFolder(folder, key)
        if (whole := output.manifest()) is not None:
            return whole
        output.begin(map(_output_name, files))
        for number, file in enumerate(files):
            if output.done(file.name) is None:
                output.note(file.name, _write_kept(file, folder, layout, cut))
            if on_progress:
                on_progress("select", number + 1, len(files))
        return output.finish(
            {
                "scorer_sha256": head["scorer_sha256"],
                "normaliser_version": head["normaliser_version"],
                "measure": measure,
                **cut.as_dict(),
                "ties": "equal scores are taken in a seeded order of ids; unscored documents are never kept",
                "inputs": head["inputs"],
                "note": "The score is relative to the reference models and the benchmark; no probability of "
                "quality.",
            }
        )


def _read_head(scores: Path, files: Sequence[InputFile], layout: Layout) -> dict[str, Any]:
    path = scores / HEAD
    if not path.is_file():
        raise NotFoundError(f"{scores}: no scores here (scores.json is missing); score the corpus first")
    try:
        head = dict(json.loads(path.read_text(encoding="utf-8")))
        stamps, scored = list(head["inputs"]), Layout(**head["layout"])
        same = stamps == [file.stamp() for file in files] and head["keys"].keys() == {f.name for f in files}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the scores of a corpus: {error}") from error
    if not same:
        raise InputError(
            f"{scores}: these are the scores of other input files, or the files changed since; "
            "score the corpus again"
        )
    # The source may be another field now: quotas go by the one that was scored.
    if replace(scored, source_field=layout.source_field) != layout:
        raise InputError(
            f"{scores}: the corpus was scored with other fields or another text unit ({scored}); "
            "name the same ones, or score it again"
        )
    return head


class _Cut:
    """Which documents are kept: above the threshold, and within their source's quota where there is one."""

    def __init__(
        self,
        files: Sequence[InputFile],
        scores: Path,
        keys: Mapping[str, str],
        measure: Measure,
        fraction: float | None,
        amount: int | None,
        max_share: float | Mapping[str, float] | None,
        seed: int,
    ) -> None:
        def passes(with_ids: bool) -> Iterator[Chunk]:
            for file in files:
                yield from self.chunks(file, with_ids)

        self._scores, self._keys, self._measure = scores, keys, measure
        self.quotas: Quotas | None = None
        self._max_share = max_share
        self.threshold = whole = find_threshold(passes, fraction, amount=amount, seed=seed)
        if max_share is None:
            return
        budget = budget_of(whole.total_size, fraction, amount)
        quotas = self.quotas = find_quotas(passes, budget, max_share, seed=seed)

        def within(with_ids: bool) -> Iterator[Chunk]:
            for chunk in passes(True):
                inside = quotas.eligible(chunk.scores, chunk.sources, chunk.ids)
                yield chunk._replace(scores=np.where(inside, chunk.scores, np.float32(np.nan)))

        # Told of the whole corpus, and not of what the quotas leave of it.
        cut = find_threshold(within, amount=budget, seed=seed)
        self.threshold = replace(
            cut,
            fraction=whole.fraction,
            amount=whole.amount,
            kept_fraction=cut.kept_size / whole.total_size,
            total_size=whole.total_size,
            scored_docs=whole.scored_docs,
            unscored_docs=whole.unscored_docs,
        )

    def chunks(self, file: InputFile, with_ids: bool = True) -> Iterator[Chunk]:
        """The scores of one file, with whatever `keep` wants to know."""
        return read_scores(
            self._scores,
            file.name,
            self._keys[file.name],
            self._measure,
            with_ids=with_ids,
            with_sources=self._max_share is not None,
        )

    def keep(self, chunk: Chunk) -> Any:
        """(n,) which documents of a chunk (with ids, and sources where there are quotas) are kept."""
        kept = self.threshold.keep(chunk.scores, chunk.ids)
        if self.quotas is not None:
            kept &= self.quotas.eligible(chunk.scores, chunk.sources, chunk.ids)
        return kept

    def as_dict(self) -> dict[str, Any]:
        """For the manifest: the threshold and, where there are some, the quotas."""
        found: dict[str, Any] = {"threshold": self.threshold.as_dict()}
        if self.quotas is not None:
            share = self._max_share
            asked = dict(share) if isinstance(share, Mapping) else share
            found["quotas"] = {"max_share": asked, **self.quotas.as_dict()}
        return found


def _output_name(file: InputFile) -> str:
    return file.name + ".jsonl" if file.is_text else file.name


def _write_kept(file: InputFile, folder: Path, layout: Layout, cut: _Cut) -> dict[str, Any]:
    """Write one file's kept documents; a file of which none is kept gets no output."""
    name = _output_name(file)
    kept_docs = kept_size = 0
    for chunk in cut.chunks(file):
        kept = cut.keep(chunk)
        kept_docs += int(kept.sum())
        kept_size += int(chunk.sizes[kept].sum())
    if kept_docs == 0:
        return {"name": None, "docs": 0, "size": 0}
    rows = _Rows(cut.chunks(file))
    changed = InputError(f"{file.path}: the file changed since it was scored; score it again")
    with open_writer(folder / name, ".jsonl" if file.is_text else file.suffix) as writer:
        for batch in read_batches(file, layout, whole=True):
            chunk = rows.take(len(batch.documents))
            if list(chunk.ids) != [storable(document.id) for document in batch.documents]:
                raise changed
            writer.write(batch, cut.keep(chunk).tolist(), {SCORE_COLUMN: list(chunk.scores)})
        if rows.take(1).ids:
            raise changed
    return {"name": name, "docs": kept_docs, "size": kept_size}


class _Rows:
    """The stored rows, so many at a time; fewer at the end."""

    def __init__(self, source: Iterator[Chunk]) -> None:
        self._source = source
        self._have = Chunk(np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64), [], [])
        self._at = 0

    def take(self, n: int) -> Chunk:
        while self._have.scores.size - self._at < n:
            more = next(self._source, None)
            if more is None:
                break
            self._have = _joined(_slice(self._have, self._at, None), more)
            self._at = 0
        taken = _slice(self._have, self._at, self._at + n)
        self._at += taken.scores.size
        return taken


def _slice(chunk: Chunk, start: int, stop: int | None) -> Chunk:
    part = slice(start, stop)
    return Chunk(chunk.scores[part], chunk.sizes[part], chunk.ids[part], chunk.sources[part])


def _joined(first: Chunk, second: Chunk) -> Chunk:
    return Chunk(
        np.concatenate([first.scores, second.scores]),
        np.concatenate([first.sizes, second.sizes]),
        [*first.ids, *second.ids],
        [*first.sources, *second.sources],
    )
