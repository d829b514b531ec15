"""Every bad upload gets a clear answer, and none of them reaches the service."""

from __future__ import annotations

import asyncio
import base64
import io
import tempfile
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from service.guard import UPLOAD, Guard, Upload, one_image
from service.refusals import CODES
from service.uploads import Uploads
from starlette.responses import JSONResponse


def image_file(kind: str = "PNG", *, width: int = 20, height: int = 10) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


# A GIF of 3000x2000 pixels in 35 bytes: the header is all that is read before it is refused
GIF = b"GIF89a\xb8\x0b\xd0\x07\x00\x00\x00,\x00\x00\x00\x00\xb8\x0b\xd0\x07\x00\x02\x02L\x01\x00;"


class Service:
    """The guard (1 kB, 5 megapixels) before an app that answers with the size of what it got."""

    def __init__(self, *, max_body_mb: float = 0.001, until_answered: bool = False) -> None:
        self.refused: list[str] = []
        self.served: list[bytes] = []
        self.guard = Guard(
            self.app,
            path="/predict",
            max_body_mb=max_body_mb,
            take=one_image(max_megapixels=5),
            uploads=Uploads(at_once=3, at_once_per_client=2, within_s=10, min_kb_s=1),
            on_refusal=self.refused.append,
            until_answered=until_answered,
        )

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        upload = scope.get(UPLOAD)
        self.served.append(upload.encoded if isinstance(upload, Upload) else b"")
        await JSONResponse({})(scope, receive, send)

    def post(self, path: str = "/predict", **arguments: Any) -> httpx.Response:
        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(self.guard)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.post(path, **arguments)

        return asyncio.run(go())


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_an_image_arrives_byte_for_byte(service: Service, kind: str) -> None:
    encoded = image_file(kind, width=10, height=8)
    assert service.post(files={"image": ("photo", encoded)}).status_code == 200
    assert service.served == [encoded]
    assert service.refused == []


def test_an_image_arrives_as_the_body_and_in_base64_as_well(service: Service) -> None:
    encoded = image_file(width=10, height=8)
    assert service.post(content=encoded, headers={"content-type": "image/png"}).status_code == 200
    assert service.post(json={"image": base64.b64encode(encoded).decode()}).status_code == 200
    assert service.served == [encoded, encoded]


FORM = {"content-type": "multipart/form-data; boundary=x"}

BAD: list[tuple[str, str, dict[str, Any]]] = [
    ("bad_form", "BASE64", {"json": {"image": "http://example.org/a.jpg"}}),
    ("bad_form", "BASE64", {"json": ["image"]}),
    (
        "bad_query",
        "explain=maybe",
        {"params": {"explain": "maybe"}, "files": {"image": ("a.png", image_file(width=2, height=2))}},
    ),
    ("not_multipart", "no content type", {"content": b"abc"}),
    ("not_multipart", "pickle", {"content": b"abc", "headers": {"content-type": "application/pickle"}}),
    ("bad_form", "boundary", {"content": b"abc", "headers": {"content-type": "multipart/form-data"}}),
    ("bad_form", "cannot be read", {"content": b"--y\r\ngarbage", "headers": FORM}),
    ("missing_field", "found: photo", {"files": {"photo": ("a.png", image_file(width=2, height=2))}}),
    ("missing_field", "found: none", {"content": b"--x--\r\n", "headers": FORM}),
    ("not_a_file", "@", {"data": {"image": "http://example.org/a.jpg"}, "files": {"other": b"x"}}),
    ("several_files", "one image", {"files": [("image", b"a"), ("image", b"b")]}),
    ("empty_file", "empty", {"files": {"image": ("a.png", b"")}}),
    ("not_an_image", "JPEG", {"files": {"image": ("a.jpg", b"%PDF-1.7 text")}}),
    ("not_an_image", "JPEG", {"files": {"image": ("a.jpg", image_file()[:20])}}),
    ("body_too_large", "0.001 MB", {"files": {"image": ("a.png", b"0" * 2000)}}),
    ("too_many_pixels", "3000x2000", {"files": {"image": ("a.gif", GIF)}}),
]


@pytest.mark.parametrize(("code", "words", "arguments"), BAD)
def test_a_bad_upload_is_refused_with_the_reason(
    service: Service, code: str, words: str, arguments: dict[str, Any]
) -> None:
    response = service.post(**arguments)
    assert (response.status_code, response.json()["code"]) == (CODES[code], code)
    assert words in response.json()["error"]
    assert service.refused == [code]
    assert service.served == []


def test_a_body_without_a_length_is_counted_while_it_arrives(service: Service) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b'--x\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for _ in range(1000):
            yield b"0" * 100

    response = service.post(content=endless(), headers=FORM)
    assert response.status_code == 413
    assert service.refused == ["body_too_large"]


def test_a_client_that_asks_first_is_refused_before_it_sends(service: Service) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("the guard read the body")
        yield b""

    headers = {**FORM, "content-length": "1000000", "expect": "100-continue"}
    assert service.post(content=never(), headers=headers).status_code == 413


def scope_of(client: str = "10.0.0.1") -> dict[str, Any]:
    headers = [(b"content-type", FORM["content-type"].encode())]
    return {"type": "http", "method": "POST", "path": "/predict", "headers": headers, "client": (client, 1)}


def test_a_client_that_leaves_while_it_sends_is_not_served(service: Service) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(service.guard(scope_of(), receive, send))
    assert service.served == []
    assert sent[0]["status"] == 499  # for the log: nobody reads it


def test_a_client_that_leaves_while_it_waits_is_taken_out(service: Service) -> None:
    request = httpx.Request("POST", "http://test/predict", files={"image": ("a.png", image_file())})
    messages = [{"type": "http.request", "body": request.read(), "more_body": False}, {"type": "http.disconnect"}]
    cancelled: list[bool] = []

    async def waiting(*_: Any) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        pass

    service.guard._app = waiting
    scope = scope_of() | {"headers": [(b"content-type", request.headers["content-type"].encode())]}
    asyncio.run(service.guard(scope, receive, send))
    assert cancelled == [True]


@pytest.mark.parametrize("until_answered", [False, True])
def test_an_upload_counts_until_it_is_read_or_answered(until_answered: bool) -> None:
    """Two uploads of this client may be unfinished; here, two are read and not answered yet when the third comes."""
    service = Service(until_answered=until_answered)
    may_go = asyncio.Event()

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        await may_go.wait()
        await service.app(scope, receive, send)

    async def go() -> list[int]:
        service.guard._app = waiting
        transport = httpx.ASGITransport(service.guard)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:

            async def post() -> int:
                return (await client.post("/predict", files={"image": ("a.png", image_file())})).status_code

            first = [asyncio.create_task(post()) for _ in range(2)]
            await asyncio.sleep(0.05)
            third = asyncio.create_task(post())
            await asyncio.sleep(1.2)  # longer than PLACE_S
            may_go.set()
            return sorted(await asyncio.gather(*first, third))

    assert asyncio.run(go()) == ([200, 200, 429] if until_answered else [200, 200, 200])


def test_other_paths_pass_untouched(service: Service) -> None:
    assert service.post("/elsewhere", content=b"0" * 5000).status_code == 200
    assert service.served == [b""]


def test_a_large_upload_never_touches_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def rollover(_: object) -> None:
        raise AssertionError("the upload was written to a file")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", rollover)
    service = Service(max_body_mb=8)
    encoded = image_file("BMP", width=1200, height=1000)  # 3.6 MB; form parsers spill to disk above 1 MB
    assert service.post(files={"image": ("photo.bmp", encoded)}).status_code == 200
    assert service.served == [encoded]
