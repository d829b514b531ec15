"""Jobs on the cores of this machine, a process for each core; their results come back in the jobs' order.

This process works too: it has loaded the libraries already, while each further process spends a few seconds starting
Python and loading them. Every process computes with one thread, so the arithmetic does not depend on their number.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, Generic, TypeVar

import cv2

from ferops import threads
from ferops.errors import FeropsError

Tool = TypeVar("Tool")
Job = TypeVar("Job")
Done = TypeVar("Done")

WORTH_STARTING_S = 6.0
"""Start further processes if this one alone would need longer than this for the rest: starting one takes 2 to 3 s of a
core, more on a shared machine."""

_AHEAD = 3  # jobs queued per process: bounds memory, and no process waits while this one is busy


@dataclass(frozen=True)
class Work(Generic[Tool, Job, Done]):
    """What to do with each job. It is sent to other processes, so it must be picklable, as jobs and results must.

    Attributes:
        make: called once in each process; what it makes should compute with one thread.
        do: from that and a job to the job's result.
        died: what to say when a process dies, without a full stop; what it died of is added.
        done_ahead: jobs whose results this process may hold before an earlier one is back. It should have enough to do
            while the others start.
    """

    make: Callable[[], Tool]
    do: Callable[[Tool, Job], Done]
    died: str
    done_ahead: int


@dataclass
class WorthStarting:
    """Decides from the time that items took so far whether further processes are worth starting.

    Attributes:
        left: items, done ones included until they are told.
        cores: how many processes there may be.
    """

    left: int
    cores: int
    _items: int = 0
    _seconds: float = 0.0

    def __call__(self, items: int, seconds: float) -> bool:
        """Whether it is worth it, now that further `items` are done, which took `seconds`."""
        self._items += items
        self.left -= items
        self._seconds += seconds
        return self.cores > 1 and bool(self._items) and self.left * self._seconds / self._items > WORTH_STARTING_S


def in_order(
    jobs: Iterator[Job], work: Work[Tool, Job, Done], *, processes: int, tool: Tool | None = None
) -> Generator[Done]:
    """Yield the result of each job, in their order.

    Args:
        processes: how many work, this one included.
        tool: this process's own, where it has one already.

    Raises:
        FeropsError: a process died.
        Exception: what `work` raises.
    """
    first = next(jobs, None)
    if first is None:
        return  # nothing is left: start no process
    with one_thread():
        mine = work.make() if tool is None else tool
        if processes > 1:
            yield from _in_pool(first, jobs, work, mine, processes)
            return
        yield work.do(mine, first)
        for job in jobs:
            yield work.do(mine, job)


def _in_pool(
    first: Job, jobs: Iterator[Job], work: Work[Tool, Job, Done], tool: Tool, processes: int
) -> Iterator[Done]:
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(
        processes - 1, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare, initargs=(work,)
    )
    try:
        yield from _merged(pool, first, jobs, work, tool, at_most=_AHEAD * (processes - 1))
        pool.shutdown()
    except BrokenProcessPool as error:
        raise FeropsError(f"{work.died} ({error}). The process's own messages are above") from error
    finally:  # also after an error, a stop, or a caller that stops iterating
        for child in multiprocessing.active_children():
            if child not in others:
                child.terminate()
        pool.shutdown(cancel_futures=True)


def _merged(
    pool: ProcessPoolExecutor,
    first: Job,
    jobs: Iterator[Job],
    work: Work[Tool, Job, Done],
    tool: Tool,
    *,
    at_most: int,
) -> Iterator[Done]:
    waiting: deque[Future[Done]] = deque()
    ahead: Job | None = first
    while ahead is not None or waiting:
        while waiting and waiting[0].done():
            yield waiting.popleft().result()
        if ahead is not None and sum(not future.done() for future in waiting) < at_most:
            with _uninterrupted():  # this may start a process
                waiting.append(pool.submit(_do, ahead))
            ahead = next(jobs, None)
        elif ahead is not None and len(waiting) < at_most + work.done_ahead:
            done: Future[Done] = Future()
            done.set_result(work.do(tool, ahead))
            waiting.append(done)
            ahead = next(jobs, None)
        elif waiting:
            yield waiting.popleft().result()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold SIGINT back until the end, from this thread and, for good, from processes that it starts.

    Ctrl-C reaches all processes of a terminal; the first one decides, also while the others start.
    """
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


_in_worker: list[tuple[Work[Any, Any, Any], Any]] = []  # one entry, in a worker process


def _prepare(work: Work[Any, Any, Any]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    threads.use(1)
    _in_worker.append((work, work.make()))


def _end_with_parent() -> None:
    """End this process when its parent ends: a killed parent cannot end its children."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _do(job: Any) -> Any:
    work, tool = _in_worker[0]
    return work.do(tool, job)


@contextmanager
def one_thread() -> Iterator[None]:
    """Make OpenCV and PyTorch compute with one thread, as the other processes do."""
    torch = sys.modules.get("torch")
    of_cv2, of_torch = cv2.getNumThreads(), torch.get_num_threads() if torch else 1
    cv2.setNumThreads(1)
    if torch:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(of_cv2)
        if torch:
            torch.set_num_threads(of_torch)
