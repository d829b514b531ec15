"""The Predictor with a detector that is told what to find and a classifier that can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ferops.classes import DEFAULT_CLASSES, KNOWN_LABELS
from ferops.config import Tta
from ferops.errors import FeropsError
from ferops.faces.align import align
from ferops.faces.detection import Detection
from ferops.inference.predictor import Predictor
from ferops.model_config import ExportConfig, read_model_config

# Eyes, nose and mouth corners of an upright face whose box is 0-100, in shares of it
FACE = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])


def detection(x: float, y: float, side: float, *, score: float = 0.99) -> Detection:
    return Detection(
        box=np.array([x, y, x + side, y + side], np.float32),
        landmarks=(FACE * side + (x, y)).astype(np.float32),
        score=score,
    )


class Told:
    """A detector that finds what it was told, image by image."""

    def __init__(self, *answers: list[Detection]) -> None:
        self.answers = list(answers)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        found, self.answers = self.answers[: len(images)], self.answers[len(images) :]
        return found


def flat(colour: tuple[int, int, int], *, height: int = 200, width: int = 300) -> NDArray[np.uint8]:
    return np.full((height, width, 3), colour, np.uint8)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def test_probabilities_are_the_models_own(make_export: Any) -> None:
    """A uniform red image has mean (255, 0, 0) wherever it is cut: logits are 4, 0, 0, 2 + 3, 0, 0."""
    folder = make_export(favours="happy", temperature=2.0)
    face = Predictor(folder, detector=Told([detection(100, 50, 80)])).predict([flat((255, 0, 0))])[0].faces[0]
    expected = softmax(np.array([4, 0, 0, 5, 0, 0]) / 2.0)
    np.testing.assert_allclose(face.probabilities, expected, atol=1e-5)
    assert face.probabilities.sum() == pytest.approx(1, abs=1e-6)
    assert face.label == "happy"
    assert face.confidence == pytest.approx(expected[DEFAULT_CLASSES.index("happy")], abs=1e-5)


def test_the_classifier_sees_what_training_saw(make_export: Any) -> None:
    seen: list[NDArray[np.uint8]] = []

    class Spy:
        config = read_model_config(make_export(), ExportConfig)
        tta: Tta = "off"

        def probabilities(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
            seen.append(faces)
            return np.full((len(faces), 6), 1 / 6, np.float32)

    image = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    found = detection(100, 50, 80)
    Predictor(Path("unused"), detector=Told([found]), classifier=Spy()).predict([image])
    np.testing.assert_array_equal(seen[0], [align(image, found.landmarks, size_px=32, margin=0.1)])


def test_geometry_is_the_detectors_own(make_export: Any) -> None:
    found = detection(-5, 50, 80, score=0.97)
    face = Predictor(make_export(), detector=Told([found])).predict([flat((9, 9, 9))])[0].faces[0]
    assert face.box == (-5, 50, 75, 130)
    np.testing.assert_array_equal(face.landmarks, found.landmarks)
    assert face.detection_score == pytest.approx(0.97)


def test_no_face_is_a_status(make_export: Any) -> None:
    prediction = Predictor(make_export(), detector=Told([])).predict([flat((0, 0, 0))])[0]
    assert prediction.status == "no_face"
    assert prediction.faces == ()


def test_faces_go_back_to_their_own_image(make_export: Any) -> None:
    """Faces of all images share one batch; here the colour tells which image a probability vector came from."""
    red, blue = flat((255, 0, 0)), flat((0, 0, 255))
    told = Told([detection(10, 10, 40), detection(100, 10, 60)], [], [detection(10, 10, 50)])
    red_one, none, blue_one = Predictor(make_export(favours="none"), detector=told).predict([red, red, blue])
    assert [face.label for face in red_one.faces] == ["anger", "anger"]
    assert none.status == "no_face"
    assert [face.label for face in blue_one.faces] == ["fear"]


def test_below_the_threshold_a_person_should_look(make_export: Any) -> None:
    red = softmax(np.array([4.0, 0, 0, 2, 0, 0]))[0]
    for threshold, status in ((red - 0.01, "ok"), (red + 0.01, "low_confidence")):
        told = Told([detection(10, 10, 40)])
        folder = make_export(favours="none", low_confidence=float(threshold))
        prediction = Predictor(folder, detector=told).predict([flat((255, 0, 0))])[0]
        assert prediction.status == status
        assert prediction.faces[0].status == status


def test_the_largest_face_comes_first_and_max_faces_cuts_the_rest(make_export: Any) -> None:
    faces = [detection(0, 0, 90), detection(100, 50, 60), detection(200, 90, 30)]
    predictor = Predictor(make_export(), detector=Told(faces, faces, faces))
    widths = [
        [face.box[2] - face.box[0] for face in predictor.predict([flat((0, 0, 0))], max_faces=limit)[0].faces]
        for limit in (None, 2, 1)
    ]
    assert widths == [[90, 60, 30], [90, 60], [90]]


def test_central_puts_the_face_nearest_the_centre_first(make_export: Any) -> None:
    import json

    folder = make_export()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "choose": "central"}))
    told = Told([detection(0, 0, 90), detection(120, 70, 60)])
    prediction = Predictor(folder, detector=told).predict([flat((0, 0, 0), height=200, width=300)])[0]
    assert [face.box[0] for face in prediction.faces] == [120, 0]


def test_the_classes_are_the_models_own(make_export: Any) -> None:
    class EightClasses:
        config = read_model_config(make_export(), ExportConfig).model_copy(update={"classes": KNOWN_LABELS})
        tta: Tta = "off"

        def probabilities(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.tile(np.eye(8, dtype=np.float32)[KNOWN_LABELS.index("contempt")], (len(faces), 1))

    predictor = Predictor(Path("unused"), detector=Told([detection(10, 10, 40)]), classifier=EightClasses())
    assert predictor.predict([flat((9, 9, 9))])[0].faces[0].label == "contempt"


def test_cropping_and_classifying_give_the_prediction(make_export: Any) -> None:
    faces = [detection(0, 0, 90), detection(100, 50, 60)]
    predictor = Predictor(make_export(), detector=Told(faces, faces))
    image = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    (crops,) = predictor.crop([image])
    probabilities = predictor.classify(np.stack([crop.pixels for crop in crops]))
    (prediction,) = predictor.predict([image])
    np.testing.assert_array_equal(probabilities, [face.probabilities for face in prediction.faces])


def test_an_empty_folder_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match="export"):
        Predictor(tmp_path, detector=Told())
