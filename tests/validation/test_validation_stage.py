from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ferops.classes import DEFAULT_CLASSES
from ferops.datasets.kinds import refusal
from ferops.datasets.manifest import make_row
from ferops.errors import FeropsError
from ferops.formats import percent
from ferops.layout import Layout
from ferops.records.validate import ValidateSummary
from ferops.validation.stage import context_folder, validate
from sample_images import encoded, noise, noise_png, quick_params, write_source

PARAMS = quick_params(data={"sources": ("made",)}, validation={"min_rows_per_class": 4, "max_quarantine_share": 0.3})


def _good_rows(*, per_class: int = 4) -> list[dict[str, Any]]:
    return [
        make_row(
            noise_png(10 * i + index),
            source="made",
            label=label,
            usage="train",
            subject=f"p{i}",
            group_age="old",
            truth_xy=[0.5, i],
            votes_sad=i,
        )
        for index, label in enumerate(DEFAULT_CLASSES)
        for i in range(per_class)
    ]


def _planted_rows() -> dict[str, dict[str, Any]]:
    """One row for each reason that can come out of an import; the image of good row 0 (anger, p0) is copied."""
    common = {
        "source": "made",
        "usage": "test",
        "subject": None,
        "group_age": None,
        "votes_sad": None,
        "truth_xy": None,
    }
    return {
        "undecodable": make_row(b"no image", label="sad", **common),
        "too_small": make_row(noise_png(900, size_px=20), label="sad", **common),
        "blank": make_row(encoded(np.full((48, 48), 7, np.uint8)), label="fear", **common),
        "exact_duplicate": make_row(encoded(noise(0), kind="BMP"), label="anger", **common),
        "label_conflict": make_row(encoded(noise(901), kind="BMP"), label="happy", **common),
        "excluded": make_row(noise_png(901), label="neutral", **common),
    }


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, ValidateSummary]:
    layout = Layout(tmp_path_factory.mktemp("passed"))
    write_source(layout, "made", [*_planted_rows().values(), *_good_rows()])
    return layout, validate(layout, PARAMS)


def test_a_dropped_copy_ties_the_people_it_names_and_a_blank_image_nobody(tmp_path: Path) -> None:
    """A portrait of p0 is published again as q: the copy goes, but p0 and the other images of q stay together."""
    layout = Layout(tmp_path)
    black = encoded(np.zeros((48, 48), np.uint8))
    common = {"source": "made", "usage": "test", "group_age": None, "votes_sad": None, "truth_xy": None}
    extra = [
        make_row(encoded(noise(0), kind="BMP"), label="anger", subject="q", **common),
        make_row(noise_png(500), label="sad", subject="q", **common),
        *(make_row(black, label="sad", subject=person, **common) for person in ("p1", "p2")),
    ]
    write_source(layout, "made", [*_good_rows(), *extra])
    validate(layout, PARAMS)
    manifest = pd.read_parquet(layout.manifest)
    people = manifest.groupby("connected")["subject"].agg(lambda names: "".join(sorted(set(names))))
    assert sorted(people) == ["p0q", "p1", "p2", "p3"]


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, str]:
    layout = Layout(tmp_path_factory.mktemp("failed"))
    rows = [row for row in _good_rows() if row["label"] != "disgust"] + _good_rows()[4:5]
    write_source(layout, "made", rows)
    layout.artifacts("validate").mkdir(parents=True)
    layout.manifest.write_bytes(b"of an earlier run")
    with pytest.raises(FeropsError) as caught:
        validate(layout, PARAMS)
    return layout, str(caught.value)


def test_the_manifest_holds_the_good_rows_in_the_promised_form(passed: tuple[Layout, ValidateSummary]) -> None:
    layout, _ = passed
    manifest = pd.read_parquet(layout.manifest)
    assert list(manifest.columns) == [
        *("image_id", "label", "source", "usage", "subject", "width", "height"),
        *("group_age", "truth_xy", "votes_sad"),
        *("cluster", "connected", "pixel_hash", "brightness", "sharpness"),
    ]
    assert list(manifest["image_id"]) == [row["image_id"] for row in _good_rows()]
    assert manifest["cluster"].str.fullmatch("[0-9a-f]{16}").all()
    assert manifest["pixel_hash"].is_unique
    assert (manifest["cluster"] == manifest["pixel_hash"]).all(), "noise has no near-duplicates"
    assert manifest["brightness"][0] == pytest.approx(noise(0).mean())
    assert [list(xy) for xy in manifest["truth_xy"]] == [[0.5, votes] for votes in manifest["votes_sad"]]
    assert set(manifest["votes_sad"]) == {0, 1, 2, 3}


def test_the_quarantine_has_a_reason_and_a_sentence_per_row(passed: tuple[Layout, ValidateSummary]) -> None:
    layout, _ = passed
    quarantine = pd.read_parquet(layout.quarantine)
    planted = _planted_rows()
    assert list(quarantine.columns) == ["row", "image_id", "source", "label", "usage", "reason", "detail"]
    expected = [reason for reason in planted if reason != "excluded"]
    assert list(quarantine["reason"]) == expected
    assert list(quarantine["row"]) == list(range(5))
    assert list(quarantine["image_id"]) == [planted[reason]["image_id"] for reason in expected]
    assert quarantine["detail"].str.len().min() > 10
    # The same words in every run: the decoder's own ones name an address in memory
    assert quarantine["detail"][0] == refusal(b"")


