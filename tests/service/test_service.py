"""The service as it runs: the Bento of version 1 in its own process, built before that of version 2.

Slow, for the server takes 15 seconds; what it does without one is tested in the files beside this one.
"""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params
from ferops.datasets.synthetic.generate import rows
from ferops.inference.prediction import LANDMARKS
from ferops.layout import Layout
from ferops.packaging.bento import package
from ferops.packaging.serve import Place, serve_command
from served import served

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "service.log"


@pytest.fixture(scope="module")
def client(bentos: Layout, quick_params: Params, log: Path) -> Iterator[httpx.Client]:
    package(bentos, quick_params, model_folder=bentos.root / "exports" / "1", version="1")
    command, variables = serve_command(bentos, quick_params, Place(0))
    with served(command, variables, folder=bentos.root, log=log) as http:
        yield http


@pytest.fixture(scope="module")
def person() -> dict[str, object]:
    return next(rows(seed=7))


@pytest.fixture(scope="module")
def photo(person: dict[str, object]) -> bytes:
    encoded = person["image"]
    assert isinstance(encoded, bytes)
    return encoded


def send(client: httpx.Client, encoded: bytes) -> httpx.Response:
    return client.post("/predict", files={"image": ("private-name.jpg", encoded)})


def test_a_face_is_found_where_it_is(client: httpx.Client, photo: bytes, person: dict[str, object]) -> None:
    answer = send(client, photo).json()
    assert (answer["width"], answer["height"]) == (160, 160)
    assert answer["classes"] == list(DEFAULT_CLASSES)
    (face,) = answer["faces"]
    found = np.array([face["landmarks"][name] for name in LANDMARKS])
    truth = np.array(person["truth_landmarks"]).reshape(5, 2)
    eyes = np.linalg.norm(truth[1] - truth[0])
    assert np.linalg.norm(found - truth, axis=1).max() < 0.3 * eyes
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert (answer["faces_found"], answer["faces_returned"], answer["first_frame_only"]) == (1, 1, False)
    assert face["confidence"] == max(face["probabilities"].values()) == face["probabilities"][face["label"]]
    assert face["box"]["x1"] < found[:, 0].min()
    assert face["box"]["x2"] > found[:, 0].max()


def test_extras_come_when_they_are_asked_for(client: httpx.Client, photo: bytes) -> None:
    plain = send(client, photo).json()
    assert plain["extras"] == {"heat": [], "faces_explained": 0, "crops": [], "blurred": None}
    query = {"explain": 1, "crops": 1, "blur": 1}
    asked = client.post("/predict", params=query, content=photo, headers={"content-type": "image/jpeg"}).json()
    assert asked["faces"] == plain["faces"]
    extras = asked["extras"]
    assert (extras["faces_explained"], np.array(extras["heat"][0]["cells"]).shape) == (1, (12, 12))
    sizes = [Image.open(io.BytesIO(base64.b64decode(each))).size for each in (*extras["crops"], extras["blurred"])]
    assert sizes == [(32, 32), (160, 160)]
    batch = client.post("/predict/batch", params=query, files={"image": ("a.jpg", photo)})
    assert (batch.status_code, batch.json()["code"]) == (400, "bad_query")


def test_the_bento_of_version_1_serves_version_1(
    client: httpx.Client, photo: bytes, favourites: dict[str, str]
) -> None:
    answer = send(client, photo).json()
    assert answer["model_version"] == client.get("/info").json()["model_version"] == "1"
    assert answer["data_version"] == "d" * 32
    assert answer["faces"][0]["label"] == favourites["1"]


def test_an_image_is_turned_upright(client: httpx.Client, photo: bytes) -> None:
    """Pixels turned a quarter with the EXIF tag that says so: the answer is about the upright image."""
    upright = Image.open(io.BytesIO(photo))
    wide = Image.new("RGB", (240, 160))
    wide.paste(upright, (40, 0))
    answers = []
    for orientation in (1, 6):
        turned = wide if orientation == 1 else wide.transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[0x0112] = orientation
        buffer = io.BytesIO()
        turned.save(buffer, "JPEG", quality=95, exif=exif)
        answers.append(send(client, buffer.getvalue()).json())
    plain, turned_back = answers
    assert (plain["width"], plain["height"]) == (turned_back["width"], turned_back["height"]) == (240, 160)
    for name in LANDMARKS:
        there, here = (answer["faces"][0]["landmarks"][name] for answer in answers)
        assert np.hypot(there[0] - here[0], there[1] - here[1]) < 3


def test_an_animated_file_says_that_its_first_frame_was_looked_at(client: httpx.Client, photo: bytes) -> None:
    frame, buffer = Image.open(io.BytesIO(photo)), io.BytesIO()
    frame.save(buffer, "GIF", save_all=True, append_images=[Image.new("RGB", frame.size)])
    answer = send(client, buffer.getvalue()).json()
    assert (answer["faces_found"], answer["first_frame_only"]) == (1, True)


def test_no_face_is_an_answer(client: httpx.Client) -> None:
    buffer = io.BytesIO()
    Image.new("L", (120, 90), 128).save(buffer, "PNG")
    response = send(client, buffer.getvalue())
    assert (response.status_code, response.json()["status"], response.json()["faces"]) == (200, "no_face", [])


