"""Another user of the machine tries to use, read, change or end the stack; docs/security.md has the table."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from ferops.local import access, stack
from sockets import free_port
from stacks import Running

pytestmark = pytest.mark.slow
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")

REQUESTS: dict[str, tuple[str, str, str, dict[str, Any] | None]] = {
    "list the deployments": ("prefect", "POST", "/api/deployments/filter", {}),
    "read all blocks": ("prefect", "POST", "/api/block_documents/filter", {"include_secrets": True}),
    "read the settings": ("prefect", "GET", "/api/admin/settings", None),
    "make a flow": ("prefect", "POST", "/api/flows/", {"name": "evil"}),
    "change the command of the pool": ("prefect", "PATCH", "/api/work_pools/local", {"description": "evil"}),
    "drop the database": ("prefect", "POST", "/api/admin/database/clear", {"confirm": False}),
    "list the versions": ("mlflow", "GET", "/api/2.0/mlflow/model-versions/search", None),
    "register a model": ("mlflow", "POST", "/api/2.0/mlflow/registered-models/create", {"name": "evil"}),
    "move champion": (
        "mlflow",
        "POST",
        "/api/2.0/mlflow/registered-models/alias",
        {"name": "ferops", "alias": "champion", "version": "1"},
    ),
    "read an artifact": ("mlflow", "GET", "/get-artifact?path=model&run_uuid=0", None),
    "ask by GraphQL": ("mlflow", "POST", "/graphql", {"query": "{ __typename }"}),
    "ask MCP": ("mlflow", "GET", "/api/3.0/mlflow/mcp-servers", None),
    "open the page": ("mlflow", "GET", "/", None),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_no_request_gets_in_without_the_login(running: Running, name: str) -> None:
    server, method, path, body = REQUESTS[name]
    with httpx.Client(base_url=f"http://127.0.0.1:{getattr(running.ports, server)}") as client:
        guesses = [None, ("ferops", "ferops"), ("admin", "password"), ("ferops", "")]
        for guess in guesses:
            assert client.request(method, path, json=body, auth=guess).status_code == 401
        # With it, the server itself answers: so the request is one that would have worked
        login = {"Authorization": access.authorization(running.layout, server)}
        if name not in ("make a flow", "register a model", "change the command of the pool"):
            assert client.request(method, path, json=body, headers=login).status_code not in (401, 403)


@pytest.mark.parametrize("path", ["events/in", "events/out", "logs/out", "task_runs/subscriptions/scheduled"])
def test_no_websocket_gets_in_without_the_login(running: Running, path: str) -> None:
    url = f"{running.ports.prefect_url.replace('http', 'ws')}/api/{path}"
    with pytest.raises((ConnectionClosed, InvalidStatus)), connect(url) as websocket:
        websocket.recv(timeout=10)
    with connect(url, subprotocols=[Subprotocol("prefect")]) as websocket:
        websocket.send(json.dumps({"type": "auth", "token": "ferops:ferops"}))
        with pytest.raises(ConnectionClosed):
            websocket.recv(timeout=10)


FILES = {
    "read Prefect's login": "cat .ferops/private/prefect",
    "read MLflow's login": "cat .ferops/private/mlflow",
    "read the prefect command's login": "cat .prefect/profile.toml",
    "read the registry": "head -c 16 mlflow.db",
    "write the registry": "echo x >> mlflow.db",
    "list the models": "ls mlruns",
    "read Prefect's database": "head -c 16 .prefect/prefect.db",
    "write Prefect's database": "echo x >> .prefect/prefect.db",
    "read the logs": "cat .ferops/logs/prefect-worker.log",
    "forge which processes end": "echo '{}' > .ferops/stack.json",
    "replace the state": "mv .ferops .ferops-old",
    "change a deployment": "echo x >> prefect.yaml",
    "change a flow": "echo x >> flows/package.py",
    "leave a file": "touch evil.py",
}


def as_nobody(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@as_root
@pytest.mark.parametrize("name", FILES)
def test_no_file_is_read_or_changed(running: Running, name: str) -> None:
    root = running.layout.root
    assert as_nobody("cat prefect.yaml", root).returncode == 0  # the project can be seen: its own modes protect it
    tried = as_nobody(FILES[name], root)
    assert tried.returncode != 0
    assert "denied" in tried.stderr


@as_root
def test_no_process_is_read_or_ended(running: Running) -> None:
    root = running.layout.root
    for process, runs in stack.status(running.layout).items():
        assert runs
        assert "denied" in as_nobody(f"cat /proc/{process.pid}/environ", root).stderr
        assert "not permitted" in as_nobody(f"kill -9 {process.pid}", root).stderr
    lines = as_nobody("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", root).stdout
    assert re.search(r"ferops\.local\.server mlflow", lines)  # seen, and no secret in it
    for server in access.SERVERS:
        assert access.login(running.layout, server).partition(":")[2] not in lines


@as_root
@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="needs a Python that other users can run")
def test_nobody_takes_the_port_of_a_server(running: Running) -> None:
    def take(port: int, address: str) -> str:
        code = (
            "import socket; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1);"
            "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1);"
            f"s.bind(('{address}', {port})); s.listen(); print('taken')"
        )
        return as_nobody(f'/usr/bin/python3 -c "{code}"', Path("/")).stdout

    assert take(free_port(), "127.0.0.1") == "taken\n"
    for port in (running.ports.prefect, running.ports.mlflow):
        for address in ("127.0.0.1", "0.0.0.0"):
            assert take(port, address) == ""
