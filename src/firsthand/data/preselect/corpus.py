"""A corpus in files: scored once, then cut, in constant memory.

First every document gets a score, in one compact Parquet file for each input file; then the threshold is
found on those; then the kept documents are written with the schema and in the order of their input, plus a
column `preselect_score`. Files that a former run finished are not done again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from firsthand.data.document_ids import UniqueIds, identity
from firsthand.data.documents import (
    InputFile,
    Layout,
    atomic_file,
    open_writer,
    read_batches,
)
from firsthand.data.preselect.scorer import Scorer
from firsthand.data.preselect.selection import Measure
from firsthand.data.preselect.text import NORMALISER_VERSION
from firsthand.data.preselect.threshold import Chunk, Threshold, find_threshold
from firsthand.errors import InputError, MissingDependencyError, NotFoundError

__all__ = ["SCORE_COLUMN", "Progress", "ScoredCorpus", "score_corpus", "select_corpus"]

SCORE_COLUMN = "preselect_score"
_SIZES: dict[str, str] = {"chars": "n_chars", "tokens": "n_tokens"}

Progress = Callable[[str, int, int], None]  # stage, done, of how many


@dataclass(frozen=True)
class ScoredCorpus:
    """What `score_corpus` left in a folder."""

    folder: Path
    scorer: str  # fingerprint
    n_docs: int
    n_unscored: int
    files: tuple[dict[str, Any], ...]  # stamps of the inputs


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError("scores need pyarrow: pip install 'firsthand[data]'") from error
    return pyarrow, pyarrow.parquet


def _score_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.scores.parquet"


def write_json(path: Path, value: Any) -> None:
    """Write JSON beside `path` and rename."""
    with atomic_file(path) as beside:
        beside.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def score_corpus(
    scorer: Scorer,
    files: Sequence[InputFile],
    folder: Path,
    *,
    layout: Layout | None = None,
    count_tokens: Callable[[str], int] | None = None,
    token_name: str = "",
    on_progress: Progress | None = None,
) -> ScoredCorpus:
    """Score every document of `files`.

    Args:
        scorer: a trained scorer.
        files: the corpus, from `find_inputs`.
        folder: gets NAME.scores.parquet for each file (id, preselect_score float32, n_chars, n_bytes and,
            with `count_tokens`, n_tokens) and `scores.json`.
        layout: which field holds what.
        count_tokens: how many tokens a text has; needed to select by tokens.
        token_name: names the tokenizer; another name scores the files again.
        on_progress: called after each file.

    Raises:
        InputError: an unreadable file, an id that occurs twice, a corpus of one document. Files written by
            this call are removed then.
    """
    layout = layout or Layout()
    fingerprint = scorer.fingerprint()
    written: list[Path] = []
    n_docs = n_unscored = 0
    try:
        with UniqueIds() as ids:
            for number, file in enumerate(files):
                path = _score_path(folder, file.name)
                key = identity(
                    json.dumps([file.stamp(), fingerprint, NORMALISER_VERSION, repr(layout), token_name])
                ).hex()
                if _stored_key(path) != key:
                    written.append(path)
                    _score_file(scorer, file, path, layout, count_tokens, key)
                for chunk in _chunks(path, "chars", True):
                    ids.add(chunk.ids)
                    n_docs += len(chunk.ids)
                    n_unscored += int(np.isnan(chunk.scores).sum())
                if on_progress:
                    on_progress("score", number + 1, len(files))
            ids.require(files, layout)
        if n_docs < 2:
            raise InputError(
                f"{files[0].path}: the corpus has one document, there is nothing to select from; "
                "a text file can be cut into its paragraphs or lines (text-unit)"
            )
        stamps = tuple(file.stamp() for file in files)
        write_json(
            folder / "scores.json",
            {
                "scorer_sha256": fingerprint,
                "normaliser_version": NORMALISER_VERSION,
                "tokenizer": token_name or None,
                "n_docs": n_docs,
                "n_unscored": n_unscored,
                "inputs": stamps,
            },
        )
    except InputError:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    return ScoredCorpus(folder, fingerprint, n_docs, n_unscored, stamps)


def _score_file(
    scorer: Scorer,
    file: InputFile,
    path: Path,
    layout: Layout,
    count_tokens: Callable[[str], int] | None,
    key: str,
) -> None:
    pa, pq = _arrow()
    fields = [
        ("id", pa.string()),
        (SCORE_COLUMN, pa.float32()),
        ("n_chars", pa.int64()),
        ("n_bytes", pa.int64()),
    ]
    if count_tokens is not None:
        fields.append(("n_tokens", pa.int64()))
    schema = pa.schema(fields, metadata={"firsthand_key": key})
    with atomic_file(path) as beside, pq.ParquetWriter(beside, schema) as writer:
        for batch in read_batches(file, layout):
            texts = [document.text for document in batch.documents]
            columns = [
                [_storable(document.id) for document in batch.documents],
                scorer.predict_proba(texts),
                [len(text) for text in texts],
                [len(text.encode("utf-8", "surrogatepass")) for text in texts],
            ]
            if count_tokens is not None:
                columns.append([count_tokens(text) for text in texts])
            writer.write_batch(
                pa.record_batch(
                    [pa.array(c, type=t) for c, (_, t) in zip(columns, fields, strict=True)], schema
                )
            )


def _storable(name: str) -> str:
    return name.encode("utf-8", "replace").decode("utf-8")


def _stored_key(path: Path) -> str | None:
    if not path.is_file():
        return None
    _, pq = _arrow()
    with contextlib.suppress(Exception):  # whatever is damaged is made again
        metadata = pq.read_schema(path).metadata or {}
        return str(metadata.get(b"firsthand_key", b"").decode())
    return None


def _chunks(path: Path, measure: Measure, with_ids: bool) -> Iterator[Chunk]:
    _, pq = _arrow()
    with pq.ParquetFile(path) as stored:
        size = _SIZES.get(measure)
        if size is not None and size not in stored.schema_arrow.names:
            raise InputError(
                f"{path}: no token counts; score the corpus with a tokenizer to select by tokens"
            )
        columns = [SCORE_COLUMN, *([size] if size else []), *(["id"] if with_ids else [])]
        for table in stored.iter_batches(batch_size=65536, columns=columns):
            scores = np.asarray(table.column(SCORE_COLUMN).to_numpy(zero_copy_only=False), dtype=np.float32)
            sizes = (
                np.ones(scores.size, dtype=np.int64)
                if size is None
                else np.asarray(table.column(size).to_numpy(zero_copy_only=False), dtype=np.int64)
            )
            yield Chunk(scores, sizes, table.column("id").to_pylist() if with_ids else ())


def select_corpus(
    files: Sequence[InputFile],
    scores: Path,
    folder: Path,
    *,
    fraction: float = 0.1,
    measure: Measure = "chars",
    layout: Layout | None = None,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the documents of `files` that make up the top `fraction` of the corpus.

    Args:
        files: the corpus, as it was scored.
        scores: the folder that `score_corpus` wrote.
        folder: gets a file for each input file that has a kept document, with its name (`.txt` becomes
            `.txt.jsonl`), and `manifest.json`, written last.
        fraction: of the total size of documents with a score, in (0, 1].
        measure: what size is: "chars" (as in the paper), "tokens" or "docs"; they give different sets.
        layout: which field holds what.
        seed: seeds the order among documents of equal score.
        on_progress: called after each file.

    Returns:
        The manifest.

    Raises:
        NotFoundError: no scores there. InputError: scores of another corpus, a bad fraction.
        OutputError: writing failed; the file in question was not left half-written.
    """
    layout = layout or Layout()
    if measure not in ("chars", "tokens", "docs"):
        raise InputError(f"measure must be 'chars', 'tokens' or 'docs', not {measure!r}")
    head = _read_head(scores, files)

    def passes(with_ids: bool) -> Iterator[Chunk]:
        for file in files:
            yield from _chunks(_score_path(scores, file.name), measure, with_ids)

    threshold = find_threshold(passes, fraction, seed=seed)
    key = identity(json.dumps([head, threshold.as_dict(), measure, repr(layout)])).hex()
    done_path = folder / ".unfinished.json"
    done = _finished(done_path, key)
    if not done and _finished_manifest(folder / "manifest.json", key):
        return dict(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))
    # What an earlier selection wrote and this one does not is removed, once this one is whole.
    stale = _written_before(folder)
    (folder / "manifest.json").unlink(missing_ok=True)  # it speaks of another selection

    outputs: list[dict[str, Any]] = []
    for number, file in enumerate(files):
        record = done.get(file.name)
        if record is None or not (record["docs"] == 0 or (folder / record["name"]).is_file()):
            record = _write_kept(file, scores, folder, measure, layout, threshold)
            done[file.name] = record
            write_json(done_path, {"key": key, "files": done, "stale": sorted(stale)})
        outputs.append({"input": file.name, **record})
        if on_progress:
            on_progress("select", number + 1, len(files))
    manifest = {
        "key": key,
        "scorer_sha256": head["scorer_sha256"],
        "normaliser_version": head["normaliser_version"],
        "measure": measure,
        "threshold": threshold.as_dict(),
        "ties": "equal scores are taken in a seeded order of ids; unscored documents are never kept",
        "inputs": head["inputs"],
        "outputs": [record for record in outputs if record["docs"]],
        "note": "The score is relative to the reference models and the benchmark; no probability of quality.",
    }
    for name in stale - {str(record["name"]) for record in outputs}:
        (folder / name).unlink(missing_ok=True)
    write_json(folder / "manifest.json", manifest)
    done_path.unlink(missing_ok=True)
    return manifest


