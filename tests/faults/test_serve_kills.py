"""Kills and losses under a running service: nothing stays on the port, no request is lost with the worker."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from ferops.config import Params
from ferops.layout import Layout
from ferops.packaging.bento import bento_folder, bentoml_environment, package
from ferops.packaging.serve import Place, serve_command
from served import served
from sockets import free_port
from traffic import ask, form, get, image, post

SMALL = post(form(image()))


def wait_until(holds: Callable[[], object], *, within_s: float = 60) -> float:
    """Return the seconds that it took."""
    start = time.monotonic()
    while not holds():
        assert time.monotonic() - start < within_s
        time.sleep(0.05)
    return time.monotonic() - start


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(layout: Layout, params: Params, log: Path) -> Iterator[tuple[psutil.Process, int]]:
    """Serve the Bento of version 1; yield the server's process and port. Nothing of it may be left at the end."""
    package(layout, params, model_folder=layout.root / "exports" / "1", version="1")
    command, variables = serve_command(layout, params, Place(0))
    with served(command, variables, folder=layout.root, log=log) as http:
        port = http.base_url.port
        assert port is not None
        (process,) = (each for each in psutil.Process().children() if str(port) in each.cmdline())
        family = [process, *process.children(recursive=True)]
        yield process, port
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []


def worker(process: psutil.Process) -> psutil.Process:
    return max(process.children(recursive=True), key=lambda each: each.memory_info().rss)


@pytest.mark.slow
def test_a_killed_server_leaves_the_port_to_the_next(
    bentos: Layout, quick_params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with running(bentos, quick_params, tmp_path / "log") as (process, port):
        family = process.children(recursive=True)
        open_ports = [
            each for one in (process, *family) for each in one.net_connections("inet") if each.status == "LISTEN"
        ]
        assert [each.laddr.port for each in open_ports] == [port]  # no control port
        process.kill()
        seconds = wait_until(lambda: not listens(port), within_s=5)
        print(f"\nport free {seconds:.2f} s after SIGKILL of the server")
        _, alive = psutil.wait_procs(family, timeout=5)
        assert alive == []
        with socket.socket() as probe:  # the next server can have it at once
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    (left,) = temporary.iterdir()
    with running(bentos, quick_params, tmp_path / "log"):
        assert not left.exists()
    assert list(temporary.iterdir()) == []  # this one ended in order


@pytest.mark.slow
def test_no_request_is_lost_with_the_worker(bentos: Layout, quick_params: Params, tmp_path: Path) -> None:
    with running(bentos, quick_params, tmp_path / "log") as (process, port), ThreadPoolExecutor(25) as pool:
        for number in (signal.SIGKILL, signal.SIGSEGV):
            victim = worker(process)
            # Two clients: on a busy machine 25 images are more than the share of one
            sent = [pool.submit(ask, port, SMALL, source=f"127.0.4.{i % 2 + 1}", within_s=60) for i in range(25)]
            wait_until(lambda sent=sent: sum(each.done() for each in sent) >= 3)
            os.kill(victim.pid, number)
            wait_until(lambda: ask(port, get("/readyz")).status == 503, within_s=5)
            assert ask(port, get("/")).status == ask(port, get("/info")).status == 200  # meanwhile, too
            seconds = wait_until(lambda: ask(port, get("/readyz")).status == 200)
            statuses = [each.result().status for each in sent]
            print(f"\n{number.name}, 22 in flight: {statuses.count(200)} of 25 answered, ready after {seconds:.1f} s")
            assert statuses == [200] * 25


@pytest.mark.slow
def test_a_bento_deleted_while_serving(bentos: Layout, quick_params: Params, tmp_path: Path) -> None:
    folder = bento_folder(bentos, "ferops:v1")
    with running(bentos, quick_params, tmp_path / "log") as (process, port):
        kept = tmp_path / "kept"
        shutil.move(folder, kept)
        try:
            for path in ("/", "/page/app.js", "/info", "/docs.json", "/readyz", "/metrics"):
                assert ask(port, get(path)).status == 200, path
            assert ask(port, SMALL).status == 200
            worker(process).kill()  # the next one finds no model: the service says so, and goes on with the rest
            wait_until(lambda: ask(port, SMALL).code == "not_ready")
            reply = ask(port, SMALL)
            assert (reply.status, ask(port, get("/readyz")).status, ask(port, get("/")).status) == (503, 503, 200)
            assert reply.headers["retry-after"]
        finally:
            shutil.move(kept, folder)
        wait_until(lambda: ask(port, get("/readyz")).status == 200)  # it is there again
        assert ask(port, SMALL).status == 200


@pytest.mark.slow
def test_a_bento_stays_a_standard_one(bentos: Layout, tmp_path: Path) -> None:
    """`bentoml serve`, as in a container; there, too, a killed supervisor leaves nothing on the port."""
    command = [sys.executable, "-m", "bentoml", "serve", "ferops:v1", "--host", "127.0.0.1"]
    log = tmp_path / "log"
    variables = bentoml_environment(bentos)
    port = free_port()
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--port", str(port)], env=variables, cwd=bentos.root, stdout=out, stderr=out
        )
    try:
        wait_until(lambda: listens(port) and ask(port, get("/readyz")).status == 200)
        assert ask(port, SMALL).status == ask(port, get("/")).status == ask(port, get("/metrics")).status == 200
        assert ask(port, get("/%0aFORGED")).status == 404
        assert "\nFORGED" not in log.read_text()
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not listens(port), within_s=10)
