"""Any Hugging Face decoder as a `CausalLM`: eager or SDPA attention, grouped queries, sliding windows.

Knows how transformers is told positions, a mask and a cache of our own, and checks on loading that the
model at hand listens to all three (`HFCausalLM` refuses one that does not). Knows nothing of decoding.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from firsthand.errors import InputError
from firsthand.lm.backend import require
from firsthand.lm.decoding.caches import FullCache
from firsthand.lm.models import LanguageModel, load

__all__ = ["HFCausalLM", "Reading"]

_PREFILL = 512  # tokens of a long prompt that are read at once
_RECORDING = "firsthand-recording"  # the name of our attention function, for transformers
_recorders: list[tuple[str, dict[int, torch.Tensor]]] = []


@dataclass(frozen=True)
class Reading:
    """One pass: logits (last, V); hidden states before the final norm (n, d); queries by layer, or None.

    `queries[layer]` is (H, n, D): the tokens' queries after their rotation, by query head.
    """

    logits: torch.Tensor
    hidden: torch.Tensor
    queries: tuple[torch.Tensor, ...] | None = None


class HFCausalLM:
    """A Hugging Face causal model, driven token by token with positions, mask and cache of our own.

    Args:
        model: a `PreTrainedModel` for causal language modelling; put into evaluation mode.
        name: what errors and reports call it.
        check: compare a few tokens with the model's own way of reading them, and refuse a model that ignores
            masks, positions or the cache (attention with linear biases, state-space layers, compressed
            caches). It costs four short passes.

    Raises `InputError` for such a model, or an attention implementation that takes no mask (flash attention).
    """

    def __init__(self, model: Any, *, name: str | None = None, check: bool = True) -> None:
        self.model = model.eval()
        self.name = name or getattr(model.config, "name_or_path", "") or type(model).__name__
        self._config = model.config.get_text_config()
        self.vocab_size = int(model.get_output_embeddings().weight.shape[0])
        positions = getattr(self._config, "max_position_embeddings", None)
        self.max_length: int | None = int(positions) if positions else None
        self.hidden_size = int(self._config.hidden_size)
        self.windows = _windows(self._config, self.name)
        self._last_layer = _layers(model, self._config, self.name)[-1]
        self._attention_config = _attention_config(self._last_layer, self._config)
        self._as_mapping = len(set(self.windows)) > 1
        if self._attention not in ("eager", "sdpa"):
            raise InputError(
                f"{self.name} was loaded with {self._attention!r} attention, which takes no mask of a tree; load it "
                "with attn_implementation='sdpa' or 'eager'"
            )
        self._head_known = True
        if check:
            self._check()

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, device: str = "auto", dtype: Any = None, gguf_file: str | None = None
    ) -> HFCausalLM:
        """Load by name: installed, folder, `.gguf` file or hub name, as `firsthand.lm.load` does.

        `gguf_file` names the file inside the folder `name`.
        """
        where = Path(name) / gguf_file if gguf_file else name
        loaded: LanguageModel = load(where, device=device, dtype=dtype)
        return cls(loaded.model, name=loaded.name)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device  # type: ignore[no-any-return]

    @property
    def dtype(self) -> torch.dtype:
        """The weights' precision."""
        return self.model.dtype  # type: ignore[no-any-return]

    @property
    def _attention(self) -> str:
        return str(self._attention_config._attn_implementation)

    def new_cache(self) -> FullCache:
        """An empty cache."""
        return FullCache(self.windows)

    # --- reading -------------------------------------------------------------------------------------

    def forward(
        self,
        tokens: Sequence[int],
        cache: Any,
        *,
        positions: Sequence[int] | None = None,
        mask: Any = None,
        last: int | None = None,
    ) -> torch.Tensor:
        """Logits (n, V), or of the `last` tokens only (last, V), as `CausalLM.forward` says.

        A long prompt (no positions, no mask, few logits wanted) is read in pieces.
        """
        ids = list(tokens)
        if positions is None and mask is None and last is not None:
            while len(ids) - last >= _PREFILL:
                self._pass(ids[:_PREFILL], cache, None, None, 1)
                ids = ids[_PREFILL:]
        return self._pass(ids, cache, positions, mask, last)

    def read(
        self,
        tokens: Sequence[int],
        cache: Any,
        *,
        positions: Sequence[int] | None = None,
        mask: Any = None,
        last: int | None = None,
        queries: bool = False,
    ) -> Reading:
        """`forward`, and what was seen on the way: hidden states before the final norm, and queries if asked."""
        states: list[torch.Tensor] = []
        with self._kept_states(states):
            if queries:
                with self._recorded() as found:
                    logits = self._pass(tokens, cache, positions, mask, last)
                seen = tuple(found[layer] for layer in range(len(self.windows)))
            else:
                logits, seen = self._pass(tokens, cache, positions, mask, last), None
        return Reading(logits, states[0][0], seen)

    def states(self, ids: torch.Tensor) -> torch.Tensor:
        """Hidden states (B, T, d) before the final norm of whole texts `ids` (B, T), without gradients or a cache."""
        found: list[torch.Tensor] = []
        with self._kept_states(found), torch.no_grad():
            self.model(input_ids=ids.to(self.device), use_cache=False, logits_to_keep=1)
        return found[0]

    @contextmanager
    def _kept_states(self, found: list[torch.Tensor]) -> Iterator[None]:
        """Inside the block what the last layer gives, before the final norm, is added to `found`."""

        def keep(_: Any, __: Any, output: Any) -> None:
            found.append(output[0] if isinstance(output, tuple) else output)

        handle = self._last_layer.register_forward_hook(keep)
        try:
            yield
        finally:
            handle.remove()

    def head(self, normed: torch.Tensor) -> torch.Tensor:
        """Logits (..., V) of hidden states (..., d) that have been through a final norm: the model's own output.

        Raises `InputError` where the model does more after its output layer than we know of.
        """
        if not self._head_known:
            raise InputError(
                f"{self.name} ({type(self.model).__name__}) changes its logits after the output layer in a way not "
                "known here; heads on top of it would be wrong"
            )
        return self._output(normed)

    def _output(self, normed: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model.get_output_embeddings()(normed)
        if scaling := getattr(self._config, "logits_scaling", None):  # Granite
            logits = logits / scaling
        if scale := getattr(self._config, "logit_scale", None):  # Cohere
            logits = logits * scale
        if cap := getattr(self._config, "final_logit_softcapping", None):  # Gemma 2 and 3
            logits = torch.tanh(logits / cap) * cap
        return logits

    def fingerprint(self) -> str:
        """SHA-256 over the configuration and the first and last weight tensors: which model this is."""
        config = self.model.config.to_dict()
        for name in ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache"):
            config.pop(name, None)
        digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
        weights = list(self.model.parameters())
        for weight in (weights[0], weights[-1]):
            digest.update(weight.detach().to("cpu", torch.float32).numpy().tobytes())
        return digest.hexdigest()

    def _pass(
        self, tokens: Sequence[int], cache: Any, positions: Any, mask: Any, last: int | None
    ) -> torch.Tensor:
        n = len(tokens)
        if n == 0:
            raise InputError("a pass needs at least one token")
        places = np.arange(cache.length, cache.length + n) if positions is None else np.asarray(positions)
        tree = None if mask is None else np.asarray(mask, dtype=bool)
        if places.shape != (n,) or (tree is not None and (tree.shape[0] != n or tree.shape[1] < n)):
            raise InputError(
                f"{n} tokens need positions ({n},) and a mask ({n}, at least {n}); got {places.shape} and "
                f"{None if tree is None else tree.shape}"
            )
        cache.begin(places)
        device = self.device
        with torch.no_grad():
            logits: torch.Tensor = self.model(
                input_ids=torch.tensor([tokens], device=device),
                position_ids=torch.from_numpy(places[None]).to(device),
                attention_mask=self._masks(cache, places, tree),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=0 if last is None else last,
            ).logits[0]
        cache.finish()
        return logits

    def _masks(self, cache: Any, positions: NDArray[np.int64], tree: NDArray[np.bool_] | None) -> Any:
        """The mask as transformers takes it: one tensor (1, 1, n, m), or one for each kind of layer."""
        made = {
            window: self._as_tensor(
                cache.mask(window, positions, tree), len(positions), cache.entries(window)
            )
            for window in set(self.windows)
        }
        if not self._as_mapping:
            return made[self.windows[0]]
        return {
            "full_attention" if window is None else "sliding_attention": mask for window, mask in made.items()
        }

    def _as_tensor(self, seen: NDArray[np.bool_] | None, n: int, entries: int) -> torch.Tensor | None:
        if seen is None:
            # Everything is seen. None would say so, but on its own it makes transformers build a mask itself.
            if self._as_mapping:
                return None
            whole = torch.ones((1, 1, n, entries), dtype=torch.bool, device=self.device)
        else:
            whole = torch.from_numpy(seen)[None, None].to(self.device)
        if self._attention == "sdpa":
            return whole
        lowest = torch.finfo(self.dtype).min
        return torch.zeros(whole.shape, dtype=self.dtype, device=self.device).masked_fill_(~whole, lowest)

    # --- queries ---------------------------------------------------------------------------------------

    @contextmanager
    def _recorded(self) -> Iterator[dict[int, torch.Tensor]]:
        """Inside the block each attention layer's queries are kept, by layer."""
        _register()
        before = self._attention
        found: dict[int, torch.Tensor] = {}
        _recorders.append((before, found))
        self._attention_config._attn_implementation = _RECORDING
        try:
            yield found
        finally:
            self._attention_config._attn_implementation = before
            _recorders.pop()

    # --- does the model listen? ------------------------------------------------------------------------

    def _check(self) -> None:
        """Read a few tokens our way and the model's own, and refuse a model where both differ."""
        ids = [int(i) for i in np.random.default_rng(0).integers(0, self.vocab_size, 6)]
        with torch.no_grad():
            own = self.model(input_ids=torch.tensor([ids], device=self.device), use_cache=False)
            wanted = own.logits[0]
            try:
                found = self._read_in_pieces(ids)
            except Exception as error:  # whatever a model raises that was not made for this
                raise InputError(
                    f"{self.name} ({type(self.model).__name__}) cannot be driven with positions, a tree mask and a "
                    f"cache of our own ({type(error).__name__}: {error})"
                ) from error
            tolerance = 1e-3 if self.dtype in (torch.float32, torch.float64) else 6e-2
            if not _close(found, wanted, tolerance):
                raise InputError(
                    f"{self.name} ({type(self.model).__name__}) does not give the same logits when it is driven with "
                    "positions, a tree mask and a cache of our own; such a model cannot be decoded here"
                )
            normed = self._final(ids)
            self._head_known = normed is not None and _close(self._output(normed), wanted, tolerance)

    def _read_in_pieces(self, ids: list[int]) -> torch.Tensor:
        """Logits of six tokens, with a wrong one read beside the fourth and forgotten again."""
        spoilt = (ids[3] + 1) % self.vocab_size
        # Tokens 0 to 2; then a wrong token beside the right one and a tree of what follows; then the rest.
        cache = self.new_cache()
        first = self.forward(ids[:3], cache)
        tree = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 1]], dtype=bool)
        second = self.forward([spoilt, ids[3], ids[4]], cache, positions=[3, 3, 4], mask=tree)
        cache.commit(3, [4, 5])
        third = self.read(ids[5:], cache)
        return torch.cat([first, second[1:], third.logits])

    def _final(self, ids: list[int]) -> torch.Tensor | None:
        decoder = self.model.get_decoder()
        if decoder is None or decoder is self.model:
            return None
        output = decoder(input_ids=torch.tensor([ids], device=self.device), use_cache=False)
        state: torch.Tensor = output.last_hidden_state[0]
        return state


