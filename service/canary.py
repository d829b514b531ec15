"""The canary's images: some clients are answered by it, and as soon as it does worse than the champion nobody is.

What it fails to answer the champion answers, so a canary never costs a client an answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ferops.datasets.images import UnreadableImageError
from ferops.rollout.canary import Trial, is_taken
from service.counters import counters
from service.engine import RETRY_S
from service.refusals import Refusal
from service.waiting import BASE_MEGAPIXELS
from service.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from ferops.config import Canary as Rules
    from ferops.inference.answer import Answer
    from ferops.records.rollout import Reason

CHAMPION, CANARY = "champion", "canary"

log = logging.getLogger("bentoml.ferops")


@dataclass(eq=False)
class Running:
    """A canary that answers. `tag` and `version` are its own; `figures` begin anew with each champion."""

    tag: str
    version: str
    workers: Workers[Any, Any]
    figures: Trial = field(default_factory=Trial)


class Canary:
    """Sends each image to the champion or to the canary.

    Args:
        key: by which clients are chosen; nobody else knows it.
        rules: the share, and what ends a canary.
        on_end: gets the canary that has just been ended, and why.
    """

    def __init__(self, *, key: bytes, rules: Rules, on_end: Callable[[Running, Reason, str], None]) -> None:
        self._key = key
        self.rules = rules
        self._on_end = on_end
        self.running: Running | None = None
        self._retiring: set[asyncio.Task[None]] = set()

    def begin(self, running: Running) -> None:
        """Let a canary, whose workers have started, answer its share from now on."""
        self.end()
        self.running = running

    def end(self) -> None:
        """Let the champion answer everybody from now on; an image that the canary works on is answered by it."""
        if self.running is not None:
            task = asyncio.get_running_loop().create_task(self.running.workers.retire())
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
            self.running = None

    def stop(self) -> None:
        """End the worker at once."""
        if self.running is not None:
            self.running.workers.stop()

    def begin_anew(self) -> None:
        """Forget the figures: there is another champion to compare with."""
        if self.running is not None:
            self.running.figures = Trial()

    async def run(
        self, job: Callable[[], Any], *, client: str, megapixels: float, champion: Workers[Any, Any]
    ) -> tuple[Answer, Any, str]:
        """Return what `service.worker.predict` does, and the role of the version that did it.

        Raises what the champion's workers raise.
        """
        running = self.running
        cost = BASE_MEGAPIXELS + megapixels
        failed = False
        if running is not None and is_taken(self._key, running.tag, client, share=self.rules.share):
            try:
                answer, measured, work_s = await _timed(running.workers, job, CANARY)
            except UnreadableImageError:  # the image's fault
                raise
            except Exception as error:  # whatever it is, the champion answers
                log.warning("the canary %s could not answer: %s", running.tag, error)
                failed = True
            else:
                running.figures.canary.note(work_s=work_s / cost, confidence=_confidence(answer))
                counters().canary.labels(running.version, "answered").inc()
                self._judge(running)
                return answer, measured, CANARY
        answer, measured, work_s = await _timed(champion, job, CHAMPION)
        if running is not None:
            if failed:  # an image that the champion cannot answer either is no error of the canary
                running.figures.errors += 1
                counters().canary.labels(running.version, "failed").inc()
                self._judge(running)
            else:
                running.figures.champion.note(work_s=work_s / cost, confidence=_confidence(answer))
        return answer, measured, CHAMPION

    def _judge(self, running: Running) -> None:
        if running is self.running and (found := running.figures.verdict(self.rules)) is not None:
            self.end()
            counters().canary_ends.labels(running.version, found[0]).inc()
            log.error("the canary %s is ended: %s", running.tag, found[1])
            self._on_end(running, *found)


async def _timed(workers: Workers[Any, Any], job: Callable[[], Any], role: str) -> tuple[Answer, Any, float]:
    if not workers.is_ready and role == CANARY:  # nobody waits for it to start again
        raise Refusal("not_ready", "The canary's worker is starting.", retry_after_s=RETRY_S)
    start = time.perf_counter()
    answer, measured = await workers.run(job)
    return answer, measured, time.perf_counter() - start


def _confidence(answer: Answer) -> float | None:
    return answer.faces[0].confidence if answer.faces else None
