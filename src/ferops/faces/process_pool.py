"""Spread shards over the cores of this machine; results come back in the shards' order.

This process works on shards too: it has the libraries loaded already, while each further process must start Python and
load them, a few seconds of a core. Every process computes with one thread, so that the arithmetic is the same however
many there are.
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
from types import FrameType
from typing import Literal

from ferops.config import Preprocess
from ferops.errors import FeropsError, StoppedError
from ferops.faces.detection import Detector
from ferops.faces.shard import Extracted, Shard, extract

WORTH_STARTING_S = 6.0
"""Processes are started when this process alone would need longer than that for what is left: starting one costs
2 to 3 s of a core, more where several people share it."""

_AHEAD = 3  # shards handed out for each process: memory is bounded, and none waits for work while this process is busy
_DONE_AHEAD = 24
"""Shards that this process may do before an earlier one is back: enough for the seconds in which the others start."""


@dataclass(frozen=True)
class Work:
    """What is done to each shard; it travels to other processes, so `make_detector` must be picklable."""

    settings: Preprocess
    make_detector: Callable[[], Detector]


def spread(
    shards: Iterator[Shard], work: Work, *, workers: int | Literal["auto"], to_search: int
) -> Generator[Extracted, None, None]:
    """Yield what each shard gives, in order.

    Args:
        workers: processes that work, this one included; `auto`: one for each core once that pays.
        to_search: images of all shards in which a face is looked for, to tell when it pays.

    Raises:
        FeropsError: a process died.
    """
    with one_thread():
        detector = work.make_detector()
        if workers == "auto":
            yield from _alone(shards, work, detector, until=_Pays(to_search, cores()))
            workers = cores()
        yield from _together(shards, work, detector, workers) if workers > 1 else _alone(shards, work, detector)


def _alone(
    shards: Iterator[Shard], work: Work, detector: Detector, *, until: Callable[[Extracted], bool] = lambda _: False
) -> Iterator[Extracted]:
    for shard in shards:
        extracted = extract(shard, work.settings, detector)
        yield extracted
        if until(extracted):
            return


@dataclass
class _Pays:
    """Tells, by the time that the detector has taken so far, whether further processes are worth their start."""

    left: int
    cores: int
    searched: int = 0
    seconds: float = 0.0

    def __call__(self, extracted: Extracted) -> bool:
        self.searched += extracted.searched
        self.left -= extracted.searched
        self.seconds += extracted.detector_seconds
        return self.cores > 1 and bool(self.searched) and self.left * self.seconds / self.searched > WORTH_STARTING_S


def _together(shards: Iterator[Shard], work: Work, detector: Detector, workers: int) -> Iterator[Extracted]:
    first = next(shards, None)
    if first is None:
        return  # nothing is left: start nobody
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(
        workers - 1, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(work,)
    )
    try:
        yield from _in_order(pool, first, shards, work, detector, at_most=_AHEAD * (workers - 1))
        pool.shutdown()
    except BrokenProcessPool as error:
        raise FeropsError(
            f"a process that looks for faces died ({error}). Most often the machine ran out of memory: set "
            "preprocess.workers or preprocess.batch_size lower. What it said itself stands above"
        ) from error
    finally:  # an error, a stop or a caller that wants no more: nobody works on
        for child in multiprocessing.active_children():
            if child not in others:
                child.terminate()
        pool.shutdown(cancel_futures=True)


def _in_order(
    pool: ProcessPoolExecutor, first: Shard, shards: Iterator[Shard], work: Work, detector: Detector, *, at_most: int
) -> Iterator[Extracted]:
    waiting: deque[Future[Extracted]] = deque()
    ahead: Shard | None = first
    while ahead is not None or waiting:
        while waiting and waiting[0].done():
            yield waiting.popleft().result()
        if ahead is not None and sum(not future.done() for future in waiting) < at_most:
            waiting.append(pool.submit(_extract_in_worker, ahead))
            ahead = next(shards, None)
        elif ahead is not None and len(waiting) < at_most + _DONE_AHEAD:
            done: Future[Extracted] = Future()
            done.set_result(extract(ahead, work.settings, detector))
            waiting.append(done)
            ahead = next(shards, None)
        elif waiting:
            yield waiting.popleft().result()


_in_worker: list[tuple[Work, Detector]] = []  # one entry, in a worker process


def _start_worker(work: Work) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _compute_with(1)
    _in_worker.append((work, work.make_detector()))


def _end_with_parent() -> None:
    """A parent that is killed outright cannot end its children: they see to it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _extract_in_worker(shard: Shard) -> Extracted:
    work, detector = _in_worker[0]
    return extract(shard, work.settings, detector)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch and OpenCV compute with one thread: with more, sums come in another order and results differ in their
    last digits."""
    import cv2
    import torch

    before = torch.get_num_threads(), cv2.getNumThreads()
    _compute_with(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def _compute_with(threads: int) -> None:
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


@contextmanager
def sigterm_stops() -> Iterator[None]:
    """Turn SIGTERM into a StoppedError, so that temporary files go and processes end; only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise StoppedError("stopped by SIGTERM; nothing was written. Run the command again: ferops preprocess")
