"""The Predictor with a detector that is told what to find and a classifier that can be worked out by hand."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ferops.classes import DEFAULT_CLASSES, KNOWN_LABELS
from ferops.config import Tta
from ferops.errors import FeropsError
from ferops.faces.align import align
from ferops.faces.crop import crop_faces
from ferops.faces.detection import Detection
from ferops.faces.photo import Photo
from ferops.inference.predictor import Predictor
from ferops.model_config import ExportConfig, read_model_config
from rendered import portraits
from sample_images import encoded

# Eyes, nose and mouth corners of an upright face whose box is 0-100, in shares of it
FACE = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])


def detection(x: float, y: float, side: float, *, score: float = 0.99) -> Detection:
    return Detection(
        box=np.array([x, y, x + side, y + side], np.float32),
        landmarks=(FACE * side + (x, y)).astype(np.float32),
        score=score,
    )


class Told:
    """A detector that finds what it was told, image by image, and then nothing."""

    def __init__(self, *answers: list[Detection]) -> None:
        self.answers = list(answers)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        found, self.answers = self.answers[: len(images)], self.answers[len(images) :]
        return found + [[]] * (len(images) - len(found))


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


def test_a_set_holds_what_reaches_the_threshold_and_the_likeliest(make_export: Any) -> None:
    # Logits 4, 0, 0, 2 + 1, 0, 0: probabilities 0.70 and 0.26, and 0.01 for each of the others
    def answered(threshold: float | None) -> tuple[str, ...] | None:
        folder = make_export(favours="happy", by=1.0, coverage=0.9, set_threshold=threshold)
        predictor = Predictor(folder, detector=Told([detection(100, 50, 80)]))
        return predictor.predict(flat((255, 0, 0))).faces[0].set

    likely = DEFAULT_CLASSES[0], "happy"
    assert answered(0.2) == likely
    assert answered(0.9) == likely[:1]
    assert set(answered(0.0) or ()) == set(DEFAULT_CLASSES)
    assert answered(None) is None


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


def test_a_face_that_stands_on_its_head_is_never_ok(make_export: Any) -> None:
    upright = detection(10, 10, 40)
    head_over = Detection(box=upright.box, landmarks=upright.landmarks[::-1].copy(), score=upright.score)
    predictor = Predictor(make_export(favours="none", low_confidence=0), detector=Told([upright], [head_over]))
    found = predictor.predict([flat((255, 0, 0))] * 2)
    assert [image.status for image in found] == ["ok", "low_confidence"]


def test_the_largest_face_comes_first_and_max_faces_cuts_the_rest(make_export: Any) -> None:
    faces = [detection(0, 0, 90), detection(100, 50, 60), detection(200, 90, 30)]
    predictor = Predictor(make_export(), detector=Told(faces, faces, faces))
    widths = [
        [face.box[2] - face.box[0] for face in predictor.predict([flat((0, 0, 0))], max_faces=limit)[0].faces]
        for limit in (None, 2, 1)
    ]
    assert widths == [[90, 60, 30], [90, 60], [90]]


def test_faces_that_are_left_out_are_counted(make_export: Any) -> None:
    faces = [detection(0, 0, 90), detection(100, 50, 60), detection(200, 90, 30)]
    predictor = Predictor(make_export(), detector=Told(faces, []))
    crowd, nobody = predictor.predict([flat((0, 0, 0)), flat((0, 0, 0))], max_faces=2)
    assert (len(crowd.faces), crowd.faces_found) == (2, 3)
    assert (nobody.faces, nobody.faces_found, nobody.status) == ((), 0, "no_face")


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
    crops = crop_faces(Photo.of(image), faces, predictor.config.faces)
    probabilities = predictor.classify(np.stack([crop.pixels for crop in crops]))
    (prediction,) = predictor.predict([image])
    np.testing.assert_array_equal(probabilities, [face.probabilities for face in prediction.faces])


def test_one_image_has_one_prediction_and_several_have_a_list(make_export: Any, tmp_path: Path) -> None:
    faces = [detection(10, 10, 40)]
    red = flat((255, 0, 0))
    (tmp_path / "red.png").write_bytes(encoded(red))
    predictor = Predictor(make_export(favours="none"), detector=Told(*[faces] * 20))
    for one in (red, red / 255, Image.fromarray(red), tmp_path / "red.png", str(tmp_path / "red.png"), encoded(red)):
        found = predictor.predict(one)
        assert (found.faces[0].label, found.width, found.height) == ("anger", 300, 200)
    assert predictor.predict(red[..., ::-1], bgr=True).faces[0].label == "anger"
    assert predictor.predict(red[..., ::-1]).faces[0].label == "fear"
    for several in ([red, tmp_path / "red.png"], (red, encoded(red)), iter([red, red])):
        assert [each.faces[0].label for each in predictor.predict(several)] == ["anger", "anger"]
    assert predictor.predict([]) == []
    with pytest.raises(TypeError, match=r"found builtins\.dict for an image\. Supported: an array"):
        predictor.predict({})  # type: ignore[call-overload]


def test_many_images_are_answered_in_batches(make_export: Any) -> None:
    sizes: list[int] = []

    class Counting:
        def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
            sizes.append(len(images))
            return [[detection(10, 10, 40)] for _ in images]

    predictor = Predictor(make_export(favours="none"), detector=Counting())
    colours = [(255, 0, 0), (0, 0, 255)] * 5
    found = predictor.predict((flat(colour) for colour in colours), batch=4)
    assert sizes == [4, 4, 2]
    assert [each.faces[0].label for each in found] == ["anger", "fear"] * 5


def test_threads_get_the_answers_to_their_own_images(make_export: Any) -> None:
    """The detector is not thread-safe: it finds what lies in a place of its own, as OpenVINO's requests do."""

    class Shared:
        image: NDArray[np.uint8]

        def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
            found = []
            for image in images:
                self.image = image
                time.sleep(0.001)  # others run
                found.append([detection(0, 0, float(self.image.shape[0]))])
            return found

    predictor = Predictor(make_export(favours="none"), detector=Shared())
    images = [flat(((255, 0, 0), (0, 0, 255))[i % 2], height=40 + i) for i in range(64)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(predictor.predict, images))
    assert [each.faces[0].box[2] for each in found] == [40 + i for i in range(64)]
    assert [each.faces[0].label for each in found] == ["anger", "fear"] * 32


