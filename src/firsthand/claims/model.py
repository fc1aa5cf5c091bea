"""What a claim is, what an observation is, and what is written down about both.

Knows the vocabulary of the instrument and nothing of how intervals are computed (`intervals`), how a
verdict falls (`verdict`) or how a check is run (`run`). Everything here is plain data that survives a
round trip through JSON or TOML.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "SCALES",
    "SCHEMA_VERSION",
    "Claim",
    "ClaimResult",
    "Clause",
    "ClauseResult",
    "Environment",
    "Evidence",
    "Gate",
    "Interval",
    "Measurement",
    "Observation",
    "PaperFigure",
    "Record",
    "Verdict",
    "quantile_share",
]

SCHEMA_VERSION = 1
SCALES = ("smoke", "laptop", "gpu", "paper")

Scale = Literal["smoke", "laptop", "gpu", "paper"]
ClauseKind = Literal["greater", "less", "equivalent", "absolute", "exact"]
Verdict = Literal["holds", "fails", "inconclusive"]
Evidence = Literal["real", "simulated", "emulated", "modelled"]
Unit = Literal["seed", "item", "cluster"]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class _Data(BaseModel):
    """Frozen, and an unknown key is an error: a misspelt field never passes silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def quantile_share(statistic: str) -> float:
    """The Q of a statistic called "quantile:Q", a share from 0 to 1; ValueError where it is none."""
    try:
        share = float(statistic.removeprefix("quantile:"))
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise ValueError(
            f"statistic {statistic!r}: Q of quantile:Q is a share from 0 to 1, as in quantile:0.95"
        )
    return share


class PaperFigure(_Data):
    """A number as the paper prints it. Shown greyed unless scale and metric are ours too."""

    value: float | None = None  # None: the paper says it in words only
    unit: str = ""
    setting: str
    source: str = "unverified"  # table or section, or "unverified"
    same_setting: bool = False  # True only where scale and metric equal ours


class Clause(_Data):
    """One measured comparison.

    `greater` and `less` compare treatment with control: the effect is their difference, or their ratio
    where `ratio` is set (then the margin is a ratio too, 1.05 for "5 % more"). `absolute` compares the
    treatment's own value with `margin`. `equivalent` wants the effect within ±`margin` (for a ratio:
    within 1/margin and margin). `exact` wants every value to be 1; its observations name their items, and
    items that differ from seed to seed need names that differ, or the seeds count as one.
    """

    id: Slug
    kind: ClauseKind
    direction: Literal["greater", "less"] = "greater"  # read for `absolute` only
    margin: float = 0.0
    ratio: bool = False
    treatment: str = "treatment"
    control: str | None = "control"
    quantity: str = ""
    unit: str = ""
    statistic: str = "mean"  # "proportion", "quantile:Q", "auc", "spearman", "slope", or one the check names

    @model_validator(mode="after")
    def _consistent(self) -> Clause:
        if self.kind in ("absolute", "exact") and self.control is not None:
            object.__setattr__(self, "control", None)
        if self.kind in ("greater", "less", "equivalent") and not self.control:
            raise ValueError(f"clause {self.id!r}: kind {self.kind!r} compares with a control; name one")
        if self.ratio and self.margin <= 0:
            raise ValueError(f"clause {self.id!r}: a ratio's margin must be positive, got {self.margin}")
        if not self.statistic.strip():
            raise ValueError(f"clause {self.id!r}: its statistic has no name; leave it out for the mean")
        if self.statistic.startswith("quantile:"):
            quantile_share(self.statistic)
        if self.kind == "equivalent":
            if self.ratio and self.margin <= 1:
                raise ValueError(f"clause {self.id!r}: an equivalent ratio needs a margin above 1")
            if not self.ratio and self.margin <= 0:
                raise ValueError(f"clause {self.id!r}: an equivalent clause needs a margin above 0")
        return self


