"""Heat maps of classifiers whose reason is known: they answer by the detail in one place of the face."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray
from test_predictor import Told, detection

from ferops.faces.photo import Photo
from ferops.inference import extras
from ferops.inference.extras import MAX_EXPLAINED, Wanted
from ferops.inference.occlusion import heat_of
from ferops.inference.predictor import Predictor

SIZE_PX = 48
FACE = np.random.default_rng(1).integers(0, 256, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
"""Detail everywhere, so that blurring it changes something."""


def by_detail(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Class 0 speaks from the upper left quarter, class 1 from the lower right one."""
    half = SIZE_PX // 2
    detail = [
        quarter.astype(np.float32).std(axis=(1, 2, 3)) for quarter in (faces[:, :half, :half], faces[:, half:, half:])
    ]
    odds = np.exp(0.05 * np.stack([*detail, np.full(len(faces), 70.0)], axis=1))
    return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


def test_the_map_marks_what_speaks_for_the_class_that_is_asked_about() -> None:
    half = SIZE_PX // 2
    for label, quarter in enumerate((np.s_[:half, :half], np.s_[half:, half:])):
        heat = heat_of(by_detail, FACE, label)
        assert (heat.values.shape, heat.values.min(), heat.values.max()) == ((SIZE_PX, SIZE_PX), 0, 1)
        assert heat.values[quarter].sum() > 0.8 * heat.values.sum()
        assert 0.02 < heat.fall < 1


def test_where_no_part_decides_the_map_is_empty() -> None:
    def always(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.tile(np.array([[0.9, 0.1]], np.float32), (len(faces), 1))

    heat = heat_of(always, FACE, 0)
    assert (heat.values.max(), heat.fall) == (0, 0)


def test_extras_come_for_the_faces_of_the_answer_and_nobody_stays_unblurred(make_export: Any) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (300, 900, 1), dtype=np.uint8).repeat(3, axis=2)
    faces = [detection(10 + 100 * each, 100, 60) for each in range(MAX_EXPLAINED + 2)]
    predictor = Predictor(make_export(), detector=Told(faces, faces))
    wanted = Wanted(explain=True, crops=True, blur=True)
    prediction, found = extras.predict(predictor, Photo.of(pixels), wanted, max_faces=MAX_EXPLAINED + 1)
    assert (len(prediction.faces), prediction.faces_found) == (MAX_EXPLAINED + 1, MAX_EXPLAINED + 2)
    assert (len(found.crops), len(found.heat), found.faces_explained) == (
        MAX_EXPLAINED + 1,
        MAX_EXPLAINED,
        MAX_EXPLAINED,
    )
    assert found.blurred is not None
    shown = Photo.decode(base64.b64decode(found.blurred)).full().astype(np.float32)
    for face in faces:
        x1, y1, x2, y2 = (round(float(side)) for side in face.box)
        assert shown[y1:y2, x1:x2].std() < 0.3 * pixels[y1:y2, x1:x2].std()
    assert shown[:60].std() > 0.8 * pixels[:60].std()  # the rest stays
    assert extras.predict(predictor, Photo.of(pixels), extras.NONE, max_faces=9)[1] == extras.Extras()
