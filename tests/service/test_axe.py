"""The page in each of its states is judged by axe, in the light and on a phone in the dark; FEROPS_SCREENSHOTS names a
folder for pictures of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from test_film import two_people
from test_page import six_people

from browser import CHROMIUM, LOOKS, Page, browser, camera, judged
from page_server import PageServer
from static_server import axe
from videos import write_video

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> str:
    return axe(tmp_path_factory.mktemp("axe"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    Image.fromarray(six_people()).save(folder / "six.png")
    film = write_video(folder / "film.mp4", 30 * [two_people(calm=False)] + 30 * [two_people(calm=True)])
    return {"photo": folder / "six.png", "film": film}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("browser")
    with browser(folder, *camera(folder / "camera.mjpeg", six_people())) as page:
        yield page


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing(page: Page, server: PageServer, files: dict[str, Path], script: str, look: str) -> None:
    width, height, dark = LOOKS[look]
    page.size(width, height)
    page.dark(dark)
    page.open(server.url)
    page.wait_for("document.getElementById('model').textContent === 'model v3'")
    page.run(f"{script}; true")
    found = {"empty": judged(page, f"empty, {look}")}
    page.choose_file("#file", files["photo"])
    page.wait_for("document.querySelectorAll('.card').length === 6")
    found["photo"] = judged(page, f"six faces, {look}")
    page.run("document.querySelector('.why').click()")
    page.wait_for("document.querySelector('.heat') !== null")
    found["heat"] = judged(page, f"heat map, {look}")
    page.choose_file("#file", files["film"])
    page.wait_for("!document.getElementById('seek').disabled && document.getElementById('halt').hidden")
    found["timeline"] = judged(page, f"timeline, {look}")
    page.run("document.getElementById('live').click()")
    page.wait_for("document.querySelectorAll('#marks .box').length === 2")
    found["live"] = judged(page, f"live, {look}")
    page.run("document.getElementById('live').click()")
    page.offline(True)
    page.choose_file("#file", files["photo"])
    page.wait_for("document.getElementById('status').innerText.includes('The next try is')")
    found["away"] = judged(page, f"service away, {look}")
    page.offline(False)
    assert not any(found.values()), found
