from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferops.classes import DEFAULT_CLASSES
from ferops.datasets.manifest import make_row
from ferops.layout import Layout
from ferops.validation.label_review import Review, out_of_sample, rate_labels, review_labels
from ferops.validation.measure import measure_sources
from ferops.validation.stage import validate
from sample_images import encoded, quick_params, write_source

SETTINGS = quick_params(validation={"label_review_folds": 3}).validation
PER_CLASS = 40


def _band(index: int, seed: int) -> bytes:
    """An image of noise with a band of upright stripes, whose height tells the class; mirroring leaves it there."""
    random = np.random.default_rng((index, seed))
    pixels = 128 + random.normal(0, 12, (48, 48))
    pixels[8 * index : 8 * index + 8] += 50 * np.sin(np.arange(48) / 1.5 + random.uniform(0, 6))
    return encoded(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, pd.DataFrame, set[str]]:
    """A project, its rows as `review_labels` takes them, and the image_ids with a wrong label: one in twelve."""
    layout = Layout(tmp_path_factory.mktemp("labels"))
    raw, wrong = [], set()
    for number in range(PER_CLASS):
        for index, name in enumerate(DEFAULT_CLASSES):
            lie = (number + 3 * index) % 12 == 0
            label = DEFAULT_CLASSES[(index + 2) % len(DEFAULT_CLASSES)] if lie else name
            raw.append(make_row(_band(index, number), source="made", label=label, subject=f"p{number}"))
            wrong |= {raw[-1]["image_id"]} if lie else set()
    write_source(layout, "made", raw)
    rows = pd.DataFrame([{k: v for k, v in row.items() if k != "image"} for row in raw])
    return layout, rows.assign(row=range(len(rows)), cluster=rows["image_id"].str[:16]), wrong


def _review(layout: Layout, rows: pd.DataFrame) -> Review | None:
    """Review `rows` of the project, whatever their index."""
    views = measure_sources(layout, ("made",), SETTINGS).views
    placed = rows.set_index(rows["row"].to_numpy())
    return review_labels(placed, views, SETTINGS, DEFAULT_CLASSES, seed=7)


def test_planted_errors_are_suspected_and_the_right_label_suggested(
    project: tuple[Layout, pd.DataFrame, set[str]],
) -> None:
    layout, rows, wrong = project
    found = _review(layout, rows)
    assert found is not None
    table = found.table
    assert list(table.columns) == [
        *("image_id", "source", "row", "label", "suggested", "label_quality", "suspected"),
        *(f"p_{name}" for name in DEFAULT_CLASSES),
    ]
    suspected = set(table.loc[table["suspected"], "image_id"])
    assert len(suspected & wrong) >= 0.75 * len(wrong)
    assert len(suspected & wrong) >= 0.9 * len(suspected)
    caught = table[table["image_id"].isin(suspected & wrong)]
    right = [DEFAULT_CLASSES[(DEFAULT_CLASSES.index(label) - 2) % len(DEFAULT_CLASSES)] for label in caught["label"]]
    assert list(caught["suggested"]) == right
    assert table["label_quality"].is_monotonic_increasing
    own = [row[f"p_{row['label']}"] for row in table.to_dict("records")]
    np.testing.assert_allclose(table["label_quality"], own, atol=1e-6)
    np.testing.assert_allclose(table.filter(like="p_").sum(axis=1), 1, atol=1e-6)
    assert found.record.accuracy == pytest.approx((table["label"] == table["suggested"]).mean(), abs=1e-4)
    assert found.record.accuracy == pytest.approx(1 - len(wrong) / len(rows), abs=0.02)
    assert found.record.chance == pytest.approx(rows["label"].value_counts().max() / len(rows), abs=1e-4)


@pytest.mark.slow
def test_the_order_of_the_rows_plays_no_part(project: tuple[Layout, pd.DataFrame, set[str]]) -> None:
    """Nor that there are fewer of them than a batch takes."""
    layout, rows, _ = project
    part = rows.iloc[:60]
    results = [_review(layout, frame) for frame in (part, part[::-1].reset_index(drop=True))]
    assert results[0] is not None
    assert results[1] is not None
    pd.testing.assert_frame_equal(results[0].table, results[1].table)
    assert results[0].table["image_id"].nunique() == 60


def test_too_little_to_learn_from_gives_no_review(project: tuple[Layout, pd.DataFrame, set[str]]) -> None:
    layout, rows, _ = project
    assert _review(layout, rows[rows["label"] == "sad"]) is None
    assert _review(layout, rows.assign(subject="one")) is None
    assert _review(layout, rows.iloc[:0]) is None


def test_no_image_is_rated_by_a_model_that_saw_its_group() -> None:
    """Labels are drawn per group and told by the group's own features only: unlearnable unless a group leaks."""
    random = np.random.default_rng(0)
    group = np.repeat(np.arange(60), 8)
    label = random.integers(0, 3, 60)[group]
    features = (random.normal(size=(60, 1, 20))[group] + random.normal(0, 0.05, (480, 1, 20))).astype(np.float16)
    features = np.repeat(features, 2, axis=1)

    def accuracy(groups: np.ndarray) -> float:
        return float(
            (out_of_sample(features, label, groups, classes=6, folds=4, seed=1).argmax(axis=1) == label).mean()
        )

    assert accuracy(np.arange(480)) > 0.9
    assert accuracy(group) < 0.6


def test_a_class_without_rows_is_left_out_of_the_rating() -> None:
    random = np.random.default_rng(2)
    label = np.repeat([0, 4], 50)
    p = np.full((100, 6), 0.01)
    p[np.arange(100), label] = 0.94 + random.uniform(0, 0.02, 100)
    p /= p.sum(axis=1, keepdims=True)
    label[7], p[7] = 4, (0.96, *[0.008] * 5)
    quality, suspected = rate_labels(label, p)
    assert np.flatnonzero(suspected).tolist() == [7]
    assert quality[7] == pytest.approx(p[7, 4] / (p[7, 0] + p[7, 4]))


@pytest.mark.slow
def test_the_stage_lists_suspects_and_drops_none(project: tuple[Layout, pd.DataFrame, set[str]]) -> None:
    layout, rows, wrong = project
    params = quick_params(
        data={"sources": ("made",)},
        validation={"label_review_folds": 3, "min_rows_per_class": 10, "near_duplicates": "ignore"},
    )
    summary = validate(layout, params)
    table = pd.read_parquet(layout.artifacts("validate") / "label_review.parquet")
    assert summary.accepted == len(rows) == len(pd.read_parquet(layout.manifest)) == len(table)
    assert summary.suspected_label_errors == table["suspected"].sum() > 0
    assert summary.label_review is not None
    assert summary.label_review.folds == 3
    assert summary.label_review.rows == len(rows)
    assert summary.label_review.accuracy == pytest.approx((table["label"] == table["suggested"]).mean(), abs=1e-4)
    page = (layout.reports("validate") / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == table["suspected"].sum()
    first = table.iloc[0]
    assert first["image_id"] in wrong
    assert f"<b>{first['label']}</b>?<br>{first['suggested']}" in page
    assert f"made row {first['row']}: the model gives" in page
