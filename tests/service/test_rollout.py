"""Versions beside the champion and versions after it, with a registry, Bentos and a service that are real.

Nobody's request is lost: a client is waiting for an answer at every instant.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_follow import wait_until

import traffic
from conftest import ROOT, ExportMaker
from ferops import presets
from ferops.config import Params, load_params
from ferops.datasets.synthetic.generate import rows
from ferops.layout import Layout
from ferops.registry import stage
from ferops.registry.connection import connect
from ferops.registry.promotion import aliases, place, promote, withdraw
from ferops.rollout.report import lines, rollout
from registry_project import good_metrics, make_project, params_tree, write_metrics
from sockets import free_port

pytestmark = pytest.mark.slow

CLIENTS = 12
"""Addresses; half of them are the canary's."""


@dataclass(frozen=True)
class Asked:
    """One request: who, when (seconds of one clock), and the version that answered."""

    client: str
    start: float
    end: float
    version: str


class Crowd:
    """Clients with an address each, four requests at any time; a request that is not answered is an error."""

    def __init__(self, port: int) -> None:
        photo = next(rows(seed=7))["image"]
        assert isinstance(photo, bytes)
        self._request = traffic.post(traffic.form(photo))
        self._port = port
        self._done = threading.Event()
        self.asked: list[Asked] = []
        self._pool = ThreadPoolExecutor(4)
        self._asking = [self._pool.submit(self._ask, each) for each in range(4)]

    def _ask(self, first: int) -> None:
        for turn in range(10**9):
            if self._done.is_set():
                return
            client = f"127.0.1.{1 + (first + 4 * turn) % CLIENTS}"
            start = time.monotonic()
            reply = traffic.ask(self._port, self._request, source=client, within_s=60)
            assert reply.status == 200, reply.body
            self.asked.append(Asked(client, start, time.monotonic(), json.loads(reply.body)["model_version"]))

    def versions(self, last: int = 3 * CLIENTS) -> set[str]:
        return {each.version for each in self.asked[-last:]}

    def end(self) -> None:
        self._done.set()
        for each in self._asking:
            each.result()
        self._pool.shutdown()


@pytest.fixture
def project(tmp_path: Path, store: Path, make_export: ExportMaker, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A project with versions 1 (happy), 2 (sad) and 3 (as 2, but unsure); 1 is champion."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    layout = Layout(tmp_path / "project")
    make_project(layout)
    for path in (store, store.with_name("mlflow.db.schema")):
        shutil.copy(path, layout.root / path.name)
    shutil.copytree(ROOT / "service", layout.root / "service", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "requirements.lock", layout.root / "requirements.lock")
    presets.apply_preset(layout, "quick")
    presets.change(layout, {"serve": {"log_dir": "traffic", "log_hashes": True}})
    presets.change(layout, {"canary": {"share": 0.5, "min_images": 30, "max_latency_ratio": 50}})
    params = stage_params()
    for favours, by in (("happy", 6.0), ("sad", 6.0), ("sad", 0.5)):
        shutil.rmtree(layout.exported)
        shutil.copytree(make_export(favours=favours, by=by, low_confidence=0.3), layout.exported)
        write_metrics(layout, good_metrics())
        assert stage.register(layout, params).version is not None
    promote(layout, params, "1")
    return layout


def stage_params() -> Params:
    from ferops import config

    return config.parse(params_tree())


@contextmanager
def serving(layout: Layout, log: Path) -> Iterator[int]:
    """Run `ferops serve --follow` and yield its port."""
    port = free_port()
    command = [sys.executable, "-m", "ferops", "serve", "--follow", "--port", str(port)]
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=layout.root, stdout=out, stderr=out)
    try:
        wait_until(lambda: process.poll() is not None or _is_ready(port))
        assert process.poll() is None, log.read_text()[-3000:]
        yield port
    finally:
        process.terminate()
        process.wait(timeout=40)


def _is_ready(port: int) -> bool:
    try:
        return traffic.ask(port, traffic.get("/readyz")).status == 200
    except OSError:
        return False


def metric(port: int, name: str) -> float:
    """Return the sum of a metric's values."""
    text = traffic.ask(port, traffic.get("/metrics")).body.decode()
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))


def took_s(holds: Callable[[], bool]) -> float:
    start = time.monotonic()
    wait_until(holds)
    return time.monotonic() - start


def test_shadow_canary_promotion_and_rollback_lose_no_request(project: Layout, tmp_path: Path) -> None:
    params = load_params(project.params_file)
    log = tmp_path / "service.log"
    with serving(project, log) as port:
        crowd = Crowd(port)
        try:
            wait_until(lambda: crowd.versions() == {"1"})

            place(project, params, "2", "shadow")
            wait_until(lambda: "shadow beside the champion from now on: ferops:v2" in log.read_text())
            wait_until(lambda: metric(port, "ferops_shadow_images_total") >= 20)
            assert crowd.versions() == {"1"}  # nobody has seen it

            place(project, params, "2", "canary")
            wait_until(lambda: crowd.versions() == {"1", "2"})
            begun = len(crowd.asked)
            wait_until(lambda: len(crowd.asked) > begun + 4 * CLIENTS)
            for client in {each.client for each in crowd.asked}:
                assert len({each.version for each in crowd.asked[begun:] if each.client == client}) == 1

            withdraw(project, params, "canary")
            wait_until(lambda: crowd.versions() == {"1"})
            place(project, params, "3", "canary")
            ended_s = took_s(lambda: metric(port, "ferops_canary_ends_total") == 1)
            wait_until(lambda: "canary" not in aliases(project, params))
            tags = connect(project).get_model_version(params.registry.model_name, "3").tags
            assert tags["canary_ended_by"] == "confidence"
            assert "canary.max_confidence_drop is 0.05" in tags["canary_ended_because"]
            wait_until(lambda: crowd.versions() == {"1"})

            promote(project, params, "2")
            promoted_s = took_s(lambda: crowd.versions(CLIENTS) == {"2"})
            back = subprocess.run([sys.executable, "-m", "ferops", "rollback"], cwd=project.root, check=True)
            assert back.returncode == 0
            back_s = took_s(lambda: crowd.versions(CLIENTS) == {"1"})
        finally:
            crowd.end()
    everything = sorted(crowd.asked, key=lambda each: each.start)
    until = everything[0].end
    for each in everything:
        assert each.start < until  # somebody was waiting for an answer at every instant
        until = max(until, each.end)
    report = rollout(project, params)
    assert report.shadow is not None
    assert report.shadow.whole is not None
    assert report.shadow.whole.agreement is not None
    assert report.shadow.whole.agreement.value == 0  # the one says happy, the other sad
    assert report.shadow.by_label[0].mostly == "sad"
    assert report.canary is not None
    assert report.canary.version == "3"
    print(*lines(report), sep="\n")
    print(
        f"the unsure canary ended {ended_s:.1f} s after its alias; a new champion after {promoted_s:.1f} s, back after "
        f"{back_s:.1f} s; {len(everything)} answers"
    )
