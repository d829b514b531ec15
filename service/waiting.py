"""Images that wait for a worker: every client gets its share, and no image waits longer than a client will.

The order is that of self-clocked fair queueing (Golestani, "A Self-Clocked Fair Queueing Scheme for Broadband
Applications", INFOCOM 1994): each image gets a finish time on a clock that runs with the work done, and the earliest
goes first. So small images overtake large ones, and one client's images do not hold up those of the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from service.refusals import Refusal

J = TypeVar("J")
T = TypeVar("T")

BASE_MEGAPIXELS = 1.0
"""An image without any pixels would take as long as this many; measured on 2 cores: 0.05 s, and 0.065 s a megapixel."""

FIRST_S = 0.05
"""Seconds for each megapixel, before any were measured."""


@dataclass(eq=False)
class _Waiting(Generic[J, T]):
    client: str
    job: J
    cost: float
    finish: float
    answer: asyncio.Future[T] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Queue(Generic[J, T]):
    """Images in their order of service.

    Args:
        work: from a job, an image, to its answer.
        at_once: so many are worked on at a time.
        max_waiting: images in all.
        max_wait_s: expected seconds of work in all.
        max_wait_s_per_client: and of one client, which may always have one image.
        timeout_s: an image that has no answer by then gets none.
    """

    def __init__(
        self,
        work: Callable[[J], Awaitable[T]],
        *,
        at_once: int = 1,
        max_waiting: int,
        max_wait_s: float,
        max_wait_s_per_client: float,
        timeout_s: float,
    ) -> None:
        self._work = work
        self._at_once = at_once
        self._max_waiting = max_waiting
        self._max_wait_s = max_wait_s
        self._max_wait_s_per_client = max_wait_s_per_client
        self._timeout_s = timeout_s
        self._waiting: list[_Waiting[J, T]] = []
        self._current: list[_Waiting[J, T]] = []
        self._clock = 0.0
        self._s_per_megapixel = FIRST_S
        self._servers: list[asyncio.Task[None]] = []

    async def answer(self, job: J, *, client: str, megapixels: float) -> T:
        """Return the answer for an image. A caller that is cancelled leaves the queue.

        Raises:
            Refusal: the client, or the queue, has too much work waiting already; or `timeout_s` has passed.
            Exception: what `work` raises.
        """
        cost = BASE_MEGAPIXELS + megapixels
        self._admit(client, cost)
        last = max((each.finish for each in self._of(client)), default=self._clock)
        mine = _Waiting[J, T](client=client, job=job, cost=cost, finish=max(last, self._clock) + cost)
        self._waiting.append(mine)
        if len(self._serving()) < self._at_once:
            self._servers = [*self._serving(), asyncio.get_running_loop().create_task(self._serve())]
        try:
            return await asyncio.wait_for(mine.answer, self._timeout_s)
        except TimeoutError:
            raise Refusal(
                "timeout",
                f"There was no answer within {self._timeout_s:g} s.",
                retry_after_s=self._expected_s(self._all()),
            ) from None
        finally:
            if mine in self._waiting:
                self._waiting.remove(mine)

    async def idle(self) -> None:
        """Wait until nothing waits and nothing is worked on."""
        while serving := self._serving():
            await asyncio.wait(serving)

    def _serving(self) -> list[asyncio.Task[None]]:
        return [each for each in self._servers if not each.done()]

    def _admit(self, client: str, cost: float) -> None:
        own = self._of(client)
        if own and self._expected_s(own) + self._seconds(cost) > self._max_wait_s_per_client:
            raise Refusal(
                "too_many_images",
                f"{len(own)} images of this client wait already. Send the next one when one is answered.",
                retry_after_s=self._expected_s(own) / 2,
            )
        while self._is_full(cost):
            largest = max(
                {each.client for each in self._waiting}, key=lambda each: self._cost(self._of(each)), default=client
            )
            if self._cost(self._of(largest)) <= self._cost(own) + cost:
                raise self._full()
            self._give_way(largest)

    def _is_full(self, cost: float) -> bool:
        everything = self._all()
        expected_s = self._expected_s(everything) + self._seconds(cost)
        return len(self._waiting) >= self._max_waiting or bool(everything and expected_s > self._max_wait_s)

    def _give_way(self, client: str) -> None:
        """Refuse the client's last waiting image, for one of a client that asks for less."""
        last = max((each for each in self._waiting if each.client == client), key=lambda each: each.finish)
        self._waiting.remove(last)
        if not last.answer.done():
            last.answer.set_exception(self._full())

    def _full(self) -> Refusal:
        wait_s = self._expected_s(self._all())
        return Refusal("queue_full", f"About {wait_s:.0f} s of work wait already. Try later.", retry_after_s=wait_s / 2)

    async def _serve(self) -> None:
        while self._waiting:
            current = min(self._waiting, key=lambda each: each.finish)
            self._waiting.remove(current)
            self._current.append(current)
            self._clock = current.finish
            start = time.monotonic()
            try:
                answer = await self._work(current.job)
            except Exception as error:
                if not current.answer.done():
                    current.answer.set_exception(error)
            else:
                self._learn((time.monotonic() - start) / current.cost)
                if not current.answer.done():
                    current.answer.set_result(answer)
            finally:
                self._current.remove(current)

    def _learn(self, s_per_megapixel: float) -> None:
        # About the last ten images; a worker that was started in between is no measure
        self._s_per_megapixel += 0.1 * (min(s_per_megapixel, 3 * self._s_per_megapixel) - self._s_per_megapixel)

    def _all(self) -> list[_Waiting[J, T]]:
        return [*self._waiting, *self._current]

    def _of(self, client: str) -> list[_Waiting[J, T]]:
        return [each for each in self._all() if each.client == client]

    def _cost(self, images: list[_Waiting[J, T]]) -> float:
        return sum(each.cost for each in images)

    def _expected_s(self, images: list[_Waiting[J, T]]) -> float:
        return self._seconds(self._cost(images))

    def _seconds(self, cost: float) -> float:
        return cost * self._s_per_megapixel / self._at_once
