"""The web page in a real browser, with six faces in two rows: rendered people, each in a cell of its own."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from service.refusals import Refusal
from starlette.responses import HTMLResponse

from browser import CHROMIUM, Page, browser
from ferops.datasets.images import decode
from ferops.datasets.synthetic import rows
from page_server import PageServer

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]

CELL = 160
TINTS = {"anger": (1, 0.5, 0.5), "fear": (0.5, 0.5, 1), "neutral": (0.3, 0.3, 0.3)}
"""What the tiny model answers for faces of a colour: its logits are linear in the mean, plus 1.2 for neutral."""
LABELS = ("anger", "fear", "neutral", "neutral", "anger", "fear")
"""Of the six cells, in reading order."""

RECTANGLES = """(() => {
  const rectangle = (each) => {
    const {x, y, width, height} = each.getBoundingClientRect();
    return [x, y, x + width, y + height];
  };
  return {
    photo: rectangle(document.getElementById("photo")),
    faces: [...document.querySelectorAll(".box")].map((box, index) => {
      const card = document.querySelectorAll(".card")[index];
      const tag = box.querySelector(".tag");
      return {
        box: rectangle(box), tag: rectangle(tag), text: tag.innerText.trim(),
        seen: getComputedStyle(tag).visibility === "visible", said: card.querySelector(".pick").innerText,
        colours: [getComputedStyle(box).borderTopColor, getComputedStyle(tag).backgroundColor,
          getComputedStyle(card.querySelector(".badge")).backgroundColor],
        crop: [...card.querySelector("canvas").getContext("2d").getImageData(72, 72, 1, 1).data],
      };
    }),
  };
})()"""


def six_people() -> NDArray[np.uint8]:
    """Return two rows of three faces, uint8 `(320, 480, 3)`, without any room between the cells."""
    people = [decode(row["image"]) for row in islice(rows(seed=11, identities=1, images_per_expression=1), 6)]
    cells = [(person * np.array(TINTS[label])).astype(np.uint8) for person, label in zip(people, LABELS, strict=True)]
    return np.vstack([np.hstack(cells[:3]), np.hstack(cells[3:])])


def saved(pixels: NDArray[np.uint8], path: Path, **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def page(opened: Page, server: PageServer) -> Page:
    server.refusals.clear()
    server.bodies.clear()
    opened.size(1180, 900)
    opened.open(server.url)
    opened.wait_for("document.getElementById('model').textContent === 'model v3'")
    return opened


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(six_people(), tmp_path_factory.mktemp("photos") / "six people.png")


def ask(page: Page, photo: Path, *, status: str = "low_confidence") -> None:
    """Choose a photo, and wait for an answer with this status; some of the six faces always need review."""
    page.choose_file("#file", photo)
    page.wait_for(f"document.getElementById('status').classList.contains('{status}')", within_s=100)


def text(page: Page, selector: str) -> str:
    return str(page.run(f"document.querySelector('{selector}').innerText"))


def overlap(one: list[float], other: list[float]) -> float:
    """Return the area that two rectangles share, in square pixels."""
    sides = [min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1)]
    return max(0.0, sides[0]) * max(0.0, sides[1])


def holds(outer: list[float], inner: list[float]) -> bool:
    spare = 0.5  # rounding of the browser's layout
    return all(o - spare <= i for o, i in zip(outer[:2], inner[:2], strict=True)) and all(
        i <= o + spare for o, i in zip(outer[2:], inner[2:], strict=True)
    )


def test_each_label_stands_on_its_own_person(page: Page, six: Path) -> None:
    """Tags lie in their boxes and in no other; numbers, labels, colours and crops follow the cells in reading order."""
    ask(page, six)
    found = page.run(RECTANGLES)
    assert [face["text"] for face in found["faces"]] == [
        f"{number} {label}" for number, label in enumerate(LABELS, start=1)
    ]
    assert [face["said"].split() for face in found["faces"]] == [
        [str(number), label.capitalize()] for number, label in enumerate(LABELS, start=1)
    ]
    left, top, right, bottom = found["photo"]
    assert (right - left) / (bottom - top) == pytest.approx(1.5, rel=0.01)  # not distorted
    for number, face in enumerate(found["faces"]):
        row, column = divmod(number, 3)
        x, y = left + column * (right - left) / 3, top + row * (bottom - top) / 2
        assert holds([x, y, x + (right - left) / 3, y + (bottom - top) / 2], face["box"]), "the box is in its cell"
        assert face["seen"]
        assert holds(face["box"], face["tag"])
        for other in found["faces"]:
            assert other is face or overlap(face["tag"], other["box"]) == 0
        assert len(set(face["colours"])) == 1
        red, _, blue, _ = face["crop"]
        assert {"anger": red > 1.3 * blue, "fear": blue > 1.3 * red, "neutral": 0 < max(red, blue) < 90}[LABELS[number]]
    assert len({face["colours"][0] for face in found["faces"]}) == 6


def test_tags_of_small_faces_shrink_and_boxes_end_at_the_photo(page: Page, tmp_path: Path) -> None:
    """Twelve people on a phone: a tag that does not fit is its number, or nothing."""
    page.size(390, 844)
    sheet = np.hstack([six_people()] * 2)[:, 50:]  # the first box would begin left of it
    ask(page, saved(sheet, tmp_path / "many.png"))
    found = page.run(RECTANGLES)
    assert len(found["faces"]) >= 10
    for face in found["faces"]:
        assert holds(found["photo"], face["box"])
        if face["seen"]:
            assert holds(face["box"], face["tag"])
            assert face["text"].isdigit() or face["text"].split()[1] in LABELS
            assert all(other is face or overlap(face["tag"], other["box"]) == 0 for other in found["faces"])
    assert any(face["seen"] and face["text"].isdigit() for face in found["faces"])
    assert page.run("document.documentElement.scrollWidth") <= 390


def test_a_tag_gives_way_to_a_face_in_front(page: Page) -> None:
    """Where boxes overlap, the tag takes the corner that covers least of the others."""
    shares = page.run("""import(new URL("page/faces.js", document.baseURI)).then(
      ({shares}) => shares({x1: -10, y1: 50, x2: 50, y2: 130}, 200, 100))""")
    assert shares == {"left": 0, "top": 0.5, "width": 0.25, "height": 0.5}
    corners = page.run("""import(new URL("page/faces.js", document.baseURI)).then(({corner}) => [
      corner({x: 0, y: 0, w: 100, h: 100}, [], 40, 20),
      corner({x: 0, y: 0, w: 100, h: 100}, [{x: -50, y: -50, w: 80, h: 80}], 40, 20),
      corner({x: 0, y: 0, w: 100, h: 100}, [{x: -10, y: -10, w: 120, h: 60}], 40, 20)])""")
    assert corners == ["top left", "top right", "bottom left"]


def test_a_large_photo_is_sent_small_upright_and_without_its_place(
    page: Page, server: PageServer, six: Path, tmp_path: Path
) -> None:
    """A phone's photo, stored on its side: the answer is about the photo as it is shown, in its own pixels."""
    large = np.asarray(Image.fromarray(six_people()).resize((2880, 1920)))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter when shown
    exif.get_ifd(0x8825)[1] = "N"  # GPS
    ask(page, saved(np.rot90(large), tmp_path / "phone.jpg", exif=exif, quality=95))
    with Image.open(io.BytesIO(server.bodies[0])) as sent:
        assert (sent.size, dict(sent.getexif())) == ((2560, 1707), {})
    assert "2560×1707 in place of 2880×1920" in text(page, "#limits")
    phone = json.loads(copied(page))
    assert (phone["width"], phone["height"]) == (2880, 1920)
    ask(page, six)
    small = json.loads(copied(page))
    assert [face["label"] for face in phone["faces"]] == list(LABELS)
    for there, here in zip(phone["faces"], small["faces"], strict=True):
        for name, point in here["landmarks"].items():
            # Six times as large; the same within 8 pixels of the small one, whose faces have 100
            assert there["landmarks"][name] == pytest.approx([6 * value for value in point], abs=6 * 8)


