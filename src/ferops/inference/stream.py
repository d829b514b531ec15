"""Many images, one batch after the other, in memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ferops.datasets.images import UnreadableImageError
from ferops.faces.photo import Photo
from ferops.inference.prediction import Prediction
from ferops.inference.predictor import Predictor

BATCH_PX = 50_000_000
"""Decoded pixels of a batch, beyond which it takes no further image: 150 MB, and as much for the batch ahead."""


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class Result:
    """An image and what was found in it.

    Attributes:
        source: its name.
        photo: the image; None where it could not be read.
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


def results(
    predictor: Predictor, names: Iterable[str], read: Callable[[str], Photo], *, batch: int
) -> Iterator[list[Result]]:
    """Yield the results of the images `names`, in their order, in batches. The next batch is read meanwhile.

    Args:
        read: returns an image by its name; an OSError or UnreadableImageError of it becomes a result.
        batch: images in a batch at most.
    """
    batches = _batches(names, read, at_most=batch)
    with ThreadPoolExecutor(1, thread_name_prefix="read") as pool:
        ahead = pool.submit(next, batches, None)
        while (images := ahead.result()) is not None:
            ahead = pool.submit(next, batches, None)
            yield _answered(predictor, images)


def _batches(names: Iterable[str], read: Callable[[str], Photo], *, at_most: int) -> Iterator[list[Result]]:
    images: list[Result] = []
    size = 0
    for name in names:
        image = _read(name, read)
        images.append(image)
        size += image.photo.pixels.size // 3 if image.photo else 0
        if len(images) == at_most or size >= BATCH_PX:
            yield images
            images, size = [], 0
    if images:
        yield images


def _read(name: str, read: Callable[[str], Photo]) -> Result:
    try:
        return Result(name, read(name))
    except UnreadableImageError as error:
        return Result(name, reason=str(error))
    except OSError as error:
        return Result(name, reason=f"The file cannot be read: {error.strerror or error}.")


def _answered(predictor: Predictor, images: list[Result]) -> list[Result]:
    read = [image.photo for image in images if image.photo]
    answers = iter(predictor.predict(read, batch=len(images)))
    return [Result(image.source, image.photo, next(answers)) if image.photo else image for image in images]
