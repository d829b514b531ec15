"""The stage on a small project: what it writes, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from evaluation_project import Detector, Project, build
from ferops.datasets import manifest
from ferops.errors import FeropsError
from ferops.fairness.stage import fairness, flat
from ferops.records.fairness import FairnessFigures, FairnessSummary
from sample_images import noise_png


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("compared")
    made = build(folder, fairness={"pairs": 1, "images": 30, "seconds": 600})
    made.evaluate()
    rows = [
        manifest.make_row(
            noise_png(i, size_px=64), source="fairface", label=None, group_race="Black" if i % 2 else "White"
        )
        for i in range(48)
    ]
    manifest.write(made.layout.source("fairface"), rows, source="fairface")
    return made


@pytest.fixture(scope="module")
def summary(project: Project) -> FairnessSummary:
    few = project.params.evaluate.model_copy(update={"min_slice_samples": 10})
    return fairness(project.layout, project.params.model_copy(update={"evaluate": few}), detector=Detector())


def test_the_summary_is_what_was_written(project: Project, summary: FairnessSummary) -> None:
    assert FairnessSummary.read(project.layout.summary("fairness"), made_by="ferops fairness") == summary
    assert summary.test_images == len(project.labels) + len(project.no_face)
    assert summary.within_seconds
    assert {each.attribute for each in summary.attributes} == {"age", "skin tone"}
    assert [each.pairs for each in summary.changes] == [1, 1, 1, 1]
    assert len(pd.read_parquet(project.layout.artifacts("fairness") / "pairs.parquet")) == 4
    dark = next(group for group in summary.groups if group.values == ("dark",))  # made harder by the project
    assert dark.accuracy_minus_rest.value is not None
    assert dark.accuracy_minus_rest.value < 0


def test_a_source_without_labels_has_the_rates_of_its_groups(summary: FairnessSummary) -> None:
    assert {each.value for each in summary.unlabelled} == {"Black", "White"}
    assert sum(each.n for each in summary.unlabelled) == 30
    assert all(sum(each.rates.values()) == pytest.approx(1.0) for each in summary.unlabelled)


def test_the_flat_numbers_are_the_largest_gaps(project: Project, summary: FairnessSummary) -> None:
    written = json.loads((project.layout.reports("fairness") / "metrics.json").read_text(encoding="utf-8"))
    assert FairnessFigures(**written) == flat(summary)
    gaps = [each.accuracy_gap.value for each in summary.attributes if each.accuracy_gap.value is not None]
    assert written["accuracy_gap"] == max(gaps)
    assert summary.worst is not None
    assert written["worst_group_accuracy"] == summary.worst.accuracy.value


def test_the_page_needs_no_script_and_no_network(project: Project, summary: FairnessSummary) -> None:
    page = (project.layout.reports("fairness") / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert summary.verdict in page
    assert "fairface" in page


def test_answers_to_other_images_are_refused(project: Project) -> None:
    path = project.layout.artifacts("evaluate") / "end_to_end.parquet"
    before = path.read_bytes()
    try:
        pd.read_parquet(path).iloc[1:].to_parquet(path)
        with pytest.raises(FeropsError, match="answers to other images"):
            fairness(project.layout, project.params, detector=Detector())
    finally:
        Path(path).write_bytes(before)