def copied(page: Page) -> str:
    """Press "Copy as JSON" and return what would be in the clipboard."""
    return str(
        page.run("""new Promise((resolve) => {
          navigator.clipboard.writeText = async (text) => resolve(text);
          document.getElementById("copy").click();
        })""")
    )


def test_a_copy_with_blurred_faces_is_made_in_the_browser(
    page: Page, server: PageServer, six: Path, tmp_path: Path
) -> None:
    ask(page, six)
    page.downloads_to(tmp_path)
    page.run("document.getElementById('blur').click()")
    page.wait_for("document.getElementById('done').innerText.includes('Look at it')")
    blurred = page.downloaded(tmp_path / "six people-blurred.jpg")
    copy, original = decode(blurred), six_people()
    assert copy.shape == original.shape
    assert len(server.bodies) == 1  # nothing more was sent
    for face in json.loads(copied(page))["faces"]:
        x1, y1, x2, y2 = (round(face["box"][side]) for side in ("x1", "y1", "x2", "y2"))
        inside = slice(max(y1, 0), y2), slice(max(x1, 0), x2)
        assert detail(copy[inside]) < 0.4 * detail(original[inside])
    assert np.abs(copy[:4].astype(int) - original[:4]).mean() < 8  # above the heads, it is the photo


def detail(pixels: NDArray[np.uint8]) -> float:
    """Return how much of an image 8x8 cells do not show: the mean difference, in grey levels."""
    image = Image.fromarray(pixels)
    coarse = image.resize((8, 8), Image.Resampling.BOX).resize(image.size, Image.Resampling.BICUBIC)
    return float(np.abs(pixels.astype(int) - np.asarray(coarse)).mean())


def test_a_copy_is_refused_where_faces_would_stay(page: Page, server: PageServer, tmp_path: Path) -> None:
    """More faces than the answer holds: the page says so, and makes no copy that shows the others."""
    sheet = np.hstack([six_people()] * 4)
    ask(page, saved(sheet, tmp_path / "crowd.png"))
    assert len(page.run(RECTANGLES)["faces"]) == server.release.limits.max_faces
    assert "faces were found, and 20 are in the answer" in text(page, "#limits")
    page.run("document.getElementById('blur').click()")
    assert "Only 20 of" in text(page, "#done")