def test_the_summary_adds_up(passed: tuple[Layout, ValidateSummary]) -> None:
    layout, summary = passed
    assert ValidateSummary.read(layout.summary("validate"), made_by="ferops validate") == summary
    assert summary.rows_in == 30
    assert summary.accepted == 24
    assert summary.excluded == {"neutral": 1}
    assert summary.class_counts == dict.fromkeys(DEFAULT_CLASSES, 4)
    assert summary.quarantined == dict.fromkeys(
        ["undecodable", "too_small", "blank", "exact_duplicate", "label_conflict"], 1
    )
    assert (summary.exact_duplicate_groups, summary.exact_duplicate_surplus) == (2, 2)
    assert (summary.label_conflict_groups, summary.cross_usage_duplicate_groups) == (1, 1)
    assert summary.sources["made"].usage == {"test": 6, "train": 24}
    assert summary.provenance.data_version == "0123" * 8
    assert all(one.success for one in summary.expectations)


def test_the_page_is_self_contained_and_shows_what_was_quarantined(passed: tuple[Layout, ValidateSummary]) -> None:
    layout, _ = passed
    page = (layout.reports("validate") / "index.html").read_text(encoding="utf-8")
    assert "://" not in page
    assert page.count("data:image/png;base64,") == 4  # the undecodable one has no image
    assert "unreadable" in page
    assert "the same pixels as made row 6 (train), which is kept" in page
    assert (layout.reports("validate") / "data_docs" / "index.html").exists()


def test_no_page_loads_anything_from_outside(passed: tuple[Layout, ValidateSummary]) -> None:
    layout, summary = passed
    pages = sorted(layout.reports("validate").rglob("*.html"))
    assert len(pages) == 2 + 5
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(script|link|img|iframe)\b[^>]*(src|href)=.?(https?:)?//", text), page
        assert not re.search(r"url\(.?(https?:)?//|@import", text), page
    docs = layout.reports("validate") / "data_docs"
    results = [page.read_text(encoding="utf-8") for page in docs.glob("validations/*.html")]
    links = re.findall(r'href="([^"]+)"', (docs / "index.html").read_text(encoding="utf-8"))
    assert len(links) == 4
    assert all((docs / link).is_file() for link in links)
    for one in summary.expectations:  # what the tables say is still there
        assert any(html.escape(one.wanted) in text or one.wanted in text for text in results), one.wanted


def test_the_great_expectations_context_can_be_opened_again(passed: tuple[Layout, ValidateSummary]) -> None:
    layout, _ = passed
    stored = context_folder(layout) / "gx"
    suite = json.loads((stored / "expectations" / "accepted.json").read_text(encoding="utf-8"))
    kinds = {expectation["type"] for expectation in suite["expectations"]}
    assert "expect_column_value_shares_to_be_between" in kinds
    assert len(list((stored / "uncommitted" / "validations").rglob("*.json"))) == 2
    assert str(layout.root) not in (stored / "great_expectations.yml").read_text(encoding="utf-8")


def test_a_failure_names_each_expectation_with_wanted_and_found(failed: tuple[Layout, str]) -> None:
    layout, message = failed
    assert "does not meet 1 expectation(s)" in message
    assert "wanted: at least 4 accepted rows of disgust (min_rows_per_class); found: 1" in message
    assert str(layout.reports("validate") / "index.html") in message


def test_a_failure_leaves_the_reports_and_no_manifest(failed: tuple[Layout, str]) -> None:
    layout, _ = failed
    assert not layout.manifest.exists()
    assert layout.quarantine.exists()
    assert (layout.reports("validate") / "data_docs" / "index.html").exists()
    summary = ValidateSummary.read(layout.summary("validate"), made_by="ferops validate")
    assert [one.observed for one in summary.expectations if not one.success] == ["1"]
    page = (layout.reports("validate") / "index.html").read_text(encoding="utf-8")
    assert "1 of 22 expectations failed" in page


def test_every_kind_of_failure_is_found(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    rows = [make_row(noise_png(i), source="made", label="happy") for i in range(20)]
    rows += [make_row(b"x%d" % i, source="made", label="sad") for i in range(20)]
    write_source(layout, "made", rows)
    with pytest.raises(FeropsError) as caught:
        validate(layout, PARAMS)
    message = str(caught.value)
    assert "at least 70\u00a0% of the images can be decoded; found: 20 of 40 rows differ" in message
    assert "not excluded are quarantined (max_quarantine_share); found: 20 of 40 rows differ" in message
    for name in set(DEFAULT_CLASSES) - {"happy"}:
        assert f"at least 4 accepted rows of {name} (min_rows_per_class); found: 0" in message
    shares = ", ".join(f"{name} {percent(float(name == 'happy'), 2)}" for name in DEFAULT_CLASSES)
    assert f"found: {shares}" in message


def test_nothing_accepted_at_all_is_a_failure_and_not_a_crash(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_source(layout, "made", [make_row(noise_png(1), source="made", label="neutral")])
    with pytest.raises(FeropsError, match=r"at least 4 accepted rows of anger"):
        validate(layout, PARAMS)
