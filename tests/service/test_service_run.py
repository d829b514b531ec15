"""Connections of the server: their number, their heads, and those that send nothing."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from threading import Thread

import pytest
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from service import run

HEAD = b"POST / HTTP/1.1\r\nHost: here\r\n"


async def length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(run, "HEAD_S", 0.5)
    monkeypatch.setattr(run, "MAX_CONNECTIONS_PER_CLIENT", 3)
    app = Starlette(routes=[Route("/", length, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, http=run.connection(), forwarded_allow_ips=[], log_config=None))
    listener = run.listen("127.0.0.1", 0)
    thread = Thread(target=lambda: uvloop.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(timeout=20)
    listener.close()


def sent(port: int, *parts: bytes) -> bytes:
    """Send the parts, and return what the server says until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except OSError:  # it was closed meanwhile
                break
        said = b""
        try:
            while more := connection.recv(65536):
                said += more
        except ConnectionResetError:  # the rest was never read
            pass
        return said


def test_a_request_is_answered_and_an_idle_connection_closed(port: int) -> None:
    begun = time.monotonic()
    said = sent(port, HEAD + b"Content-Length: 5\r\n\r\n12345")
    assert said.startswith(b"HTTP/1.1 200 OK")
    assert said.endswith(b"\r\n\r\n5")
    assert time.monotonic() - begun >= 0.4
    assert sent(port) == b"", "and one that sends nothing at all"


def test_requests_in_a_row_and_in_chunks(port: int) -> None:
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"2\r\nab\r\n" * 30_000 + b"0\r\n\r\n"
    said = sent(port, chunked + HEAD + b"Content-Length: 3\r\n\r\nabc", HEAD + b"Content-Length: 0\r\n\r\n")
    assert said.count(b"HTTP/1.1 200 OK") == 3
    assert b"\r\n\r\n60000HTTP" in said


@pytest.mark.parametrize(
    "begin",
    [
        b"POST /",
        HEAD + b"X-Long: ",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Trailer: ",
    ],
    ids=["path", "header", "trailer"],
)
def test_an_endless_head_is_refused(port: int, begin: bytes) -> None:
    said = sent(port, begin, *[b"x" * 60_000] * 40)
    assert said.startswith(b"HTTP/1.1 431 ")
    assert json.loads(said.partition(b"\r\n\r\n")[2])["code"] == "head_too_large"


def test_many_headers_are_refused_too(port: int) -> None:
    said = sent(port, HEAD, *[b"".join(b"X-%d: y\r\n" % (100 * i + j) for j in range(100)) for i in range(400)])
    assert said.startswith(b"HTTP/1.1 431 ")


def test_a_client_has_so_many_connections(port: int) -> None:
    held = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(3)]
    try:
        said = sent(port)
    finally:
        for each in held:
            each.close()
    assert said.startswith(b"HTTP/1.1 429 ")
    assert b"retry-after: 1" in said
    assert json.loads(said.partition(b"\r\n\r\n")[2])["code"] == "too_many_connections"
