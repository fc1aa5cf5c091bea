"""The hash of what a record was made with: a check, its room and the engines under it.

Comments, docstrings and blank space do not count: rewording an explanation must not make a 20-minute
record stale. Neither do the floors that only carry and print (claims, launch, catalogue, errors).
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import json
import tokenize
from collections.abc import Sequence
from pathlib import Path

from firsthand.claims.model import Claim

__all__ = ["source_files", "source_hash"]

CARRIERS = ("firsthand.claims", "firsthand.launch", "firsthand.catalogue", "firsthand.errors")


def _locate(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def _imports(tree: ast.AST, module: str, is_package: bool) -> set[str]:
    package = module if is_package else module.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.split(".")[: len(package.split(".")) - (node.level - 1)]
                base = ".".join([*parent, *([base] if base else [])])
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return found


def source_files(module: str) -> dict[str, Path]:
    """Every module of the room's own distribution that `module` imports, directly or not: name → file.

    `module` is a dotted name, such as "firsthand.data.preselect.check". What belongs to another
    top-level package than Firsthand or the room's own is not followed: versions are in the record.
    """
    roots = {"firsthand", module.split(".")[0]}
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or name.split(".")[0] not in roots or name == "firsthand":
            continue
        if any(name == carrier or name.startswith(carrier + ".") for carrier in CARRIERS):
            continue
        path = _locate(name)
        if path is None:
            continue
        found[name] = path
        tree = ast.parse(path.read_text(encoding="utf-8"))
        waiting.extend(_imports(tree, name, path.name == "__init__.py"))
    return dict(sorted(found.items()))


def _spoken(source: str) -> str:
    """The source without comments, docstrings and blank space, by positions only, so that the result
    does not depend on the Python that reads it."""
    # Lines as `ast` and `tokenize` number them: `str.splitlines` would also cut at form feeds and the like.
    lines = list(io.StringIO(source))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                for number in range(first.lineno - 1, first.end_lineno or first.lineno):
                    lines[number] = "\n"
    stripped = "".join(lines)
    cut = list(io.StringIO(stripped))
    # A body that was a docstring alone still tokenizes: tokens need no grammar, only matched brackets.
    for token in tokenize.generate_tokens(io.StringIO(stripped).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            cut[row - 1] = cut[row - 1][:column] + "\n"
    return "\n".join(line.strip() for line in cut if line.strip())


def source_hash(module: str, claims: Sequence[Claim] = ()) -> str:
    """SHA-256 over the spoken sources behind `module` and the claims that its card makes."""
    digest = hashlib.sha256()
    for name, path in source_files(module).items():
        digest.update(f"{name}\n{_spoken(path.read_text(encoding='utf-8'))}\n".encode())
    for claim in claims:
        # Wording may be mended; what is measured and where the line is may not.
        decisive = claim.model_dump(
            include={"id", "version", "combine", "clauses", "unit_of_analysis", "primary"}
        )
        digest.update(json.dumps(decisive, sort_keys=True).encode())
    return digest.hexdigest()
