"""What the pages say, read as a browser without scripts reads them."""

from __future__ import annotations

import json

import pytest
from starlette.testclient import TestClient

from firsthand.evaluation.codearena.arena import Arena

from . import pages_helpers
from .conftest import add_problem, judge_all
from .pages_helpers import (
    PEOPLE,
    Browser,
    add_written_problem,
    client_of,
    read_html,
)

league_template, league = pages_helpers.league_template_fixture, pages_helpers.league_fixture


@pytest.fixture
def client(request: pytest.FixtureRequest) -> TestClient:
    """Of the league where a test asks for it, else of an arena with nothing in it."""
    arena = request.getfixturevalue("league" if "league" in request.fixturenames else "small")
    # Not entered: the chores of a server have no part in this, and starting them takes long.
    return client_of(arena)


@pytest.fixture
def browser(client: TestClient) -> Browser:
    return Browser(client)


def token_of(arena: Arena, name: str, kind: str) -> str:
    arena.accounts.create(name, kind)
    return arena.accounts.issue(name).secret


# --- the league table --------------------------------------------------------------------------------


def test_the_board_has_the_papers_numbers(league, browser):
    page = browser.open("/")
    table = page.one("table", class_="league")
    cells = [[row[0], row[1].split()[0], row[2], row[4], row[5], row[6], row[7]] for row in table.rows()]
    assert cells == [
        ["1", "A", "5.00", "3.33", "1.67", "2 of 3", "67 %"],
        ["2", "B", "3.67", "1.67", "2.00", "2 of 3", "67 %"],
        ["3", "C", "2.50", "1.67", "0.83", "2 of 3", "67 %"],
    ]
    lead = page.one("p", class_="lead").text
    assert "all language models" in lead
    assert "sum of challenge and efficiency" in lead
    assert "30 July 2024, 12:00 UTC" in page.one("p", class_="date").text


def test_other_rules_by_their_address(league, browser):
    page = browser.open("/?challenge=share")
    assert [row[:4] for row in page.one("table", class_="league").rows()] == [
        ["1", "A " + page_brief("6.0", "1.7", "same"), "same", "7.67"],
        ["2", "B " + page_brief("3.5", "2.0", "same"), "same", "5.50"],
        ["3", "C " + page_brief("3.5", "0.8", "same"), "same", "4.33"],
    ]
    assert page.one("select", name="challenge").one("option", selected="").attributes["value"] == "share"
    assert "not the arena’s own board" in page.text


def page_brief(cs: str, es: str, moved: str) -> str:
    return f"{cs} challenge + {es} efficiency · 2 of 3 tried · {moved}"


def test_what_if_a_contestant_or_a_problem_had_not_been_there(league, browser):
    rows = browser.open("/?leave_out=A").one("table", class_="league").rows()
    assert [row[1][0] for row in rows] == ["B", "C"]
    assert [row[2] for row in rows] == ["same", "same"]  # among each other nothing changed
    page = browser.open("/?leave_out=problem:P1")
    assert [row[1][0] for row in page.one("table", class_="league").rows()] == ["B", "C", "A"]
    assert [row[2] for row in page.one("table", class_="league").rows()] == ["▲ 1 up", "▲ 1 up", "▼ 2 down"]
    assert "as if the problem P1 had never been there" in page.one("p", class_="lead").text


def test_intervals_and_a_second_opinion_at_request(league, browser):
    page = browser.open("/?intervals=1&challenge=share")
    table = page.one("table", class_="league")
    assert "Bradley–Terry" in table.text
    best = league.ranking(challenge="share").bootstrap(n=1000).rows[0]
    first = table.rows()[0]
    assert first[0] == f"1{best.rank_low}–{best.rank_high}"
    assert f"{best.low:.1f} to {best.high:.1f}" in first[3]
    strength = league.rating("bradley-terry").rows[0]
    assert any(f"{strength.rating:.2f}" in row[-1].replace("−", "-") for row in table.rows())
    assert "intervals=1" not in page.one("a", href="/?challenge=share").attributes["href"]


