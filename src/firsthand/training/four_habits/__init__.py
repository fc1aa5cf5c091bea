"""Four habits: Countdown, habits of a trace, and traces that show them (arXiv 2503.01307).

`profile(traces, problems)` counts verification, backtracking, subgoals and backward chaining; `make_priming` writes
the sets that a model is primed on, with their controls; `run_condition` primes a model, lets it learn from rewards and
looks at it on the way, and `HabitStudy` compares conditions. `enrich` finds text that shows habits, `predict_gains`
fits what a model gains to the habits it began with.
"""

from typing import TYPE_CHECKING, Any

from firsthand.training.four_habits.countdown import (
    Problem,
    Score,
    evaluate,
    generate,
    reachable,
    score,
    solve,
    split_problems,
)
from firsthand.training.four_habits.enrichment import EnrichedText, LikenessCounter, enrich
from firsthand.training.four_habits.errors import (
    ExpressionError,
    JudgeParseError,
    LeakageError,
    TokenBudgetError,
    UnsolvableRangeError,
)
from firsthand.training.four_habits.estimates import Estimate
from firsthand.training.four_habits.habits import (
    BEHAVIOURS,
    BehaviourCounts,
    HabitProfile,
    JudgeCounter,
    agreement,
    count_all,
    count_meaning,
    count_rules,
    profile,
    profile_counts,
    read_rules,
)
from firsthand.training.four_habits.prediction import GainPrediction, HabitLine, predict_gains
from firsthand.training.four_habits.priming import KINDS, Example, make_priming, prompt_of, within_tokens
from firsthand.training.four_habits.task import StudyTask, countdown_rewards, countdown_rows, countdown_task

if TYPE_CHECKING:
    from firsthand.training.four_habits.comparison import HabitStudy
    from firsthand.training.four_habits.condition import Look, StudyConfig, run_condition

__all__ = [
    "BEHAVIOURS",
    "KINDS",
    "BehaviourCounts",
    "EnrichedText",
    "Estimate",
    "Example",
    "ExpressionError",
    "GainPrediction",
    "HabitLine",
    "HabitProfile",
    "HabitStudy",
    "JudgeCounter",
    "JudgeParseError",
    "LeakageError",
    "LikenessCounter",
    "Look",
    "Problem",
    "Score",
    "StudyConfig",
    "StudyTask",
    "TokenBudgetError",
    "UnsolvableRangeError",
    "agreement",
    "count_all",
    "count_meaning",
    "count_rules",
    "countdown_rewards",
    "countdown_rows",
    "countdown_task",
    "enrich",
    "evaluate",
    "generate",
    "make_priming",
    "predict_gains",
    "profile",
    "profile_counts",
    "prompt_of",
    "reachable",
    "read_rules",
    "run_condition",
    "score",
    "solve",
    "split_problems",
    "within_tokens",
]

# These stand on torch, which importing the room must not load.
_LATE = {
    "HabitStudy": "comparison",
    "Look": "condition",
    "StudyConfig": "condition",
    "run_condition": "condition",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
