"""Training the heads: the model is frozen, each head learns the token i + 2 places on (appendix, training).

The loss is the sum over heads of the mean cross-entropy of head i at position t against token t + 2 + i.
Everything random in a step depends on the seed and on the step's number, so a run that was cut off and
resumed is the unbroken run.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from firsthand.decoding.tokenswift.heads import MultiTokenHeads
from firsthand.errors import InputError, OutputError
from firsthand.lm.decoding.huggingface import HFCausalLM
from firsthand.lm.training import DivergedError, window_starts

__all__ = ["HeadStep", "head_losses", "train_heads"]


@dataclass(frozen=True)
class HeadStep:
    """One step: per head the loss in nats and the top-1, 2 and 3 accuracy; tokens a second."""

    step: int
    losses: tuple[float, ...]
    accuracy: tuple[tuple[float, float, float], ...]
    tokens_per_s: float


def head_losses(
    model: HFCausalLM, heads: MultiTokenHeads, hidden: Tensor, ids: Tensor
) -> tuple[list[Tensor], list[tuple[float, float, float]]]:
    """Per head: mean cross-entropy, and the share of targets among its 1, 2 and 3 best guesses.

    `hidden` (B, T, d) are the frozen model's states before its final norm of the tokens `ids` (B, T); head i at
    position t is held to `ids[:, t + 2 + i]`.
    """
    losses, shares = [], []
    for i, state in enumerate(heads(hidden)):
        ahead = 2 + i
        logits = model.head(state[:, :-ahead].to(model.dtype)).flatten(0, 1).float()
        wanted = ids[:, ahead:].flatten()
        losses.append(torch.nn.functional.cross_entropy(logits, wanted))
        with torch.no_grad():
            right = logits.topk(min(3, logits.shape[-1]), dim=-1).indices == wanted[:, None]
            one, two, three = (float(right[:, :k].any(-1).float().mean()) for k in (1, 2, 3))
        shares.append((one, two, three))
    return losses, shares


def train_heads(
    model: HFCausalLM,
    token_ids: NDArray[Any],
    *,
    num_heads: int = 3,
    steps: int = 200,
    learning_rate: float = 5e-3,
    weight_decay: float = 0.1,
    warmup: int = 50,
    seq_len: int = 8192,
    batch_tokens: int = 983_040,
    seed: int = 42,
    patience: int | None = None,
    checkpoint: Path | None = None,
    every: int = 20,
    on_step: Callable[[HeadStep], None] | None = None,
) -> MultiTokenHeads:
    """Train heads for `model` on windows of `seq_len` tokens out of `token_ids` (T,).

    A step reads about `batch_tokens` tokens, window by window. AdamW, warm-up over `warmup` steps, then a
    cosine to zero; the defaults are the paper's for 8B models. With `patience`, training ends when head 0's
    top-1 accuracy has not risen for so many steps. With `checkpoint`, the state is written there every `every`
    steps, and a run that finds it goes on bit for bit.

    Raises `InputError` for settings that do not fit; `DivergedError` for a loss that is not finite.
    """
    ids = np.ascontiguousarray(token_ids, dtype=np.int64)
    if ids.ndim != 1 or len(ids) < seq_len + 1 or seq_len < num_heads + 3:
        raise InputError(
            f"heads need one row of more than seq_len = {seq_len} tokens, and windows longer than {num_heads + 2}; "
            f"got {ids.shape}"
        )
    if min(steps, batch_tokens, every) < 1 or warmup < 0:
        raise InputError("steps, batch_tokens and every must be at least 1, warmup at least 0")
    if model.max_length is not None and seq_len > model.max_length:
        raise InputError(f"seq_len {seq_len} exceeds what {model.name} reads: {model.max_length}")
    heads = MultiTokenHeads(model.hidden_size, num_heads, seed=seed).to(model.device)
    optimizer = torch.optim.AdamW(heads.parameters(), lr=learning_rate, weight_decay=weight_decay)
    settings = repr(
        (num_heads, steps, learning_rate, weight_decay, warmup, seq_len, batch_tokens, seed, len(ids))
    )
    done, best, waited = 0, 0.0, 0
    if checkpoint is not None and checkpoint.is_file():
        done, best, waited = _resume(checkpoint, heads, optimizer, settings)
    windows = max(1, batch_tokens // seq_len)
    text = torch.from_numpy(ids)
    for step in range(done, steps):
        if patience is not None and waited >= patience:
            break
        started = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, steps, learning_rate, warmup)
        optimizer.zero_grad(set_to_none=True)
        starts = window_starts(len(ids), step, batch=windows, context=seq_len, seed=seed)
        total = np.zeros(num_heads)
        shares = np.zeros((num_heads, 3))
        for start in starts:
            window = text[start : start + seq_len][None].to(model.device)
            losses, right = head_losses(model, heads, model.states(window).float(), window)
            loss = torch.stack(losses).sum() / windows
            torch.autograd.backward(loss)
            total += [float(value.detach()) / windows for value in losses]
            shares += np.array(right) / windows
        if not math.isfinite(float(total.sum())):
            raise DivergedError(f"the heads' loss is {total.sum()} at step {step + 1}; lower learning_rate")
        optimizer.step()
        best, waited = (shares[0, 0], 0) if shares[0, 0] > best else (best, waited + 1)
        if on_step is not None:
            seconds = time.perf_counter() - started
            rows = tuple((float(a), float(b), float(c)) for a, b, c in shares)
            on_step(HeadStep(step + 1, tuple(total.tolist()), rows, windows * seq_len / seconds))
        if checkpoint is not None and ((step + 1) % every == 0 or step + 1 == steps):
            _save(checkpoint, heads, optimizer, settings, step + 1, float(best), waited)
    return heads.to(model.dtype).eval()


def _rate(step: int, steps: int, peak: float, warmup: int) -> float:
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _save(
    path: Path, heads: MultiTokenHeads, optimizer: Any, settings: str, done: int, best: float, waited: int
) -> None:
    state = {
        "settings": settings, "heads": heads.state_dict(), "optimizer": optimizer.state_dict(),
        "done": done, "best": best, "waited": waited,
    }  # fmt: skip
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, beside)
        beside.replace(path)
    except (OSError, RuntimeError) as error:
        raise OutputError(f"cannot write the checkpoint {path}: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def _resume(path: Path, heads: MultiTokenHeads, optimizer: Any, settings: str) -> tuple[int, float, int]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = state["settings"]
    except Exception as error:
        raise InputError(f"the checkpoint {path} cannot be read; delete it to train anew") from error
    if found != settings:
        raise InputError(f"the checkpoint {path} belongs to another run; use another path, or delete it")
    heads.load_state_dict(state["heads"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["done"]), float(state["best"]), int(state["waited"])
