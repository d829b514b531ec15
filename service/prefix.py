"""The service below a path, behind a proxy that passes the path on as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class Prefix:
    """Serves `/PREFIX/...` as `/...`. Paths without the prefix are served as well: some proxies take it off.

    The page's addresses are relative, so its own path must end with a slash: `/PREFIX` is redirected.

    Args:
        root_path: such as `/ferops`; empty for none.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if self._root_path:
            if path == self._root_path and scope["type"] == "http":
                await RedirectResponse(f"{path}/")(scope, receive, send)
                return
            if path.startswith(f"{self._root_path}/"):
                raw = scope["raw_path"].removeprefix(self._root_path.encode())
                scope = {**scope, "path": path.removeprefix(self._root_path), "raw_path": raw}
        await self._app(scope, receive, send)
