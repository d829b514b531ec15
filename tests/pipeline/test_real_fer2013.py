"""The real FER2013, imported, validated and split once for all that is known of it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from ferops.datasets.importer import import_source
from ferops.layout import Layout
from ferops.records.data import ImportResult
from ferops.records.split import SplitSummary
from ferops.records.validate import ValidateSummary
from ferops.split.stage import split
from ferops.validation.stage import validate
from repositories import make_repository
from sample_images import quick_params

REAL = Path(__file__).parents[3] / "shared" / "data" / "fer2013.zip"
PARAMS = quick_params(
    data={"sources": ("fer2013",)},
    validation={"label_review_folds": 0},  # which labels are doubtful is another question, and a slow one
    split={"official_test": True, "val_share": 0.15},
)
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not REAL.exists(), reason="needs ../shared/data/fer2013.zip, which is not part of the product"),
]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    root = make_repository(tmp_path_factory.mktemp("fer2013"))
    yield Layout(root)
    shutil.rmtree(root)  # some 300 MB


@pytest.fixture(scope="module")
def imported(layout: Layout) -> ImportResult:
    return import_source(layout, "fer2013", REAL, seed=7)


@pytest.fixture(scope="module")
def validated(layout: Layout, imported: ImportResult) -> ValidateSummary:
    assert imported.rows
    return validate(layout, PARAMS)


@pytest.fixture(scope="module")
def drawn(layout: Layout, validated: ValidateSummary) -> SplitSummary:
    assert validated.accepted
    return split(layout, PARAMS)


def test_the_release_comes_in_whole(layout: Layout, imported: ImportResult) -> None:
    assert imported.rows == 28_709 + 3_589
    assert imported.classes["neutral"] == 4_965 + 607
    assert imported.skipped == {}
    usage = pd.read_parquet(layout.source("fer2013"), columns=["usage"])["usage"].value_counts()
    assert usage.to_dict() == {"train": 28_709, "test": 3_589}


def test_the_known_duplicates_are_found(layout: Layout, validated: ValidateSummary) -> None:
    raw = pd.read_parquet(layout.source("fer2013"))
    # This release encodes equal pixels to equal bytes, so the files' own hashes count the copies independently.
    copies = raw["image"].map(lambda image: hashlib.md5(image).hexdigest()).value_counts()
    assert validated.exact_duplicate_groups == int((copies > 1).sum())
    assert validated.exact_duplicate_surplus == int((copies - 1).sum())
    assert validated.exact_duplicate_surplus <= 1853  # of the whole data set, with its PrivateTest part
    assert validated.blank_images == 11
    quarantined = sum(validated.quarantined.values())
    assert validated.accepted + quarantined + sum(validated.excluded.values()) == len(raw)


def test_the_official_test_is_honoured(layout: Layout, drawn: SplitSummary) -> None:
    manifest = pd.read_parquet(layout.manifest)
    joined = manifest.merge(pd.read_parquet(layout.assignment), on="image_id")
    assert len(joined) == len(manifest) - drawn.dropped_crossing
    assert (joined["split"] == "test").sum() == (manifest["usage"] == "test").sum()
    assert ((joined["split"] == "test") == (joined["usage"] == "test")).all()
    assert drawn.shares["val"] == pytest.approx(0.15, abs=0.005)
    assert drawn.leakage == 0
