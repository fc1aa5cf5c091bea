"""Who takes part, and the tokens they show: each with scopes, kept as a hash, revoked and renewed.

Knows accounts and tokens. Knows no HTTP. A token is 256 random bits and is told once, when it is made; the database
holds its SHA-256, and events and errors name a token by its public id.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Row, Select, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from firsthand.evaluation.codearena.errors import NotAuthorized
from firsthand.evaluation.codearena.refusals import Conflict, InvalidRequest, UnknownAccount, UnknownEntry
from firsthand.evaluation.codearena.store.database import Database
from firsthand.evaluation.codearena.store.events import note
from firsthand.evaluation.codearena.store.tables import account, token

__all__ = [
    "ACCOUNT_KINDS",
    "NAME_PATTERN",
    "SCOPES",
    "Account",
    "AccountKind",
    "Accounts",
    "Identity",
    "IssuedToken",
    "Scope",
    "TokenInfo",
    "now",
]

AccountKind = Literal["llm", "human", "curator", "reader", "admin"]
Scope = Literal["curator", "generator", "reader", "admin"]
ACCOUNT_KINDS: tuple[AccountKind, ...] = get_args(AccountKind)
SCOPES: tuple[Scope, ...] = get_args(Scope)
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._+:@-]{0,63}$"

# What a token of such an account may do where nothing else is said; also the most it may do.
_SCOPES_OF: dict[AccountKind, tuple[Scope, ...]] = {
    "llm": ("generator",),
    "human": ("generator",),
    "curator": ("curator", "reader"),
    "reader": ("reader",),
    "admin": SCOPES,
}
_PREFIX = "arena_"  # lets whoever scans logs and repositories for secrets find ours


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Account:
    """Someone who takes part: a language model, a person, a curator, a reader, an administrator."""

    id: int
    name: str
    kind: AccountKind
    first_seen: datetime | None  # of a model: when it was released, or when its training data end
    created_at: datetime


@dataclass(frozen=True)
class TokenInfo:
    """A token without its secret."""

    id: str
    account: str
    scopes: tuple[Scope, ...]
    label: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True)
class IssuedToken:
    """A new token with its secret, which cannot be read again."""

    info: TokenInfo
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Identity:
    """Who asks, and what the token that was shown lets them do. `token_id` is None where no token was needed."""

    account: Account
    scopes: frozenset[Scope]
    token_id: str | None

    def may(self, scope: Scope) -> bool:
        """Whether the scope, or that of an administrator, is there."""
        return scope in self.scopes or "admin" in self.scopes

    def require(self, *any_of: Scope) -> None:
        """Raise `NotAuthorized` (403) where none of the scopes is there."""
        if not any(self.may(scope) for scope in any_of):
            raise NotAuthorized(
                f"this needs a token with the scope {' or '.join(any_of)}; that of {self.account.name!r} has "
                f"{', '.join(sorted(self.scopes)) or 'none'}",
                status=403,
            )


class Accounts:
    """Accounts and tokens of one arena."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = now) -> None:
        self._database, self._clock = database, clock

    # --- accounts --------------------------------------------------------------------------------

    def create(self, name: str, kind: AccountKind, *, first_seen: datetime | None = None) -> Account:
        """A new account.

        Raises:
            InvalidRequest: a name or a kind that cannot be.
            Conflict: the name is taken.
        """
        if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
            raise InvalidRequest(
                f"an account's name has 1 to 64 letters, digits and . _ + : @ - and begins with one of the first two, "
                f"got {name!r}"
            )
        if kind not in ACCOUNT_KINDS:
            raise InvalidRequest(f"an account is of kind {', '.join(ACCOUNT_KINDS)}, got {kind!r}")
        at = self._clock()
        try:
            with self._database.write() as connection:
                row = connection.execute(
                    insert(account)
                    .values(name=name, kind=kind, first_seen=first_seen, created_at=at)
                    .returning(account)
                ).one()
                note(connection, at, "account.created", name, kind=kind)
        except IntegrityError as error:
            raise Conflict(f"there is an account {name!r} already") from error
        return _account(row)

    def find(self, name: str) -> Account:
        """The account of that name; raises `UnknownAccount`."""
        with self._database.read() as connection:
            return self.find_in(connection, name)

    def find_in(self, connection: Connection, name: str) -> Account:
        """`find` within a transaction."""
        row = connection.execute(select(account).where(account.c.name == name)).one_or_none()
        if row is None:
            raise UnknownAccount(f"there is no account {name!r}")
        return _account(row)

    def page(
        self, *, kind: AccountKind | None = None, offset: int = 0, limit: int = 100
    ) -> tuple[list[Account], int]:
        """Accounts by name, and how many there are."""
        query: Select[Any] = select(account)
        if kind is not None:
            query = query.where(account.c.kind == kind)
        with self._database.read() as connection:
            total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
            rows = connection.execute(query.order_by(account.c.name).offset(offset).limit(limit)).all()
        return [_account(row) for row in rows], total

    def first_seen(self) -> dict[str, datetime]:
        """When models were first seen, of those whose account says so."""
        query = select(account.c.name, account.c.first_seen).where(account.c.first_seen.is_not(None))
        with self._database.read() as connection:
            return {row.name: row.first_seen for row in connection.execute(query)}

    # --- tokens ----------------------------------------------------------------------------------

    def issue(
        self,
        name: str,
        *,
        scopes: Collection[Scope] | None = None,
        label: str = "",
        expires_at: datetime | None = None,
    ) -> IssuedToken:
        """A token for an account.

        Args:
            name: the account's.
            scopes: what it may do; None: all that this kind of account may.
            label: what it is for.
            expires_at: from when on it opens nothing; None: never.

        Raises:
            UnknownAccount: no such account.
            InvalidRequest: a scope that there is not or that this kind of account cannot have, a time that is past.
        """
        at = self._clock()
        if expires_at is not None and expires_at <= at:
            raise InvalidRequest(f"the token would have expired at {expires_at.isoformat()}, which is past")
        if len(label) > 200:
            raise InvalidRequest(f"a token's label has at most 200 characters, got {len(label)}")
        with self._database.write() as connection:
            owner = self.find_in(connection, name)
            granted = _granted(owner, scopes)
            return self._issue(connection, at, owner, granted, label, expires_at, "token.issued")

    def _issue(
        self,
        connection: Connection,
        at: datetime,
        owner: Account,
        scopes: tuple[Scope, ...],
        label: str,
        expires_at: datetime | None,
        kind: str,
        **payload: Any,
    ) -> IssuedToken:
        secret = _PREFIX + secrets.token_urlsafe(32)
        info = TokenInfo(secrets.token_hex(8), owner.name, scopes, label, at, expires_at, None)
        connection.execute(
            insert(token).values(
                id=info.id,
                hash=_hash(secret),
                account_id=owner.id,
                scopes=" ".join(scopes),
                label=label,
                created_at=at,
                expires_at=expires_at,
                revoked_at=None,
            )
        )
        note(connection, at, kind, owner.name, token=info.id, scopes=list(scopes), **payload)
        return IssuedToken(info, secret)

    def revoke(self, token_id: str, *, of: str | None = None) -> TokenInfo:
        """From now on the token opens nothing. With `of`, only where it is that account's.

        Raises:
            UnknownEntry: no such token, or it is somebody else's.
        """
        at = self._clock()
        with self._database.write() as connection:
            info = self._token_in(connection, token_id, of)
            if info.revoked_at is not None:
                return info
            connection.execute(update(token).where(token.c.id == token_id).values(revoked_at=at))
            note(connection, at, "token.revoked", info.account, token=token_id)
            return self._token_in(connection, token_id, of)

    def rotate(self, token_id: str, *, of: str | None = None) -> IssuedToken:
        """A new token with the scopes, label and end of an old one, which is revoked in the same moment.

        Raises:
            UnknownEntry: no such token, or it is somebody else's.
            Conflict: it is revoked or has expired.
        """
        at = self._clock()
        with self._database.write() as connection:
            old = self._token_in(connection, token_id, of)
            # Where two ask at once, one of them gets the new token.
            revoked = connection.execute(
                update(token)
                .where(token.c.id == token_id, token.c.revoked_at.is_(None))
                .values(revoked_at=at)
            )
            if revoked.rowcount != 1 or (old.expires_at is not None and old.expires_at <= at):
                raise Conflict(f"the token {token_id} is revoked or has expired; issue a new one")
            owner = self.find_in(connection, old.account)
            return self._issue(
                connection,
                at,
                owner,
                old.scopes,
                old.label,
                old.expires_at,
                "token.rotated",
                replaces=token_id,
            )

    def tokens(self, name: str) -> list[TokenInfo]:
        """An account's tokens, the newest first; raises `UnknownAccount`."""
        with self._database.read() as connection:
            owner = self.find_in(connection, name)
            rows = connection.execute(
                _tokens()
                .where(token.c.account_id == owner.id)
                .order_by(token.c.created_at.desc(), token.c.id)
            ).all()
        return [_info(row) for row in rows]

    def identify(self, secret: str) -> Identity:
        """Whose token this is, and what it may do.

        Raises:
            NotAuthorized: (401) there is no such token, it is revoked, or it has expired. All three read the same.
        """
        query = (
            select(account, token.c.id.label("token_id"), token.c.scopes, token.c.expires_at)
            .join(token, token.c.account_id == account.c.id)
            .where(token.c.hash == _hash(secret), token.c.revoked_at.is_(None))
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None or (row.expires_at is not None and row.expires_at <= self._clock()):
            raise NotAuthorized("the token is unknown, revoked or expired", status=401)
        return Identity(_account(row), frozenset(_scopes(row.scopes)), row.token_id)

    def _token_in(self, connection: Connection, token_id: str, of: str | None) -> TokenInfo:
        row = connection.execute(_tokens().where(token.c.id == token_id)).one_or_none()
        if row is None or (of is not None and row.name != of):
            raise UnknownEntry(f"there is no token {token_id!r}")
        return _info(row)


def _hash(secret: str) -> str:
    # No slow hash: the secret is random, not a password that somebody could guess.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _granted(owner: Account, scopes: Collection[Scope] | None) -> tuple[Scope, ...]:
    most = _SCOPES_OF[owner.kind]
    if scopes is None:
        return most
    for scope in scopes:
        if scope not in SCOPES:
            raise InvalidRequest(f"a scope is one of {', '.join(SCOPES)}, got {scope!r}")
        if scope not in most:
            raise InvalidRequest(
                f"{owner.name!r} is of kind {owner.kind}; its tokens may have {', '.join(most)}, not {scope}"
            )
    if not scopes:
        raise InvalidRequest("a token needs at least one scope")
    return tuple(scope for scope in SCOPES if scope in scopes)


def _tokens() -> Select[Any]:
    return select(token, account.c.name).join(account, account.c.id == token.c.account_id)


def _scopes(text: str) -> tuple[Scope, ...]:
    return tuple(scope for scope in SCOPES if scope in text.split())


def _account(row: Row[Any]) -> Account:
    return Account(row.id, row.name, row.kind, row.first_seen, row.created_at)


def _info(row: Row[Any]) -> TokenInfo:
    return TokenInfo(
        row.id, row.name, _scopes(row.scopes), row.label, row.created_at, row.expires_at, row.revoked_at
    )
