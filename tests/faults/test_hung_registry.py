"""An MLflow server that was stopped (SIGSTOP) holds no command up for longer than seconds."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.local import stack
from ferops.packaging.reconcile import reconcile
from ferops.registry.watch import training_run
from registry_project import make_project
from stacks import Running
from trained import epoch

pytestmark = pytest.mark.slow


@contextmanager
def stopped(running: Running) -> Iterator[None]:
    server = next(each for each in stack.status(running.layout) if each.name == "mlflow-server")
    process = psutil.Process(server.pid)
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    start_s = time.monotonic()
    yield
    assert time.monotonic() - start_s < seconds


@pytest.fixture
def reached(running: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    for name, value in stack.environment(running.layout).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")  # of 6: the figures below are smaller than a user's
    return running


def test_verbs_flows_and_up_say_so(reached: Running, quick_params: Params) -> None:
    layout = reached.layout
    with stopped(reached):
        with within(10), pytest.raises(FeropsError, match=r"no MLflow server at .*timed out"):
            reconcile(layout, quick_params)  # what the schedule calls
        with within(10), pytest.raises(FeropsError, match="MLflow server runs, but does not answer"):
            stack.up(layout, reached.ports)
        command = [sys.executable, "-m", "ferops", "promote", "1"]
        done = subprocess.run(command, cwd=layout.root, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 1
        assert "no MLflow server at" in done.stderr
    assert "already" in stack.up(layout, reached.ports)


def test_a_training_goes_no_further_and_keeps_its_checkpoint(
    reached: Running, quick_params: Params, tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "project")
    make_project(layout)

    def train() -> None:
        with training_run(layout, quick_params, "candidate", training="t" * 64) as watch:
            watch.on_epoch(epoch(1), np.zeros((6, 6), dtype=np.int64))
            with stopped(reached):
                watch.on_epoch(epoch(2), np.zeros((6, 6), dtype=np.int64))

    with within(60), pytest.raises(FeropsError, match=r"no longer answers.*checkpoint of an unfinished .* is kept"):
        train()