def test_a_truncated_image_is_told_so(client: httpx.Client, photo: bytes) -> None:
    response = send(client, photo[: len(photo) // 2])
    assert (response.status_code, response.json()["code"]) == (422, "damaged_image")


def test_the_guard_stands_before_the_service(client: httpx.Client) -> None:
    assert send(client, b"%PDF-1.7").status_code == 415
    assert send(client, b"\0" * 10_500_000).status_code == 413
    assert client.post("/predict", json={"image": "http://127.0.0.1:1/a.jpg"}).status_code == 400
    assert client.get("/predict", params={"url": "http://127.0.0.1:1/a.jpg"}).status_code == 405


def test_info_says_what_it_is_for(client: httpx.Client) -> None:
    said = client.get("/info").json()
    assert (said["tag"], said["purpose"], said["synthetic_data"]) == ("ferops:v1", "research", True)
    assert said["limits"]["max_body_mb"] == 10
    assert any("5(1)(f)" in line for line in said["prohibited_uses"])


def test_the_page_and_all_that_it_loads_are_served(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "Images are not stored" in page.text
    for path in ("page/app.js", "page/style.css", "page/icon.svg"):
        assert f'"{path}"' in page.text  # relative: the page may lie below a path
        assert client.get(f"/{path}").status_code == 200
    modules = re.findall(r'from "\./(\w+\.js)"', client.get("/page/app.js").text)
    assert modules
    for module in modules:
        assert client.get(f"/page/{module}").headers["content-type"].startswith("text/javascript")
    assert "http" not in page.headers["content-security-policy"]  # nothing from elsewhere
    assert client.get("/page/../service.py").status_code == 404


def test_openapi_describes_the_upload_and_every_answer(client: httpx.Client) -> None:
    post = client.get("/docs.json").json()["paths"]["/predict"]["post"]
    assert "multipart/form-data" in post["requestBody"]["content"]
    assert {int(status) for status in post["responses"]} >= {200, 413, 415, 422, 429, 503}


def test_a_batch_has_an_answer_for_each_image_in_order(client: httpx.Client, photo: bytes) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("b.jpg", photo)
        archive.writestr("a.jpg", photo[: len(photo) // 2])
    files = [("image", (name, content)) for name, content in (("one.jpg", photo), ("more.zip", buffer.getvalue()))]
    response = client.post("/predict/batch", files=files)
    assert response.status_code == 200
    answer = response.json()
    assert [(image["name"], image["code"]) for image in answer["images"]] == [
        ("one.jpg", ""),
        ("more.zip/a.jpg", "damaged_image"),
        ("more.zip/b.jpg", ""),
    ]
    single = send(client, photo).json()
    for image in (answer["images"][0], answer["images"][2]):
        assert image["answer"] | {"timing_ms": {}} == single | {"timing_ms": {}}
    refused = client.post("/predict/batch", files={"photo": photo})
    assert (refused.status_code, refused.json()["code"]) == (422, "missing_field")


def test_a_stream_follows_faces_and_refuses_other_origins(client: httpx.Client, photo: bytes) -> None:
    place = f"{client.base_url.host}:{client.base_url.port}"
    with connect(f"ws://{place}/stream", origin=f"http://{place}") as stream:
        for number in (1, 2, 3):
            stream.send(photo)
            answer = json.loads(stream.recv(timeout=30))
            assert (answer["frame"], answer["frames_dropped"], answer["width"]) == (number, 0, 160)
            (face,) = answer["faces"]
            assert face["track"] == 1
            assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        stream.send(b"%PDF")
        assert json.loads(stream.recv(timeout=30))["code"] == "not_an_image"
        stream.send(photo)  # a bad frame is not the end
        assert json.loads(stream.recv(timeout=30))["faces"][0]["track"] == 1
    for path, origin in (("/stream", "https://evil.test"), ("/stream", f"http://evil.test:{place}"), ("/other", None)):
        with pytest.raises(InvalidStatus) as refused, connect(f"ws://{place}{path}", origin=origin):
            pass
        assert refused.value.response.status_code == 403
    with connect(f"ws://{place}/stream") as stream:
        stream.send(b"\0" * 1_000_001)
        with pytest.raises(ConnectionClosed) as closed:
            stream.recv(timeout=30)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def test_a_request_cannot_forge_the_log(client: httpx.Client, log: Path) -> None:
    client.post("/predict%0aFORGED%1b[31m", headers={"content-type": "a\u202eb".encode()})
    for path in ("/%0aFORGED%1b[31m", "/info?x=%0aFORGED", "/%c2%9b31m", "/%e2%80%ae"):
        client.get(path)
    client.post("/predict", files={"image": ("a\nFORGED\x1b[31m.jpg", b"x")})
    lines = log.read_text().splitlines()
    assert [line for line in lines if "FORGED" in line]  # it is logged, escaped
    assert [line for line in lines if line.startswith("FORGED") or not line.isprintable()] == []


def test_counters_hold_numbers_only(client: httpx.Client, photo: bytes) -> None:
    def value(name: str) -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    before = {name: value(name) for name in ("ferops_images_total", "ferops_labels_total", "ferops_refused_total")}
    send(client, photo)
    send(client, b"no image")
    assert value("ferops_images_total") == before["ferops_images_total"] + 1
    assert value("ferops_labels_total") == before["ferops_labels_total"] + 1
    assert value("ferops_refused_total") == before["ferops_refused_total"] + 1


def test_nothing_of_an_image_stays(client: httpx.Client, bentos: Layout, log: Path) -> None:
    """An image too large for the memory buffer of form parsers leaves no file, and no upload leaves its name."""
    pixels = np.random.default_rng(0).integers(0, 256, (1000, 900, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "BMP")
    assert len(buffer.getvalue()) > 2**20
    before = {path for path in bentos.root.rglob("*") if path.is_file()}
    assert send(client, buffer.getvalue()).status_code == 200
    new = {path for path in bentos.root.rglob("*") if path.is_file()} - before
    assert not [path for path in new if path.suffix not in (".db", ".pyc")]  # Prometheus keeps its numbers in .db
    assert "private-name" not in log.read_text()