def test_the_board_of_the_past(league, browser, clock):
    clock.move(days=2)
    league.accounts.create("D", "llm")
    league.submit("D", "P1", "python", "AC 58")
    judge_all(league)
    assert len(browser.open("/").one("table", class_="league").rows()) == 4
    page = browser.open("/?at=2024-07-30")
    assert len(page.one("table", class_="league").rows()) == 3
    assert "As it stood at 31 July 2024, 00:00 UTC" in page.one("p", class_="date").text
    early = browser.open("/?at=2020-01-01")
    assert early.all("table", class_="league") == []
    assert "Nobody is on this board yet" in early.text


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("es_weight=x", "es_weight must be a number"),
        ("leave_out=nobody", "leave_out names 'nobody'"),
        ("at=soon", "at must be a day"),
        ("challenge=%3Cscript%3E", "challenge must be one of"),
        ("population=llm%2Chuman&leave_out=problem:zzz", "zzz"),
    ],
)
def test_a_rule_that_cannot_be_stands_in_the_form_again(league, browser, query, said):
    page = browser.open(f"/?{query}", 422)
    assert said in page.one(role="alert").text
    name, _, value = query.partition("=")
    if value in ("x", "nobody", "soon"):
        assert page.one(id=f"f-{name}").attributes["value"] == value


def test_empty_arenas_have_pages_too(small, browser):
    page = browser.open("/")
    assert "Nobody is on this board yet" in page.text
    assert "There is no problem yet" in browser.open("/problem/").text
    assert "Nobody has handed in anything yet" in browser.open("/submission/").text
    assert "There are not two contestants" in browser.open("/compare").text
    assert "No language model has a judged attempt" in browser.open("/leakage").text
    assert "Nobody has solved a problem yet" in browser.open("/about").text
    assert "0 problems" in browser.open("/data").text
    assert browser.open("/?intervals=1").all("table", class_="league") == []
    add_problem(small)
    assert "There is 1 problem" in browser.open("/").text
    small.accounts.create("ann", "human")
    assert "No judged submission yet" in browser.open("/user/ann").text


def test_everybody_is_told_what_people_are(league, browser):
    league.accounts.create("ann", "human")
    league.submit("ann", "P1", "python", "AC 10")
    judge_all(league)
    page = browser.open("/?population=all")
    (line,) = [row for row in page.one("table", class_="league").rows() if row[1].startswith("ann")]
    assert "person" in line[1]
    assert line[2] == "new here"
    only = browser.open("/?population=human").one("table", class_="league").rows()
    assert [row[1].split()[0] for row in only] == ["ann"]


# --- history -----------------------------------------------------------------------------------------


def test_history_is_drawn_and_stands_in_a_table(league, browser, clock):
    assert browser.open("/").all("svg", class_="history", role="img") == []
    for _ in range(3):
        league.checkpoint()
        clock.move(days=30)
    page = browser.open("/")
    drawing = page.one("svg", class_="history", role="img")
    assert drawing.one("title").text == "Points over time"
    assert "A from 5.00 to 5.00" in drawing.one("desc").text
    assert len(list(drawing.all("path", class_="line"))) == 3
    tables = [one for one in page.all("table") if "checkpoints" in one.text]
    assert [row[1:] for row in tables[0].rows()] == [["5.00", "3.67", "2.50"]] * 3
    mine = browser.open("/user/B")
    assert len(mine.one("svg", class_="history", role="img").all("path", class_="line")) == 1
    assert (
        browser.open("/?challenge=share").all("svg", class_="history", role="img") == []
    )  # no checkpoints by these rules


# --- problems ----------------------------------------------------------------------------------------


