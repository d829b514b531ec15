"""A Bento served in a process of its own, for tests."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest


@contextmanager
def served(command: list[str], variables: dict[str, str], *, folder: Path, log: Path) -> Iterator[httpx.Client]:
    """Run `bentoml serve` on a free port and yield a client of the service, once it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    if "--port" in command:
        command = [*command]
        command[command.index("--port") + 1] = port
    else:
        command = [*command, "--port", port]
    with log.open("w") as out:
        process = subprocess.Popen(command, env=variables, cwd=folder, stdout=out, stderr=out)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            _wait_until_ready(client, process, log)
            yield client
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait_until_ready(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(f"the service did not start:\n{log.read_text()[-3000:]}")
