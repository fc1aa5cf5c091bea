"""Three small linear heads on a frozen model that guess the tokens after the next one (section 3.1).

Head i reads what head i − 1 made of the hidden state: h_{i+1} = h_i + Lin_i(RMSNorm_a,i(h_i)), and the model's
own output layer reads RMSNorm_b,i(h_{i+1}). Head 0 reads the last decoder layer's output before the model's
final norm. The model itself gives token t + 1, head i token t + 2 + i.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from firsthand.errors import InputError, NotFoundError, OutputError
from firsthand.launch.cache import write_atomically
from firsthand.lm.decoding.huggingface import HFCausalLM

__all__ = ["MultiTokenHeads", "load_heads", "save_heads"]


class _RMSNorm(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, hidden: Tensor) -> Tensor:
        wide = hidden.float() if hidden.dtype.itemsize < 4 else hidden
        scaled = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return scaled.to(hidden.dtype) * self.weight


class MultiTokenHeads(nn.Module):
    """Chained linear heads; 3·(d² + 2d) weights for three of them.

    Args:
        hidden_size: d.
        num_heads: how many tokens beyond the model's own next one are guessed.
        eps: of the norms.
        initializer_range: standard deviation of the linear maps' first weights; norms begin at 1.
        seed: of these weights; torch's global generator is left as it was.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int = 3,
        *,
        eps: float = 1e-6,
        initializer_range: float = 0.02,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if hidden_size < 1 or num_heads < 1:
            raise InputError(
                f"hidden_size and num_heads must be at least 1, got {hidden_size} and {num_heads}"
            )
        self.hidden_size, self.num_heads, self.eps = hidden_size, num_heads, eps
        self.before = nn.ModuleList(_RMSNorm(hidden_size, eps) for _ in range(num_heads))
        self.after = nn.ModuleList(_RMSNorm(hidden_size, eps) for _ in range(num_heads))
        self.linear = nn.ParameterList(
            nn.Parameter(torch.empty(hidden_size, hidden_size)) for _ in range(num_heads)
        )
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in self.linear:
                weight.normal_(0.0, initializer_range, generator=generator)

    def forward(self, hidden: Tensor) -> list[Tensor]:
        """Normed states (..., d), one a head, for the model's output layer; `hidden` is (..., d)."""
        states = []
        for before, weight, after in zip(self.before, self.linear, self.after, strict=True):
            hidden = hidden + before(hidden) @ weight.T
            states.append(after(hidden))
        return states


def save_heads(
    heads: MultiTokenHeads, path: Path, model: HFCausalLM, *, tokens: int = 0, tokenizer: Any = None
) -> None:
    """Write PATH (safetensors) and PATH.json: which model they belong to, their sizes, what they were trained on."""
    from safetensors.torch import save_file

    about = {
        "model": model.fingerprint(),
        "tokenizer": _tokenizer_hash(tokenizer),
        "heads": heads.num_heads,
        "gamma": heads.num_heads + 1,
        "hidden_size": heads.hidden_size,
        "eps": heads.eps,
        "training_tokens": tokens,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        save_file({name: w.contiguous() for name, w in heads.state_dict().items()}, str(part))
        write_atomically(_about(path), json.dumps(about, indent=1))
        part.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write the heads to {path}: {error.strerror or error}") from error


def load_heads(path: Path, model: HFCausalLM, *, tokenizer: Any = None) -> MultiTokenHeads:
    """Read heads for `model`, on its device and in its precision.

    Raises `NotFoundError` where there are none, `InputError` for heads of another model (with both
    fingerprints), another hidden size, another tokenizer, or a damaged file.
    """
    from safetensors.torch import load_file

    if not path.is_file() or not _about(path).is_file():
        raise NotFoundError(
            f"there are no heads at {path} (a safetensors file and {_about(path).name} beside it)"
        )
    try:
        about = json.loads(_about(path).read_text(encoding="utf-8"))
        weights = load_file(str(path))
        sizes = int(about["hidden_size"]), int(about["heads"]), float(about["eps"])
    except Exception as error:  # safetensors raises kinds of its own
        raise InputError(f"the heads at {path} cannot be read ({type(error).__name__}: {error})") from error
    if sizes[0] != model.hidden_size:
        raise InputError(
            f"the heads at {path} are for hidden size {sizes[0]}, {model.name} has {model.hidden_size}"
        )
    here = model.fingerprint()
    if about["model"] != here:
        raise InputError(
            f"the heads at {path} were trained for another model: theirs has fingerprint {about['model']}, "
            f"{model.name} has {here}"
        )
    if tokenizer is not None and about["tokenizer"] not in (None, _tokenizer_hash(tokenizer)):
        raise InputError(f"the heads at {path} were trained with another tokenizer than this model's")
    heads = MultiTokenHeads(sizes[0], sizes[1], eps=sizes[2])
    try:
        heads.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"the heads at {path} do not have the sizes that {_about(path).name} gives"
        ) from error
    return heads.to(device=model.device, dtype=model.dtype).eval()


def _about(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _tokenizer_hash(tokenizer: Any) -> str | None:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return None if backend is None else hashlib.sha256(backend.to_str().encode()).hexdigest()
