"""A web page in the operator's browser cannot use the local servers: shown with Chromium, and with what it sends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from browser import CHROMIUM, browser, log_in
from ferops.local import access, processes
from ferops.registry.connection import connect
from sockets import free_port
from stacks import Running, ask

pytestmark = pytest.mark.slow
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")

# With each body that a page can send: as text, without a type (which Prefect takes for JSON), and as JSON after asking
ORDER_A_RUN = """(async (base) => {
  const post = async (path, value) => {
    const text = JSON.stringify(value);
    const said = [];
    const bodies = [
      [text, {"Content-Type": "text/plain"}], [new Blob([text]), {}], [text, {"Content-Type": "application/json"}]];
    for (const [body, headers] of bodies) try {
      const reply = await fetch(base + path, {method: "POST", headers, body});
      said.push(reply.status);
      if (reply.ok) return reply.json();
    } catch (error) { said.push(String(error)); }
    throw said;
  };
  try {
    const flow = await post("/api/flows/", {name: "evil"});
    const deployment = await post("/api/deployments/", {
      name: "evil", flow_id: flow.id, work_pool_name: "local", entrypoint: "flows/package.py:package", path: "/tmp",
      job_variables: {command: "touch owned"}});
    const run = await post(`/api/deployments/${deployment.id}/create_flow_run`, {state: {type: "SCHEDULED"}});
    return ["ordered", run.name];
  } catch (said) { return said; }
})"""
MOVE_AN_ALIAS = """(async (base) => {
  const done = [];
  for (const type of ["text/plain", "application/json"]) for (const mode of ["no-cors", "cors"]) try {
    const reply = await fetch(base + "/ajax-api/2.0/mlflow/registered-models/create", {
      method: "POST", mode, credentials: "include", headers: {"Content-Type": type}, body: '{"name": "evil"}'});
    done.push(reply.status);
  } catch (error) { done.push(String(error)); }
  return done;
})"""
OWN_ALIAS = """fetch("/ajax-api/2.0/mlflow/registered-models/alias", {
  method: "POST", headers: {"Content-Type": "application/json"},
  body: '{"name": "none", "alias": "champion", "version": "1"}'}).then(reply => reply.text())"""
OPEN_A_SOCKET = """(url => new Promise(resolve => {
  const socket = new WebSocket(url, "prefect");
  socket.onopen = () => resolve("open");
  socket.onerror = () => resolve("refused");
}))"""


@contextmanager
def attackers_page(folder: Path) -> Iterator[int]:
    """Serve an empty page on a port of its own."""
    (folder / "page.html").write_text("<title>Look, kittens</title>", encoding="utf-8")
    handler = partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server.server_port
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@needs_chromium
def test_without_the_guard_the_attack_works(tmp_path: Path) -> None:
    """Prefect's own server, as `ferops up` used to start it: else the other tests would prove nothing."""
    port = free_port()
    target = f"http://127.0.0.1:{port}"
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | {
        "PREFECT_HOME": str(tmp_path / "home"),
        "PREFECT_API_URL": f"{target}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = processes.start("prefect-server", command, cwd=tmp_path, env=env, log=tmp_path / "log")
    try:
        processes.wait_until(lambda: processes.answers(f"{target}/api/health"), server, within_s=120)
        pool = {"name": "local", "type": "process", "base_job_template": {}}
        httpx.post(f"{target}/api/work_pools/", json=pool).raise_for_status()
        with attackers_page(tmp_path) as attacker, browser(tmp_path) as page:
            page.open(f"http://evil.test:{attacker}/page.html")
            assert page.run(f"{ORDER_A_RUN}('{target}')")[0] == "ordered"
            assert page.run(f"{OPEN_A_SOCKET}('ws://127.0.0.1:{port}/api/events/in')") == "open"
            page.open(f"http://evil.test:{port}/api/health")  # the attacker's name, and now it is this machine
            assert page.run(f"{ORDER_A_RUN}('')")[0] == "ordered"
    finally:
        processes.stop([server])


@needs_chromium
def test_a_page_of_another_origin_gets_nothing(running: Running, tmp_path: Path) -> None:
    prefect, mlflow = running.ports.prefect_url, running.ports.mlflow_url
    with attackers_page(tmp_path) as attacker, browser(tmp_path) as page:
        log_in(page, running)
        for host in ("evil.test", "localhost", "127.0.0.1"):  # a site, and another program on this machine
            page.open(f"http://{host}:{attacker}/page.html")
            assert page.run(f"{ORDER_A_RUN}('{prefect}')") == ["TypeError: Failed to fetch"] * 3
            told = page.run(f"{MOVE_AN_ALIAS}('{mlflow}')")
            assert set(told) <= {0, "TypeError: Failed to fetch"}  # 0: opaque, so the registry is asked below
            assert page.run(f"{OPEN_A_SOCKET}('{prefect.replace('http', 'ws')}/api/events/in')") == "refused"
        for port in (running.ports.prefect, running.ports.mlflow):
            page.open(f"http://evil.test:{port}/")
            assert "is not one of this server's" in page.run("document.body.innerText")
            assert page.run(f"{ORDER_A_RUN}('')") == [403, 403, 403]
            assert page.run("fetch('/api/health').then(reply => reply.status)") == 403
    assert ask(running.layout, running.ports, "flows/filter", {"flows": {"name": {"any_": ["evil"]}}}) == []
    assert not [each for each in connect(running.layout).search_registered_models() if each.name == "evil"]
    assert not list(running.layout.root.rglob("owned"))


@needs_chromium
def test_the_operators_own_pages_work(running: Running, tmp_path: Path) -> None:
    with browser(tmp_path) as page:
        log_in(page, running)
        page.open(f"{running.ports.prefect_url}/deployments")
        page.wait_for("document.body.innerText.includes('pipeline')")
        page.open(f"{running.ports.prefect_url.replace('127.0.0.1', 'localhost')}/")
        page.wait_for("document.querySelector('input[type=password]') !== null")  # another origin: its own login
        page.open(f"{running.ports.mlflow_url}/#/models")
        page.wait_for("document.body.innerText.includes('Experiments')")
        # What the page sends when a person moves an alias there
        assert "RESOURCE_DOES_NOT_EXIST" in page.run(OWN_ALIAS)


@pytest.mark.parametrize("server", ["prefect", "mlflow"])
@pytest.mark.parametrize("logged_in", [False, True])
def test_what_browsers_send_for_other_pages_is_refused(running: Running, server: str, logged_in: bool) -> None:
    """The same without a browser; `logged_in`: MLflow's login goes with every request of a browser that has it."""
    port = getattr(running.ports, server)
    path = {"prefect": "/api/flows/", "mlflow": "/ajax-api/2.0/mlflow/registered-models/create"}[server]
    login = {"Authorization": access.authorization(running.layout, server)} if logged_in else {}
    cross = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "empty"}
    rebound = f"evil.test:{port}"
    requests: list[dict[str, Any]] = [
        {"headers": cross | {"Origin": "http://evil.test", "Content-Type": "text/plain"}},
        {"headers": cross | {"Origin": "http://localhost:3000", "Content-Type": "text/plain"}},
        {"headers": cross | {"Origin": "null", "Content-Type": "application/x-www-form-urlencoded"}},
        {"headers": {"Origin": "http://evil.test", "Content-Type": "application/json"}},
        {"headers": {"Content-Type": "text/plain"}},
        {"headers": {"Host": rebound, "Origin": f"http://{rebound}", "Content-Type": "application/json"}},
        {"headers": {"Host": f"10.{rebound}", "Content-Type": "application/json"}},
        {"method": "OPTIONS", "headers": {"Origin": "http://evil.test", "Access-Control-Request-Method": "POST"}},
        {"method": "GET", "headers": cross | {"Sec-Fetch-Dest": "image"}},
        {"method": "GET", "headers": cross | {"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Mode": "navigate"}},
    ]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for request in requests:
            headers = request["headers"] | login
            reply = client.request(request.get("method", "POST"), path, content=b'{"name": "evil"}', headers=headers)
            assert reply.status_code in (403, 415), (request, reply.text)
            assert "access-control-allow-origin" not in reply.headers
