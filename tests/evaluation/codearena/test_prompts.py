"""What a model is asked, and what counts of its reply."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.evaluation.codearena.clients.prompts import Asked, extract_code, messages_for
from firsthand.evaluation.codearena.errors import UnsupportedLanguage
from firsthand.evaluation.codearena.grading.sandboxed import language_names

SUM = Asked("sum", "Sum", "Print the **sum**.\n", 1500, 65536, (("1 2\n", "3\n"), ("5", "5")))


def test_the_prompt_has_all_that_a_program_needs():
    system, example, answer, asked = messages_for(SUM, "py3")
    assert [message["role"] for message in (system, example, answer, asked)] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert "Python 3" in system["content"]
    assert "nothing else" in system["content"]
    for part in (
        "# Sum",
        "Print the **sum**.",
        "input:\n```\n1 2\n```\noutput:\n```\n3\n```",
        "1.5 s",
        "64 MiB",
    ):
        assert part in asked["content"]
    assert asked["content"].endswith("Write the program in Python 3.")


@pytest.mark.parametrize("language", sorted(language_names()))
def test_the_worked_example_is_read_as_a_reply_is(language):
    messages = messages_for(SUM, language)
    assert len(messages) == 4
    program = extract_code(messages[2]["content"], language)
    assert program.strip()
    assert "```" not in program


def test_the_worked_examples_are_right(tmp_path):
    """In the languages that are installed here, run on what they are said to do."""
    import subprocess

    from firsthand.evaluation.codearena.grading.languages import find_language

    ran = []
    for language in ("python", "javascript", "c", "cpp"):
        if not find_language(language).installed:
            continue
        source = extract_code(messages_for(SUM, language)[2]["content"], language)
        name = {"python": "p.py", "javascript": "p.js", "c": "p.c", "cpp": "p.cpp"}[language]
        (tmp_path / name).write_text(source)
        program = {"python": ["python3", name], "javascript": ["node", name]}.get(language, ["./p"])
        if language in ("c", "cpp"):
            compiler = "gcc" if language == "c" else "g++"
            subprocess.run([compiler, "-O0", "-o", "p", name], cwd=tmp_path, check=True)
        done = subprocess.run(
            program, input="3 4 -2\n", capture_output=True, text=True, cwd=tmp_path, check=True
        )
        assert done.stdout.strip() == "5", language
        ran.append(language)
    assert "python" in ran


P = "print(1)\n"


@pytest.mark.parametrize(
    ("reply", "program"),
    [
        (P, P), ("```python\n" + P + "```", P), ("Here it is:\n\n```py\n" + P + "```\nIt prints 1.", P),
        ("```Python3\n" + P + "```", P), ("~~~ python\n" + P + "~~~", P), ("   ```python\n" + P + "   ```", P),
        ("````python\n" + P + "```\nx\n````", P + "```\nx\n"), ("```{.python}\n" + P + "```", P),
        ("```python title=a.py\n" + P + "```", P), ("```python:main.py\n" + P + "```", P),
        ("```\r\nprint(1)\r\n```", P), ("```python\r\nprint(1)\r\n```\r\n", P),
        # The first block of the language, wherever it stands and whatever comes before.
        ("```text\n1 2\n```\n```python\n" + P + "```", P), ("```\n1 2\n```\n```python\n" + P + "```", P),
        ("```python\n" + P + "```\n```python\nprint(2)\n```", P), ("```bash\npip\n```\n```\n" + P + "```", P),
        # Cut off by the limit of tokens.
        ("```python\nprint(1", "print(1"), ("```\nprint(1", "print(1"),
        # No block of the language: all of it.
        ("```javascript\nlet x\n```", "```javascript\nlet x\n```"), ("print('```')", "print('```')"), ("", ""),
        ("x = 1 ``` y", "x = 1 ``` y"), ("```python\n```", ""),
    ],
)  # fmt: skip
def test_what_counts_of_a_reply(reply, program):
    assert extract_code(reply, "python") == program


def test_every_language_goes_by_its_own_labels():
    for label, language in (
        ("c++", "cpp"),
        ("cpp", "C++"),
        ("js", "javascript"),
        ("rs", "rust"),
        ("c", "C"),
        ("hs", "haskell"),
    ):
        assert extract_code(f"```{label}\nx\n```", language) == "x\n", label
    assert extract_code("```c\nx\n```\n```cpp\ny\n```", "cpp") == "y\n"
    with pytest.raises(UnsupportedLanguage, match="cobol"):
        extract_code("x", "cobol")
    with pytest.raises(UnsupportedLanguage, match="cobol"):
        messages_for(SUM, "cobol")


@settings(deadline=None)
@given(st.text(), st.text(), st.text(alphabet="abc=()\n \t'\"#", min_size=1))
def test_a_labelled_block_is_found_in_any_talk(before, after, program):
    talk = before.replace("`", "").replace("~", "").replace("\r", "")
    wanted = program + "\n"
    assert extract_code(f"{talk}\n```python\n{wanted}```\n{after}", "python") == wanted


@settings(deadline=None)
@given(st.text(alphabet="`~\n pythonx", max_size=60))
def test_any_reply_has_some_program(reply):
    assert extract_code(reply, "python") in reply.replace("\r\n", "\n")


def test_a_long_reply_takes_no_longer_than_its_length():
    """Many openings without an end: a pattern that starts over at each would never finish."""
    reply = "```x\n" * 20_000 + "``" * 20_000 + "\n~~~\n" * 20_000
    assert extract_code(reply, "python")
