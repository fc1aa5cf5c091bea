"""Accounts and tokens: only a hash is kept, scopes are held to, revoked and expired tokens open nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from firsthand.evaluation.codearena.errors import NotAuthorized
from firsthand.evaluation.codearena.refusals import Conflict, InvalidRequest, UnknownAccount, UnknownEntry
from firsthand.evaluation.codearena.store.accounts import SCOPES
from firsthand.evaluation.codearena.store.tables import metadata


def test_a_token_tells_who_asks_and_what_they_may(arena):
    arena.accounts.create("gpt-4o", "llm")
    issued = arena.accounts.issue("gpt-4o", label="laptop")
    identity = arena.accounts.identify(issued.secret)
    assert (identity.account.name, identity.account.kind, identity.scopes) == ("gpt-4o", "llm", {"generator"})
    assert identity.token_id == issued.info.id
    identity.require("generator", "curator")
    with pytest.raises(NotAuthorized, match="curator") as caught:
        identity.require("curator")
    assert caught.value.status == 403
    assert [token.label for token in arena.accounts.tokens("gpt-4o")] == ["laptop"]


def test_an_administrator_may_everything(arena):
    arena.accounts.create("root", "admin")
    identity = arena.accounts.identify(arena.accounts.issue("root").secret)
    for scope in SCOPES:
        identity.require(scope)


def test_no_table_and_no_text_has_the_secret(arena):
    arena.accounts.create("a", "human")
    issued = arena.accounts.issue("a")
    rotated = arena.accounts.rotate(issued.info.id)
    with arena.database.read() as connection:
        everything = repr([connection.execute(select(table)).all() for table in metadata.sorted_tables])
    for secret in (issued.secret, rotated.secret):
        assert secret.removeprefix("arena_") not in everything + repr(issued) + repr(rotated)
        assert len(secret) > 40


def test_a_revoked_token_opens_nothing(arena):
    arena.accounts.create("a", "human")
    issued = arena.accounts.issue("a")
    assert arena.accounts.revoke(issued.info.id).revoked_at is not None
    arena.accounts.revoke(issued.info.id)  # again: nothing happens
    for secret in (issued.secret, issued.secret + "x", "", "\udcff", issued.info.id):
        with pytest.raises(NotAuthorized, match="unknown, revoked or expired") as caught:
            arena.accounts.identify(secret)
        assert caught.value.status == 401
    assert [event.kind for event in arena.events()].count("token.revoked") == 1


def test_a_rotated_token_is_a_new_one_with_the_same_rights(arena):
    arena.accounts.create("a", "curator")
    old = arena.accounts.issue("a", scopes=["reader"], label="ci")
    new = arena.accounts.rotate(old.info.id)
    assert (new.info.scopes, new.info.label) == (("reader",), "ci")
    with pytest.raises(NotAuthorized):
        arena.accounts.identify(old.secret)
    assert arena.accounts.identify(new.secret).scopes == {"reader"}
    with pytest.raises(Conflict):
        arena.accounts.rotate(old.info.id)


def test_of_two_that_rotate_at_once_one_gets_the_token(arena):
    arena.accounts.create("a", "human")
    issued = arena.accounts.issue("a")

    def rotate(_: int) -> bool:
        try:
            return bool(arena.accounts.rotate(issued.info.id))
        except Conflict:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(rotate, range(8))) == 1


def test_a_token_expires(arena, clock):
    arena.accounts.create("a", "human")
    with pytest.raises(InvalidRequest, match="past"):
        arena.accounts.issue("a", expires_at=clock())
    issued = arena.accounts.issue("a", expires_at=clock.time.replace(hour=13))
    assert arena.accounts.identify(issued.secret)
    clock.move(hours=1)
    with pytest.raises(NotAuthorized):
        arena.accounts.identify(issued.secret)
    with pytest.raises(Conflict):
        arena.accounts.rotate(issued.info.id)


def test_a_token_has_at_most_the_rights_of_its_account(small):
    small.accounts.create("m", "llm")
    for scopes in (["admin"], ["reader"], ["generator", "curator"], ["wizard"], []):
        with pytest.raises(InvalidRequest):
            small.accounts.issue("m", scopes=scopes)
    with pytest.raises(InvalidRequest, match="200 characters"):
        small.accounts.issue("m", label="x" * 201)


def test_somebody_elses_token_is_not_there(small):
    for name in ("a", "b"):
        small.accounts.create(name, "human")
    issued = small.accounts.issue("a")
    for act in (small.accounts.revoke, small.accounts.rotate):
        with pytest.raises(UnknownEntry):
            act(issued.info.id, of="b")
        with pytest.raises(UnknownEntry):
            act("nosuchtoken")


@pytest.mark.parametrize("name", ["", " ", "a b", "a/b", "-a", "a" * 65, "ä", "a\n", "a\0", None, 5])
def test_names_that_cannot_be(small, name):
    with pytest.raises(InvalidRequest, match="name"):
        small.accounts.create(name, "llm")


def test_accounts_are_found_by_name(arena, clock):
    arena.accounts.create("b", "llm", first_seen=clock())
    arena.accounts.create("a", "human")
    with pytest.raises(Conflict, match="'a' already"):
        arena.accounts.create("a", "llm")
    with pytest.raises(InvalidRequest, match="kind"):
        arena.accounts.create("c", "wizard")
    with pytest.raises(UnknownAccount):
        arena.accounts.find("c")
    found, total = arena.accounts.page()
    assert ([account.name for account in found], total) == (["a", "b"], 2)
    assert [account.name for account in arena.accounts.page(kind="llm")[0]] == ["b"]
    assert arena.accounts.page(offset=1, limit=1)[0][0].name == "b"
    assert arena.accounts.first_seen() == {"b": clock()}
