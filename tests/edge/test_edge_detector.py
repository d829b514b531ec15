"""The detector's networks as ONNX give the numbers of those that ferops runs, which OpenVINO builds otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ferops.edge.detector import OUTPUTS, write_mtcnn
from ferops.edge.graph import INPUT
from ferops.edge.yunet import write_yunet
from ferops.export.latency import onnxruntime_session
from ferops.faces.detectors import mtcnn_networks
from ferops.faces.detectors.yunet_network import yunet

SHAPES = {"p_net": (1, 44, 31, 3), "r_net": (3, 24, 24, 3), "o_net": (3, 48, 48, 3)}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {path.stem: path for path in write_mtcnn(tmp_path_factory.mktemp("mtcnn"))}


@pytest.mark.parametrize("name", SHAPES)
def test_a_network_gives_the_same_numbers(files: dict[str, Path], name: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, SHAPES[name], dtype=np.uint8)
    wanted = getattr(mtcnn_networks, name)(threads=1)(images)
    session = onnxruntime_session(files[name])
    found = session.run(None, {INPUT: images})
    assert [each.name for each in session.get_outputs()] == list(OUTPUTS[: len(wanted)])
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.shape == theirs.shape
        assert ours == pytest.approx(theirs, abs=1e-5)
        assert ours.std() > 0.01  # they say something


def test_yunet_marks_the_same(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 96, 160, 3), dtype=np.uint8)
    session = onnxruntime_session(write_yunet(tmp_path))
    assert [each.name for each in session.get_outputs()] == ["stride_32", "stride_16", "stride_8"]
    for ours, theirs in zip(session.run(None, {INPUT: image}), yunet(threads=1)(image), strict=True):
        assert ours.shape == theirs.shape
        assert ours == pytest.approx(theirs, abs=1e-3)
        assert theirs.std() > 0.01
