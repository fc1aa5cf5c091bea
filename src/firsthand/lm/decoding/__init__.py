"""Decoding: one protocol for models and caches, one draw a position, plain decoding and its baselines.

Importing this package imports no torch: model adapters (`huggingface`, `lean`, `ngram`) are modules of
their own.
"""

from firsthand.lm.decoding.plain import PlainDecoder
from firsthand.lm.decoding.protocol import (
    CausalLM,
    ContextLengthError,
    KVCache,
    NonFiniteLogitsError,
    check_pair,
    check_prompt,
)
from firsthand.lm.decoding.results import Decoder, GenerationResult, TokenStream, drive
from firsthand.lm.decoding.sampling import Sampler, SamplingParams
from firsthand.lm.decoding.serial import PromptLookup, SerialSpeculation
from firsthand.lm.decoding.stops import Ending, Stop
from firsthand.lm.decoding.trees import Checked, TokenTree, check_tree

__all__ = [
    "CausalLM",
    "Checked",
    "ContextLengthError",
    "Decoder",
    "Ending",
    "GenerationResult",
    "KVCache",
    "NonFiniteLogitsError",
    "PlainDecoder",
    "PromptLookup",
    "Sampler",
    "SamplingParams",
    "SerialSpeculation",
    "Stop",
    "TokenStream",
    "TokenTree",
    "check_pair",
    "check_prompt",
    "check_tree",
    "drive",
]
