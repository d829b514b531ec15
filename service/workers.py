"""Several workers as one: as many images at once as there are processes, each of which has one image at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from ferops import threads

if TYPE_CHECKING:
    from service.engine import Engine

J = TypeVar("J")
T = TypeVar("T")

AT_MOST = 8
"""Workers, where their number is ours to choose: each holds a model of its own in memory."""


def share(workers: int | Literal["auto"]) -> tuple[int, int]:
    """Return how many workers there are, and how many threads each computes with, by `serve.workers`.

    One thread each answers more images than fewer workers with several: threads wait for each other, and an image takes
    about as long (benchmarks/throughput.py).
    """
    cores = threads.current()
    count = min(cores, AT_MOST) if workers == "auto" else workers
    return count, max(1, cores // count)


class Workers(Generic[J, T]):
    """Gives each job to the worker that has least to do.

    Args:
        engine: makes the engine of one worker.
        count: of workers.
    """

    def __init__(self, engine: Callable[[], Engine[J, T]], *, count: int) -> None:
        self._engines = [engine() for _ in range(count)]

    @property
    def is_ready(self) -> bool:
        """Whether one of them can take a job."""
        return any(each.is_ready for each in self._engines)

    async def start(self) -> None:
        """Start all. Raises what one of them raises, and then none runs."""
        try:
            await asyncio.gather(*(each.start() for each in self._engines))
        except BaseException:
            self.stop()
            raise

    async def retire(self) -> None:
        """End all, each as soon as it has answered what was given to it."""
        await asyncio.gather(*(each.retire() for each in self._engines))

    def stop(self) -> None:
        """End all at once."""
        for each in self._engines:
            each.stop()

    async def run(self, job: J, *, stream: int | None = None) -> T:
        """Return the answer for a job. Those of one `stream` go to one worker, which knows what came before.

        Raises what `Engine.run` raises.
        """
        if stream is not None:
            return await self._engines[stream % len(self._engines)].run(job)
        return await min(self._engines, key=lambda each: (not each.is_ready, each.jobs)).run(job)
