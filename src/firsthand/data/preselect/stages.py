"""The stages between a folder of documents and a folder of kept ones, and the run through all of them.

Each stage reads files and writes files, whole or not at all; a stage whose result is there for the same
input and settings is not done again.

    seed.jsonl -> losses/ -> strength.parquet -> scorer/ -> scores/ -> kept/ -> summary.json
"""

from __future__ import annotations

import contextlib
import heapq
import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from firsthand.data.document_ids import UniqueIds, identity
from firsthand.data.documents import (
    Document,
    InputFile,
    Layout,
    atomic_file,
    find_inputs,
    read_batches,
    read_documents,
)
from firsthand.data.preselect.config import RunConfig
from firsthand.data.preselect.corpus import Progress, score_corpus, select_corpus, write_json
from firsthand.data.preselect.errors import SaturationWarning
from firsthand.data.preselect.holdout import train_scorer
from firsthand.data.preselect.labels import Positives, build_labels, seeded_order
from firsthand.data.preselect.losses import measure_losses, read_losses
from firsthand.data.preselect.scorer import Scorer
from firsthand.data.preselect.scorers import load_scorer, make_scorer
from firsthand.data.preselect.strength import Ties, level_histogram, predictive_strength
from firsthand.errors import (
    InputError,
    MissingDependencyError,
    ModelNotFoundError,
    NotFoundError,
    OutputError,
)

__all__ = [
    "read_strength",
    "run",
    "sample_seed",
    "token_counter",
    "train_from_strength",
    "write_strength",
]


def sample_seed(
    files: Sequence[InputFile],
    target: Path,
    *,
    layout: Layout | None = None,
    seed: int = 0,
    seed_docs: int = 2000,
    min_chars: int = 200,
    max_chars: int = 4000,
) -> list[Document]:
    """Draw the seed sample and write it to `target` as JSONL (id, text, source).

    One pass in constant memory. A document is drawn by a seeded hash of its id: the sample does not depend
    on the order of the files. Documents of fewer than `min_chars` characters are passed over, longer ones
    are cut at `max_chars`, so that all models will read the same.

    Raises:
        InputError: an id that occurs twice, a corpus of one document, or fewer than two that are long enough.
    """
    layout = layout or Layout()
    drawn: list[tuple[int, str, Document]] = []  # a heap, the last in the seeded order on top
    total = 0
    with UniqueIds() as ids:
        for file in files:
            for batch in read_batches(file, layout):
                names = [document.id for document in batch.documents]
                ids.add(names)
                total += len(names)
                keys = seeded_order(names, seed).tolist()
                for key, document in zip(keys, batch.documents, strict=True):
                    if len(document.text) < min_chars:
                        continue
                    entry = (-key, document.id, document)
                    if len(drawn) < seed_docs:
                        heapq.heappush(drawn, entry)
                    elif entry > drawn[0]:
                        heapq.heapreplace(drawn, entry)
        ids.require(files, layout)
    if total < 2:
        raise InputError(
            f"{files[0].path}: the corpus has one document, there is nothing to select from; "
            "a text file can be cut into its paragraphs or lines (text-unit)"
        )
    if len(drawn) < 2:
        raise InputError(
            f"of {total} documents {len(drawn)} have at least {min_chars} characters; lower min-chars"
        )
    drawn.sort(reverse=True)
    sample = [
        Document(document.id, _encodable(document.text[:max_chars]), document.source)
        for _, _, document in drawn
    ]
    with atomic_file(target) as beside, beside.open("w", encoding="utf-8", newline="\n") as stream:
        for document in sample:
            record = {"id": document.id, "text": document.text, "source": document.source}
            stream.write(json.dumps(record) + "\n")
    return sample


def _encodable(text: str) -> str:
    """A lone surrogate becomes "?": no tokenizer takes it."""
    return text.encode("utf-8", "replace").decode("utf-8")


def read_seed(path: Path) -> list[Document]:
    """The documents that `sample_seed` wrote."""
    return list(read_documents(find_inputs([path]), Layout(source_field="source")))


