"""The OpenAPI page lists what the service really answers; paths that do not exist cost nothing."""

from __future__ import annotations

import ast
import asyncio
import json
import re
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
from service.known import Known
from service.openapi import document
from service.refusals import CODES, NOT_OF_UPLOADS
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from answers import release
from ferops.config import Params

SERVICE = Path(__file__).parents[2] / "service"


def raised() -> set[str]:
    """The codes of all refusals in the source; a code that is not written out there is refused."""
    found = set()
    for file in SERVICE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Refusal", "self._refuse"):
                code = node.args[0]
                if isinstance(code, ast.Constant):
                    found.add(code.value)
                else:
                    assert ast.unparse(code) in ("code", "refusal"), ast.unparse(node)  # handed on from such a call
    return found


def test_every_refusal_of_the_source_is_known_and_no_other() -> None:
    assert raised() == set(CODES)


@pytest.fixture(scope="module")
def written(quick_params: Params) -> dict[str, Any]:
    return document(release(quick_params.serve))


def test_every_status_is_described_with_its_codes(written: dict[str, Any]) -> None:
    for path in ("/predict", "/predict/batch"):
        responses = written["paths"][path]["post"]["responses"]
        codes = {code: status for code, status in CODES.items() if code not in NOT_OF_UPLOADS}
        assert {int(status) for status in responses} == {200, *codes.values()}
        for code, status in codes.items():
            assert code in responses[str(status)]["description"]
            assert HTTPStatus(status)
            assert ("headers" in responses[str(status)]) == (status in (429, 503))


def test_every_reference_leads_somewhere(written: dict[str, Any]) -> None:
    schemas = written["components"]["schemas"]
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(written)))
    assert {"Answer", "BatchAnswer", "Info", "Refusal"} <= references <= set(schemas)


def test_the_document_is_about_ferops_alone(written: dict[str, Any]) -> None:
    assert written["info"]["version"] == "v3"
    assert "bentoml" not in json.dumps(written).lower()


def test_whoever_may_try_again_learns_when() -> None:
    """Each refusal with 429 or 503 gives `retry_after_s`."""
    for file in SERVICE.glob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(call, ast.Call) and ast.unparse(call.func) == "Refusal"):
                continue
            code = getattr(call.args[0], "value", "queue_full")  # handed on: one that needs it
            given = {keyword.arg for keyword in call.keywords}
            assert CODES[code] not in (429, 503) or "retry_after_s" in given, ast.unparse(call)


def ask(path: str, method: str = "GET", **headers: bytes) -> httpx.Response:
    async def fine(_: Any) -> PlainTextResponse:
        return PlainTextResponse("fine")

    routes = [
        Route("/", fine),
        Route("/info", fine),
        WebSocketRoute("/stream", fine),
        Mount("/page", StaticFiles(directory=SERVICE / "page")),
    ]
    known = Known(Starlette(routes=routes), routes)

    async def go() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(known), base_url="http://test") as client:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.request(method, path, headers=named)

    return asyncio.run(go())


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/info", 200),
        ("/info/", 307),
        ("/page/app.js", 200),
        ("/page/none.js", 404),
        ("/x", 404),
        ("/stream", 426),
    ],
)
def test_paths_that_exist_are_let_through(path: str, status: int) -> None:
    assert ask(path).status_code == status


def test_a_websocket_that_is_asked_for_as_a_page_says_what_it_is() -> None:
    asked, posted = ask("/stream"), ask("/stream", method="POST")
    assert (asked.json()["code"], asked.headers["upgrade"]) == ("not_a_websocket", "websocket")
    assert (posted.status_code, posted.headers["allow"]) == (405, "GET")


def test_a_header_that_the_log_cannot_write_is_refused() -> None:
    response = ask("/", content_type=b"caf\xe9")
    assert (response.status_code, response.json()["code"]) == (400, "bad_header")


@pytest.mark.parametrize(("path", "sent"), [("/stream", ["websocket.accept"]), ("/random", ["websocket.close"])])
def test_a_websocket_elsewhere_is_closed_before_anybody_counts_it(path: str, sent: list[str]) -> None:
    async def accept(_: Any, __: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

    async def never() -> Any:
        raise AssertionError("nothing was to be read")

    seen: list[Any] = []

    async def send(message: Any) -> None:
        seen.append(message["type"])

    known = Known(accept, [WebSocketRoute("/stream", accept)])
    asyncio.run(known({"type": "websocket", "path": path}, never, send))
    assert seen == sent
