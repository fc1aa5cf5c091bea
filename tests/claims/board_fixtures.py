"""Records of every kind the board must show, made from invented observations by the real judge."""

from __future__ import annotations

import functools
import math
import random
from pathlib import Path

from firsthand.claims.board import BoardEntry, SystemLine, write_board
from firsthand.claims.model import Claim, Clause, Environment, Gate, Observation, PaperFigure, Record
from firsthand.claims.verdict import judge

HOSTILE = '<script>window.hacked = 1</script><img src=x onerror="window.hacked = 1"> & "quoted" \'text\''
LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 2


def observe(
    clause: str, means: dict[str, float], seeds: int, *, spread: float = 1.0, log: bool = False
) -> list[Observation]:
    """One value an arm and a seed: the arm's mean, a shift shared by the arms, and noise."""
    dice = random.Random(clause)
    found = []
    for seed in range(seeds):
        shared = dice.gauss(0, spread)
        for arm, mean in means.items():
            noise = dice.gauss(0, spread / 2)
            value = mean * math.exp(shared * 0.3 + noise * 0.3) if log else mean + shared + noise
            found.append(Observation(clause=clause, arm=arm, seed=seed, value=value))
    return found


def agreements(clause: str, count: int, mismatches: int = 0) -> list[Observation]:
    """`count` exact observations, the first `mismatches` of which disagree."""
    return [
        Observation(
            clause=clause,
            arm="treatment",
            seed=i % 5,
            item=str(i),
            value=float(i >= mismatches),
            repeat="exact",
        )
        for i in range(count)
    ]


def record(
    room: str,
    title: str,
    domain: str,
    claims: list[Claim],
    observations: list[Observation],
    **changes: object,
) -> Record:
    """A laptop record of `claims`, judged; `changes` override its fields."""
    gates = changes.get("gates", ())
    results = judge(claims, observations, gates=gates)  # type: ignore[arg-type]
    if changes.get("scale") == "smoke":
        results = tuple(result.model_copy(update={"verdict": None, "reason": ""}) for result in results)
    fields: dict[str, object] = {
        "room": room,
        "title": title,
        "domain": domain,
        "scale": "laptop",
        "seeds": tuple(range(8)),
        "results": results,
        "observations": tuple(observations),
        "started": "2026-11-20T09:15:02Z",
        "wall_seconds": 412.3,
        "cpu_seconds": 655.1,
        "peak_memory_mib": 1830.0,
        "load_average": 0.42,
        "commit": "0f3c9a1b7d5e",
        "source_hash": "9b1f0c77aa52e3d4",
        "environment": Environment(
            python="3.11.7",
            platform="Linux-6.1-x86_64",
            processor="Example CPU at 2.4 GHz",
            cores=2,
            memory_gib=15.6,
            packages={"numpy": "2.4.6", "torch": "2.13.0", "transformers": "5.23.0"},
        ),
    }
    return Record.model_validate(fields | changes)


def _charts() -> list[dict[str, object]]:
    steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
    return [
        {
            "kind": "line",
            "title": "Held-out loss while training on the chosen tenth",
            "x_label": "training steps",
            "y_label": "loss, nats per token",
            "log_x": True,
            "series": [
                {"name": "PreSelect", "x": steps, "y": [6.1 - 0.42 * math.log(s) for s in steps]},
                {"name": "random tenth", "x": steps, "y": [6.15 - 0.36 * math.log(s) for s in steps]},
                {
                    "name": "most educational tenth",
                    "x": steps,
                    "y": [6.2 - 0.38 * math.log(s) for s in steps],
                },
            ],
            "note": "One seed; the shaded verdict above speaks for all of them.",
        },
        {
            "kind": "bar",
            "title": "Documents kept, by source",
            "y_label": "documents",
            "series": [
                {
                    "name": "kept",
                    "x": ["encyclopedia", "forum threads about home repair", "shop pages"],
                    "y": [812, 240, 31],
                },
                {
                    "name": "random",
                    "x": ["encyclopedia", "forum threads about home repair", "shop pages"],
                    "y": [361, 358, 364],
                },
            ],
        },
        {
            "kind": "bar",
            "title": "Predictive strength of the seed sample",
            "x_label": "strength",
            "y_label": "documents",
            "series": [
                {
                    "name": "documents",
                    "x": [i / 15 for i in range(16)],
                    "y": [8, 11, 19, 30, 44, 60, 75, 88, 90, 84, 70, 55, 39, 26, 15, 9],
                }
            ],
        },
        {
            "kind": "points",
            "title": "Strength and perplexity",
            "x_label": "perplexity",
            "y_label": "strength",
            "log_x": True,
            "series": [
                {
                    "name": name,
                    "x": [10 * math.exp(0.11 * i + shift) for i in range(22)],
                    "y": [0.95 - 0.03 * i + 0.05 * math.sin(i + shift) for i in range(22)],
                }
                for name, shift in (("web", 0.0), ("books", 0.6))
            ],
        },
    ]


