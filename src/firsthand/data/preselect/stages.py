"""The stages between a folder of documents and a folder of kept ones, and the run through all of them.

Each stage reads files and writes files, whole or not at all; a stage whose result is there for the same
input and settings is not done again.

    seed.jsonl -> losses/ -> strength.parquet -> scorer/ -> scores/ -> kept/ -> summary.json
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from firsthand.corpora.documents import Document
from firsthand.corpora.files import InputFile, find_inputs
from firsthand.corpora.ids import identity
from firsthand.corpora.near_duplicates import NearDuplicateWarning
from firsthand.corpora.output import only_writer
from firsthand.corpora.places import write_json
from firsthand.corpora.tables import arrow, write_table
from firsthand.data.preselect.confidence import strength_confidence
from firsthand.data.preselect.config import RunConfig
from firsthand.data.preselect.corpus import select_corpus
from firsthand.data.preselect.errors import SaturationWarning
from firsthand.data.preselect.holdout import train_scorer
from firsthand.data.preselect.labels import Positives, build_labels
from firsthand.data.preselect.losses import measure_losses, read_losses
from firsthand.data.preselect.sampling import read_seed, sample_seed
from firsthand.data.preselect.scorer import Scorer
from firsthand.data.preselect.scorers import make_scorer
from firsthand.data.preselect.scoring import Progress, score_corpus
from firsthand.data.preselect.strength import Ties, compare_estimators, level_histogram, predictive_strength
from firsthand.data.preselect.text import token_counter
from firsthand.errors import (
    InputError,
    MissingDependencyError,
    ModelNotFoundError,
    NotFoundError,
    OutputError,
)
from firsthand.launch import cache_root, this_rank

__all__ = [
    "local_folder",
    "read_strength",
    "require_models",
    "run",
    "train_from_strength",
    "write_strength",
]

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def write_strength(
    losses: Path,
    ability: dict[str, float],
    target: Path,
    *,
    documents: Sequence[Document] | None = None,
    ties: Ties = "zero",
    min_gap: float = 0.0,
    compare: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """S of every document with losses, as Parquet.

    The columns are id, strength, n_pairs, source, and std_error, low, high of `strength_confidence`.

    Args:
        losses: Parquet of losses, see `read_losses`.
        ability: model -> benchmark score.
        documents: for their sources; without them `source` is empty. Losses of other documents are left out.
        ties, min_gap: as in `predictive_strength`.
        compare: also rank the documents by the estimators of `compare_estimators`, in bits per character.
        seed: seeds the bootstrap where there are more than seven models.

    Returns:
        A report: levels overall and by source, agreement of every pair of models, saturation, missing, the
        figures of `StrengthConfidence.as_dict`, and the comparison of estimators or None.
    """
    pa, _ = arrow()
    matrix = read_losses(losses, list(ability))
    scores = np.array(list(ability.values()))
    nats, ids = matrix.nats, list(matrix.ids)
    chosen = np.arange(len(ids))
    sources = [""] * len(ids)
    if documents is not None:
        place = {name: at for at, name in enumerate(ids)}
        wanted = [document for document in documents if document.id in place]
        if not wanted:
            raise InputError(f"{losses}: none of the documents has a loss here")
        chosen = np.array([place[document.id] for document in wanted])
        nats = nats[chosen]
        ids, sources = [d.id for d in wanted], [d.source for d in wanted]
    strength, pairs = predictive_strength(nats, scores, ties=ties, min_gap=min_gap, return_pairs=True)
    confidence = strength_confidence(nats, scores, ties=ties, min_gap=min_gap, seed=seed)
    estimators = None
    if compare:
        bits = matrix.bits_per_char()[chosen]  # the sign estimator depends on the unit
        estimators = compare_estimators(bits, scores, ties=ties, min_gap=min_gap).as_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaturationWarning)  # it goes into the report
        histogram = level_histogram(strength, sources)
    table = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "strength": pa.array(strength, pa.float64()),
            "n_pairs": pa.array([pairs.weaker.size] * len(ids), pa.int32()),
            "source": pa.array(sources, pa.string()),
            "std_error": pa.array(confidence.standard_error, pa.float64()),
            "low": pa.array(confidence.low, pa.float64()),
            "high": pa.array(confidence.high, pa.float64()),
        }
    )
    write_table(table, target)
    names = list(ability)
    return {
        "documents": len(ids),
        "missing": histogram.missing,
        "pairs": int(pairs.weaker.size),
        "possible_levels": (2 if ties == "half" else 1) * int(pairs.weaker.size) + 1,
        "levels": dict(zip((f"{s:.6g}" for s in histogram.levels), histogram.counts, strict=True)),
        "by_source": {name: list(counts) for name, counts in histogram.by_source.items()},
        "largest_share": histogram.largest_share,
        "saturated": histogram.largest_share > 0.6,
        "agreement": [
            {"weaker": names[i], "stronger": names[j], "share": None if np.isnan(share) else float(share)}
            for i, j, share in zip(pairs.weaker, pairs.stronger, pairs.agreement, strict=True)
        ],
        "confidence": confidence.as_dict(),
        "estimators": estimators,
    }


def require_models(names: Iterable[str]) -> None:
    """Raise at once where `firsthand.lm.load` would find nothing; no weights are read.

    A hub name is taken at its word, since asking the hub needs a network; but where the folder in front of
    the slash is one here, and the hub's model was never fetched, a folder was meant.

    Raises:
        ModelNotFoundError: nothing answers to a name. MissingDependencyError: its package is not installed.
    """
    from firsthand.lm.embedded import EMBEDDED

    for name in names:
        path = Path(name).expanduser()
        if name in EMBEDDED:
            embedded = EMBEDDED[name]
            cached = (("unpacked", embedded.sha256), (embedded.name, embedded.file))
            there = any(cache_root().joinpath("lm", *parts).exists() for parts in cached)
            if not there and not all(importlib.util.find_spec(package) for package, _ in embedded.parts):
                raise MissingDependencyError(f"the model {name!r} is not installed: {embedded.install}")
        elif path.is_dir():
            if not (path / "config.json").is_file() or not any(path.glob("*.safetensors")):
                raise ModelNotFoundError(f"{path} is no model folder: it lacks config.json or *.safetensors")
        elif path.suffix == ".gguf" or not _HUB_NAME.fullmatch(name):
            if not path.is_file():
                raise ModelNotFoundError(
                    f"no model answers to {name!r}: there is no such folder or file here, and it is neither "
                    f"an installed model ({', '.join(EMBEDDED)}) nor a hub name such as 'org/name'"
                )
        elif path.parent.is_dir() and not _fetched(name):
            raise ModelNotFoundError(
                f"there is no {path.name!r} in the folder {path.parent}; if you mean the hub's {name!r}, "
                f"fetch it first: hf download {name}"
            )


def _fetched(name: str) -> bool:
    """Whether the local Hugging Face cache holds the hub's model."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return False
    return isinstance(try_to_load_from_cache(name, "config.json"), str)


