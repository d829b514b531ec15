"""Memory of `ferops predict` over many files and over a long video: a run may not grow with its length.

    python benchmarks/memory.py starter --photo photo.jpg                       # 100,000 files, two hours of video
    python benchmarks/memory.py starter --photo photo.jpg --files 5000 --minutes 5

The files are links to one photograph, the video shows it drifting, 320 x 240 at 25 frames a second, and both are made
at run time. The command runs as a user runs it, in a process of its own; the table has its resident memory, child
processes included, at a tenth, a half and the end of its run. The first tenth loads the networks.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2
import numpy as np
import psutil
from tables import markdown

from ferops.datasets.images import decode

WIDTH, HEIGHT, FPS = 320, 240, 25
LOOP_S = 60
"""Seconds that are encoded; the rest of the video repeats their packets."""
EVERY_S = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="as `ferops predict --model` takes it")
    parser.add_argument("--photo", type=Path, required=True, help="with a face")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--minutes", type=int, default=120)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        root = Path(folder)
        sources = {
            f"{options.files:,} files": links(root / "photos", options.photo, options.files),
            f"{options.minutes} minutes of video": video(root / "long.mp4", options.photo, options.minutes),
        }
        rows = []
        for number, (name, source) in enumerate(sources.items()):
            answers = root / f"{number}.csv"
            seconds, memory = watched(source, options.model, answers)
            at = [memory[min(int(len(memory) * share), len(memory) - 1)] for share in (0.1, 0.5, 1.0)]
            with answers.open() as file:
                lines = sum(1 for _ in file) - 1
            rows.append([name, f"{lines:,}", f"{seconds:.0f}", *(f"{each / 1e6:.0f}" for each in at)])
    print(markdown(["source", "rows", "seconds", "MB at a tenth", "at a half", "at the end"], rows))


def links(folder: Path, photo: Path, count: int) -> Path:
    """Fill a folder with links to one file."""
    folder.mkdir()
    (folder / "first.jpg").write_bytes(photo.read_bytes())
    for number in range(1, count):
        os.link(folder / "first.jpg", folder / f"{number:07d}.jpg")
    return folder


def video(path: Path, photo: Path, minutes: int) -> Path:
    """Write the photograph drifting to and fro."""
    pixels = decode(photo.read_bytes())
    side = HEIGHT - 40
    face = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", FPS
        stream.time_base = Fraction(1, 12_800)
        packets = []
        for number in range(LOOP_S * FPS):
            scene = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
            left = int(40 + 40 * np.sin(number / 20))
            scene[20 : 20 + side, left : left + side] = face
            packets += stream.encode(av.VideoFrame.from_ndarray(scene, format="rgb24"))
        packets += stream.encode(None)
        loop = LOOP_S * FPS
        for _ in range(max(1, minutes * 60 // LOOP_S)):
            for packet in packets:
                container.mux(packet)
                length = round(loop / FPS / packet.time_base)
                packet.stream, packet.pts, packet.dts = stream, packet.pts + length, packet.dts + length
    return path


def watched(source: Path, model: str, answers: Path) -> tuple[float, list[int]]:
    """Run the command; return its seconds and its resident memory in bytes, from start to end."""
    command = [sys.executable, "-m", "ferops", "predict", str(source), "--model", model, "--csv", str(answers)]
    started, memory = time.monotonic(), []
    with answers.with_suffix(".log").open("wb") as log:
        process = psutil.Popen(command, stdout=log, stderr=log)
        while process.poll() is None:
            memory.append(resident(process))
            time.sleep(EVERY_S)
    if process.returncode:
        raise SystemExit(answers.with_suffix(".log").read_text(errors="replace")[-2000:])
    return time.monotonic() - started, [each for each in memory if each]


def resident(process: psutil.Process) -> int:
    try:
        return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])
    except psutil.NoSuchProcess:
        return 0


if __name__ == "__main__":
    main()
