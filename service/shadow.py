"""The shadow's images: those that the champion has answered, once more, when the service has nothing else to do.

Nobody sees its answers; they are compared with the champion's, counted and, where the service keeps a log, noted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ferops.inference.extras import NONE
from ferops.rollout.shadow import pair_rows
from service import worker
from service.counters import counters

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from ferops.inference.answer import Answer
    from ferops.monitoring.traffic import RowLog
    from ferops.rollout.shadow import Outcome, PairRow
    from service.workers import Workers

MAX_WAITING = 64
MAX_WAITING_BYTES = 64_000_000

log = logging.getLogger("bentoml.ferops")


@dataclass(frozen=True)
class _Seen:
    encoded: bytes
    answer: Answer
    path: str
    time: datetime


class Shadow:
    """Answers again what the champion has answered.

    Args:
        idle: waits until no image of a client waits or is worked on.
        pairs: the log of comparisons; None: they are counted alone.
    """

    def __init__(self, *, idle: Callable[[], Awaitable[None]], pairs: RowLog[PairRow] | None) -> None:
        self._idle = idle
        self._pairs = pairs
        self._waiting: deque[_Seen] = deque()
        self._bytes = 0
        self._came = asyncio.Event()
        self._workers: Workers[Any, Any] | None = None
        self._version = ""
        self._working: asyncio.Task[None] | None = None

    def begin(self, version: str, workers: Workers[Any, Any]) -> None:
        """Compare this version, whose workers have started, from now on."""
        self.end()
        self._version, self._workers = version, workers
        self._working = asyncio.get_running_loop().create_task(self._work(version, workers))

    def end(self) -> None:
        """Compare no version any more; what waits is given up."""
        if self._working is not None:
            self._working.cancel()
        if self._workers is not None:
            self._workers.stop()
        self._workers = self._working = None
        self._waiting.clear()
        self._bytes = 0

    def stop(self) -> None:
        """End for good."""
        self.end()
        if self._pairs is not None:
            self._pairs.close()

    def offer(self, encoded: bytes, answer: Answer, *, path: str, time: datetime) -> None:
        """Take note of an answer of the champion; never waits. What finds no place is counted as dropped."""
        if self._workers is None:
            return
        seen = _Seen(encoded, answer, path, time)
        if len(self._waiting) >= MAX_WAITING or self._bytes + len(encoded) > MAX_WAITING_BYTES:
            self._note(seen, None, "dropped", self._version)
            return
        self._waiting.append(seen)
        self._bytes += len(encoded)
        self._came.set()

    async def _work(self, version: str, workers: Workers[Any, Any]) -> None:
        while True:
            self._came.clear()
            while self._waiting:
                await self._idle()
                seen = self._waiting.popleft()
                self._bytes -= len(seen.encoded)
                try:
                    answer, _ = await workers.run(partial(worker.predict, seen.encoded, NONE))
                except Exception as error:  # counted; the next image may do
                    log.warning("the shadow, version %s, could not answer: %s", version, error)
                    self._note(seen, None, "failed", version)
                else:
                    self._note(seen, answer, "compared", version)
            await self._came.wait()

    def _note(self, seen: _Seen, answer: Answer | None, outcome: Outcome, version: str) -> None:
        rows = pair_rows(seen.answer, answer, shadow_version=version, outcome=outcome, path=seen.path, time=seen.time)
        counters().count_pairs(rows)
        if self._pairs is not None:
            self._pairs.add(rows)
