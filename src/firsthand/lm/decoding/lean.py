"""A small Llama without the framework around it: the draft model of a CPU, in NumPy.

A one-layer model of a hundred thousand weights takes some microseconds of arithmetic a token and half a
millisecond of framework. A draft is only worth what it is fast, so this reads the weights of a Hugging
Face Llama and runs them bare: RMSNorm, rotary positions, grouped queries, SwiGLU. It gives the same logits
within rounding, keeps the `CausalLM` protocol, and is for one thread and small widths; large models belong
into torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from firsthand.errors import InputError
from firsthand.lm.decoding.caches import seen_by_default

__all__ = ["LeanCache", "LeanLlama"]

Array = NDArray[Any]


class LeanCache:
    """Keys and values of every layer (layers, capacity, H_kv, D), and the entries' positions."""

    def __init__(self, layers: int, heads: int, width: int, dtype: Any) -> None:
        self.length = 0
        self.keys: Array = np.empty((layers, 256, heads, width), dtype)
        self.values: Array = np.empty_like(self.keys)

    def truncate(self, length: int) -> None:
        """Forget all entries from `length` on."""
        if length < 0:
            raise InputError(f"a cache cannot be cut to {length} entries")
        self.length = min(self.length, length)

    def commit(self, base: int, kept: Sequence[int]) -> None:
        """Of the entries from `base` on keep those at the indices `kept` (ascending), moved up to `base`."""
        path = list(kept)
        if any(b <= a for a, b in zip([base - 1, *path], path, strict=False)) or (
            path and path[-1] >= self.length
        ):
            raise InputError(f"cannot keep entries {path} of {self.length} from {base} on")
        end = base + len(path)
        if path and path[-1] != end - 1:
            self.keys[:, base:end] = self.keys[:, path]
            self.values[:, base:end] = self.values[:, path]
        self.length = end

    def fork(self) -> LeanCache:
        """An independent copy."""
        copy = object.__new__(LeanCache)
        copy.length, copy.keys, copy.values = self.length, self.keys.copy(), self.values.copy()
        return copy

    def room(self, count: int) -> None:
        """Make room for `count` more entries."""
        missing = self.length + count - self.keys.shape[1]
        if missing > 0:
            grown = max(missing, self.keys.shape[1])
            shape = (self.keys.shape[0], grown, *self.keys.shape[2:])
            self.keys = np.concatenate([self.keys, np.empty(shape, self.keys.dtype)], axis=1)
            self.values = np.concatenate([self.values, np.empty(shape, self.values.dtype)], axis=1)


