from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ferops.classes import DEFAULT_CLASSES
from ferops.datasets import manifest
from ferops.datasets.manifest import make_row
from ferops.drift import compare as module
from ferops.drift.compare import Sides, appearance, compare_versions, drift_table, row_changes
from ferops.drift.versions import at_revision, current
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.records.drift import DriftSummary, SourceChange
from repositories import dvc, git, make_repository
from sample_images import encoded, noise, quick_params

PARAMS = quick_params()


def _rows(source: str, count: int, *, first: int = 0, brighter: int = 0) -> list[dict[str, Any]]:
    return [
        make_row(encoded((noise(i) // 2 + brighter).astype(np.uint8)), source=source, label=DEFAULT_CLASSES[i % 6])
        for i in range(first, first + count)
    ]


def _commit(root: Path, tag: str) -> None:
    dvc(root, "add", "data")
    dvc(root, "push")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", tag)
    git(root, "tag", tag)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Versions v1 and v2 of data/ in a DVC project with a remote at a relative path, and a third one in data/ itself.

    v2: one row relabelled, six removed, 60 brighter ones added. Now: a second source, in two files, too.
    """
    root = make_repository(tmp_path_factory.mktemp("drift") / "project")
    layout = Layout(root)
    (root / ".dvc" / "config").write_text("[core]\n    remote = near\n['remote \"near\"']\n    url = ../../remote\n")
    (root / ".gitignore").write_text("/data\n/reports/\n")
    layout.data.mkdir()
    rows = _rows("made", 66)
    manifest.write(layout.source("made"), rows, source="made")
    _commit(root, "v1")
    changed = [rows[0] | {"label": "neutral"}, *rows[1:60], *_rows("made", 60, first=100, brighter=100)]
    manifest.write(layout.source("made"), changed, source="made")
    _commit(root, "v2")
    manifest.write(layout.source("other"), _rows("other", 12, first=300), source="other")
    manifest.write(layout.data / "other-001.parquet", _rows("other", 12, first=320), source="other")
    return layout


def _digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_two_revisions(project: Layout) -> None:
    before = _digest(project.data)
    summary = compare_versions(project, PARAMS, "v1", "v2")
    assert DriftSummary.read(project.summary("drift"), made_by="ferops drift") == summary
    assert [one.as_json() for one in summary.sources] == [
        {
            "source": "made",
            "status": "changed",
            "rows_before": 66,
            "rows_after": 120,
            "added": 60,
            "removed": 6,
            "relabelled": 1,
            "relabels": {"anger -> neutral": 1},
        }
    ]
    found = {shift.quantity: shift for shift in summary.shifts}
    assert set(found) == {"class", "width", "height", "brightness", "contrast", "sharpness"}
    assert found["brightness"].effect == pytest.approx(0.5)
    assert {name for name, shift in found.items() if shift.word != "no"} == {"brightness"}
    assert summary.verdict == "large"
    assert summary.looked_at == 126
    page = (project.reports("drift") / "index.html").read_text(encoding="utf-8")
    assert "://" not in page
    assert "anger -&gt; neutral" in page
    assert page.count("data:image/png;base64,") == 1 + 6 + 12
    assert _digest(project.data) == before
    assert git(project.root, "status", "--porcelain") == ""


def test_a_revision_and_what_is_there_now(project: Layout) -> None:
    summary = compare_versions(project, PARAMS, "v2", None)
    assert [(one.source, one.status, one.rows_after) for one in summary.sources] == [
        ("made", "same rows", 120),
        ("other", "new", 24),
    ]
    assert {shift.source for shift in summary.shifts} == {"all sources"}
    said = "\n".join(drift_table(summary))
    assert "v2 (" in said
    assert "other: new, 0 -> 24 rows; 24 added, 0 removed, 0 relabelled" in said


def test_a_version_that_only_the_remote_has(project: Layout, tmp_path: Path) -> None:
    shutil.copytree(project.root, tmp_path / "clone")
    shutil.copytree(project.root.parent / "remote", tmp_path / "remote", dirs_exist_ok=True)
    layout = Layout(tmp_path / "clone")
    shutil.rmtree(layout.root / ".dvc" / "cache")
    assert len(at_revision(layout, "v1").rows()) == 66
    shutil.rmtree(tmp_path / "remote")
    with pytest.raises(FeropsError, match=r", v1, is in neither DVC's cache nor a remote"):
        at_revision(layout, "v1")


def test_what_cannot_be_compared_is_said(project: Layout, tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match=r"v1 and v1 are the same data version"):
        compare_versions(project, PARAMS, "v1", "v1")
    with pytest.raises(FeropsError, match=r"Git knows no revision 'v9'"):
        compare_versions(project, PARAMS, "v9", None)
    with pytest.raises(FeropsError, match=r"Git knows no revision '--all'"):
        compare_versions(project, PARAMS, "--all", None)
    with pytest.raises(FeropsError, match=r"no data in"):
        current(Layout(tmp_path))
    git(tmp_path, "init", "-q")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "--allow-empty", "-m", "x")
    with pytest.raises(FeropsError, match=r"revision HEAD has no data.dvc"):
        at_revision(Layout(tmp_path), "HEAD")


def test_a_sample_is_the_same_in_both_versions_and_bounds_the_decoding(
    project: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAMPLE_ROWS", 40)
    summary = compare_versions(project, PARAMS, "v1", "v2")
    ids = [row["image_id"] for row in [*_rows("made", 66), *_rows("made", 60, first=100, brighter=100)]]
    assert summary.looked_at == sum(int(name[:8], 16) / 2**32 < 40 / 120 for name in ids)
    width = next(shift for shift in summary.shifts if shift.quantity == "width")
    assert width.n == (66, 120)


def test_rows_are_matched_as_often_as_they_occur() -> None:
    before = pd.DataFrame([("a", "sad"), ("a", "sad"), ("b", "fear"), ("c", None), ("d", "sad"), ("e", "sad")])
    after = pd.DataFrame([("a", "sad"), ("b", "sad"), ("c", "sad"), ("c", None), ("d", "sad"), ("f", "sad")])
    found = row_changes(*(side.set_axis(["image_id", "label"], axis=1) for side in (before, after)))
    counted = {row.image_id: (row.added, row.removed, row.relabelled) for row in found.itertuples()}
    assert counted == {"a": (0, 1, 0), "b": (0, 0, 1), "c": (1, 0, 0), "e": (0, 1, 0), "f": (1, 0, 0)}


def test_the_appearance_is_that_of_the_pixels() -> None:
    pixels = noise(2)
    brightness, contrast, _ = appearance(encoded(pixels))
    assert brightness == pytest.approx(pixels.mean())
    assert contrast == pytest.approx(pixels.std())
    assert np.isnan(appearance(b"no image")).all()


def test_black_images_count_and_unreadable_ones_do_not() -> None:
    rows = {"source": "made", "image_id": ["0" * 64, "1" * 64], "label": "sad", "width": [48, 0], "height": [48, 0]}
    side = pd.DataFrame(rows)
    seen = side[["source", "image_id"]].assign(brightness=[0, np.nan], contrast=[0, np.nan], sharpness=[0, np.nan])
    counts = {"rows_before": 2, "rows_after": 2, "added": 0, "removed": 0, "relabelled": 0, "relabels": {}}
    sources = [SourceChange(source="made", status="changed", **counts)]
    sampled = side.assign(in_total=True)
    shifts = module._shifts(Sides(side, side), Sides(sampled, sampled), sources, seen)
    found = {shift.quantity: shift.n for shift in shifts}
    assert found.pop("class") == (2, 2)
    assert found == dict.fromkeys(("width", "height", "brightness", "contrast", "sharpness"), (1, 1))