def test_a_problem_with_all_there_is_to_know(small, browser):
    add_written_problem(small, "sum", "Sum <b>&</b>", "## Input\n\nTwo *numbers* <script>x</script>.")
    for name, source in (("fast", "AC 1"), ("slow", "AC 90"), ("wrong", "WA 1")):
        small.accounts.create(name, "llm")
        small.submit(name, "sum", "python", source)
    judge_all(small)
    page = browser.open("/problem/sum")
    assert page.one("h1").text == "Sum <b>&</b>"
    assert page.one("section", class_="statement").one("em").text == "numbers"
    assert "<script>x</script>" in page.one("section", class_="statement").text
    samples = page.all("div", class_="sample")
    assert [one.text for one in samples[0].all("pre")] == ["a", "A"]
    facts = {one.one("dt").text: one.one("dd").text for one in page.one("dl", class_="facts").all("div")}
    assert facts["Acceptance"] == "67 % (2 of 3 models)"
    assert facts["Worth now"] == "1.67"
    assert facts["Time"] == "2.00 s"
    assert facts["Memory"] == "256 MiB"
    solvers = page.one("table", class_="small").rows()
    assert [row[:3] for row in solvers] == [["1", "fast", "1.0 ms"], ["2", "slow", "90 ms"]]
    assert (
        browser.client.get("/problem/sum/statement.md").text
        == "## Input\n\nTwo *numbers* <script>x</script>."
    )
    assert browser.client.get("/problem/sum/samples.json").json() == [
        {"ordinal": 1, "input": "a", "output": "A"}
    ]


def test_equal_times_share_a_place(small, browser):
    add_problem(small)
    for name, time in (("a", 5), ("b", 5), ("c", 9)):
        small.accounts.create(name, "llm")
        small.submit(name, "sum", "python", f"AC {time}")
    judge_all(small)
    rows = browser.open("/problem/sum").one("table", class_="small").rows()
    assert [row[:2] for row in rows] == [["1", "a"], ["1", "b"], ["3", "c"]]


def test_problems_are_found_by_text_and_difficulty(small, browser):
    add_problem(small, "hard-one", difficulty="hard")
    add_problem(small, "easy-one", difficulty="easy")
    add_problem(small, "other", difficulty="easy")

    def found(query: str) -> list[str]:
        tables = browser.open(f"/problem/{query}").all("table")
        return [row[0].split()[1] for row in tables[0].rows()] if tables else []

    assert found("") == ["easy-one", "hard-one", "other"]
    assert found("?q=ONE&difficulty=easy") == ["easy-one"]
    assert found("?q=%25") == []
    assert found("?q=&difficulty=hard") == ["hard-one"]


def test_what_is_not_published_is_there_for_curators_only(small, browser, clock):
    add_problem(small, "later", visible_from=clock.move(days=0).replace(year=2025))
    browser.open("/problem/later", 404)
    assert "later" not in browser.open("/problem/").text.split()
    browser.log_in(token_of(small, "carl", "curator"))
    assert "Not published before" in browser.open("/problem/later").text
    assert "not published before" in browser.open("/problem/").text


# --- submissions -------------------------------------------------------------------------------------


def test_the_list_has_filters_and_pages(small, browser, clock):
    add_problem(small, "P1")
    add_problem(small, "P2")
    small.accounts.create("ann", "human")
    for number in range(60):
        verdict = "AC" if number % 3 else "WA"
        small.submit("ann", f"P{1 + number % 2}", "python" if number % 2 else "c", f"{verdict} {number}")
    judge_all(small)
    first = browser.open("/submission/")
    assert "60 submissions" in first.text
    assert len(first.one("table").rows()) == 50
    second = browser.open(first.one("a", rel="next").attributes["href"])
    assert len(second.one("table").rows()) == 10
    assert second.one("a", rel="prev").attributes["href"] == "/submission/"
    assert len(browser.open("/submission/?verdict=WA").one("table").rows()) == 20
    page = browser.open("/submission/?verdict=WA&problem=P2&language=&user=ann")
    assert {(row[0].split(" WA")[0], row[1]) for row in page.one("table").rows()} == {("Wrong answer", "P2")}
    assert page.one("select", id="verdict").one("option", selected="").attributes["value"] == "WA"
    assert "No submission is like this" in browser.open("/submission/?verdict=OLE").text
    assert browser.open("/submission/?page=9").all("table") == []
    for wrong in ("page=0", "page=x", "page=99999999999", "verdict=XX", "user=%3Cb%3E", "problem=%00"):
        browser.open(f"/submission/?{wrong}", 422)


def test_a_verdict_with_its_cases(league, browser):
    (sid,) = [one.sid for one in league.submissions.page(user="C", pid="P1")[0]]
    page = browser.open(f"/submission/{sid}")
    assert "Too slow" in page.one(role="status").text
    cases = page.one("div", id="verdict").one("table").rows()
    assert [row[:3] for row in cases] == [["1", "Too slow TLE", "2.00 s"], ["2", "Too slow TLE", "2.00 s"]]
    assert "The source is shown to C and to readers" in page.text
    assert page.all("script") == []  # it is judged: nothing to wait for
    assert page.all("noscript") == []
    part = browser.open(f"/submission/{sid}/verdict")
    assert part.one("div", id="verdict").attributes["data-waits"] == "no"


