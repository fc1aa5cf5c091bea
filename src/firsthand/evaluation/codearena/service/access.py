"""Who asks over HTTP, what their token lets them do, and how often they may ask.

Knows headers, tokens, scopes and rates. Knows no routes. Reads may be open to everybody (`public_reads`); what is
written, and what only readers see, takes a token in the Authorization header.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.errors import NotAuthorized
from firsthand.evaluation.codearena.refusals import InvalidRequest, TooManyRequests
from firsthand.evaluation.codearena.service.gate import Gate
from firsthand.evaluation.codearena.service.rates import Buckets
from firsthand.evaluation.codearena.settings import ArenaSettings
from firsthand.evaluation.codearena.store.accounts import Identity, Scope

__all__ = [
    "AnyReader",
    "Caller",
    "DataReader",
    "Service",
    "allowed",
    "caller_of",
    "read_by",
    "service_of",
    "submitting",
    "writes",
    "written_by",
]


@dataclass
class Service:
    """What the routes share; `gate` is there once the application is made."""

    arena: Arena
    settings: ArenaSettings
    gate: Gate | None = None
    reads: Buckets = field(init=False)
    writes: Buckets = field(init=False)
    submissions: Buckets = field(init=False)
    failures: Buckets = field(init=False)

    def __post_init__(self) -> None:
        self.reads = Buckets(self.settings.reads_per_minute)
        self.writes = Buckets(self.settings.writes_per_minute)
        self.submissions = Buckets(self.settings.submissions_per_minute)
        self.failures = Buckets(self.settings.failures_per_minute)

    def address_of(self, request: Request) -> str:
        """The client's address; behind a proxy that is believed, the one that it names."""
        peer = request.client.host if request.client is not None else "local"
        if peer not in self.settings.proxies:
            return peer
        named = [
            part.strip() for part in request.headers.get("x-forwarded-for", "").split(",") if part.strip()
        ]
        # From the right, because what stands left of our own proxies is whatever the client wrote.
        return next((name for name in reversed(named) if name not in self.settings.proxies), peer)


@dataclass(frozen=True)
class Caller:
    """Who asks: `identity` is None where no token was shown."""

    identity: Identity | None

    @property
    def name(self) -> str | None:
        """Of the account."""
        return None if self.identity is None else self.identity.account.name

    @property
    def known(self) -> Identity:
        """The identity, on routes that need a token."""
        if self.identity is None:
            raise NotAuthorized("this needs a token: send 'Authorization: Bearer TOKEN'")
        return self.identity

    def may(self, scope: Scope) -> bool:
        """Whether a token with the scope was shown."""
        return self.identity is not None and self.identity.may(scope)


def service_of(request: Request) -> Service:
    """What the application was made with."""
    found: Service = request.app.state.service
    return found


# Read by `caller_of`; here so that the OpenAPI document says which header it is.
_BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="A token of this arena.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]


def caller_of(request: Request) -> Caller:
    """Who asks, by the Authorization header.

    Raises:
        NotAuthorized: (401) a header that is none, or a token that opens nothing.
        TooManyRequests: too many of these came from the same address.
    """
    service = service_of(request)
    sent = request.headers.getlist("authorization")
    if not sent:
        return Caller(None)
    address = service.address_of(request)
    wait = service.failures.missing(address)
    if wait > 0:
        raise TooManyRequests("too many wrong tokens came from this address; wait", wait)
    try:
        scheme, _, secret = sent[0].partition(" ")
        if scheme.lower() != "bearer" or len(sent) != 1 or not secret.strip():
            raise NotAuthorized("the Authorization header must be 'Bearer TOKEN', once")
        return Caller(service.arena.accounts.identify(secret.strip()))
    except NotAuthorized:
        service.failures.take(address)
        raise


def _check_parameters(request: Request) -> None:
    """A parameter that the route does not know is a mistake: a board by other rules than were meant."""
    known = _known_parameters(request.scope["route"])
    for name in request.query_params:
        if name not in known:
            raise InvalidRequest(
                f"there is no query parameter {name[:80]!r} here; there are: {', '.join(sorted(known)) or 'none'}"
            )


def _known_parameters(route: Any) -> frozenset[str]:
    """Names of a route's query parameters, those of its dependencies too."""
    kept = getattr(route, "known_parameters", None)
    if kept is None:
        names: set[str] = set()
        waiting = [route.dependant]
        while waiting:
            dependant = waiting.pop()
            names |= {str(parameter.alias) for parameter in dependant.query_params}
            waiting += dependant.dependencies
        kept = route.known_parameters = frozenset(names)
    found: frozenset[str] = kept
    return found


def _paced(buckets: Buckets, key: str, amount: float = 1.0) -> None:
    wait = buckets.take(key, amount)
    if wait > 0:
        raise TooManyRequests(f"too many requests; wait {wait:.1f} s", wait)


def _key(request: Request, caller: Caller) -> str:
    if caller.identity is not None:
        return f"account {caller.identity.account.id}"
    return f"address {service_of(request).address_of(request)}"


def read_by(request: Request, caller: Caller) -> None:
    """Count a read, and refuse it where everybody needs a token and none came."""
    _paced(service_of(request).reads, _key(request, caller))
    if caller.identity is None and not service_of(request).settings.public_reads:
        raise NotAuthorized("this arena is read with a token: send 'Authorization: Bearer TOKEN'")


def written_by(request: Request, caller: Caller, *scopes: Scope) -> None:
    """Count a write, and refuse it without a token with one of the scopes (none: any token)."""
    _paced(service_of(request).writes, _key(request, caller))
    if scopes:
        caller.known.require(*scopes)
    else:
        _ = caller.known


def reads(request: Request, credentials: Credentials) -> Caller:
    """For what everybody may read, or, without `public_reads`, everybody with a token."""
    caller = _checked_caller(request)
    read_by(request, caller)
    return caller


def _checked_caller(request: Request) -> Caller:
    _check_parameters(request)
    return caller_of(request)


def all_data(request: Request, credentials: Credentials) -> Caller:
    """For what only readers see: sources, test cases, the export."""
    caller = reads(request, credentials)
    if not service_of(request).settings.open_data:
        caller.known.require("reader", "curator")
    return caller


def allowed(*scopes: Scope) -> Callable[..., Caller]:
    """For what takes a token with one of the scopes, and only reads."""

    def dependency(request: Request, credentials: Credentials) -> Caller:
        caller = _checked_caller(request)
        _paced(service_of(request).reads, _key(request, caller))
        caller.known.require(*scopes)
        return caller

    return dependency


def writes(*scopes: Scope) -> Callable[..., Caller]:
    """For what takes a token with one of the scopes (none: any token), and writes."""

    def dependency(request: Request, credentials: Credentials) -> Caller:
        caller = _checked_caller(request)
        written_by(request, caller, *scopes)
        return caller

    return dependency


def submitting(request: Request, caller: Caller, count: int = 1) -> None:
    """Count submissions of an account."""
    _paced(service_of(request).submissions, _key(request, caller), count)


AnyReader = Annotated[Caller, Depends(reads)]
DataReader = Annotated[Caller, Depends(all_data)]
