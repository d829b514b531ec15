"""How many faces MTCNN finds, how steadily and how fast, with and without the black border.

    python benchmarks/detect.py --images data/synthetic.parquet --images PHOTOS.zip --images FOLDER --limit 300

The images of each path are split at random in two halves: pick a border rule by the first, believe the second.
`mirror` is the median distance between the landmarks of an image and those of its mirror image, in % of the eye
distance: a detector that cannot agree with itself cannot be right twice. No labels are needed.

`batch 1` calls the detector image by image, `bulk` with 64 images at once. `stage` decodes, detects in bulk and
aligns, as `ferops preprocess` does; its rate is compared with a bare loop over facenet_pytorch.MTCNN.detect on decoded
images, without a border and one by one.
"""

from __future__ import annotations

import argparse
import random
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow.parquet as pq

from ferops.datasets.images import decode
from ferops.faces.align import choose
from ferops.faces.crop import face_from
from ferops.faces.detector import Border, Detection, Detector, Image, mtcnn

ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
BULK = 64
MIRRORED = [1, 0, 2, 4, 3]  # left and right change places


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, action="append", required=True, help="Parquet source, zip or folder")
    parser.add_argument("--limit", type=int, default=300, help="images drawn at random from each path")
    parser.add_argument("--min-confidence", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    print(
        f"{'images':<16}{'n':>5}  {'border':<9}{'found, half 1':>14}{'half 2':>8}{'mirror':>8}"
        f"{'batch 1':>11}{'bulk':>9}{'stage':>9}{'stage / bare loop':>19}"
    )
    for path in options.images:
        encoded = read(path)
        random.Random(options.seed).shuffle(encoded)
        measure(path.stem, encoded[: options.limit], min_confidence=options.min_confidence)


def read(path: Path) -> list[bytes]:
    """Return the encoded images of a Parquet source file, a zip or a folder tree, in a stable order."""
    if path.is_dir():
        return [file.read_bytes() for file in sorted(path.rglob("*")) if file.suffix.lower() in ENDINGS]
    if path.suffix == ".parquet":
        return [image.as_py() for image in pq.read_table(path, columns=["image"])["image"]]
    with zipfile.ZipFile(path) as archive:
        return [archive.read(name) for name in sorted(archive.namelist()) if Path(name).suffix.lower() in ENDINGS]


def measure(name: str, encoded: Sequence[bytes], *, min_confidence: float) -> None:
    images = [decode(each) for each in encoded]
    bare_ms = bare_loop(images)
    for border in get_args(Border):
        detector = mtcnn(min_confidence=min_confidence, border=border)
        detector.detect(images[:1])  # the first call warms up
        found: list[list[Detection]] = []
        one_ms = milliseconds(lambda: found.extend(detector.detect([i])[0] for i in images), len(images))  # noqa: B023
        bulk_ms = milliseconds(lambda: in_bulk(detector, images), len(images))  # noqa: B023
        stage_ms = milliseconds(lambda: as_the_stage(detector, encoded), len(images))  # noqa: B023
        hits = np.array([bool(faces) for faces in found])
        half = len(hits) // 2
        print(
            f"{name[:15]:<16}{len(images):>5}  {border:<9}{hits[:half].mean():>14.1%}{hits[half:].mean():>8.1%}"
            f"{mirror_disagreement(detector, images, found):>8.1%}"
            f"{one_ms:>8.1f} ms{bulk_ms:>6.1f} ms{stage_ms:>6.1f} ms{bare_ms / stage_ms:>19.2f}",
            flush=True,
        )


def milliseconds(work: Callable[[], object], images: int) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started) / images


def bare_loop(images: Sequence[Image]) -> float:
    """Return milliseconds per image of the plain package."""
    from facenet_pytorch import MTCNN

    net = MTCNN(keep_all=True)
    net.detect(images[0])  # the first call warms up
    return milliseconds(lambda: [net.detect(image, landmarks=True) for image in images], len(images))


def in_bulk(detector: Detector, images: Sequence[Image]) -> None:
    for start in range(0, len(images), BULK):
        detector.detect(images[start : start + BULK])


def as_the_stage(detector: Detector, encoded: Sequence[bytes]) -> None:
    for start in range(0, len(encoded), BULK):
        images = [decode(each) for each in encoded[start : start + BULK]]
        for image, faces in zip(images, detector.detect(images), strict=True):
            face_from(image, faces, size_px=64, margin=0.1, how="largest")


def mirror_disagreement(detector: Detector, images: Sequence[Image], found: Sequence[list[Detection]]) -> float:
    """Return the median over the images in which a face is found both ways, as a share of the eye distance."""
    distances = []
    for image, faces in zip(images, found, strict=True):
        here = choose(faces, image_shape=image.shape, how="largest")
        mirror = choose(
            detector.detect([np.ascontiguousarray(image[:, ::-1])])[0], image_shape=image.shape, how="largest"
        )
        if here is None or mirror is None:
            continue
        back = mirror.landmarks[MIRRORED] * (-1, 1) + (image.shape[1], 0)
        eyes = np.hypot(*(here.landmarks[1] - here.landmarks[0]))
        distances.append(np.hypot(*(here.landmarks - back).T).mean() / eyes)
    return float(np.median(distances)) if distances else float("nan")


if __name__ == "__main__":
    main()
