"""Stands before the MLflow server: when somebody moves an alias, the flow `package` runs at once.

So the schedule of `package` can be a slow one, and its runs that find nothing to do do not bury the others.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.local import prefect_api
from ferops.local.state import recorded

ALIAS = "/mlflow/registered-models/alias"
"""The end of the REST path that sets (POST) and removes (DELETE) an alias, for clients and for the UI."""

log = logging.getLogger("uvicorn.error")


class Announce:
    """ASGI middleware that calls `then`, in a thread, after an alias has been moved."""

    def __init__(self, app: ASGIApp, then: Callable[[], None]) -> None:
        self._app = app
        self._then = then

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        moves = scope["type"] == "http" and scope["method"] in ("POST", "DELETE") and scope["path"].endswith(ALIAS)
        if not moves:
            await self._app(scope, receive, send)
            return
        status = 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await self._app(scope, receive, note)
        if status < 300:
            threading.Thread(target=self._then, daemon=True).start()


def run_package(layout: Layout) -> None:
    """Start the flow `package` on the stack of `layout`; if that fails, its schedule makes up for it."""
    state = recorded(layout)
    if state is None:
        log.warning("an alias was moved, but no stack is recorded that could run package")
        return
    wanted = {"flows": {"name": {"any_": ["package"]}}, "deployments": {"name": {"any_": ["local"]}}}
    try:
        for deployment in prefect_api.ask(layout, state.ports, "deployments/filter", wanted):
            prefect_api.ask(layout, state.ports, f"deployments/{deployment['id']}/create_flow_run", {})
    except FeropsError as error:
        log.warning("an alias was moved; package waits for its schedule, since it could not be started: %s", error)
