"""What stands before the local servers: it lets nothing in that a page of another origin sends, nor a rebound name.

Prefect checks neither Host nor Origin and reads any body as JSON; MLflow takes any page on this machine for its own,
and `10.evil.example` for a private address. Who is asked for a login is the server's matter, unless `login` is given.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ferops.local.access import basic
from ferops.local.ports import HOST

PROBES = ("/health", "/api/health", "/api/ready")
"""What answers without a login: whether the server is up, and no more."""

_FORMS = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data")
"""The bodies that a browser sends to another origin without asking that origin first."""


def own_origins(port: int) -> list[str]:
    """Return the origins under which a browser on this machine reaches `port`."""
    return [f"http://{HOST}:{port}", f"http://localhost:{port}"]


class Guard:
    """ASGI middleware that refuses requests and websockets of other origins (403) and those without the login (401).

    Args:
        app: the server.
        port: on which it listens on this machine.
        origins: further origins that may use it (`https://host[:port]`), such as that of a reverse proxy.
        login: `user:password` that every request must bring, except to PROBES; None if the app asks for its own.
    """

    def __init__(self, app: ASGIApp, *, port: int, origins: Iterable[str] = (), login: str | None = None) -> None:
        self.app = app
        self.origins = {*own_origins(port), *origins}
        self.hosts = {urlsplit(origin).netloc for origin in self.origins}
        self.authorization = basic(login) if login else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope, Headers(scope=scope))
        if refusal is None:
            await self.app(scope, receive, _unframed(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> PlainTextResponse | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if host not in self.hosts:
            return _forbidden(f"Host {host!r} is not one of this server's: {', '.join(sorted(self.hosts))}")
        if origin is not None and origin not in self.origins:
            return _forbidden("Pages of another origin may not use this server")
        # Without Origin: a link that a person follows is fine, an image, script or frame in another page is not
        embedded = headers.get("sec-fetch-dest") not in (None, "document")
        if origin is None and embedded and headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            return _forbidden("Pages of another origin may not use this server")
        form = headers.get("content-type", "").partition(";")[0].strip().lower() in _FORMS
        if form and scope.get("method") != "PUT":  # for a PUT a browser asks first; MLflow's artifacts come so
            return PlainTextResponse("Send JSON", status_code=HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        if self.authorization and scope["path"] not in PROBES:
            given = headers.get("authorization", "").encode()
            if not hmac.compare_digest(given, self.authorization.encode()):
                return PlainTextResponse(
                    "This server wants a login; `ferops env`, in the project's folder, prints it",
                    status_code=HTTPStatus.UNAUTHORIZED,
                    headers={"WWW-Authenticate": 'Basic realm="MLflow of this ferops project"'},
                )
        return None


def _forbidden(reason: str) -> PlainTextResponse:
    return PlainTextResponse(reason, status_code=HTTPStatus.FORBIDDEN)


def _unframed(send: Send) -> Send:
    """No page may show the server in a frame and let a person click there without knowing."""

    async def with_header(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["X-Frame-Options"] = "SAMEORIGIN"
        await send(message)

    return with_header
