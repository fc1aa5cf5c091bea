"""Language models small enough to make on the spot: architecture, tokenizer, packed text.

Knows sizes and seeds; knows nothing of training (`training`) or of scoring (`losses`). Models are
ordinary Hugging Face Llama models, tokenizers ordinary fast tokenizers: both save, load and plug in
wherever those do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError
from firsthand.lm.backend import require, transformers_class

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["END_OF_TEXT", "packed", "parameters", "tiny_llama", "train_tokenizer"]

END_OF_TEXT = "<|endoftext|>"
_BYTES = 256


def tiny_llama(
    vocab_size: int = 1024,
    *,
    width: int = 96,
    layers: int = 2,
    heads: int = 4,
    seed: int = 0,
    context: int = 256,
) -> LlamaForCausalLM:
    """A Llama-architecture model with random weights (RMSNorm, RoPE, SwiGLU, tied embeddings), on the CPU.

    The feed-forward width is 8/3 of `width`, rounded up to a multiple of 32; 96 × 2 layers with a
    vocabulary of 1 024 are 0.32 M weights. The weights depend on the sizes and on `seed` alone, and
    torch's global generator is left as it was.
    """
    require("torch")
    import torch

    if min(vocab_size, width, layers, heads, context) < 1:
        raise InputError("vocab_size, width, layers, heads and context must all be at least 1")
    if width % (2 * heads):
        raise InputError(f"width must be a multiple of 2 × heads (RoPE turns pairs); got {width} and {heads}")
    config = transformers_class("LlamaConfig")(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=32 * -(-8 * width // (3 * 32)),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        # 0.02 suits a width of about 1 000; at 96 it costs 0.3 nats a token after 120 000 tokens.
        initializer_range=0.6 * width**-0.5,
        attn_implementation="sdpa",
        bos_token_id=0,
        eos_token_id=0,
    )
    causal = transformers_class("LlamaForCausalLM")
    # Only the CPU's generator is used and restored; torch.manual_seed would reseed the GPUs' as well.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model: LlamaForCausalLM = causal(config).eval()
    return model


def parameters(model: Any) -> int:
    """How many weights the model has; tied ones count once."""
    return sum(weight.numel() for weight in model.parameters())


def train_tokenizer(texts: Iterable[str], vocab_size: int = 1024) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer learnt from `texts`; every string survives encoding and decoding.

    Entry 0 is `<|endoftext|>`: the separator of documents and therefore also what a document begins
    after (bos = eos = pad). Written out inside a text it is read as plain characters. The same texts give
    the same tokenizer; `vocab_size` is an upper bound when they hold too few pairs.
    """
    if vocab_size <= _BYTES:
        raise InputError(f"vocab_size must exceed {_BYTES} (all bytes and the separator), got {vocab_size}")
    require("tokenizers")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer=trainer)
    tokenizer: PreTrainedTokenizerFast = transformers_class("PreTrainedTokenizerFast")(
        tokenizer_object=backend,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
    )
    return tokenizer


def packed(tokenizer: Any, texts: Sequence[str]) -> NDArray[np.int64]:
    """All texts as one row of token ids (T,), with the tokenizer's EOS between neighbours."""
    if tokenizer.eos_token_id is None:
        raise InputError("the tokenizer has no EOS token to put between documents; set tokenizer.eos_token")
    if not texts:
        return np.empty(0, dtype=np.int64)
    encoded = tokenizer(
        list(texts),
        add_special_tokens=False,
        split_special_tokens=True,
        return_attention_mask=False,
        verbose=False,
    )["input_ids"]
    separator = np.array([tokenizer.eos_token_id], dtype=np.int64)
    pieces = [piece for ids in encoded for piece in (np.asarray(ids, dtype=np.int64), separator)]
    return np.concatenate(pieces[:-1])
