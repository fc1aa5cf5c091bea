"""Edits that worked once, kept and made again before anybody is asked.

Knows texts and tokens, no SQL grammar. A rule is what a repair changed with enough of the text around it to be found
again, once, in the next snapshot. A change at the end of a text is made again only at an end: a parenthesis that was
closed behind the last word must not be closed in the same place once more words follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from rapidfuzz.distance import Levenshtein

from firsthand.errors import InputError
from firsthand.query.speql.edits import Edit, apply_edits
from firsthand.query.speql.repair import Accepts, Repair, Repairer, RuleRepairer, repair
from firsthand.query.speql.schema import Schema
from firsthand.query.speql.text import Token, check_cursor, code, statement_at, tokenize

__all__ = ["PatchCache", "PatchRule", "difference"]


@dataclass(frozen=True)
class PatchRule:
    """A change and what must stand around it, as tokens.

    Attributes:
        before, old, after: the tokens to be found, in this order.
        new: what stands in the place of `old`.
        at_end: whether nothing may follow.
    """

    before: tuple[str, ...]
    old: tuple[str, ...]
    after: tuple[str, ...]
    new: str
    at_end: bool

    @property
    def tokens(self) -> tuple[str, ...]:
        """All that must be found."""
        return self.before + self.old + self.after


class PatchCache:
    """The changes of the last repair that ran.

    Args:
        min_rule_length: a rule is grown until it has this many tokens, where the text has as many.
        patch_similarity: below this similarity (1 minus the edit distance over the longer length) of a text to the last
            one that ran, all rules are forgotten: it is another query.
        dialect: whose tokens; sqlglot's name.
    """

    def __init__(
        self, min_rule_length: int = 5, patch_similarity: float = 0.6, *, dialect: str = "duckdb"
    ) -> None:
        if min_rule_length < 1:
            raise InputError(f"min_rule_length must be at least 1, not {min_rule_length}")
        if not 0 <= patch_similarity <= 1:
            raise InputError(f"patch_similarity must be between 0 and 1, not {patch_similarity}")
        self._length = min_rule_length
        self._similarity = patch_similarity
        self._dialect = dialect
        self._rules: tuple[PatchRule, ...] = ()
        self._runnable = ""
        self._checker = RuleRepairer()

    @property
    def rules(self) -> tuple[PatchRule, ...]:
        """What is kept."""
        return self._rules

    def clear(self) -> None:
        """Forget everything."""
        self._rules, self._runnable = (), ""

    def learn(self, text: str, repaired: str) -> None:
        """Keep how `text` became `repaired`, which ran; what was kept before is forgotten."""
        old = code(tokenize(text, self._dialect))
        words = [token.text for token in old]
        rules = []
        for start, end, new in _changes(text, old, repaired, self._dialect):
            rules.append(self._grown(words, start, end, new))
        self._rules = tuple(dict.fromkeys(rules))
        self._runnable = repaired

    def _grown(self, words: Sequence[str], start: int, end: int, new: str) -> PatchRule:
        """A rule around tokens [start, end): long enough, and found once."""
        low, high = start, end
        while high - low < self._length or len(_found(words, words[low:high])) > 1:
            if low == 0 and high == len(words):
                break
            if low > 0:
                low -= 1
            if high < len(words) and (high - low < self._length or low == 0):
                high += 1
        return PatchRule(
            tuple(words[low:start]), tuple(words[start:end]), tuple(words[end:high]), new, high == len(words)
        )

    def edits(self, text: str) -> tuple[Edit, ...]:
        """The kept changes that apply to a text, in order; none where it is another query than the last that ran."""
        if not self._rules:
            return ()
        if Levenshtein.normalized_similarity(text, self._runnable) < self._similarity:
            self.clear()
            return ()
        tokens = code(tokenize(text, self._dialect))
        words = [token.text for token in tokens]
        found: list[Edit] = []
        for rule in self._rules:
            places = _found(words, rule.tokens)
            if len(places) != 1:
                continue
            first = places[0] + len(rule.before)
            last = first + len(rule.old)
            if rule.at_end and places[0] + len(rule.tokens) != len(words):
                continue
            found.append(_edit(tokens, first, last, rule.new, "as before"))
        found.sort(key=lambda edit: (edit.start, edit.end))
        apart: list[Edit] = []
        for edit in found:
            if not apart or edit.start >= apart[-1].end:
                apart.append(edit)
        return tuple(apart)

    def repair(
        self,
        text: str,
        cursor: int | None,
        schema: Schema,
        repairer: Repairer,
        accepts: Accepts | None = None,
    ) -> Repair:
        """Repair a snapshot: by the kept changes if it runs with them, else by asking `repairer`; learn from either.

        Raises:
            RepairFailed: nothing that runs can be made of it.
        """
        place = check_cursor(text, cursor)
        rules = repairer if isinstance(repairer, RuleRepairer) else self._checker
        edits = self.edits(text)
        if edits and rules.as_typed(text, schema, cursor=place, accepts=accepts) is None:
            moved = place + sum(len(e.new) - (e.end - e.start) for e in edits if e.end <= place)
            patched = apply_edits(text, edits)
            found = rules.as_typed(patched, schema, cursor=min(max(moved, 0), len(patched)), accepts=accepts)
            if found is not None:
                span = statement_at(text, place, schema.dialect)
                own = tuple(e for e in edits if span.start <= e.start and e.end <= span.end)
                if apply_edits(text, own) == text[: span.start] + found.sql + text[span.end :]:
                    dropped = tuple(text[e.start : e.end].strip() for e in own if not e.new.strip())
                    return Repair(found.sql, own, dropped, span)
        done = repair(text, schema, cursor=place, repairer=repairer, accepts=accepts)
        self.learn(text[done.span.start : done.span.end], done.sql)
        return done

    def apply(self, text: str) -> str:
        """The text with the kept changes."""
        return apply_edits(text, self.edits(text))


def difference(text: str, new: str, *, why: str = "", dialect: str = "duckdb") -> tuple[Edit, ...]:
    """Edits, token by token, that make one text of another; white space and comments between equal tokens stay."""
    tokens = code(tokenize(text, dialect))
    return tuple(
        _edit(tokens, start, end, piece, why) for start, end, piece in _changes(text, tokens, new, dialect)
    )


def _changes(text: str, old: Sequence[Token], new_text: str, dialect: str) -> list[tuple[int, int, str]]:
    """What differs: tokens [start, end) of the old text, and the new text in their place."""
    new = code(tokenize(new_text, dialect))
    matcher = SequenceMatcher(None, [t.text for t in old], [t.text for t in new], autojunk=False)
    found = []
    for what, i1, i2, j1, j2 in matcher.get_opcodes():
        if what == "equal":
            continue
        piece = new_text[new[j1].start : new[j2 - 1].end] if j2 > j1 else ""
        found.append((i1, i2, piece))
    return found


def _edit(tokens: Sequence[Token], start: int, end: int, new: str, why: str) -> Edit:
    """Put `new` in the place of tokens [start, end), with a space where it would grow together with a neighbour."""
    if start == end:
        at = tokens[start - 1].end if start > 0 else 0
        lead = " " if new and start > 0 and new[0] not in "),.;" else ""
        return Edit(at, at, lead + new + (" " if start == 0 and new else ""), why)
    if new:
        return Edit(tokens[start].start, tokens[end - 1].end, new, why)
    first = tokens[start - 1].end if start > 0 else tokens[start].start
    return Edit(first, tokens[end - 1].end, "", why)


def _found(words: Sequence[str], sought: Sequence[str]) -> list[int]:
    """Where a run of words begins."""
    size = len(sought)
    if size == 0:
        return list(range(len(words) + 1))
    first, run = sought[0], list(sought)
    return [
        at for at in range(len(words) - size + 1) if words[at] == first and list(words[at : at + size]) == run
    ]
