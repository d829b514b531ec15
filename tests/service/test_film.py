"""A video on the page: two people are followed, and the timeline and its table say what they showed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_page import six_people, text

from browser import CHROMIUM, Page, browser
from page_server import PageServer
from videos import write_video

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]

FRAMES = 10
"""Of two seconds, five a second."""


def two_people(*, calm: bool) -> Any:
    """Return a frame, uint8 `(240, 320, 3)`: anger at the left, fear at the right; `calm` puts neutral at the left."""
    anger, fear, neutral = np.hsplit(six_people()[:160], 3)
    people = np.hstack([neutral if calm else anger, fear])
    return np.pad(people, ((40, 40), (0, 0), (0, 0)), constant_values=90)


@pytest.fixture(scope="module")
def page(server: PageServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("browser")) as page:
        page.size(1180, 900)
        page.open(server.url)
        page.wait_for("document.getElementById('model').textContent === 'model v3'")
        yield page


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    still = two_people(calm=False)
    return write_video(tmp_path_factory.mktemp("films") / "two people.mp4", 50 * [still])


def test_a_video_becomes_a_timeline(page: Page, server: PageServer, film: Path, tmp_path: Path) -> None:
    """Two lanes of two people; by click, by key and in a table; nothing of it is sent but single frames."""
    before = server.frames
    page.choose_file("#file", film)
    page.wait_for("document.getElementById('status').innerText === '2 faces followed.'")
    assert server.frames == before + FRAMES
    assert server.bodies == []
    lanes = page.run("[...document.querySelectorAll('.who')].map((each) => each.innerText.replace(/\\s+/g, ' '))")
    assert len(lanes) == 2
    assert {lane.split(": ")[1] for lane in lanes} == {"anger 100 %", "fear 100 %"}
    assert all(f"0:00.0 to 0:0{FRAMES / 5}" in lane for lane in lanes)

    assert page.run("document.querySelectorAll('#seen .box').length") == 2
    x, y, width = page.run("""(() => {
      document.querySelector(".plot").scrollIntoView({block: "center"});
      const {x, y, width} = document.querySelector(".plot").getBoundingClientRect();
      return [x, y, width];
    })()""")
    page.click(x + 0.75 * width, y + 10)
    assert page.run("document.getElementById('seek').value") == "7"
    assert page.run("document.activeElement.id") == "seek"
    page.wait_for("Math.abs(document.getElementById('film').currentTime - 1.4) < 0.01")
    page.press("ArrowRight", 39)
    assert page.run("document.getElementById('seek').value") == "8"
    said = page.run("document.getElementById('seek').getAttribute('aria-valuetext')")
    assert said.startswith("0:01.6: face ")
    assert "anger" in said
    page.press("Home", 36)
    assert text(page, "#at") == "0:00.0"

    page.downloads_to(tmp_path)
    page.run("document.getElementById('csv').click()")
    table = page.downloaded(tmp_path / "two people-expressions.csv").decode()
    rows = list(csv.DictReader(io.StringIO(table)))
    assert len(rows) == 2 * FRAMES
    assert {row["track"] for row in rows} == {"1", "2"}
    assert [row["time_s"] for row in rows[::2]] == [f"{number / 5:.3f}" for number in range(FRAMES)]
    assert all(float(row["confidence"]) == pytest.approx(float(row[f"p_{row['label']}"])) for row in rows)
    assert all(
        sum(float(value) for name, value in row.items() if name.startswith("p_")) == pytest.approx(1, abs=1e-5)
        for row in rows
    )
    assert not server.streams._open


def test_it_plays_until_its_end_and_gives_way_to_a_photo(page: Page, film: Path, tmp_path: Path) -> None:
    page.choose_file("#file", film)
    assert text(page, "#status") != "2 faces followed."  # what was said of the film before
    page.wait_for("document.getElementById('status').innerText === '2 faces followed.'")
    page.run("document.getElementById('film').addEventListener('play', () => { window.played = true })")
    page.run("document.getElementById('play').click()")
    page.wait_for("window.played")  # on a busy machine two seconds may pass between two looks
    page.wait_for("document.getElementById('film').paused && Number(document.getElementById('seek').value) > 5")
    photo = tmp_path / "six.png"
    Image.fromarray(six_people()).save(photo)
    page.choose_file("#file", photo)
    page.wait_for("document.querySelectorAll('#overlay .box').length === 6")
    assert page.run("document.getElementById('timeline').hidden && document.getElementById('playing').hidden")
    assert page.run("document.getElementById('film').getAttribute('src')") is None


def test_what_is_no_video_is_said(page: Page, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    page.choose_file("#file", broken)
    page.wait_for("document.getElementById('status').classList.contains('error')")
    assert "cannot play the video" in text(page, "#status")
    assert page.run("document.getElementById('timeline').hidden")