def test_while_it_waits_the_page_says_so_and_renews_itself(small, browser):
    add_problem(small)
    small.accounts.create("ann", "human")
    sid = small.submit("ann", "sum", "python", "AC 58")
    page = browser.open(f"/submission/{sid}")
    assert "Waiting" in page.one(role="status").text
    assert page.one("noscript").one("meta", http_equiv="refresh").attributes["content"] == "3"
    assert page.one("script").attributes["src"].startswith("/static/live.js?v=")
    assert page.one("div", id="verdict").one("a").attributes["href"] == f"/submission/{sid}"
    verdict = f"/submission/{sid}/verdict"
    assert "No judge was heard of lately" in browser.open(verdict).text
    small.judges.here("j", small.machine, fault="no user namespaces")
    assert "No judge can isolate programs now" in browser.open(verdict).text
    small.judges.here("k", small.machine, languages=["python"])
    assert "It is the only one that waits" in browser.open(verdict).text
    small.submit("ann", "sum", "python", "AC 59")
    assert "2 jobs are waiting" in browser.open(verdict).text
    judge_all(small)
    assert "Accepted" in browser.open(f"/submission/{sid}").one(role="status").text


def test_a_compilers_words_are_shown_to_the_owner_only(small, browser):
    add_problem(small)
    token = token_of(small, "ann", "human")
    sid = small.submit("ann", "sum", "python", "CE")
    judge_all(small)
    assert "scripted CE" not in browser.open(f"/submission/{sid}").text
    browser.log_in(token)
    assert browser.open(f"/submission/{sid}").one("pre", class_="message").text == "scripted CE"


def test_a_source_with_numbers_for_its_owner(small, browser):
    add_problem(small)
    source = "AC 58\n<script>alert(1)</script>\n\tif a & b:\r\n# \u202e reversed \u200b\n"
    token = token_of(small, "ann", "human")
    sid = small.submit("ann", "sum", "python", source)
    browser.open(f"/submission/{sid}/source", 401)
    browser.log_in(token)
    page = browser.open(f"/submission/{sid}")
    assert page.one("pre", class_="numbers").text == "1 2 3 4"
    code = "".join(page.one("pre", class_="code")._texts())
    assert code == "AC 58\n<script>alert(1)</script>\n\tif a & b:\n# U+202E reversed U+200B\n"
    assert [one.text for one in page.all("mark")] == ["U+202E", "U+200B"]
    assert "characters that cannot be seen" in page.text
    answer = browser.client.get(f"/submission/{sid}/source")
    assert answer.content.decode() == source
    assert answer.headers["content-disposition"] == f'attachment; filename="sum-{sid}.py"'
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


# --- people ------------------------------------------------------------------------------------------


def test_a_contestants_page(league, browser):
    page = browser.open("/user/B")
    without = browser.open(page.one("a", href="/?leave_out=user:B").attributes["href"])
    assert [row[1][0] for row in without.one("table", class_="league").rows()] == ["A", "C"]
    facts = {one.one("dt").text: one.one("dd").text for one in page.one("dl", class_="facts").all("div")}
    assert facts["Place"] == "2 of 3"
    assert facts["Points"] == "3.67"
    assert facts["Solved"] == "2 of 3 tried"
    rows = page.one("table").rows()
    assert [row[:3] for row in rows] == [
        ["P1", "not solved", "–"],
        ["P2", "solved", "1.00"],
        ["P3", "solved", "2.67"],
    ]
    league.accounts.create("boss", "admin")
    browser.open("/user/boss", 404)
    browser.open("/user/nobody", 404)


