"""The page for a browser alone finds the faces that the Predictor finds, and answers as it does."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from docs.demo.build import build
from numpy.typing import NDArray
from PIL import Image

from browser import CHROMIUM, LOOKS, Page, browser, judged
from ferops.datasets.images import decode
from ferops.datasets.synthetic import rows
from ferops.inference.predictor import Predictor
from ferops.starter.shipped import unpack_starter
from static_server import axe, onnxruntime_web, serving
from videos import write_video

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]

BOX_PX, PROBABILITY = 1.0, 0.02
"""How far the page may be off: the runtimes round INT8 differently."""
PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "photos.zip"

DONE = """document.getElementById("busy").hidden && (!document.getElementById("take").hidden
  || document.getElementById("status").classList.contains("error"))"""


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("starter")
    unpack_starter(folder)
    return folder


@pytest.fixture(scope="module")
def predictor(starter: Path) -> Predictor:
    return Predictor(starter, threads=1)


@pytest.fixture(scope="module")
def people() -> NDArray[np.uint8]:
    """Two rows of three rendered people, uint8 `(320, 480, 3)`."""
    cells = [decode(row["image"]) for row in islice(rows(seed=11, identities=1, images_per_expression=1), 6)]
    return np.vstack([np.hstack(cells[:3]), np.hstack(cells[3:])])


@pytest.fixture(scope="module")
def opened(starter: Path, people: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page, built and served; the camera shows the upper three people."""
    scratch = tmp_path_factory.mktemp("demo")
    build(scratch / "site", model=str(starter), runtime=onnxruntime_web(scratch))
    still = io.BytesIO()
    Image.fromarray(np.pad(people[:160], ((100, 100), (0, 0), (0, 0)))).resize((640, 480)).save(
        still, "JPEG", quality=95
    )
    (scratch / "camera.mjpeg").write_bytes(30 * still.getvalue())
    options = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={scratch / 'camera.mjpeg'}",
    )
    with serving(scratch / "site") as url, browser(scratch, *options) as page:
        page.size(1180, 900)
        page.open(url)
        page.wait_for("document.getElementById('status').innerText === 'No image yet.'")
        yield page


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing(opened: Page, people: NDArray[np.uint8], tmp_path: Path, look: str) -> None:
    width, height, dark = LOOKS[look]
    opened.size(width, height)
    opened.dark(dark)
    opened.run(f"{axe(tmp_path)}; document.getElementById('clear').click()")
    opened.wait_for("document.querySelectorAll('.card').length === 0")
    found = {"empty": judged(opened, f"browser alone, empty, {look}")}
    Image.fromarray(people).save(tmp_path / "people.png")
    ask(opened, tmp_path / "people.png")
    found["photo"] = judged(opened, f"browser alone, six faces, {look}")
    opened.size(1180, 900)
    opened.dark(False)
    assert not any(found.values()), found


def ask(page: Page, photo: Path) -> dict[str, Any]:
    """Choose a photo, wait, and return what "Copy as JSON" copies."""
    page.run("document.getElementById('take').hidden = true, document.getElementById('status').className = ''")
    page.choose_file("#file", photo)
    page.wait_for(DONE, within_s=300)
    answer = page.run("""new Promise((resolve) => {
      navigator.clipboard.writeText = async (text) => resolve(text);
      document.getElementById("copy").click();
    })""")
    return dict(json.loads(answer))


def compare(answer: dict[str, Any], predictor: Predictor, photo: Path) -> int:
    """Check that the answer is the Predictor's; return how many faces there are."""
    wanted = predictor.predict(photo)
    assert (answer["status"], answer["rotation"]) == (wanted.status, wanted.rotation)
    assert (answer["width"], answer["height"]) == (wanted.width, wanted.height)
    assert len(answer["faces"]) == answer["faces_found"] == len(wanted.faces)
    for theirs in wanted.faces:
        ours = min(
            answer["faces"],
            key=lambda face: abs(face["box"]["x1"] - theirs.box[0]) + abs(face["box"]["y1"] - theirs.box[1]),
        )
        assert list(ours["box"].values()) == pytest.approx(theirs.box, abs=BOX_PX)
        assert np.array(list(ours["landmarks"].values())) == pytest.approx(theirs.landmarks, abs=BOX_PX)
        assert ours["detection_score"] == pytest.approx(theirs.detection_score, abs=0.001)
        assert (ours["label"], ours["status"]) == (theirs.label, theirs.status)
        assert ours["set"] == (list(theirs.set) if theirs.set else None)
        assert list(ours["probabilities"].values()) == pytest.approx(theirs.probabilities, abs=PROBABILITY)
    return len(wanted.faces)


