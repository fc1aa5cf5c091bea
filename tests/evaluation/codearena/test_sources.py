"""Copies are found under other names and comments, and independent programs are not."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import pytest

from firsthand.errors import InputError, MissingDependencyError
from firsthand.evaluation.codearena.scores.sources import Source, duplicate_sources, normalised_tokens

SIEVE = """
def primes(limit):
    # the sieve of Eratosthenes
    marked = [True] * (limit + 1)
    found = []
    for number in range(2, limit + 1):
        if marked[number]:
            found.append(number)
            for multiple in range(number * number, limit + 1, number):
                marked[multiple] = False
    return found

for _ in range(int(input())):
    print(*primes(int(input())))
"""
RENAMED = """
import sys  # a line of her own
def sieve(n):
    flags = [True]*(n+1)
    out = []
    for i in range(2, n+1):
        if flags[i]:
            out.append(i)
            for j in range(i*i, n+1, i):
                flags[j] = False
    return out
for case in range(int(input())):
    print(*sieve(int(input())))
"""
OTHER = """
def is_prime(n):
    d = 2
    while d * d <= n:
        if n % d == 0:
            return False
        d += 1
    return n > 1

tests = int(input())
while tests > 0:
    top = int(input())
    print(" ".join(str(k) for k in range(top + 1) if is_prime(k)))
    tests -= 1
"""
IN_C = """
#include <stdio.h>
/* a loop */ int main(void) { int n; scanf("%d // no comment", &n); // read
  for (int i = 0; i < n; i++) { int a, b; scanf("%d %d", &a, &b); printf("%d\\n", a + b); } return 0; }
"""
NOON = datetime(2024, 7, 30, 12, tzinfo=UTC)


def source(user, text, problem="primes", language="python", minutes=0, **fields):
    return Source(user, problem, language, text, submitted_at=NOON + timedelta(minutes=minutes), **fields)


def test_tokens():
    assert normalised_tokens("total = len(items)  # count\nitems.append('a b')", "Python 3") == [
        "x", "=", "len", "(", "x", ")", "x", ".", "append", "(", "'a b'", ")",
    ]  # fmt: skip
    assert normalised_tokens("main = print 0x1F -- done\n{- more\n-} where", "haskell") == [
        "main", "=", "x", "0x1F", "where",
    ]  # fmt: skip
    found = normalised_tokens(IN_C, "c")
    assert '"%d // no comment"' in found
    assert "read" not in found
    assert found[:8] == ["#", "include", "<", "x", ".", "h", ">", "int"]
    assert normalised_tokens("a = 7 // 2", "python") == ["x", "=", "7", "/", "/", "2"]
    assert normalised_tokens("/* never closed", "c") == normalised_tokens("", "c") == []


def test_a_renamed_copy_is_found():
    (group,) = duplicate_sources(
        [source("late", RENAMED, minutes=5), source("early", SIEVE), source("else", OTHER)]
    )
    assert group.users == ("early", "late")
    assert (group.problem, group.language, group.exact) == ("primes", "python", False)


def test_the_same_but_for_names_and_comments():
    other_words = SIEVE.replace("marked", "m").replace("# the sieve of Eratosthenes", "# mine")
    (group,) = duplicate_sources([source("A", SIEVE), source("B", other_words)])
    assert group.exact


def test_what_is_no_signal():
    assert duplicate_sources([]) == ()
    assert duplicate_sources([source("A", SIEVE), source("B", OTHER)]) == ()
    assert duplicate_sources([source("A", SIEVE), source("A", SIEVE)]) == ()  # her own
    assert duplicate_sources([source("A", SIEVE), source("B", SIEVE, problem="other")]) == ()
    assert duplicate_sources([source("A", SIEVE), source("B", SIEVE, language="c")]) == ()
    short = "print(int(input()) * 2)"
    assert duplicate_sources([source("A", short), source("B", short)]) == ()
    assert len(duplicate_sources([source("A", short), source("B", short)], min_tokens=5)) == 1


def test_largest_first():
    groups = duplicate_sources(
        [
            source("A", IN_C, "sum", "c"), source("B", IN_C, "sum", "c"),
            source("A", SIEVE), source("B", SIEVE), Source("reference", "primes", "python", RENAMED),
        ]
    )  # fmt: skip
    assert [group.problem for group in groups] == ["primes", "sum"]
    assert groups[0].users == ("A", "B", "reference")  # without a time: last


def test_bad_input(monkeypatch):
    with pytest.raises(InputError, match="min_tokens must be at least 1"):
        duplicate_sources([], min_tokens=0)
    with pytest.raises(InputError, match="source 0: expected a Source, got str"):
        duplicate_sources([SIEVE])
    with pytest.raises(InputError, match="similarity must be above 0"):
        duplicate_sources([source("A", SIEVE)], similarity=0)
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(MissingDependencyError, match="datasketch"):
        duplicate_sources([source("A", SIEVE)])
