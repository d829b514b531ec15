"""The paths that exist. Others are answered before BentoML sees them: its counters would keep each one for ever."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse
from starlette.routing import Mount, WebSocketRoute
from starlette.staticfiles import StaticFiles

from service.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger("bentoml.access")


class Known:
    """Answers what no route of `app` does: 404 to other paths, 426 to one of a WebSocket that is asked for as a page,
    400 to headers that BentoML's log cannot write."""

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        routes = list(routes)
        self._paths = frozenset(_paths(routes))
        self._sockets = frozenset(route.path for route in routes if isinstance(route, WebSocketRoute))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and scope["path"] not in self._sockets:
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] in self._sockets:
            await self._answer(_no_socket(scope), scope, receive, send)
        elif scope["path"] not in self._paths and scope["path"].removesuffix("/") not in self._paths:
            refusal = Refusal("no_such_path", "There is no such path. See /docs.json.")
            await self._answer(refusal.response(), scope, receive, send)
        elif not all(value.isascii() for name, value in scope["headers"] if name.startswith(b"content-")):
            refusal = Refusal("bad_header", "The headers Content-... may hold ASCII characters only.")
            await self._answer(refusal.response(), scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _answer(self, response: Response, scope: Scope, receive: Receive, send: Send) -> None:
        client = ":".join(map(str, scope["client"] or "_"))
        log.info("%s (method=%s,path=%s) (status=%d)", client, scope["method"], scope["path"], response.status_code)
        await response(scope, receive, send)


def _no_socket(scope: Scope) -> Response:
    if scope["method"] != "GET":
        return PlainTextResponse("Method Not Allowed", 405, {"allow": "GET"})  # as Starlette says it of other paths
    return Refusal("not_a_websocket", f"{scope['path']} is a WebSocket. Open it as one: ws:// or wss://.").response()


def _paths(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[str]:
    for route in routes:
        path = prefix + getattr(route, "path", "")
        if isinstance(route, WebSocketRoute):
            continue
        if not isinstance(route, Mount):
            yield path
        elif isinstance(route.app, StaticFiles):
            for folder in route.app.all_directories:
                yield from (f"{path}/{file.relative_to(folder)}" for file in Path(folder).rglob("*") if file.is_file())
        else:
            yield from _paths(route.routes, path)
