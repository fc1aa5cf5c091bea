"""Which documents the reference models read: a seeded sample of a corpus, plain or the same from each group.

Knows files of documents and nothing of models. A document's place in the sample is decided by a seeded hash
of its id, a group's by how many documents it has: neither the order of the files nor the machine changes a
sample. Near-duplicates count once: a pool of copies pushes strength to one level, and what is learnt from it
is what was copied.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from firsthand.corpora.documents import Document
from firsthand.corpora.files import Batch, InputFile, Layout, find_inputs, read_batches, read_documents
from firsthand.corpora.ids import UniqueIds, seeded_order
from firsthand.corpora.near_duplicates import find_near_duplicates, warn_near_duplicates
from firsthand.corpora.output import keep_off
from firsthand.corpora.places import atomic_file
from firsthand.data.preselect.text import encodable
from firsthand.errors import InputError

__all__ = [
    "GroupCounts",
    "SeedSample",
    "StratifyBy",
    "WithNearDuplicates",
    "read_seed",
    "sample_seed",
    "web_host",
]

StratifyBy = Literal["source", "domain"]
WithNearDuplicates = Literal["drop", "warn", "ignore"]

MANY_NEAR_DUPLICATES = 0.05  # share of the drawn documents above which it is said aloud


@dataclass(frozen=True)
class GroupCounts:
    """What stratifying met, in groups that have a document of enough characters."""

    found: int
    used: int  # sampled: the most frequent
    short: int  # of the used ones: with fewer documents than were wanted from each
    with_host: int | None  # of the found ones: a web host; None unless by domain


@dataclass(frozen=True)
class SeedSample:
    """The documents that models will read, in seeded order, and what was met on the way to them."""

    documents: tuple[Document, ...]
    corpus_documents: int
    long_enough: int  # of the corpus
    groups: GroupCounts | None  # None for a plain sample
    near_duplicates: int | None  # drawn documents beyond the first of their cluster; None: not looked for
    near_duplicate_share: float | None  # of the drawn documents
    dropped: int  # near-duplicates that were left out

    @property
    def many_near_duplicates(self) -> bool:
        """More than 5 % of the drawn documents: the corpus wants deduplication."""
        return (self.near_duplicate_share or 0.0) > MANY_NEAR_DUPLICATES

    def as_dict(self) -> dict[str, Any]:
        """The figures, for a report."""
        return {
            "documents": len(self.documents),
            "chars": sum(len(document.text) for document in self.documents),
            "corpus_documents": self.corpus_documents,
            "long_enough": self.long_enough,
            "groups": None if self.groups is None else asdict(self.groups),
            "near_duplicates": self.near_duplicates,
            "near_duplicate_share": self.near_duplicate_share,
            "many_near_duplicates": self.many_near_duplicates,
            "dropped": self.dropped,
        }


def sample_seed(
    files: Sequence[InputFile],
    target: Path,
    *,
    layout: Layout | None = None,
    seed: int = 0,
    seed_docs: int | None = 2000,
    min_chars: int = 200,
    max_chars: int = 4000,
    stratify_by: StratifyBy | None = None,
    per_group: int = 300,
    max_groups: int = 3000,
    near_duplicates: WithNearDuplicates = "drop",
    on_progress: Callable[[str, int, int], None] | None = None,
) -> SeedSample:
    """Draw the seed sample and write it to `target` as JSONL (id, text, source).

    A plain sample takes one pass over the corpus and holds `seed_docs` documents. A stratified one takes
    two: the first counts each group's documents, the second draws up to `per_group` from each of the
    `max_groups` most frequent, so that a few large sites do not fill the sample, nor many tiny ones. As far
    as is known the paper draws 300 documents from each of the 3 000 most frequent web domains, about
    900 000 in all: `stratify_by="domain", seed_docs=None`.

    Args:
        files: the corpus; ids must be unique in it.
        target: a .jsonl file.
        layout: which field holds text, id and source.
        seed: seeds every choice.
        seed_docs: at most this many are drawn; of a stratified sample the first in the seeded order. None:
            no limit but `per_group` times `max_groups`; only for a stratified sample.
        min_chars: documents of fewer characters are passed over.
        max_chars: longer ones are cut here, so that all models will read the same.
        stratify_by: "source": a group is a source (the field that `layout` names, or the file). "domain": a
            group is the web host of that source (see `web_host`), and is written as the source.
        per_group, max_groups: how many documents of a group, and of how many groups. Equally frequent
            groups come in a seeded order of their names.
        near_duplicates: what to do with drawn documents that nearly repeat another (Jaccard similarity of
            5-word shingles at least 0.8, in the text as cut): "drop" all but one of each cluster, "warn"
            only, or "ignore": do not look. Dropped ones are not replaced: the sample is smaller by their
            number. Above 5 % of the drawn documents a `NearDuplicateWarning` is given either way.
        on_progress: called with what is done, how much of it, and of how much, in looking for
            near-duplicates.

    Raises:
        InputError: an id that occurs twice; a corpus of one document; fewer than two documents that are
            long enough or differ; `stratify_by="domain"` without a source field; a bad number or option.
    """
    layout = layout or Layout()
    keep_off(files, [target])
    _check(seed_docs, min_chars, max_chars, stratify_by, per_group, max_groups, near_duplicates, layout)
    corpus = _Corpus(files, layout, min_chars, stratify_by == "domain")
    groups: GroupCounts | None = None
    if stratify_by is None:
        assert seed_docs is not None  # `_check`
        drawn = corpus.draw(None, seed_docs, max_chars, seed)
    else:
        frequent = corpus.count()
        order = dict(zip(frequent, seeded_order(list(frequent), seed).tolist(), strict=True))
        names = sorted(frequent, key=lambda name: (-frequent[name], order[name], name))[:max_groups]
        each = per_group if seed_docs is None else min(per_group, seed_docs)
        drawn = corpus.draw(set(names), each, max_chars, seed)[:seed_docs]
        groups = GroupCounts(
            found=len(frequent),
            used=len(names),
            short=sum(frequent[name] < per_group for name in names),
            with_host=corpus.hosts if stratify_by == "domain" else None,
        )
    if corpus.documents < 2:
        raise InputError(
            f"{files[0].path}: the corpus has one document, there is nothing to select from; "
            "a text file can be cut into its paragraphs or lines (text-unit)"
        )
    if len(drawn) < 2:
        raise InputError(
            f"of {corpus.documents} documents {corpus.long_enough} have at least {min_chars} characters, "
            f"and {len(drawn)} could be drawn; lower min-chars"
        )
    sample, repeated, share = _near_duplicates(drawn, near_duplicates, seed, on_progress)
    with atomic_file(target) as beside, beside.open("w", encoding="utf-8", newline="\n") as stream:
        for document in sample:
            record = {"id": document.id, "text": document.text, "source": document.source}
            stream.write(json.dumps(record) + "\n")
    dropped = len(drawn) - len(sample)
    return SeedSample(tuple(sample), corpus.documents, corpus.long_enough, groups, repeated, share, dropped)


def read_seed(path: Path) -> list[Document]:
    """The documents that `sample_seed` wrote."""
    return list(read_documents(find_inputs([path]), Layout(source_field="source")))


def web_host(source: str) -> str | None:
    """The host of a URL, lower case, without port, leading "www." and closing dot; None where there is none.

    `https://www.Example.org:8080/page` gives `example.org`; `corpus/part-3.jsonl` and `example.org/page`,
    which names no scheme, give None.
    """
    try:
        host = urlsplit(source.strip()).hostname  # lower case
    except ValueError:  # such as an unclosed bracket of an IPv6 address
        return None
    return (host or "").rstrip(".").removeprefix("www.") or None


def _check(
    seed_docs: int | None,
    min_chars: int,
    max_chars: int,
    stratify_by: StratifyBy | None,
    per_group: int,
    max_groups: int,
    near_duplicates: WithNearDuplicates,
    layout: Layout,
) -> None:
    if stratify_by not in (None, *get_args(StratifyBy)):
        raise InputError(f"stratify_by must be None, 'source' or 'domain', not {stratify_by!r}")
    if near_duplicates not in get_args(WithNearDuplicates):
        raise InputError(f"near_duplicates must be 'drop', 'warn' or 'ignore', not {near_duplicates!r}")
    if seed_docs is None and stratify_by is None:
        raise InputError("seed_docs=None is for a stratified sample; say how many documents to draw")
    if seed_docs is not None and seed_docs < 2:
        raise InputError(f"seed_docs must be at least 2, got {seed_docs}")
    for name, value in (
        ("min_chars", min_chars),
        ("max_chars", max_chars),
        ("per_group", per_group),
        ("max_groups", max_groups),
    ):
        if value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
    if stratify_by == "domain" and layout.source_field is None:
        raise InputError(
            "stratify-by 'domain' needs the field that holds each document's address: name it (source-field)"
        )


class _Corpus:
    """The documents of some files, read through once for counting and once for drawing."""

    def __init__(self, files: Sequence[InputFile], layout: Layout, min_chars: int, by_host: bool) -> None:
        self._files, self._layout = files, layout
        self._min_chars, self._by_host = min_chars, by_host
        self.documents = 0
        self.long_enough = 0
        self.hosts = 0

    def _batches(self) -> Iterator[Batch]:
        for file in self._files:
            yield from read_batches(file, self._layout)

    def _group(self, source: str) -> str:
        return (web_host(source) or source) if self._by_host else source

    def count(self) -> Counter[str]:
        """Documents of enough characters in each group."""
        found: Counter[str] = Counter()
        hosts: set[str] = set()
        for batch in self._batches():
            for document in batch.documents:
                if len(document.text) >= self._min_chars:
                    group = self._group(document.source)
                    found[group] += 1
                    if self._by_host and group not in hosts and web_host(document.source):
                        hosts.add(group)
        self.hosts = len(hosts)
        return found

    def draw(self, groups: set[str] | None, each: int, max_chars: int, seed: int) -> list[Document]:
        """The first `each` of every group (None: of all documents) in the seeded order, in that order."""
        lowest: dict[str, list[tuple[int, str, int, Document]]] = {}  # heaps, the last in the order on top
        with UniqueIds() as ids:
            for batch in self._batches():
                names = [document.id for document in batch.documents]
                ids.add(names)
                for key, document in zip(seeded_order(names, seed).tolist(), batch.documents, strict=True):
                    self.documents += 1
                    if len(document.text) < self._min_chars:
                        continue
                    self.long_enough += 1
                    group = "" if groups is None else self._group(document.source)
                    if groups is not None and group not in groups:
                        continue
                    heap = lowest.setdefault(group, [])
                    if len(heap) == each and -key < heap[0][0]:
                        continue
                    cut = Document(
                        document.id,
                        encodable(document.text[:max_chars]),
                        group if self._by_host else document.source,
                    )
                    entry = (-key, document.id, self.documents, cut)
                    if len(heap) < each:
                        heapq.heappush(heap, entry)
                    else:
                        heapq.heappushpop(heap, entry)
            ids.require(self._files, self._layout)
        drawn = sorted((entry for heap in lowest.values() for entry in heap), reverse=True)
        return [entry[-1] for entry in drawn]


def _near_duplicates(
    drawn: list[Document],
    policy: WithNearDuplicates,
    seed: int,
    on_progress: Callable[[str, int, int], None] | None,
) -> tuple[list[Document], int | None, float | None]:
    """(the documents that stay, how many repeat another, their share)."""
    if policy == "ignore":
        return drawn, None, None
    ids = [document.id for document in drawn]
    found = find_near_duplicates(
        [document.text for document in drawn], ids=ids, seed=seed % (1 << 32), on_progress=on_progress
    )
    warn_near_duplicates(found, ids=ids, above=MANY_NEAR_DUPLICATES, stacklevel=4)
    stays = [True] * len(drawn) if policy == "warn" else found.kept().tolist()
    sample = [document for document, stay in zip(drawn, stays, strict=True) if stay]
    if len(sample) < 2:
        raise InputError(
            f"the {len(drawn)} documents that were drawn are near-duplicates of one: there is nothing to "
            "select from (near-duplicates = 'warn' keeps them)"
        )
    return sample, found.redundant, found.share
