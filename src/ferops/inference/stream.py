"""Many images, one batch after the other, in memory that does not grow with their number, on all free cores."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

from ferops import threads
from ferops.datasets.images import UnreadableImageError
from ferops.faces.photo import Photo
from ferops.inference.prediction import Prediction
from ferops.inference.predictor import Predictor
from ferops.pool import Work, WorthStarting, in_order

BATCH_PX = 50_000_000
"""Decoded pixels of a batch, beyond which it takes no further image: 150 MB, and as much for the batch ahead."""

PROCESSES = 8
"""That work at most: each holds a model of its own in memory."""

JOB = 16
"""Images at most that a process gets at once: what is in hand when somebody stops the run."""

DONE_AHEAD = 250
"""Jobs that are done, without their photos: a few megabytes, and work for the seconds in which a process starts."""

DIED = (
    "a process that looks for faces died; most often the machine ran out of memory: lower --batch, or set "
    "OMP_NUM_THREADS=1 for one process alone. What is written so far is whole: --resume goes on"
)


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class Result:
    """An image and what was found in it.

    Attributes:
        source: its name.
        photo: the image, as long as its batch is looked at (`results`); None where it could not be read.
        prediction: None where it could not be read.
        reason: why it could not be read, in a sentence; else empty.
    """

    source: str
    photo: Photo | None = None
    prediction: Prediction | None = None
    reason: str = ""

    @property
    def status(self) -> str:
        return self.prediction.status if self.prediction else "unreadable"


Look = Callable[[Sequence[Result]], None]
"""Does something with a batch while the photos are at hand."""


@dataclass(frozen=True)
class Reader:
    """How an image becomes a result. It is sent to other processes, so it must be picklable for them.

    Attributes:
        read: returns an image by its name; an OSError or UnreadableImageError of it becomes a result.
        batch: images in a batch at most.
        look: called with each batch before it is yielded, in the process that answered it.
    """

    read: Callable[[str], Photo]
    batch: int
    look: Look | None = None

    def batches(self, names: Iterable[str]) -> Iterator[list[Result]]:
        """Yield the images, not predicted yet."""
        images: list[Result] = []
        size = 0
        for name in names:
            image = self._read(name)
            images.append(image)
            size += image.photo.pixels.size // 3 if image.photo else 0
            if len(images) == self.batch or size >= BATCH_PX:
                yield images
                images, size = [], 0
        if images:
            yield images

    def _read(self, name: str) -> Result:
        try:
            return Result(name, self.read(name))
        except UnreadableImageError as error:
            return Result(name, reason=str(error))
        except OSError as error:
            return Result(name, reason=f"The file cannot be read: {error.strerror or error}.")

    def answered(self, predictor: Predictor, images: Sequence[Result]) -> list[Result]:
        """Return the results of a batch, looked at, without their photos."""
        read = [image.photo for image in images if image.photo]
        answers = iter(predictor.predict(read, batch=len(images)))
        found = [replace(image, prediction=next(answers)) if image.photo else image for image in images]
        if self.look:
            self.look(found)
        return [replace(result, photo=None) for result in found]

    def of(self, predictor: Predictor, names: Sequence[str]) -> list[Result]:
        """Return the results of the images of one job."""
        return [result for images in self.batches(names) for result in self.answered(predictor, images)]


def results(
    predictor: Predictor,
    names: Iterable[str],
    reader: Reader,
    *,
    again: Callable[[], Predictor] | None = None,
    count: int = 0,
) -> Generator[list[Result]]:
    """Yield the results of the images `names`, in their order, in batches. The next batch is read meanwhile.

    Args:
        again: makes the predictor again, with one thread, in further processes, which start once that is worth it; None
            for this process alone.
        count: images, about.

    Raises:
        FeropsError: one of the further processes died.
        Exception: what `reader.read` and `reader.look` raise.
    """
    left = iter(names)
    processes = min(threads.current(), PROCESSES) if again else 1
    yield from _alone(predictor, left, reader, until=WorthStarting(count, processes))
    if again:
        jobs = iter(lambda: tuple(islice(left, min(reader.batch, JOB))), ())
        yield from in_order(jobs, Work(again, reader.of, DIED, DONE_AHEAD), processes=processes)


def _alone(
    predictor: Predictor, names: Iterator[str], reader: Reader, *, until: WorthStarting
) -> Iterator[list[Result]]:
    batches = reader.batches(names)
    with ThreadPoolExecutor(1, thread_name_prefix="read") as pool:
        ahead = pool.submit(next, batches, None)
        go_on = True
        while images := ahead.result():
            ahead = pool.submit(next, batches if go_on else iter(()), None)
            started = time.perf_counter()
            found = reader.answered(predictor, images)
            go_on = go_on and not until(len(found), time.perf_counter() - started)
            yield found
