"""A page's files, served from inside a package, under a policy that lets nothing else into the page.

Knows file types, caching and the headers of a page that needs no network. Knows nothing of what the page does.
"""

from __future__ import annotations

import hashlib
import importlib.resources
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from firsthand.errors import InputError
from firsthand.serve.shell import require

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

__all__ = ["PAGE_HEADERS", "page_routes"]

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}

# Scripts and styles are files of the page itself; nothing inline, nothing from elsewhere, no frame around it.
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def page_routes(package: str, folder: str = "static") -> list[Route]:
    """Routes of a page: `/` gives `index.html` of the package's folder, `/static/NAME` its other files.

    Every answer carries `PAGE_HEADERS` and an ETag. A browser asks each time whether its copy is the newest: after an
    upgrade no page runs with half of the old one. Raises `InputError` where the folder has no index.html.
    """
    require("starlette")
    from starlette.exceptions import HTTPException
    from starlette.responses import Response
    from starlette.routing import Route

    place = importlib.resources.files(package) / folder
    files: dict[str, tuple[bytes, str]] = {}
    for entry in place.iterdir() if place.is_dir() else ():
        kind = _TYPES.get(PurePosixPath(entry.name).suffix)
        if kind is not None and entry.is_file():
            files[entry.name] = (entry.read_bytes(), kind)
    if "index.html" not in files:
        raise InputError(f"{package}/{folder} has no index.html: the page was not built")
    tags = {name: f'"{hashlib.sha256(content).hexdigest()[:32]}"' for name, (content, _) in files.items()}

    def answer(request: Any, name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        content, kind = files[name]
        headers = {**PAGE_HEADERS, "Cache-Control": "no-cache", "ETag": tags[name]}
        if tags[name] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=kind)

    async def index(request: Request) -> Response:
        return answer(request, "index.html")

    async def asset(request: Request) -> Response:
        return answer(request, request.path_params["name"])

    return [Route("/", index), Route("/static/{name}", asset)]
