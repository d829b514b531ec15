"""An alias that is moved starts the flow `package`; nothing else does."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.responses import Response

from ferops.layout import Layout
from ferops.local import announce, prefect_api
from ferops.local.announce import ALIAS, Announce


@pytest.mark.parametrize(
    ("method", "path", "status", "calls"),
    [
        ("POST", f"/ajax-api/2.0{ALIAS}", 200, 1),
        ("DELETE", f"/api/2.0{ALIAS}", 200, 1),
        ("POST", f"/api/2.0{ALIAS}", 403, 0),
        ("GET", f"/api/2.0{ALIAS}", 200, 0),
        ("POST", "/api/2.0/mlflow/registered-models/get", 200, 0),
    ],
)
def test_only_a_moved_alias_is_announced(method: str, path: str, status: int, calls: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await Response(status_code=status)(scope, receive, send)

    called = threading.Semaphore(0)

    async def ask() -> int:
        transport = httpx.ASGITransport(Announce(app, called.release))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.request(method, path)).status_code

    assert asyncio.run(ask()) == status
    assert called.acquire(timeout=5 if calls else 0.05) is bool(calls)


def test_mlflow_moves_aliases_at_this_path() -> None:
    from mlflow.server.handlers import get_endpoints

    moving = {
        method for path, _, methods in get_endpoints() for method in methods if path.endswith(ALIAS) and method != "GET"
    }
    assert moving == {"POST", "DELETE"}


def test_package_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(_layout: Layout, _ports: object, path: str, _body: object) -> list[dict[str, str]]:
        asked.append(path)
        return [{"id": "17"}]

    announce.run_package(Layout(tmp_path))  # no stack: only said
    monkeypatch.setattr(announce, "recorded", lambda _layout: SimpleNamespace(ports=None))
    monkeypatch.setattr(prefect_api, "ask", ask)
    announce.run_package(Layout(tmp_path))
    assert asked == ["deployments/filter", "deployments/17/create_flow_run"]
