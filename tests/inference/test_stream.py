from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferops.datasets.images import UnreadableImageError
from ferops.faces.photo import Photo
from ferops.inference import stream
from ferops.inference.predictor import Predictor
from ferops.inference.stream import results


class Blind:
    """A detector that finds nothing."""

    def detect(self, images: Any) -> list[list[Any]]:
        return [[] for _ in images]


@pytest.fixture(scope="module")
def predictor(make_export: Any) -> Predictor:
    return Predictor(make_export(), detector=Blind())


def image(name: str) -> Photo:
    """Images are called by their height, and some by their trouble."""
    if name == "damaged":
        raise UnreadableImageError("The image is damaged.")
    if name == "away":
        raise FileNotFoundError(2, "No such file or directory", name)
    return Photo.of(np.zeros((int(name), 10, 3), np.uint8))


def test_every_image_has_a_result_in_order(predictor: Predictor) -> None:
    names = ["5", "damaged", "7", "away", "9"]
    batches = list(results(predictor, names, image, batch=2))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    found = [result for batch in batches for result in batch]
    assert [result.source for result in found] == names
    assert [result.prediction and result.prediction.height for result in found] == [5, None, 7, None, 9]
    assert [result.status for result in found] == ["no_face", "unreadable", "no_face", "unreadable", "no_face"]
    assert [result.reason for result in found] == [
        "",
        "The image is damaged.",
        "",
        "The file cannot be read: No such file or directory.",
        "",
    ]


def test_large_images_make_small_batches(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BATCH_PX", 1000)  # 100 rows
    batches = results(predictor, ["40", "40", "40", "100", "5", "5"], image, batch=4)
    assert [len(batch) for batch in batches] == [3, 1, 2]


def test_only_two_batches_are_in_memory_however_many_images_there_are(predictor: Predictor) -> None:
    taken = 0

    def names() -> Any:
        nonlocal taken
        for _ in range(10_000):
            taken += 1
            yield "3"

    seen = 0
    for batch in results(predictor, names(), image, batch=50):
        seen += len(batch)
        assert taken <= seen + 50
    assert seen == 10_000


def test_an_unexpected_error_is_not_a_result(predictor: Predictor) -> None:
    def broken(name: str) -> Photo:
        raise ZeroDivisionError(name)

    with pytest.raises(ZeroDivisionError):
        list(results(predictor, [str(Path("a"))], broken, batch=2))
