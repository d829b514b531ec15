from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from ferops import config
from ferops.classes import DEFAULT_CLASSES
from ferops.datasets.manifest import make_row
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.validation.selection import map_labels, takes_part
from ferops.validation.stage import validate
from sample_images import PARAMS_FILE, noise_png, quick_params, write_source

DATA = quick_params().data


def test_mapped_labels_count_as_the_class_that_the_settings_name() -> None:
    settings = DATA.model_copy(update={"map": {"contempt": "disgust"}})
    raw = pa.table({"image_id": list("abcde"), "label": ["contempt", "neutral", "sad", None, "odd"], "width": range(5)})
    found = map_labels(raw, settings)
    assert found.column("label").to_pylist() == ["disgust", "neutral", "sad", None, "odd"]
    assert found.schema == raw.schema
    assert map_labels(raw, DATA).equals(raw)


def test_rows_without_an_official_part_always_take_part() -> None:
    usage = pd.Series(["train", "val", "test", None])
    assert list(takes_part(usage, DATA.model_copy(update={"usage": ("train",)}))) == [True, False, False, True]
    assert takes_part(usage, DATA).all()


@pytest.mark.parametrize("counts_as", ["drop", "sad"])
def test_the_stage_takes_the_settings_and_the_raw_rows_stay(tmp_path: Path, counts_as: str) -> None:
    layout = Layout(tmp_path)
    rows = [
        make_row(noise_png(100 * place + i), source="made", label=label, usage=usage)
        for place, label in enumerate((*DEFAULT_CLASSES, "neutral"))
        for i, usage in enumerate(("train", "train", "test", None))
    ]
    write_source(layout, "made", rows)
    before = layout.source("made").read_bytes()
    params = quick_params(
        data={
            "sources": ("made",),
            "usage": ("train",),
            "map": {} if counts_as == "drop" else {"neutral": counts_as},
        },
        validation={"min_rows_per_class": 3, "label_review_folds": 0},
    )
    summary = validate(layout, params)
    manifest = pd.read_parquet(layout.manifest)
    extra = 3 if counts_as == "sad" else 0
    assert summary.excluded_by_usage == {"test": 7}
    assert summary.excluded == ({} if extra else {"neutral": 3})
    assert summary.class_counts == summary.class_counts_in == dict.fromkeys(DEFAULT_CLASSES, 3) | {"sad": 3 + extra}
    assert set(manifest["label"]) == set(DEFAULT_CLASSES)
    assert set(manifest["usage"].dropna()) == {"train"}
    assert manifest["label"].value_counts()["sad"] == 3 + extra
    assert (summary.suspected_label_errors, summary.label_review) == (None, None)
    assert not (layout.artifacts("validate") / "label_review.parquet").exists()
    page = (layout.reports("validate") / "index.html").read_text(encoding="utf-8")
    assert "official split: test 7" in page
    assert "No review was made" in page
    assert layout.source("made").read_bytes() == before


@pytest.mark.parametrize(
    ("block", "change", "said"),
    [
        ("validate", {"label_review_folds": 1}, r"validate.label_review_folds: one fold leaves nothing to learn from"),
        ("data", {"usage": ["training"]}, r"data.usage.0: Input should be 'train', 'val' or 'test'"),
        ("data", {"map": {"neutral": "calm"}}, r"maps neutral to calm, which is not in data.classes"),
        ("data", {"classes": ["anger", "Angry"]}, r"lists anger more than once"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(block: str, change: dict[str, object], said: str) -> None:
    tree = config.read_yaml(PARAMS_FILE)
    tree[block] |= change
    with pytest.raises(FeropsError, match=said):
        config.parse(tree)