def preselect() -> Record:
    """Greater with several shapes of result: holds, Holm-blocked, absolute, all of, not measurable."""
    claims = [
        Claim(
            id="beats-random",
            sentence="Training on the tenth that PreSelect keeps gives a lower held-out loss than random.",
            primary=True,
            clauses=(
                Clause(
                    id="loss",
                    kind="less",
                    quantity="held-out loss",
                    unit="nats",
                    margin=-0.02,
                    treatment="PreSelect",
                    control="random",
                ),
            ),
            generalises_over="training seeds",
            paper=PaperFigure(value=5.3, unit="points", setting="1B, 30 B tokens, mean accuracy"),
            note="The paper measures downstream accuracy; two cores can train a model that shows the loss.",
        ),
        Claim(
            id="beats-both",
            sentence="PreSelect also beats perplexity filtering and an educational classifier.",
            combine="all of",
            clauses=(
                Clause(
                    id="perplexity",
                    kind="less",
                    quantity="held-out loss",
                    unit="nats",
                    treatment="PreSelect",
                    control="low perplexity",
                ),
                Clause(
                    id="educational",
                    kind="less",
                    quantity="held-out loss",
                    unit="nats",
                    treatment="PreSelect",
                    control="educational",
                ),
            ),
            paper=PaperFigure(value=2.0, unit="points", setting="1B, 30 B tokens", source="table 2"),
        ),
        Claim(
            id="scorer-accuracy",
            sentence="The cheap scorer tells strong documents from weak ones on held-out labels.",
            clauses=(Clause(id="auc", kind="absolute", margin=0.8, quantity="AUC", treatment="scorer"),),
            paper=PaperFigure(
                value=0.91, setting="held-out tenth of the labels", source="appendix B", same_setting=True
            ),
        ),
        Claim(
            id="ten-times",
            sentence="A tenth of the compute reaches the same accuracy.",
            measured=False,
            reason="needs two models trained on 30 and 300 billion tokens",
        ),
    ]
    observations = (
        observe("loss", {"PreSelect": 3.55, "random": 3.66}, 8, spread=0.04)
        + observe("perplexity", {"PreSelect": 3.55, "low perplexity": 3.62}, 8, spread=0.04)
        + observe("educational", {"PreSelect": 3.55, "educational": 3.555}, 8, spread=0.04)
        + observe("auc", {"scorer": 0.93}, 8, spread=0.02)
    )
    return record(
        "preselect",
        "Predictive Data Selection: The Data That Predicts Is the Data That Teaches",
        "data",
        claims,
        observations,
        gates=(Gate(name="the model learns", passed=True, detail="loss fell from 6.2 to 3.5"),),
        candidates={"PreSelect": 1, "random": 1},
        details={"0": {"charts": _charts(), "kept": 812, "threshold": 0.734}, "1": {"charts": _charts()[:1]}},
    )


def tokenswift() -> Record:
    """Ratios on a log axis, exact agreement, equivalence; emulated evidence; stale on the board."""
    claims = [
        Claim(
            id="faster",
            sentence="Speculative decoding with the partial cache is at least 1.5 times as fast.",
            primary=True,
            clauses=(
                Clause(
                    id="speed",
                    kind="greater",
                    ratio=True,
                    margin=1.5,
                    quantity="tokens per second",
                    treatment="TokenSwift",
                    control="autoregressive",
                ),
            ),
            paper=PaperFigure(
                value=3.1, unit="×", setting="Llama 3.1 8B, 100 K tokens, A100", source="table 1"
            ),
            generalises_over="prompts and seeds",
            evidence="emulated",
        ),
        Claim(
            id="lossless",
            sentence="Greedy output is the same, token for token.",
            clauses=(Clause(id="tokens", kind="exact", quantity="tokens"),),
        ),
        Claim(
            id="same-diversity",
            sentence="Sampled text is as diverse as with ordinary sampling.",
            clauses=(
                Clause(
                    id="distinct",
                    kind="equivalent",
                    margin=0.05,
                    quantity="distinct 2-grams",
                    treatment="TokenSwift",
                    control="autoregressive",
                ),
            ),
        ),
        Claim(
            id="less-memory",
            sentence="Peak memory of the cache is at most four fifths.",
            clauses=(
                Clause(
                    id="memory",
                    kind="less",
                    ratio=True,
                    margin=0.8,
                    quantity="peak memory",
                    treatment="TokenSwift",
                    control="autoregressive",
                ),
            ),
        ),
    ]
    observations = (
        observe("speed", {"TokenSwift": 48.0, "autoregressive": 21.0}, 8, spread=0.3, log=True)
        + agreements("tokens", 4096)
        + observe("distinct", {"TokenSwift": 0.81, "autoregressive": 0.805}, 8, spread=0.02)
        + observe("memory", {"TokenSwift": 300.0, "autoregressive": 310.0}, 8, spread=0.05, log=True)
    )
    return record(
        "tokenswift",
        "From Hours to Minutes: Lossless Acceleration of Ultra Long Sequence Generation",
        "decoding",
        claims,
        observations,
    )


