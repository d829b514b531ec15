"""The guard before the local servers: who gets in, by the headers that browsers and clients send."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from ferops.local.guard import Guard, own_origins

OWN = "http://127.0.0.1:4200"
PROXY = "https://mlops.example.org"


async def _hello(_request: object) -> PlainTextResponse:
    return PlainTextResponse("hello", headers={"X-Frame-Options": "ALLOWALL"})


async def _socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.close()


def client(*, login: str | None = None, origins: tuple[str, ...] = ()) -> TestClient:
    routes = [Route("/{path:path}", _hello, methods=["GET", "POST", "PUT"]), WebSocketRoute("/events", _socket)]
    guarded = Guard(Starlette(routes=routes), port=4200, origins=origins, login=login)
    return TestClient(guarded, base_url=OWN)


def test_clients_and_the_own_page_get_in() -> None:
    with client() as own:
        assert own.get("/").text == "hello"
        assert own.post("/flows", json={}).status_code == 200
        for origin in own_origins(4200):
            # The page of localhost asks the API at 127.0.0.1, which is another site to a browser
            page = {"Origin": origin, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "empty"}
            assert own.post("/flows", json={}, headers=page).status_code == 200
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate"}
        assert own.get("/runs", headers=link).status_code == 200
        assert own.get("/").headers["X-Frame-Options"] == "SAMEORIGIN"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),  # a sandboxed frame, a file, a redirect
        ({"Origin": "https://127.0.0.1:4200"}, 403),
        ({"Origin": "http://localhost:3000"}, 403),  # another program on this machine
        ({"Origin": f"{OWN}.evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "iframe"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "image"}, 403),
        ({"Host": "evil.example:4200"}, 403),  # its name points here: DNS rebinding
        ({"Host": "evil.example:4200", "Origin": "http://evil.example:4200"}, 403),
        ({"Host": "10.evil.example"}, 403),
        ({"Host": "127.0.0.1:4200@evil.example"}, 403),
        ({"Host": "0.0.0.0:4200"}, 403),
        ({"Host": ""}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "Text/Plain; charset=utf-8"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
    ],
)
def test_what_another_origin_can_send_is_refused(headers: dict[str, str], status: int) -> None:
    with client() as own:
        for method in ("GET", "POST"):
            reply = own.request(method, "/flows", content=b"{}", headers=headers)
            assert reply.status_code == status, reply.text
            assert "access-control-allow-origin" not in reply.headers


def test_an_artifact_comes_by_put_which_a_page_of_another_origin_cannot_send() -> None:
    """MLflow's clients put a text file as text/plain; a browser asks first (OPTIONS), and hears no yes."""
    with client() as own:
        text = {"Content-Type": "text/plain"}
        assert own.put("/artifacts/card.md", content=b"card", headers=text).status_code == 200
        assert own.post("/artifacts/card.md", content=b"card", headers=text).status_code == 415
        evil = {"Origin": "http://evil.example"}
        assert own.put("/artifacts/card.md", content=b"card", headers=text | evil).status_code == 403
        asks = evil | {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
        reply = own.options("/artifacts/card.md", headers=asks)
        assert reply.status_code == 403
        assert not [name for name in reply.headers if name.startswith("access-control-allow")]


def test_an_origin_that_the_operator_allows_gets_in() -> None:
    with client(origins=(PROXY,)) as own:
        assert own.post("/", json={}, headers={"Origin": PROXY, "Host": "mlops.example.org"}).status_code == 200
        assert own.post("/", json={}, headers={"Origin": "https://evil.example"}).status_code == 403


def test_websockets_are_guarded_too() -> None:
    with client() as own:
        here = {"Host": "127.0.0.1:4200"}
        with own.websocket_connect("/events", headers=here | {"Origin": OWN}) as websocket:
            assert websocket.receive_text() == "hello"
        for headers in (here | {"Origin": "http://evil.example"}, {"Host": "evil.example:4200"}):
            with pytest.raises(WebSocketDisconnect), own.websocket_connect("/events", headers=headers):
                pass


def test_a_login_is_asked_for_everything_but_the_health() -> None:
    with client(login="ferops:secret") as own:
        assert own.get("/health").status_code == 200
        for path in (
            "/",
            "/api/2.0/mlflow/runs/search",
            "/static-files/index.html",
            "/health/",
            "//health",
            "/metrics",
        ):
            reply = own.get(path)
            assert reply.status_code == 401, path
            assert reply.headers["WWW-Authenticate"].startswith("Basic ")  # a browser asks for it then
        assert own.get("/", auth=("ferops", "secret")).text == "hello"
        for wrong in ("ferops:Secret", "ferops:", ":secret", "admin:secret"):
            assert own.get("/", auth=tuple(wrong.split(":"))).status_code == 401
        assert own.get("/", headers={"Authorization": b"Basic \xff\xfe"}).status_code == 401
