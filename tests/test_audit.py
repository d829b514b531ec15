from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ferops.audit import audit
from ferops.datasets import manifest
from ferops.errors import FeropsError
from ferops.faces.detection import Detection, Image
from ferops.layout import Layout
from sample_images import encoded, quick_params, write_source

PARAMS = quick_params(evaluate={"min_slice_samples": 10, "confidence_level": 0.95})


class BrightOnes:
    """Finds a face in bright images."""

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        face = Detection(box=np.array([5, 5, 40, 40], np.float32), landmarks=np.full((5, 2), 20, np.float32), score=1.0)
        return [[face] if image.mean() > 100 else [] for image in images]


def grey(level: int, number: int) -> bytes:
    pixels = np.full((120, 120), level, np.uint8)
    pixels[0, :8] = [255 * (number >> bit & 1) for bit in range(8)]  # no two alike
    return encoded(pixels)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """40 women, 30 of them bright; 20 men, 5 of them bright; 3 children, all bright; 2 unknown; one is not an image."""
    people = [("female", "adult", 200)] * 30 + [("female", "adult", 20)] * 10
    people += [("male", "adult", 200)] * 5 + [("male", "adult", 20)] * 15
    people += [("female", "child", 200)] * 3 + [(None, None, 20)] * 2
    rows = [
        manifest.make_row(grey(level, i), source="faces", label=None, group_gender=gender, group_age=age)
        for i, (gender, age, level) in enumerate(people)
    ]
    rows.append(manifest.make_row(b"not an image", source="faces", label=None, group_gender="male", group_age="adult"))
    layout = Layout(tmp_path)
    write_source(layout, "faces", rows)
    return layout


def wilson(found: int, images: int) -> tuple[float, float]:
    """Wilson 1927, written out."""
    z, p = 1.959963985, found / images
    middle = (p + z**2 / (2 * images)) / (1 + z**2 / images)
    half = z / (1 + z**2 / images) * math.sqrt(p * (1 - p) / images + z**2 / (4 * images**2))
    return middle - half, middle + half


def line(attribute: str, group: str, *, found: int, images: int) -> str:
    low, high = wilson(found, images)
    return f"| {attribute} | {group} | {images} | {found / images:.1%} | {low:.1%} to {high:.1%} |"


def test_rates_by_group_with_intervals(layout: Layout) -> None:
    page = audit(layout, PARAMS, "faces", limit=None, detector=BrightOnes())
    table = [text for text in page.splitlines() if text.startswith("| ")]
    assert table[1:] == [
        line("age", "adult", found=35, images=60),
        line("age", "child", found=3, images=3),
        line("age", "not annotated", found=0, images=2),
        line("gender", "female", found=33, images=43),
        line("gender", "male", found=5, images=20),
        line("gender", "not annotated", found=0, images=2),
        line("all", "all", found=38, images=65),
    ]
    assert "1 images cannot be decoded" in page
    assert "66 of 66 images" in page
    # Three children are too few to compare, and so are the unknown
    assert [text for text in page.splitlines() if text.startswith("- ")] == [
        "- gender: 51.7 points between female (76.7%) and male (25.0%); the intervals are apart."
    ]


def test_a_sample_is_drawn_by_the_seed_alone(layout: Layout) -> None:
    pages = [audit(layout, PARAMS, "faces", limit=20, detector=BrightOnes()) for _ in range(2)]
    assert pages[0] == pages[1]
    assert "20 of 66 images, drawn with seed 7" in pages[0]
    other = audit(layout, PARAMS.model_copy(update={"seed": 8}), "faces", limit=20, detector=BrightOnes())
    assert other.split("|")[1:] != pages[0].split("|")[1:]


def test_a_source_without_attributes_or_images(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_source(layout, "bare", [manifest.make_row(grey(200, 1), source="bare", label="sad")])
    with pytest.raises(FeropsError, match=r"bare has no groups to compare.*fairface"):
        audit(layout, PARAMS, "bare", limit=None, detector=BrightOnes())
    write_source(layout, "torn", [manifest.make_row(b"x", source="torn", label=None, group_age="young")])
    with pytest.raises(FeropsError, match=r"torn: not one of the 1 images drawn can be decoded"):
        audit(layout, PARAMS, "torn", limit=None, detector=BrightOnes())
