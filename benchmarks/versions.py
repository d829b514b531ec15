"""Two versions of ferops side by side: what the same photographs cost, and whether the answers agree.

    git worktree add /tmp/before COMMIT
    export OMP_NUM_THREADS=1
    python benchmarks/versions.py starter --before /tmp/before/src --faces photos.zip --photos wild.zip

Each version answers in a process of its own, in turns, from the bytes; of `--repeats` answers the lowest CPU time
counts, and a ratio is the median over the photographs. Other work on the machine inflates the times of both alike. The
scenes are photographs.py's; their truth is where the version before sees each face in its own photograph.
"""

from __future__ import annotations

import argparse
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from photographs import SCENES, Scene, nearest, scene
from search import SMALLEST, labelled
from tables import markdown

from ferops.datasets.images import decode
from ferops.inference.predictor import Predictor


class Version:
    """A process that answers with the ferops of `source`, a folder that holds the package."""

    def __init__(self, source: Path, model: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, model, "--child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(source.resolve())},
        )

    def answer(self, encoded: bytes, *, repeats: int = 1) -> tuple[float, Any]:
        """Return CPU milliseconds and the faces."""
        assert self._process.stdin
        assert self._process.stdout
        answers = []
        for _ in range(repeats):
            pickle.dump(encoded, self._process.stdin)
            self._process.stdin.flush()
            answers.append(pickle.load(self._process.stdout))
        return min(cpu_ms for cpu_ms, _ in answers), answers[-1][1]


def serve(model: str) -> None:
    predictor = Predictor.load(model)
    while True:
        try:
            encoded = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        started = time.process_time()
        faces = predictor.predict(encoded).faces
        pickle.dump((1000 * (time.process_time() - started), faces), sys.stdout.buffer)
        sys.stdout.buffer.flush()


def compared(versions: Sequence[Version], name: str, images: Sequence[Scene], *, repeats: int) -> list[str]:
    """Return the row of the table; an image without known faces has its first version's answer for the truth."""
    times, found, errors, same = [], np.zeros(2, int), ([], []), []
    for version in versions:
        version.answer(images[0].encoded)  # OpenVINO prepares its size
    for image in images:
        answers = [version.answer(image.encoded, repeats=repeats) for version in versions]
        times.append([cpu_ms for cpu_ms, _ in answers])
        for truth in image.truth or [face.landmarks for face in answers[0][1]]:
            pair = [nearest(faces, truth) for _, faces in answers]
            found += [face is not None for face, _ in pair]
            for its, (face, error) in zip(errors, pair, strict=True):
                its.extend([error] if face else [])
            if all(face for face, _ in pair):
                same.append(pair[0][0].label == pair[1][0].label)
    before, after = np.array(times).T
    return [
        name,
        f"{np.median(before):.1f}, {np.median(after):.1f}",
        f"{np.median(after / before):.2f}",
        f"{found[0]}, {found[1]}",
        ", ".join(f"{100 * np.median(its):.1f}" for its in errors) if images[0].truth else "-",
        f"{100 * np.mean(same):.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="as `ferops predict --model` takes it")
    parser.add_argument("--before", type=Path, help="folder with the other version's package")
    parser.add_argument("--after", type=Path, default=Path(__file__).parents[1] / "src")
    parser.add_argument("--photos", type=Path, nargs="*", default=[], help="zips of photographs")
    parser.add_argument("--limit", type=int, default=100, help="photographs of each")
    parser.add_argument("--faces", type=Path, help="zip of photographs with one face each, for the scenes")
    parser.add_argument("--scenes", type=int, default=3, help="of each kind")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        return serve(asked.model)
    versions = [Version(source, asked.model) for source in (asked.before, asked.after)]
    rows = []
    for path in asked.photos:
        images = [Scene(encoded, []) for _, encoded in labelled(path, limit=asked.limit, seed=11)]
        rows.append(compared(versions, f"{len(images)} of {path.name}", images, repeats=asked.repeats))
    photos = [encoded for _, encoded in labelled(asked.faces, limit=60, seed=11)] if asked.faces else []
    known = [(decode(photo), faces[0].landmarks) for photo in photos if (faces := versions[0].answer(photo)[1])]
    size = (4000, 3000)
    for name, (count, share) in (SCENES | SMALLEST).items() if known else ():
        made = []
        for number in range(asked.scenes):
            drawn = [known[i] for i in np.random.default_rng(number).choice(len(known), count)]
            made.append(scene(drawn, size=size, side_px=int(share * max(size)), seed=number))
        rows.append(compared(versions, name, made, repeats=asked.repeats))
    head = ["photographs", "CPU ms: before, after", "after / before", "faces found", "landmark error, %"]
    print(markdown([*head, "same label, %"], rows))
    return None


if __name__ == "__main__":
    main()
