"""The model that was served before stays loaded for a while, so that going back to it takes no time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ferops.records.release import Release
    from service.workers import Workers

FOR_S = 600.0
"""Harm that is seen at once is seen by then. So long the service needs its workers' memory twice."""


class Warm:
    """Keeps the workers of the model that was served last, for FOR_S."""

    def __init__(self) -> None:
        self._kept: tuple[Release, Workers[Any, Any]] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._retiring: asyncio.Task[None] | None = None

    def keep(self, release: Release, workers: Workers[Any, Any]) -> None:
        """Keep the workers of `release`, in the place of others; they may still be answering."""
        self._forget_to_end()
        if self._kept is not None:
            self._retiring = asyncio.get_running_loop().create_task(self._kept[1].retire())
        self._kept = release, workers
        self._ending = asyncio.get_running_loop().create_task(self._end_later())

    def take(self, release: Release) -> Workers[Any, Any] | None:
        """Return the workers if they are those of `release`, and keep them no more; else None."""
        if self._kept is None or self._kept[0] != release or not self._kept[1].is_ready:
            return None
        workers = self._kept[1]
        self._kept = None
        self._forget_to_end()
        return workers

    def drop(self) -> None:
        """End what is kept, at once."""
        self._forget_to_end()
        if self._kept is not None:
            self._kept[1].stop()
            self._kept = None

    async def _end_later(self) -> None:
        await asyncio.sleep(FOR_S)
        self._ending = None
        self.drop()

    def _forget_to_end(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
