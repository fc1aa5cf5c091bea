"""PreSelect's scorer as steps of a datatrove pipeline.

Two passes over the corpus. The first scores and sums the scores up, in a sketch for each task; the second
keeps what lies at or above the threshold that those sketches give. Documents stay in their order.

    from datatrove.executor import SlurmPipelineExecutor
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from firsthand.data.preselect.datatrove_steps import PreSelectFilter, PreSelectScore

    cluster = dict(tasks=100, time="04:00:00", partition="cpu", mem_per_cpu_gb=4, venv_path="…/activate")
    score = SlurmPipelineExecutor(
        [JsonlReader("corpus"), PreSelectScore("scorer", sketch_folder="sketches"), JsonlWriter("scored")],
        logging_dir="logs/score", **cluster,
    )
    keep = SlurmPipelineExecutor(
        [JsonlReader("scored"), PreSelectFilter(sketch_folder="sketches", fraction=0.1), JsonlWriter("kept")],
        logging_dir="logs/keep", depends=score, **cluster,
    )
    keep.run()

The tests run the same steps on datatrove's `LocalPipelineExecutor`; Slurm itself is not tested. Every worker
needs Firsthand and the scorer's folder. A task that is run again writes the same files again.

This module needs datatrove and is therefore not part of the room's own face.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from firsthand.corpora.quantiles import QuantileSketch
from firsthand.data.preselect.scorers import load_scorer
from firsthand.errors import InputError, MissingDependencyError, NotFoundError

try:
    from datatrove.io import get_datafolder
    from datatrove.pipeline.base import PipelineStep
    from datatrove.pipeline.filters.base_filter import BaseFilter
    from datatrove.utils.batching import batched
except ImportError as missing:
    raise MissingDependencyError(
        "PreSelect's steps for datatrove need datatrove: pip install 'firsthand[data]'"
    ) from missing

__all__ = ["SCORE", "PreSelectFilter", "PreSelectScore", "threshold_from_sketches"]

SCORE = "preselect_score"  # in a document's metadata

Documents = Iterator[Any]  # datatrove.data.Document


class PreSelectScore(PipelineStep):  # type: ignore[misc] # datatrove has no types
    """Puts `preselect_score`, P(label 1), into each document's metadata; NaN for an empty text.

    The scores are those of `Scorer.predict_proba`. The scorer is read anew in each task, not sent there.

    Args:
        scorer_folder: what `Scorer.save` wrote; every worker must see it.
        sketch_folder: gets RANK.json, the distribution of one task's scores, for `threshold_from_sketches`. A
            folder or anything else that datatrove takes for one. None: no sketches.
        batch_size: documents scored at a time.
        measure: what a fraction of the corpus will be a fraction of: "chars" or "docs".
        error: of the sketches, see `QuantileSketch`.
    """

    type = "SCORE"
    name = "PreSelect score"

    def __init__(
        self,
        scorer_folder: Path | str,
        sketch_folder: Any = None,
        batch_size: int = 1024,
        *,
        measure: Literal["chars", "docs"] = "chars",
        error: float = 1e-3,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        if measure not in ("chars", "docs"):
            raise InputError(f"measure must be 'chars' or 'docs', not {measure!r}")
        QuantileSketch(error)  # a wrong one is said here and not in the hundredth task
        self.scorer_folder = str(scorer_folder)
        self.sketch_folder = None if sketch_folder is None else _folder(sketch_folder)
        self.batch_size, self.measure, self.error = batch_size, measure, error

    def run(self, data: Documents, rank: int = 0, world_size: int = 1) -> Documents:
        """Score the documents of one task."""
        scorer = load_scorer(self.scorer_folder)
        sketch = QuantileSketch(self.error)
        for batch in batched(data, self.batch_size):
            with self.track_time("batch"):
                scores = scorer.predict_proba([document.text for document in batch])
                sizes = [len(document.text) if self.measure == "chars" else 1 for document in batch]
                sketch.update(scores, sizes)
            for document, score in zip(batch, scores.tolist(), strict=True):
                document.metadata[SCORE] = score
                self.stat_update("unscored" if math.isnan(score) else "scored")
                self.update_doc_stats(document)
                yield document
        if self.sketch_folder is not None:
            about = {
                "rank": rank,
                "world_size": world_size,
                "measure": self.measure,
                "scorer_sha256": scorer.fingerprint(),
            }
            with self.sketch_folder.open(f"{rank:05d}.json", "wt") as stream:
                json.dump({**about, **sketch.as_dict()}, stream)


class PreSelectFilter(BaseFilter):  # type: ignore[misc] # datatrove has no types
    """Keeps documents whose `preselect_score` is at least the threshold; one without a score never.

    Args:
        threshold: the score from which documents are kept; or else
        sketch_folder, fraction: what `PreSelectScore` left, and how much of the corpus to keep. The threshold
            is then found when a task starts, so that this pipeline may be sent off before the scores exist.
        exclusion_writer: gets the others, with the reason.

    Raises `InputError` at a document that `PreSelectScore` has not seen.
    """

    name = "PreSelect filter"

    def __init__(
        self,
        threshold: float | None = None,
        *,
        sketch_folder: Any = None,
        fraction: float | None = None,
        exclusion_writer: Any = None,
    ) -> None:
        super().__init__(exclusion_writer)
        if (threshold is None) == (sketch_folder is None) or (sketch_folder is None) != (fraction is None):
            raise InputError("give either a threshold, or sketch_folder and fraction")
        if threshold is not None and math.isnan(threshold):
            raise InputError("the threshold is NaN: no score is at or above it")
        if fraction is not None and not 0 < fraction <= 1:
            raise InputError(f"fraction must be above 0 and at most 1, got {fraction}")
        self.threshold, self.fraction = threshold, fraction
        self.sketch_folder = None if sketch_folder is None else _folder(sketch_folder)

    def run(self, data: Documents, rank: int = 0, world_size: int = 1) -> Documents:
        """Filter the documents of one task."""
        if self.sketch_folder is not None and self.fraction is not None:
            self.threshold = threshold_from_sketches(self.sketch_folder, self.fraction)
        yield from super().run(data, rank, world_size)

    def filter(self, doc: Any) -> bool | tuple[bool, str]:
        """Whether the document is kept, or False and why not."""
        if SCORE not in doc.metadata:
            raise InputError(
                f"the document {doc.id!r} has no {SCORE} in its metadata: run PreSelectScore before"
            )
        score = doc.metadata[SCORE]
        if score is None or math.isnan(score):  # JSON has no NaN, datatrove writes null
            return False, "unscored"
        return True if score >= self.threshold else (False, "below_threshold")


def threshold_from_sketches(folder: Any, fraction: float) -> float:
    """The score from which on the kept documents make up `fraction` of the corpus.

    What is kept weighs at least `fraction` of all scored characters (or documents), and at most the sketches'
    error more, apart from documents that share the score of the threshold: see `QuantileSketch.threshold`.

    Args:
        folder: what `PreSelectScore` filled, in all its tasks.
        fraction: in (0, 1].

    Raises:
        NotFoundError: no sketch there. InputError: a damaged sketch, tasks that lack one, sketches of several
            runs (another scorer, measure or number of tasks), a fraction outside (0, 1].
    """
    place = _folder(folder)
    names = [name for name in place.list_files(recursive=False) if name.endswith(".json")]
    if not names:
        raise NotFoundError(f"{place.path}: no sketches here; PreSelectScore(…, sketch_folder=…) writes them")
    ranks: set[int] = set()
    whole: QuantileSketch | None = None
    first: tuple[Any, ...] = ()
    for name in names:
        try:
            with place.open(name, "rt") as stream:
                values = json.load(stream)
            about = tuple(values[key] for key in ("world_size", "measure", "scorer_sha256", "error"))
            ranks.add(int(values["rank"]))
            sketch = QuantileSketch.from_dict(values)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{place.path}/{name}: not a whole sketch of PreSelectScore ({error}); run its task again"
            ) from error
        if whole is None:
            whole, first = sketch, about
            continue
        if about != first:
            raise InputError(
                f"{place.path}: {names[0]} and {name} are of different runs (tasks, measure, scorer or error "
                "differ); use one folder for each run"
            )
        whole.merge(sketch)
    lacking = sorted(set(range(int(first[0]))) - ranks)
    if whole is None or lacking:
        raise InputError(
            f"{place.path}: the tasks {lacking[:5]} of {first[0]} left no sketch; let all of them finish"
        )
    return whole.threshold(fraction)


def _folder(given: Any) -> Any:
    """A datatrove `DataFolder` of whatever datatrove takes for one, or of a `Path`."""
    return get_datafolder(str(given) if isinstance(given, Path) else given)
