"""TokenSwift: a model drafts for itself and checks itself, for very long texts (section 3 of the paper).

A step reads the last token with part of the cache, guesses the next γ positions, lays the guesses out as a
tree with frequent n-grams of the text beside it, and checks the tree with one pass over the full cache. The
text is plain decoding's token for token: one draw a position, whose number depends on the seed and on the
position alone, with the penalty's window over the text and the path.

Knows the steps and their order; what is proposed is `drafting`'s, how much of it `tuner`'s, what the draft
reads `partial_cache`'s.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from firsthand.decoding.tokenswift.checkpoint import read_checkpoint, write_checkpoint
from firsthand.decoding.tokenswift.diversity import distinct_n
from firsthand.decoding.tokenswift.drafting import again_after, common, draft_rows, guessed, trace_of
from firsthand.decoding.tokenswift.ngram_table import LaggedFeed, NGramTable
from firsthand.decoding.tokenswift.result import CurvePoint, LongResult
from firsthand.decoding.tokenswift.sampling import long_sampling, reuse_lag
from firsthand.decoding.tokenswift.tree import build_tree, draft_tree
from firsthand.decoding.tokenswift.tuner import Plan, Tuner
from firsthand.errors import InputError
from firsthand.lm.decoding import Ending, Sampler, SamplingParams, Stop, check_prompt, check_tree, drive

if TYPE_CHECKING:
    from firsthand.lm.decoding.huggingface import HFCausalLM

__all__ = ["TokenSwift"]

Branching = Sequence[int] | Literal["auto"] | None
_WIDEST = (1, 3, 3, 3)
_LOOKED_UP = 4  # while decoding plainly, n-grams are looked up after every so many tokens: it takes time


class TokenSwift:
    """Decode long texts with `model`, and with its `heads` where there are some.

    Args:
        model: the model whose text it is.
        heads: `MultiTokenHeads` trained for it; None re-uses n-grams only, and needs no draft pass: they are
            looked up after the last token.
        branching: guesses of each position, the paper's (1, 3, 3, 3); "auto" begins with these and keeps what
            pays by measured passes; None guesses one token a position (a chain).
        ngram_topk: k, how many n-grams a step re-uses at most; 0 is none.
        ngram_size: length of the n-grams, the first token included.
        ngram_keys: how many first tokens the table remembers; None is all.
        preload: tokens of a corpus that the table knows from the start.
        kv_budget, kv_sink: B keys that a draft pass reads in a full-attention layer, S of them the text's first.
        drawn: begin each position's guesses with the token that its own number would pick if the guess's
            distribution were the model's; without it, guesses are the most probable tokens (the paper). At
            temperature 0 there is no difference, and the text is the same in any case.
        adaptive: look every 64 steps at what a smaller tree would give, and decode plainly where speculation
            loses time.

    Raises `InputError` for values outside their range, or a tree deeper than heads can guess.
    """

    def __init__(
        self,
        model: HFCausalLM,
        heads: Any = None,
        *,
        branching: Branching = _WIDEST,
        ngram_topk: int = 20,
        ngram_size: int = 4,
        ngram_keys: int | None = None,
        preload: Sequence[int] = (),
        kv_budget: int = 4096,
        kv_sink: int = 16,
        drawn: bool = True,
        adaptive: bool = True,
    ) -> None:
        from firsthand.decoding.tokenswift.partial_cache import PartialKVCache

        self.gamma = 1 if heads is None else heads.num_heads + 1
        if heads is not None and heads.hidden_size != model.hidden_size:
            raise InputError(
                f"heads are for hidden size {heads.hidden_size}, {model.name} has {model.hidden_size}"
            )
        if branching is None:
            shape: tuple[int, ...] = (1,) * self.gamma
        elif branching == "auto":
            shape = _WIDEST[: self.gamma] + (3,) * (self.gamma - len(_WIDEST))
        else:
            shape = tuple(int(count) for count in branching)
        build_tree(shape)
        if heads is not None and len(shape) > self.gamma:
            raise InputError(
                f"branching has {len(shape)} positions, {heads.num_heads} heads and the model guess {self.gamma}"
            )
        if ngram_topk < 0:
            raise InputError(f"ngram_topk must be at least 0, got {ngram_topk}")
        # Both raise for sizes that cannot be.
        NGramTable(ngram_size, ngram_keys)
        PartialKVCache(model.new_cache(), budget=kv_budget, sink=kv_sink)
        self.model, self.heads, self.branching, self.adaptive = model, heads, shape, adaptive
        self.shrinks = adaptive or branching == "auto"
        self.ngram_topk, self.ngram_size, self.ngram_keys = ngram_topk, ngram_size, ngram_keys
        self.preload, self.drawn = list(preload), drawn
        self.kv_budget, self.kv_sink = kv_budget, kv_sink

    def stream(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        sampling: SamplingParams | None = None,
        stop: Stop | None = None,
        *,
        checkpoint: Path | None = None,
        checkpoint_every: int = 1000,
        curve_every: int = 256,
    ) -> Generator[list[int], None, LongResult]:
        """Yield new tokens as they are checked; the return value is the result."""
        ids = check_prompt(self.model, prompt_ids, max_new_tokens)
        if min(checkpoint_every, curve_every) < 1:
            raise InputError("checkpoint_every and curve_every must be at least 1")
        text = _Text(self, ids, max_new_tokens, sampling or long_sampling(), stop or Stop(), curve_every)
        return (yield from text.run(checkpoint, checkpoint_every))

    def generate(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        sampling: SamplingParams | None = None,
        stop: Stop | None = None,
        on_token: Callable[[int], None] | None = None,
        *,
        checkpoint: Path | None = None,
        checkpoint_every: int = 1000,
        curve_every: int = 256,
    ) -> LongResult:
        """Go on from `prompt_ids` (T,) by at most `max_new_tokens`; sampling is `long_sampling()` by default.

        With `checkpoint`, the tokens are written there every so many, and a run that finds the file goes on
        from it: prompt and tokens are read again in one go, and the text is the unbroken run's.

        Raises `InputError` and `ContextLengthError` before anything is generated, `NonFiniteLogitsError` for NaN.
        """
        stream = self.stream(
            prompt_ids, max_new_tokens, sampling, stop, checkpoint=checkpoint,
            checkpoint_every=checkpoint_every, curve_every=curve_every,
        )  # fmt: skip
        return drive(stream, on_token)


class _SoFar(NamedTuple):
    """Counts since the text began."""

    tokens: int = 0
    accepted: int = 0
    reused: int = 0
    speculative: int = 0
    steps: int = 0
    seconds: float = 0.0


class _Text:
    """One text on its way."""

    def __init__(
        self,
        decoder: TokenSwift,
        ids: list[int],
        max_new_tokens: int,
        sampling: SamplingParams,
        stop: Stop,
        curve_every: int,
    ) -> None:
        from firsthand.decoding.tokenswift.partial_cache import PartialKVCache

        self.decoder, self.model, self.ids = decoder, decoder.model, ids
        self.prompt, self.planned = list(ids), max_new_tokens
        self.sampler = Sampler(sampling, self.model.name)
        self.ending = Ending(stop, max_new_tokens)
        self.cache = self.model.new_cache()
        self.partial = PartialKVCache(self.cache, budget=decoder.kv_budget, sink=decoder.kv_sink)
        self.table = NGramTable(decoder.ngram_size, decoder.ngram_keys)
        self.table.preload(decoder.preload)
        self.feed = LaggedFeed(self.table, reuse_lag(sampling))
        # Positions that a step proposes: the model's and the heads', or what an n-gram has after its key.
        self.gamma = decoder.gamma if decoder.heads is not None else decoder.ngram_size - 1
        k = decoder.ngram_topk
        self.plan = Plan("draft", decoder.branching, k) if decoder.heads is not None else Plan("table", (), k)
        self.tuner = (
            Tuner(self.plan, max_new_tokens, may_stop=decoder.adaptive, table=min(k, 8))
            if decoder.shrinks
            else None
        )
        # n-grams offered at a place, guesses and n-grams after them: to be judged later
        self.looked: deque[tuple[int, list[tuple[int, ...]]]] = deque()
        self.guessed: deque[tuple[int, list[list[int]], list[tuple[int, ...]]]] = deque()
        self.emitted: list[int] = []
        self.modes = {"draft": 0, "table": 0, "plain": 0}
        self.seconds = dict.fromkeys(("prompt", "draft", "verify", "plain", "own"), 0.0)
        self.drafted = self.accepted = self.reused = 0
        self.curve: list[CurvePoint] = []
        self.curve_every = curve_every
        self.since = _SoFar()  # at the last point

    def run(self, checkpoint: Path | None, every: int) -> Generator[list[int], None, LongResult]:
        """Step after step until the text ends."""
        self.started = time.perf_counter()
        resumed = self._resume(checkpoint) if checkpoint is not None else 0
        self.since = self._so_far()
        first, written = 0.0, len(self.emitted)
        if resumed:
            yield list(self.emitted)
        self._read_prompt()
        while not self.ending.reached:
            tokens = self._step()
            taken = self.ending.take(tokens)
            self.emitted += taken
            first = first or time.perf_counter() - self.started
            self._point()
            yield taken
            if checkpoint is not None and (len(self.emitted) - written >= every or self.ending.reached):
                self._write(checkpoint)
                written = len(self.emitted)
        wall = time.perf_counter() - self.started
        self.seconds["own"] = max(0.0, wall - sum(v for k, v in self.seconds.items() if k != "own"))
        return LongResult(
            tokens=tuple(self.emitted),
            stop_reason=self.ending.reason or "length",
            prompt_tokens=len(self.prompt),
            steps=sum(self.modes.values()),
            target_passes=sum(self.modes.values()),
            drafted=self.drafted,
            accepted=self.accepted,
            ttft_s=first,
            wall_s=wall,
            fell_back=bool(self.tuner and self.tuner.stopped),
            gamma=self.gamma,
            modes=dict(self.modes),
            reused=self.reused,
            distinct={n: distinct_n(self.emitted, n) for n in range(1, 5)},
            curve=tuple(self.curve),
            selections=self.partial.selections,
            partial_bytes=self.partial.nbytes,
            seconds=dict(self.seconds),
            resumed_at=resumed,
        )

    # --- steps -----------------------------------------------------------------------------------------

    def _read_prompt(self) -> None:
        """All tokens but the last into the cache, and the draft's keys chosen where there are more than B."""
        before = time.perf_counter()
        if len(self.ids) > 1:
            if self.decoder.heads is not None and self.partial.due(len(self.ids) - 1):
                if len(self.ids) > 2:
                    self.model.forward(self.ids[:-2], self.cache, last=1)
                reading = self.model.read(self.ids[-2:-1], self.cache, queries=True)
                self.partial.select([query[:, -1] for query in reading.queries or ()])
            else:
                self.model.forward(self.ids[:-1], self.cache, last=1)
        self.seconds["prompt"] += time.perf_counter() - before

    def _step(self) -> tuple[int, ...]:
        """One step of the kind that is due; the tokens that are certain now."""
        plan = self.tuner.next if self.tuner is not None else self.plan
        if self.planned - len(self.emitted) < 2:
            plan = Plan("plain")
        at = len(self.ids)
        if plan.mode != "plain" or at % _LOOKED_UP == 0:
            self.feed.advance(self.ids)
            if self.tuner is not None:
                self.looked.append((at, self.table.topk(self.ids[-1], min(self.decoder.ngram_topk, 8))))
        if plan.mode == "table":
            tokens = self._table_step(plan)
        elif plan.mode == "draft":
            tokens = self._draft_step(plan)
        else:
            tokens = self._plain_step()
        if self.tuner is not None:
            self._judge()
        return tokens

    def _plain_step(self) -> tuple[int, ...]:
        before = time.perf_counter()
        queries = self._wants_queries(1)
        reading = self.model.read(self.ids[-1:], self.cache, queries=True) if queries else None
        logits = reading.logits if reading else self.model.forward(self.ids[-1:], self.cache)
        self._keep_part(reading, 0)
        token = self.sampler.draw(logits[0], self.ids)
        self.ids.append(token)
        seconds = time.perf_counter() - before
        self.modes["plain"] += 1
        self.seconds["plain"] += seconds
        if self.tuner is not None:
            self.tuner.saw_plain(seconds)
        return (token,)

    def _draft_step(self, plan: Plan) -> tuple[int, ...]:
        started = time.perf_counter()
        rows = draft_rows(self.model, self.decoder.heads, self.partial, self.ids[-1])
        rows = rows.to("cpu")
        drafted = time.perf_counter()
        judged = self.tuner is not None and self.tuner.curious
        wide = self.plan if judged else plan
        guesses = guessed(rows, wide.branching, self.sampler, self.ids, self.decoder.drawn)
        if judged:
            again = again_after(self.table, guesses[0], wide.reuse)
            self.guessed.append((len(self.ids), guesses, again))
            guesses = [tried[:count] for tried, count in zip(guesses, plan.branching, strict=False)]
        again = again_after(self.table, guesses[0], plan.reuse)
        return self._check(plan, guesses, again, started, drafted)

    def _table_step(self, plan: Plan) -> tuple[int, ...]:
        started = time.perf_counter()
        again = self.table.topk(self.ids[-1], plan.reuse)
        if not again:
            return self._plain_step()
        return self._check(plan, [], again, started, started)

    def _check(
        self,
        plan: Plan,
        guesses: list[list[int]],
        again: list[tuple[int, ...]],
        started: float,
        drafted: float,
    ) -> tuple[int, ...]:
        tree, own = draft_tree(self.ids[-1], guesses, again)
        base, depth = self.cache.length, max(tree.depths)
        before = time.perf_counter()
        options: dict[str, Any] = {}
        if not tree.is_chain:
            options = {"positions": [base + d for d in tree.depths], "mask": tree.mask()}
        reading = None
        if self._wants_queries(depth + 1):
            reading = self.model.read(tree.tokens, self.cache, queries=True, **options)
            logits = reading.logits
        else:
            logits = self.model.forward(tree.tokens, self.cache, **options)
        logits = logits.to("cpu")
        passed = time.perf_counter()
        checked = check_tree(self.model, self.cache, tree, self.ids, self.sampler, logits=logits)
        self._keep_part(reading, checked.path[-1] if checked.path else 0)
        self.modes[plan.mode] += 1
        self.drafted += depth
        self.accepted += len(checked.path)
        self.reused += sum(node >= own for node in checked.path)
        self.seconds["draft"] += drafted - started
        self.seconds["verify"] += passed - before
        if self.tuner is not None:
            own_s = time.perf_counter() - passed + before - drafted
            self.tuner.saw_step(
                plan, len(checked.tokens), len(tree),
                draft_s=drafted - started, verify_s=passed - before, own_s=own_s,
            )  # fmt: skip
        return checked.tokens

    def _judge(self) -> None:
        """Of what was offered and guessed some tokens ago it is known now how far it went."""
        assert self.tuner is not None
        ahead = self.decoder.ngram_size - 1
        while self.looked and self.looked[0][0] + ahead <= len(self.ids):
            place, paths = self.looked.popleft()
            self.tuner.saw_table(common(path, self.ids[place : place + ahead]) for path in paths)
        ahead = max(len(self.plan.branching), self.decoder.ngram_size)
        while self.guessed and self.guessed[0][0] + ahead <= len(self.ids):
            place, guesses, again = self.guessed.popleft()
            self.tuner.saw_trace(trace_of(self.ids[place : place + ahead], guesses, again))

    # --- the part of the cache ---------------------------------------------------------------------------

    def _wants_queries(self, growth: int) -> bool:
        """Whether the draft's keys may have to be chosen after this pass."""
        return self.decoder.heads is not None and self.partial.due(self.cache.length + growth)

    def _keep_part(self, reading: Any, node: int) -> None:
        """Choose keys if they are due, by the query of the last accepted token: `node` of the pass."""
        if reading is not None and self.partial.due(self.cache.length):
            self.partial.select([query[:, node] for query in reading.queries])

    # --- records -----------------------------------------------------------------------------------------

    @property
    def _speculative(self) -> int:
        """Steps that proposed something."""
        return self.modes["draft"] + self.modes["table"]

    def _point(self) -> None:
        if len(self.emitted) - self.since.tokens < self.curve_every:
            return
        before, now = self.since, self._so_far()
        tokens = now.tokens - before.tokens
        drafted = self.gamma * (now.speculative - before.speculative)
        accepted = now.accepted - before.accepted
        self.curve.append(
            CurvePoint(
                now.tokens,
                accepted / drafted if drafted else 0.0,
                tokens / (now.seconds - before.seconds),
                tokens / (now.steps - before.steps),
                (now.reused - before.reused) / accepted if accepted else 0.0,
                distinct_n(self.emitted[before.tokens :], 2),
                self.partial.selections,
            )
        )
        self.since = now

    def _so_far(self) -> _SoFar:
        steps, seconds = sum(self.modes.values()), time.perf_counter() - self.started
        return _SoFar(len(self.emitted), self.accepted, self.reused, self._speculative, steps, seconds)

    def _write(self, path: Path) -> None:
        counters = {
            "modes": self.modes, "drafted": self.drafted, "accepted": self.accepted, "reused": self.reused,
            "selections": self.partial.selections, "curve": [list(point) for point in self.curve],
        }  # fmt: skip
        write_checkpoint(
            path, self.model.fingerprint(), self.prompt, self.sampler.params, self.emitted, counters
        )

    def _resume(self, path: Path) -> int:
        found = read_checkpoint(path, self.model.fingerprint(), self.prompt, self.sampler.params)
        if found is None:
            return 0
        taken = self.ending.take(found.tokens)
        self.emitted = list(taken)
        self.ids += taken
        counters = found.counters
        self.modes.update(counters["modes"])
        self.drafted, self.accepted = counters["drafted"], counters["accepted"]
        self.reused = counters["reused"]
        self.partial.selections = counters["selections"]
        self.curve = [CurvePoint(*point) for point in counters["curve"]]
        return len(taken)