def write_strength(
    losses: Path,
    ability: dict[str, float],
    target: Path,
    *,
    documents: Sequence[Document] | None = None,
    ties: Ties = "zero",
    min_gap: float = 0.0,
) -> dict[str, Any]:
    """S of every document with losses, as Parquet (id, strength, n_pairs, source).

    Args:
        losses: Parquet of losses, see `read_losses`.
        ability: model -> benchmark score.
        documents: for their sources; without them `source` is empty. Losses of other documents are left out.

    Returns:
        A report: levels overall and by source, agreement of every pair of models, saturation, missing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    matrix = read_losses(losses, list(ability))
    scores = np.array(list(ability.values()))
    nats, ids = matrix.nats, list(matrix.ids)
    sources = [""] * len(ids)
    if documents is not None:
        place = {name: at for at, name in enumerate(ids)}
        wanted = [document for document in documents if document.id in place]
        if not wanted:
            raise InputError(f"{losses}: none of the documents has a loss here")
        nats = nats[[place[document.id] for document in wanted]]
        ids, sources = [d.id for d in wanted], [d.source for d in wanted]
    strength, pairs = predictive_strength(nats, scores, ties=ties, min_gap=min_gap, return_pairs=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaturationWarning)  # it goes into the report
        histogram = level_histogram(strength, sources)
    table = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "strength": pa.array(strength, pa.float64()),
            "n_pairs": pa.array([pairs.weaker.size] * len(ids), pa.int32()),
            "source": pa.array(sources, pa.string()),
        }
    )
    with atomic_file(target) as beside:
        pq.write_table(table, beside)
    names = list(ability)
    return {
        "documents": len(ids),
        "missing": histogram.missing,
        "pairs": int(pairs.weaker.size),
        "levels": dict(zip((f"{s:.6g}" for s in histogram.levels), histogram.counts, strict=True)),
        "by_source": {name: list(counts) for name, counts in histogram.by_source.items()},
        "largest_share": histogram.largest_share,
        "saturated": histogram.largest_share > 0.6,
        "agreement": [
            {"weaker": names[i], "stronger": names[j], "share": None if np.isnan(share) else float(share)}
            for i, j, share in zip(pairs.weaker, pairs.stronger, pairs.agreement, strict=True)
        ],
    }


def read_strength(path: Path) -> tuple[list[str], Any]:
    """(ids, strength) from the file of `write_strength`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise NotFoundError(f"{path}: no such file; compute the strength first")
    try:
        table = pq.read_table(path, columns=["id", "strength"])
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a Parquet file with the columns id and strength: {error}") from error
    return table.column("id").to_pylist(), table.column("strength").to_numpy().astype(np.float64)


def train_from_strength(
    documents: Sequence[Document],
    strength_file: Path,
    scorer: Scorer,
    target: Path,
    *,
    positives: Positives = "exact",
    q: float = 0.25,
    max_per_class: int = 200_000,
    min_per_class: int = 50,
    holdout: float = 0.1,
    seed: int = 0,
) -> dict[str, Any]:
    """Label the documents by strength, train `scorer`, save it to `target`; returns a report.

    Raises:
        EmptyClassError: too few documents in a class. InputError: no document has a strength.
    """
    ids, strength = read_strength(strength_file)
    texts = {document.id: document.text for document in documents}
    there = [at for at, name in enumerate(ids) if name in texts]
    if not there:
        raise InputError(f"{strength_file}: none of the documents has a strength here")
    ids, strength = [ids[at] for at in there], strength[there]
    top, bottom = build_labels(
        strength,
        positives=positives,
        q=q,
        seed=seed,
        ids=ids,
        max_per_class=max_per_class,
        min_per_class=min_per_class,
    )
    chosen = np.concatenate([top, bottom]).tolist()
    report = train_scorer(
        scorer,
        [texts[ids[at]] for at in chosen],
        np.repeat([1, 0], [top.size, bottom.size]),
        [ids[at] for at in chosen],
        holdout=holdout,
        seed=seed,
    )
    held_out = None if report is None else report.as_dict()
    scorer.save(target, extra={"holdout": held_out})
    return {
        "kind": scorer.kind,
        "stands_in_for": scorer.meta.get("stands_in_for"),
        "sha256": scorer.fingerprint(),
        "positives": int(top.size),
        "negatives": int(bottom.size),
        "lowest_positive": float(strength[top].min()),
        "highest_negative": float(strength[bottom].max()),
        "holdout": held_out,
    }


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
    return lambda text: len(tokenizer.encode(_encodable(text), add_special_tokens=False).ids)


