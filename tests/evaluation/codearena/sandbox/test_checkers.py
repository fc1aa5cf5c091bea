"""What counts as the answer."""

from __future__ import annotations

import math
import time
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from firsthand.evaluation.codearena.errors import InvalidCase
from firsthand.evaluation.codearena.grading.checkers import CHECKERS, Checker, parse_checker

COMPARING = [name for name in CHECKERS if name != "custom"]


def said(specification: str, expected: str | bytes, got: str | bytes) -> str | None:
    raw = [text.encode() if isinstance(text, str) else text for text in (expected, got)]
    return parse_checker(specification).difference(*raw)


@pytest.mark.parametrize(
    ("name", "expected", "got"),
    [
        ("standard", "1 2\n3\n", "1\n2 3"),
        ("standard", "", " \n\n"),
        ("exact", "a\n b\n", "a\n b\n"),
        ("exact", b"\xff\0", b"\xff\0"),
        ("floats", "1.0 x", "1.0000001 x"),
        ("floats", "1e9", "1000000500"),
        ("floats", "0", "1e-7"),
        ("floats", "nan inf -inf", "NaN Infinity -INF"),
        ("floats(rel=0.1)", "100", "109"),
        ("floats(abs=5)", "0", "-5"),
        ("floats(rel=0,abs=0)", "1.50", "1.5"),
        ("unordered_lines", "a\nb\na\n", "b\na\n\na "),
        ("unordered_lines", "a  b\n", "a b"),
        ("python_literal", "[1, 2]\n(3,)", "[1,2]\n(3, )"),
        ("python_literal", "1", "1.0"),
        ("python_literal", "{'a': 1, 2: None}", "{2:None,'a':1}"),
        ("python_literal", "{1, 2}", "{2, 1}"),
        ("python_literal", "'a'", '"a"'),
        ("python_literal", "[True]", "[True]"),
        ("python_literal", "not a literal", "not a literal"),
    ],
)
def test_right(name, expected, got):
    assert said(name, expected, got) is None


@pytest.mark.parametrize(
    ("name", "expected", "got", "says"),
    [
        ("standard", "1 2", "1\n3", "line 2: expected '2', got '3'"),
        ("standard", "1 2", "1", "expected 2 words, got 1"),
        ("standard", "1 2", "1 2 3 4", "expected 2 words, got more"),
        ("standard", "", "x", "expected 0 words, got more"),
        ("standard", "é", "e\u0301", "line 1"),
        ("exact", "a\nb", "a\n b", "line 2: byte 2 differs: expected 'b', got ' b'"),
        ("exact", "a", "a\n", "line 1: byte 1 differs"),
        ("floats", "1.0", "1.001", "line 1: expected '1.0', got '1.001'"),
        ("floats", "1", "nan", "line 1"),
        ("floats", "1", "inf", "line 1"),
        ("floats", "inf", "-inf", "line 1"),
        ("floats(rel=1)", "inf", "1", "line 1"),
        ("floats", "x", "y", "line 1"),
        ("floats", "1000", "1_000", "line 1"),
        ("floats", "1 2", "1", "expected 2 words, got 1"),
        ("unordered_lines", "a\nb", "a\nb\nb", "a line is not expected: 'b'"),
        ("unordered_lines", "a\nb\nb", "a\nb", "a line is missing: 'b'"),
        ("unordered_lines", "a b", "b a", "a line is not expected: 'b a'"),
        ("python_literal", "[1]", "(1,)", "line 1: expected '[1]', got '(1,)'"),
        ("python_literal", "True", "1", "line 1"),
        ("python_literal", "[1, [0]]", "[1, [False]]", "line 1"),
        ("python_literal", "{'a': 1}", "{'a': True}", "line 1"),
        ("python_literal", "{'a': 1}", "['a']", "line 1"),
        ("python_literal", "1", "__import__('os').getpid()", "not a Python literal"),
        ("python_literal", "1", "[" * 5000, "too deep"),
        ("python_literal", "1", "-" * 5000 + "1", "too deep"),
        ("python_literal", "1", "9" * 300_000, "too long"),
        ("python_literal", "1", "9" * 10_000, "not a Python literal"),
        ("python_literal", "1", b"'\xff'", "not a Python literal"),
        ("python_literal", "1\n2\n3", "1\n", "expected 3 lines, got 1"),
        ("python_literal", "1", "1\n2", "expected 1 lines, got more"),
    ],
)
def test_wrong(name, expected, got, says):
    found = said(name, expected, got)
    assert found is not None
    assert says in found


