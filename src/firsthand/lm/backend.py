"""Reaching torch and transformers, with an error that helps where they are missing or broken.

Knows how the heavy packages are found; knows nothing of models.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from firsthand.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    import torch

INSTALL = "pip install 'firsthand[lm]'"


def require(module: str) -> Any:
    """Import one of the optional packages by name, or raise `MissingDependencyError`."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingDependencyError(f"{module} is not installed; run: {INSTALL}") from error


def transformers_class(name: str) -> Any:
    """A class of transformers, which imports its model code only when asked for it.

    That late import fails as a whole when an unrelated package beside it is broken; the usual one is a
    torchvision built for another torch. The message names the cause at the root of the chain.
    """
    require("torch")
    transformers = require("transformers")
    try:
        return getattr(transformers, name)
    except (ImportError, RuntimeError) as error:
        root: BaseException = error
        while (below := root.__cause__ or root.__context__) is not None:
            root = below
        raise MissingDependencyError(
            f"transformers {transformers.__version__} cannot import {name} ({type(root).__name__}: {root}); "
            "an installed package does not fit the others. If the cause names torchvision, install the "
            "build that belongs to your torch, or remove it: pip uninstall torchvision"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars of transformers inside the block; what the caller had set comes back after it."""
    require("transformers")
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def resolve_device(device: str) -> torch.device:
    """`"auto"` is CUDA where there is one, else the CPU; anything else is what torch calls it."""
    require("torch")
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise InputError(
            f"torch knows no device {device!r}; use 'auto', 'cpu', 'cuda' or 'cuda:N'"
        ) from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {device!r} is not here: torch finds no CUDA device; use 'auto' or 'cpu'")
    return chosen


def resolve_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """None is float32 on a CPU and bfloat16 elsewhere; a name is looked up in torch."""
    require("torch")
    import torch

    if dtype is None:
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    chosen = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(chosen, torch.dtype) or not chosen.is_floating_point:
        raise InputError(f"dtype {dtype!r} is not a floating type; use 'float32', 'bfloat16' or 'float16'")
    return chosen
