"""Extract the faces of shards on the cores of this machine (`ferops.pool`); results come back in their order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Literal

from ferops import pool, threads
from ferops.config import FaceRules
from ferops.errors import StoppedError
from ferops.faces.detection import Detector
from ferops.faces.shard import Extracted, Shard, extract
from ferops.pool import WorthStarting, in_order, one_thread

DIED = (
    "a face extraction process died; most often the machine ran out of memory: lower preprocess.workers or "
    "preprocess.batch_size"
)

DONE_AHEAD = 24  # shards


@dataclass(frozen=True)
class Work:
    """What to do with each shard. It is sent to other processes: `make_detector` must be picklable, and should return a
    detector that computes with one thread."""

    settings: FaceRules
    make_detector: Callable[[], Detector]


def extract_shards(
    shards: Iterator[Shard], work: Work, *, workers: int | Literal["auto"], to_search: int
) -> Generator[Extracted]:
    """Yield the faces of each shard, in order.

    Args:
        workers: number of processes, this one included; `auto`: one per free core, once that is worth it.
        to_search: images of all shards in which to look for a face, to decide when it is worth it.

    Raises:
        FeropsError: a process died.
    """
    detector = work.make_detector()
    if workers == "auto":
        worth = WorthStarting(to_search, threads.current())
        with one_thread():
            for shard in shards:
                extracted = extract(shard, work.settings, detector)
                yield extracted
                if worth(extracted.searched, extracted.detector_seconds):
                    break
        workers = threads.current()
    do = partial(_extract, settings=work.settings)
    of_pool = pool.Work(work.make_detector, do, DIED, DONE_AHEAD)
    yield from in_order(shards, of_pool, processes=workers, tool=detector)


def _extract(detector: Detector, shard: Shard, *, settings: FaceRules) -> Extracted:
    return extract(shard, settings, detector)


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