def saved(pixels: NDArray[np.uint8], path: Path, **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def test_it_answers_as_the_predictor(
    opened: Page, people: NDArray[np.uint8], predictor: Predictor, tmp_path: Path
) -> None:
    """Six people; one of them small, one on their side; some made transparent; and nobody."""
    photo = saved(people, tmp_path / "six.png")
    assert compare(ask(opened, photo), predictor, photo) == 6
    assert opened.run("document.querySelectorAll('.box .tag').length") == 6
    person = people[:160, :160]
    small = saved(np.asarray(Image.fromarray(person).resize((48, 48))), tmp_path / "small.png")
    compare(ask(opened, small), predictor, small)
    turned = saved(np.rot90(people[160:, :160]), tmp_path / "turned.png")
    assert compare(ask(opened, turned), predictor, turned) == 1
    assert "turned clockwise by 90°" in opened.run("document.getElementById('limits').innerText")
    opaque = np.full((*people.shape[:2], 1), 255, np.uint8)
    opaque[:, 320:] = 0
    clear = saved(np.concatenate([people, opaque], axis=2), tmp_path / "transparent.png")
    assert compare(ask(opened, clear), predictor, clear) == 4
    wall = saved(np.full((90, 120, 3), 128, np.uint8), tmp_path / "wall.png")
    assert compare(ask(opened, wall), predictor, wall) == 0


def test_a_heat_map_is_the_predictors(
    opened: Page, people: NDArray[np.uint8], predictor: Predictor, tmp_path: Path
) -> None:
    """Of the first face in the answer's order: what the page shows, and its numbers."""
    photo = saved(people[:160], tmp_path / "three.png")
    answer = ask(opened, photo)
    wanted = predictor.predict(photo, explain=True).faces[0]
    found = opened.run(
        """import(new URL("asking.js", document.baseURI)).then(({ask}) => ask("heat", 0)).then(({heat}) => heat)"""
    )
    assert wanted.heat is not None
    cells = cv2.resize(wanted.heat.values, (12, 12), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(np.ravel(found["cells"]), np.ravel(cells))[0, 1] > 0.9
    assert found["fall"] == pytest.approx(wanted.heat.fall, abs=3 * PROBABILITY)
    number = next(place for place, face in enumerate(answer["faces"]) if face["label"] == wanted.label)
    opened.run(f"document.querySelectorAll('.why')[{number}].click()")
    opened.wait_for("document.querySelector('.heat canvas') !== null")
    said = opened.run("document.querySelector('.heat canvas').ariaLabel")
    assert answer["faces"][number]["label"] in said


def test_a_video_becomes_a_timeline(opened: Page, people: NDArray[np.uint8], tmp_path: Path) -> None:
    still = np.pad(people[:160, :320], ((40, 40), (0, 0), (0, 0)))
    film = write_video(tmp_path / "two.mp4", 20 * [still])
    opened.choose_file("#file", film)
    opened.wait_for("document.getElementById('status').innerText === '2 faces followed.'", within_s=300)
    assert opened.run("document.querySelectorAll('.lane').length") == 2
    assert opened.run("document.getElementById('seek').max") == "3"


def test_a_large_photo_of_a_phone_too(
    opened: Page, people: NDArray[np.uint8], predictor: Predictor, tmp_path: Path
) -> None:
    """2880 x 1920 pixels, stored on their side; the service decodes such a JPEG at half its size."""
    large = np.asarray(Image.fromarray(people).resize((2880, 1920)))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter when shown
    photo = saved(np.rot90(large), tmp_path / "phone.jpg", exif=exif, quality=95)
    answer, wanted = ask(opened, photo), predictor.predict(photo)
    assert (answer["width"], answer["height"]) == (2880, 1920)
    assert len(answer["faces"]) == len(wanted.faces) == 6
    for theirs in wanted.faces:
        ours = min(
            answer["faces"],
            key=lambda face: abs(face["box"]["x1"] - theirs.box[0]) + abs(face["box"]["y1"] - theirs.box[1]),
        )
        assert list(ours["box"].values()) == pytest.approx(theirs.box, abs=0.02 * 2880)
        assert ours["label"] == theirs.label


def test_what_is_no_image_is_said(opened: Page, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not an image")
    opened.choose_file("#file", broken)
    opened.wait_for("document.getElementById('status').classList.contains('error')")
    assert "cannot read the file as an image" in opened.run("document.getElementById('status').innerText")


def test_neither_page_nor_worker_reaches_another_host(opened: Page, tmp_path: Path) -> None:
    """The policy holds in the worker as well: it was made so that it inherits the page's."""
    (tmp_path / "secret.txt").write_text("open to all")
    with serving(tmp_path) as other:
        fetched = f"fetch('{other}secret.txt', {{mode: 'no-cors'}}).then(() => 'reached', () => 'refused')"
        assert opened.run(fetched) == "refused"
        started = f"""new Promise((resolve) => {{
          const script = new Blob([`{fetched}.then(postMessage)`], {{type: "text/javascript"}});
          const worker = new Worker(URL.createObjectURL(script), {{type: "module"}});
          worker.onmessage = ({{data}}) => resolve(data);
        }})"""
        assert opened.run(started) == "refused"
        assert opened.run("fetch('models/model.json').then((reply) => reply.ok)")


def test_the_live_camera_follows_faces(opened: Page) -> None:
    opened.run("document.getElementById('live').click()")
    opened.wait_for("document.querySelectorAll('#marks .box').length === 3", within_s=300)
    numbers = "[...document.querySelectorAll('#faces .card')].map((card) => card.dataset.face).sort().join()"
    assert opened.run(numbers) == "1,2,3"
    opened.wait_for("parseFloat(document.getElementById('rate').innerText) > 0")
    assert opened.run(numbers) == "1,2,3"
    opened.run("document.getElementById('live').click()")
    assert opened.run("document.getElementById('feed').srcObject") is None
    assert opened.run("document.getElementById('status').innerText") == "The camera is off."


@pytest.mark.real
@pytest.mark.skipif(not PHOTOS.exists(), reason="no ../shared/data here")
def test_ten_photographs(opened: Page, predictor: Predictor, tmp_path: Path) -> None:
    found = 0
    with zipfile.ZipFile(PHOTOS) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        for name in names[:: len(names) // 10][:10]:
            photo = tmp_path / Path(name).name
            photo.write_bytes(archive.read(name))
            found += compare(ask(opened, photo), predictor, photo)
    assert found >= 9
