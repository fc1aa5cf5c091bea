"""Routes of accounts, tokens and webhooks: the paper's /api/authentication/, and what else an account has.

Knows HTTP, and hands everything on to `accounts` and `webhooks`.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from firsthand.evaluation.codearena.service.access import AnyReader, Caller, allowed, service_of, writes
from firsthand.evaluation.codearena.service.bodies import AccountBody, TokenBody, WebhookBody
from firsthand.evaluation.codearena.service.paging import Paging, page_of
from firsthand.evaluation.codearena.service.schemas import (
    AccountView,
    Identified,
    IssuedView,
    Kind,
    Name,
    Page,
    TokenView,
    WebhookView,
)
from firsthand.evaluation.codearena.service.webhooks import Webhook
from firsthand.evaluation.codearena.store.accounts import Account, IssuedToken, TokenInfo

__all__ = ["router"]

router = APIRouter(prefix="/api")
TokenId = Annotated[str, Path(pattern="^[0-9a-f]{16}$")]
Anyone = Annotated[Caller, Depends(writes())]


# --- tokens ------------------------------------------------------------------------------------------


@router.post("/authentication/", status_code=201, tags=["authentication"])
def issue_token(request: Request, body: TokenBody, caller: Anyone) -> IssuedView:
    """Issue a token: for oneself with at most the scopes and the time that the caller's own token has, or, as an
    administrator, for anybody.
    """
    accounts = service_of(request).arena.accounts
    name = body.user or caller.known.account.name
    scopes, expires_at = body.scopes, body.expires_at
    if not caller.may("admin"):
        if name != caller.name:
            caller.known.require("admin")
        for scope in scopes or ():
            caller.known.require(scope)
        scopes = scopes or sorted(caller.known.scopes)
        for shown in accounts.tokens(name):
            if shown.id == caller.known.token_id and shown.expires_at is not None:
                expires_at = min(expires_at or shown.expires_at, shown.expires_at)
    return _issued(accounts.issue(name, scopes=scopes, label=body.label, expires_at=expires_at))


@router.get("/authentication/", tags=["authentication"])
def who_am_i(
    request: Request, caller: Annotated[Caller, Depends(allowed(*("generator", "curator", "reader")))]
) -> Identified:
    """The account and scopes of the token that was sent, and all tokens of the account."""
    known = caller.known
    return Identified(
        user=known.account.name,
        kind=known.account.kind,
        scopes=sorted(known.scopes),
        tokens=[_token(info) for info in service_of(request).arena.accounts.tokens(known.account.name)],
    )


@router.delete("/authentication/{token_id}/", tags=["authentication"])
def revoke_token(request: Request, token_id: TokenId, caller: Anyone) -> TokenView:
    """Revoke a token of one's own that may no more than the one that is shown, or, as an administrator, anybody's."""
    _check_no_stronger(request, caller, token_id)
    return _token(service_of(request).arena.accounts.revoke(token_id, of=_own(caller)))


@router.post("/authentication/{token_id}/regenerate/", status_code=201, tags=["authentication"])
def regenerate_token(request: Request, token_id: TokenId, caller: Anyone) -> IssuedView:
    """Revoke such a token and issue one with the same scopes in its place."""
    _check_no_stronger(request, caller, token_id)
    return _issued(service_of(request).arena.accounts.rotate(token_id, of=_own(caller)))


def _check_no_stronger(request: Request, caller: Caller, token_id: str) -> None:
    """Whoever finds a token that may little must not get what a stronger one of the same account opens."""
    if caller.may("admin"):
        return
    for found in service_of(request).arena.accounts.tokens(caller.known.account.name):
        if found.id == token_id:
            for scope in found.scopes:
                caller.known.require(scope)


def _own(caller: Caller) -> str | None:
    return None if caller.may("admin") else caller.known.account.name


# --- accounts ----------------------------------------------------------------------------------------


@router.post("/user/", status_code=201, tags=["user"])
def create_account(
    request: Request, body: AccountBody, caller: Annotated[Caller, Depends(writes("admin"))]
) -> AccountView:
    """Make an account."""
    accounts = service_of(request).arena.accounts
    return _account(accounts.create(body.name, body.kind, first_seen=body.first_seen))


@router.get("/user/", tags=["user"])
def list_accounts(
    request: Request, caller: AnyReader, paging: Paging, kind: Annotated[Kind | None, Query()] = None
) -> Page[AccountView]:
    """Accounts by name."""
    found, total = service_of(request).arena.accounts.page(
        kind=kind, offset=paging.offset, limit=paging.per_page
    )
    return page_of([_account(account) for account in found], total, paging)


@router.get("/user/{name}/", tags=["user"])
def get_account(request: Request, name: Annotated[Name, Path()], caller: AnyReader) -> AccountView:
    """One account."""
    return _account(service_of(request).arena.accounts.find(name))


# --- webhooks ----------------------------------------------------------------------------------------


@router.post("/webhook/", status_code=201, tags=["webhook"])
def add_webhook(request: Request, body: WebhookBody, caller: Anyone) -> WebhookView:
    """Have one's own judged submissions posted to a public address; the answer has the secret that signs them."""
    return _webhook(service_of(request).arena.webhooks.add(caller.known.account, body.url))


@router.get("/webhook/", tags=["webhook"])
def list_webhooks(
    request: Request, caller: Annotated[Caller, Depends(allowed("generator", "curator", "reader"))]
) -> list[WebhookView]:
    """One's own webhooks."""
    return [_webhook(found) for found in service_of(request).arena.webhooks.all(caller.known.account)]


@router.delete("/webhook/{number}/", status_code=204, tags=["webhook"], response_class=Response)
def remove_webhook(
    request: Request, number: Annotated[int, Path(ge=1, le=2**63 - 1)], caller: Anyone
) -> None:
    """Delete a webhook of one's own."""
    service_of(request).arena.webhooks.remove(caller.known.account, number)


def _account(account: Account) -> AccountView:
    return AccountView(
        name=account.name, kind=account.kind, first_seen=account.first_seen, created_at=account.created_at
    )


def _token(info: TokenInfo) -> TokenView:
    return TokenView(
        id=info.id,
        user=info.account,
        scopes=list(info.scopes),
        label=info.label,
        created_at=info.created_at,
        expires_at=info.expires_at,
        revoked_at=info.revoked_at,
    )


def _issued(issued: IssuedToken) -> IssuedView:
    return IssuedView(**_token(issued.info).model_dump(), token=issued.secret)


def _webhook(found: Webhook) -> WebhookView:
    return WebhookView(id=found.id, url=found.url, created_at=found.created_at, secret=found.secret)