def _close(found: torch.Tensor, wanted: torch.Tensor, tolerance: float) -> bool:
    scale = float(wanted.abs().max()) or 1.0
    return bool(torch.isfinite(found).all()) and float((found - wanted).abs().max()) <= tolerance * scale


def _windows(config: Any, name: str) -> tuple[int | None, ...]:
    """Each layer's sliding window, or None where it attends to everything."""
    layers = int(config.num_hidden_layers)
    width = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    window = None if width is None or not getattr(config, "use_sliding_window", True) else int(width)
    if kinds is None:
        return (window,) * layers
    unknown = sorted(set(kinds) - {"full_attention", "sliding_attention"})
    if unknown:
        raise InputError(
            f"{name} has layers of kind {', '.join(unknown)}; decoding here takes full and sliding-window attention"
        )
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)


def _layers(model: Any, config: Any, name: str) -> Any:
    """The list of decoder layers."""
    count = int(config.num_hidden_layers)
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return module
    raise InputError(f"{name} ({type(model).__name__}) has no list of {count} decoder layers")


def _attention_config(layer: Any, fallback: Any) -> Any:
    """The configuration that the attention modules ask which implementation to use."""
    for module in layer.modules():
        config = getattr(module, "config", None)
        if config is not None and hasattr(config, "_attn_implementation"):
            return config
    return fallback


def _register() -> None:
    """Make our attention function known to transformers, once."""
    functions: Any = require("transformers").modeling_utils.ALL_ATTENTION_FUNCTIONS
    if _RECORDING not in functions:
        functions.register(_RECORDING, _recording_attention)


def _recording_attention(module: Any, query: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    """Keep the queries (H, n, D), then attend as the model would have."""
    before, found = _recorders[-1]
    found[int(module.layer_idx)] = query[0].detach().clone()
    attend: Callable[..., Any]
    if before == "eager":
        attend = sys.modules[type(module).__module__].eager_attention_forward
    else:
        attend = require("transformers").modeling_utils.ALL_ATTENTION_FUNCTIONS[before]
    return attend(module, query, *args, **kwargs)
