"""The local stack: what it records, refuses and leaves behind; `slow` starts the real one."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ferops import presets
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.local import processes, stack
from ferops.local.ports import HOST, Ports

ROOT = Path(__file__).parents[2]
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
    return Ports(*_free_ports(3))


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _only_sleepers(monkeypatch: pytest.MonkeyPatch, *, failing: bool = False) -> None:
    """Let the stack consist of two sleeping processes; with `failing`, the second one is never ready."""

    def start_all(_layout: Layout, _ports: Ports, *, begin: Any, **_: Any) -> None:
        begin("server", SLEEP, dict(os.environ))
        begin("worker", SLEEP, dict(os.environ))
        if failing:
            raise FeropsError("worker was not ready")

    monkeypatch.setattr(stack, "_start_all", start_all)


def test_up_records_what_runs_and_down_ends_it(layout: Layout, ports: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    _only_sleepers(monkeypatch)
    said = stack.up(layout, ports)
    for url in (ports.prefect_url, ports.mlflow_url, ports.service_url):
        assert url in said
    assert f"PREFECT_API_URL={ports.prefect_url}/api" in said
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
    with pytest.raises(FeropsError, match=f"MLFLOW_TRACKING_URI={ports.mlflow_url}"):
        stack.require_tracking_server(layout)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ports.mlflow_url)
    stack.require_tracking_server(layout)


@pytest.mark.slow
def test_the_real_stack_runs_the_deployments(tmp_path: Path, ports: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _small_project(tmp_path)
    layout = Layout(root)
    monkeypatch.chdir(root)
    for name in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    try:
        stack.up(layout, ports)
        assert (root / ".prefect" / "ui" / "v1").is_dir()  # not in site-packages
        done = _run_deployment(root, ports, "pipeline/local")
        assert done["state_type"] == "COMPLETED"
        of_run = {"flow_runs": {"id": {"any_": [done["id"]]}}}
        tasks = _ask(ports, "task_runs/filter", of_run | {"sort": "EXPECTED_START_TIME_ASC"})
        assert [task["name"] for task in tasks] == ["first", "second@a"]
        artifacts = _ask(ports, "artifacts/filter", of_run)
        assert {each["key"]: "rows | 3" in each["data"] for each in artifacts} == {
            "first-summary": True,
            "second-a-summary": True,
        }
        _wait_for_log(ports, done["id"], "working on second a")

        (root / "fail").write_text("", encoding="utf-8")
        failed = _run_deployment(root, ports, "pipeline/local", "-p", "force=true")
        assert failed["state_type"] == "FAILED"
        assert "first failed: too few rows" in failed["state"]["message"]

        packaged = _run_deployment(root, ports, "package/local")
        if packaged["state_type"] == "CANCELLED":  # the schedule's own run was under way
            packaged = _run_deployment(root, ports, "package/local")
        assert packaged["state_type"] == "COMPLETED", packaged["state"]
    finally:
        before = [process for process in psutil.process_iter() if _belongs_to(process, root)]
        stack.down(layout)
    assert len(before) >= 3
    assert not [process for process in psutil.process_iter() if _belongs_to(process, root)]


def _small_project(folder: Path) -> Path:
    root = folder / "project"
    root.mkdir()
    for name in ("prefect.yaml", "prefect.toml"):
        (root / name).write_bytes((ROOT / name).read_bytes())
    presets.apply_preset(Layout(root), "quick")
    (root / "flows").mkdir()
    for path in (ROOT / "flows").glob("*.py"):
        (root / "flows" / path.name).write_bytes(path.read_bytes())
    stage = (
        'echo "working on {0} {1}" && if test -e fail; then echo "ferops: too few rows" >&2; exit 1; fi'
        """ && mkdir -p reports/{2} && echo '{{"stage": "{0}", "rows": 3}}' > reports/{2}/summary.json"""
    )
    tree = {
        "stages": {
            "second": {
                "foreach": ["a"],
                "do": {
                    "cmd": stage.format("second", "${item}", "second/${item}"),
                    "deps": ["reports/first"],
                    "outs": ["reports/second/${item}"],
                },
            },
            "first": {"cmd": stage.format("first", "", "first"), "outs": ["reports/first"]},
        }
    }
    (root / "dvc.yaml").write_text(json.dumps(tree), encoding="utf-8")  # JSON is YAML
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=root, check=True)
    return root


def _run_deployment(root: Path, ports: Ports, name: str, *arguments: str) -> Any:
    """Trigger a deployment as a person does, wait for its end, and return the flow run."""
    env = os.environ | {"PREFECT_API_URL": f"{ports.prefect_url}/api"}
    command = [sys.executable, "-m", "prefect", "deployment", "run", name, *arguments]
    flow_name = name.partition("/")[0]
    before = {run["id"] for run in _runs(ports, flow_name)}
    subprocess.run(command, cwd=root, env=env, check=True, capture_output=True, timeout=60)
    for _ in range(180):
        new = [run for run in _runs(ports, flow_name) if run["id"] not in before and not run["auto_scheduled"]]
        if new and new[0]["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return new[0]
        time.sleep(0.5)
    raise AssertionError(f"{name} did not end: {new}")


def _wait_for_log(ports: Ports, flow_run_id: str, line: str) -> None:
    """Logs are sent in batches and may arrive after the run's end."""
    of_run = {"logs": {"flow_run_id": {"any_": [flow_run_id]}}, "sort": "TIMESTAMP_ASC"}
    for _ in range(40):
        messages = [each["message"] for each in _ask(ports, "logs/filter", of_run)]
        if line in messages:
            return
        time.sleep(0.5)
    pytest.fail(f"{line!r} is not in the run's log:\n" + "\n".join(messages))


def _runs(ports: Ports, flow_name: str) -> Any:
    return _ask(ports, "flow_runs/filter", {"flows": {"name": {"any_": [flow_name]}}})


def _ask(ports: Ports, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{ports.prefect_url}/api/{path}", data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)


def _belongs_to(process: psutil.Process, root: Path) -> bool:
    try:
        return process.pid != os.getpid() and process.cwd() == str(root) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
