"""The data set in the repository: every class is there, and its planted copies are all that the finder finds."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from ferops.classes import KNOWN_LABELS
from ferops.datasets.synthetic.flaws import ALTERED
from ferops.layout import Layout
from ferops.validation.duplicates import SAME_PERSON_SIMILARITY, cluster_names, find_near_duplicates
from ferops.validation.measure import measure_sources
from sample_images import quick_params

ROOT = Path(__file__).parents[2]
REMOTE = ROOT / ".dvc" / "embedded" / "files" / "md5"
SETTINGS = quick_params(validation={"label_review_folds": 0}).validation


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A project whose data/ is what data.dvc names in the embedded remote."""
    out = YAML(typ="safe").load((ROOT / "data.dvc").read_text(encoding="utf-8"))["outs"][0]
    if out.get("remote") != "embedded":
        pytest.skip("data.dvc names other data than the embedded ones")
    (entry,) = json.loads((REMOTE / out["md5"][:2] / out["md5"][2:]).read_text(encoding="utf-8"))
    layout = Layout(tmp_path_factory.mktemp("embedded"))
    layout.data.mkdir()
    (layout.data / entry["relpath"]).symlink_to(REMOTE / entry["md5"][:2] / entry["md5"][2:])
    return layout


@pytest.fixture(scope="module")
def facts_and_pairs(project: Layout) -> tuple[pd.DataFrame, pd.DataFrame]:
    measured = measure_sources(project, ("synthetic",), SETTINGS)
    facts = measured.raw.to_pandas().join(measured.facts)
    return facts, find_near_duplicates(facts, measured.thumbnails, SETTINGS)


def test_every_person_shows_every_known_label(project: Layout) -> None:
    facts = pd.read_parquet(project.source("synthetic"), columns=["subject", "label", "truth_light"])
    rendered = facts[facts["truth_light"].notna()]
    counts = pd.crosstab(rendered["subject"], rendered["label"])
    assert set(counts.columns) == set(KNOWN_LABELS)
    assert (counts == 5).all(axis=None)
    assert len(counts) == 50


@pytest.mark.slow  # its images are measured
def test_the_planted_copies_are_all_that_is_found(facts_and_pairs: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    facts, pairs = facts_and_pairs
    planted = range(len(facts) - len(ALTERED), len(facts))  # the last rows (`synthetic.generate.rows`)
    assert sorted(pairs["b"]) == list(planted)
    assert pairs["a"].is_unique
    assert not set(pairs["a"]) & set(planted)
    both = [facts.loc[pairs[end]].reset_index(drop=True) for end in ("a", "b")]
    assert (both[0]["subject"] == both[1]["subject"]).all()
    differ = both[0]["label"] != both[1]["label"]
    assert list(pairs["b"][differ.to_numpy()]) == [planted[-1]]
    assert list(pairs["mirrored"][pairs["b"] == planted[list(ALTERED).index("mirrored")]]) == [True]
    # Far from both sides of what tells copies of a person from two images of one
    assert pairs["similarity"].min() > SAME_PERSON_SIMILARITY + 0.005
    clusters = cluster_names(facts["pixel_hash"], pairs)
    several = facts.groupby(clusters)["pixel_hash"].nunique()
    assert (several > 1).sum() == len(ALTERED)