def test_two_side_by_side(league, browser):
    page = browser.open("/compare?a=A&b=B")
    parts = {one.attributes["id"]: one.text for one in page.all("h2") if "id" in one.attributes}
    assert parts["group-a"] == "Only A solved 1"
    assert parts["group-b"] == "Only B solved 1"
    assert parts["group-both"] == "Both solved 1"
    assert "A is ahead of B by 1.33 points" in page.text
    drawn = league.ranking().bootstrap(n=1000)
    assert f"A would have come before B in {100 * drawn.above('A', 'B'):.1f} %" in page.text
    (both,) = [one for one in page.all("table") if one.one("caption").text == "Both solved"]
    assert both.rows() == [["P2", "42 ms", "24 ms", "B 1.8 times"]]
    swapped = browser.open("/compare?a=B&b=A")
    assert f"before A in {100 * drawn.above('B', 'A'):.1f} %" in swapped.text


def test_comparing_says_what_is_missing(league, browser):
    assert "Choose two contestants" in browser.open("/compare").text
    assert "Choose a second one" in browser.open("/compare?a=A").text
    assert "two different" in browser.open("/compare?a=A&b=A").text
    for nobody in ("nobody", "%00", "%3Cb%3E"):
        browser.open(f"/compare?a=A&b={nobody}", 404)
    league.accounts.create("ann", "human")
    assert "ann has no judged submission" in browser.open("/compare?a=A&b=ann").text
    league.submit("ann", "P1", "python", "AC 10")
    judge_all(league)
    page = browser.open("/compare?a=A&b=ann")
    assert "models and people together" in page.text
    assert [row[0] for row in page.all("table")[1].rows()] == ["P2"]


# --- leaks, data, words ------------------------------------------------------------------------------


def test_signals_of_leaks(small, browser, clock):
    for number in range(8):
        add_problem(small, f"old{number}")
    start = clock.time
    clock.move(days=40)
    for number in range(8):
        add_problem(small, f"new{number}")
    small.accounts.create("leaky", "llm", first_seen=clock.time)
    program = "AC 9 " + " ".join(f"x{number} = {number} + y;" for number in range(30))
    for name in ("a", "b"):
        small.accounts.create(name, "llm")
    for number in range(8):
        small.submit("leaky", f"old{number}", "python", program)
        small.submit("leaky", f"new{number}", "python", "WA 1")
        for name in ("a", "b"):
            honest = "WA 3" if number % 4 else "AC 3"
            small.submit(name, f"old{number}", "python", program if (name, number) == ("a", 0) else honest)
            small.submit(name, f"new{number}", "python", honest)
    judge_all(small)
    page = browser.open("/leakage")
    gaps = {row[0].split()[0]: row for row in page.all("table")[0].rows()}
    assert gaps["leaky"][2:4] == ["100 % of 8", "0 % of 8"]
    assert gaps["leaky"][5] == "worth a look"
    periods = page.all("table")[1].rows()
    assert periods[0][0] == f"1 {start:%B %Y}"
    assert "shown to readers" in page.text
    assert "Copied" in page.text
    browser.open("/leakage?length=week", 422)
    assert len(browser.open("/leakage?length=year").all("table")[1].rows()) == 1
    browser.log_in(token_of(small, "rita", "reader"))
    copies = browser.open("/leakage?copies=1").all("table")[2].rows()
    assert copies[0][0].startswith("old0")
    assert set(copies[0][1].split(", ")) == {"leaky", "a"}


def test_data_for_readers(league, browser):
    page = browser.open("/data")
    assert page.all("a", href="/data/arena.jsonl") == []
    browser.open("/data/arena.jsonl", 401)
    browser.open("/data/arena.exe", 422)
    browser.open("/problem/P1/cases.json", 401)
    browser.log_in(token_of(league, "rita", "reader"))
    page = browser.open("/data")
    assert page.one("table").rows() == [["unknown: ask before you pass these on", "3"]]
    lines = browser.client.get(page.one("a", href="/data/arena.jsonl").attributes["href"]).text.splitlines()
    assert {json.loads(line).get("table") for line in lines[1:]} >= {"problem", "submission", "judgement"}
    assert browser.client.get("/data/arena.zip").content[:2] == b"PK"
    cases = browser.client.get("/problem/P1/cases.json").json()
    assert [case["output"] for case in cases] == ["A", "B"]


