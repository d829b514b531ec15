"""Are the heat maps of the service true, and what do they cost? Deletion and insertion against maps that know nothing.

    python benchmarks/explain.py starter fer2013.zip [--faces 100]

Takes the images of a folder `test` in the zip as faces, as they are, and asks the file that is served. `gap` is
insertion minus deletion (ferops.explanation.deletion), with its standard error. LayerCAM of the trained weights is
there to compare with where the folder has them; its maps are judged by the served file as well.
"""

from __future__ import annotations

import argparse
import random
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tables import markdown
from torch import Tensor

from ferops.datasets.images import decode
from ferops.explanation.deletion import centre_maps, curves, random_maps
from ferops.explanation.heat import heat_maps
from ferops.export.runtime import Classifier
from ferops.faces.crop import crop_whole
from ferops.inference.occlusion import heat_of
from ferops.training import model


class Served:
    """The exported file where `curves` wants a network: pixels are 0 to 255."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    def pixels(self, faces: Tensor) -> Tensor:
        return faces.permute(0, 3, 1, 2).float()

    def answer(self, pixels: Tensor) -> Tensor:
        faces = pixels.round().byte().permute(0, 2, 3, 1).contiguous().numpy()
        return torch.from_numpy(self._classifier.logits(faces)) / self._classifier.config.temperature


def faces_of(release: Path, *, count: int, size_px: int) -> NDArray[np.uint8]:
    with zipfile.ZipFile(release) as archive:
        names = sorted(name for name in archive.namelist() if "test/" in name and name.endswith((".jpg", ".png")))
        chosen = random.Random(0).sample(names, count)
        return np.stack([crop_whole(decode(archive.read(name)), size_px=size_px).pixels for name in chosen])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="an exported folder")
    parser.add_argument("release", type=Path, help="a zip with images of faces")
    parser.add_argument("--faces", type=int, default=100)
    arguments = parser.parse_args()
    classifier = Classifier(arguments.model)
    faces = faces_of(arguments.release, count=arguments.faces, size_px=classifier.config.size_px)
    labels = classifier.probabilities(faces).argmax(axis=1)
    start = time.perf_counter()
    occlusion = [heat_of(classifier.probabilities, face, int(label)) for face, label in zip(faces, labels, strict=True)]
    spent_ms = 1e3 * (time.perf_counter() - start) / len(faces)
    maps = {
        "occlusion": np.stack([heat.values for heat in occlusion]),
        "centre": centre_maps(*faces.shape[:2]),
        "random": random_maps(*faces.shape[:2], seed=0),
    }
    if (arguments.model / "weights.safetensors").exists():
        layer_cam = heat_maps(model.load(arguments.model)[0].eval(), faces, labels)
        if layer_cam is not None:
            maps["LayerCAM"] = layer_cam
    print(
        f"{len(faces)} faces; a map takes {spent_ms:.0f} ms; median fall {np.median([h.fall for h in occlusion]):.2f}\n"
    )
    rows = []
    for name, each in maps.items():
        found = curves(Served(classifier), faces, labels, each, seed=0)
        error = found.gap.std() / len(faces) ** 0.5
        rows.append(
            [name, *(f"{value.mean():.3f}" for value in (found.deletion, found.insertion, found.gap)), f"{error:.3f}"]
        )
    print(markdown(["map", "deletion", "insertion", "gap", "its error"], rows))


if __name__ == "__main__":
    main()
