"""What every page has: its template, its headers, who looks at it, and the form that it was sent.

A page works without scripts, loads nothing from elsewhere and holds no inline script or style. Knows HTTP and
templates. Knows nothing of what the pages show.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import parse_qs, urlencode

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from firsthand.evaluation.codearena.errors import NotAuthorized
from firsthand.evaluation.codearena.grading.sandboxed import language_names
from firsthand.evaluation.codearena.pages import words
from firsthand.evaluation.codearena.pages.sessions import COOKIE, Session, Sessions
from firsthand.evaluation.codearena.refusals import InvalidRequest
from firsthand.evaluation.codearena.service.access import Caller, Service, read_by, service_of

if TYPE_CHECKING:
    import jinja2

__all__ = [
    "PAGE_HEADERS",
    "Form",
    "Paged",
    "Reader",
    "Viewer",
    "asset",
    "page",
    "paged",
    "redirect",
    "secure",
    "set_cookie",
    "shown_at",
    "viewer_of",
    "written_form",
]

PAGE_HEADERS = {
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
}
Handler = TypeVar("Handler", bound=Callable[..., Any])
_FOLDER = Path(__file__).parent
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_MOST_FIELDS = 60
_PER_PAGE = 50
_MOST_PAGES = 20_000


def shown_at(router: APIRouter, path: str) -> Callable[[Handler], Handler]:
    """Show a page at a path, also to those who only ask for its headers."""
    return router.api_route(path, methods=["GET", "HEAD"])


# --- who looks ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Viewer:
    """Who looks at a page: nobody in particular, or the account of the token that was shown."""

    caller: Caller
    session: Session | None

    @property
    def name(self) -> str | None:
        """Of the account."""
        return self.caller.name

    @property
    def submits(self) -> bool:
        """Whether the account takes part, with a token that may submit."""
        identity = self.caller.identity
        return (
            identity is not None
            and self.caller.may("generator")
            and identity.account.kind in ("llm", "human")
        )

    @property
    def form_secret(self) -> str:
        """What this viewer's forms carry."""
        return self.session.form_secret if self.session is not None else ""


def viewer_of(request: Request) -> Viewer:
    """Who looks, by the session's cookie; a token that opens nothing any more ends its session."""
    sessions: Sessions = request.app.state.sessions
    cookie = request.cookies.get(COOKIE, "")
    session = sessions.find(cookie) if cookie else None
    if session is None:
        return Viewer(Caller(None), None)
    try:
        return Viewer(Caller(service_of(request).arena.accounts.identify(session.token)), session)
    except NotAuthorized:
        sessions.close(cookie)
        return Viewer(Caller(None), None)


def reading(request: Request) -> Viewer:
    """Who looks at a page that everybody may read, or, without `public_reads`, everybody with a token."""
    viewer = viewer_of(request)
    read_by(request, viewer.caller)
    return viewer


Reader = Annotated[Viewer, Depends(reading)]


# --- what was sent -----------------------------------------------------------------------------------


async def written_form(request: Request) -> dict[str, str]:
    """The fields of a form, each once; raises `InvalidRequest` for anything else."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise InvalidRequest(
            f"a form is sent as application/x-www-form-urlencoded, got {kind[:80] or 'nothing'}"
        )
    body = await request.body()
    try:
        fields = parse_qs(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError as error:  # UnicodeDecodeError is one
        raise InvalidRequest("the form cannot be read: it is not UTF-8, or has too many fields") from error
    twice = [name for name, values in fields.items() if len(values) > 1]
    if twice:
        raise InvalidRequest(f"the form has the field {twice[0][:80]!r} twice")
    # Browsers end the lines of a text field as CR LF.
    return {name: values[0].replace("\r\n", "\n") for name, values in fields.items()}


Form = Annotated[dict[str, str], Depends(written_form)]


# --- what is answered --------------------------------------------------------------------------------


def page(
    request: Request,
    template: str,
    viewer: Viewer,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **shown: Any,
) -> HTMLResponse:
    """A page of a template. `here` says which entry of the navigation it belongs to."""
    text = _environment().get_template(template).render(viewer=viewer, path=request.url.path, **shown)
    found = {**PAGE_HEADERS, **(headers or {})}
    if viewer.session is not None:
        found["Cache-Control"] = "no-store"  # after logging out the way back shows nothing
    return HTMLResponse(text, status, found)


def redirect(target: str) -> RedirectResponse:
    """To another page of ours, after a form was taken."""
    return RedirectResponse(target, 303, PAGE_HEADERS)


def secure(request: Request) -> bool:
    """Whether the browser speaks HTTPS with us, or with a proxy that is believed."""
    service: Service = service_of(request)
    if request.client is not None and request.client.host in service.settings.proxies:
        return request.headers.get("x-forwarded-proto", request.url.scheme).lower() == "https"
    return request.url.scheme == "https"


def set_cookie(request: Request, answer: Response, name: str, value: str) -> None:
    """A cookie that scripts cannot read and other sites cannot send; it goes when the browser is closed."""
    answer.set_cookie(name, value, httponly=True, samesite="strict", secure=secure(request), path="/")


@cache
def _assets() -> dict[str, tuple[bytes, str, str]]:
    found = {}
    for file in sorted((_FOLDER / "static").iterdir()):
        if file.suffix in _TYPES:
            content = file.read_bytes()
            found[file.name] = (content, _TYPES[file.suffix], hashlib.sha256(content).hexdigest()[:16])
    return found


def asset(request: Request, name: str) -> Response | None:
    """A file of the pages; None where there is none. Its address changes with its content, so it may be kept."""
    if name not in _assets():
        return None
    content, kind, version = _assets()[name]
    newest = request.query_params.get("v") == version
    headers = {
        **PAGE_HEADERS,
        "Cache-Control": "public, max-age=31536000, immutable" if newest else "no-cache",
        "ETag": f'"{version}"',
    }
    if f'"{version}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=kind)


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(
        points=words.points_text,
        percent=words.percent,
        ms=words.milliseconds,
        kib=words.bytes_text,
        day=words.day_text,
        moment=words.moment_text,
        language=lambda slug: language_names().get(slug, (slug,))[0],
        kind=lambda kind: words.KINDS.get(kind, kind),
    )
    environment.globals.update(
        said_of=words.said_of, asset=lambda name: f"/static/{name}?v={_assets()[name][2]}"
    )
    return environment


# --- pages of lists ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Paged:
    """Which page of a list is shown, and the addresses of those beside it."""

    number: int
    per_page: int
    total: int
    path: str
    filters: Mapping[str, str]

    @property
    def offset(self) -> int:
        """How many items come before it."""
        return (self.number - 1) * self.per_page

    @property
    def pages(self) -> int:
        """How many there are, at least one."""
        return max(1, -(-self.total // self.per_page))

    def link(self, number: int) -> str:
        """The address of a page."""
        query = {**self.filters, "page": str(number)} if number > 1 else dict(self.filters)
        return f"{self.path}?{urlencode(query)}" if query else self.path


def paged(number: str, total: int, path: str, filters: Mapping[str, str | None]) -> Paged:
    """The page that a query names; raises `InvalidRequest` where it is no number."""
    if not (number.isascii() and number.isdigit() and 1 <= int(number[:9]) <= _MOST_PAGES):
        raise InvalidRequest(f"page is a number from 1 to {_MOST_PAGES}, got {number[:40]!r}")
    kept = {name: value for name, value in filters.items() if value}
    return Paged(int(number), _PER_PAGE, total, path, kept)
