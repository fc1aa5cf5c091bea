"""Sessions end by themselves, are forgotten when there are too many, and forms are bound to theirs."""

from __future__ import annotations

from firsthand.evaluation.codearena.pages.sessions import Sessions


class Ticks:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_session_lives_while_it_is_used_and_at_most_a_week():
    ticks = Ticks()
    sessions = Sessions(clock=ticks)
    cookie, session = sessions.open("secret")
    for _ in range(20):
        ticks.now += 11 * 3600
        found = sessions.find(cookie)
        if ticks.now > 7 * 24 * 3600:
            assert found is None
            break
        assert found == session
    else:
        raise AssertionError("it never ended")
    cookie, _ = sessions.open("secret")
    ticks.now += 13 * 3600
    assert sessions.find(cookie) is None


def test_the_one_not_seen_for_longest_is_forgotten():
    sessions = Sessions(most=2)
    first, _ = sessions.open("a")
    second, _ = sessions.open("b")
    assert sessions.find(first) is not None
    third, _ = sessions.open("c")
    assert sessions.find(second) is None
    assert sessions.find(first).token == "a"
    assert sessions.find(third).token == "c"


def test_a_closed_session_is_gone_and_unknown_cookies_open_nothing():
    sessions = Sessions()
    cookie, _ = sessions.open("a")
    sessions.close(cookie)
    sessions.close(cookie)
    for wrong in (cookie, "", "é\udcff", "x" * 10_000):
        assert sessions.find(wrong) is None


def test_secrets_are_not_told_by_accident():
    _, session = Sessions().open("secret-token")
    assert "secret-token" not in repr(session)
    assert session.form_secret not in repr(session)


def test_forms_belong_to_one_session():
    sessions = Sessions()
    _, mine = sessions.open("a")
    _, theirs = sessions.open("b")
    assert mine.owns(mine.form_secret)
    for wrong in (theirs.form_secret, "", "é\ud800"):
        assert not mine.owns(wrong)


def test_login_forms_fit_their_cookie_only():
    sessions, others = Sessions(), Sessions()
    cookie, seal = sessions.ticket()
    assert sessions.fits(cookie, seal)
    assert sessions.ticket(cookie) == (
        cookie,
        seal,
    )  # a second form of the same browser works beside the first
    assert not sessions.fits("", sessions.ticket("")[1])
    assert not sessions.fits(sessions.ticket()[0], seal)
    assert not others.fits(cookie, seal)
    assert not sessions.fits(cookie, "é")
    assert sessions.ticket("short")[0] != "short"