def test_points_are_explained_with_the_papers_and_our_own_numbers(league, browser):
    page = browser.open("/about")
    text = page.text
    assert "5 × (1 − 1/3) = 3.3333" in text
    assert "3 × (1 − 3/3) = 0.0000" in text
    rows = {row[0]: row[4:] for row in page.all("table")[1].rows()}
    assert rows == {"A": ["5.0000", "7.6667"], "B": ["3.6667", "5.5000"], "C": ["2.5000", "4.3333"]}
    assert "A leads with 5.00 points" in text
    assert page.all("math")


# --- handing in --------------------------------------------------------------------------------------


def test_a_person_hands_in_and_sees_the_verdict(small, browser):
    add_problem(small)
    token = token_of(small, "ann", "human")
    login = browser.open("/submit/sum")
    assert login.one("h1").text == "Log in"
    form = browser.send(login, "/login", key=token)
    assert form.one("h1").text == "Hand in: Sum"  # on to where she wanted to go
    source = 'AC 58\nprint("é\u202e")\n'
    page = browser.send(form, "/submit/sum", language="python", source=source.replace("\n", "\r\n"))
    assert "Waiting" in page.one(role="status").text
    (sid,) = [one.sid for one in small.submissions.page()[0]]
    assert small.submission(sid).source == source
    judge_all(small)
    assert "Accepted" in browser.open(f"/submission/{sid}").one(role="status").text
    assert browser.open("/problem/").one("table").rows()[0][-1] == "solved"


def test_an_impatient_click_is_one_submission_and_a_change_another(small, browser):
    add_problem(small)
    browser.log_in(token_of(small, "ann", "human"))
    form = browser.open("/submit/sum")
    for source in ("AC 1", "AC 1", "AC 2"):
        browser.send(form, "/submit/sum", language="python", source=source)
    assert small.submissions.page()[1] == 2


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"language": "python", "source": "  "}, 422, "the source is empty"),
        ({"language": "", "source": "AC 1"}, 422, "choose the language"),
        ({"language": "cobol", "source": "AC 1"}, 422, "cobol"),
        ({"language": "python", "source": "AC\0"}, 422, "NUL"),
        ({"language": "python", "source": "x" * 70_000}, 413, "65536"),
    ],
)
def test_what_is_refused_stands_in_the_form_again(small, browser, fields, status, said):
    add_problem(small)
    browser.log_in(token_of(small, "ann", "human"))
    page = browser.send(browser.open("/submit/sum"), "/submit/sum", status, **fields)
    assert said in page.one(role="alert").text
    assert (
        "".join(page.one("textarea")._texts()) == "\n" + fields["source"].replace("\0", "\ufffd")
        or "\0" in fields["source"]
    )
    assert small.submissions.page()[1] == 0


def test_a_model_is_told_of_its_one_attempt(league, browser):
    add_problem(league, "P4")
    browser.log_in(league.accounts.issue("A").secret)
    assert "has used its one attempt" in browser.open("/submit/P1").text
    page = browser.send(browser.open("/submit/P1"), "/submit/P1", 409, language="python", source="AC 1")
    assert "used its one attempt" in page.one(role="alert").text
    assert "has one attempt at each problem" in browser.open("/submit/P4").text
    mine = browser.open("/problem/").one("table").rows()
    assert [row[-1] for row in mine] == ["solved", "solved", "tried", "–"]


def test_readers_cannot_hand_in(small, browser):
    add_problem(small)
    browser.log_in(token_of(small, "rita", "reader"))
    page = browser.open("/submit/sum")
    assert "who cannot" in page.text
    browser.send(page, "/submit/sum", 403, language="python", source="AC 1")


def test_without_isolation_the_form_says_why(small, browser):
    add_problem(small)
    small.judges.here("j", small.machine, fault="bwrap: setting up uid map: Permission denied")
    browser.log_in(token_of(small, "ann", "human"))
    page = browser.send(browser.open("/submit/sum"), "/submit/sum", 503, language="python", source="AC 1")
    assert "no judge can isolate programs" in page.one(role="alert").text


def test_only_languages_that_a_judge_has_are_offered(small, browser):
    add_problem(small)
    browser.log_in(token_of(small, "ann", "human"))
    every = browser.open("/submit/sum").one("select", id="language").all("option")
    assert len(every) == 9
    small.judges.here("j", small.machine, languages=["c", "python"])
    some = browser.open("/submit/sum").one("select", id="language").all("option")
    assert [one.attributes["value"] for one in some] == ["", "c", "python"]


