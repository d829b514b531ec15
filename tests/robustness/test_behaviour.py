"""Each behaviour test fails the Predictor that does what it forbids, and passes one that does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ferops.evaluation.bootstrap import Resampler
from ferops.inference.prediction import Face, Prediction
from ferops.robustness.behaviour import behave, behaviour, not_anger

CLASSES = ("anger", "happy")


class Fake:
    """Answers happy with the status ok where `rule` holds for the image, else anger."""

    def __init__(self, rule: Callable[[np.ndarray], bool], *, status: str = "ok", faceless: int | None = None) -> None:
        self.rule, self.status, self.faceless = rule, status, faceless

    def predict(self, images: list[np.ndarray]) -> list[Prediction]:
        return [self._answer(image) for image in images]

    def _answer(self, image: np.ndarray) -> Prediction:
        place: Any = {"box": (0, 0, 9, 9), "landmarks": np.zeros((5, 2), np.float32), "detection_score": 0.99}
        happy = bool(self.rule(image.astype(float)))
        face = Face(
            **place,
            probabilities=np.array([1 - happy, happy], np.float32),
            label=CLASSES[happy],
            confidence=1.0,
            status=self.status,  # type: ignore[arg-type]
        )
        faces = () if int(image[0, 0, 0]) == self.faceless else (face,)
        return Prediction(faces=faces, classes=CLASSES, width=image.shape[1], height=image.shape[0])


def image() -> np.ndarray:
    """Brighter and redder to the right and below; columns of two pixels."""
    rows, columns = np.mgrid[0:20, 0:20]
    shade = 40 + 5 * columns + 2 * rows + 20 * (columns // 2 % 2)
    return np.stack([shade, shade // 2, shade // 2], axis=2).astype(np.uint8)


BREAKS: dict[str, Callable[[np.ndarray], bool]] = {
    "mirrored": lambda pixels: pixels[:, 10:].mean() > pixels[:, :10].mean(),
    "shifted": lambda pixels: bool(pixels[5, 6, 0] > pixels[5, 5, 0] + 10),
    "brighter": lambda pixels: pixels.mean() > 1.1 * image().mean(),
    "darker": lambda pixels: pixels.mean() < 0.9 * image().mean(),
    "grey": lambda pixels: pixels[..., 0].mean() > 1.2 * pixels[..., 1].mean(),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_must_change_nothing_does(name: str) -> None:
    found = behave(Fake(BREAKS[name]), [image()])  # type: ignore[arg-type]
    assert found[name] == 0.0
    assert all(values == 1.0 for other, values in found.items() if other not in (name, "upside_down", "mirrored"))


def test_an_image_on_its_head_must_not_be_ok() -> None:
    assert behave(Fake(lambda _: True), [image()])["upside_down"] == 0.0  # type: ignore[arg-type]
    assert behave(Fake(lambda _: True, status="low_confidence"), [image()])["upside_down"] == 1.0  # type: ignore[arg-type]


def test_images_without_a_face_are_not_counted() -> None:
    faceless = image()
    faceless[0, 0] = 255
    found = behave(Fake(lambda _: True, faceless=255), [image(), faceless])  # type: ignore[arg-type]
    assert np.isnan(found["grey"]).tolist() == [False, True]
    draws = Resampler([0, 1], samples=100, seed=1, level=0.95)
    one = behaviour("grey", "", found["grey"], draws, reason="none")
    assert (one.n, one.passed.value) == (1, 1.0)
    none = behaviour("grey", "", np.full(2, np.nan), draws, reason="none")
    assert (none.n, none.passed.value, none.passed.reason) == (0, None, "none")


def test_neutral_is_not_anger() -> None:
    assert not_anger(Fake(lambda _: False), [image()]) == 0.0  # type: ignore[arg-type]
    assert not_anger(Fake(lambda _: False, status="low_confidence"), [image()]) == 1.0  # type: ignore[arg-type]
    assert not_anger(Fake(lambda _: True), [image()]) == 1.0  # type: ignore[arg-type]