class _Stages:
    """Which stage was done with which inputs: `stages.json` in the output folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "stages.json"
        self._done: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            self._done = dict(json.loads(self._path.read_text(encoding="utf-8")))
        self.skipped: list[str] = []

    def once(self, name: str, outputs: Iterable[Path], key_parts: Any, work: Callable[[], Any]) -> Any:
        """The report of stage `name`: the stored one where key and outputs are there, else of `work()`."""
        key = identity(json.dumps(key_parts, sort_keys=True, default=str)).hex()
        stored = self._done.get(name)
        if isinstance(stored, dict) and stored.get("key") == key and all(path.exists() for path in outputs):
            self.skipped.append(name)
            return stored["report"]
        report = work()
        self._done[name] = {"key": key, "report": report}
        write_json(self._path, self._done)
        return report


def run(config: RunConfig, *, on_progress: Progress | None = None) -> dict[str, Any]:
    """From a folder of documents to the kept ones; returns the summary that is also written.

    Raises whatever the stages raise; what they finished stays, and the next run goes on from there.
    """
    ability = {model.name: model.ability for model in config.models}
    if len(ability) != len(config.models):
        raise InputError("a model is named twice")
    distinct = len(set(ability.values()))
    if distinct < 3:  # before hours of losses, not after
        raise InputError(f"models: at least 3 with distinct ability are needed, there are {distinct}")
    if config.stride > config.block:
        raise InputError(f"stride ({config.stride}) must be at most block ({config.block})")
    if config.measure == "tokens" and not config.tokenizer:
        raise InputError("measure = 'tokens' needs a tokenizer")
    files = find_inputs(config.inputs)
    output = Path(config.output)
    for file in files:
        if output.resolve() in file.path.resolve().parents:
            raise InputError(f"{file.path} lies in the output folder {output}; name another output")
    count_tokens = token_counter(config.tokenizer) if config.tokenizer else None
    scorer = make_scorer(config.scorer, **config.scorer_parameters())  # says at once what is not installed
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create {output}: {error.strerror or error}") from error
    stages = _Stages(output)
    layout = config.layout
    seed_file, strength_file, scorer_folder = (
        output / "seed.jsonl",
        output / "strength.parquet",
        output / "scorer",
    )
    stamps = [file.stamp() for file in files]

    def take_sample() -> dict[str, Any]:
        drawn = sample_seed(
            files,
            seed_file,
            layout=layout,
            seed=config.seed,
            seed_docs=config.seed_docs,
            min_chars=config.min_chars,
            max_chars=config.max_chars,
        )
        digest = identity(*(part for d in drawn for part in (d.id, d.text, d.source))).hex()
        return {"documents": len(drawn), "chars": sum(len(d.text) for d in drawn), "key": digest}

    sampling = [config.seed, config.seed_docs, config.min_chars, config.max_chars, repr(layout)]
    sampled = stages.once("sample", [seed_file], [stamps, sampling], take_sample)
    sample = read_seed(seed_file)

    # Losses keep their own keys, one a shard: a model that is added later leaves the others' as they are.
    measure_losses(
        {name: name for name in ability},
        sample,
        output / "losses",
        block=config.block,
        stride=config.stride,
        device=config.device,
        dtype=config.dtype,
        on_progress=on_progress,
    )
    loss_stamps = sorted(
        (path.name, path.parent.name, path.stat().st_size, path.stat().st_mtime_ns)
        for path in (output / "losses").rglob("*.parquet")
    )
    strength = stages.once(
        "strength",
        [strength_file],
        [sampled["key"], loss_stamps, ability, config.ties, config.min_gap],
        lambda: write_strength(
            output / "losses",
            ability,
            strength_file,
            documents=sample,
            ties=config.ties,
            min_gap=config.min_gap,
        ),
    )

    labelling: dict[str, Any] = {
        "positives": config.positives,
        "q": config.q,
        "max_per_class": config.max_per_class,
        "min_per_class": config.min_per_class,
        "holdout": config.holdout,
        "seed": config.seed,
    }
    ids, values = read_strength(strength_file)
    trained = stages.once(
        "train",
        [scorer_folder / "meta.json", scorer_folder / scorer.weights_name],
        [sampled["key"], ids, values.tolist(), labelling, scorer.kind, scorer.parameters],
        lambda: train_from_strength(sample, strength_file, scorer, scorer_folder, **labelling),
    )
    scored = score_corpus(
        load_scorer(scorer_folder),
        files,
        output / "scores",
        layout=layout,
        count_tokens=count_tokens,
        token_name=config.tokenizer or "",
        on_progress=on_progress,
    )
    manifest = select_corpus(
        files,
        output / "scores",
        output / "kept",
        fraction=config.fraction,
        measure=config.measure,
        layout=layout,
        seed=config.seed,
        on_progress=on_progress,
    )
    summary = {
        "documents": scored.n_docs,
        "unscored": scored.n_unscored,
        "sample": {name: sampled[name] for name in ("documents", "chars")},
        "strength": strength,
        "scorer": trained,
        "selection": {"measure": config.measure, **manifest["threshold"]},
        "kept": str(output / "kept"),
        "skipped": stages.skipped,
    }
    write_json(output / "summary.json", summary)
    return summary
