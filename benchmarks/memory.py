"""Memory of `ferops predict` over many files and over a long video: a run may not grow with its length.

    python benchmarks/memory.py starter --photo photo.jpg                       # 100,000 files, two hours of video
    python benchmarks/memory.py starter --photo photo.jpg --files 5000 --minutes 5
    python benchmarks/memory.py starter --photo face.png --files 30000 --fps 2 --killed

The files are links to one photograph, the video shows it drifting, 320 x 240; both are made at run time. The command
runs as a user runs it, in a process of its own; the table has its resident memory, child processes included. The first
tenth of the rows loads the networks; over the others a line is fitted, whose slope is the growth. With `--killed` each
run is killed (SIGKILL) at half of its rows and goes on with `--resume`. At the end each file and each frame must have
its row, or the benchmark fails.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2
import numpy as np
import psutil
from tables import markdown

from ferops.datasets.images import decode

WIDTH, HEIGHT = 320, 240
LOOP_S = 60
"""Seconds that are encoded; the rest of the video repeats their packets."""
EVERY_S = 1.0
HEAD = ["source", "rows", "seconds", "MB at a tenth", "at the end", "at most", "growth, MB for 10,000 rows"]


@dataclass
class Run:
    """Rows that were written, and resident bytes, every EVERY_S."""

    seconds: float = 0.0
    rows: list[int] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def cells(self) -> list[str]:
        rows, megabytes = np.array(self.rows), np.array(self.memory) / 1e6
        loaded = rows >= rows[0] + (rows[-1] - rows[0]) / 10
        growth = 1e4 * np.polyfit(rows[loaded], megabytes[loaded], 1)[0]
        at = (megabytes[loaded][0], megabytes[-1], megabytes.max())
        return [f"{rows[-1]:,}", f"{self.seconds:.0f}", *(f"{each:.0f}" for each in at), f"{growth:+.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="as `ferops predict --model` takes it")
    parser.add_argument("--photo", type=Path, required=True, help="with a face")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--minutes", type=int, default=120)
    parser.add_argument("--fps", type=int, default=25, help="of the video")
    parser.add_argument("--killed", action="store_true", help="kill each run at half of its rows, and resume it")
    options = parser.parse_args()
    frames = options.minutes * 60 * options.fps
    with TemporaryDirectory() as folder:
        root = Path(folder)
        if options.files:
            source = links(root / "photos", photo=options.photo, count=options.files)
            answer(source, f"{options.files:,} files", options, column="source", count=options.files)
        if frames:
            source = video(root / "long.mp4", photo=options.photo, minutes=options.minutes, fps=options.fps)
            name = f"{options.minutes} minutes of video, {options.fps} frames a second"
            answer(source, name, options, column="frame", count=frames)


def answer(source: Path, name: str, options: argparse.Namespace, *, column: str, count: int) -> None:
    """Answer a source, print the table of it, and raise SystemExit unless `column` names each of `count` parts once."""
    answers = source.with_suffix(".csv")
    runs = {name: watched(source, options.model, answers, kill_at=count // 2 if options.killed else None)}
    if options.killed:
        runs[f"{name}, resumed"] = watched(source, options.model, answers, resume=True)
    print(markdown(HEAD, [[part, *run.cells()] for part, run in runs.items()]), flush=True)
    with answers.open(newline="") as file:
        found = [row[column] for row in csv.DictReader(file)]
    if not len(found) == len(set(found)) == count:
        raise SystemExit(f"{name}: {len(found)} rows, of {len(set(found))}, not {count}")


def links(folder: Path, *, photo: Path, count: int) -> Path:
    """Fill a folder with links to a few files of the same content: ext4 gives a file 65,000 names at most."""
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number:07d}{photo.suffix}"
        if number % 10_000 == 0:
            first = path
            first.write_bytes(photo.read_bytes())
        else:
            os.link(first, path)
    return folder


def video(path: Path, *, photo: Path, minutes: int, fps: int) -> Path:
    """Write the photograph drifting to and fro."""
    pixels = decode(photo.read_bytes())
    side = HEIGHT - 40
    face = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", fps
        stream.time_base = Fraction(1, 12_800)
        packets = []
        for number in range(LOOP_S * fps):
            scene = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
            left = int(40 + 40 * np.sin(number / 20))
            scene[20 : 20 + side, left : left + side] = face
            packets += stream.encode(av.VideoFrame.from_ndarray(scene, format="rgb24"))
        packets += stream.encode(None)
        loop = LOOP_S * fps
        for _ in range(max(1, minutes * 60 // LOOP_S)):
            for packet in packets:
                container.mux(packet)
                length = round(loop / fps / packet.time_base)
                packet.stream, packet.pts, packet.dts = stream, packet.pts + length, packet.dts + length
    return path


def watched(source: Path, model: str, answers: Path, *, resume: bool = False, kill_at: int | None = None) -> Run:
    """Run the command, to the end or until it has written `kill_at` rows."""
    command = [sys.executable, "-m", "ferops", "predict", str(source), "--model", model, "--csv", str(answers)]
    run, started = Run(), time.monotonic()
    with answers.with_suffix(".log").open("wb") as log:
        process = psutil.Popen([*command, *(["--resume"] if resume else [])], stdout=log, stderr=log)
        while process.poll() is None:
            if answers.exists() and (memory := resident(process)):
                run.rows.append(lines(answers) - 1)
                run.memory.append(memory)
                if kill_at is not None and run.rows[-1] >= kill_at:
                    process.kill()
            time.sleep(EVERY_S)
    run.seconds = time.monotonic() - started
    if process.returncode and kill_at is None:
        raise SystemExit(answers.with_suffix(".log").read_text(errors="replace")[-2000:])
    return run


def lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(partial(file.read, 1 << 20), b""))


def resident(process: psutil.Process) -> int:
    try:
        return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])
    except psutil.NoSuchProcess:
        return 0


if __name__ == "__main__":
    main()
