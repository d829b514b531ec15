"""The web page at /, what it needs, and GET /info; all of it in memory, so that it outlives the Bento's folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ferops.inference.answer import Info

if TYPE_CHECKING:
    from starlette.requests import Request

PAGE = Path(__file__).parent / "page"
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

# The page loads nothing from other hosts and sends images nowhere else; browsers enforce it
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src blob:; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}


def web(info: Info) -> Starlette:
    """Return the ASGI app of the page; `info` is the answer of GET /info."""

    async def show_info(_: Request) -> Response:
        return JSONResponse(info.as_json())

    routes = [Route("/info", show_info, methods=["GET"])]
    for file in sorted(PAGE.iterdir()):
        path = "/" if file.name == "index.html" else f"/page/{file.name}"
        routes.append(Route(path, _file(file), methods=["GET"]))
    return Starlette(routes=routes)


def _file(file: Path) -> Any:
    content = file.read_bytes()

    async def show(_: Request) -> Response:
        return Response(content, media_type=MEDIA_TYPES[file.suffix], headers=HEADERS)

    return show
