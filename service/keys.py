"""Who may use the service: whoever brings an API key, where the operator has named a file of their hashes."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from ferops.api_keys import ENVIRONMENT, owner, read_keys
from ferops.errors import FeropsError
from service.guard import refuse
from service.refusals import Refusal
from service.uploads import CLIENT, Incoming

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send

PATHS = frozenset({"/predict", "/predict/batch", "/stream", "/metrics"})
"""What needs a key. The page, /info, /docs.json and the probes need none."""

PROTOCOL, PROTOCOL_KEY = "ferops", "key."
"""A browser sends no header with a WebSocket, but subprotocols: the one that is spoken, and the key behind `key.`."""

_SWALLOWED = 100_000_000  # bytes that a client may still send after its refusal, as of a batch

log = logging.getLogger("bentoml.ferops")


class Keys:
    """The keys of a file, which is read again when it changes; while it cannot be read, nobody gets in."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._keys: dict[str, str] = {}
        self._version: tuple[int, int] | None = None

    def require(self) -> None:
        """Raise a FeropsError that says what to do if the file cannot be read."""
        read_keys(self._file)

    def owner(self, key: str) -> str | None:
        """Return the name of the key; None for a wrong one."""
        if (version := self._stamp()) != self._version:
            self._version = version
            try:
                self._keys = read_keys(self._file)
            except FeropsError as error:
                self._keys = {}
                log.error("%s", error)  # noqa: TRY400 # the message says it all
        return owner(self._keys, key)

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino


class Door:
    """ASGI middleware: lets requests to PATHS in that bring a key, and says whose it is; without `keys`, all."""

    def __init__(self, app: ASGIApp, *, keys: Keys | None, on_refusal: Callable[[str], None]) -> None:
        self._app = app
        self._keys = keys
        self._on_refusal = on_refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._keys is None or scope["type"] == "lifespan" or scope["path"] not in PATHS:
            await self._app(scope, receive, send)
            return
        key = key_of(scope)
        name = self._keys.owner(key) if key else None
        if name is not None:
            await self._app({**scope, CLIENT: f"key {name}"}, receive, send)
            return
        if key:
            refusal = Refusal("wrong_key", "The API key is wrong, or was revoked.")
        else:
            refusal = Refusal("no_key", "This service needs an API key: -H 'Authorization: Bearer KEY'.")
        self._on_refusal(refusal.code)
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # before it is open: 403
        else:
            await refuse(refusal, Incoming(receive), scope, send, at_most=_SWALLOWED)


def key_of(scope: Scope) -> str:
    """Return the key that a request brings; empty for none."""
    scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    offered = [each for each in scope.get("subprotocols", ()) if each.startswith(PROTOCOL_KEY)]
    return offered[0].removeprefix(PROTOCOL_KEY) if offered else ""


def keys_of(file: str | None) -> Keys | None:
    """Return the keys that the environment or the Bento's setting `file` names; None where neither does."""
    from pathlib import Path

    named = os.environ.get(ENVIRONMENT) or file
    return Keys(Path(named)) if named else None
