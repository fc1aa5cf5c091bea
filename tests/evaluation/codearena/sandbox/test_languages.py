"""Languages are files: what they say, what is refused, and that each judges right where its programs are."""

from __future__ import annotations

import pytest

from firsthand.errors import InputError
from firsthand.evaluation.codearena.errors import UnsupportedLanguage
from firsthand.evaluation.codearena.grading.languages import Language, find_language, languages, read_language
from firsthand.evaluation.codearena.sandbox.limits import Limits

from .conftest import judged
from .programs import PROGRAMS

EIGHT = ["c", "cpp", "go", "haskell", "java", "javascript", "python", "rust"]
GOOD = 'name = "A"\nsource = "a.b"\nrun = ["a", "{heap_mb}"]\nversion = ["a"]\nneeds = ["a"]\n'


def test_eight_languages():
    assert list(languages()) == EIGHT


def test_no_two_are_called_the_same():
    names = [
        name.casefold()
        for one in languages().values()
        for name in {one.slug, one.name.casefold(), *one.aliases}
    ]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("name", "slug"),
    [("Python 3", "python"), ("PY", "python"), ("C++", "cpp"), (" c ", "c"), ("node.js", "javascript")],
)
def test_languages_are_found_by_any_name(name, slug):
    assert find_language(name).slug == slug


@pytest.mark.parametrize("name", ["", "cobol", "py\0", "../python", "C#"])
def test_an_unknown_one_is_refused_with_those_there_are(name):
    with pytest.raises(
        UnsupportedLanguage, match=r"there are C, C\+\+, Go, Haskell, Java, JavaScript, Python 3, Rust"
    ):
        find_language(name)


def test_limits_of_a_language_are_the_problem_s_and_what_its_runtime_takes():
    java = find_language("java")
    assert java.limits(1500, 100_001) == Limits(cpu_s=3.0, wall_s=11.0, memory_mb=98 + 128, processes=128)
    assert find_language("c").limits(1500, 102_400) == Limits(
        cpu_s=1.5, wall_s=6.5, memory_mb=100, processes=64
    )
    assert find_language("javascript").run_command(Limits(memory_mb=200))[1] == "--max-old-space-size=150"


def test_what_is_not_installed_is_named(tmp_path):
    (tmp_path / "other.toml").write_text(GOOD.replace('needs = ["a"]', 'needs = ["sh", "no-such-compiler"]'))
    found = languages(tmp_path)["other"]
    assert (found.missing, found.installed) == (["no-such-compiler"], False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name = ", "not TOML"),
        (GOOD.replace("needs", "need"), "need: Extra inputs are not permitted"),
        (GOOD + 'slug = "b"\n', "the file's name says it"),
        (GOOD.replace("{heap_mb}", "{cores}"), "only {heap_mb} and {memory_mb}"),
        (GOOD.replace("{heap_mb}", "{"), "only {heap_mb} and {memory_mb}"),
        (GOOD + 'compile = [["a"]]\n', "compile and artefact belong together"),
        (GOOD + 'artefact = "/tmp/x"\n', "compile and artefact belong together"),
        (GOOD + 'artefact = "/box/x"\ncompile = [["a"]]\n', "artefact"),
        (GOOD + 'artefact = "/tmp/x"\ncompile = [["a"]]\ncheck = ["a"]\n', "without compile"),
        (GOOD.replace('"a.b"', '"../a.b"'), "source"),
        (GOOD.replace('run = ["a", "{heap_mb}"]', "run = []"), "run"),
        (GOOD + "time-factor = 0\n", "time-factor"),
        (GOOD + "time-factor = inf\n", "time-factor"),
        (GOOD + "heap-share = 1.5\n", "heap-share"),
    ],
)
def test_a_file_that_is_no_language_is_refused_with_key_and_fault(tmp_path, text, says):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(InputError) as fault:
        read_language(path)
    assert str(path) in str(fault.value)
    assert says in str(fault.value)


def test_a_file_that_is_not_there_and_one_that_is_no_text(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_language(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    with pytest.raises(InputError, match="not TOML"):
        read_language(tmp_path / "bytes.toml")


def test_a_language_is_added_by_a_file(sandbox, tmp_path):
    from firsthand.evaluation.codearena.grading.grading import Case, Task, grade

    path = tmp_path / "shell.toml"
    path.write_text(
        'name = "Shell"\nsource = "main.sh"\nrun = ["/bin/sh", "/box/main.sh"]\nversion = ["/bin/sh"]\n'
        'check = ["/bin/sh", "-n", "/box/main.sh"]\nneeds = ["sh"]\n'
    )
    shell: Language = read_language(path)
    task = Task((Case("a b", "b a", 1),))
    assert grade(sandbox, shell, "read x y; echo $y $x", task).verdict == "AC"
    assert grade(sandbox, shell, "if", task).verdict == "CE"


@pytest.mark.parametrize("verdict", ["AC", "WA", "CE", "RTE", "TLE", "MLE"])
@pytest.mark.parametrize("slug", ["c", "cpp", "javascript", "python"])
def test_a_language_gives_every_verdict(sandbox, slug, verdict):
    every_verdict(sandbox, slug, verdict)


def every_verdict(sandbox, slug: str, verdict: str) -> None:
    grade = judged(
        sandbox,
        PROGRAMS[slug][verdict],
        slug=slug,
        stdin="3\n1 2 3\n",
        expected="6\n",
        time_ms=500,
        memory_mb=64,
    )
    assert grade.verdict == verdict, (grade.verdict, grade.message)
    assert bool(grade.message) == (verdict != "AC")
    if verdict == "CE":
        assert find_language(slug).source.partition(".")[0].casefold() in grade.message.casefold()