class LeanLlama:
    """The weights of a Hugging Face `LlamaForCausalLM`, run by NumPy.

    Args:
        model: the torch model; its weights are copied, in its own precision (float32 or float64).
        name: what errors and reports call it.

    Raises `InputError` for another architecture, biases, scaled rotary positions, or half precision.
    """

    def __init__(self, model: Any, *, name: str = "") -> None:
        config = model.config
        rope = getattr(config, "rope_parameters", None) or {}
        plain = config.model_type == "llama" and rope.get("rope_type", "default") == "default"
        if not plain or config.attention_bias or config.mlp_bias or config.hidden_act != "silu":
            raise InputError(
                f"LeanLlama runs a Llama with default rotary positions and no biases; got {config.model_type} with "
                f"rotary type {rope.get('rope_type', 'default')!r}. Use HFCausalLM"
            )
        if model.dtype not in (torch.float32, torch.float64):
            raise InputError(f"LeanLlama computes in float32 or float64, the model is in {model.dtype}")
        self.name = name or f"lean {getattr(config, 'name_or_path', '') or 'Llama'}"
        self.vocab_size = int(config.vocab_size)
        self.max_length: int | None = int(config.max_position_embeddings)
        self._heads, self._groups = config.num_attention_heads, config.num_key_value_heads
        self._width = int(config.head_dim or config.hidden_size // config.num_attention_heads)
        self._epsilon = float(config.rms_norm_eps)
        weights = {key: value.detach().cpu().numpy() for key, value in model.state_dict().items()}
        self._embedding = weights["model.embed_tokens.weight"]
        self._norm = weights["model.norm.weight"]
        self._output = np.ascontiguousarray(model.get_output_embeddings().weight.detach().cpu().numpy().T)
        self._layers = [_layer(weights, f"model.layers.{i}.") for i in range(config.num_hidden_layers)]
        theta = float(rope.get("rope_theta", 10_000.0))
        frequency = theta ** (-np.arange(0, self._width, 2) / self._width)
        angles = np.arange(self.max_length)[:, None] * np.concatenate([frequency, frequency])
        self._dtype = self._embedding.dtype
        self._cos, self._sin = np.cos(angles).astype(self._dtype), np.sin(angles).astype(self._dtype)

    def new_cache(self) -> LeanCache:
        """An empty cache."""
        return LeanCache(len(self._layers), self._groups, self._width, self._dtype)

    def forward(
        self,
        tokens: Sequence[int],
        cache: LeanCache,
        *,
        positions: Sequence[int] | None = None,
        mask: Any = None,
        last: int | None = None,
    ) -> torch.Tensor:
        """Logits (n, V), or of the `last` tokens only, as `CausalLM.forward` says."""
        n, start = len(tokens), cache.length
        cache.room(n)
        end = start + n
        places = np.arange(start, end) if positions is None else np.asarray(positions)
        hidden = self._embedding[np.asarray(tokens)]  # (n, d)
        cos, sin = self._cos[places, None], self._sin[places, None]  # (n, 1, D)
        hidden_from: Array | None = None
        if n > 1 or mask is not None:
            seen = seen_by_default(n) if mask is None else np.asarray(mask, dtype=bool)
            hidden_from = np.zeros((n, end), dtype=self._dtype)
            columns = min(seen.shape[1], end)
            hidden_from[:, end - columns :][~seen[:, -columns:]] = -np.inf
        for number, layer in enumerate(self._layers):
            normed = self._normed(hidden, layer["attention_norm"])
            fused = normed @ layer["qkv"]  # (n, (H + 2 H_kv) D)
            split = fused.reshape(n, self._heads + 2 * self._groups, self._width)
            query = _rotated(split[:, : self._heads], cos, sin)
            cache.keys[number, start:end] = _rotated(split[:, self._heads : -self._groups], cos, sin)
            cache.values[number, start:end] = split[:, -self._groups :]
            hidden = (
                hidden
                + self._attended(query, cache.keys[number, :end], cache.values[number, :end], hidden_from)
                @ layer["output"]
            )
            normed = self._normed(hidden, layer["mlp_norm"])
            gate, up = np.split(normed @ layer["gate_up"], 2, axis=1)
            hidden = hidden + (gate / (1 + np.exp(-gate)) * up) @ layer["down"]
        cache.length = end
        if last is not None:
            hidden = hidden[-last:]
        return torch.from_numpy(self._normed(hidden, self._norm) @ self._output)

    def _normed(self, hidden: Array, weight: Array) -> Array:
        """RMSNorm over the last axis."""
        scale = np.sqrt(np.einsum("nd,nd->n", hidden, hidden) / hidden.shape[1] + self._epsilon)
        normed: Array = hidden / scale[:, None].astype(hidden.dtype) * weight
        return normed

    def _attended(self, query: Array, keys: Array, values: Array, hidden_from: Array | None) -> Array:
        """Attention of (n, H, D) queries over (m, H_kv, D) keys: (n, H·D)."""
        n = len(query)
        grouped = query.reshape(n, self._groups, -1, self._width).transpose(1, 2, 0, 3)  # (H_kv, G, n, D)
        scores = grouped @ keys.transpose(1, 2, 0)[:, None] * self._width**-0.5  # (H_kv, G, n, m)
        if hidden_from is not None:
            scores = scores + hidden_from
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed: Array = scores.astype(values.dtype) @ values.transpose(1, 0, 2)[:, None]  # (H_kv, G, n, D)
        return mixed.transpose(2, 0, 1, 3).reshape(n, -1)


def _layer(weights: dict[str, Array], prefix: str) -> dict[str, Array]:
    def joined(*names: str) -> Array:
        return np.ascontiguousarray(np.concatenate([weights[f"{prefix}{name}.weight"] for name in names]).T)

    return {
        "attention_norm": weights[f"{prefix}input_layernorm.weight"],
        "qkv": joined("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "output": joined("self_attn.o_proj"),
        "mlp_norm": weights[f"{prefix}post_attention_layernorm.weight"],
        "gate_up": joined("mlp.gate_proj", "mlp.up_proj"),
        "down": joined("mlp.down_proj"),
    }


def _rotated(states: Array, cos: Array, sin: Array) -> Array:
    """Rotary positions: halves of each head (n, H, D) turned by their angles."""
    half = states.shape[-1] // 2
    turned = np.concatenate([-states[..., half:], states[..., :half]], axis=-1)
    rotated: Array = states * cos + turned * sin
    return rotated
