"""Whole texts through a model at once: what it expected in place of each of their answers' tokens.

Knows causal models and samples; knows nothing of losses. Two ways with the same results: any Hugging Face model, and
plain Llamas, where everything but attention leaves padding out and there is no framework around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from firsthand.rl.decoding import is_plain_llama, turned

if TYPE_CHECKING:
    from firsthand.rl.policy import Samples

__all__ = ["answer_logits"]


def answer_logits(model: Any, samples: Samples) -> Tensor:
    """Logits (K, V) in place of each token of the answers that is no padding, answer by answer; gradients flow."""
    ids = torch.cat([samples.prompts[samples.rows], samples.tokens], 1)
    there = torch.cat([samples.prompt_mask[samples.rows], samples.mask], 1)
    answers = samples.mask.bool()
    if is_plain_llama(model):
        asked = torch.zeros_like(there, dtype=torch.bool)
        asked[:, -answers.shape[1] :] = answers
        there = there.bool()
        # A token's logits stand on the token before it, which is of the same text.
        return _llama_logits(model, ids[there], there, asked[there].nonzero()[:, 0] - 1)
    logits: Tensor = model(
        input_ids=ids,
        attention_mask=there,
        position_ids=(there.cumsum(1) - 1).clamp(min=0),
        use_cache=False,
        logits_to_keep=answers.shape[1] + 1,
    ).logits[:, :-1]  # (N, T, V)
    return logits[answers]


def _llama_logits(model: Any, tokens: Tensor, there: Tensor, asked: Tensor) -> Tensor:
    """Logits (K, V) after `asked` (K,) of the `tokens` (M,) of N texts, which `there` (N, L) lays out."""
    config = model.config
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    width = config.head_dim or config.hidden_size // heads
    place = (there.cumsum(1) - 1)[there]
    count, longest = len(there), int(place.max()) + 1
    at = there.nonzero()[:, 0] * longest + place  # of each token, where padding is on the right
    embedding = model.model.embed_tokens.weight
    cos, sin = (part[0, :, None] for part in model.model.rotary_emb(embedding[:1, None], place[None]))
    cos, sin = cos.to(embedding.dtype), sin.to(embedding.dtype)  # (M, 1, D)

    def normed(state: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(state, weight.shape, weight, config.rms_norm_eps)

    def laid(part: Tensor) -> Tensor:
        """(M, H·D) as (N, H, longest, D)."""
        whole = part.new_zeros((count * longest, part.shape[1])).index_copy(0, at, part)
        return whole.view(count, longest, -1, width).transpose(1, 2)

    state = functional.embedding(tokens, embedding)  # (M, d)
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        x = normed(state, layer.input_layernorm.weight)
        query, keys = (
            turned(project(x).view(len(x), -1, width), cos, sin).flatten(1)
            for project in (attention.q_proj, attention.k_proj)
        )
        mixed = functional.scaled_dot_product_attention(
            laid(query), laid(keys), laid(attention.v_proj(x)), is_causal=True, enable_gqa=heads != groups
        )
        mixed = mixed.transpose(1, 2).reshape(count * longest, -1).index_select(0, at)
        state = state + attention.o_proj(mixed)
        state = state + mlp(normed(state, layer.post_attention_layernorm.weight))
    found: Tensor = normed(state[asked], model.model.norm.weight) @ model.get_output_embeddings().weight.T
    return found
