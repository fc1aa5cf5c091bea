"""CodeArena (arXiv 2503.01295): judge programs, and rate who writes them by how the whole field did.

`score(attempts, points)` is the paper's dynamic points as a pure function. `Arena.open(url)` is an arena in this
process: problems, accounts, submissions, a sandboxed judge, boards. `serve_arena` serves it, `ArenaClient` asks one.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from firsthand.evaluation.codearena.arena import Arena
    from firsthand.evaluation.codearena.clients.async_client import AsyncArenaClient
    from firsthand.evaluation.codearena.clients.calls import ArenaUnreachableError, ServerFaultError
    from firsthand.evaluation.codearena.clients.client import ArenaClient
    from firsthand.evaluation.codearena.clients.competing import Competed, Competition, compete
    from firsthand.evaluation.codearena.clients.connections import JudgingTimeoutError
    from firsthand.evaluation.codearena.clients.models import (
        CallableModel,
        EndpointModel,
        LocalModel,
        ModelFailedError,
        PromptModel,
        Reply,
        open_model,
    )
    from firsthand.evaluation.codearena.clients.prompts import extract_code, messages_for
    from firsthand.evaluation.codearena.demonstration import add_league, add_problems
    from firsthand.evaluation.codearena.errors import (
        ArenaError,
        AttemptAlreadyUsed,
        InvalidCase,
        InvalidSource,
        NotAuthorized,
        QueueFull,
        SandboxUnavailable,
        SourceTooLarge,
        UnknownProblem,
        UnsupportedLanguage,
    )
    from firsthand.evaluation.codearena.grading.bundled import (
        BundledProblem,
        bundled_problem,
        bundled_problems,
    )
    from firsthand.evaluation.codearena.grading.checkers import Checker, parse_checker
    from firsthand.evaluation.codearena.grading.contestants import (
        CONTESTANTS,
        Contestant,
        ScriptedSubmission,
        league,
    )
    from firsthand.evaluation.codearena.grading.generation import generate_inputs, validate_cases
    from firsthand.evaluation.codearena.grading.grading import Case, CaseGrade, Grade, Task, grade
    from firsthand.evaluation.codearena.grading.languages import (
        Language,
        find_language,
        languages,
        read_language,
    )
    from firsthand.evaluation.codearena.refusals import (
        Conflict,
        InvalidRequest,
        NotReady,
        RequestTooLarge,
        TooManyRequests,
        UnknownAccount,
        UnknownEntry,
        UnknownSubmission,
    )
    from firsthand.evaluation.codearena.sandbox.isolation import Isolation, Item, examine, open_sandbox
    from firsthand.evaluation.codearena.sandbox.limits import Box, Limits, RunResult, Sandbox
    from firsthand.evaluation.codearena.scores.attempts import Attempt, Attempts, as_attempts, read_attempts
    from firsthand.evaluation.codearena.scores.field import Cell, Field, attempts_of, draw_field, leak_study
    from firsthand.evaluation.codearena.scores.leakage import (
        acceptance_by_date,
        before_and_after,
        first_attempts,
    )
    from firsthand.evaluation.codearena.scores.noise import PassComparison, compare_passes, flip_probability
    from firsthand.evaluation.codearena.scores.points import problem_points, score
    from firsthand.evaluation.codearena.scores.ratings import Ratings, bradley_terry, pass_at_k
    from firsthand.evaluation.codearena.scores.resampling import Bootstrap, BootstrapRow
    from firsthand.evaluation.codearena.scores.rules import Rules
    from firsthand.evaluation.codearena.scores.score_table import ScoreRow, ScoreTable, performance_points
    from firsthand.evaluation.codearena.scores.scoreboard import Scoreboard
    from firsthand.evaluation.codearena.scores.sources import DuplicateSources, Source, duplicate_sources
    from firsthand.evaluation.codearena.service.api import create_app, open_arena
    from firsthand.evaluation.codearena.service.exchange import export_arena, import_arena
    from firsthand.evaluation.codearena.service.webhooks import Webhook, verify_signature
    from firsthand.evaluation.codearena.serving import Started, serve_arena
    from firsthand.evaluation.codearena.settings import ArenaSettings
    from firsthand.evaluation.codearena.store.accounts import Account, Identity, IssuedToken, TokenInfo
    from firsthand.evaluation.codearena.store.cases import NewCase, Program, StoredCase
    from firsthand.evaluation.codearena.store.collection import Problem, StoredProblem
    from firsthand.evaluation.codearena.store.judges import Judges, JudgeSettings
    from firsthand.evaluation.codearena.store.submissions import Submission

# Where each public name is: databases, servers and numpy are loaded when one of them is first asked for.
_PLACES = {
    "store.accounts": ("Account", "Identity", "IssuedToken", "TokenInfo"),
    "service.api": ("create_app", "open_arena"),
    "arena": ("Arena",),
    "clients.async_client": ("AsyncArenaClient",),
    "scores.attempts": ("Attempt", "Attempts", "as_attempts", "read_attempts"),
    "grading.bundled": ("BundledProblem", "bundled_problem", "bundled_problems"),
    "clients.calls": ("ArenaUnreachableError", "ServerFaultError"),
    "store.cases": ("NewCase", "Program", "StoredCase"),
    "grading.checkers": ("Checker", "parse_checker"),
    "clients.client": ("ArenaClient",),
    "store.collection": ("Problem", "StoredProblem"),
    "clients.competing": ("Competed", "Competition", "compete"),
    "clients.connections": ("JudgingTimeoutError",),
    "grading.contestants": ("CONTESTANTS", "Contestant", "ScriptedSubmission", "league"),
    "demonstration": ("add_league", "add_problems"),
    "errors": (
        "ArenaError", "AttemptAlreadyUsed", "InvalidCase", "InvalidSource", "NotAuthorized", "QueueFull",
        "SandboxUnavailable", "SourceTooLarge", "UnknownProblem", "UnsupportedLanguage",
    ),
    "service.exchange": ("export_arena", "import_arena"),
    "scores.field": ("Cell", "Field", "attempts_of", "draw_field", "leak_study"),
    "grading.generation": ("generate_inputs", "validate_cases"),
    "grading.grading": ("Case", "CaseGrade", "Grade", "Task", "grade"),
    "sandbox.isolation": ("Isolation", "Item", "examine", "open_sandbox"),
    "store.judges": ("JudgeSettings", "Judges"),
    "grading.languages": ("Language", "find_language", "languages", "read_language"),
    "scores.leakage": ("acceptance_by_date", "before_and_after", "first_attempts"),
    "sandbox.limits": ("Box", "Limits", "RunResult", "Sandbox"),
    "clients.models": (
        "CallableModel", "EndpointModel", "LocalModel", "ModelFailedError", "PromptModel", "Reply",
        "open_model",
    ),
    "scores.noise": ("PassComparison", "compare_passes", "flip_probability"),
    "scores.points": ("problem_points", "score"),
    "clients.prompts": ("extract_code", "messages_for"),
    "scores.ratings": ("Ratings", "bradley_terry", "pass_at_k"),
    "refusals": (
        "Conflict", "InvalidRequest", "NotReady", "RequestTooLarge", "TooManyRequests", "UnknownAccount",
        "UnknownEntry", "UnknownSubmission",
    ),
    "scores.resampling": ("Bootstrap", "BootstrapRow"),
    "scores.rules": ("Rules",),
    "scores.score_table": ("ScoreRow", "ScoreTable", "performance_points"),
    "scores.scoreboard": ("Scoreboard",),
    "serving": ("Started", "serve_arena"),
    "settings": ("ArenaSettings",),
    "scores.sources": ("DuplicateSources", "Source", "duplicate_sources"),
    "store.submissions": ("Submission",),
    "service.webhooks": ("Webhook", "verify_signature"),
}  # fmt: skip
_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "CONTESTANTS",
    "Account",
    "Arena",
    "ArenaClient",
    "ArenaError",
    "ArenaSettings",
    "ArenaUnreachableError",
    "AsyncArenaClient",
    "Attempt",
    "AttemptAlreadyUsed",
    "Attempts",
    "Bootstrap",
    "BootstrapRow",
    "Box",
    "BundledProblem",
    "CallableModel",
    "Case",
    "CaseGrade",
    "Cell",
    "Checker",
    "Competed",
    "Competition",
    "Conflict",
    "Contestant",
    "DuplicateSources",
    "EndpointModel",
    "Field",
    "Grade",
    "Identity",
    "InvalidCase",
    "InvalidRequest",
    "InvalidSource",
    "Isolation",
    "IssuedToken",
    "Item",
    "JudgeSettings",
    "Judges",
    "JudgingTimeoutError",
    "Language",
    "Limits",
    "LocalModel",
    "ModelFailedError",
    "NewCase",
    "NotAuthorized",
    "NotReady",
    "PassComparison",
    "Problem",
    "Program",
    "PromptModel",
    "QueueFull",
    "Ratings",
    "Reply",
    "RequestTooLarge",
    "Rules",
    "RunResult",
    "Sandbox",
    "SandboxUnavailable",
    "ScoreRow",
    "ScoreTable",
    "Scoreboard",
    "ScriptedSubmission",
    "ServerFaultError",
    "Source",
    "SourceTooLarge",
    "Started",
    "StoredCase",
    "StoredProblem",
    "Submission",
    "Task",
    "TokenInfo",
    "TooManyRequests",
    "UnknownAccount",
    "UnknownEntry",
    "UnknownProblem",
    "UnknownSubmission",
    "UnsupportedLanguage",
    "Webhook",
    "acceptance_by_date",
    "add_league",
    "add_problems",
    "as_attempts",
    "attempts_of",
    "before_and_after",
    "bradley_terry",
    "bundled_problem",
    "bundled_problems",
    "compare_passes",
    "compete",
    "create_app",
    "draw_field",
    "duplicate_sources",
    "examine",
    "export_arena",
    "extract_code",
    "find_language",
    "first_attempts",
    "flip_probability",
    "generate_inputs",
    "grade",
    "import_arena",
    "languages",
    "league",
    "leak_study",
    "messages_for",
    "open_arena",
    "open_model",
    "open_sandbox",
    "parse_checker",
    "pass_at_k",
    "performance_points",
    "problem_points",
    "read_attempts",
    "read_language",
    "score",
    "serve_arena",
    "validate_cases",
    "verify_signature",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
