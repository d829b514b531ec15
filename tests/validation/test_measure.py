from __future__ import annotations

import hashlib
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from ferops.classes import DEFAULT_CLASSES
from ferops.datasets.images import decode
from ferops.datasets.manifest import make_row
from ferops.layout import Layout
from ferops.validation import measure
from ferops.validation.descriptors import image_views
from ferops.validation.measure import Measures, measure_sources
from ferops.validation.near_duplicates import thumbnail
from ferops.validation.stage import validate
from sample_images import encoded, noise, noise_png, quick_params, write_source

SETTINGS = quick_params().validation


def _measure(image: bytes, *, header_px: int = 48) -> Measures:
    image_id = hashlib.sha256(image).hexdigest()
    return measure.measure(image, image_id=image_id, header_px=header_px, settings=SETTINGS)[0]


def test_the_numbers_are_those_of_the_pixels() -> None:
    pixels = noise(3)
    found = _measure(encoded(pixels))
    as_float = pixels.astype(float)
    assert found.brightness == pytest.approx(as_float.mean())
    assert found.grey_std == pytest.approx(as_float.std())
    assert found.sharpness == pytest.approx(ndimage.laplace(as_float, mode="mirror").var())
    assert found.id_matches
    assert found.decodes


def test_sharpness_does_not_depend_on_the_published_size() -> None:
    smooth = ndimage.gaussian_filter(noise(1).astype(float), 3)
    large = np.kron(smooth, np.ones((4, 4)))
    values = [_measure(encoded(image.astype(np.uint8)), header_px=192).sharpness for image in (smooth, large)]
    assert values[0] == pytest.approx(values[1], rel=0.02)


def test_a_pixel_hash_is_the_pixels_and_nothing_else() -> None:
    pixels = noise(4)
    as_colour = np.repeat(pixels[:, :, None], 3, axis=2)
    same = {_measure(image).pixel_hash for image in (encoded(pixels), encoded(pixels, kind="BMP"), encoded(as_colour))}
    assert len(same) == 1
    other = pixels.copy()
    other[0, 0] ^= 1
    assert _measure(encoded(other)).pixel_hash not in same
    flat = [_measure(encoded(np.zeros(shape, np.uint8))).pixel_hash for shape in ((40, 60), (60, 40))]
    assert flat[0] != flat[1]


def test_what_is_no_image_has_no_hash_and_says_why() -> None:
    whole = io.BytesIO()
    Image.fromarray(noise(1)).save(whole, format="JPEG")
    for broken in (b"", b"text", whole.getvalue()[:-900]):
        found = _measure(broken)
        assert (found.decodes, found.pixel_hash) == (False, None)
        assert np.isnan(found.sharpness)
        assert found.problem


def test_an_image_too_large_is_not_decoded() -> None:
    found = _measure(noise_png(1), header_px=SETTINGS.max_side_px + 1)
    assert (found.decodes, found.pixel_hash, found.problem) == (True, None, None)


def test_rows_keep_their_order_over_batches_and_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "BATCH_ROWS", 3)
    layout = Layout(tmp_path)
    write_source(layout, "one", [make_row(noise_png(i), source="one", label="sad", group_age="old") for i in range(20)])
    write_source(layout, "two", [make_row(noise_png(i), source="two", label="sad", subject=str(i)) for i in range(7)])
    found = measure_sources(layout, ("two", "one"), SETTINGS)
    expected = [noise_png(i) for i in (*range(7), *range(20))]
    assert found.raw.column("image_id").to_pylist() == [hashlib.sha256(image).hexdigest() for image in expected]
    assert list(found.facts["pixel_hash"]) == [_measure(image).pixel_hash for image in expected]
    assert list(found.facts["row"]) == [*range(7), *range(20)]
    assert "image" not in found.raw.column_names
    grey = [decode(image)[..., 0] for image in expected]
    assert [list(one.ravel()) for one in found.thumbnails] == [list(thumbnail(one).ravel()) for one in grey]
    assert [list(one) for one in found.views] == [list(image_views(one)) for one in grey]
    assert found.raw.column("group_age").to_pylist() == [None] * 7 + ["old"] * 20


def test_without_a_label_review_no_views_are_kept(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_source(layout, "one", [make_row(noise_png(1), source="one", label="sad")])
    off = quick_params(validation={"label_review_folds": 0}).validation
    assert len(measure_sources(layout, ("one",), off).views) == 0


@pytest.mark.slow
def test_every_image_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the whole stage: the label review and the near-duplicates work on what the one decoding left."""
    decoded = Counter[bytes]()

    def counting(image: bytes, **options: float) -> Any:
        decoded[image] += 1
        return decode(image, **options)

    monkeypatch.setattr(measure, "decode", counting)
    layout = Layout(tmp_path)
    rows = [make_row(noise_png(i), source="one", label=name) for i, name in enumerate(DEFAULT_CLASSES * 5)]
    write_source(layout, "one", rows)
    settings = {"min_rows_per_class": 1, "label_review_folds": 2}
    summary = validate(layout, quick_params(data={"sources": ("one",)}, validation=settings))
    assert summary.label_review is not None
    # Any other decoding of the package goes through the same function of `ferops.datasets.images`
    assert decoded == Counter(row["image"] for row in rows)
