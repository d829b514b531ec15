"""The local stack: what it records, refuses and leaves behind; `slow` starts the real one."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.local import processes, stack
from ferops.local.ports import HOST, Ports
from stacks import ask, free_ports, run_deployment, small_project, wait_for_log

SLEEP = ["-c", "import time; time.sleep(60)"]


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    for name in ("prefect.yaml", "dvc.yaml"):
        (tmp_path / name).write_text("", encoding="utf-8")
    layout = Layout(tmp_path)
    yield layout
    stack.down(layout)


@pytest.fixture
def ports() -> Ports:
    return free_ports()


def _only_sleepers(monkeypatch: pytest.MonkeyPatch, *, failing: bool = False) -> None:
    """Let the stack consist of two sleeping processes; with `failing`, the second one is never ready."""

    def start_all(_layout: Layout, _ports: Ports, *, begin: Any, **_: Any) -> None:
        begin("server", SLEEP, dict(os.environ))
        begin("worker", SLEEP, dict(os.environ))
        if failing:
            raise FeropsError("worker was not ready")

    monkeypatch.setattr(stack, "start_all", start_all)
    monkeypatch.setattr(stack, "_require_answers", lambda *_: None)


def test_up_records_what_runs_and_down_ends_it(layout: Layout, ports: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    _only_sleepers(monkeypatch)
    said = stack.up(layout, ports)
    for url in (ports.prefect_url, ports.mlflow_url, ports.service_url):
        assert url in said
    assert 'eval "$(ferops env)"' in said
    servers = stack.status(layout)
    assert [(server.name, running) for server, running in servers.items()] == [("server", True), ("worker", True)]

    again = stack.up(layout, ports)
    assert "already" in again
    assert ports.mlflow_url in again
    assert stack.status(layout) == servers

    assert stack.down(layout) == "The stack is down."
    assert stack.status(layout) == {}
    assert not [server for server in servers if psutil.pid_exists(server.pid)]
    assert stack.down(layout) == "The stack was not running."


def test_a_moved_project_keeps_its_stack_and_a_copy_has_none(
    layout: Layout, ports: Ports, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    original = Layout(tmp_path / "original")
    original.root.mkdir()
    for name in ("prefect.yaml", "dvc.yaml"):
        (layout.root / name).rename(original.root / name)
    _only_sleepers(monkeypatch)
    stack.up(original, ports)
    assert str(original.root) not in (original.state / "stack.json").read_text()
    pids = [server.pid for server in stack.status(original)]
    copied, moved = Layout(tmp_path / "copied"), Layout(tmp_path / "moved")
    shutil.copytree(original.root, copied.root)
    assert stack.status(copied) == {}
    assert stack.down(copied) == "The stack was not running."
    assert all(psutil.pid_exists(pid) for pid in pids)
    original.root.rename(moved.root)
    try:
        assert [server.pid for server in stack.status(moved)] == pids
        assert all(Path(server.log).exists() for server in stack.status(moved))
    finally:
        assert stack.down(moved) == "The stack is down."
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_server_that_died_makes_up_start_all(layout: Layout, ports: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    _only_sleepers(monkeypatch)
    stack.up(layout, ports)
    server, worker = stack.status(layout)
    psutil.Process(worker.pid).kill()
    psutil.Process(worker.pid).wait(5)
    assert list(stack.status(layout).values()) == [True, False]
    said: list[str] = []
    stack.up(layout, ports, say=said.append)
    assert "worker" in said[0]
    assert not psutil.pid_exists(server.pid)
    assert list(stack.status(layout).values()) == [True, True]


def test_what_cannot_start_leaves_nothing_behind(layout: Layout, ports: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    _only_sleepers(monkeypatch, failing=True)
    started: list[int] = []
    real = processes.start

    def spy(*arguments: Any, **settings: Any) -> processes.Process:
        process = real(*arguments, **settings)
        started.append(process.pid)
        return process

    monkeypatch.setattr(processes, "start", spy)
    with pytest.raises(FeropsError, match="worker was not ready"):
        stack.up(layout, ports)
    assert len(started) == 2
    assert not [pid for pid in started if psutil.pid_exists(pid)]
    assert stack.status(layout) == {}


@pytest.mark.parametrize("busy", ["prefect", "mlflow"])
def test_a_busy_port_starts_nothing(layout: Layout, ports: Ports, busy: str) -> None:
    with socket.socket() as listener:
        listener.bind((HOST, getattr(ports, busy)))
        listener.listen()
        with pytest.raises(FeropsError, match=f"FEROPS_{busy.upper()}_PORT"):
            stack.up(layout, ports)
    assert stack.status(layout) == {}


def test_up_elsewhere_than_in_a_project(tmp_path: Path, ports: Ports) -> None:
    with pytest.raises(FeropsError, match=r"no prefect\.yaml"):
        stack.up(Layout(tmp_path), ports)


def test_a_flow_without_the_tracking_server_is_stopped_only_if_there_is_one(
    layout: Layout, ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    stack.require_tracking_server(layout)  # no stack: the project's own mlflow.db is right
    _only_sleepers(monkeypatch)
    stack.up(layout, ports)
    with pytest.raises(FeropsError, match=rf"{ports.mlflow_url}.*ferops env"):
        stack.require_tracking_server(layout)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ports.mlflow_url)
    stack.require_tracking_server(layout)


def test_the_logins_are_known_as_long_as_the_stack_runs(
    layout: Layout, ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ports.mlflow_url)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert stack.logins(layout) == {}
    with pytest.raises(FeropsError, match=r"not running.*make up"):
        stack.environment(layout)
    _only_sleepers(monkeypatch)
    stack.up(layout, ports)
    known = stack.environment(layout)
    assert stack.logins(layout).items() <= known.items()
    assert set(stack.logins(layout)) == {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}
    stack.down(layout)
    assert stack.logins(layout) == {}
    stack.up(layout, ports)
    assert stack.environment(layout)["MLFLOW_TRACKING_PASSWORD"] != known["MLFLOW_TRACKING_PASSWORD"]


@pytest.mark.slow
def test_the_real_stack_runs_the_deployments(tmp_path: Path, ports: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    root = small_project(tmp_path)
    layout = Layout(root)
    monkeypatch.chdir(root)
    for name in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    try:
        stack.up(layout, ports)
        assert (root / ".prefect" / "ui" / "v1").is_dir()  # not in site-packages
        done = run_deployment(layout, ports, "pipeline/local")
        assert done["state_type"] == "COMPLETED", done["state"]["message"]
        of_run = {"flow_runs": {"id": {"any_": [done["id"]]}}}
        tasks = ask(layout, ports, "task_runs/filter", of_run | {"sort": "EXPECTED_START_TIME_ASC"})
        assert [task["name"] for task in tasks] == ["first", "second@a"]
        artifacts = ask(layout, ports, "artifacts/filter", of_run)
        assert {each["key"]: "rows | 3" in each["data"] for each in artifacts} == {
            "first-summary": True,
            "second-a-summary": True,
        }
        wait_for_log(layout, ports, done["id"], "working on second a")

        (root / "fail").write_text("", encoding="utf-8")
        failed = run_deployment(layout, ports, "pipeline/local", "-p", "force=true")
        assert failed["state_type"] == "FAILED"
        assert "first failed: too few rows" in failed["state"]["message"]

        packaged = run_deployment(layout, ports, "package/local")
        if packaged["state_type"] == "CANCELLED":  # the schedule's own run was under way
            packaged = run_deployment(layout, ports, "package/local")
        assert packaged["state_type"] == "COMPLETED", packaged["state"]
    finally:
        before = [process for process in psutil.process_iter() if _belongs_to(process, root)]
        stack.down(layout)
    assert len(before) >= 3
    assert not [process for process in psutil.process_iter() if _belongs_to(process, root)]


def _belongs_to(process: psutil.Process, root: Path) -> bool:
    try:
        return process.pid != os.getpid() and process.cwd() == str(root) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
