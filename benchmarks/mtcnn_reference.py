"""Record what facenet-pytorch 2.5.3 (MIT) answers, for tests/faces/test_detector.py; the package is no dependency.

    pip install --no-deps facenet-pytorch==2.5.3
    PYTHONPATH=tests python benchmarks/mtcnn_reference.py tests/faces/facenet_pytorch.json

`cascade`: the first box, score and landmarks of MTCNN(keep_all=True).detect for each of `framed_portraits()`, null
where it finds no face. `networks`: what PNet, RNet and ONet return for `network_inputs()`, in our order of outputs.
`weights`: SHA-256 of each tensor's float32 bytes.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from facenet_pytorch import MTCNN
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

from ferops.files import write_json
from rendered import framed_portraits, network_inputs

OUTPUTS = {"pnet": [1, 0], "rnet": [1, 0], "onet": [2, 0, 1]}


def main(path: Path) -> None:
    networks = {"pnet": PNet(), "rnet": RNet(), "onet": ONet()}
    outputs, weights = {}, {}
    for name, images in network_inputs().items():
        with torch.inference_mode():
            found = networks[name]((torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127.5) / 128)
        for key, tensor in networks[name].state_dict().items():
            weights[f"{name}.{key}"] = hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
        outputs[name] = [_rounded(found[index]) for index in OUTPUTS[name]]
    source = "facenet-pytorch 2.5.3 (MIT licence, Copyright (c) 2019 Timothy Esler), by benchmarks/mtcnn_reference.py"
    cascade = [_first(image) for image in framed_portraits()]
    write_json(path, {"source": source, "weights": weights, "cascade": cascade, "networks": outputs})


def _first(image: Any) -> dict[str, Any] | None:
    boxes, scores, landmarks = MTCNN(keep_all=True).detect(image, landmarks=True)
    if boxes is None:
        return None
    return {"box": _rounded(boxes[0]), "score": _rounded(scores[0]), "landmarks": _rounded(landmarks[0])}


def _rounded(values: Any) -> Any:
    return np.asarray(values, np.float64).round(6).tolist()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
