"""Models by the names that the command takes: anything `firsthand.lm.load` knows, run as is, bare, or quantised.

Knows how a name and a runner become a `CausalLM`, here or in the draft's own process. Its functions are
picklable recipes, so they take plain values only.
"""

from __future__ import annotations

from typing import Any, Literal

from firsthand.decoding.duodecoding.workers import DraftRecipe
from firsthand.errors import InputError
from firsthand.lm.backend import require
from firsthand.lm.decoding import CausalLM

__all__ = ["Runner", "draft_recipe", "load_draft", "quantised"]

Runner = Literal["framework", "lean", "int8", "ngram"]


def quantised(model: Any) -> Any:
    """A copy of a torch model whose inner linear layers compute in int8 (dynamic quantisation), for a CPU's draft.

    Weights are rounded to 8 bits once, activations at each pass. A draft may be wrong, so no text changes; it is
    faster where its layers are wide, and slower where they are a few hundred wide: measure before use.
    """
    require("torch")
    import warnings

    import torch

    if not torch.backends.quantized.supported_engines or model.device.type != "cpu":
        raise InputError("int8 drafts run on a CPU that torch has a quantised engine for; this one has none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch names a successor that this version does not bring along
        quantise: Any = torch.ao.quantization.quantize_dynamic
        small = quantise(model, {torch.nn.Linear}, dtype=torch.qint8)
    # The output layer stays as it is: it is often the embedding too, and its rounding costs the most right guesses.
    small.set_output_embeddings(model.get_output_embeddings())
    return small


def load_draft(name: str, runner: Runner = "framework", device: str = "cpu") -> CausalLM:
    """The draft model `name`, run as `runner` says.

    "framework" runs it by transformers; "lean" bare, for a small Llama; "int8" by transformers with quantised
    linear layers; "ngram" reads an `NGramLM` file.
    """
    if runner == "ngram":
        from firsthand.lm.decoding.ngram import NGramLM

        return NGramLM.load(name)
    from firsthand.lm.decoding.huggingface import HFCausalLM
    from firsthand.lm.models import load

    if runner == "framework":
        return HFCausalLM.from_pretrained(name, device=device)
    loaded = load(name, device="cpu", dtype="float32")
    if runner == "lean":
        from firsthand.lm.decoding.lean import LeanLlama

        return LeanLlama(loaded.model, name=loaded.name)
    if runner == "int8":
        return HFCausalLM(quantised(loaded.model), name=loaded.name, check=False)
    raise InputError(f"draft runner {runner!r} is not one of 'framework', 'lean', 'int8', 'ngram'")


def draft_recipe(name: str, runner: Runner = "framework", device: str = "cpu") -> DraftRecipe:
    """`load_draft`, to be called in the draft's own process."""
    return DraftRecipe(load_draft, (name, runner, device))
