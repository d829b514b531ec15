"""Take the README's pictures anew: the report of `make run`, and the page of `make serve` with six rendered faces.

    make run && ferops promote 1 && python docs/pictures.py        # in a fresh clone; needs Chromium

`docs/images/report.png` shows reports/evaluate, `docs/images/answer.png` what the champion says of faces that it has
not seen.
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

import numpy as np
from PIL import Image

from ferops.datasets.images import decode
from ferops.datasets.synthetic import rows

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
WIDTH, HEIGHT = 1000, 750
COLOURS = 256  # of a PNG with a palette, a third as large
WITHIN_S = 120.0


def main() -> None:
    sys.path.append(str(ROOT / "tests"))
    from browser import CHROMIUM, browser
    from sockets import free_port

    report = ROOT / "reports" / "evaluate" / "index.html"
    if CHROMIUM is None or not report.exists():
        raise SystemExit("needs Chromium and reports/evaluate/index.html, which make run writes")
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder), f"--window-size={WIDTH},{HEIGHT}") as page:
        page.size(WIDTH, HEIGHT)
        page.open(report.as_uri())
        page.shot(Path(folder) / "report.png")
        people, port = Path(folder) / "people.png", free_port()
        Image.fromarray(six_people()).save(people)
        with served(port):
            page.open(f"http://127.0.0.1:{port}/")
            page.choose_file("#file", people)
            page.wait_for("document.querySelectorAll('#overlay .box').length > 0")
            page.shot(Path(folder) / "answer.png")
        for name in ("report.png", "answer.png"):
            picture = Image.open(Path(folder) / name).convert("RGB").crop((0, 0, WIDTH, HEIGHT))
            picture.quantize(COLOURS).save(IMAGES / name, optimize=True)


def six_people() -> np.ndarray:
    """Return two rows of three faces that no model has seen, uint8 `(320, 480, 3)`: one for each expression."""
    people = [decode(row["image"]) for row in islice(rows(seed=2026, identities=1, images_per_expression=1), 6)]
    return np.vstack([np.hstack(people[:3]), np.hstack(people[3:])])


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
