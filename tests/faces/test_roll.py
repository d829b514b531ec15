"""Where the truth is known, aligned faces stand upright: roll after alignment on the embedded data set."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from ferops.config import load_params
from ferops.datasets.images import decode
from ferops.faces.align import to_template
from ferops.faces.detect import detect_faces
from ferops.faces.detectors import from_settings

ROOT = Path(__file__).parents[2]
WITHIN_DEGREES = 3.0


def rolls(rows: pd.DataFrame) -> pd.DataFrame:
    """Return `tone`, `before` and `after`, the head's true roll in degrees, of the rows with a face found."""
    settings = load_params(ROOT / "src" / "ferops" / "presets" / "quick.yaml").preprocess
    images = [decode(data) for data in rows["image"]]
    found = detect_faces(from_settings(settings, threads=1), images)
    measured = []
    for faces, roll, tone in zip(found, rows["truth_roll_degrees"], rows["group_skin_tone"], strict=True):
        if faces:
            matrix = to_template(faces[0].landmarks, size_px=64, margin=settings.margin, fit=settings.align)
            measured.append((tone, roll, roll + math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))))
    return pd.DataFrame(measured, columns=["tone", "before", "after"])


@pytest.mark.slow
def test_roll_after_alignment_is_within_three_degrees() -> None:
    """Every fifth rendered face with a known truth. The share is of the faces found; nearly all are."""
    source = ROOT / "data" / "synthetic.parquet"
    if not source.exists():
        pytest.skip("data/synthetic.parquet is absent: dvc pull data.dvc")
    rows = pd.read_parquet(source)
    rows = rows[rows["truth_roll_degrees"].notna()].iloc[::5]
    measured = rolls(rows)
    after = measured["after"].abs()
    level = after <= WITHIN_DEGREES
    by_tone = level.groupby(measured["tone"]).mean()
    before = measured["before"].abs().quantile(0.95)
    print(f"\n{len(measured)} of {len(rows)} found. Roll before: 95th percentile {before:.1f} degrees")
    print(f"After: median {after.median():.2f}, 95th percentile {after.quantile(0.95):.2f}, largest {after.max():.1f};")
    print(f"{level.mean():.1%} within {WITHIN_DEGREES:g} degrees, worst tone {by_tone.idxmin()}: {by_tone.min():.1%}")
    assert len(measured) > 0.97 * len(rows)
    assert before > 3 * WITHIN_DEGREES, "there was something to level"
    assert abs(measured["after"].mean()) < 0.5, "no leaning to one side"
    assert after.quantile(0.95) <= WITHIN_DEGREES
    assert by_tone.min() >= 0.9