class Claim(_Data):
    """One sentence that can turn out false."""

    id: Slug
    sentence: str
    primary: bool = False
    combine: Literal["one", "all of", "any of"] = "one"
    clauses: tuple[Clause, ...] = ()
    evidence: Evidence = "real"
    unit_of_analysis: Unit = "seed"
    generalises_over: str = ""  # what the interval speaks of: "training seeds", "users", ...
    paper: PaperFigure | None = None
    measured: bool = True
    reason: str = ""  # why not, where measured is False
    note: str = ""
    version: int = 1
    version_reason: str = ""  # why the version was raised

    @model_validator(mode="after")
    def _consistent(self) -> Claim:
        if not self.measured:
            if not self.reason:
                raise ValueError(f"claim {self.id!r} is not measured: give a reason")
            return self
        if not self.clauses:
            raise ValueError(f"claim {self.id!r} is measured and has no clause")
        if self.combine == "one" and len(self.clauses) != 1:
            raise ValueError(f"claim {self.id!r} has {len(self.clauses)} clauses: say 'all of' or 'any of'")
        ids = [clause.id for clause in self.clauses]
        if len(set(ids)) != len(ids):
            raise ValueError(f"claim {self.id!r}: clause ids repeat: {ids}")
        if self.version > 1 and not self.version_reason:
            raise ValueError(f"claim {self.id!r} is at version {self.version}: give version_reason")
        return self

    @property
    def kind(self) -> str:
        """The kind as the board prints it: the clause's own, or how clauses are combined."""
        if not self.clauses:
            return "not measured"
        return self.clauses[0].kind if self.combine == "one" else self.combine


class Observation(_Data):
    """One measured value. `x` is a second coordinate where the statistic needs one (a label, a dose)."""

    clause: str
    arm: str
    seed: int
    value: float
    item: str = ""
    cluster: str = ""
    x: float | None = None
    repeat: Literal["exact", "seeded", "timed"] = "seeded"

    @model_validator(mode="after")
    def _finite(self) -> Observation:
        if not math.isfinite(self.value):
            raise ValueError(f"observation of {self.clause}/{self.arm}, seed {self.seed}: value {self.value}")
        return self


class Gate(_Data):
    """A condition without which a verdict would mean nothing; one that is not met makes it inconclusive."""

    name: str
    passed: bool
    detail: str = ""
    claims: tuple[str, ...] = ()  # empty: all claims of the card


class Measurement(_Data):
    """What a check's `measure(seed, scale)` returns for one seed."""

    observations: tuple[Observation, ...]
    gates: tuple[Gate, ...] = ()
    candidates: dict[str, int] = Field(default_factory=dict)  # arm -> how many it chose among
    details: dict[str, Any] = Field(default_factory=dict)  # JSON-able extras for the system's page


class Interval(_Data):
    """An estimate with its interval at `level`, on the scale of the effect (ratios as ratios)."""

    estimate: float
    low: float
    high: float
    level: float = 0.95
    method: str = "t"
    n: int  # independent units


class ClauseResult(_Data):
    """One clause, measured: its interval, its verdict, and the arms' own means beside it, unjudged."""

    clause: Clause
    interval: Interval | None
    verdict: Verdict
    reason: str = ""
    p_holds: float | None = None  # smallest alpha whose interval lies wholly where the clause holds
    p_fails: float | None = None
    arms: dict[str, float] = Field(default_factory=dict)
    ratio_of_totals: float | None = None
    mismatch_bound: float | None = None  # exact only: 95 % upper bound on the mismatch rate
    units: tuple[float, ...] = ()  # per-unit effects, for the plot


class ClaimResult(_Data):
    """One claim, judged. `verdict` is None at smoke scale ("ran") and for what is not measurable here."""

    claim: Claim
    verdict: Verdict | None
    reason: str = ""
    clauses: tuple[ClauseResult, ...] = ()
    alpha: float | None = None  # the level this claim was tested at, after Holm


class Environment(_Data):
    """Where a record was made: enough to tell why another machine differs."""

    python: str
    platform: str
    processor: str
    cores: int
    memory_gib: float
    device: str = "cpu"
    dtype: str = "float32"
    packages: dict[str, str] = Field(default_factory=dict)


class Record(_Data):
    """Everything one run of one room's check leaves behind."""

    schema_version: int = SCHEMA_VERSION
    room: str
    title: str
    domain: str
    scale: Scale
    engine: str = "local"
    exploratory: bool = False  # another number of seeds than the check's own: off the board
    seeds: tuple[int, ...]
    results: tuple[ClaimResult, ...]
    observations: tuple[Observation, ...]
    gates: tuple[Gate, ...] = ()
    candidates: dict[str, int] = Field(default_factory=dict)
    details: dict[str, Any] = Field(default_factory=dict)  # seed (as text) -> the measurement's details
    started: str  # ISO 8601, UTC
    wall_seconds: float
    cpu_seconds: float
    peak_memory_mib: float
    load_average: float
    commit: str | None = None
    source_hash: str
    environment: Environment
