"""Photographs that are decoded only in part, and the faces cut from them."""

from __future__ import annotations

import io
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ferops.config import FaceSettings
from ferops.datasets.images import UnreadableImageError
from ferops.faces.align import TEMPLATE, align
from ferops.faces.crop import crop_faces
from ferops.faces.detect import find_faces
from ferops.faces.detection import Detection
from ferops.faces.detectors.letterbox import MAX_SIDE_PX
from ferops.faces.photo import Photo

HEIGHT, WIDTH = MAX_SIDE_PX + 20, 2 * MAX_SIDE_PX + 30
SETTINGS = FaceSettings(
    detector="mtcnn", size_px=48, min_confidence=0.9, margin=0.1, choose="largest", align="steady_scale"
)


def scene() -> NDArray[np.uint8]:
    """Clouds, smooth over 40 pixels."""
    coarse = np.random.default_rng(3).integers(0, 256, (HEIGHT // 40, WIDTH // 40, 3), dtype=np.uint8)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def jpeg(pixels: NDArray[np.uint8], *, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95, exif=exif)
    return stream.getvalue()


def face(x: float, y: float, side: float) -> Detection:
    landmarks = (TEMPLATE * side + (x, y)).astype(np.float32)
    return Detection(box=np.array([x, y, x + side, y + side], np.float32), landmarks=landmarks, score=0.95)


SCENE = scene()
FILE = jpeg(SCENE)


def test_a_large_jpeg_is_decoded_at_half_its_sides_and_whole_when_asked() -> None:
    photo = Photo.decode(FILE)
    assert (photo.width, photo.height, photo.factor) == (WIDTH, HEIGHT, 2)
    assert photo.pixels.shape == (HEIGHT // 2, WIDTH // 2, 3)
    halved = cv2.resize(SCENE, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
    assert np.abs(photo.pixels.astype(int) - halved).mean() < 3
    assert photo.full().shape == SCENE.shape
    assert np.abs(photo.full().astype(int) - SCENE).mean() < 3


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_it_stands_upright(orientation: int) -> None:
    square = SCENE[:, : HEIGHT * 2][:HEIGHT, :HEIGHT]  # not even its shape tells the sides apart
    both = np.concatenate([square, square], axis=1)
    photo = Photo.decode(jpeg(both, orientation=orientation))
    turned = np.rot90(both, k={1: 0, 3: 2, 6: 3, 8: 1}[orientation])
    assert photo.factor == 2
    assert photo.shape == turned.shape[:2]
    np.testing.assert_allclose(photo.pixels[::99, ::99], photo.full()[::198, ::198], atol=60)
    assert np.abs(photo.full().astype(int) - turned).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_parts_of_all_its_pixels_are_those_of_the_whole(orientation: int, degrees: int) -> None:
    photo = Photo.decode(jpeg(SCENE, orientation=orientation)).turned(degrees)
    parts, factor = photo.sharp(1)
    whole = photo.full()
    assert factor == 1
    assert parts.shape == whole.shape[:2]
    for where in (np.s_[0:40, 7:50], np.s_[1000:1100, 900:1300], np.s_[1200:5000, 1250:5000]):
        np.testing.assert_array_equal(parts[where], whole[where])


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_parts_without_colours_or_of_ink_are_rgb(mode: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(SCENE).convert(mode).save(stream, "JPEG")
    photo = Photo.decode(stream.getvalue())
    np.testing.assert_array_equal(photo.sharp(1)[0][9:30, 5:60], photo.full()[9:30, 5:60])


@pytest.mark.parametrize(
    "encoded", [jpeg(SCENE[:, : 2 * MAX_SIDE_PX - 1]), cv2.imencode(".png", SCENE[:9, :, ::-1])[1].tobytes()]
)
def test_smaller_images_and_other_formats_are_decoded_whole(encoded: bytes) -> None:
    photo = Photo.decode(encoded)
    assert photo.factor == 1
    assert photo.pixels.shape[:2] == photo.shape
    assert photo.full() is photo.pixels


def test_a_damaged_file_is_still_found_out() -> None:
    with pytest.raises(UnreadableImageError, match="damaged"):
        Photo.decode(FILE[: len(FILE) // 2])
    with pytest.raises(UnreadableImageError, match="at most 1 megapixels"):
        Photo.decode(FILE, max_megapixels=1)


def test_a_large_face_is_cut_from_the_reduced_photo_and_a_small_one_from_all_pixels() -> None:
    photo = Photo.decode(FILE)
    framing = {"size_px": 48, "margin": 0.1}
    large, small = face(200, 100, 300), face(900, 300, 40)
    (of_large,) = crop_faces(photo, [large], SETTINGS)
    np.testing.assert_array_equal(of_large.pixels, align(photo.pixels, large.landmarks / 2, **framing))
    assert of_large.detection is large
    (of_small,) = crop_faces(photo, [small], SETTINGS)
    np.testing.assert_array_equal(of_small.pixels, align(photo.full(), small.landmarks, **framing))
    whole = crop_faces(Photo.of(photo.full()), [large], SETTINGS)[0].pixels
    assert np.abs(of_large.pixels.astype(int) - whole).mean() < 2, "no half pixel to one side"


def test_what_is_found_is_in_pixels_of_the_image() -> None:
    class Middle:
        def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
            return [[face(100, 50, 60)] for _ in images]

    halved, whole = find_faces(Middle(), [Photo.decode(FILE), Photo.of(SCENE)])
    np.testing.assert_array_equal(halved[0].box, [200, 100, 320, 220])
    np.testing.assert_array_equal(halved[0].landmarks, face(200, 100, 120).landmarks)
    np.testing.assert_array_equal(whole[0].box, [100, 50, 160, 110])
