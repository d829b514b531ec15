"""How often `ferops monitor` is wrong, and what it finds: tables for docs/monitoring.md.

    python benchmarks/monitor.py > monitor.md         # about 15 minutes on one core
    python benchmarks/monitor.py --people 60          # a quick look

Rendered faces of the default classes, a person each six times, go through the starter's Predictor once as they are, and
those that are no reference once more for each shift. Then references and windows are drawn from the answers at random,
without a common image: of unchanged images every alarm is a false one; of shifted images it is the detection. The
accuracy that is estimated without labels stands beside the true one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from itertools import islice
from typing import Any

import cv2
import numpy as np
import pandas as pd
import tables
from numpy.typing import NDArray

from ferops.classes import DEFAULT_CLASSES
from ferops.datasets.images import decode
from ferops.datasets.synthetic.generate import rows
from ferops.inference.measures import MEASURES, measures
from ferops.inference.predictor import Predictor
from ferops.monitoring.accuracy import Estimator
from ferops.monitoring.windows import compare

Image = NDArray[np.uint8]

REFERENCE = 500
SIZES = (50, 100, 200, 500)
NULLS, DRAWS = 400, 60
MORE = 4


def low_light(image: Image) -> Image:
    noise = np.random.default_rng(int(image.sum()) % 2**32).normal(0, 6, image.shape)
    return np.clip(0.4 * image + noise, 0, 255).astype(np.uint8)


def other_camera(image: Image) -> Image:
    """Out of focus by 1.5 px, and saved as JPEG of quality 30."""
    blurred = cv2.GaussianBlur(image, (0, 0), 1.5)
    _, encoded = cv2.imencode(".jpg", blurred[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 30])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)[:, :, ::-1].copy()


def from_afar(image: Image) -> Image:
    """Half as large."""
    return np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)


SHIFTS: dict[str, Callable[[Image], Image]] = {
    "low light (0.4 of it, with noise)": low_light,
    "other camera (blur 1.5 px, JPEG 30)": other_camera,
    "from afar (half the pixels)": from_afar,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=300, help="of six images each")
    asked = parser.parse_args()
    images = rendered(asked.people)
    predictor = Predictor.load("starter")
    plain = answered(predictor, images, lambda image: image)
    reference_pool = plain.iloc[: len(plain) // 2]  # people stand together, so these are others than the shifted ones
    rest = plain.iloc[len(plain) // 2 :]
    shifted = {name: answered(predictor, images[len(plain) // 2 :], shift) for name, shift in SHIFTS.items()}
    dark = rest[rest["skin"].isin([f"monk_{tone:02}" for tone in range(8, 11)])]
    shifted["another skin-tone mix (Monk 8 to 10)"] = dark
    draw = np.random.default_rng(7)

    def windows(size: int, times: int, frame: Callable[[], pd.DataFrame]) -> float:
        """Return the share of windows with drift."""
        found = 0
        for _ in range(times):
            window = frame()
            reference = reference_pool.sample(min(REFERENCE, 2 * len(reference_pool) // 3), random_state=draw)
            found += any(shift.word != "no" for shift in compare(reference, window.sample(size, random_state=draw)))
        return found / times

    sizes = [size for size in SIZES if size <= 2 * len(rest) // 3]
    print(f"{len(plain)} rendered images, references of {min(REFERENCE, 2 * len(reference_pool) // 3)}\n")
    lines = [["unchanged: false alarms", *(share(null(plain, size, draw), NULLS) for size in sizes)]]
    for name, frame in shifted.items():
        found = [windows(size, DRAWS, lambda frame=frame: frame) if size <= len(frame) else None for size in sizes]
        lines.append([name, *("too few images" if each is None else share(each, DRAWS) for each in found)])
    mixed = [windows(size, DRAWS, lambda size=size: another_mix(rest, size, draw)) for size in sizes]
    lines.append([f"another class mix (happy {MORE} times as often)", *(share(each, DRAWS) for each in mixed)])
    print(tables.markdown(["share of windows with drift", *(f"{size} images" for size in sizes)], lines))
    print()
    print(accuracies(reference_pool, {"unchanged": rest, **shifted}))


def null(plain: pd.DataFrame, size: int, draw: np.random.Generator) -> float:
    """Return the share of alarms where reference and window are drawn from the same images."""
    found = 0
    for _ in range(NULLS):
        both = plain.sample(min(REFERENCE, len(plain) // 3) + size, random_state=draw)
        found += any(shift.word != "no" for shift in compare(both.iloc[size:], both.iloc[:size]))
    return found / NULLS


def another_mix(frame: pd.DataFrame, size: int, draw: np.random.Generator) -> pd.DataFrame:
    """Return `size` images, in which happy is MORE times as probable as each other label."""
    weights = frame["label"].map(lambda label: MORE if label == "happy" else 1)
    return frame.sample(size, random_state=draw, weights=weights)


def accuracies(reference: pd.DataFrame, frames: dict[str, pd.DataFrame]) -> str:
    estimator = Estimator(reference)
    lines = []
    for name, frame in frames.items():
        faces = frame[frame["answer"].notna()]
        estimate = estimator.accuracy(faces["confidence"])
        assert estimate.value is not None
        true = float(faces["right"].mean())
        plain = float(faces["confidence"].mean())
        numbers = (true, estimate.value, estimate.low or 0.0, estimate.high or 0.0, plain)
        shares = [f"{100 * each:.1f} %" for each in numbers]
        interval = f"{shares[1]} ({shares[2]} to {shares[3]})"
        lines.append([name, str(len(faces)), shares[0], interval, f"{100 * (estimate.value - true):+.1f}", shares[4]])
    head = ["images", "with a face", "true accuracy", "estimated", "error, points", "mean confidence"]
    return tables.markdown(head, lines)


def rendered(people: int) -> list[dict[str, Any]]:
    every = rows(seed=2026, identities=people, images_per_expression=1)
    kept = (row for row in every if row["label"] in DEFAULT_CLASSES)
    return list(islice(kept, people * len(DEFAULT_CLASSES)))


def answered(predictor: Predictor, images: list[dict[str, Any]], shift: Callable[[Image], Image]) -> pd.DataFrame:
    """Return what the monitor compares, and what only the renderer knows."""
    found = []
    for place, row in enumerate(images):
        prediction = predictor.predict(shift(decode(row["image"])))
        face = prediction.faces[0] if prediction.faces else None
        found.append(
            {
                "status": face.status if face else "no_face",
                "answer": face.label if face else None,
                "confidence": face.confidence if face else np.nan,
                **(measures(face) if face else dict.fromkeys(MEASURES, np.nan)),
                "label": row["label"],
                "skin": row["group_skin_tone"],
            }
        )
        if place % 100 == 0:
            print(f"{place} of {len(images)} images", file=sys.stderr, flush=True)
    frame = pd.DataFrame(found)
    return frame.assign(right=frame["answer"] == frame["label"])


def share(found: float, of: int) -> str:
    error = 100 * 1.96 * np.sqrt(max(found * (1 - found), 1 / of) / of)
    return f"{100 * found:.1f} ± {error:.1f} %" if of == NULLS else f"{100 * found:.0f} %"


if __name__ == "__main__":
    main()
