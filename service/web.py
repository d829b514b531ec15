"""The web page at /, what it needs, GET /info and /docs.json; in memory, so that it outlives the Bento's folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from ferops.inference.answer import Info
from ferops.markup import markup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.websockets import WebSocket

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


def web(
    info: Callable[[], Info], *, docs: Callable[[], dict[str, Any]], stream: Callable[[WebSocket], Awaitable[None]]
) -> Starlette:
    """Return the ASGI app of the page; `info` and `docs` return the answers of GET /info and /docs.json.

    Args:
        stream: serves WS /stream.
    """

    async def show_info(_: Request) -> Response:
        return JSONResponse(info().as_json())

    async def show_docs(_: Request) -> Response:
        return JSONResponse(docs())

    routes: list[BaseRoute] = [
        Route("/info", show_info, methods=["GET"]),
        Route("/docs.json", show_docs, methods=["GET"]),
        WebSocketRoute("/stream", stream),
    ]
    for file in sorted(PAGE.iterdir()):
        path = "/" if file.name == "index.html" else f"/page/{file.name}"
        routes.append(Route(path, _file(file), methods=["GET"]))
    return Starlette(routes=routes)


def _file(file: Path) -> Any:
    content = file.read_bytes()
    if file.name == "index.html":
        content = markup(content.decode(), "service").encode()

    async def show(_: Request) -> Response:
        return Response(content, media_type=MEDIA_TYPES[file.suffix], headers=HEADERS)

    return show
