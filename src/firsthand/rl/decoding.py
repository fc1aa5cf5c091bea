"""One token after another for many answers at once: what a policy samples with.

Two ways with the same results: any Hugging Face causal model through its own cache, and small plain Llamas on the CPU,
where the framework around a step costs more than the step. Both read the prompts once for a whole group and let answers
go that have ended.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from firsthand.lm.backend import transformers_class

__all__ = [
    "BatchDecoder",
    "HFBatchDecoder",
    "LlamaBatchDecoder",
    "batch_decoder",
    "is_plain_llama",
    "turned",
]

WIDEST = 512  # hidden units beyond which arithmetic outweighs the framework


class BatchDecoder(Protocol):
    """N texts that grow by a token a step."""

    logits: Tensor  # (N, V), of what comes next

    def step(self, tokens: Tensor) -> Tensor:
        """Add `tokens` (N,); the logits (N, V) of what comes next."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Go on with these of the N texts alone (indices, ascending)."""
        ...


def batch_decoder(model: Any, prompts: Tensor, mask: Tensor, group_size: int, room: int) -> BatchDecoder:
    """Texts that begin with `prompts` (B, P), padded on the left, `group_size` of each, to grow by `room` tokens."""
    kind = LlamaBatchDecoder if is_plain_llama(model) else HFBatchDecoder
    return kind(model, prompts, mask, group_size, room)


def is_plain_llama(model: Any) -> bool:
    """Whether `LlamaBatchDecoder` and `reading` compute what this model does, sooner."""
    config = getattr(model, "config", None)
    if type(model).__name__ != "LlamaForCausalLM" or config is None:
        return False
    rope = getattr(config, "rope_parameters", None) or {}
    weights = list(model.parameters())
    return (
        rope.get("rope_type", "default") in ("default", "linear", "llama3")
        and config.hidden_act == "silu"
        and not (config.attention_bias or config.mlp_bias or config.attention_dropout)
        and config.hidden_size <= WIDEST
        and all(w.device.type == "cpu" and w.dtype in (torch.float32, torch.float64) for w in weights)
        # Adapters and quantised layers put other modules in these places.
        and all(
            type(getattr(block, name)) is nn.Linear
            for layer in model.model.layers
            for block, names in ((layer.self_attn, "qkvo"), (layer.mlp, ("gate", "up", "down")))
            for name in (f"{one}_proj" for one in names)
        )
    )


class _Read:
    """The prompts, read once, as a Hugging Face cache for every text."""

    def __init__(self, model: Any, prompts: Tensor, mask: Tensor, group_size: int) -> None:
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        self.cache = transformers_class("DynamicCache")(config=model.config)
        self.logits: Tensor = model(
            input_ids=prompts, attention_mask=mask, position_ids=positions, past_key_values=self.cache,
            use_cache=True, logits_to_keep=1,
        ).logits[:, -1].repeat_interleave(group_size, 0)  # fmt: skip
        self.seen = mask.repeat_interleave(group_size, 0)  # (N, P)
        self.place = positions[:, -1].repeat_interleave(group_size, 0)  # (N,)


class HFBatchDecoder:
    """Any Hugging Face causal model."""

    def __init__(self, model: Any, prompts: Tensor, mask: Tensor, group_size: int, room: int) -> None:
        del room
        self.model = model
        read = _Read(model, prompts, mask, group_size)
        read.cache.batch_repeat_interleave(group_size)
        self.cache, self.logits, self.seen, self.place = read.cache, read.logits, read.seen, read.place

    def step(self, tokens: Tensor) -> Tensor:
        """As `BatchDecoder.step`."""
        self.seen = torch.cat([self.seen, self.seen.new_ones((len(self.seen), 1))], 1)
        self.place = self.place + 1
        self.logits = self.model(
            input_ids=tokens[:, None], attention_mask=self.seen, position_ids=self.place[:, None],
            past_key_values=self.cache, use_cache=True,
        ).logits[:, -1]  # fmt: skip
        return self.logits

    def keep(self, rows: Tensor) -> None:
        """As `BatchDecoder.keep`."""
        self.cache.batch_select_indices(rows)
        self.seen, self.place, self.logits = self.seen[rows], self.place[rows], self.logits[rows]


