"""Frames a second of a 720p video with 1, 5 and 20 faces, and where the time goes.

    python benchmarks/video.py artifacts/export             # an exported model; the starter's folder: starter
    python benchmarks/video.py starter --faces 1 --frames 50

The video is made at run time: rendered faces that drift over a ground of photographic noise. Beside it, the loops that
the documentation of `fer` and MediaPipe show, where they are installed (MediaPipe's finds faces only). Frame rates are
of one process on the cores that are free (`OMP_NUM_THREADS`); compare sides of one run only.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from ferops.datasets.images import decode
from ferops.datasets.synthetic import rows
from ferops.inference.predictor import Predictor
from ferops.video.frames import Video
from ferops.video.watch import Watcher

Image = NDArray[np.uint8]
WIDTH, HEIGHT, FPS = 1280, 720, 25
SIDES_PX = {1: 300, 5: 220, 20: 150}
"""Side of the portrait by the number of faces; its face is about 0.6 times as wide."""
COLUMNS = {1: 1, 5: 5, 20: 7}


def ground() -> Image:
    """Waves whose strength falls with their frequency, as in photographs: something to search in vain."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(WIDTH), np.fft.fftfreq(HEIGHT)))
    strength = 1 / np.maximum(frequency, 1 / WIDTH) ** 1.3
    waves = np.fft.ifft2(strength * np.exp(2j * np.pi * rng.random((HEIGHT, WIDTH)))).real
    grey = ((waves - waves.mean()) / waves.std() * 40 + 120).clip(0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def scenes(faces: int, frames: int) -> Iterator[Image]:
    """Yield frames in which `faces` faces drift to and fro by a few pixels each frame."""
    side, columns = SIDES_PX[faces], COLUMNS[faces]
    portraits = [
        cv2.resize(decode(row["image"]), (side, side), interpolation=cv2.INTER_AREA)
        for row, _ in zip(rows(seed=5, identities=4, images_per_expression=1), range(faces), strict=False)
    ]
    background = ground()
    lines = -(-faces // columns)
    for number in range(frames):
        pixels = background.copy()
        for i in range(faces):
            room_x, room_y = WIDTH // columns - side, HEIGHT // lines - side
            x = (i % columns) * (WIDTH // columns) + int(room_x * (0.5 + 0.5 * np.sin(number / 25 + i)))
            y = (i // columns) * (HEIGHT // lines) + int(room_y * (0.5 + 0.5 * np.cos(number / 25 + i)))
            pixels[y : y + side, x : x + side] = portraits[i % len(portraits)]
        yield pixels


def write(path: Path, faces: int, frames: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for pixels in scenes(faces, frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


class Clock:
    """Adds up the time that functions take."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

        return run


def ours(predictor: Predictor, path: Path, *, detect_every: int) -> tuple[float, dict[str, float], float, int]:
    """Return frames a second, milliseconds a frame by part, faces a frame, and how many numbers were given."""
    clock, classify = Clock(), Predictor.classify
    watcher = Watcher(predictor, detect_every=detect_every)
    tracker = watcher._tracker
    watcher._detections = clock.timed("detect", watcher._detections)  # type: ignore[method-assign]
    tracker.update = clock.timed("track", tracker.update)  # type: ignore[method-assign]
    tracker.predict = clock.timed("track", tracker.predict)  # type: ignore[method-assign]
    predictor.classify = clock.timed("classify", classify.__get__(predictor))  # type: ignore[method-assign]
    frames = faces = 0
    numbers: set[int | None] = set()
    with Video(path) as video:
        started = time.perf_counter()
        following = clock.timed("decode", iter(video).__next__)
        while True:
            try:
                frame = following()
            except StopIteration:
                break
            seen = watcher.look(frame)
            frames, faces = frames + 1, faces + len(seen.faces)
            numbers |= {each.track for each in seen.faces}
        took = time.perf_counter() - started
    parts = {name: 1000 * seconds / frames for name, seconds in clock.seconds.items()}
    parts["crop, smooth"] = 1000 * took / frames - sum(parts.values())
    return frames / took, parts, faces / frames, len(numbers - {None})


def fer_loop(path: Path) -> tuple[float, float]:
    from fer.fer import FER

    detector = FER(mtcnn=False)
    return _loop(path, lambda bgr: len(detector.detect_emotions(bgr)))


def mediapipe_loop(path: Path) -> tuple[float, float]:
    import mediapipe

    with mediapipe.solutions.face_detection.FaceDetection(model_selection=1) as detector:
        return _loop(path, lambda bgr: len(detector.process(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)).detections or ()))


def _loop(path: Path, look: Callable[[Any], int]) -> tuple[float, float]:
    """Return frames a second and faces a frame of OpenCV's usual loop."""
    capture = cv2.VideoCapture(str(path))
    frames = faces = 0
    started = time.perf_counter()
    while (read := capture.read())[0]:
        frames, faces = frames + 1, faces + look(read[1])
    return frames / (time.perf_counter() - started), faces / frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of an exported model, starter, or a version")
    parser.add_argument("--faces", type=int, nargs="+", default=[1, 5, 20], choices=list(SIDES_PX))
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--detect-every", type=int, nargs="+", default=[1, 5])
    asked = parser.parse_args()
    predictor = Predictor.load(asked.model)
    print("| faces | loop | frames/s | faces a frame | numbers given | ms a frame |")
    print("| ---: | --- | ---: | ---: | ---: | --- |")
    with TemporaryDirectory() as folder:
        for faces in asked.faces:
            path = Path(folder) / f"{faces}.mp4"
            write(path, faces, asked.frames)
            for every in asked.detect_every:
                rate, parts, found, numbers = ours(predictor, path, detect_every=every)
                split = ", ".join(f"{name} {ms:.1f}" for name, ms in parts.items())
                print(f"| {faces} | ferops, search every {every} | {rate:.1f} | {found:.2f} | {numbers} | {split} |")
            for name, loop in (("fer", fer_loop), ("mediapipe", mediapipe_loop)):
                if importlib.util.find_spec(name) is None:
                    print(f"| {faces} | {name} | not installed | | | |")
                else:
                    rate, found = loop(path)
                    print(f"| {faces} | {name} | {rate:.1f} | {found:.2f} | | |")


if __name__ == "__main__":
    main()
