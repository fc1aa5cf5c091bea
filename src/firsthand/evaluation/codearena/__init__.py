"""CodeArena (arXiv 2503.01295): judge programs, and rate who writes them by how the whole field did.

`score(attempts, points)` is the paper's dynamic points as a pure function. `Arena.open(url)` is an arena in this
process: problems, accounts, submissions, a sandboxed judge, boards. `serve_arena` serves it, `ArenaClient` asks one.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from firsthand.evaluation.codearena.accounts import Account, Identity, IssuedToken, TokenInfo
    from firsthand.evaluation.codearena.api import create_app, open_arena
    from firsthand.evaluation.codearena.arena import Arena
    from firsthand.evaluation.codearena.async_client import AsyncArenaClient
    from firsthand.evaluation.codearena.attempts import Attempt, Attempts, as_attempts, read_attempts
    from firsthand.evaluation.codearena.bundled import BundledProblem, bundled_problem, bundled_problems
    from firsthand.evaluation.codearena.calls import ArenaUnreachableError, ServerFaultError
    from firsthand.evaluation.codearena.cases import NewCase, Program, StoredCase
    from firsthand.evaluation.codearena.checkers import Checker, parse_checker
    from firsthand.evaluation.codearena.client import ArenaClient
    from firsthand.evaluation.codearena.collection import Problem, StoredProblem
    from firsthand.evaluation.codearena.competing import Competed, Competition, compete
    from firsthand.evaluation.codearena.connections import JudgingTimeoutError
    from firsthand.evaluation.codearena.contestants import CONTESTANTS, Contestant, ScriptedSubmission, league
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
    from firsthand.evaluation.codearena.exchange import export_arena, import_arena
    from firsthand.evaluation.codearena.field import Cell, Field, attempts_of, draw_field, leak_study
    from firsthand.evaluation.codearena.generation import generate_inputs, validate_cases
    from firsthand.evaluation.codearena.grading import Case, CaseGrade, Grade, Task, grade
    from firsthand.evaluation.codearena.isolation import Isolation, Item, examine, open_sandbox
    from firsthand.evaluation.codearena.judges import Judges, JudgeSettings
    from firsthand.evaluation.codearena.languages import Language, find_language, languages, read_language
    from firsthand.evaluation.codearena.leakage import acceptance_by_date, before_and_after, first_attempts
    from firsthand.evaluation.codearena.limits import Box, Limits, RunResult, Sandbox
    from firsthand.evaluation.codearena.models import (
        CallableModel,
        EndpointModel,
        LocalModel,
        ModelFailedError,
        PromptModel,
        Reply,
        open_model,
    )
    from firsthand.evaluation.codearena.noise import PassComparison, compare_passes, flip_probability
    from firsthand.evaluation.codearena.points import problem_points, score
    from firsthand.evaluation.codearena.prompts import extract_code, messages_for
    from firsthand.evaluation.codearena.ratings import Ratings, bradley_terry, pass_at_k
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
    from firsthand.evaluation.codearena.resampling import Bootstrap, BootstrapRow
    from firsthand.evaluation.codearena.rules import Rules
    from firsthand.evaluation.codearena.score_table import ScoreRow, ScoreTable, performance_points
    from firsthand.evaluation.codearena.scoreboard import Scoreboard
    from firsthand.evaluation.codearena.serving import Started, serve_arena
    from firsthand.evaluation.codearena.settings import ArenaSettings
    from firsthand.evaluation.codearena.sources import DuplicateSources, Source, duplicate_sources
    from firsthand.evaluation.codearena.submissions import Submission
    from firsthand.evaluation.codearena.webhooks import Webhook, verify_signature

# Where each public name is: databases, servers and numpy are loaded when one of them is first asked for.
_PLACES = {
    "accounts": ("Account", "Identity", "IssuedToken", "TokenInfo"),
    "api": ("create_app", "open_arena"),
    "arena": ("Arena",),
    "async_client": ("AsyncArenaClient",),
    "attempts": ("Attempt", "Attempts", "as_attempts", "read_attempts"),
    "bundled": ("BundledProblem", "bundled_problem", "bundled_problems"),
    "calls": ("ArenaUnreachableError", "ServerFaultError"),
    "cases": ("NewCase", "Program", "StoredCase"),
    "checkers": ("Checker", "parse_checker"),
    "client": ("ArenaClient",),
    "collection": ("Problem", "StoredProblem"),
    "competing": ("Competed", "Competition", "compete"),
    "connections": ("JudgingTimeoutError",),
    "contestants": ("CONTESTANTS", "Contestant", "ScriptedSubmission", "league"),
    "demonstration": ("add_league", "add_problems"),
    "errors": (
        "ArenaError", "AttemptAlreadyUsed", "InvalidCase", "InvalidSource", "NotAuthorized", "QueueFull",
        "SandboxUnavailable", "SourceTooLarge", "UnknownProblem", "UnsupportedLanguage",
    ),
    "exchange": ("export_arena", "import_arena"),
    "field": ("Cell", "Field", "attempts_of", "draw_field", "leak_study"),
    "generation": ("generate_inputs", "validate_cases"),
    "grading": ("Case", "CaseGrade", "Grade", "Task", "grade"),
    "isolation": ("Isolation", "Item", "examine", "open_sandbox"),
    "judges": ("JudgeSettings", "Judges"),
    "languages": ("Language", "find_language", "languages", "read_language"),
    "leakage": ("acceptance_by_date", "before_and_after", "first_attempts"),
    "limits": ("Box", "Limits", "RunResult", "Sandbox"),
    "models": (
        "CallableModel", "EndpointModel", "LocalModel", "ModelFailedError", "PromptModel", "Reply",
        "open_model",
    ),
    "noise": ("PassComparison", "compare_passes", "flip_probability"),
    "points": ("problem_points", "score"),
    "prompts": ("extract_code", "messages_for"),
    "ratings": ("Ratings", "bradley_terry", "pass_at_k"),
    "refusals": (
        "Conflict", "InvalidRequest", "NotReady", "RequestTooLarge", "TooManyRequests", "UnknownAccount",
        "UnknownEntry", "UnknownSubmission",
    ),
    "resampling": ("Bootstrap", "BootstrapRow"),
    "rules": ("Rules",),
    "score_table": ("ScoreRow", "ScoreTable", "performance_points"),
    "scoreboard": ("Scoreboard",),
    "serving": ("Started", "serve_arena"),
    "settings": ("ArenaSettings",),
    "sources": ("DuplicateSources", "Source", "duplicate_sources"),
    "submissions": ("Submission",),
    "webhooks": ("Webhook", "verify_signature"),
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
