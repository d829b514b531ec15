"""Processes that outlive their starter: recognised, waited for, and ended with all that they started."""

from __future__ import annotations

import dataclasses
import http.server
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ferops.errors import FeropsError
from ferops.local import processes
from ferops.local.ports import listen
from ferops.local.processes import Process
from sockets import free_port

# Starts a child in the same session and one in a session of its own, then says the numbers of both
PARENT = """
import subprocess, sys, time
child = [sys.executable, "-c", "import time; time.sleep(60)"]
print(subprocess.Popen(child).pid, subprocess.Popen(child, start_new_session=True).pid, flush=True)
time.sleep(60)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(60)
"""


@pytest.fixture
def started() -> Iterator[list[Process]]:
    """Processes that are ended after the test, whatever it did."""
    running: list[Process] = []
    yield running
    processes.stop(running, within_s=0.2)


def _start(started: list[Process], tmp_path: Path, code: str, name: str = "part") -> Process:
    log = tmp_path / "logs" / f"{name}.log"
    process = processes.start(name, [sys.executable, "-c", code], cwd=tmp_path, env=os.environ, log=log)
    started.append(process)
    return process


def _log(process: Process) -> str:
    """What the process has printed; waits for the first line."""
    for _ in range(200):
        if (text := Path(process.log).read_text(encoding="utf-8")).endswith("\n"):
            return text
        time.sleep(0.05)
    raise AssertionError("the process printed nothing")


def test_stop_ends_a_process_and_all_that_it_started(started: list[Process], tmp_path: Path) -> None:
    process = _start(started, tmp_path, PARENT)
    children = [int(number) for number in _log(process).split()]
    assert all(psutil.pid_exists(number) for number in children)
    processes.stop([process], within_s=5)
    assert processes.find(process) is None
    assert not [number for number in children if psutil.pid_exists(number) and not _zombie(number)]


def test_stop_ends_what_a_dead_process_left_in_its_session(started: list[Process], tmp_path: Path) -> None:
    process = _start(started, tmp_path, PARENT)
    same_session, _ = (int(number) for number in _log(process).split())
    family = psutil.Process(process.pid).children(recursive=True)
    psutil.Process(process.pid).kill()
    try:
        processes.stop([process], within_s=2)
        assert not psutil.pid_exists(same_session) or _zombie(same_session)
    finally:
        for orphan in family:  # the one with a session of its own has lost every tie to its parent
            if orphan.is_running():
                orphan.kill()


def test_stop_kills_what_does_not_listen(started: list[Process], tmp_path: Path) -> None:
    process = _start(started, tmp_path, STUBBORN)
    assert _log(process) == "deaf\n"
    processes.stop([process], within_s=0.4)
    assert processes.find(process) is None


def test_a_reused_number_is_left_alone(started: list[Process], tmp_path: Path) -> None:
    process = _start(started, tmp_path, "import time; time.sleep(60)")
    earlier = dataclasses.replace(process, created_s=process.created_s - 100)
    assert processes.find(earlier) is None
    processes.stop([earlier], within_s=1)
    assert processes.find(process) is not None


def test_a_process_that_ends_while_starting_shows_its_last_words(started: list[Process], tmp_path: Path) -> None:
    process = _start(started, tmp_path, "raise SystemExit('no such table: flow')", name="server")
    with pytest.raises(FeropsError, match=r"(?s)server ended while starting.*server\.log.*no such table: flow"):
        processes.wait_until(lambda: False, process, within_s=20)


def test_a_process_that_is_never_ready_is_given_up(started: list[Process], tmp_path: Path) -> None:
    process = _start(started, tmp_path, "import time; print('thinking', flush=True); time.sleep(60)")
    _log(process)
    with pytest.raises(FeropsError, match=r"(?s)not ready within 0\.1 s.*thinking"):
        processes.wait_until(lambda: False, process, within_s=0.1, every_s=0.05)


def test_answers_tells_a_healthy_server_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # must not be asked
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        assert processes.answers(f"{url}/health")
        assert not processes.answers(f"{url}/starting")
        server.shutdown()
        thread.join()
    assert not processes.answers(f"{url}/health")


def _zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_port_stays_taken_as_long_as_one_process_holds_its_socket(started: list[Process], tmp_path: Path) -> None:
    """The worker obeys whoever listens on Prefect's port: nobody else may, even when the server has died."""
    port = free_port()
    with listen(port, variable="X", what="the server") as socket:
        command = [sys.executable, "-c", "import time; time.sleep(60)"]
        held = processes.start(
            "worker", command, cwd=tmp_path, env=os.environ, log=tmp_path / "log", keep=[socket.fileno()]
        )
        started.append(held)
    with pytest.raises(FeropsError, match=f"port {port}, wanted for a thief"):
        listen(port, variable="X", what="a thief")
    processes.stop([held])
    listen(port, variable="X", what="the next server").close()


def test_what_a_process_writes_can_be_closed_to_others(started: list[Process], tmp_path: Path) -> None:
    command = [sys.executable, "-c", "open('made', 'w').close(); print()"]
    started.append(processes.start("p", command, cwd=tmp_path, env=os.environ, log=tmp_path / "log", umask=0o077))
    _log(started[0])
    assert (tmp_path / "made").stat().st_mode & 0o077 == 0


def test_a_process_that_was_stopped_still_ends_in_order(started: list[Process], tmp_path: Path) -> None:
    code = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (print('bye'), sys.exit()))\n"
    process = _start(started, tmp_path, code + "print('up', flush=True); time.sleep(60)")
    _log(process)
    psutil.Process(process.pid).suspend()
    processes.stop([process])
    assert Path(process.log).read_text(encoding="utf-8").splitlines() == ["up", "bye"]
