"""As many threads as cores are free, what the user sets instead, and a word about it. Loads are made up here."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from ferops import machine, threads
from ferops.threads import NO_SPINNING, SETTING, Usage


class Load:
    """Stands in for the kernel's counters: each look is ten seconds later, `others` cores busy all the time."""

    def __init__(self) -> None:
        self.now, self.others = Usage(1000.0, 50.0), 0.0

    def __call__(self) -> Usage:
        self.now = Usage(self.now.at_s + 10, self.now.for_others + 10 * self.others)
        return self.now


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads(), cv2.getNumThreads()
    for name in (SETTING, *NO_SPINNING):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name, os.environ.get(name, ""))  # what the code sets is taken back
        monkeypatch.delenv(name)
    for name in ("by_user", "since", "count"):
        monkeypatch.setattr(threads._Choice, name, None)
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """A machine with four cores."""
    found = Load()
    monkeypatch.setattr(threads, "usage", found)
    monkeypatch.setattr(threads, "affinity", lambda: set(range(4)))
    monkeypatch.setattr(threads, "cores", lambda: 4)
    monkeypatch.setattr(threads.time, "monotonic", lambda: found.now.at_s + 10)
    return found


@pytest.mark.parametrize(
    ("others", "count"), [(0.0, 4), (0.2, 4), (0.3, 3), (1.0, 3), (2.9, 1), (4.0, 1), (9.0, 1), (-0.1, 4)]
)
def test_one_thread_for_each_free_core(load: Load, others: float, count: int) -> None:
    load.others = others
    threads.begin()
    assert threads.choose("train") == threads.current() == torch.get_num_threads() == cv2.getNumThreads() == count
    assert os.environ[SETTING] == str(count)
    assert threads.limit() == (None if count == 4 else count)


def test_a_quota_counts_like_fewer_cores(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may have 2 of 64 cores' time, and its neighbours keep most of the others busy."""
    monkeypatch.setattr(threads, "cores", lambda: 2)
    load.others = 1.5
    threads.begin()
    assert threads.choose("train") == 2
    load.others = 3.0
    assert threads.choose("train") == 1


def test_it_says_how_many_and_why(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    threads.begin()
    threads.choose("validate")
    load.others = 3.0
    threads.choose("train candidate")
    threads.choose("train candidate", say=False)
    assert capsys.readouterr().err.splitlines() == [
        "validate: computes with 4 threads",
        "train candidate: computes with 1 thread: other work keeps 3.0 of 4 cores busy; "
        "OMP_NUM_THREADS sets another number",
    ]


def test_other_work_comes_and_goes(load: Load) -> None:
    assert threads.choose_again() == "", "a program that uses ferops as a library keeps its own number"
    assert threads._Choice.count is None
    threads.begin()
    threads.choose("train")
    assert threads.choose_again() == ""
    load.others = 2.0
    assert threads.choose_again().startswith("goes on with 2 threads: other work keeps 2.0 of 4 cores busy")
    assert torch.get_num_threads() == 2
    load.others = 0.0
    assert threads.choose_again() == "goes on with 4 threads"


@pytest.mark.parametrize(("text", "count"), [("3", 3), ("7,2", 7), (" 1 ", 1)])
def test_the_user_decides(
    load: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, count: int
) -> None:
    monkeypatch.setenv(SETTING, text)
    load.others = 4.0
    assert threads.current() == count
    threads.begin()
    assert threads.choose("train") == count
    assert threads.choose_again() == ""
    assert capsys.readouterr().err.endswith(f"thread{'s' if count > 1 else ''}, as OMP_NUM_THREADS says\n")


@pytest.mark.usefixtures("load")
@pytest.mark.parametrize("text", ["", "0", "-2", "many"])
def test_what_is_no_number_decides_nothing(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(SETTING, text)
    threads.begin()
    assert threads.choose("train") == 4


def test_the_counters_leave_out_what_this_process_does() -> None:
    """It keeps every core as busy as it can: what is left is the most that others can have had, whoever they are."""
    count = len(machine.affinity())
    noise = np.random.default_rng(0).normal(size=(400, 400))

    def work(_: int) -> None:
        until = time.monotonic() + 0.4
        while time.monotonic() < until:
            noise @ noise

    with threadpool_limits(1), ThreadPoolExecutor(count) as pool:
        before, own = threads.usage(), time.process_time()
        list(pool.map(work, range(count)))
        now, own = threads.usage(), time.process_time() - own
    most = count * (now.at_s - before.at_s) - own
    assert now.for_others - before.for_others <= most + 0.1, "the kernel counts in ticks of 10 ms"


def test_no_library_spins_once_begun() -> None:
    """The libraries read these when they are loaded, so the console script sets them first."""
    code = (
        "import os, sys; from ferops import cli, threads; threads.begin(); "
        "print(os.environ['OMP_WAIT_POLICY'], {'torch', 'numpy', 'cv2'} & set(sys.modules))"
    )
    run = [sys.executable, "-c", code]
    out = subprocess.run(run, capture_output=True, text=True, check=True, env={**os.environ}).stdout
    assert out == "passive set()\n"
    out = subprocess.run(
        run, capture_output=True, text=True, check=True, env={**os.environ, "OMP_WAIT_POLICY": "active"}
    ).stdout
    assert out.startswith("active"), "what the user sets stays"
