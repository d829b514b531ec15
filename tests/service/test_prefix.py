"""The service behind a proxy that keeps the path, or takes the prefix off."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from service.prefix import Prefix
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route


def ask(root_path: str, path: str) -> httpx.Response:
    async def info(request: Any) -> PlainTextResponse:
        return PlainTextResponse(f"{request.scope['path']} {request.scope['raw_path'].decode()} {request.url.query}")

    app = Prefix(Starlette(routes=[Route("/", info), Route("/info", info)]), root_path)

    async def go() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.get(path)

    return asyncio.run(go())


@pytest.mark.parametrize(
    ("root_path", "path"),
    [("", "/info"), ("/a", "/info"), ("/a", "/a/info"), ("/a/b", "/a/b/info"), ("/info", "/info/info")],
)
def test_a_path_is_found_with_its_prefix_and_without(root_path: str, path: str) -> None:
    assert ask(root_path, f"{path}?x=1").text == "/info /info x=1"


@pytest.mark.parametrize(("root_path", "path"), [("/a", "/ab/info"), ("/a", "/b/info"), ("", "/a/info")])
def test_another_prefix_is_no_path(root_path: str, path: str) -> None:
    assert ask(root_path, path).status_code == 404


def test_the_page_without_its_slash_is_redirected_to_it() -> None:
    response = ask("/a", "/a")
    assert (response.status_code, response.headers["location"]) == (307, "/a/")
    assert ask("/a", "/a/").text.startswith("/ / ")
