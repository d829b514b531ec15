"""Groups beside each other: the figures of fairlearn, and a biased model that is found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, equalized_odds_difference
from sklearn.metrics import accuracy_score

from ferops.evaluation.bootstrap import Resampler
from ferops.fairness.groups import Answered, compare, is_behind

CLASSES = ("anger", "happy")


def answered(
    n: int = 600, *, flipped: str | None = None, unfound: str | None = None, wrong: float = 0.1, people: int = 300
) -> Answered:
    """Answers of which a tenth is wrong, and in the group `flipped` four tenths more; no faces in half of `unfound`."""
    rng = np.random.default_rng(4)
    age, tone = rng.choice(["young", "older"], n), rng.choice(["light", "dark", "middle"], n)
    labels = rng.integers(0, 2, n)
    error = np.where((age == flipped) | (tone == flipped), wrong + 0.4, wrong)
    answers = np.where(rng.random(n) < error, 1 - labels, labels)
    found = ~((tone == unfound) & (rng.random(n) < 0.5))
    images = pd.DataFrame(
        {"source": "own", "group_age": age, "group_tone": tone, "group_same": "yes", "group_rare": None}
    )
    images.loc[:4, "group_rare"] = ["a", "a", "b", "b", "b"]
    return Answered(
        classes=CLASSES,
        images=images,
        labels=labels,
        answers=np.where(found, answers, -1),
        found=found,
        resampler=Resampler(rng.integers(0, people, n).tolist(), samples=400, seed=1, level=0.95),
    )


def test_the_figures_are_those_of_fairlearn() -> None:
    case = answered(flipped="dark")
    found = compare(case, min_images=20)
    for name in ("age", "tone"):
        features = case.images[f"group_{name}"]
        frame = MetricFrame(
            metrics=accuracy_score, y_true=case.labels, y_pred=case.answers, sensitive_features=features
        )
        groups = {group.values[0]: group for group in found.groups if group.attributes == (name,)}
        assert {value: group.accuracy.value for value, group in groups.items()} == pytest.approx(
            frame.by_group.to_dict()
        )
        gaps = next(each for each in found.attributes if each.attribute == name)
        assert gaps.accuracy_gap.value == pytest.approx(frame.difference())
        odds = equalized_odds_difference(case.labels, case.answers, sensitive_features=features)
        assert gaps.equalised_odds.value == pytest.approx(odds)
        assert gaps.found_gap.value == 0.0


def test_a_biased_model_is_found_and_a_fair_one_is_not() -> None:
    fair = compare(answered(), min_images=20)
    assert not any(is_behind(group) for group in (*fair.groups, *fair.crossings))
    biased = compare(answered(flipped="dark"), min_images=20)
    assert [group.values for group in biased.groups if is_behind(group)] == [("dark",)]
    crossed = {group.values for group in biased.crossings if is_behind(group)}
    assert crossed == {("young", "dark"), ("older", "dark")}


def test_faces_that_are_not_found_count_as_wrong() -> None:
    found = compare(answered(unfound="light"), min_images=20)
    light = next(group for group in found.groups if group.values == ("light",))
    assert light.found.value == pytest.approx(0.5, abs=0.1)
    assert light.accuracy.value is not None
    assert light.accuracy.value < 0.6
    assert light.found_p < 0.001
    assert [group.values for group in found.groups if is_behind(group)] == [("light",)]


def test_groups_of_few_images_are_named_and_not_compared() -> None:
    found = compare(answered(), min_images=20)
    rare = next(each for each in found.attributes if each.attribute == "rare")
    assert (rare.groups, rare.small, rare.unknown) == (0, ("a", "b"), 595)
    assert rare.accuracy_gap.value is None
    assert not any("rare" in group.attributes for group in (*found.groups, *found.crossings))
    assert found.small_crossings > 0
    assert [each.attribute for each in found.attributes] == ["age", "rare", "tone"]  # one value is no attribute


def test_the_correction_counts_all_comparisons() -> None:
    """With so many comparisons, a group that is alone beyond chance one time in twenty is not."""
    rng = np.random.default_rng(3)
    base = answered(n=1200, people=1200)
    images = base.images[["source"]].assign(**{f"group_{i}": rng.choice(["a", "b"], 1200) for i in range(8)})
    found = compare(Answered(CLASSES, images, base.labels, base.answers, base.found, base.resampler), min_images=20)
    intervals = [group.accuracy_minus_rest for group in (*found.groups, *found.crossings)]
    assert sum(each.high is not None and each.high < 0 for each in intervals) > 0  # uncorrected, some are behind
    assert not any(is_behind(group) for group in (*found.groups, *found.crossings))


def test_sources_without_annotations_are_named() -> None:
    case = answered()
    images = case.images.copy()
    images.loc[images.index[300:], ["group_age", "group_tone", "group_same"]] = None
    images.loc[images.index[300:], "source"] = "fer2013"
    other = Answered(CLASSES, images, case.labels, case.answers, case.found, case.resampler)
    assert other.without_annotations == ("fer2013",)
    bare = Answered(CLASSES, images[["source"]], case.labels, case.answers, case.found, case.resampler)
    assert bare.without_annotations == ("fer2013", "own")
    assert compare(bare, min_images=20).groups == ()