# --- names and titles --------------------------------------------------------------------------------


def test_titles_of_any_kind_stay_text(small, browser):
    titles = {
        "html": "<img src=x onerror=alert(1)>",
        "rtl": "مجموع الأعداد \u202e!",
        "long": "a" * 1000,
        "amp": "&lt;b&gt; {{ 7 * 7 }} {% raw %}",
    }
    for pid, title in titles.items():
        add_written_problem(small, pid, title, title)
    page = browser.open("/problem/")
    for pid, title in titles.items():
        assert page.one("a", href=f"/problem/{pid}").text == title
        own = browser.open(f"/problem/{pid}")
        assert own.one("h1").text == title
        assert own.one("h1").attributes["dir"] == "auto"
    long = "x" * 64
    small.accounts.create(long, "llm")
    small.submit(long, "rtl", "python", "AC 1")
    judge_all(small)
    assert long in browser.open("/").text
    assert long in browser.open("/problem/rtl").text


def test_names_that_nobody_has_stay_text(league, browser):
    page = browser.open("/?population=%3Cb%3Ex%3C/b%3E,A")
    assert "<b>x</b>" in page.one("table", class_="league").text


# --- errors in the same dress ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "title"),
    [
        ("/nothing", 404, "There is nothing here"),
        ("/problem/nothing", 404, "There is nothing here"),
        ("/submission/?page=x", 422, "This value cannot be used"),
        ("/submission/0000", 404, "There is nothing here"),
        ("/?token=x", 422, "This value cannot be used"),
    ],
)
def test_errors_are_pages_for_people_and_json_for_programs(browser, path, status, title):
    page = browser.open(path, status)
    assert page.one("h1").text == title
    assert page.one("nav").all("a")
    answer = browser.client.get(path)
    assert answer.status_code == status
    assert answer.json()["status"] == "error"


def test_an_id_that_nothing_can_have_is_a_wrong_address(browser):
    for path in (
        "/problem/%3Cscript%3E",
        "/problem/%00",
        "/submission/lower",
        "/user/%3Cb%3E",
        "/submit/a b",
    ):
        page = browser.open(path, 404)
        assert page.one("h1").text == "There is nothing here"
        assert page.all("p", class_="said") == []


def test_the_api_answers_json_whatever_a_browser_asks_for(browser):
    for path in ("/api/nothing", "/api/problem/nothing/", "/api"):
        answer = browser.client.get(path, headers=PEOPLE)
        assert answer.headers["content-type"] == "application/json"


def test_too_many_requests_say_when_to_come_back(small, clock):
    add_problem(small)
    client = client_of(small, reads_per_minute=3)
    for _ in range(3):
        assert client.get("/", headers=PEOPLE).status_code == 200
    answer = client.get("/problem/", headers=PEOPLE)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    page = read_html(answer.text)
    assert page.one("h1").text == "Too many requests"
    assert page.one("a", class_="button", href="/problem/").text == "Try again"


def test_closed_arenas_ask_for_a_token(small):
    add_problem(small)
    small.accounts.create("rita", "reader")
    client = client_of(small, public_reads=False)
    browser = Browser(client)
    page = browser.open("/problem/sum", 401)
    assert page.one("h1").text == "Log in first"
    login = browser.open(page.one("a", class_="first").attributes["href"])
    shown = browser.send(login, "/login", key=small.accounts.issue("rita").secret)
    assert shown.one("h1").text == "Sum"


def test_what_fails_inside_is_a_page_without_a_word_of_why(small, browser, monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(small.standing, "ranking", broken)
    page = browser.open("/", 500)
    assert page.one("h1").text == "Something failed here"
    assert "secret detail" not in page.text


def test_a_page_of_an_error_needs_no_database(small, browser, monkeypatch):
    browser.log_in(token_of(small, "ann", "human"))

    def away(*arguments, **options):
        raise RuntimeError("the database is away")

    monkeypatch.setattr(small.accounts, "identify", away)
    page = browser.open("/", 500)
    assert page.one("h1").text == "Something failed here"
    assert page.one("div", class_="who").text == "Log in"
