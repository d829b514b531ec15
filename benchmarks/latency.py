"""How long an answer takes: of the command, with its start, and of a Predictor that is loaded.

    python benchmarks/latency.py starter --photos wild.zip                   # a folder, zip or data/NAME.parquet
    python benchmarks/latency.py starter --photos wild.zip --limit 50 --starts 3

The command is started anew for each of its photographs and timed until it has ended; Python's byte code is compiled and
the files are in the system's cache, as after a first run. The Predictor gets one photograph at a time, as bytes, and
has seen each before, because a network's kernels are chosen when a size is new.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import numpy as np
from images import read
from tables import markdown

from ferops import threads
from ferops.inference.predictor import Predictor

HEAD = ["what", "photographs", "ms: median", "95 %", "CPU ms: median"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="as `ferops predict --model` takes it")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=300, help="photographs, drawn at random")
    parser.add_argument("--starts", type=int, default=10, help="of the command")
    options = parser.parse_args()
    images = read(options.photos, limit=options.limit)
    count = threads.current()
    rows = [command(images[: options.starts], options.model), predictor(images, options.model, count)]
    print(markdown(HEAD, rows))


def command(images: list[bytes], model: str) -> list[str]:
    wall: list[float] = []
    with TemporaryDirectory() as folder:
        for number, image in enumerate([images[0], *images]):
            path = Path(folder) / f"{number}.jpg"
            path.write_bytes(image)
            started = perf_counter()
            subprocess.run(
                [sys.executable, "-m", "ferops", "predict", str(path), "--model", model],
                capture_output=True,
                check=True,
            )
            wall.append(perf_counter() - started)
    return ["`ferops predict photo.jpg`, from start to end", str(len(images)), *quantiles(wall[1:]), "-"]


def predictor(images: list[bytes], model: str, count: int) -> list[str]:
    threads.use(count)
    loaded = Predictor.load(model)
    for image in images:
        loaded.predict(image)
    wall, cpu = [], []
    for image in images:
        started, busy = perf_counter(), process_time()
        loaded.predict(image)
        wall.append(perf_counter() - started)
        cpu.append(process_time() - busy)
    name = f"`Predictor.predict`, {count} thread{'s' if count > 1 else ''}"
    return [name, str(len(images)), *quantiles(wall), f"{1e3 * float(np.median(cpu)):.1f}"]


def quantiles(seconds: list[float]) -> list[str]:
    return [f"{1e3 * each:.1f}" for each in np.percentile(seconds, [50, 95])]


if __name__ == "__main__":
    main()
