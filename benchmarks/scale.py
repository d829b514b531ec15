"""What many images cost the stages before the training: CPU, memory and disk, and what more of them would.

    python benchmarks/scale.py [--images 30000 300000] [--side 48] [--to 3000000]

Imports different images (noise, so that nothing compresses and no two are alike), then runs the stages `validate`,
`split` and `preprocess` as `dvc repro` would, each in a process of its own. The faces are packed whole
(`preprocess.tight: whole`): what a data set costs however quick its detector is. Peak memory is the process's resident
set, pages of files that it maps included, which the system takes back where it needs room. From the first to the last
size comes what one more image costs, and from that what --to images would. On top come the search for faces
(docs/detectors.md) and, where images are alike, the comparison of copies (docs/duplicates.md).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tables
from quick import settings

from ferops.classes import DEFAULT_CLASSES
from ferops.datasets import manifest
from ferops.faces.stage import preprocess
from ferops.layout import Layout
from ferops.split.stage import split
from ferops.validation.stage import validate

STAGES = {"validate": validate, "split": split, "preprocess": preprocess}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[30_000, 300_000])
    parser.add_argument("--side", type=int, default=48, metavar="PX", help="the images' width and height")
    parser.add_argument("--to", type=int, default=3_000_000)
    parser.add_argument("--step", nargs=2, metavar=("STEP", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        run(options.step[0], Layout(Path(options.step[1])), images=options.images[0], side_px=options.side)
        return
    sizes = sorted(options.images)
    found = [measure(images, side_px=options.side) for images in sizes]
    rows = [row(f"{images:,}", figures) for images, figures in zip(sizes, found, strict=True)]
    if len(found) > 1:
        share = (options.to - sizes[-1]) / (sizes[-1] - sizes[0])
        drawn_on = [last + share * (last - first) for first, last in zip(found[0], found[-1], strict=True)]
        rows.append(row(f"{options.to:,}, drawn on", drawn_on))
    steps = [f"{step}: CPU s, peak MB" for step in ("import", *STAGES)]
    print(tables.markdown(["images", *steps, "raw MB", "packed MB"], rows))


def row(images: str, figures: Sequence[float]) -> list[str]:
    pairs = [f"{cpu_s:,.0f}, {peak_mb:,.0f}" for cpu_s, peak_mb in zip(figures[:-2:2], figures[1:-2:2], strict=True)]
    return [images, *pairs, *(f"{mb:,.0f}" for mb in figures[-2:])]


def measure(images: int, *, side_px: int) -> list[float]:
    """Return CPU seconds and peak MB of the import and of each stage, then the MB of raw data and of packed faces."""
    found: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for step in ("import", *STAGES):
            command = [sys.executable, __file__, "--images", str(images), "--side", str(side_px)]
            child = subprocess.run([*command, "--step", step, folder], stdout=subprocess.PIPE, text=True, check=True)
            found += json.loads(child.stdout.splitlines()[-1])
        layout = Layout(Path(folder))
        for made in (layout.data, layout.artifacts("preprocess")):
            found.append(sum(file.stat().st_size for file in made.rglob("*") if file.is_file()) / 2**20)
    return found


def run(step: str, layout: Layout, *, images: int, side_px: int) -> None:
    """Run one step in this process, and print its CPU seconds and the process's peak memory."""
    begun = time.process_time()
    if step == "import":
        layout.data.mkdir(parents=True)
        manifest.write(layout.source("images"), noise(images, side_px=side_px), source="images")
        layout.data_dvc.write_text(f"outs:\n- md5: {'0' * 32}.dir\n  path: data\n")
    else:
        STAGES[step](layout, settings(tight_sources=["images"], tight="whole", workers=1))
    cpu_s = time.process_time() - begun
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert peak
    print(json.dumps([cpu_s, int(peak[1]) / 1024]))


def noise(images: int, *, side_px: int) -> Iterator[dict[str, Any]]:
    generator = np.random.default_rng(7)
    for number in range(images):
        pixels = generator.integers(0, 256, (side_px, side_px), dtype=np.uint8)
        done, encoded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 0])
        assert done
        label = DEFAULT_CLASSES[number % len(DEFAULT_CLASSES)]
        yield manifest.make_row(encoded.tobytes(), source="images", label=label)


if __name__ == "__main__":
    main()
