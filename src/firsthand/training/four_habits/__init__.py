"""Four habits: Countdown, habits of a trace, and traces that show them (arXiv 2503.01307).

`profile(traces, problems)` counts verification, backtracking, subgoals and backward chaining; `make_priming` writes the
sets that a model is primed on, with their controls.
"""

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
from firsthand.training.four_habits.errors import (
    ExpressionError,
    JudgeParseError,
    LeakageError,
    TokenBudgetError,
    UnsolvableRangeError,
)
from firsthand.training.four_habits.habits import (
    BEHAVIOURS,
    BehaviourCounts,
    HabitProfile,
    JudgeCounter,
    count_meaning,
    count_rules,
    profile,
    read_rules,
)
from firsthand.training.four_habits.priming import KINDS, Example, make_priming, prompt_of, within_tokens

__all__ = [
    "BEHAVIOURS",
    "KINDS",
    "BehaviourCounts",
    "Example",
    "ExpressionError",
    "HabitProfile",
    "JudgeCounter",
    "JudgeParseError",
    "LeakageError",
    "Problem",
    "Score",
    "TokenBudgetError",
    "UnsolvableRangeError",
    "count_meaning",
    "count_rules",
    "evaluate",
    "generate",
    "make_priming",
    "profile",
    "prompt_of",
    "reachable",
    "read_rules",
    "score",
    "solve",
    "split_problems",
    "within_tokens",
]