@pytest.mark.slow
def test_the_detector_itself_in_threads(make_export: Any) -> None:
    images = [image for image, _ in portraits()[:2]]
    predictor = Predictor(make_export())
    wanted = predictor.predict(images)
    assert all(each.faces for each in wanted)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(predictor.predict, images * 4))
    for each, right in zip(found, wanted * 4, strict=True):
        assert each.faces[0].box == right.faces[0].box
        np.testing.assert_array_equal(each.faces[0].probabilities, right.faces[0].probabilities)


def test_a_prediction_as_a_table(make_export: Any) -> None:
    told = Told([detection(0, 0, 90), detection(100, 50, 60)], [])
    some, none = Predictor(make_export(favours="none"), detector=told).predict([flat((255, 0, 0))] * 2)
    table = some.to_dataframe()
    assert table["face"].tolist() == [1, 2]
    assert table["label"].tolist() == ["anger", "anger"]
    assert table[["x1", "y1", "x2", "y2"]].to_numpy().tolist() == [[0, 0, 90, 90], [100, 50, 160, 110]]
    probabilities = table[[f"p_{name}" for name in DEFAULT_CLASSES]].to_numpy()
    np.testing.assert_allclose(probabilities, [face.probabilities for face in some.faces], atol=1e-6)
    assert none.to_dataframe().empty
    assert list(none.to_dataframe()) == list(table)


def test_importing_ferops_imports_nothing() -> None:
    script = (
        "import ferops, sys; assert 'numpy' not in sys.modules; from ferops import Predictor; print(Predictor.load)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "Predictor.load" in done.stdout


def test_an_empty_folder_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match="export"):
        Predictor(tmp_path, detector=Told())


def test_crops_and_heat_come_when_they_are_asked_for(make_export: Any) -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    found = detection(100, 50, 80)
    predictor = Predictor(make_export(), detector=Told([found], [found], [found]))
    plain, cropped, explained = (
        predictor.predict(image, **asked).faces[0] for asked in ({}, {"crops": True}, {"explain": True})
    )
    assert (plain.crop, plain.heat, cropped.heat) == (None, None, None)
    for face in (cropped, explained):
        np.testing.assert_array_equal(face.crop, align(image, found.landmarks, size_px=32, margin=0.1))
    assert explained.heat is not None
    assert explained.heat.values.shape == (32, 32)
    np.testing.assert_array_equal(explained.probabilities, plain.probabilities)
