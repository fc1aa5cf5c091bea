"""What the documentation shows is true: the README's generated parts, its example, paths that it names."""

import re
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


def test_readme_is_what_make_readme_writes():
    answer = subprocess.run(
        [sys.executable, "docs/readme.py", "--check"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_readmes_example_runs():
    answer = subprocess.run(
        [sys.executable, "examples/preselect_quickstart.py"],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    strengths, selected = answer.stdout.splitlines()
    assert strengths == "[1.         0.83333333 0.        ]"
    kept, pool = map(int, re.findall(r"(\d+)%", selected))
    assert kept > 2 * pool


def test_files_that_the_readme_links_to_exist():
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (CHECKOUT / target).exists(), target


def test_cite_prints_the_bibtex_of_the_card():
    answer = subprocess.run(
        [sys.executable, "-m", "firsthand", "cite", "preselect"], capture_output=True, text=True, timeout=60
    )
    assert "2503.00808" in answer.stdout
    page = (CHECKOUT / "docs" / "systems" / "preselect.md").read_text(encoding="utf-8")
    assert answer.stdout.split("{")[1].split(",")[0] in page


def test_the_ladder_example_makes_models_that_preselect_runs_on(tmp_path):
    """Three small models of one's own, their abilities, a configuration; then `firsthand preselect run`."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    from firsthand.corpora import python_text

    texts = python_text("docstrings", packages=["stdlib"], limit=400).texts
    for number, text in enumerate(texts):
        (corpus / f"{number:04d}.txt").write_text(text, encoding="utf-8")
    answer = subprocess.run(
        [sys.executable, "examples/preselect_ladder.py", str(corpus), str(tmp_path / "ladder"), "--steps", "30"],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    answer = subprocess.run(
        [sys.executable, "-m", "firsthand", "preselect", "run", str(tmp_path / "ladder" / "preselect.toml")],
        cwd=tmp_path, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "kept" in answer.stdout
