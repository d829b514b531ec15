"""The page's live camera in a real browser, whose camera shows two rendered people: one tinted red, one blue."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from test_page import six_people

from browser import CHROMIUM, Page, browser, camera
from ferops.config import Params, Serve
from page_server import PageServer

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]

SHOWN = """(() => {
  const rectangle = (each) => {
    const {x, y, width, height} = each.getBoundingClientRect();
    return [x, y, x + width, y + height];
  };
  return {
    feed: rectangle(document.getElementById("feed")),
    boxes: [...document.querySelectorAll("#marks .box")].map((box) => ({
      track: box.dataset.face, place: rectangle(box), label: box.querySelector(".word").innerText.trim(),
      colour: getComputedStyle(box).borderTopColor,
    })),
    cards: [...document.querySelectorAll("#faces .card")].map((card) => ({
      track: card.dataset.face, label: card.querySelector(".label").innerText.toLowerCase(),
      colour: getComputedStyle(card.querySelector(".badge")).backgroundColor,
    })),
    rate: document.getElementById("rate").innerText,
  };
})()"""


@pytest.fixture(scope="module")
def limits(quick_params: Params) -> Serve:
    return quick_params.serve.model_copy(update={"max_streams_per_client": 1})


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser whose camera shows the first two of the six people, anger at the left, fear at the right."""
    folder = tmp_path_factory.mktemp("browser")
    with browser(folder, *camera(folder / "camera.mjpeg", six_people())) as page:
        yield page


@pytest.fixture
def page(opened: Page, server: PageServer) -> Page:
    server.refused.clear()
    opened.size(1180, 900)
    opened.open(server.url)
    opened.wait_for("document.getElementById('model').textContent === 'model v3'")
    return opened


def start(page: Page) -> None:
    page.run("document.getElementById('live').click()")
    page.wait_for("document.querySelectorAll('#marks .box').length === 2")


def text(page: Page, name: str) -> str:
    return str(page.run(f"document.getElementById('{name}').innerText"))


def test_boxes_stand_on_the_right_person_as_in_a_mirror(page: Page, server: PageServer) -> None:
    before = server.frames
    assert page.run("document.getElementById('feed').srcObject") is None  # nobody is asked before the click
    start(page)
    shown = page.run(SHOWN)
    left, _, right, _ = shown["feed"]
    middle = (left + right) / 2
    by_label = {box["label"]: box for box in shown["boxes"]}
    assert by_label.keys() == {"anger", "fear"}
    assert by_label["fear"]["place"][2] < middle < by_label["anger"]["place"][0]  # the camera has anger at its left
    assert page.run("getComputedStyle(document.getElementById('feed')).transform") == "matrix(-1, 0, 0, 1, 0, 0)"
    cards = {card["track"]: card for card in shown["cards"]}
    for box in shown["boxes"]:
        assert (box["label"], box["colour"]) == (cards[box["track"]]["label"], cards[box["track"]]["colour"])
    page.wait_for("parseFloat(document.getElementById('rate').innerText) > 0")
    assert text(page, "status") == "2 faces in view."
    assert server.frames > before + 1
    assert sorted(box["track"] for box in page.run(SHOWN)["boxes"]) == sorted(cards)  # still the same numbers
    stop(page, server)


def stop(page: Page, server: PageServer) -> None:
    page.run("document.getElementById('live').click()")
    assert text(page, "status") == "The camera is off."
    assert is_off(page, server)


def is_off(page: Page, server: PageServer) -> bool:
    """Whether the camera is off, the page as before, and the stream closed."""
    deadline_s = time.monotonic() + 20
    while server.streams._open and time.monotonic() < deadline_s:
        time.sleep(0.05)
    return not server.streams._open and bool(
        page.run("""document.getElementById("feed").srcObject === null && document.getElementById("watched").hidden
          && !document.getElementById("empty").hidden && document.getElementById("faces").children.length === 0
          && document.getElementById("live").getAttribute("aria-pressed") === "false" """)
    )


def test_a_hidden_page_turns_the_camera_off(page: Page, server: PageServer) -> None:
    start(page)
    track = "document.getElementById('feed').srcObject.getTracks()[0]"
    page.run(f"window.track = {track}, true")
    page.run("""Object.defineProperty(document, "hidden", {value: true, configurable: true});
      document.dispatchEvent(new Event("visibilitychange"))""")
    assert page.run("window.track.readyState") == "ended"
    assert "page was hidden" in text(page, "status")
    assert is_off(page, server)


def test_a_photo_ends_the_live_camera(page: Page, tmp_path: Path) -> None:
    start(page)
    photo = tmp_path / "six.png"
    Image.fromarray(six_people()).save(photo)
    page.choose_file("#file", photo)
    page.wait_for("document.querySelectorAll('#overlay .box').length === 6")
    assert page.run("document.getElementById('watched').hidden")
    assert page.run("document.getElementById('live').innerText") == "Live camera"


def test_a_service_that_closes_the_stream_turns_the_camera_off(page: Page, server: PageServer) -> None:
    """One stream of a client is allowed: a second is refused, with the reason; a page that is gone frees its place."""
    start(page)
    page.run("""window.other = new WebSocket(new URL("stream", document.baseURI.replace("http", "ws")));
      new Promise((resolve) => { window.other.onmessage = ({data}) => resolve(window.said = data); })""")
    assert "too_many_streams" in page.run("window.said")
    page.open(server.url)
    page.wait_for("document.getElementById('model').textContent === 'model v3'")
    server.streams._limits = server.streams._limits.model_copy(update={"max_streams": 1, "max_streams_per_client": 9})
    server.streams._open["another"] = 1
    page.run("document.getElementById('live').click()")
    page.wait_for("document.getElementById('status').innerText === 'Too many streams are open. Try later.'")
    server.streams._open.clear()
    assert is_off(page, server)