def test_heat_maps_come_on_demand_and_say_which_faces_have_none(page: Page, server: PageServer, six: Path) -> None:
    """Six faces, five maps, one further request; the map is a picture with words, and goes again."""
    ask(page, six)
    whys = "document.querySelectorAll('.card .why')"
    for index in range(6):
        page.run(f"{whys}[{index}].click()")
    page.wait_for("document.querySelectorAll('.heat canvas').length === 5")
    page.wait_for(f"[...{whys}].every((each) => !each.disabled)")
    assert "explains 5 faces of a photo" in text(page, "#done")
    assert len(server.bodies) == 2
    assert page.run(f"[...{whys}].filter((each) => each.ariaExpanded === 'true').length") == 5
    said = page.run("document.querySelector('.heat canvas').ariaLabel")
    assert said.startswith("Heat map: ")
    assert any(label in said for label in LABELS)
    assert (
        page.run("document.querySelector('.heat canvas').getContext('2d').getImageData(144, 144, 1, 1).data[3]") == 255
    )
    page.run("document.querySelector('.card .why[aria-expanded=true]').click()")
    assert page.run("document.querySelectorAll('.heat').length") == 4


def test_needs_review_and_no_face_are_told_apart(page: Page, six: Path, tmp_path: Path) -> None:
    ask(page, six)
    marks = page.run("[...document.querySelectorAll('.mark')].map((each) => each.innerText)")
    unsure = [mark for mark in marks if mark.endswith("needs review")]
    assert 0 < len(unsure) < 6
    assert f"{len(unsure)} need" in text(page, "#status")
    assert page.run("document.querySelectorAll('.box.low_confidence').length") == len(unsure)
    assert page.run("document.getElementById('nobody').hidden")
    ask(page, saved(np.full((90, 120, 3), 128, np.uint8), tmp_path / "wall.png"), status="no_face")
    assert text(page, "#status") == "No face found that can be judged."
    assert "review" not in text(page, "#status")
    assert not page.run("document.getElementById('nobody').hidden")


def test_a_busy_service_is_asked_again_when_it_says(page: Page, server: PageServer, six: Path) -> None:
    server.refusals = [Refusal("queue_full", "About 9 s of work wait already. Try later.", retry_after_s=1)]
    page.choose_file("#file", six)
    page.wait_for("document.getElementById('status').innerText.includes('The next try is in 1 s')")
    page.wait_for("document.querySelectorAll('.card').length === 6")
    assert len(server.bodies) == 2
    assert page.run("document.getElementById('again').hidden")


def test_a_photo_waits_for_a_service_that_is_away(page: Page, server: PageServer, six: Path) -> None:
    page.offline(True)
    page.choose_file("#file", six)
    page.wait_for("document.getElementById('status').innerText.includes('The next try is in 3 s')")
    assert text(page, "#status").startswith("The service cannot be reached. The photo is kept in this page.")
    assert not page.run("document.getElementById('again').hidden")
    page.offline(False)
    page.wait_for("document.querySelectorAll('.card').length === 6")
    assert len(server.bodies) == 1


def test_a_proxy_without_a_service_is_no_answer(page: Page, server: PageServer, six: Path) -> None:
    server.refusals = [HTMLResponse("<h1>Bad Gateway</h1>", 502)]
    page.choose_file("#file", six)
    page.wait_for("document.getElementById('status').innerText.startsWith('The service answered 502')")
    assert "The photo is kept in this page" in text(page, "#status")
    page.run("document.getElementById('again').click()")
    page.wait_for("document.querySelectorAll('.card').length === 6")


def test_a_key_is_asked_for_until_it_is_right_and_stays_in_the_tab(page: Page, server: PageServer, six: Path) -> None:
    server.keys.clear()
    server.refusals = [Refusal("no_key", "-H 'Authorization: Bearer KEY'."), Refusal("wrong_key", "The key is wrong.")]
    page.choose_file("#file", six)
    for said, key in (("This service needs an API key.", "wrong"), ("The API key is wrong, or was revoked.", "right")):
        page.wait_for(f"document.getElementById('status').innerText === '{said}'")
        assert page.run("document.activeElement.id") == "key-text"
        page.type(key)
    page.wait_for("document.querySelectorAll('.card').length === 6")
    assert page.run("document.getElementById('key').hidden")
    page.open(server.url)
    ask(page, six)
    assert server.keys == ["", "Bearer wrong", "Bearer right", "Bearer right"]
    page.run("sessionStorage.clear()")


def test_what_cannot_be_answered_is_not_sent_again(page: Page, server: PageServer, six: Path) -> None:
    server.refusals = [Refusal("timeout", "The image took longer than 20 s. Send a smaller one.")]
    page.choose_file("#file", six)
    page.wait_for("document.getElementById('status').classList.contains('error')")
    assert page.run("document.getElementById('again').hidden")
    assert text(page, "#status") == "The image took longer than 20 s. Send a smaller one."
