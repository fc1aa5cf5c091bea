"""Our own OpenAPI document, against whatever schemathesis makes of it: no 5xx, and every answer fits its schema."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from firsthand.evaluation.codearena.arena import Arena

from .conftest import add_problem, judge_all, sqlite_copy
from .door import Door
from .scripted import ScriptedGrader

schemathesis = pytest.importorskip("schemathesis")
from schemathesis import GenerationMode, checks  # noqa: E402

CHECKS = [
    checks.not_a_server_error, checks.response_schema_conformance, checks.status_code_conformance,
    checks.content_type_conformance, checks.response_headers_conformance,
]  # fmt: skip
PATHS = {
    "/api/authentication/": "post get", "/api/problem/": "post get", "/api/problem/{pid}/": "get patch",
    "/api/problem/{pid}/case/": "post get", "/api/problem/{pid}/submission/": "get", "/api/submission/": "post get",
    "/api/submission/{sid}/": "get", "/api/submission/batch": "post", "/api/submission/{sid}/rejudge": "post",
    "/api/ranking/": "get", "/api/ranking/history": "get", "/api/export": "get", "/healthz": "get", "/metrics": "get",
}  # fmt: skip


@pytest.fixture(scope="module")
def door(sqlite_template, tmp_path_factory):
    url = sqlite_copy(sqlite_template, tmp_path_factory.mktemp("openapi"))
    with Arena.open(url, grader=ScriptedGrader()) as arena:
        add_problem(arena, "0")  # an id that a generator finds by itself
        door = Door(
            arena, **{f"{name}_per_minute": 1e9 for name in ("reads", "writes", "submissions", "failures")}
        )
        for who in ("m", "n", "h"):
            arena.submit(who, "0", "python", "AC 1")
        judge_all(arena)
        arena.checkpoint()
        yield door


@pytest.fixture(scope="module")
def described(door):
    return door.client.get("/api/openapi.json").json()


def test_the_document_is_whole(described):
    for path, methods in PATHS.items():
        assert set(methods.split()) <= set(described["paths"][path]), path
    assert described["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert not any(path.startswith("/api/v2") for path in described["paths"])
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], (method, path)
            assert {"401", "403", "404", "409", "413", "422", "429", "503"} <= set(operation["responses"]), (
                path
            )


def test_no_request_makes_it_fail(door, described):
    """What fits the document and what does not, from an administrator and from nobody: no 5xx, answers as it says."""
    api = schemathesis.openapi.from_asgi("/api/openapi.json", door.app)
    tried = 0
    for found in api.get_all_operations():
        operation = found.ok()
        requests = operation.as_strategy() | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

        @settings(
            max_examples=5, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=requests)
        def ask(case):
            nonlocal tried
            for who in ("root", None):
                headers = {"Authorization": f"Bearer {door.tokens[who]}"} if who else {}
                answer = case.call(headers={"Host": "127.0.0.1", **headers})
                case.validate_response(answer, checks=CHECKS)
                tried += 1

        ask()
    assert tried >= 4 * sum(len(methods) for methods in described["paths"].values())
