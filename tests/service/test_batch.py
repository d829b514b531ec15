"""Batches: an answer or a reason for each image, in order; zips within limits, bombs refused."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from PIL import Image
from service.batch import Batch, Batches
from service.refusals import CODES, Refusal
from starlette.datastructures import FormData, QueryParams, UploadFile

from ferops.config import Params
from ferops.inference.answer import Answer
from ferops.inference.several import BatchAnswer
from service import batch as module


def photo(width: int = 20) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, 10)).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(members: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def form(*files: tuple[str, bytes] | str) -> FormData:
    return FormData(
        [
            ("image", each if isinstance(each, str) else UploadFile(io.BytesIO(each[1]), filename=each[0]))
            for each in files
        ]
    )


async def seen(encoded: bytes, client: str, megapixels: float) -> Answer:  # noqa: ARG001
    """An answer that holds the image's width."""
    return Answer(
        status="no_face",
        faces=(),
        faces_found=0,
        faces_returned=0,
        first_frame_only=False,
        classes=("happy",),
        width=Image.open(io.BytesIO(encoded)).width,
        height=10,
        rotation=0,
        model_version="1",
        data_version="d",
        timing_ms={},
        notice="",
    )


@pytest.fixture
def batches(quick_params: Params) -> Batches:
    limits = {"max_batch_images": 4, "max_batch_mb": 0.2, "max_body_mb": 0.05, "max_image_megapixels": 5}
    return Batches(quick_params.serve.model_copy(update=limits))


def answered(
    batches: Batches, *files: tuple[str, bytes] | str, predict: Callable[..., Awaitable[Answer]] = seen
) -> BatchAnswer:
    async def go() -> BatchAnswer:
        return await batches.answer(await batches.take(form(*files), "10.0.0.1", QueryParams()), predict)

    return asyncio.run(go())


def test_files_and_zips_are_answered_in_order_and_a_bad_one_has_a_reason(batches: Batches) -> None:
    archive = zipped({"b/two.png": photo(22), "a/one.png": photo(21), "__MACOSX/._one.png": b"litter"})
    found = answered(batches, ("first.png", photo(20)), ("more.zip", archive), ("bad.jpg", b"%PDF-1.7"))
    assert [(image.name, image.answer and image.answer.width, image.code) for image in found.images] == [
        ("first.png", 20, ""),
        ("more.zip/a/one.png", 21, ""),
        ("more.zip/b/two.png", 22, ""),
        ("bad.jpg", None, "not_an_image"),
    ]
    assert (found.images_found, found.images_answered, found.max_images) == (4, 3, 4)
    assert "JPEG" in found.images[3].error
    assert list(found.left_out.values()) == [1]


def test_each_image_has_the_limits_of_a_single_one(batches: Batches) -> None:
    large = b"\0" * 60_000
    wide = b"GIF89a\xb8\x0b\xd0\x07\x00\x00\x00,\x00\x00\x00\x00\xb8\x0b\xd0\x07\x00\x02\x02L\x01\x00;"  # 3000x2000
    found = answered(
        batches, ("empty.png", b""), ("large.bmp", large), ("large.zip", zipped({"x": large})), ("w.gif", wide)
    )
    assert [image.code for image in found.images] == [
        "empty_file",
        "body_too_large",
        "body_too_large",
        "too_many_pixels",
    ]


def test_what_predict_refuses_is_an_entry(batches: Batches) -> None:
    async def refuse(*_: Any) -> Answer:
        raise Refusal("damaged_image", "The image cannot be decoded.")

    (image,) = answered(batches, ("a.png", photo()), predict=refuse).images
    assert (image.answer, image.code, image.error) == (None, "damaged_image", "The image cannot be decoded.")


@pytest.mark.parametrize(("retry_after_s", "code"), [(0.01, ""), (999.0, "queue_full")])
def test_an_image_that_finds_the_queue_full_comes_again(batches: Batches, retry_after_s: float, code: str) -> None:
    tries: list[int] = []

    async def busy(*upload: Any) -> Answer:
        tries.append(1)
        if len(tries) < 3:
            raise Refusal("queue_full", "Try later.", retry_after_s=retry_after_s)
        return await seen(*upload)

    assert [image.code for image in answered(batches, ("a.png", photo()), predict=busy).images] == [code]


def test_what_a_batch_cannot_answer_in_time_is_said(batches: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(*upload: Any) -> Answer:
        await asyncio.sleep(0.2)
        return await seen(*upload)

    monkeypatch.setattr(module, "WITHIN_S", 0.1)
    found = answered(batches, ("a.png", photo()), ("b.png", photo()), predict=slow)
    assert [image.code for image in found.images] == ["", "timeout"]


def overlapping() -> bytes:
    """A zip of which two members share their bytes."""
    content = zipped({"a.png": photo(), "b.png": photo()})
    start = content.rindex(b"PK\x01\x02")
    # 42 bytes into an entry stands where its member begins
    return content[: start + 42] + b"\0\0\0\0" + content[start + 46 :]


BAD = [
    ("bad_zip", "bomb", ("bomb.zip", zipped({"bomb.png": b"\0" * 2_000_000}))),
    ("bad_zip", "overlaps", ("overlap.zip", overlapping())),
    ("bad_zip", "leaves the archive", ("out.zip", zipped({"../../a.png": photo()}))),
    ("bad_zip", "cut short", ("cut.zip", zipped({"a.png": photo()})[:60])),
    ("bad_zip", "unusual method", ("lzma.zip", zipped({"a.png": photo()}, method=zipfile.ZIP_LZMA))),
    ("empty_file", "no images", ("none.zip", zipped({}))),
    ("too_many_files", "far more", ("many.zip", zipped({f"{number}/": b"" for number in range(50)}))),
    ("too_many_files", "5 files", ("five.zip", zipped({f"{number}.png": photo() for number in range(5)}))),
    ("body_too_large", "unpacks", ("big.zip", zipped({f"{number}.png": b"\1" * 90_000 for number in range(3)}))),
    ("not_a_file", "@", "http://example.org/a.jpg"),
]


@pytest.mark.parametrize(("code", "words", "file"), BAD, ids=lambda each: each if isinstance(each, str) else "")
def test_a_bad_batch_is_refused_as_a_whole(
    batches: Batches, code: str, words: str, file: tuple[str, bytes] | str
) -> None:
    with pytest.raises(Refusal) as refused:
        answered(batches, file)
    assert (refused.value.code, refused.value.status) == (code, CODES[code])
    assert words in refused.value.message
    assert "import" not in refused.value.message
    assert "Download" not in refused.value.message


def test_a_damaged_member_is_an_entry(batches: Batches) -> None:
    content = bytearray(zipped({"a.png": photo(), "b.png": photo()}, method=zipfile.ZIP_STORED))
    content[40] ^= 0xFF  # in the first member: its sum is wrong now
    assert [image.code for image in answered(batches, ("zip", bytes(content))).images] == ["bad_zip", ""]


def test_a_zip_is_unpacked_one_image_at_a_time(batches: Batches) -> None:
    """Only what is being answered lies in memory."""

    async def go() -> Batch:
        return await batches.take(
            form(("a.zip", zipped({"a.png": photo(), "b.png": photo()}))), "10.0.0.1", QueryParams()
        )

    for item in asyncio.run(go()).items:
        assert item.read() == photo()
