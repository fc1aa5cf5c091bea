"""Harvesting: what is cut out, that content alone decides the result, and the cache."""

from __future__ import annotations

import ast
import gzip
import importlib
import json
import textwrap
from pathlib import Path

import pytest

from firsthand.corpora import package_documentation, python_text
from firsthand.corpora import python_text as face
from firsthand.errors import InputError, NotFoundError

harvester = importlib.import_module("firsthand.corpora.python_text")

PROSE = "This docstring says at some length what the thing below it does. " * 6

FILE = f'''
"""{PROSE}"""
import os

if os.name:
    def conditional(value):
        """Short."""
        total = [{", ".join(map(str, range(90)))}]
        return total

class Shape:
    """
    {PROSE}

        indented example
    """

    @property
    def area(self):
        """{PROSE} Also twice."""
        def nested(value):
            """{PROSE} Nested."""
            return "{"x" * 200}"
        text = """a
\x0cform feed above"""
        return nested({", ".join(map(str, range(60)))})

    async def only_prose(self):
        """{PROSE} Alone."""
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    def make(name, files):
        folder = tmp_path / "site" / name
        for path, content in {"__init__.py": "", **files}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content if isinstance(content, bytes) else content.encode())
        importlib.invalidate_caches()
        return name

    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return make


def test_docstrings(package):
    corpus = python_text("docstrings", packages=[package("fh_docs", {"a.py": FILE})], max_chars=None)
    names = {document.source: document.text for document in corpus.documents}
    assert set(names) == {f"fh_docs:a.py{end}" for end in ("", ":Shape", ":area", ":nested", ":only_prose")}
    assert names["fh_docs:a.py"] == PROSE.strip()
    assert names["fh_docs:a.py:Shape"].endswith("\n\n    indented example")  # cleaned, relative indent kept
    assert {document.kind for document in corpus.documents} == {"docstrings"}


def test_functions_are_outermost_and_without_their_docstring(package):
    corpus = python_text("functions", packages=[package("fh_code", {"a.py": FILE})], max_chars=None)
    names = {document.source: document.text for document in corpus.documents}
    assert set(names) == {"fh_code:a.py:conditional", "fh_code:a.py:area"}
    area = names["fh_code:a.py:area"]
    assert area.startswith("def area(self):\n    def nested(value):")
    assert "Also twice" not in area
    assert area.endswith("58, 59)")
    assert "Short." not in names["fh_code:a.py:conditional"]
    ast.parse(area)


def test_functions_agree_with_get_source_segment():
    corpus = python_text("functions", packages=["json"], min_chars=1, max_chars=None)
    by_source = {document.source: document.text for document in corpus.documents}
    import json.decoder as module

    content = Path(module.__file__).read_text(encoding="utf-8")
    tree = ast.parse(content)
    checked = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is None:
            segment = textwrap.dedent(" " * node.col_offset + ast.get_source_segment(content, node)).strip()
            source = f"json:decoder.py:{node.name}"
            checked += by_source.get(source) == segment
    assert checked >= 3


def test_modules_sizes_and_duplicates(package):
    name = package("fh_sizes", {"a.py": FILE, "b.py": FILE, "c.py": "x = 1\n" * 100, "d.py": "y = 2"})
    corpus = python_text("modules", packages=[name], max_chars=None)
    assert sorted(document.source for document in corpus.documents) == ["fh_sizes:a.py", "fh_sizes:c.py"]
    assert {len(text) for text in python_text("modules", packages=[name], max_chars=350).texts} == {350}
    (line,) = corpus.listing
    assert (line.package, line.files, line.documents) == (name, 5, 2)
    assert line.characters == sum(map(len, corpus.texts))


def test_files_that_cannot_be_used_are_passed_over(package):
    files = {
        "broken.py": "def f(:\n" + "#" * 400,
        "latin.py": b"# -*- coding: latin-1 -*-\n'''" + "é".encode("latin-1") * 400 + b"'''\n",
        "undeclared.py": b"'''" + b"\xe9" * 400 + b"'''\n",
        "surrogate.py": f'"""{PROSE}\\ud800"""',
        "tests/test_a.py": FILE,
        "_sysconfigdata_x.py": FILE,
        "empty.py": "",
    }
    corpus = python_text("docstrings", packages=[package("fh_bad", files)])
    assert corpus.texts == ["é" * 400]


def test_content_alone_decides_order_and_hash(package):
    one = package("fh_one", {"a.py": FILE, "b.py": f'"""{PROSE} B"""'})
    two = package("fh_two", {"deep/z.py": f'"""{PROSE} B"""', "y.py": FILE})
    first, second = python_text(packages=[one]), python_text(packages=[two])
    assert first.texts == second.texts
    assert first.hash == second.hash
    other = python_text(packages=[package("fh_three", {"a.py": FILE})])
    assert other.hash != first.hash
    both = python_text(packages=[one, two])
    assert both.hash == first.hash
    assert [line.documents for line in both.listing] == [len(first), 0]


def test_limit_takes_the_first_in_content_order():
    everything = python_text("functions", packages=["json", "email"])
    some = python_text("functions", packages=["email", "json"], limit=7)
    assert some.documents == everything.documents[:7]
    assert [document.id for document in everything.documents] == sorted({d.id for d in everything.documents})


def test_cache_is_used_and_a_damaged_one_is_made_again(package, own_cache, monkeypatch):
    name = package("fh_cached", {"a.py": FILE})
    first = python_text(packages=[name])
    (path,) = own_cache.rglob("*.jsonl.gz")
    made = path.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(harvester, "collect", None)  # harvesting now would fail
        assert python_text(packages=[name]) == first
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    altered = json.loads(lines[1])
    altered["text"] += "!"
    path.write_bytes(gzip.compress("\n".join([lines[0], json.dumps(altered), *lines[2:]]).encode()))
    assert python_text(packages=[name]) == first
    path.write_bytes(b"\x1f\x8bcut")
    assert python_text(packages=[name]) == first
    assert path.stat().st_mtime_ns != made
    assert [entry.suffix for entry in path.parent.iterdir() if "part" in entry.name] == []


def test_a_changed_file_of_an_unversioned_package_is_seen(package):
    first = python_text(packages=[package("fh_edit", {"a.py": f'"""{PROSE} A"""'})])
    second = python_text(packages=[package("fh_edit", {"a.py": f'"""{PROSE} B"""'})])
    assert first.texts != second.texts


def test_bad_arguments():
    with pytest.raises(NotFoundError, match="no_such_package"):
        python_text(packages=["no_such_package"])
    with pytest.raises(InputError, match="top-level"):
        python_text(packages=["os.path"])
    with pytest.raises(InputError, match="list"):
        python_text(packages="json")
    with pytest.raises(InputError, match="none of"):
        python_text("poems")
    with pytest.raises(InputError, match="below"):
        python_text(min_chars=10, max_chars=5)
    with pytest.raises(InputError, match="limit"):
        python_text(limit=0)
    with pytest.raises(NotFoundError, match="no-such-dist"):
        package_documentation(packages=["no-such-dist"])
    assert face is python_text


def test_package_documentation():
    corpus = package_documentation(packages=["pytest", "numpy"], min_chars=100)
    sources = {document.source for document in corpus.documents}
    assert "pytest:description" in sources
    assert not any("LICENSE" in source or "top_level" in source for source in sources)
    assert {line.package for line in corpus.listing} == {"pytest", "numpy"}
    assert package_documentation(packages=["numpy", "pytest"], min_chars=100) == corpus


def test_versions_come_from_the_owning_distribution():
    import numpy

    root = harvester._package_root("numpy")
    assert harvester._version("numpy", root) == numpy.__version__
    sklearn = pytest.importorskip("sklearn")  # import name and distribution differ
    assert harvester._version("sklearn", harvester._package_root("sklearn")) == sklearn.__version__
    assert harvester._version("json", harvester._package_root("json")).startswith("files ")
