"""Jobs go to processes; tests/faces/test_process_pool.py has what the pool does with shards: order, deaths, stops."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from ferops.pool import Work, WorthStarting, in_order


def test_processes_start_where_they_pay() -> None:
    assert not WorthStarting(left=500, cores=4)(64, 0.5), "436 at 8 ms: 3.4 s"
    assert WorthStarting(left=5000, cores=4)(64, 0.5), "39 s"
    assert not WorthStarting(left=5000, cores=1)(64, 0.5)
    told_later = WorthStarting(left=5000, cores=4)
    assert not told_later(0, 0.0), "jobs without an item tell nothing"
    assert told_later(64, 0.5)


def test_one_process_makes_its_tool_once() -> None:
    made: list[int] = []
    work = Work(lambda: made.append(1) or 10, lambda tool, job: tool * job, "died", 3)
    assert list(in_order(iter([1, 2, 3]), work, processes=1)) == [10, 20, 30]
    assert len(made) == 1
    assert list(in_order(iter(()), work, processes=2)) == []
    assert len(made) == 1, "no job, no tool, no process"


STOPPED = """
import signal, sys, time
from pathlib import Path
from ferops.pool import Work, in_order

def tool():
    time.sleep(3)  # as long as libraries take to load

def do(tool, job):
    time.sleep(0.05)
    return job

if __name__ == "__main__":
    signal.signal(signal.SIGINT, lambda *_: sys.exit("the first process decides"))
    for job in in_order(iter(range(10000)), Work(tool, do, "died", 24), processes=3, tool=0):
        Path(sys.argv[1]).touch()
"""


def test_ctrl_c_while_processes_start_is_the_first_ones_alone(tmp_path: Path) -> None:
    script, begun = tmp_path / "stopped.py", tmp_path / "begun"
    script.write_text(STOPPED)
    child = subprocess.Popen(
        [sys.executable, str(script), str(begun)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 60
        while not begun.exists():
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.05)
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does
        _, errors = child.communicate(timeout=30)
    finally:
        child.kill()
        child.wait()
    assert errors == "the first process decides\n"


def test_a_caller_that_stops_leaves_no_process() -> None:
    def endless() -> Iterator[int]:
        number = 0
        while True:
            number += 1
            yield number

    with closing(in_order(endless(), Work(partial(int, 2), pow, "died", 24), processes=2)) as results:
        assert [next(results) for _ in range(3)] == [2**1, 2**2, 2**3]
        assert multiprocessing.active_children()
    assert not multiprocessing.active_children()