def inconclusives() -> Record:
    """Every reason for *inconclusive*, a mismatch, and an `any of`."""
    claims = [
        Claim(
            id="wide",
            sentence="The student policy recovers more often after a failed step.",
            primary=True,
            evidence="simulated",
            clauses=(
                Clause(
                    id="recovery",
                    kind="greater",
                    quantity="recovery rate",
                    unit="points",
                    treatment="closed loop",
                    control="open loop",
                ),
            ),
        ),
        Claim(
            id="flat",
            sentence="The planner needs fewer calls than exhaustive search.",
            evidence="simulated",
            clauses=(
                Clause(id="calls", kind="less", quantity="calls", treatment="planner", control="exhaustive"),
            ),
        ),
        Claim(
            id="gated",
            sentence="The critic's confidence predicts success.",
            evidence="modelled",
            clauses=(Clause(id="confidence", kind="greater", quantity="AUC"),),
        ),
        Claim(
            id="few",
            sentence="The loop ends within ten steps.",
            clauses=(Clause(id="steps", kind="absolute", direction="less", margin=10, quantity="steps"),),
        ),
        Claim(
            id="mismatch",
            sentence="The replayed world gives the same states.",
            clauses=(Clause(id="states", kind="exact", quantity="states"),),
        ),
        Claim(
            id="short",
            sentence="The replayed world gives the same pictures.",
            clauses=(Clause(id="pictures", kind="exact", quantity="pictures"),),
        ),
        Claim(
            id="some-room",
            sentence="In some room type the closed loop is faster.",
            combine="any of",
            clauses=tuple(
                Clause(
                    id=name,
                    kind="less",
                    ratio=True,
                    margin=1.0,
                    quantity=f"steps in the {name}",
                    treatment="closed loop",
                    control="open loop",
                )
                for name in ("kitchen", "office", "bath")
            ),
        ),
    ]
    observations = [
        *observe("recovery", {"closed loop": 41.0, "open loop": 39.5}, 8, spread=4.0),
        *(
            Observation(clause="calls", arm=arm, seed=s, value=v + s)
            for s in range(8)
            for arm, v in (("planner", 4.0), ("exhaustive", 9.0))
        ),
        *observe("confidence", {"treatment": 0.7, "control": 0.5}, 8, spread=0.05),
        *observe("steps", {"treatment": 8.0}, 2),
        *agreements("states", 500, 3),
        *agreements("pictures", 120),
        *observe("kitchen", {"closed loop": 11.0, "open loop": 19.0}, 8, spread=0.3, log=True),
        *observe("office", {"closed loop": 15.0, "open loop": 15.1}, 8, spread=0.3, log=True),
        *observe("bath", {"closed loop": 12.0, "open loop": 13.0}, 8, spread=0.3, log=True),
    ]
    return record(
        "clea",
        "CLEA: Closed-Loop Embodied Agent",
        "agents",
        claims,
        observations,
        gates=(
            Gate(
                name="the critic is calibrated",
                passed=False,
                detail="expected error 0.31, at most 0.2",
                claims=("gated",),
            ),
        ),
    )


def hostile() -> Record:
    """Markup and endless words wherever a record carries text."""
    claim = Claim(
        id="hostile",
        sentence=f"{HOSTILE} {LONG}",
        primary=True,
        note=HOSTILE,
        generalises_over=HOSTILE,
        clauses=(
            Clause(
                id="effect",
                kind="greater",
                quantity=f"{HOSTILE} {LONG}",
                unit=HOSTILE,
                treatment=HOSTILE,
                control=LONG,
            ),
        ),
        paper=PaperFigure(value=1.0, unit=HOSTILE, setting=LONG, source=HOSTILE),
    )
    observations = observe("effect", {HOSTILE: 2.0, LONG: 1.0}, 6)
    chart = {
        "kind": "line",
        "title": f"{HOSTILE} {LONG}",
        "x_label": LONG,
        "y_label": HOSTILE,
        "series": [{"name": HOSTILE, "x": [1, 2], "y": [1, 2]}, {"name": LONG, "x": [1, 2], "y": [2, 1]}],
        "note": HOSTILE,
    }
    return record(
        "hostile",
        f"{HOSTILE} {LONG}",
        "evaluation",
        [claim],
        observations,
        candidates={HOSTILE: 3},
        gates=(Gate(name=HOSTILE, passed=True, detail=LONG),),
        commit=HOSTILE,
        details={"0": {"charts": [chart, {"kind": "pie"}], HOSTILE: LONG}},
    )


