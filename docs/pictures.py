"""Take the pictures of the docs anew: reports of `make run`, the page of `make serve`, a video's timeline, the monitor.

    make run && make promote VERSION=1 && make package && python docs/pictures.py    # in a fresh clone; needs Chromium

`docs/images/report*.png` show pages of reports/, the others what the champion says of rendered faces that it has not
seen: `timeline.png` of two in a video, `answer.png` and `page-*.png` on the page, and `monitor.png` of forty that the
service answers, in good light and then in low light.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
from PIL import Image

from ferops.classes import DEFAULT_CLASSES
from ferops.datasets.images import decode
from ferops.datasets.synthetic import rows
from ferops.layout import Layout
from ferops.monitoring.traffic import FLUSH_S, FOLDER_VARIABLE

if TYPE_CHECKING:
    import httpx

    from browser import Page

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
REPORTS = {
    "report": "evaluate/report.html",
    "report-explain": "explain/index.html",
    "report-robustness": "robustness/index.html",
    "report-fairness": "fairness/index.html",
}
"""Picture -> page below reports/, of which it shows the head."""

WIDTH, HEIGHT = 1180, 885
WINDOW = 120  # images that are compared together: six expressions of 20 people
PHONE = (390, 844)
FPS = 25
COLOURS = 256  # of a PNG with a palette, a third as large


def main() -> None:
    sys.path += [str(ROOT / "tests"), str(ROOT / "benchmarks")]
    from running import running

    from browser import CHROMIUM, browser, camera

    missing = [path for path in REPORTS.values() if not (ROOT / "reports" / path).exists()]
    if missing:
        raise SystemExit(f"reports/ lacks {', '.join(missing)}. They are made by: make run")
    if CHROMIUM is None:
        raise SystemExit("Chromium takes the pictures, and is not installed here")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        Image.fromarray(six_people()).save(folder / "people.png")
        film(folder / "interview.mp4")
        eye = camera(folder / "camera.mjpeg", six_people())
        (folder / "model").symlink_to(ROOT / "artifacts" / "export")
        os.environ[FOLDER_VARIABLE] = str(folder / "traffic")
        timeline = ["predict", "interview.mp4", "--timeline", "who.html", "--model", "model"]
        subprocess.run([sys.executable, "-m", "ferops", *timeline], cwd=folder, check=True)
        with browser(folder, f"--window-size={WIDTH},{HEIGHT}", *eye) as page, running(Layout(ROOT)) as service:
            page.size(WIDTH, HEIGHT)
            for name, path in REPORTS.items():
                page.open((ROOT / "reports" / path).as_uri())
                take(page, name)
            page.open((folder / "who.html").as_uri())
            take(page, "timeline")
            watched(service.client, folder / "traffic")
            page.open((ROOT / "reports" / "monitor" / "index.html").as_uri())
            take(page, "monitor")
            of_the_page(page, f"http://127.0.0.1:{service.port}/", folder)


def of_the_page(page: Page, url: str, folder: Path) -> None:
    page.open(url)
    answered(page, folder / "people.png")
    take(page, "answer")
    page.dark(True)
    page.run("document.querySelector('.card .why').click()")
    page.wait_for("document.querySelectorAll('.heat canvas').length === 1")
    take(page, "page-dark")
    page.dark(False)

    page.size(*PHONE)
    page.open(url)
    answered(page, folder / "people.png")
    take(page, "page-phone", size=PHONE)
    page.size(WIDTH, HEIGHT)

    page.open(url)
    page.run("document.getElementById('live').click()")
    page.wait_for("document.querySelectorAll('#marks .box').length === 2")
    page.wait_for("parseFloat(document.getElementById('rate').innerText) > 0")
    take(page, "page-live")
    page.run("document.getElementById('live').click()")

    page.open(url)
    page.choose_file("#file", folder / "interview.mp4")
    page.wait_for("document.getElementById('status').innerText.endsWith('followed.')")
    take(page, "page-video")

    page.open(url)
    page.offline(True)
    page.choose_file("#file", folder / "people.png")
    page.wait_for("document.getElementById('status').innerText.includes('The next try is')")
    take(page, "page-away")
    page.offline(False)


def watched(client: httpx.Client, traffic: Path) -> None:
    """Let the service answer people that nobody has seen, in good light and then in low light, and monitor it."""
    from monitor import low_light, rendered

    shutil.rmtree(ROOT / "reports" / "monitor", ignore_errors=True)
    images = [decode(row["image"]) for row in rendered(2 * WINDOW // len(DEFAULT_CLASSES))]
    for shown in (*images, *map(low_light, images)):
        _, encoded = cv2.imencode(".png", shown[:, :, ::-1])
        client.post("/predict", files={"image": encoded.tobytes()}).raise_for_status()
    time.sleep(2 * FLUSH_S)
    watch = ["monitor", "--window", str(WINDOW), "--traffic", str(traffic)]
    subprocess.run([sys.executable, "-m", "ferops", *watch], cwd=ROOT, check=True)


def answered(page: Page, photo: Path) -> None:
    page.choose_file("#file", photo)
    page.wait_for("document.querySelectorAll('#overlay .box').length > 0")


def take(page: Page, name: str, *, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    """Write `docs/images/NAME.png`: what the window shows."""
    page.run("document.documentElement.style.overflow = 'hidden'")  # the page is as wide as without a scrollbar then
    page.run("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        page.shot(Path(file.name))
        picture = Image.open(file.name).convert("RGB").crop((0, 0, *size))
    picture.quantize(COLOURS).save(IMAGES / f"{name}.png", optimize=True)


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


if __name__ == "__main__":
    main()
