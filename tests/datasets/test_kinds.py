from __future__ import annotations

import numpy as np
import pytest

from ferops.datasets import images, kinds
from ferops.datasets.images import UnreadableImageError, decode, header
from ferops.datasets.kinds import FORMATS, HEAD_BYTES, has_ending, kind_of, refusal
from sample_images import encoded

COLOUR = np.full((20, 30, 3), 90, np.uint8)
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(300)


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_read_is_recognised_by_its_content(kind: str) -> None:
    assert kind_of(encoded(COLOUR, kind=kind)[:HEAD_BYTES]) == kind


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (HEIC, "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf", "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", None),  # a video
        (b"\xff\x0a\xfa\x7f", "JPEG XL"),
        (b"%PDF-1.7", None),
        (b"BMW, the maker of cars", None),
        (b"", None),
    ],
)
def test_other_files(start: bytes, kind: str | None) -> None:
    assert kind_of(start[:HEAD_BYTES]) == kind


def test_an_image_without_a_decoder_is_named() -> None:
    jpeg_xl = b"\xff\x0a\xfa\x7f" + bytes(300)
    assert header(jpeg_xl).oddities == ("JPEG XL: no decoder",)
    with pytest.raises(UnreadableImageError, match=r"The file is JPEG XL, .* Convert it to JPEG or PNG\.$"):
        decode(jpeg_xl)
    assert refusal(b"<html>").startswith("The file is not a readable image. Supported formats: JPEG, PNG,")


def test_heic_without_its_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "HEIC", False)
    monkeypatch.setattr(images, "FORMATS", tuple(kind for kind in FORMATS if kind != "HEIC"))
    monkeypatch.setattr(kinds, "FORMATS", images.FORMATS)
    assert header(HEIC).oddities == ("HEIC: no decoder",)
    for content in (HEIC, HEIC.replace(b"ftypheic", b"ftypmif1"), encoded(COLOUR, kind="HEIC")):
        with pytest.raises(UnreadableImageError, match=r"The file is HEIC, .* or run: pip install pillow-heif"):
            decode(content)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_heic_cut_short(share: float) -> None:
    whole = encoded(COLOUR, kind="HEIC")
    with pytest.raises(UnreadableImageError, match=r"HEIC|damaged or incomplete"):
        decode(whole[: int(len(whole) * share)])


def test_a_name_without_an_ending() -> None:
    names = ["a.jpg", "b/c.HEIC", "IMG_1", "at 12.30", "x.jpg_large", ".jpg/y"]
    assert [name for name in names if has_ending(name)] == ["a.jpg", "b/c.HEIC"]