def _read_head(scores: Path, files: Sequence[InputFile]) -> dict[str, Any]:
    path = scores / "scores.json"
    if not path.is_file():
        raise NotFoundError(f"{scores}: no scores here (scores.json is missing); score the corpus first")
    try:
        head = dict(json.loads(path.read_text(encoding="utf-8")))
        stamps = list(head["inputs"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the scores of a corpus: {error}") from error
    if stamps != [file.stamp() for file in files]:
        raise InputError(
            f"{scores}: these are the scores of other input files, or the files changed since; "
            "score the corpus again"
        )
    return head


def _finished(path: Path, key: str) -> dict[str, dict[str, Any]]:
    with contextlib.suppress(OSError, ValueError, KeyError):
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["key"] == key:
            return dict(stored["files"])
    return {}


def _written_before(folder: Path) -> set[str]:
    """Names of outputs that earlier selections left here, whole ones and one that was broken off."""
    names: set[str] = set()
    for path in (folder / "manifest.json", folder / ".unfinished.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            stored = json.loads(path.read_text(encoding="utf-8"))
            names.update(stored.get("stale", ()))
            records = stored["outputs"] if "outputs" in stored else stored["files"].values()
            names.update(str(record["name"]) for record in records if record["docs"])
    return {name for name in names if (folder / name).resolve().is_relative_to(folder.resolve())}


def _finished_manifest(path: Path, key: str) -> bool:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        stored = json.loads(path.read_text(encoding="utf-8"))
        return stored["key"] == key and all((path.parent / o["name"]).is_file() for o in stored["outputs"])
    return False


def _write_kept(
    file: InputFile, scores: Path, folder: Path, measure: Measure, layout: Layout, threshold: Threshold
) -> dict[str, Any]:
    """Write one file's kept documents; a file of which none is kept gets no output."""
    name, suffix = (file.name + ".jsonl", ".jsonl") if file.suffix == ".txt" else (file.name, file.suffix)
    target = folder / name
    kept_docs = kept_size = 0
    path = _score_path(scores, file.name)
    for chunk in _chunks(path, measure, True):
        kept = threshold.keep(chunk.scores, chunk.ids)
        kept_docs += int(kept.sum())
        kept_size += int(chunk.sizes[kept].sum())
    if kept_docs == 0:
        with contextlib.suppress(OSError):
            target.unlink(missing_ok=True)
        return {"name": name, "docs": 0, "size": 0}
    rows = _rows(path)
    with open_writer(target, suffix, SCORE_COLUMN) as writer:
        for batch in read_batches(file, layout, whole=True):
            found, names = rows(len(batch.documents))
            if names != [_storable(document.id) for document in batch.documents]:
                raise InputError(f"{file.path}: the file changed since it was scored; score it again")
            writer.write(batch, threshold.keep(found, names).tolist(), list(found))
    return {"name": name, "docs": kept_docs, "size": kept_size}


def _rows(path: Path) -> Callable[[int], tuple[Any, list[str]]]:
    """The stored scores and ids, so many at a time."""
    source = _chunks(path, "docs", True)
    scores = np.empty(0, dtype=np.float32)
    names: list[str] = []

    def take(n: int) -> tuple[Any, list[str]]:
        nonlocal scores, names
        while len(names) < n:
            chunk = next(source, None)
            if chunk is None:
                raise InputError(f"{path}: fewer scores than documents; score the corpus again")
            scores, names = np.concatenate([scores, chunk.scores]), names + list(chunk.ids)
        taken = scores[:n], names[:n]
        scores, names = scores[n:], names[n:]
        return taken

    return take
