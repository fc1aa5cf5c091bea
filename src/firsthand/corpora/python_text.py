"""Real text that lies on every machine with Python: docstrings, functions, modules, packages' own pages.

Knows where the standard library and installed packages keep their files and how to cut them with `ast`;
nothing is imported or run. A harvest takes seconds to tens of seconds, so it is cached, keyed by what was
asked and by the versions it was taken from.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import inspect
import platform
import re
import sys
import sysconfig
import tokenize
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from firsthand.corpora.documents import Corpus, collect, read_corpus, write_corpus
from firsthand.errors import InputError, NotFoundError
from firsthand.launch.cache import cache_folder, locked

__all__ = ["STANDARD_LIBRARY", "package_documentation", "python_text"]

Kind = Literal["docstrings", "functions", "modules"]
_KINDS = ("docstrings", "functions", "modules")

STANDARD_LIBRARY = "stdlib"
_DEFAULT_PACKAGES = ("numpy", "scipy", "sklearn", "torch")  # import names; taken where installed
_FORMAT = 1  # raise when the harvest's rules change

# Tests and vendored copies differ between distributions; generated tables differ between machines.
_SKIPPED_FOLDERS = {"test", "tests", "idlelib", "lib2to3", "turtledemo", "site-packages", "dist-packages"}
_SKIPPED_FILES = re.compile(
    r"^_sysconfigdata|^__config__\.py$|^LICENSE|^COPYING|^NOTICE|^AUTHORS", re.IGNORECASE
)
_METADATA_FILES = {"top_level.txt", "entry_points.txt", "SOURCES.txt", "requires.txt", "dependency_links.txt"}


def python_text(
    kind: Kind = "docstrings",
    *,
    packages: Sequence[str] | None = None,
    min_chars: int = 300,
    max_chars: int | None = 800,
    limit: int | None = None,
) -> Corpus:
    """Harvest documents from Python source files.

    - `"docstrings"`: English prose about code; module, class and function docstrings, indentation removed.
    - `"functions"`: code; every outermost function or method without its docstring, indentation removed.
    - `"modules"`: whole files.

    `packages` are import names, and `"stdlib"` for the standard library; by default that and numpy, scipy,
    sklearn and torch where installed. `listing` of the result says what was taken, `hash` what came out:
    two machines with the same versions get the same corpus. Documents of fewer than `min_chars` characters
    are left out, longer ones cut to `max_chars`; `limit` keeps the first ones in content order, which is a
    reproducible random choice.

    Raises `NotFoundError` for a package that is not installed.
    """
    if kind not in _KINDS:
        raise InputError(f"kind {kind!r} is none of {', '.join(_KINDS)}")
    _check_sizes(min_chars, max_chars, limit)
    roots = _roots(packages)
    versions = {name: _version(name, root) for name, root in roots.items()}
    extract = {"docstrings": _docstrings, "functions": _functions, "modules": _modules}[kind]

    def harvest() -> Corpus:
        files = {name: list(_python_files(name, root)) for name, root in roots.items()}
        found = (
            (name, source, text)
            for name, paths in files.items()
            for path in paths
            for source, text in _sized(_extracted(extract, name, roots[name], path), min_chars, max_chars)
        )
        counts = {name: (versions[name], len(paths)) for name, paths in files.items()}
        return collect(found, kind=kind, packages=counts, limit=limit)

    return _cached(harvest, kind, versions, min_chars, max_chars, limit)


def package_documentation(
    *,
    packages: Sequence[str] | None = None,
    min_chars: int = 300,
    max_chars: int | None = None,
    limit: int | None = None,
) -> Corpus:
    """The pages that installed distributions bring along: their long description and .rst, .md, .txt files.

    `packages` are distribution names ("scikit-learn"); by default all that are installed, so the result is
    this machine's own. Licences and packaging lists are left out. Sizes and `limit` as in `python_text`;
    raises `NotFoundError` for a distribution that is not installed.
    """
    _check_sizes(min_chars, max_chars, limit)
    distributions = _distributions(packages)
    versions = {name: distribution.version for name, distribution in distributions.items()}

    def harvest() -> Corpus:
        found, counts = [], {}
        for name, distribution in distributions.items():
            pages = list(_pages(distribution))
            counts[name] = (versions[name], len(pages))
            for where, text in _sized(pages, min_chars, max_chars):
                found.append((name, f"{name}:{where}", text))
        return collect(found, kind="documentation", packages=counts, limit=limit)

    return _cached(harvest, "documentation", versions, min_chars, max_chars, limit)


def _check_sizes(min_chars: int, max_chars: int | None, limit: int | None) -> None:
    if min_chars < 1:
        raise InputError(f"min_chars must be at least 1, got {min_chars}")
    if max_chars is not None and max_chars < min_chars:
        raise InputError(f"max_chars ({max_chars}) must not be below min_chars ({min_chars})")
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1, got {limit}")


def _cached(
    harvest: Callable[[], Corpus],
    kind: str,
    versions: dict[str, str],
    min_chars: int,
    max_chars: int | None,
    limit: int | None,
) -> Corpus:
    wanted = repr(
        (_FORMAT, kind, sorted(versions.items()), min_chars, max_chars, limit, platform.python_version())
    )
    key = hashlib.sha256(wanted.encode()).hexdigest()[:24]
    path = cache_folder("corpora") / f"{kind}-{key}.jsonl.gz"
    with locked(path):
        corpus = read_corpus(path)
        if corpus is None:
            corpus = harvest()
            write_corpus(corpus, path)
    return corpus


# Where files are


def _roots(packages: Sequence[str] | None) -> dict[str, Path]:
    """Package name -> its folder (or, for a single-module package, its file)."""
    roots: dict[str, Path] = {}
    asked = (STANDARD_LIBRARY, *_DEFAULT_PACKAGES) if packages is None else packages
    if isinstance(asked, str) or not asked:
        raise InputError("packages must be a list of at least one import name")
    for name in asked:
        root = Path(sysconfig.get_path("stdlib")) if name == STANDARD_LIBRARY else _package_root(name)
        if root is not None:
            roots[name] = root
        elif packages is not None:
            raise NotFoundError(f"the package {name!r} is not installed; take another, or pip install it")
    return roots


def _package_root(name: str) -> Path | None:
    if not name.isidentifier():
        raise InputError(f"{name!r} is not a top-level import name, such as 'numpy' or 'sklearn'")
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a half-initialised module in sys.modules
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None


def _version(name: str, root: Path) -> str:
    """The version of what is harvested; where no installed distribution owns it, a hash of its files.

    A package under development (editable install) is not beside its metadata and is therefore hashed.
    """
    if name == STANDARD_LIBRARY:
        return f"{platform.python_implementation()} {platform.python_version()}"
    if next(root.parent.glob("*.dist-info"), None) is not None:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            owners = importlib.metadata.packages_distributions().get(name)  # slow: reads every list of files
            if owners:
                return importlib.metadata.version(owners[0])
    digest = hashlib.sha256()
    for path in _python_files(name, root):
        digest.update(f"{path.relative_to(root.parent).as_posix()}\0".encode() + path.read_bytes())
    return f"files {digest.hexdigest()[:12]}"


def _python_files(name: str, root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root).parts
        if _SKIPPED_FOLDERS.intersection(inside[:-1]) or _SKIPPED_FILES.match(path.name):
            continue
        if name == STANDARD_LIBRARY and inside[0].removesuffix(".py") not in sys.stdlib_module_names:
            continue
        yield path


def _distributions(packages: Sequence[str] | None) -> dict[str, importlib.metadata.Distribution]:
    if packages is None:
        installed = {d.metadata["Name"]: d for d in importlib.metadata.distributions() if d.metadata["Name"]}
        return dict(sorted(installed.items()))
    try:
        return {name: importlib.metadata.distribution(name) for name in packages}
    except importlib.metadata.PackageNotFoundError as error:
        raise NotFoundError(f"the distribution {error.name!r} is not installed; pip install it") from error


def _pages(distribution: importlib.metadata.Distribution) -> Iterator[tuple[str, str]]:
    metadata: Any = distribution.metadata  # an email.message.Message: the body is the description
    described = str(metadata.get("Description") or metadata.get_payload() or "")
    yield "description", described.strip()
    for file in sorted(distribution.files or (), key=str):
        if file.suffix not in {".rst", ".md", ".txt"} or file.name in _METADATA_FILES:
            continue
        if _SKIPPED_FILES.match(file.name) or _SKIPPED_FOLDERS.intersection(file.parts[:-1]):
            continue
        if "licenses" in file.parts or file.name.startswith("requirements"):
            continue
        try:
            yield str(file), Path(str(distribution.locate_file(file))).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            continue  # listed and removed, or not text


# What is cut out of a file

_Extract = Callable[[ast.Module, list[str]], Iterator[tuple[str, str]]]


def _extracted(extract: _Extract, package: str, root: Path, path: Path) -> Iterator[tuple[str, str]]:
    """(source, text) pairs of one file; a file that cannot be read as Python gives none."""
    try:
        with tokenize.open(path) as stream:
            content = stream.read()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old files have invalid escapes; that is their business
            tree = ast.parse(content)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    inside = path.relative_to(root).as_posix() if root.is_dir() else path.name
    # Python's lines end at \n; str.splitlines would also cut at form feeds and shift the numbers.
    for name, text in extract(tree, content.split("\n")):
        yield f"{package}:{inside}{name and ':' + name}", text


def _sized(
    pairs: Iterable[tuple[str, str]], min_chars: int, max_chars: int | None
) -> Iterator[tuple[str, str]]:
    for source, text in pairs:
        if len(text) >= min_chars and _is_utf8(text):
            yield source, text[:max_chars]


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, written as an escape in some docstrings
        return False
    return True


_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _docstrings(tree: ast.Module, lines: list[str]) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | _Function):
            text = ast.get_docstring(node, clean=False)
            if text is not None:
                yield getattr(node, "name", ""), inspect.cleandoc(text).strip()


def _functions(tree: ast.Module, lines: list[str]) -> Iterator[tuple[str, str]]:
    for node in _outermost(tree):
        begin, end = node.lineno - 1, node.end_lineno or node.lineno
        kept = lines[begin:end]
        first = node.body[0]
        if ast.get_docstring(node, clean=False) is not None and len(node.body) > 1:
            # Slicing by line number: ast.get_source_segment splits the whole file for every call.
            begin_text, end_text = first.lineno - 1, first.end_lineno or first.lineno
            kept = lines[begin:begin_text] + lines[end_text:end]
        elif ast.get_docstring(node, clean=False) is not None:
            continue  # nothing but prose
        # Not textwrap.dedent: a string that runs over lines may begin at the margin.
        margin = lines[begin][: node.col_offset]
        yield node.name, "\n".join(line.removeprefix(margin) for line in kept).strip()


def _outermost(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Functions that lie in no other function; those of classes and of conditional blocks included."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, _Function):
                yield child
            elif not isinstance(child, ast.expr):
                waiting.append(child)


def _modules(tree: ast.Module, lines: list[str]) -> Iterator[tuple[str, str]]:
    yield "", "\n".join(lines).strip()
