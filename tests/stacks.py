"""A small project whose stack can be started for real, and what a person does with it."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from ferops import presets
from ferops.layout import Layout
from ferops.local import access, stack
from ferops.local.ports import HOST, Ports
from repositories import make_repository

ROOT = Path(__file__).parents[1]


class Running(NamedTuple):
    """A stack that is up; the fixture `running` of tests/faults starts one for all tests there."""

    layout: Layout
    ports: Ports


def free_ports() -> Ports:
    """Return ports on which nobody listens now."""
    return Ports(*_free_ports(len(dataclasses.fields(Ports))))


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def small_project(folder: Path) -> Path:
    """Return a project below `folder` with this repository's flows and deployments and two stages that only echo."""
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
    return make_repository(root, scm=False)


def run_deployment(layout: Layout, ports: Ports, name: str, *arguments: str) -> Any:
    """Trigger a deployment as a person does, wait for its end, and return the flow run."""
    env = os.environ | stack.environment(layout)
    command = [sys.executable, "-m", "prefect", "deployment", "run", name, *arguments]
    flow_name = name.partition("/")[0]
    before = {run["id"] for run in _runs(layout, ports, flow_name)}
    subprocess.run(command, cwd=layout.root, env=env, check=True, capture_output=True, timeout=60)
    for _ in range(180):
        new = [run for run in _runs(layout, ports, flow_name) if run["id"] not in before and not run["auto_scheduled"]]
        if new and new[0]["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return new[0]
        time.sleep(0.5)
    raise AssertionError(f"{name} did not end: {new}")


def wait_for_log(layout: Layout, ports: Ports, flow_run_id: str, line: str) -> None:
    """Logs are sent in batches and may arrive after the run's end."""
    of_run = {"logs": {"flow_run_id": {"any_": [flow_run_id]}}, "sort": "TIMESTAMP_ASC"}
    for _ in range(40):
        messages = [each["message"] for each in ask(layout, ports, "logs/filter", of_run)]
        if line in messages:
            return
        time.sleep(0.5)
    pytest.fail(f"{line!r} is not in the run's log:\n" + "\n".join(messages))


def _runs(layout: Layout, ports: Ports, flow_name: str) -> Any:
    return ask(layout, ports, "flow_runs/filter", {"flows": {"name": {"any_": [flow_name]}}})


def ask(layout: Layout, ports: Ports, path: str, body: dict[str, Any]) -> Any:
    """POST to the stack's Prefect API as one who has the login."""
    headers = {"Authorization": access.authorization(layout, "prefect")}
    reply = httpx.post(f"{ports.prefect_url}/api/{path}", json=body, headers=headers, timeout=30)
    reply.raise_for_status()
    return reply.json()
