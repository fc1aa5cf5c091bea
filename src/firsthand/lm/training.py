"""A small training loop: AdamW, warm-up and cosine decay, checkpoints that resume bit for bit.

Knows one row of token ids and a causal model; knows nothing of where the text came from. Everything
random in a step depends on the seed and on the step's number alone, so a run that was cut off and resumed
is the unbroken run.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import FirsthandError, InputError, OutputError
from firsthand.lm.backend import require, resolve_device, resolve_dtype

__all__ = ["DivergedError", "TrainResult", "learning_rate_at", "train", "window_starts"]

_BETAS, _EPSILON = (0.9, 0.95), 1e-8
_FINAL_SHARE = 0.1  # the cosine ends at a tenth of the peak rate


class DivergedError(FirsthandError, ArithmeticError):
    """The loss stopped being a finite number; the message says at which step."""


@dataclass(frozen=True)
class TrainResult:
    """What a run leaves: the loss of every step in nats per token (steps,), tokens seen, seconds spent.

    `seconds` is wall-clock time of all parts of a resumed run together.
    """

    losses: NDArray[np.float64]
    tokens: int
    seconds: float


def train(
    model: Any,
    token_ids: NDArray[np.integer[Any]],
    *,
    steps: int,
    batch: int = 4,
    context: int = 128,
    learning_rate: float = 3e-3,
    warmup: int = 20,
    weight_decay: float = 0.1,
    clip: float = 1.0,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "float32",
    checkpoint: Path | None = None,
    every: int = 100,
    on_step: Callable[[int, float], None] | None = None,
) -> TrainResult:
    """Train a causal model in place on windows of `context` tokens out of `token_ids` (T,).

    Each pass over the text cuts it at a fresh offset and visits all windows in a fresh order. The rate
    rises linearly over `warmup` steps and falls on a cosine to a tenth of `learning_rate`; weight decay
    touches matrices only; gradients are clipped to norm `clip`. `on_step(step, loss)` is called after
    every step, counted from 1. With another `dtype` than "float32" the forward pass is autocast to it;
    weights, gradients and the optimizer's state stay as they are ("float16" underflows without loss
    scaling, which is not done here; use "bfloat16").

    The defaults suit the smallest models on one core and less than a million tokens, where many small
    steps teach more than few large ones: 96 × 2 layers come to 4.7 nats a token of held-out text
    after 200 000 tokens in steps of 512 tokens, and to 5.5 in steps of 2 048, in about the same time.

    With `checkpoint`, the state is written there every `every` steps and at the end, and a run that finds
    the file goes on from it: on one thread of the same machine the weights come out bit-equal to those of
    an unbroken run. Raises `InputError` for settings that do not fit, or a checkpoint of another run;
    `DivergedError` when the loss is no longer finite.
    """
    require("torch")
    import torch

    ids = _checked(model, token_ids, steps, batch, context, warmup, every)
    place = resolve_device(device)
    number = resolve_dtype(dtype, place)
    model.to(place)
    weights = list(model.parameters())  # walking the modules at every step costs a small model some per cent
    optimizer = _optimizer(model, learning_rate, weight_decay)
    text_hash = hashlib.sha256(ids.tobytes()).hexdigest()[:16]
    settings = (
        f"steps={steps} batch={batch} context={context} learning_rate={learning_rate!r} warmup={warmup} "
        f"weight_decay={weight_decay!r} clip={clip!r} seed={seed} text={text_hash}"
        + ("" if number is torch.float32 else f" dtype={number}")  # float32: checkpoints of old still fit
    )
    done, spent = 0, 0.0
    losses: list[float] = []
    if checkpoint is not None and checkpoint.exists():
        done, losses, spent = _resume(checkpoint, model, optimizer, settings)
    text = torch.from_numpy(ids).to(place)
    offsets = torch.arange(context + 1, device=place)
    devices = [place] if place.type == "cuda" else []
    was_training = model.training
    model.train()
    started = time.perf_counter()
    try:
        with torch.random.fork_rng(devices=devices):
            for step in range(done, steps):
                _seed_dropout(_step_seed(seed, step), place)
                starts = torch.from_numpy(
                    window_starts(len(ids), step, batch=batch, context=context, seed=seed)
                )
                windows = text[starts.to(place)[:, None] + offsets]  # (B, context + 1)
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate_at(step, steps=steps, peak=learning_rate, warmup=warmup)
                with torch.autocast(place.type, dtype=number, enabled=number is not torch.float32):
                    logits = model(input_ids=windows[:, :-1], use_cache=False).logits  # (B, context, V)
                loss = torch.nn.functional.cross_entropy(
                    logits.flatten(0, 1).float(), windows[:, 1:].flatten()
                )
                optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward(loss)
                torch.nn.utils.clip_grad_norm_(weights, clip)
                value = float(loss.detach())
                if not math.isfinite(value):
                    raise DivergedError(
                        f"the loss is {value} at step {step + 1} of {steps}; lower learning_rate "
                        f"({learning_rate}) or raise warmup ({warmup})"
                    )
                optimizer.step()
                losses.append(value)
                if on_step is not None:
                    on_step(step + 1, value)
                if checkpoint is not None and ((step + 1) % every == 0 or step + 1 == steps):
                    elapsed = spent + time.perf_counter() - started
                    _save(checkpoint, model, optimizer, settings, losses, elapsed)
    finally:
        model.train(was_training)
    spent += time.perf_counter() - started
    return TrainResult(np.array(losses, dtype=np.float64), len(losses) * batch * context, spent)


def learning_rate_at(step: int, *, steps: int, peak: float, warmup: int) -> float:
    """The rate of step `step`, from 0: linear to `peak` over `warmup` steps, then cosine to a tenth of it."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - 1 - warmup)
    return peak * (_FINAL_SHARE + (1 - _FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def window_starts(length: int, step: int, *, batch: int, context: int, seed: int) -> NDArray[np.int64]:
    """Where the (batch,) windows of one step begin: a function of its arguments, with no state.

    Windows of one pass do not overlap in what they predict. A pass is one shuffled cut of the text; all
    passes have equally many windows, and the windows of all passes in a row are dealt to steps.
    """
    usable = length - 1 - context  # the last possible start
    per_pass = max(1, usable // context)  # leaves room for an offset of up to a window
    spare = usable - (per_pass - 1) * context
    numbers = np.arange(step * batch, (step + 1) * batch)
    starts = np.empty(batch, dtype=np.int64)
    for number in np.unique(numbers // per_pass):
        generator = np.random.default_rng([seed, int(number)])
        offset = int(generator.integers(spare + 1))
        order = generator.permutation(per_pass)
        here = numbers // per_pass == number
        starts[here] = offset + order[numbers[here] % per_pass] * context
    return starts


def _step_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _seed_dropout(value: int, place: Any) -> None:
    """Seed the generators that dropout would draw from, and no other device's."""
    require("torch")
    import torch

    torch.default_generator.manual_seed(value)
    if place.type == "cuda":
        with torch.cuda.device(place):
            torch.cuda.manual_seed(value)


def _checked(
    model: Any, token_ids: Any, steps: int, batch: int, context: int, warmup: int, every: int
) -> NDArray[np.int64]:
    ids = np.ascontiguousarray(token_ids)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise InputError(f"token_ids must be one row of whole numbers, got shape {ids.shape}, {ids.dtype}")
    if min(steps, batch, context, every) < 1 or warmup < 0:
        raise InputError("steps, batch, context and every must be at least 1, warmup at least 0")
    if len(ids) < context + 1:
        raise InputError(f"{len(ids)} tokens are too few for one window of {context} and its target")
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None and context > positions:
        raise InputError(f"context {context} exceeds the model's {positions} positions")
    vocabulary = int(model.config.vocab_size)
    if ids.min() < 0 or ids.max() >= vocabulary:
        raise InputError(
            f"token ids run from {ids.min()} to {ids.max()}, the model's vocabulary from 0 to "
            f"{vocabulary - 1}; tokenizer and model do not belong together"
        )
    return ids.astype(np.int64, copy=False)


def _optimizer(model: Any, learning_rate: float, weight_decay: float) -> Any:
    require("torch")
    import torch

    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in weights if weight.ndim >= 2], "weight_decay": weight_decay},
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=_BETAS, eps=_EPSILON, fused=True)


def _save(path: Path, model: Any, optimizer: Any, settings: str, losses: list[float], seconds: float) -> None:
    require("torch")
    import torch

    state = {
        "settings": settings,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "losses": torch.tensor(losses, dtype=torch.float64),
        "seconds": seconds,
    }
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, beside)
        beside.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        raise OutputError(f"cannot write the checkpoint {path}: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def _resume(path: Path, model: Any, optimizer: Any, settings: str) -> tuple[int, list[float], float]:
    require("torch")
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = state["settings"]
    except Exception as error:  # torch raises many kinds for a damaged file
        raise InputError(
            f"the checkpoint {path} cannot be read ({type(error).__name__}); delete it to train anew"
        ) from error
    if found != settings:
        raise InputError(
            f"the checkpoint {path} belongs to another run.\n  it has: {found}\n  asked:  {settings}\n"
            "Use another path, or delete it to train anew"
        )
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        raise InputError(f"the checkpoint {path} is of a model of other sizes; use another path") from error
    optimizer.load_state_dict(state["optimizer"])
    losses = [float(value) for value in state["losses"]]
    return len(losses), losses, float(state["seconds"])