@functools.cache
def entries() -> tuple[BoardEntry, ...]:
    """One of everything: recorded, stale, run now, smoke only, older, exploratory, hostile."""
    now = preselect()
    smoke = [result.model_copy(update={"verdict": None, "reason": ""}) for result in now.results]
    return (
        BoardEntry(now, stale=False),
        BoardEntry(now.model_copy(update={"started": "2026-10-02T18:00:00Z", "commit": "older"}), stale=True),
        BoardEntry(
            now.model_copy(
                update={
                    "scale": "smoke",
                    "results": tuple(smoke),
                    "seeds": (0,),
                    "wall_seconds": 5.1,
                    "cpu_seconds": 4.2,
                }
            ),
            stale=False,
            fresh=True,
        ),
        BoardEntry(tokenswift(), stale=True),
        BoardEntry(inconclusives(), stale=False),
        BoardEntry(hostile(), stale=False),
        BoardEntry(
            record(
                "tonal",
                "Tonal: data in sound",
                "audio",
                [
                    Claim(
                        id="decodes",
                        sentence="A message survives a noisy room.",
                        primary=True,
                        clauses=(Clause(id="bits", kind="absolute", margin=0.9, quantity="bits right"),),
                    )
                ],
                observe("bits", {"treatment": 0.97}, 3, spread=0.01),
                scale="smoke",
                seeds=(0, 1, 2),
                wall_seconds=3.2,
                cpu_seconds=2.9,
                peak_memory_mib=212.0,
            ),
            stale=False,
            fresh=True,
        ),
        BoardEntry(now.model_copy(update={"exploratory": True, "seeds": (0, 1)}), stale=False),
    )


def systems() -> tuple[SystemLine, ...]:
    """Cards of the rooms above, of one that could not run and of some that are planned."""
    lines = [
        (
            "preselect",
            "PreSelect",
            "Predictive Data Selection: The Data That Predicts Is the Data That Teaches",
            "2503.00808",
            "data",
            "ready",
            "Chooses pre-training documents. A handful of models of known ability measure how well each "
            "compresses every document of a small sample; documents on which the better model always "
            "compresses better are kept, and a small classifier learns to find more of them.",
        ),
        (
            "tokenswift",
            "TokenSwift",
            "From Hours to Minutes: Lossless Acceleration of Ultra Long Sequence Generation",
            "2502.18890",
            "decoding",
            "ready",
            "Speculative decoding for very long outputs.",
        ),
        (
            "clea",
            "CLEA",
            "CLEA: Closed-Loop Embodied Agent for Enhancing Task Execution in Dynamic Environments",
            "2503.00729",
            "agents",
            "ready",
            "A planner and a critic in one loop.",
        ),
        ("hostile", HOSTILE, LONG, "2503.00000", "evaluation", "ready", HOSTILE),
        (
            "tonal",
            "Tonal",
            "Data over sound",
            "2503.01234",
            "audio",
            "ready",
            "A modem for speakers and microphones.",
        ),
        (
            "speql",
            "SpeQL",
            "Speculative Ad-hoc Querying",
            "2503.00714",
            "query",
            "ready",
            "Guesses a query while it is typed.",
        ),
        (
            "difix3d",
            "Difix3D+",
            "Difix3D+: Improving 3D Reconstructions with Single-Step Diffusion Models",
            "2503.01774",
            "vision3d",
            "planned",
            "Cleans rendered views.",
        ),
        (
            "onerec",
            "OneRec",
            "OneRec: Unifying Retrieve and Rank with Generative Recommender and Preference Alignment",
            "2502.18965",
            "recommendation",
            "planned",
            "One generative recommender.",
        ),
        (
            "liger",
            "Liger",
            "Liger: Linearizing Large Language Models to Gated Recurrent Structures",
            "2503.01496",
            "training",
            "ready",
            "Turns a transformer into a gated recurrent model.",
        ),
    ]
    return tuple(SystemLine(*line) for line in lines)


def full_board(out: Path) -> Path:
    """Write the board of everything above into `out`."""
    return write_board(
        entries(),
        systems(),
        out,
        generated="25 November 2026",
        not_run={"speql": "needs duckdb (firsthand[query])"},
    )
