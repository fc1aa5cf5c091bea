"""Gemma 3 270M: speculation against plain decoding on real weights, five prompts of 64 tokens in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PROMPTS = (
    "The capital of France is",
    "def quicksort(items):\n    ",
    "Once upon a time there was a small",
    "Water boils at a temperature of",
    "Dear Sir or Madam,\n\nI am writing to",
)
TOKENS = 64


def compared(decode: Callable[[Any, list[int], list[int]], Any]) -> dict[str, Any]:
    """Each prompt's text by `decode(model, ids, plain text)` against plain decoding's.

    The first difference is reported with its gap: how far apart the logits of the two tokens are, in a pass over
    the text so far.
    """
    from firsthand.decoding.command_line import encoded, load_target
    from firsthand.lm.decoding import PlainDecoder
    from firsthand.lm.decoding.timing import first_divergence

    loaded, model = load_target("gemma-3-270m", "cpu")
    rows = []
    for prompt in PROMPTS:
        ids = encoded(loaded.tokenizer, prompt)
        wanted = list(PlainDecoder(model).generate(ids, TOKENS).tokens)
        found = decode(model, ids, wanted)
        differ = first_divergence([found.tokens], [wanted])
        gap = None
        if differ is not None:
            logits = model.forward([*ids, *wanted[: differ.position]], model.new_cache(), last=1)[0]
            gap = float((logits[differ.wanted] - logits[differ.found]).abs())
        rows.append(
            {"prompt": prompt, "same": differ is None,
             "first difference": None if differ is None else differ.position, "logit gap": gap,
             "steps": found.steps, "tokens a step": len(found.tokens) / found.steps}
        )  # fmt: skip
    return {"texts": rows, "same": sum(entry["same"] for entry in rows)}