def read_strength(path: Path) -> tuple[list[str], Any]:
    """(ids, strength) from the file of `write_strength`."""
    pa, pq = arrow()
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


def local_folder(given: Path | str) -> Path:
    """The folder as a path; raises `InputError` for a URL, where stages keep what they take up again."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(given)):  # as a path `s3://` has lost a slash
        raise InputError(
            f"{given}: this needs a folder on this machine; scores and kept documents may go to a URL"
        )
    return Path(given).expanduser()


@contextlib.contextmanager
def _folder(output: Path) -> Iterator[None]:
    """Make the folder now; where the block fails and nothing was written, it goes again."""
    made = [path for path in (output, *output.parents) if not path.exists()]
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create {output}: {error.strerror or error}") from error
    try:
        yield
    except BaseException:
        for path in made:  # the innermost first
            with contextlib.suppress(OSError):
                path.rmdir()  # only if empty
        raise


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
    if config.fraction is not None and config.amount is not None:
        raise InputError("give a fraction or an amount, not both")
    if config.measure == "tokens" and not config.tokenizer:
        raise InputError("measure = 'tokens' needs a tokenizer")
    files = find_inputs(config.inputs)
    output = local_folder(config.output)
    if this_rank().world > 1:
        raise InputError("torchrun is for `firsthand preselect losses`; a run has one process, or engine ray")
    for file in files:
        if output.resolve() in file.path.resolve().parents:
            raise InputError(f"{file.path} lies in the output folder {output}; name another output")
    if config.tokenizer:
        token_counter(config.tokenizer)  # before hours of losses, not after
    scorer = make_scorer(config.scorer, **config.scorer_parameters())  # says at once what is not installed
    require_models(ability)
    with _folder(output), only_writer(output):
        return _run(config, ability, files, output, scorer, on_progress)


def _run(
    config: RunConfig,
    ability: dict[str, float],
    files: Sequence[InputFile],
    output: Path,
    scorer: Scorer,
    on_progress: Progress | None,
) -> dict[str, Any]:
    stages = _Stages(output)
    layout = config.layout
    seed_file, strength_file, scorer_folder = (
        output / "seed.jsonl",
        output / "strength.parquet",
        output / "scorer",
    )
    stamps = [file.stamp() for file in files]

    sampling: dict[str, Any] = {
        "seed": config.seed,
        "seed_docs": config.seed_docs,
        "min_chars": config.min_chars,
        "max_chars": config.max_chars,
        "stratify_by": config.stratify_by,
        "per_group": config.per_group,
        "max_groups": config.max_groups,
        "near_duplicates": config.near_duplicates,
    }

    def take_sample() -> dict[str, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NearDuplicateWarning)  # it goes into the report
            drawn = sample_seed(files, seed_file, layout=layout, on_progress=on_progress, **sampling)
        digest = identity(*(part for d in drawn.documents for part in (d.id, d.text, d.source))).hex()
        return {"key": digest, **drawn.as_dict()}

    sampled = stages.once("sample", [seed_file], [stamps, sampling, repr(layout)], take_sample)
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
        engine="ray" if config.engine == "ray" else "inline",
        workers=config.workers,
        address=config.address,
        on_progress=on_progress,
    )
    loss_stamps = sorted(
        (path.name, path.parent.name, path.stat().st_size, path.stat().st_mtime_ns)
        for path in (output / "losses").rglob("*.parquet")
    )
    strength = stages.once(
        "strength",
        [strength_file],
        [sampled["key"], loss_stamps, ability, config.ties, config.min_gap, config.compare, config.seed],
        lambda: write_strength(
            output / "losses",
            ability,
            strength_file,
            documents=sample,
            ties=config.ties,
            min_gap=config.min_gap,
            compare=config.compare,
            seed=config.seed,
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
        scorer_folder,
        files,
        output / "scores",
        layout=layout,
        tokenizer=config.tokenizer,
        engine=config.engine,
        workers=config.workers,
        address=config.address,
        on_progress=on_progress,
    )
    manifest = select_corpus(
        files,
        output / "scores",
        output / "kept",
        fraction=config.fraction,
        amount=config.amount,
        max_share=config.max_share,
        measure=config.measure,
        layout=layout,
        seed=config.seed,
        on_progress=on_progress,
    )
    summary = {
        "documents": scored.n_docs,
        "unscored": scored.n_unscored,
        "sample": {name: value for name, value in sampled.items() if name != "key"},
        "strength": strength,
        "scorer": trained,
        "selection": {
            "measure": config.measure,
            "quotas": manifest.get("quotas"),
            **manifest["threshold"],
        },
        "kept": str(output / "kept"),
        "skipped": stages.skipped,
    }
    write_json(output / "summary.json", summary)
    return summary
