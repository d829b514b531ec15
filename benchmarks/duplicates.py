"""How many altered copies of real images are found, at which precision, and how the cost grows.

    python benchmarks/duplicates.py quality --images fer2013.zip --out /tmp/duplicates
    python benchmarks/duplicates.py cost --images fer2013.zip --rows 36000 90000 180000 360000

`quality` plants copies of known kinds among originals, in two halves of the images: choose the threshold on the first
half, believe the second. A planted copy is found if it is paired with its own original. Every other pair counts as
false. Real data hold altered copies of their own, though; of images that already pair up at --natural, one of each
group is kept. That is a judgement of the method on itself, and so are the "false" pairs just below: look at the sheets,
natural-*.png (pairs of the data as published, by similarity) and false-*.png, before you believe either.

`cost` measures the search alone, on mixtures of two real images each, so that the crowd grows as dense as real faces.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from images import read
from numpy.typing import NDArray
from quick import QUICK

from ferops.config import load_params
from ferops.datasets.images import UnreadableImageError, decode
from ferops.files import write_json
from ferops.machine import cpu_name
from ferops.validation import near_duplicates as near
from ferops.validation.duplicates import cluster_names
from ferops.validation.measure import pixel_hash

Grey = NDArray[np.uint8]
Edit = Callable[[Grey, np.random.Generator], Grey]

THRESHOLDS = np.round(np.arange(0.80, 0.9951, 0.005), 3)
BANDS = ((0.80, 0.86), (0.86, 0.90), (0.90, 0.92), (0.92, 0.94), (0.94, 0.95), (0.95, 0.96), (0.96, 0.98), (0.98, 1.01))
SHEET_PAIRS = 100


def jpeg(quality: int) -> Edit:
    def edit(grey: Grey, _: np.random.Generator) -> Grey:
        _, data = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)

    return edit


def resize(factor: float) -> Edit:
    def edit(grey: Grey, _: np.random.Generator) -> Grey:
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(grey, None, fx=factor, fy=factor, interpolation=how), dtype=np.uint8)

    return edit


def mirror(grey: Grey, _: np.random.Generator) -> Grey:
    return np.ascontiguousarray(grey[:, ::-1])


def crop(share: float) -> Edit:
    """Cut `share` of each side away, anywhere, and stretch the rest to the old size."""

    def edit(grey: Grey, rng: np.random.Generator) -> Grey:
        sides = np.array(grey.shape)
        y, x = rng.uniform(0, share, 2) * sides
        scale = 1 - share
        warp = np.array([[scale, 0, x], [0, scale, y]], dtype=np.float32)
        return moved(grey, warp)

    return edit


def turn(degrees: float) -> Edit:
    def edit(grey: Grey, rng: np.random.Generator) -> Grey:
        height, width = grey.shape
        angle = degrees * rng.choice([-1, 1])
        return moved(grey, cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1))

    return edit


def moved(grey: Grey, warp: NDArray[Any]) -> Grey:
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(grey, warp, grey.shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8
    )


def brightness(levels: float) -> Edit:
    return lambda grey, rng: clipped(grey + levels * rng.choice([-1.0, 1.0]))


def contrast(factor: float) -> Edit:
    return lambda grey, _: clipped((grey - grey.mean()) * factor + grey.mean())


def clipped(values: NDArray[Any]) -> Grey:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def together(*edits: Edit) -> Edit:
    def edit(grey: Grey, rng: np.random.Generator) -> Grey:
        for one in edits:
            grey = one(grey, rng)
        return grey

    return edit


MILD: dict[str, Edit] = {
    "JPEG quality 90": jpeg(90),
    "JPEG quality 70": jpeg(70),
    "JPEG quality 50": jpeg(50),
    "half the size": resize(0.5),
    "3/4 of the size": resize(0.75),
    "twice the size": resize(2.0),
    "mirrored": mirror,
    "cropped by 2 %": crop(0.02),
    "cropped by 4 %": crop(0.04),
    "brightness 25 levels": brightness(25),
    "contrast 0.75": contrast(0.75),
    "contrast 1.25": contrast(1.25),
    "turned by 2 degrees": turn(2),
    "mirrored, cropped 4 %, darker or brighter, JPEG 70": together(mirror, crop(0.04), brightness(15), jpeg(70)),
}
STRONG: dict[str, Edit] = {
    "JPEG quality 30": jpeg(30),
    "JPEG quality 10": jpeg(10),
    "a third of the size": resize(1 / 3),
    "cropped by 8 %": crop(0.08),
    "cropped by 12 %": crop(0.12),
    "brightness 60 levels": brightness(60),
    "contrast 0.4": contrast(0.4),
    "contrast 1.8": contrast(1.8),
    "turned by 5 degrees": turn(5),
    "turned by 8 degrees": turn(8),
}
EDITS = MILD | STRONG


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(dest="mode", required=True)
    quality = modes.add_parser("quality")
    quality.add_argument("--out", type=Path, required=True, help="folder for curve.json, curve.png and the sheets")
    quality.add_argument("--per-kind", type=int, default=150, help="copies of each kind in each half")
    quality.add_argument("--natural", type=float, default=0.95, help="pairs this similar in the data are set aside")
    cost = modes.add_parser("cost")
    cost.add_argument("--rows", type=int, nargs="+", default=[36_000, 90_000, 180_000, 360_000])
    for mode in (quality, cost):
        mode.add_argument("--images", type=Path, required=True, help="Parquet source, zip or folder")
        mode.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    images = distinct(read(options.images))
    rng = np.random.default_rng(options.seed)
    if options.mode == "quality":
        options.out.mkdir(parents=True, exist_ok=True)
        measure_quality(images, options, rng)
    else:
        measure_cost(images, sorted(options.rows), rng)


def distinct(encoded: Sequence[bytes]) -> list[Grey]:
    """Return the grey images that decode and are not blank, one of each set of equal pixels."""
    settings = load_params(QUICK).validation
    found: dict[str, Grey] = {}
    for data in encoded:
        try:
            pixels = decode(data)
        except UnreadableImageError:
            continue
        grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        if grey.std() >= settings.blank_std and min(grey.shape) >= settings.min_side_px:
            found.setdefault(pixel_hash(pixels), grey)
    return list(found.values())


def thumbnails_of(images: Sequence[Grey]) -> near.Thumbnails:
    return np.stack([near.thumbnail(image) for image in images])


def measure_quality(images: list[Grey], options: argparse.Namespace, rng: np.random.Generator) -> None:
    natural = near.near_pairs(thumbnails_of(images), threshold=float(THRESHOLDS[0]))
    bands = {
        f"{low:.2f} to {min(high, 1):.2f}": int(natural["similarity"].between(low, high, inclusive="left").sum())
        for low, high in BANDS
    }
    print(f"{len(images)} distinct images; pairs as published, by similarity:", bands, flush=True)
    for low, high in BANDS:
        rows = natural[natural["similarity"].between(low, high, inclusive="left")]
        sheet(
            options.out / f"natural-{low:.2f}.png",
            rows.sample(min(SHEET_PAIRS, len(rows)), random_state=options.seed),
            images,
        )
    names = pd.Series([f"{i:09d}" for i in range(len(images))])
    groups = cluster_names(names, natural[natural["similarity"] >= options.natural])
    originals = rng.permutation(np.flatnonzero(groups == names))
    halves = {}
    for name, rows in zip(("choose", "believe"), np.array_split(originals, 2), strict=True):
        halves[name] = one_half([images[row] for row in rows], options, rng, name=name)
        report(name, halves[name])
    facts = {
        "images": options.images.name,
        "distinct_images": len(images),
        "natural_pairs": bands,
        "set_aside_at": options.natural,
        "per_kind": options.per_kind,
        "seed": options.seed,
    }
    write_json(options.out / "curve.json", facts | {"halves": halves})
    draw(options.out / "curve.png", halves)


def one_half(
    originals: list[Grey], options: argparse.Namespace, rng: np.random.Generator, *, name: str
) -> dict[str, Any]:
    """Plant copies among `originals` and return precision and recall over the thresholds."""
    kinds = [kind for kind in EDITS for _ in range(options.per_kind)]
    if len(kinds) > len(originals):
        raise SystemExit(f"{len(originals)} originals are too few for {len(kinds)} copies: lower --per-kind")
    of = rng.permutation(len(originals))[: len(kinds)]
    copies = [EDITS[kind](originals[row], rng) for kind, row in zip(kinds, of, strict=True)]
    images = originals + copies
    found = near.near_pairs(thumbnails_of(images), threshold=float(THRESHOLDS[0]))
    copy = found["b"].to_numpy() - len(originals)
    planted = (copy >= 0) & (of[np.maximum(copy, 0)] == found["a"])
    false = found[~planted].sort_values("similarity", ascending=False)
    sheet(options.out / f"false-{name}.png", false.head(SHEET_PAIRS), images)
    similarity = np.zeros(len(copies))
    similarity[copy[planted]] = found["similarity"][planted]
    kind_of = np.array(kinds)
    mild = np.isin(kind_of, list(MILD))
    curve = []
    for threshold in THRESHOLDS:
        right, wrong = int((similarity >= threshold).sum()), int((false["similarity"] >= threshold).sum())
        curve.append(
            {
                "threshold": float(threshold),
                "precision": right / max(right + wrong, 1),
                "false_pairs": wrong,
                "recall_mild": float((similarity[mild] >= threshold).mean()),
                "recall": {kind: float((similarity[kind_of == kind] >= threshold).mean()) for kind in EDITS},
            }
        )
    return {"originals": len(originals), "copies": len(copies), "curve": curve}


def report(name: str, half: dict[str, Any]) -> None:
    print(f"\n{name}: {half['originals']} originals, {half['copies']} copies")
    print(f"{'threshold':>9}{'precision':>11}{'false pairs':>13}{'recall, mild':>14}")
    for row in half["curve"][::2]:
        print(f"{row['threshold']:>9.2f}{row['precision']:>11.4f}{row['false_pairs']:>13}{row['recall_mild']:>14.3f}")
    chosen = [row for row in half["curve"] if row["threshold"] in (0.92, 0.95, 0.97)]
    print(f"\n{'recall of':<52}" + "".join(f"{row['threshold']:>8.2f}" for row in chosen))
    for kind in EDITS:
        print(f"{kind:<52}" + "".join(f"{row['recall'][kind]:>8.3f}" for row in chosen), flush=True)


def sheet(path: Path, pairs: pd.DataFrame, images: Sequence[Grey], *, side_px: int = 64, columns: int = 10) -> None:
    """Draw the pairs side by side with their similarity; the mirrored ones turned back."""
    cells = []
    for pair in pairs.sort_values("similarity").itertuples():
        second = images[pair.b][:, ::-1] if pair.mirrored else images[pair.b]
        both = [cv2.resize(np.ascontiguousarray(one), (side_px, side_px)) for one in (images[pair.a], second)]
        cell = np.pad(np.concatenate(both, axis=1), ((14, 2), (2, 2)), constant_values=80)
        cv2.putText(cell, f"{len(cells)}: {pair.similarity:.3f}", (3, 11), cv2.FONT_HERSHEY_SIMPLEX, 0.35, 255, 1)
        cells.append(cell)
    if cells:
        cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
        rows = [np.concatenate(cells[start : start + columns], axis=1) for start in range(0, len(cells), columns)]
        cv2.imwrite(str(path), np.concatenate(rows, axis=0))


def draw(path: Path, halves: dict[str, Any]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), dpi=110, constrained_layout=True)
    for name, style in (("choose", "--"), ("believe", "-")):
        curve = halves[name]["curve"]
        left.plot(
            THRESHOLDS, [row["precision"] for row in curve], style, color="tab:blue", label=f"precision, half to {name}"
        )
        left.plot(
            THRESHOLDS,
            [row["recall_mild"] for row in curve],
            style,
            color="tab:orange",
            label=f"recall of mild edits, half to {name}",
        )
    left.axhline(0.99, color="grey", linewidth=0.6)
    left.set(xlabel="near_threshold", ylim=(0.85, 1.005))
    left.legend(fontsize=7, loc="lower center")
    final = halves["believe"]["curve"]
    weakest = sorted(EDITS, key=lambda kind: sum(row["recall"][kind] for row in final))[:8]
    for kind in weakest:
        right.plot(THRESHOLDS, [row["recall"][kind] for row in final], label=kind, linewidth=1.2)
    right.set(xlabel="near_threshold", ylabel="recall", ylim=(0, 1.02), title="the eight hardest kinds")
    right.title.set_fontsize(9)
    right.legend(fontsize=6.5, loc="lower left")
    figure.savefig(path)


def measure_cost(images: list[Grey], sizes: list[int], rng: np.random.Generator) -> None:
    real = thumbnails_of(images)
    print(cpu_name())
    header = f"{'images':>9}{'candidates':>12}{'s to find':>11}{'s to compare':>14}{'s in all':>10}{'CPU s':>8}"
    print(f"{header}{'peak GB':>9}")
    seconds = []
    for size in sizes:
        crowd = mixtures(real, size, rng)
        started, cpu_before = time.perf_counter(), time.process_time()
        pairs = near.candidates(crowd)
        found = time.perf_counter()
        near.compare_candidates(pairs, crowd, threshold=0.95)
        ended = time.perf_counter()
        cpu_s = time.process_time() - cpu_before
        seconds.append((ended - started, cpu_s))
        peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        steps = f"{found - started:>11.1f}{ended - found:>14.1f}{ended - started:>10.1f}"
        print(f"{size:>9}{len(pairs):>12}{steps}{cpu_s:>8.1f}{peak_gb:>9.2f}", flush=True)
    if len(sizes) > 1:
        wall, cpu = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
        print(f"seconds grow with the number of images to the power of {wall:.2f}, CPU seconds of {cpu:.2f}")


def mixtures(real: near.Thumbnails, size: int, rng: np.random.Generator) -> near.Thumbnails:
    """Return `size` thumbnails, each 60 to 90 % one image and the rest another: all different, all like faces."""
    crowd = np.empty((size, *real.shape[1:]), dtype=np.uint8)
    for start in range(0, size, near.BLOCK):
        block = crowd[start : start + near.BLOCK]
        first, second = real[rng.integers(len(real), size=(2, len(block)))]
        share = rng.uniform(0.6, 0.9, (len(block), 1, 1))
        block[:] = share * first + (1 - share) * second
    return crowd


if __name__ == "__main__":
    main()
