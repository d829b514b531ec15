"""The worker as the server sees it: one process that is started again when it dies; no request is lost with it."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Generic, TypeVar

from service.refusals import Refusal

J = TypeVar("J")
T = TypeVar("T")

RETRY_S = 2.0
"""Between attempts to start a worker that does not start."""

log = logging.getLogger("bentoml.ferops")


class Engine(Generic[J, T]):
    """Runs `work` on one job at a time, an image, in a worker process.

    Args:
        load: called first in each new worker; returns its process id.
        work: from a job to its answer; importable, as everything in a job.
        limit_s: an image that takes longer ends the worker.
    """

    def __init__(self, load: Callable[[], int], work: Callable[[J], T], *, limit_s: float) -> None:
        self._load = load
        self._work = work
        self._limit_s = limit_s
        self._pool: ProcessPoolExecutor | None = None
        self._pid = 0
        self.is_ready = False
        self._failing = False
        self._starting: asyncio.Task[None] | None = None
        self._stopped = False
        self._running = 0

    async def start(self) -> None:
        """Start the first worker. Raises what `load` raises."""
        loop = asyncio.get_running_loop()
        # spawn: a fork would copy the server's threads' locks and its open connections
        self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        self._pid = await loop.run_in_executor(self._pool, self._load)
        (process,) = (child for child in multiprocessing.active_children() if child.pid == self._pid)
        sentinel = os.dup(process.sentinel)  # the pool closes its own whenever it likes
        loop.add_reader(sentinel, self._died, sentinel)
        self.is_ready, self._failing = True, False

    async def retire(self) -> None:
        """End the worker as soon as it has answered what was given to it."""
        while self._running:
            await asyncio.sleep(0.02)
        self.stop()

    def stop(self) -> None:
        """End the worker, and what the pool keeps in the system."""
        self._stopped = True
        self._kill()
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None

    async def run(self, job: J) -> T:
        """Return the answer of `work`; an image whose worker dies is tried once more, by the next one.

        Raises:
            Refusal: two workers died over it, it took longer than `limit_s`, or no worker can be started.
            Exception: what `work` raises.
        """
        self._running += 1
        try:
            return await self._tried_twice(job)
        finally:
            self._running -= 1

    async def _tried_twice(self, job: J) -> T:
        for _ in range(2):
            await self._wait()
            loop = asyncio.get_running_loop()
            try:
                return await asyncio.wait_for(loop.run_in_executor(self._pool, self._work, job), self._limit_s)
            except BrokenProcessPool:
                self._lost()
            except TimeoutError:
                self._kill()
                raise Refusal(
                    "timeout", f"The image took longer than {self._limit_s:g} s. Send a smaller one."
                ) from None
        raise Refusal("crashed", "The image ended the worker twice. Save it anew, as JPEG or PNG, and send that.")

    async def _wait(self) -> None:
        """Wait for the next worker, unless it has just failed to start."""
        while not self.is_ready:
            if self._failing:
                raise Refusal("not_ready", "The model cannot be loaded at present. Try later.", retry_after_s=RETRY_S)
            await asyncio.sleep(0.05)

    def _died(self, sentinel: int) -> None:
        asyncio.get_running_loop().remove_reader(sentinel)
        os.close(sentinel)
        self._lost()

    def _lost(self) -> None:
        """Start the next worker, unless that is under way; called both by who waits and by who watches."""
        if self._stopped or not self.is_ready:
            return
        self.is_ready = False
        log.warning("worker %d has ended; starting another", self._pid)
        self._starting = asyncio.get_running_loop().create_task(self._restart())

    async def _restart(self) -> None:
        while not self._stopped:
            if self._pool is not None:
                self._pool.shutdown(wait=False)
            try:
                await self.start()
            except Exception:
                self._failing = True
                log.exception("the worker did not start")
                await asyncio.sleep(RETRY_S)
            else:
                return

    def _kill(self) -> None:
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
