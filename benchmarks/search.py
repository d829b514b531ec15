"""What an answer costs with MTCNN's own search and with the quicker one of the Predictor, and whether they agree.

    OMP_NUM_THREADS=1 python benchmarks/search.py starter --photos wild.zip photos.zip fer2013.zip --faces photos.zip

Each photograph is answered from its bytes by both, in turns. Times are medians of CPU time, which other processes
disturb least; compare the two of one run. `off`: how far apart their landmarks are, mean of the five, as a share of the
eye distance, median and 95th percentile over the faces of both. `same label`: the share of those faces. `right`: the
share of all photographs whose largest face gets the label of the photograph's folder, where the folders are named as
the model's classes. Then scenes of 12 megapixels, as photographs.py makes them: the truth is where MTCNN sees each face
in its own photograph.
"""

from __future__ import annotations

import argparse
import random
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from images import ENDINGS
from photographs import SCENES, Scene, nearest, scene
from tables import markdown

from ferops.datasets.images import decode
from ferops.faces.detectors import build
from ferops.inference.prediction import Face, Prediction
from ferops.inference.predictor import Predictor

SMALLEST = {"sixty of the smallest": (60, 0.042)}
"""Their faces have about 37 of the 1280 pixels that are searched; MTCNN looks for 36 and more."""


@dataclass
class Side:
    predictor: Predictor
    found: int = 0
    right: int = 0
    errors: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def answer(self, encoded: bytes) -> Prediction:
        started = time.process_time()
        answer = self.predictor.predict(encoded)
        self.cpu_ms.append(1000 * (time.process_time() - started))
        return answer


@dataclass
class Pairs:
    """Faces that both found."""

    off: list[float] = field(default_factory=list)
    same: list[bool] = field(default_factory=list)

    def add(self, one: Face, other: Face) -> None:
        eyes = np.hypot(*(one.landmarks[1] - one.landmarks[0]))
        self.off.append(float(np.hypot(*(one.landmarks - other.landmarks).T).mean() / eyes))
        self.same.append(one.label == other.label)

    def cells(self) -> list[str]:
        middle, most = np.percentile(self.off, [50, 95])
        return [f"{100 * middle:.1f}, {100 * most:.1f}", f"{100 * np.mean(self.same):.1f}"]


def labelled(path: Path, *, limit: int, seed: int) -> list[tuple[str, bytes]]:
    """Return (folder, file) of `limit` images of a zip, drawn at random."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if Path(name).suffix.lower() in ENDINGS)
        random.Random(seed).shuffle(names)
        return [(Path(name).parent.name, archive.read(name)) for name in names[:limit]]


def photographs(sides: dict[str, Side], images: Sequence[tuple[str, bytes]]) -> list[list[str]]:
    pairs = Pairs()
    classes = next(iter(sides.values())).predictor.config.classes
    known = {folder for folder, _ in images} <= set(classes)
    for _, encoded in images[:20]:  # OpenVINO prepares their sizes
        for side in sides.values():
            side.predictor.predict(encoded)
    for folder, encoded in images:
        answers = [side.answer(encoded) for side in sides.values()]
        for side, answer in zip(sides.values(), answers, strict=True):
            side.found += bool(answer.faces)
            side.right += bool(answer.faces) and answer.faces[0].label == folder
        if all(answer.faces and not answer.rotation for answer in answers):
            one, other = (answer.faces[0] for answer in answers)
            if nearest([one], other.landmarks)[0]:  # not another person
                pairs.add(one, other)
    return [
        [
            name,
            f"{100 * side.found / len(images):.1f}",
            f"{100 * side.right / len(images):.1f}" if known else "-",
            *pairs.cells(),
            *times(side),
        ]
        for name, side in sides.items()
    ]


def scenes(sides: dict[str, Side], each: Sequence[Scene]) -> list[list[str]]:
    pairs = Pairs()
    for one in each:
        found = []
        for side in sides.values():
            faces = side.answer(one.encoded).faces
            matched = [nearest(faces, truth) for truth in one.truth]
            side.found += sum(face is not None for face, _ in matched)
            side.errors += [error for face, error in matched if face]
            found.append([face for face, _ in matched])
        for first, second in zip(*found, strict=True):
            if first and second:
                pairs.add(first, second)
    there = sum(len(one.truth) for one in each)
    return [
        [
            name,
            f"{100 * side.found / there:.1f}",
            f"{100 * float(np.median(side.errors)):.1f}",
            *pairs.cells(),
            *times(side),
        ]
        for name, side in sides.items()
    ]


def times(side: Side) -> list[str]:
    middle, most = np.percentile(side.cpu_ms, [50, 90])
    return [f"{middle:.1f}", f"{most:.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of an exported model, starter, or a version; trained with mtcnn")
    parser.add_argument("--photos", type=Path, nargs="*", default=[], help="zips of photographs")
    parser.add_argument("--limit", type=int, default=300, help="photographs of each")
    parser.add_argument("--faces", type=Path, help="zip of photographs with one face each, for the scenes")
    parser.add_argument("--scenes", type=int, default=4, help="of each kind")
    parser.add_argument("--seed", type=int, default=11)
    asked = parser.parse_args()
    quick = Predictor.load(asked.model)
    settings = quick.config.faces
    detector = build(settings.detector, min_confidence=settings.min_confidence)
    slow = Predictor(Path(), detector=detector, classifier=quick._classifier)  # the same, whatever the model is
    predictors = {settings.detector: slow, "quicker": quick}

    def fresh() -> dict[str, Side]:
        return {name: Side(predictor) for name, predictor in predictors.items()}

    rows = []
    for path in asked.photos:
        images = labelled(path, limit=asked.limit, seed=asked.seed)
        rows += [[f"{len(images)} of {path.name}", *cells] for cells in photographs(fresh(), images)]
    if rows:
        head = ["photographs", "search", "found, %", "right, %", "off, %: median, 95 %", "same label, %"]
        print(markdown([*head, "CPU ms: median", "90 %"], rows), flush=True)
    if asked.faces:
        photos = [decode(encoded) for _, encoded in labelled(asked.faces, limit=60, seed=asked.seed)]
        known = [(photo, found.faces[0].landmarks) for photo in photos if (found := slow.predict(photo)).faces]
        size = (4000, 3000)
        rows = []
        for name, (count, share) in (SCENES | SMALLEST).items():
            made = []
            for number in range(asked.scenes):
                drawn = [known[i] for i in np.random.default_rng(number).choice(len(known), count)]
                made.append(scene(drawn, size=size, side_px=int(share * max(size)), seed=number))
            rows += [[name, *cells] for cells in scenes(fresh(), made)]
        head = ["scene of 12 megapixels", "search", "found, %", "landmark error, %", "off, %: median, 95 %"]
        print(markdown([*head, "same label, %", "CPU ms: median", "90 %"], rows), flush=True)


if __name__ == "__main__":
    main()
