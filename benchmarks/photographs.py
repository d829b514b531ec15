"""Large photographs: how many of their faces are found, how far off the landmarks are, and how long an answer takes.

    python benchmarks/photographs.py starter --faces PHOTOS.zip                  # 12 megapixels
    python benchmarks/photographs.py starter --faces PHOTOS.zip --width 6000 --height 4000

The scenes are made at run time: photographs of one face each, pasted at known places into a ground of noise, and saved
as JPEG. The truth is where the detector sees each face in its own photograph. Every scene is answered twice, decoded
whole and decoded as the Predictor does, in turns; `same label`: the share of the faces of both that they label alike.
Times are medians of CPU time, which other processes disturb least (`OMP_NUM_THREADS=1`); compare the sides of one run.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from images import read
from PIL import Image
from tables import markdown

from ferops.datasets.images import decode
from ferops.faces.photo import Photo
from ferops.inference.prediction import Face
from ferops.inference.predictor import Predictor

SCENES = {"one large face": (1, 0.45), "six faces": (6, 0.2), "fifteen": (15, 0.1), "forty small ones": (40, 0.055)}
"""How many photographs, and their sides as shares of the scene's longest side; a face is 0.7 of that."""
NEAR = 0.5  # landmarks closer than this, in eye distances, are of the same face


@dataclass(frozen=True, eq=False)
class Scene:
    """A JPEG, and the landmarks of its faces, each `(5, 2)`."""

    encoded: bytes
    truth: list[np.ndarray]


@dataclass
class Side:
    decode: Callable[[bytes], Photo]
    found: int = 0
    errors: list[float] = field(default_factory=list)
    decode_ms: list[float] = field(default_factory=list)
    predict_ms: list[float] = field(default_factory=list)


def scene(faces: Sequence[tuple[np.ndarray, np.ndarray]], *, size: tuple[int, int], side_px: int, seed: int) -> Scene:
    """Paste `faces`, photographs and their landmarks, into a ground of size (width, height)."""
    rng = np.random.default_rng(seed)
    width, height = size
    coarse = rng.integers(40, 216, (height // 50, width // 50, 3), dtype=np.uint8)
    pixels = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    columns, rows = width // side_px, height // side_px
    places = rng.permutation(columns * rows)[: len(faces)]
    truth = []
    for place, (photo, landmarks) in zip(places, faces, strict=True):
        scale = side_px / max(photo.shape[:2])
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=method)
        x, y = (place % columns) * width // columns, (place // columns) * height // rows
        pixels[y : y + small.shape[0], x : x + small.shape[1]] = small
        truth.append(landmarks * scale + (x, y))
    grain = rng.normal(0, 3, (height, width, 1)).astype(np.float32)
    stream = io.BytesIO()
    Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
    return Scene(stream.getvalue(), truth)


def nearest(faces: Sequence[Face], truth: np.ndarray) -> tuple[Face | None, float]:
    """Return the face at `truth`, and how far off it is in eye distances; None where there is none."""
    eyes = np.hypot(*(truth[1] - truth[0]))
    errors = [float(np.hypot(*(face.landmarks - truth).T).mean() / eyes) for face in faces]
    best = int(np.argmin(errors)) if errors else -1
    return (faces[best], errors[best]) if errors and errors[best] < NEAR else (None, np.nan)


def answer(predictor: Predictor, side: Side, each: Scene) -> list[Face | None]:
    started = time.process_time()
    photo = side.decode(each.encoded)
    decoded = time.process_time()
    faces = predictor.predict(photo).faces
    side.predict_ms.append(1000 * (time.process_time() - decoded))
    side.decode_ms.append(1000 * (decoded - started))
    pairs = [nearest(faces, truth) for truth in each.truth]
    side.found += sum(face is not None for face, _ in pairs)
    side.errors += [error for face, error in pairs if face]
    return [face for face, _ in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of an exported model, starter, or a version")
    parser.add_argument("--faces", type=Path, required=True, help="zip of photographs with one face each")
    parser.add_argument("--width", type=int, default=4000)
    parser.add_argument("--height", type=int, default=3000)
    parser.add_argument("--scenes", type=int, default=10, help="of each kind")
    asked = parser.parse_args()
    predictor = Predictor.load(asked.model)
    photos = [decode(each) for each in read(asked.faces, limit=60, seed=3)]
    known = [(photo, found.faces[0].landmarks) for photo in photos if (found := predictor.predict(photo)).faces]
    rows = []
    for name, (count, share) in SCENES.items():
        sides = {"whole": Side(lambda data: Photo.of(decode(data))), "reduced": Side(Photo.decode)}
        same = both = faces = 0
        for number in range(asked.scenes):
            drawn = [known[i] for i in np.random.default_rng(number).choice(len(known), count)]
            size = (asked.width, asked.height)
            each = scene(drawn, size=size, side_px=int(share * max(size)), seed=number)
            faces += count
            pairs = list(zip(*(answer(predictor, side, each) for side in sides.values()), strict=True))
            both += sum(bool(one and other) for one, other in pairs)
            same += sum(bool(one and other and one.label == other.label) for one, other in pairs)
        for decoding, side in sides.items():
            rows.append(
                [
                    f"{name}, {decoding}",
                    f"{100 * side.found / faces:.1f}",
                    f"{100 * float(np.median(side.errors)):.1f}",
                    f"{100 * same / both:.1f}",
                    f"{np.median(side.decode_ms):.0f}",
                    f"{np.median(side.predict_ms):.0f}",
                ]
            )
            print(rows[-1], flush=True)
    print(f"\n{asked.width} x {asked.height} pixels, {asked.scenes} scenes of each kind\n")
    print(markdown(["scene", "found, %", "landmark error, %", "same label, %", "decode, ms", "search, ms"], rows))


if __name__ == "__main__":
    main()
