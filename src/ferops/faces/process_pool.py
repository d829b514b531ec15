"""Extract the faces of shards on the cores of this machine; results come back in the shards' order.

This process works too: it has loaded the libraries already, while each further process spends a few seconds starting
Python and loading them. Every process computes with one thread, so the arithmetic does not depend on their number.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
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

import cv2

from ferops import threads
from ferops.config import FaceRules
from ferops.errors import FeropsError, StoppedError
from ferops.faces.detection import Detector
from ferops.faces.shard import Extracted, Shard, extract

WORTH_STARTING_S = 6.0
"""Start further processes if this one alone would need longer than this for the rest: starting one takes 2 to 3 s of a
core, more on a shared machine."""

_AHEAD = 3  # shards queued per process: bounds memory, and no process waits while this one is busy
_DONE_AHEAD = 24
"""Shards that this process may finish before an earlier one is back: enough while the others start."""


@dataclass(frozen=True)
class Work:
    """What to do with each shard. It is sent to other processes: `make_detector` must be picklable, and should return a
    detector that computes with one thread."""

    settings: FaceRules
    make_detector: Callable[[], Detector]


def extract_shards(
    shards: Iterator[Shard], work: Work, *, workers: int | Literal["auto"], to_search: int
) -> Generator[Extracted, None, None]:
    """Yield the faces of each shard, in order.

    Args:
        workers: number of processes, this one included; `auto`: one per free core, once that is worth it.
        to_search: images of all shards in which to look for a face, to decide when it is worth it.

    Raises:
        FeropsError: a process died.
    """
    with one_thread():
        detector = work.make_detector()
        if workers == "auto":
            yield from _in_this_process(shards, work, detector, until=_WorthStarting(to_search, threads.current()))
            workers = threads.current()
        yield from (
            _in_pool(shards, work, detector, workers) if workers > 1 else _in_this_process(shards, work, detector)
        )


def _in_this_process(
    shards: Iterator[Shard], work: Work, detector: Detector, *, until: Callable[[Extracted], bool] = lambda _: False
) -> Iterator[Extracted]:
    for shard in shards:
        extracted = extract(shard, work.settings, detector)
        yield extracted
        if until(extracted):
            return


@dataclass
class _WorthStarting:
    """Decides from the detector's time so far whether further processes are worth starting."""

    left: int
    cores: int
    searched: int = 0
    seconds: float = 0.0

    def __call__(self, extracted: Extracted) -> bool:
        self.searched += extracted.searched
        self.left -= extracted.searched
        self.seconds += extracted.detector_seconds
        return self.cores > 1 and bool(self.searched) and self.left * self.seconds / self.searched > WORTH_STARTING_S


def _in_pool(shards: Iterator[Shard], work: Work, detector: Detector, workers: int) -> Iterator[Extracted]:
    first = next(shards, None)
    if first is None:
        return  # nothing is left: start no process
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(
        workers - 1, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare_worker, initargs=(work,)
    )
    try:
        yield from _in_order(pool, first, shards, work, detector, at_most=_AHEAD * (workers - 1))
        pool.shutdown()
    except BrokenProcessPool as error:
        raise FeropsError(
            f"a face extraction process died ({error}). Most often the machine ran out of memory: lower "
            "preprocess.workers or preprocess.batch_size. The process's own messages are above"
        ) from error
    finally:  # also after an error, a stop, or a caller that stops iterating
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


def _prepare_worker(work: Work) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    _in_worker.append((work, work.make_detector()))


def _end_with_parent() -> None:
    """End this process when its parent ends: a killed parent cannot end its children."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _extract_in_worker(shard: Shard) -> Extracted:
    work, detector = _in_worker[0]
    return extract(shard, work.settings, detector)


@contextmanager
def one_thread() -> Iterator[None]:
    """Make OpenCV compute with one thread."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


@contextmanager
def sigterm_stops() -> Iterator[None]:
    """Turn SIGTERM into a StoppedError, so that temporary files and processes are cleaned up; main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise StoppedError("stopped by SIGTERM. The same command goes on from where it was: ferops preprocess")
