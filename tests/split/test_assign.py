"""No image and no person crosses, in every mode, however they are tied, and the shares are met."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, event, example, given, reject, settings
from hypothesis import strategies as st
from split_manifest import make_manifest, reached, split_settings, tied_manifests, torn

from ferops.classes import DEFAULT_CLASSES
from ferops.errors import FeropsError
from ferops.split.assign import assign
from ferops.split.leakage import leakage
from ferops.validation.connected import connected_groups

seeds = st.integers(0, 2**32 - 1)


def _assigned(manifest: pd.DataFrame, seed: int, **changes: Any) -> pd.DataFrame:
    """The manifest joined with its assignment; the example is given up where the groups are too few to split at all."""
    try:
        assignment = assign(manifest, split_settings(**changes), seed=seed)
    except FeropsError as error:
        if "leaves a split empty" not in str(error) and "that remain beside the test split" not in str(error):
            raise
        event("too few groups")
        reject()
    joined = manifest.merge(assignment, on="image_id", validate="one_to_one")
    assert len(joined) == len(assignment)
    return joined


@settings(max_examples=15, deadline=None)
@given(manifest=tied_manifests(), seed=seeds, test=st.sampled_from([0.1, 0.2, 0.33, 0.5]))
def test_drawn_nothing_crosses_and_nothing_is_lost(manifest: pd.DataFrame, seed: int, test: float) -> None:
    joined = _assigned(manifest, seed, test_share=test)
    assert len(joined) == len(manifest)
    assert torn(joined, "split") == []
    assert set(joined["split"]) == {"train", "val", "test"}


@settings(max_examples=15, deadline=None)
@given(manifest=tied_manifests(usages=("train", "train", "train", "val", "test", None)), seed=seeds)
def test_official_nothing_crosses_and_only_ties_to_the_test_are_left_out(manifest: pd.DataFrame, seed: int) -> None:
    has_test = set(manifest.loc[manifest["usage"] == "test", "source"])
    official = (manifest["usage"] == "test") | ((manifest["usage"] == "val") & ~manifest["source"].isin(has_test))
    assume(official.any())
    joined = _assigned(manifest, seed, official_test=True)
    assert torn(joined, "split") == []
    assert set(joined.loc[joined["split"] == "test", "image_id"]) == set(manifest.loc[official, "image_id"])
    tied = reached(manifest, set(np.flatnonzero(official))) - set(np.flatnonzero(official))
    assert set(manifest["image_id"]) - set(joined["image_id"]) == set(manifest["image_id"].iloc[sorted(tied)])


@settings(max_examples=15, deadline=None)
@given(manifest=tied_manifests(), seed=seeds, folds=st.integers(2, 5), data=st.data())
def test_folds_nothing_crosses_and_every_row_is_tested_once(
    manifest: pd.DataFrame, seed: int, folds: int, data: st.DataObject
) -> None:
    test_fold = data.draw(st.integers(0, folds - 1))
    joined = _assigned(manifest, seed, folds=folds, test_fold=test_fold)
    assert len(joined) == len(manifest)
    assert torn(joined, "fold") == []
    assert torn(joined, "split") == []
    assert set(joined["fold"]) == set(range(folds))
    assert ((joined["split"] == "test") == (joined["fold"] == test_fold)).all()
    other = _assigned(manifest, seed, folds=folds, test_fold=(test_fold + 1) % folds)
    assert (joined.set_index("image_id")["fold"] == other.set_index("image_id")["fold"]).all()


@settings(max_examples=15, deadline=None)
@given(
    manifest=tied_manifests(usages=("train", "train", "train", "test")),
    seed=seeds,
    shuffle=st.integers(0, 1000),
    mode=st.sampled_from([{}, {"official_test": True}, {"folds": 3, "test_fold": 1}]),
)
def test_neither_the_order_nor_the_names_of_clusters_and_people_matter(
    manifest: pd.DataFrame, seed: int, shuffle: int, mode: dict[str, Any]
) -> None:
    assume("official_test" not in mode or (manifest["usage"] == "test").any())
    first = _assigned(manifest, seed, **mode)
    renamed = manifest.assign(
        cluster=manifest["cluster"].map(lambda name: f"x{name[::-1]}"),
        subject=manifest["subject"].map(lambda name: f"y{name[::-1]}", na_action="ignore"),
    )
    again = _assigned(renamed.sample(frac=1, random_state=shuffle), seed, **mode)
    columns = ["split", "group", *(["fold"] if "folds" in mode else [])]
    pd.testing.assert_frame_equal(
        first.set_index("image_id")[columns].sort_index(), again.set_index("image_id")[columns].sort_index()
    )


manifests = st.builds(
    make_manifest,
    st.integers(60, 150),
    people=st.one_of(st.none(), st.integers(30, 100)),
    clusters=st.one_of(st.none(), st.integers(100, 300)),
    seed=st.integers(0, 10_000),
)


@settings(max_examples=15, deadline=None)
@given(manifest=manifests, seed=seeds, test=st.sampled_from([0.1, 0.2, 0.33]))
@example(manifest=make_manifest(131, people=61, clusters=215, seed=61), seed=0, test=0.2)
def test_the_shares_are_met_as_far_as_the_groups_allow(manifest: pd.DataFrame, seed: int, test: float) -> None:
    joined = _assigned(manifest, seed, test_share=test)
    largest = joined["group"].value_counts().iloc[0] / len(joined)
    assume(largest <= 0.2)
    shares = joined["split"].value_counts(normalize=True)
    # No drawing by whole groups can be nearer than a group, which may land on either side of a share.
    assert shares["test"] == pytest.approx(test, abs=0.02 + largest)
    assert shares["val"] == pytest.approx(0.15, abs=0.02 + largest)


def test_another_seed_draws_another_split() -> None:
    manifest = make_manifest(300)
    splits = [assign(manifest, split_settings(), seed=seed)["split"] for seed in (1, 2)]
    assert not splits[0].equals(splits[1])


def test_classes_and_sources_keep_their_shares() -> None:
    manifest = pd.concat([make_manifest(1200, people=400), make_manifest(600, source="there")], ignore_index=True)
    joined = manifest.merge(assign(manifest, split_settings(), seed=7), on="image_id")
    for _, rows in joined.groupby(["source", "label"]):
        shares = rows["split"].value_counts(normalize=True)
        assert shares["test"] == pytest.approx(0.20, abs=0.02)
        assert shares["val"] == pytest.approx(0.15, abs=0.02)


def test_people_with_many_images_of_few_classes_are_dealt_evenly() -> None:
    """118 people with 5 to 60 images, classes rare and common: no class of a split is off by more than 2 points."""
    rng = np.random.default_rng(2)
    sizes = rng.integers(5, 60, 118)
    manifest = make_manifest(int(sizes.sum())).assign(
        subject=np.repeat([f"p{i}" for i in range(118)], sizes),
        label=rng.choice(DEFAULT_CLASSES, int(sizes.sum()), p=[0.3, 0.05, 0.15, 0.2, 0.1, 0.2]),
    )
    joined = manifest.merge(assign(manifest, split_settings(), seed=7), on="image_id")
    assert joined.groupby("subject")["split"].nunique().max() == 1
    for _, rows in joined.groupby("label"):
        shares = rows["split"].value_counts(normalize=True)
        assert (shares["test"], shares["val"]) == (pytest.approx(0.20, abs=0.02), pytest.approx(0.15, abs=0.02))


def test_folds_are_equal_in_size_and_in_classes() -> None:
    manifest = pd.concat([make_manifest(1200, people=400), make_manifest(600, source="there")], ignore_index=True)
    joined = manifest.merge(assign(manifest, split_settings(folds=5), seed=7), on="image_id")
    counts = pd.crosstab(joined["fold"], [joined["source"], joined["label"]])
    assert (counts["here"] - 200 / 5).abs().to_numpy().max() <= 3
    assert (counts["there"] - 100 / 5).abs().to_numpy().max() == 0
    rest = joined[joined["split"] != "test"]
    assert (rest["split"] == "val").sum() == pytest.approx(0.15 * len(joined), abs=5)


@pytest.mark.parametrize("mode", [{}, {"folds": 4, "test_fold": 2}])
def test_another_source_leaves_the_split_of_the_first_as_it_was(mode: dict[str, int]) -> None:
    first = make_manifest(400, people=150)
    both = pd.concat([first, make_manifest(301, people=80, source="there")], ignore_index=True)
    alone = assign(first, split_settings(**mode), seed=7)
    beside = assign(both, split_settings(**mode), seed=7)
    beside = beside[beside["image_id"].isin(first["image_id"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, beside)


def test_a_few_more_images_move_few_of_the_others() -> None:
    before = make_manifest(2000)
    after = pd.concat([before, make_manifest(40, seed=1)], ignore_index=True)
    old = assign(before, split_settings(), seed=7)
    new = assign(after, split_settings(), seed=7)
    moved = old.merge(new, on="image_id").eval("split_x != split_y").mean()
    assert moved < 0.02  # a draw from scratch moves about half


def test_the_test_split_does_not_depend_on_the_validation_share() -> None:
    manifest = make_manifest(300, people=90)
    one = assign(manifest, split_settings(val_share=0.1), seed=7)
    other = assign(manifest, split_settings(val_share=0.3), seed=7)
    assert ((one["split"] == "test") == (other["split"] == "test")).all()


@pytest.mark.parametrize("seed", range(3))
def test_components_are_those_found_by_walking(seed: int) -> None:
    one = make_manifest(60, people=25, clusters=60, seed=seed)
    two = make_manifest(30, people=10, clusters=60, source="there", seed=seed + 100)
    manifest = pd.concat([one, two, make_manifest(10, clusters=60, source="alone", seed=seed + 200)], ignore_index=True)
    names = connected_groups(manifest)
    for i in range(0, len(manifest), 7):
        assert set(np.flatnonzero(names == names[i])) == reached(manifest, {i})
        assert names[i] == manifest.loc[names == names[i], "image_id"].min()[:16]


def test_the_same_name_in_two_sources_is_two_people() -> None:
    manifest = pd.concat([make_manifest(1, people=1), make_manifest(1, people=1, source="there")], ignore_index=True)
    assert len(set(connected_groups(manifest))) == 2


def test_a_long_chain_of_copies_and_people_is_one_group() -> None:
    manifest = make_manifest(3000).assign(
        cluster=[f"c{i // 2}" for i in range(3000)], subject=[f"p{(i + 1) // 2}" for i in range(3000)]
    )
    assert len(set(connected_groups(manifest))) == 1
    with pytest.raises(FeropsError, match=r"of 3000 rows in 1 groups .* leaves a split empty"):
        assign(manifest, split_settings(), seed=7)


@pytest.mark.parametrize("mode", [{}, {"folds": 4}])
def test_what_the_validation_saw_connected_stays_together(mode: dict[str, int]) -> None:
    manifest = make_manifest(120).assign(connected=[f"k{i % 40}" for i in range(120)])
    joined = manifest.merge(assign(manifest, split_settings(**mode), seed=7), on="image_id")
    assert joined.groupby("connected")["split"].nunique().max() == 1
    assert joined["group"].nunique() == 40


def test_a_giant_group_trains_and_the_rest_is_shared() -> None:
    manifest = pd.concat(
        [make_manifest(600, people=1), make_manifest(600, source="there", seed=1)], ignore_index=True
    ).assign(source="here")
    joined = manifest.merge(assign(manifest, split_settings(), seed=7), on="image_id")
    assert set(joined.loc[joined["subject"].notna(), "split"]) == {"train"}
    for _, rows in joined.groupby("label"):
        shares = rows["split"].value_counts(normalize=True)
        assert (shares["test"], shares["val"]) == (pytest.approx(0.20, abs=0.01), pytest.approx(0.15, abs=0.01))


def test_a_class_of_few_people_reaches_every_fold() -> None:
    """Two hundred people without fear, and ten with it: each of five folds gets two of the ten."""
    many = make_manifest(1000, people=200).query("label != 'fear'")
    few = make_manifest(60, people=10, seed=1).assign(label="fear", cluster=[f"f{i}" for i in range(60)])
    few["subject"] = [f"few{i % 10}" for i in range(60)]
    manifest = pd.concat([many, few], ignore_index=True)
    joined = manifest.merge(assign(manifest, split_settings(folds=5), seed=7), on="image_id")
    assert joined[joined["label"] == "fear"].groupby("fold")["subject"].nunique().to_list() == [2] * 5


def test_validation_is_the_official_test_where_there_is_no_other() -> None:
    both = [make_manifest(120, usage="train"), make_manifest(60, usage="val", seed=1)]
    manifest = pd.concat(both, ignore_index=True)
    chosen = manifest.merge(assign(manifest, split_settings(official_test=True), seed=7), on="image_id")
    assert set(chosen.loc[chosen["split"] == "test", "usage"]) == {"val"}
    manifest = pd.concat([*both, make_manifest(60, usage="test", seed=2)], ignore_index=True)
    chosen = manifest.merge(assign(manifest, split_settings(official_test=True), seed=7), on="image_id")
    assert set(chosen.loc[chosen["split"] == "test", "usage"]) == {"test"}
    assert (chosen["split"] == "test").sum() == 60
    assert (chosen["split"] == "val").sum() == pytest.approx(0.15 * 240, abs=3)


def test_the_leakage_check_finds_planted_leaks() -> None:
    manifest = make_manifest(6, people=2).assign(subject=["p0", "p0", "p1", "p1", None, None])
    manifest.loc[5, "cluster"] = manifest.loc[4, "cluster"]
    joined = manifest.assign(split=["train", "test", "val", "val", "train", "val"], fold=[0, 0, 1, 2, 1, 1])
    assert leakage(joined) == ["cluster chere 0 4", "subject p0 of here"]
    assert leakage(joined, column="fold") == ["subject p1 of here"]


@pytest.mark.parametrize(
    ("manifest", "changes", "said"),
    [
        (make_manifest(60), {"test_share": 0.6, "val_share": 0.4}, "leave nothing to train on"),
        (make_manifest(60), {"folds": 2, "val_share": 0.5}, "split.folds 2 and split.val_share 0.5 leave nothing"),
        (make_manifest(60), {"test_share": 0.0}, r"split.test_share 0 .*a split empty"),
        (make_manifest(60), {"val_share": 0.0}, r"split.val_share 0 .*a split empty"),
        (make_manifest(60, people=1), {}, "of 60 rows in 1 groups .*a split empty"),
        (make_manifest(60, people=3), {"folds": 5}, "split.folds 5 of 60 rows in 3 groups .*a split empty"),
        (make_manifest(60), {"official_test": True}, r"no source of \['here'\] has rows of usage test or val"),
        (make_manifest(60, usage="test"), {"official_test": True}, "is more than the 0 rows that remain"),
    ],
)
def test_what_cannot_be_split_is_explained(manifest: pd.DataFrame, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(FeropsError, match=said):
        assign(manifest, split_settings(**changes), seed=7)


def test_labels_are_those_of_the_manifest() -> None:
    """The strategies above draw from these: a seventh class would go untested."""
    assert set(make_manifest(60)["label"]) == set(DEFAULT_CLASSES)
