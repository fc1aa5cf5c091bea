"""Near-duplicates among texts: MinHash proposes pairs, the exact Jaccard similarity decides.

A text is the set of its shingles: five words in a row (or `words`), spaces and case aside. Two texts are
near-duplicates when their sets have a Jaccard similarity |A ∩ B| / |A ∪ B| of at least `similarity`. MinHash
signatures (Broder 1997, here datasketch's) are cut into bands; texts that agree in a band are compared.

Knows texts and ids. Reads no files, removes nothing, and is for samples that fit in memory: a corpus of
terabytes is deduplicated by a pipeline made for that (datatrove, NeMo-Curator) before it comes here.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firsthand.corpora.ids import identity
from firsthand.errors import InputError, MissingDependencyError

__all__ = ["NearDuplicateWarning", "NearDuplicates", "find_near_duplicates", "warn_near_duplicates"]

Progress = Callable[[str, int, int], None]  # stage, done, of how many

_MOST_MISSED = 0.002  # of the pairs that have just the similarity asked for, by the bands
_AT_ONCE = 256  # documents signed between two reports, sets compared with one in one step
_MOST_WORDS = 1 << 20  # whose hashes are remembered: some 150 MB

_Hashes = NDArray[np.uint64]


class NearDuplicateWarning(UserWarning):
    """Many documents say almost the same as another one."""


@dataclass(frozen=True)
class NearDuplicates:
    """Which documents are near-duplicates of one another.

    A cluster is what a chain of near-duplicates connects: its ends may be less alike than `similarity`.
    """

    documents: int
    clusters: tuple[tuple[int, ...], ...]  # positions, two or more; the first stays
    similarity: float

    @property
    def redundant(self) -> int:
        """Documents beyond the first of their cluster."""
        return sum(len(cluster) - 1 for cluster in self.clusters)

    @property
    def share(self) -> float:
        """Of all documents, those beyond the first of their cluster; 0 without documents."""
        return self.redundant / self.documents if self.documents else 0.0

    def kept(self) -> NDArray[np.bool_]:
        """(documents,) True for all but those beyond the first of their cluster."""
        stays = np.ones(self.documents, np.bool_)
        for cluster in self.clusters:
            stays[list(cluster[1:])] = False
        return stays


def find_near_duplicates(
    texts: Sequence[str],
    *,
    ids: Sequence[str] | None = None,
    similarity: float = 0.8,
    words: int = 5,
    permutations: int = 128,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> NearDuplicates:
    """Clusters of texts whose word shingles have a Jaccard similarity of at least `similarity`.

    No pair is joined that is less alike: what the bands propose is compared exactly (on 64-bit hashes of the
    shingles). The bands miss at most 0.2 % of the pairs that are just as alike as asked for, and far fewer of
    those that are more alike: with the defaults 0.17 % at 0.8 and 0.005 % at 0.85.

    A text of fewer than `words` words is one shingle as a whole; a text without words is never a duplicate.
    The member of a cluster that stays comes first in a seeded order of the ids: neither it nor the clusters
    depend on the order of the texts.

    Takes 8 bytes a text for each band (21 with the defaults), and 8 bytes a word for texts connected by bands
    that agree, one such group at a time. One core does about 2,000 texts of 600 words a second, or 13,000 of
    60; where every third is a near-duplicate, 1,300 and 5,000.

    Args:
        texts: (n,) read twice, therefore a sequence.
        ids: (n,) unique; without them the texts themselves give the order.
        similarity: above 0 and at most 1.
        words: in a shingle.
        permutations: of the signature; more make fewer needless comparisons.
        seed: of the permutations and of the order.
        on_progress: called with a stage ("signatures", then "comparisons"), how much is done, and of how much.

    Raises:
        InputError: ids that do not match or occur twice, a number out of its range, or so low a similarity
            that this many permutations would miss too much.
        MissingDependencyError: datasketch is not installed.
    """
    if isinstance(texts, str):
        raise InputError("texts is one string; give a sequence of strings")
    if words < 1 or permutations < 1 or not 0 <= seed < 1 << 32:
        raise InputError(
            "words and permutations must be at least 1 and seed from 0 to 2**32 - 1, "
            f"got {words}, {permutations} and {seed}"
        )
    _check_ids(texts, ids)
    rows = _rows_in_a_band(similarity, permutations)
    minhash = _minhash(permutations, seed)
    shingles = _Shingles(words)

    keys, filled = _band_keys(texts, shingles, minhash, rows, on_progress)
    groups = _connected_by_bands(keys, filled)
    found: list[list[int]] = []
    done, of = 0, sum(len(group) for group in groups)
    for group in groups:
        sets = shingles.sets_of([texts[place] for place in group])
        for members in _clusters(sets, keys[group], similarity):
            found.append([group[member] for member in members])
        done += len(group)
        if on_progress is not None:
            on_progress("comparisons", done, of)

    def order(place: int) -> tuple[bytes, int]:
        return identity(str(seed), texts[place] if ids is None else ids[place]), place

    ordered = [tuple(sorted(cluster, key=order)) for cluster in found]
    return NearDuplicates(len(texts), tuple(sorted(ordered, key=min)), float(similarity))


def warn_near_duplicates(
    found: NearDuplicates, *, ids: Sequence[str] | None = None, above: float = 0.05, stacklevel: int = 2
) -> bool:
    """Give a `NearDuplicateWarning` when the share of near-duplicates is above `above`.

    Args:
        found: by `find_near_duplicates`.
        ids: (n,) as given there; without them the message names positions.
        above: the share that is still tolerated.
        stacklevel: as of `warnings.warn`, 2 = the caller of this function.

    Returns:
        Whether it warned.
    """
    if found.share <= above:
        return False
    largest = max(found.clusters, key=len)
    names = [str(place) if ids is None else ids[place] for place in largest[:2]]
    warnings.warn(
        f"{found.redundant:,} of {found.documents:,} documents ({found.share:.1%}) are near-duplicates of "
        f"another one (similarity of at least {found.similarity:g}), for example {names[1]!r} of {names[0]!r}; "
        f"up to {above:.1%} would do no harm. Repeated text is what better models know best: it looks "
        "informative and is not. Deduplicate the corpus first, for example with datatrove's MinHash pipeline, "
        "or keep one document of each cluster",
        NearDuplicateWarning,
        stacklevel=stacklevel,
    )
    return True


def _check_ids(texts: Sequence[str], ids: Sequence[str] | None) -> None:
    if ids is None:
        return
    if len(ids) != len(texts):
        raise InputError(f"there are {len(texts)} texts and {len(ids)} ids")
    if len(set(ids)) != len(ids):
        name = Counter(ids).most_common(1)[0][0]
        raise InputError(f"the id {name!r} occurs twice; ids must be unique")


def _rows_in_a_band(similarity: float, permutations: int) -> int:
    """As many as keep the share missed small: a pair of that similarity agrees in one band of r rows with
    probability similarity^r, in none of permutations / r bands with (1 − similarity^r)^bands."""
    if not 0 < similarity <= 1:
        raise InputError(f"similarity must be above 0 and at most 1, got {similarity}")
    for rows in range(min(permutations, 16), 0, -1):  # 16 rows agree by chance once in 2**16 at 0.5
        if (1 - similarity**rows) ** (permutations // rows) <= _MOST_MISSED:
            return rows
    needed = math.ceil(math.log(_MOST_MISSED) / math.log1p(-similarity))
    raise InputError(
        f"{permutations} permutations miss too many pairs of similarity {similarity}; take at least {needed}"
    )


def _minhash(permutations: int, seed: int) -> Any:
    try:
        from datasketch import MinHash
    except ImportError as error:
        raise MissingDependencyError(
            "finding near-duplicates needs datasketch: pip install 'firsthand[data]'"
        ) from error
    return MinHash(num_perm=permutations, seed=seed, hashfunc=_as_it_is)  # it is given hashes


def _as_it_is(value: int) -> int:
    return value


class _Shingles:
    """The 64-bit hashes of the shingles of texts."""

    def __init__(self, words: int) -> None:
        self._words = words
        self._hash_of = _WordHashes()

    def of(self, texts: Sequence[str]) -> list[_Hashes]:
        """One array a text, in the order of the text, repeated where the text repeats."""
        if len(self._hash_of) > _MOST_WORDS:
            self._hash_of.clear()
        hashes, ends = array("Q"), [0]
        for text in texts:
            hashes.extend(map(self._hash_of.__getitem__, text.casefold().split()))
            ends.append(len(hashes))
        each = np.frombuffer(hashes, np.uint64) if hashes else np.empty(0, np.uint64)
        # All texts in one go; what runs over from a text into the next is cut off.
        runs = _runs(each, self._words)
        return [
            runs[start : end - self._words + 1]
            if end - start >= self._words
            else _runs(each[start:end], end - start)
            for start, end in pairwise(ends)
        ]

    def sets_of(self, texts: Sequence[str]) -> list[_Hashes]:
        """One array a text, ascending, each hash once."""
        return [np.unique(found) for found in self.of(texts)]


def _runs(each: _Hashes, length: int) -> _Hashes:
    """(n − length + 1,) one hash for each `length` neighbours; none for a length of 0."""
    if not 0 < length <= each.size:
        return np.empty(0, np.uint64)
    run = np.full(each.size - length + 1, length, np.uint64)
    for place in range(length):
        run = _mix(run ^ each[place : place + run.size])
    return run


class _WordHashes(dict[str, int]):
    """64 bits of each word, the same on every machine."""

    def __missing__(self, word: str) -> int:
        digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        self[word] = value = int.from_bytes(digest, "little")
        return value


def _mix(values: _Hashes) -> _Hashes:
    """A bijection of 64-bit numbers that scatters them: a step of SplitMix64 (Steele, Lea and Flood 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def _band_keys(
    texts: Sequence[str], shingles: _Shingles, minhash: Any, rows: int, on_progress: Progress | None
) -> tuple[_Hashes, NDArray[np.bool_]]:
    """(n, bands) one number for the rows of each band, and (n,) which texts have any shingle."""
    bands = len(minhash) // rows
    keys = np.zeros((len(texts), bands), np.uint64)
    filled = np.zeros(len(texts), np.bool_)
    for start in range(0, len(texts), _AT_ONCE):
        some = shingles.of(texts[start : start + _AT_ONCE])
        signatures = np.zeros((len(some), len(minhash)), np.uint64)
        for place, found in enumerate(some):
            if found.size:
                filled[start + place] = True
                minhash.clear()
                minhash.update_batch((found >> np.uint64(32)).tolist())  # it takes 32 bits
                signatures[place] = minhash.hashvalues
        key = np.zeros((len(signatures), bands), np.uint64)
        for row in range(rows):
            key = _mix(key ^ signatures[:, row : bands * rows : rows])
        keys[start : start + len(signatures)] = key
        if on_progress is not None:
            on_progress("signatures", start + len(signatures), len(texts))
    return keys, filled


def _connected_by_bands(keys: _Hashes, filled: NDArray[np.bool_]) -> list[list[int]]:
    """Groups of places outside of which no pair agrees in a band; only groups of two or more."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    there = np.flatnonzero(filled)
    ends: list[NDArray[np.intp]] = [np.empty((2, 0), np.intp)]
    for band in keys.T:
        order = there[np.argsort(band[there], kind="stable")]
        same = np.flatnonzero(band[order[1:]] == band[order[:-1]])
        ends.append(np.stack([order[same], order[same + 1]]))
    one, other = np.concatenate(ends, axis=1)
    graph = coo_array((np.ones(one.size, np.int8), (one, other)), shape=(filled.size, filled.size))
    return _equals(connected_components(graph, directed=False)[1])


def _equals(labels: NDArray[Any]) -> list[list[int]]:
    """Places of equal labels, two or more, each ascending."""
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    start = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
    return [order[start[at] : start[at + 1]].tolist() for at in np.flatnonzero(np.diff(start) > 1)]


def _clusters(sets: Sequence[_Hashes], keys: _Hashes, similarity: float) -> list[list[int]]:
    """Places in `sets` joined by pairs that agree in a band and are similar enough; two or more each.

    A pair that others have already joined is not compared: it would change nothing.
    """
    label = np.arange(len(sets))
    for pivot in range(len(sets) - 1):
        apart = pivot + 1 + np.flatnonzero(label[pivot + 1 :] != label[pivot])
        if not apart.size:
            break  # all that are left are joined
        proposed = apart[(keys[apart] == keys[pivot]).any(axis=1)]
        for start in range(0, proposed.size, _AT_ONCE):
            some = proposed[start : start + _AT_ONCE]
            alike = some[_similarities(sets[pivot], [sets[other] for other in some]) >= similarity]
            if alike.size:
                label[np.isin(label, label[alike])] = label[pivot]
    return _equals(label)


def _similarities(one: _Hashes, others: Sequence[_Hashes]) -> NDArray[np.float64]:
    """(len(others),) exact Jaccard similarities with `one`; all sorted, none empty."""
    sizes = np.array([other.size for other in others])
    together = np.concatenate(others)
    at = np.minimum(np.searchsorted(one, together), one.size - 1)
    common = np.add.reduceat((one[at] == together).astype(np.int64), np.cumsum(sizes) - sizes)
    return np.asarray(common / (one.size + sizes - common), dtype=np.float64)