class LlamaBatchDecoder:
    """A plain Llama: fused projections, keys and values in one buffer that is filled in place."""

    def __init__(self, model: Any, prompts: Tensor, mask: Tensor, group_size: int, room: int) -> None:
        read = _Read(model, prompts, mask, group_size)
        self.logits, self.place = read.logits, read.place
        config = model.config
        self.heads, self.groups = config.num_attention_heads, config.num_key_value_heads
        self.width = config.head_dim or config.hidden_size // self.heads
        self.epsilon = config.rms_norm_eps
        self.embedding, self.norm = model.model.embed_tokens.weight, model.model.norm.weight
        self.output = model.get_output_embeddings().weight
        self.layers = [_fused(layer) for layer in model.model.layers]
        self.end = prompts.shape[1]
        longest = self.end + room
        numbers = torch.arange(longest)[None]
        cos, sin = model.model.rotary_emb(self.embedding[:1, None], numbers)
        self.cos, self.sin = cos[0, :, None], sin[0, :, None]  # (longest, 1, D)
        self.cos, self.sin = self.cos.to(self.embedding.dtype), self.sin.to(self.embedding.dtype)
        count = len(prompts) * group_size
        # (layers, 2, N, H_kv, longest, D): keys and values
        self.kept = self.embedding.new_empty((len(self.layers), 2, count, self.groups, longest, self.width))
        for number in range(len(self.layers)):
            layer = read.cache.layers[number]
            self.kept[number, 0, :, :, : self.end] = layer.keys.repeat_interleave(group_size, 0)
            self.kept[number, 1, :, :, : self.end] = layer.values.repeat_interleave(group_size, 0)
        self.hidden: Tensor | None = None  # (N, 1, 1, longest): what padding adds to scores
        if not bool(mask.all()):
            self.hidden = self.embedding.new_zeros((count, 1, 1, longest))
            self.hidden[..., : self.end].masked_fill_(read.seen[:, None, None] == 0, -math.inf)

    def step(self, tokens: Tensor) -> Tensor:
        """As `BatchDecoder.step`."""
        self.place = self.place + 1
        cos, sin = self.cos[self.place], self.sin[self.place]  # (N, 1, D)
        count, end = len(tokens), self.end + 1
        mask = None if self.hidden is None else self.hidden[..., :end]
        state = functional.embedding(tokens, self.embedding)  # (N, d)
        for number, layer in enumerate(self.layers):
            normed = self._normed(state, layer["attention_norm"])
            split = (normed @ layer["qkv"]).view(count, self.heads + 2 * self.groups, self.width)
            placed = turned(split[:, : self.heads + self.groups], cos, sin)
            keys, values = self.kept[number]
            keys[:, :, self.end] = placed[:, self.heads :]
            values[:, :, self.end] = split[:, self.heads + self.groups :]
            query = placed[:, : self.heads].view(count, self.groups, -1, self.width)
            mixed = functional.scaled_dot_product_attention(
                query, keys[:, :, :end], values[:, :, :end], attn_mask=mask
            )
            state = torch.addmm(state, mixed.reshape(count, -1), layer["output"])
            gate, up = (self._normed(state, layer["mlp_norm"]) @ layer["gate_up"]).chunk(2, -1)
            state = torch.addmm(state, functional.silu(gate) * up, layer["down"])
        self.end = end
        self.logits = self._normed(state, self.norm) @ self.output.T
        return self.logits

    def _normed(self, state: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(state, weight.shape, weight, self.epsilon)

    def keep(self, rows: Tensor) -> None:
        """As `BatchDecoder.keep`."""
        kept = self.kept.new_empty((*self.kept.shape[:2], len(rows), *self.kept.shape[3:]))
        kept[..., : self.end, :] = self.kept[:, :, rows, :, : self.end]
        self.kept = kept
        self.place, self.logits = self.place[rows], self.logits[rows]
        if self.hidden is not None:
            self.hidden = self.hidden[rows]


def turned(state: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Queries or keys (N, H, D) turned to their places, of which `cos` and `sin` (N, 1, D) are."""
    one, other = state.chunk(2, -1)
    return state * cos + torch.cat([-other, one], -1) * sin


def _fused(layer: Any) -> dict[str, Tensor]:
    """A layer's weights, input first, projections of the same input side by side."""
    attention, mlp = layer.self_attn, layer.mlp

    def joined(*linears: Any) -> Tensor:
        return torch.cat([linear.weight for linear in linears]).T.contiguous()

    return {
        "attention_norm": layer.input_layernorm.weight,
        "qkv": joined(attention.q_proj, attention.k_proj, attention.v_proj),
        "output": joined(attention.o_proj),
        "mlp_norm": layer.post_attention_layernorm.weight,
        "gate_up": joined(mlp.gate_proj, mlp.up_proj),
        "down": joined(mlp.down_proj),
    }
