"""Take the pictures of the docs anew: the report of `make run`, the page of `make serve`, and the timeline of a video.

    make run && make promote VERSION=1 && make package && python docs/pictures.py    # in a fresh clone; needs Chromium

`docs/images/report.png` shows reports/evaluate, the others what the champion says of rendered faces that it has not
seen: `answer.png` of six in a photo, `timeline.png` of two in a video.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from PIL import Image

from ferops.datasets.images import decode
from ferops.datasets.synthetic import rows

if TYPE_CHECKING:
    from browser import Page

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
WIDTH, HEIGHT = 1180, 885
FPS = 25
COLOURS = 256  # of a PNG with a palette, a third as large
WITHIN_S = 120.0


def main() -> None:
    sys.path.append(str(ROOT / "tests"))
    from browser import CHROMIUM, browser
    from sockets import free_port

    report = ROOT / "reports" / "evaluate" / "report.html"
    if CHROMIUM is None or not report.exists():
        raise SystemExit("needs Chromium and reports/evaluate/report.html, which make run writes")
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        browser(Path(folder), f"--window-size={WIDTH},{HEIGHT}") as page,
    ):
        page.size(WIDTH, HEIGHT)
        page.open(report.as_uri())
        take(page, Path(folder) / "report.png")
        people, port = Path(folder) / "people.png", free_port()
        Image.fromarray(six_people()).save(people)
        with served(port):
            page.open(f"http://127.0.0.1:{port}/")
            page.choose_file("#file", people)
            page.wait_for("document.querySelectorAll('#overlay .box').length > 0")
            take(page, Path(folder) / "answer.png")
        film(Path(folder) / "interview.mp4")
        (Path(folder) / "model").symlink_to(ROOT / "artifacts" / "export")
        timeline = ["predict", "interview.mp4", "--timeline", "who.html", "--model", "model"]
        subprocess.run([sys.executable, "-m", "ferops", *timeline], cwd=folder, check=True)
        page.open((Path(folder) / "who.html").as_uri())
        take(page, Path(folder) / "timeline.png")
        for name in ("report.png", "answer.png", "timeline.png"):
            picture = Image.open(Path(folder) / name).convert("RGB").crop((0, 0, WIDTH, HEIGHT))
            picture.quantize(COLOURS).save(IMAGES / name, optimize=True)


def take(page: Page, path: Path) -> None:
    page.run("document.documentElement.style.overflow = 'hidden'")  # the page is as wide as without a scrollbar then
    page.shot(path)


def six_people() -> np.ndarray:
    """Return two rows of three faces that no model has seen, uint8 `(320, 480, 3)`: one for each expression."""
    people = [decode(row["image"]) for row in islice(rows(seed=2026, identities=1, images_per_expression=1), 6)]
    return np.vstack([np.hstack(people[:3]), np.hstack(people[3:])])


def film(path: Path) -> None:
    """Write ten seconds in which two people, side by side, change their expressions."""
    shots: dict[str, list[np.ndarray]] = {}
    for row in islice(rows(seed=2026, identities=2, images_per_expression=1), 2 * 8):  # then come flawed ones
        shots.setdefault(row["subject"], []).append(decode(row["image"]))
    left, right = shots.values()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 2 * left[0].shape[1], left[0].shape[0], "yuv420p"
        for number in range(10 * FPS):
            seconds = number / FPS
            pixels = np.hstack([left[int(seconds / 2.5) % 6], right[int(seconds / 3.5) % 6]])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


@contextmanager
def served(port: int) -> Iterator[None]:
    """Serve the champion until the end."""
    command = [sys.executable, "-m", "ferops", "serve", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + WITHIN_S
            while not _is_ready(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("ferops serve did not become ready; run it to see why")
                time.sleep(0.5)
            yield
        finally:
            process.terminate()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    main()