@given(st.sampled_from(COMPARING), st.lists(st.integers(-1000, 1000), min_size=1, max_size=8))
def test_an_answer_is_itself_and_nothing_longer_or_shorter(name, numbers):
    text = "\n".join(map(str, numbers))
    assert said(name, text, text) is None
    assert said(name, text, f"{text}\n1001") is not None
    assert said(name, f"{text}\n1001", text) is not None


@given(st.sampled_from(COMPARING), st.binary(max_size=80), st.binary(max_size=80))
def test_any_bytes_are_compared(name, expected, got):
    try:
        found = said(name, expected, got)
    except InvalidCase:
        assert name == "python_literal"
        return
    assert found is None or 0 < len(found) < 400
    if expected == got:
        assert found is None


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1))
def test_floats_take_what_is_within_either_tolerance(value, rel):
    near = value + 0.9 * rel * abs(value)
    if math.isfinite(near):
        assert said(f"floats(rel={rel!r}, abs=0)", repr(value), repr(near)) is None


@example("--")  # signs in a text are no signs
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=8,
    )
)
def test_python_values_are_themselves_and_in_a_list_another(value):
    text = repr(value)
    assert said("python_literal", text, f"  {text} ") is None
    assert said("python_literal", text, f"[{text}]") is not None


def test_a_difference_is_short_whatever_the_output():
    for checker in COMPARING:
        found = said(checker, "1", "x" * 1_000_000)
        assert found is not None
        assert len(found) < 400


@pytest.mark.parametrize("name", COMPARING)
def test_eight_megabytes_of_output_are_compared_in_proportion(name):
    """In time and, beyond the output itself, in no memory to speak of."""
    outputs = [b"1\n" * 4_000_000, b"1 " * 4_000_000, b"1" * 8_000_000, b"\n" * 2_000_000 + b"2"]
    tracemalloc.start()
    try:
        started = time.process_time()
        for output in outputs:
            assert said(name, "1\n", output) is not None
        assert time.process_time() - started < 60  # what is quadratic would take hours
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    ["", "fuzzy", "floats(", "floats(rel)", "floats(rel=x)", "floats(rel=-1)", "floats(rel=nan)", "floats(rel=1,rel=2)",
     "floats(eps=1)", "standard(rel=1)", "floats(abs=inf)", "standard; exact", "STANDARD"],
)  # fmt: skip
def test_a_checker_that_there_is_not_is_refused(text):
    with pytest.raises(InvalidCase, match="checker"):
        parse_checker(text)


def test_parameters_are_read():
    assert parse_checker(" floats ( rel = 1e-9 , abs=0 ) ") == Checker("floats", 1e-9, 0.0)
    assert parse_checker("floats()") == parse_checker("floats") == Checker("floats", 1e-6, 1e-6)
    assert parse_checker("custom").name == "custom"


def test_only_a_program_decides_for_custom():
    with pytest.raises(InvalidCase, match="sandbox"):
        said("custom", "", "")


def test_an_expected_answer_that_nothing_can_be_compared_with_is_told():
    parse_checker("standard").validate(b"\xff")
    parse_checker("python_literal").validate(b"[1]\n\n'a'\n")
    with pytest.raises(InvalidCase, match="line 2 of the answer"):
        parse_checker("python_literal").validate(b"1\nwhat\n")
    with pytest.raises(InvalidCase, match="expected answer"):
        said("python_literal", "what", "1")
