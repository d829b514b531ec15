"""Photographs a second of `ferops predict FOLDER`: a process for each core beside one alone.

    python benchmarks/folder.py wild.zip                               # 3,000 files; a folder, zip or data/NAME.parquet
    python benchmarks/folder.py wild.zip --files 10000 --processes 1 2 4

The command runs as a user runs it, with OMP_NUM_THREADS as the number of processes, and is timed from its start to its
end. The ways take turns; each must write the same rows as the first, or the benchmark fails.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from images import read
from measure import images_per_s, interleave, times_as_fast
from tables import markdown

HEAD = ["processes", "rows alone, images/s", "times as fast", "rows and drawings, images/s", "times as fast"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "photos").mkdir()
        images = itertools.cycle(read(options.photos, limit=options.files))
        for number, image in enumerate(itertools.islice(images, options.files)):
            (root / "photos" / f"{number:07d}.jpg").write_bytes(image)  # read by content, whatever they are
        ways = {
            f"{count}{' drawn' if drawn else ''}": partial(
                predict, root, model=options.model, processes=count, drawn=drawn
            )
            for count in options.processes
            for drawn in (False, True)
        }
        seconds = interleave(ways, rounds=options.rounds)
    per_image = {name: [each / options.files for each in found] for name, found in seconds.items()}
    first = options.processes[0]
    print(
        markdown(
            HEAD,
            [
                [
                    str(count),
                    *(
                        cell
                        for drawn in ("", " drawn")
                        for cell in cells(per_image[f"{count}{drawn}"], per_image[f"{first}{drawn}"])
                    ),
                ]
                for count in options.processes
            ],
        )
    )


def predict(root: Path, *, model: str, processes: int, drawn: bool) -> float:
    """Answer all files and return the seconds it took; raise SystemExit if the rows differ from an earlier run's."""
    rows, drawings, before = root / "rows.csv", root / "drawn", root / "before.csv"
    command = [sys.executable, "-m", "ferops", "predict", str(root / "photos"), "--model", model, "--csv", str(rows)]
    started = perf_counter()
    found = subprocess.run(
        [*command, *(["--annotated", str(drawings)] if drawn else [])],
        env=os.environ | {"OMP_NUM_THREADS": str(processes)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    seconds = perf_counter() - started
    if found.returncode not in {0, 3}:  # 3: some could not be read
        raise SystemExit(found.stderr)
    if before.exists() and before.read_bytes() != rows.read_bytes():
        raise SystemExit(f"{processes} processes wrote other rows than an earlier run")
    rows.rename(before)
    shutil.rmtree(drawings, ignore_errors=True)
    return seconds


def cells(seconds: list[float], first: list[float]) -> list[str]:
    return [f"{images_per_s(seconds):.0f}", f"{times_as_fast(seconds, first)['ratio']:.2f}"]


if __name__ == "__main__":
    main()
