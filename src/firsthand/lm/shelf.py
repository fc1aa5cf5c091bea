"""Small models trained on the spot and kept: the same recipe on the same text is trained once a machine.

Knows how a recipe becomes a model and where it is kept; knows nothing of where the text came from or what
the model is for. Models are ordinary Hugging Face models in folders of safetensors.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from firsthand.errors import InputError
from firsthand.launch.cache import cache_folder, locked
from firsthand.lm.backend import quiet, require, transformers_class
from firsthand.lm.tiny import packed, tiny_llama, train_tokenizer
from firsthand.lm.training import train

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["Recipe", "kept", "kept_tokenizer", "tiny_hybrid", "trained_folder", "trained_model"]

_FORMAT = 1  # raise when the same recipe would give another model


@dataclass(frozen=True)
class Recipe:
    """A shape and how long it is trained.

    Attributes:
        kind: "llama" sees everything; "hybrid" has sliding windows in all layers but the last of each four,
            and reads texts far longer than its window.
        window: of the hybrid's sliding layers, in tokens.
        context: tokens that training reads at once; also the longest text of a "llama".
        longest: the longest text that a "hybrid" may be asked for.
        steps, batch, learning_rate, seed: as in `firsthand.lm.train`.
    """

    width: int
    layers: int
    heads: int
    kind: Literal["llama", "hybrid"] = "llama"
    window: int = 256
    context: int = 256
    longest: int = 32_768
    steps: int = 400
    batch: int = 8
    learning_rate: float = 3e-3
    seed: int = 0


def tiny_hybrid(
    vocab_size: int = 1024,
    *,
    width: int = 256,
    layers: int = 4,
    heads: int = 4,
    window: int = 256,
    longest: int = 32_768,
    seed: int = 0,
) -> Any:
    """A Qwen 3 model with random weights: sliding windows, and full attention in every fourth layer.

    Grouped queries (two query heads share keys and values), normed queries and keys, tied embeddings. The
    weights depend on the sizes and on `seed` alone; torch's global generator is left as it was.
    """
    require("torch")
    import torch

    if min(vocab_size, width, layers, heads, window, longest) < 1 or width % (2 * heads):
        raise InputError(
            f"sizes must be at least 1 and width a multiple of 2 × heads; got width {width}, heads {heads}"
        )
    config = transformers_class("Qwen3Config")(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=32 * -(-8 * width // (3 * 32)),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 2),
        head_dim=width // heads,
        max_position_embeddings=longest,
        use_sliding_window=True,
        sliding_window=window,
        layer_types=["full_attention" if (i + 1) % 4 == 0 else "sliding_attention" for i in range(layers)],
        tie_word_embeddings=True,
        initializer_range=0.6 * width**-0.5,
        attn_implementation="sdpa",
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return transformers_class("Qwen3ForCausalLM")(config).eval()


def kept_tokenizer(texts: Sequence[str], vocab_size: int = 1024) -> PreTrainedTokenizerFast:
    """`train_tokenizer(texts, vocab_size)`, kept in the cache."""

    def make(target: Path) -> None:
        train_tokenizer(texts, vocab_size).save_pretrained(target)

    folder = kept(f"tokenizer-{_digest(texts, {'vocab_size': vocab_size})}", make)
    with quiet():
        tokenizer: PreTrainedTokenizerFast = transformers_class("PreTrainedTokenizerFast").from_pretrained(
            str(folder), local_files_only=True
        )
    return tokenizer


def trained_model(
    recipe: Recipe,
    texts: Sequence[str],
    tokenizer: Any,
    *,
    on_step: Callable[[int, float], None] | None = None,
) -> Any:
    """The model that `recipe` gives on `texts`, on the CPU in float32: trained, or taken from the cache.

    Training runs on as many threads as torch has; on one thread the same recipe gives the same weights.
    `on_step(step, loss)` is called while training.
    """
    folder = trained_folder(recipe, texts, tokenizer, on_step=on_step)
    with quiet():
        model: Any = transformers_class("AutoModelForCausalLM").from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, dtype="float32"
        )
    return model.eval()


def trained_folder(
    recipe: Recipe,
    texts: Sequence[str],
    tokenizer: Any,
    *,
    on_step: Callable[[int, float], None] | None = None,
) -> Path:
    """Where `trained_model`'s model lies with its tokenizer, trained if need be: a folder that `load` takes."""
    backend = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
    key = _digest(texts, {**asdict(recipe), "tokenizer": backend, "torch": require("torch").__version__})

    def make(target: Path) -> None:
        shape = {"width": recipe.width, "layers": recipe.layers, "heads": recipe.heads, "seed": recipe.seed}
        if recipe.kind == "llama":
            model = tiny_llama(len(tokenizer), context=recipe.context, **shape)
        else:
            model = tiny_hybrid(len(tokenizer), window=recipe.window, longest=recipe.longest, **shape)
        train(
            model,
            packed(tokenizer, texts),
            steps=recipe.steps,
            batch=recipe.batch,
            context=recipe.context,
            learning_rate=recipe.learning_rate,
            warmup=max(1, recipe.steps // 20),
            seed=recipe.seed,
            device="cpu",
            on_step=on_step,
        )
        with quiet():
            model.save_pretrained(target)
            tokenizer.save_pretrained(target)

    return kept(f"{recipe.kind}-{key}", make)


def _digest(texts: Sequence[str], settings: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps([_FORMAT, settings], sort_keys=True).encode())
    for text in texts:
        digest.update(hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).digest())
    return digest.hexdigest()[:24]


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` beside the kept models, which `make` fills once; whoever comes meanwhile waits.

    `name` says by a hash all that what lies there depends on.
    """
    folder = cache_folder("lm", "trained") / name
    with locked(folder):
        if folder.is_dir():
            return folder
        part = folder.with_name(f".{folder.name}.part")
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(part)
        make(part)
        part.replace(folder)
    return folder
