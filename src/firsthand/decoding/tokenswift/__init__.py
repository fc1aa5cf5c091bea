"""TokenSwift: very long texts sooner, from a model that drafts for itself and checks itself (arXiv 2502.18890).

`TokenSwift(model, heads).generate(prompt_ids, 100_000)` gives the text of plain decoding with the same seed,
token for token. `train_heads` trains the three small heads that guess ahead; without heads, frequent n-grams
of the text are re-used alone.
"""

from typing import TYPE_CHECKING, Any

from firsthand.decoding.tokenswift.decoder import TokenSwift
from firsthand.decoding.tokenswift.diversity import distinct_n, embedding_repetition, self_bleu
from firsthand.decoding.tokenswift.ngram_table import LaggedFeed, NGramTable
from firsthand.decoding.tokenswift.replay import Replay, replay_acceptance
from firsthand.decoding.tokenswift.result import CurvePoint, LongResult
from firsthand.decoding.tokenswift.sampling import long_sampling
from firsthand.decoding.tokenswift.tree import TreeSpec, build_tree

if TYPE_CHECKING:
    from firsthand.decoding.tokenswift.heads import MultiTokenHeads, load_heads, save_heads
    from firsthand.decoding.tokenswift.partial_cache import PartialKVCache
    from firsthand.decoding.tokenswift.training import HeadStep, train_heads

__all__ = [
    "CurvePoint",
    "HeadStep",
    "LaggedFeed",
    "LongResult",
    "MultiTokenHeads",
    "NGramTable",
    "PartialKVCache",
    "Replay",
    "TokenSwift",
    "TreeSpec",
    "build_tree",
    "distinct_n",
    "embedding_repetition",
    "load_heads",
    "long_sampling",
    "replay_acceptance",
    "save_heads",
    "self_bleu",
    "train_heads",
]

# These stand on torch, which importing the room must not load.
_LATE = {
    "HeadStep": "training",
    "MultiTokenHeads": "heads",
    "PartialKVCache": "partial_cache",
    "load_heads": "heads",
    "save_heads": "heads",
    "train_heads": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
