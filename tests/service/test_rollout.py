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

import traffic
from ferops import presets
from ferops.config import load_params
from ferops.datasets.synthetic.generate import rows
from ferops.layout import Layout
from ferops.packaging.rollback import rollback
from ferops.registry.connection import connect
from ferops.registry.promotion import accept, aliases, place, promote, withdraw
from ferops.rollout.report import lines, rollout
from sockets import free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

WITHIN_S = 500.0
"""Anything: a machine may be busy with three Bentos that are built, and their workers, at once."""

CLIENTS = 8
"""Addresses; about half of them are the canary's."""
AT_ONCE = 3
"""Requests: the service answers one at a time, so others wait while a client sends its next one."""


@dataclass(frozen=True)
class Asked:
    """One request: who, when (seconds of one clock), and the version that answered."""

    client: str
    start: float
    end: float
    version: str


class Crowd:
    """Clients with an address each, AT_ONCE requests at any time; one that is not answered is an error."""

    def __init__(self, port: int) -> None:
        photo = next(rows(seed=7))["image"]
        assert isinstance(photo, bytes)
        self._request = traffic.post(traffic.form(photo))
        self._port = port
        self._done = threading.Event()
        self.asked: list[Asked] = []
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._asking = [self._pool.submit(self._ask, each) for each in range(AT_ONCE)]

    def _ask(self, first: int) -> None:
        for turn in range(10**9):
            if self._done.is_set():
                return
            client = f"127.0.1.{1 + (first + AT_ONCE * turn) % CLIENTS}"
            start = time.monotonic()
            reply = traffic.ask(self._port, self._request, source=client, within_s=60)
            assert reply.status == 200, reply.body
            self.asked.append(Asked(client, start, time.monotonic(), json.loads(reply.body)["model_version"]))

    def versions(self, last: int = 2 * CLIENTS) -> set[str]:
        return {each.version for each in self.asked[-last:]}

    def end(self) -> None:
        self._done.set()
        for each in self._asking:
            each.result()
        self._pool.shutdown()


@pytest.fixture
def project(tmp_path: Path, store: Path, make_export: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A project with versions 1 (happy), 2 (sad) and 3 (as 2, but unsure), accepted by hand; 1 is champion."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    layout = Layout(tmp_path / "project")
    layout.root.mkdir()
    for path in (store, store.with_name("mlflow.db.schema")):
        shutil.copy(path, layout.root / path.name)
    shutil.copytree(ROOT / "service", layout.root / "service", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "requirements.lock", layout.root / "requirements.lock")
    presets.apply_preset(layout, "quick")
    presets.change(layout, {"serve": {"log_dir": "traffic", "log_hashes": True}})
    presets.change(layout, {"canary": {"share": 0.5, "min_images": 20, "max_latency_ratio": 50}})
    params = load_params(layout.params_file)
    client = connect(layout)
    client.create_registered_model(params.registry.model_name)
    for number, (favours, by) in enumerate((("happy", 6.0), ("sad", 6.0), ("sad", 0.5)), start=1):
        source = layout.root / "mlruns" / str(number)
        export = make_export(favours=favours, by=by, low_confidence=0.3)
        shutil.copytree(export, source / "artifacts" / "export")
        client.create_model_version(params.registry.model_name, source.as_uri())
        accept(layout, params, str(number))
    promote(layout, params, "1")
    return layout


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


def wait_until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


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
            wait_until(lambda: "canary beside the champion from now on: ferops:v3" in log.read_text())
            ended_s = took_s(lambda: metric(port, "ferops_canary_ends_total") == 1)
            wait_until(lambda: "canary" not in aliases(project, params))
            tags = connect(project).get_model_version(params.registry.model_name, "3").tags
            assert tags["canary_ended_by"] == "confidence"
            assert "canary.max_confidence_drop is 0.05" in tags["canary_ended_because"]
            wait_until(lambda: crowd.versions() == {"1"})

            promote(project, params, "2")
            promoted_s = took_s(lambda: crowd.versions(AT_ONCE) == {"2"})
            asked = time.monotonic()
            rollback(project, params)
            verb_s = time.monotonic() - asked
            wait_until(lambda: crowd.versions(AT_ONCE) == {"1"})
            back_s = time.monotonic() - asked
        finally:
            crowd.end()
    everything = sorted(crowd.asked, key=lambda each: each.start)
    latency_s = sorted(each.end - each.start for each in everything)[len(everything) // 2]
    print(
        f"the unsure canary ended {ended_s:.1f} s after it began; a new champion, packaged already, after "
        f"{promoted_s:.1f} s; back after {back_s:.1f} s, of which the verb took {verb_s:.1f} s; p50 {latency_s:.2f} s, "
        f"{len(everything)} answers"
    )
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
    assert "the shadow agrees in 0.0 %" in "\n".join(lines(report))
