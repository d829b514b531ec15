"""The service with API keys: who gets in, and as whom."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from service.keys import Door, Keys, keys_of
from service.uploads import client_of
from starlette.responses import PlainTextResponse

from ferops.api_keys import ENVIRONMENT, add_key
from ferops.errors import FeropsError


class Service:
    """The door before an app that answers with the client it sees."""

    def __init__(self, keys: Keys | None) -> None:
        self.refused: list[str] = []
        self.door = Door(self.app, keys=keys, on_refusal=self.refused.append)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept", "client": client_of(scope)})
        else:
            await PlainTextResponse(client_of(scope))(scope, receive, send)

    def ask(self, path: str, **arguments: Any) -> httpx.Response:
        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(self.door)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.post(path, **arguments)

        return asyncio.run(go())

    def open(self, *subprotocols: str) -> Any:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": "/stream", "headers": [], "subprotocols": subprotocols}
        asyncio.run(self.door(scope, send, send))  # type: ignore[arg-type] # nothing is received
        return sent[0]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.txt"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_each_key_is_a_client_of_its_own(file: Path) -> None:
    keys = {name: add_key(file, name) for name in ("one", "two")}
    service = Service(Keys(file))
    for name, key in keys.items():
        assert service.ask("/predict", headers=bearer(key)).text == f"key {name}"
        assert service.open("ferops", f"key.{key}") == {"type": "websocket.accept", "client": f"key {name}"}
    assert service.refused == []


def test_without_a_key_or_with_a_wrong_one_nothing_is_served(file: Path) -> None:
    key = add_key(file, "one")
    service = Service(Keys(file))
    for headers, code in (
        ({}, "no_key"),
        (bearer(""), "no_key"),
        ({"Authorization": f"Basic {key}"}, "no_key"),
        (bearer(key[:-1]), "wrong_key"),
        ({"Authorization": b"Bearer caf\xe9"}, "wrong_key"),
    ):
        for path in ("/predict", "/predict/batch", "/metrics"):
            response = service.ask(path, headers=headers, content=b"0" * 1000)
            assert (response.status_code, response.json()["code"]) == (401, code)
            assert response.headers["www-authenticate"] == "Bearer"
    assert service.open("ferops", "key.wrong") == {"type": "websocket.close", "code": 1008}
    assert service.open() == {"type": "websocket.close", "code": 1008}


def test_the_page_and_the_probes_need_no_key(file: Path) -> None:
    add_key(file, "one")
    service = Service(Keys(file))
    assert {service.ask(path).status_code for path in ("/", "/info", "/readyz", "/docs.json")} == {200}


def test_a_key_is_made_and_revoked_while_the_service_runs(file: Path) -> None:
    first = add_key(file, "one")
    keys = Keys(file)
    second = add_key(file, "two")
    assert (keys.owner(first), keys.owner(second)) == ("one", "two")
    file.write_text("".join(line for line in file.read_text().splitlines(keepends=True) if not line.startswith("one")))
    assert (keys.owner(first), keys.owner(second)) == (None, "two")
    file.unlink()
    assert keys.owner(second) is None  # nobody gets in


def test_keys_are_asked_for_where_environment_or_setting_say_so(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    assert keys_of(None) is None
    assert Service(None).ask("/predict").text == "127.0.0.1"
    keys = keys_of(str(file))
    assert keys is not None
    assert keys.owner("") is None
    with pytest.raises(FeropsError, match="cannot be read"):
        keys.require()
    add_key(file, "one")
    assert keys_of(str(file)) is not None
    monkeypatch.setenv(ENVIRONMENT, str(file))
    assert keys_of(None) is not None
