"""What `ferops learn` decides from a look at the images."""

from __future__ import annotations

from typing import Any

import pytest

from ferops import config, presets
from ferops.config import LABELS, Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.orchestration.sizing import Facts, plan

STARTER = ("anger", "disgust", "fear", "happy", "sad", "surprised", "neutral")


def facts(**changes: Any) -> Facts:
    known: dict[str, Any] = {
        "source": "photos",
        "classes": dict.fromkeys(STARTER, 24),
        "people_of": {},
        "side_px": 350.0,
        "people": 90,
        "groups": False,
        "starter": STARTER,
    }
    return Facts(**known | changes)


def settled(tmp_path: Any, found: Facts) -> Params:
    layout = Layout(tmp_path)
    presets.apply_preset(layout, "own", overwrite=True)
    presets.change(layout, plan(found).changes)
    return config.load_params(layout.params_file)


def test_the_starter_is_what_a_few_photos_are_compared_with(tmp_path: Any) -> None:
    found = facts()
    params = settled(tmp_path, found)
    assert params.data.sources == ("photos",)
    assert params.data.classes == STARTER
    assert (params.models["baseline"].learns_from, params.models["baseline"].epochs) == ("starter", 0)
    assert params.models["candidate"].pretrained == "starter"
    assert params.registry.gates["baseline"].bounds["at_least"] > 0  # better, not as good
    assert set(params.registry.overrides) == {"worst_slice"}
    assert (params.split.folds, params.split.test_fold, params.train.every_fold) == (5, 0, True)
    for gate in ("baseline", "beats_chance", "enough_samples", "calibration"):
        assert params.registry.gates[gate].metric.startswith("crossvalidation.")
    text = "\n".join(plan(found).reasons)
    assert "anger (24)" in text
    assert "the starter as it is" in text
    assert "90, each in one split only" in text


def test_many_photos_are_tested_on_a_fifth(tmp_path: Any) -> None:
    settled(tmp_path, facts())
    layout = Layout(tmp_path)
    presets.change(layout, plan(facts(classes=dict.fromkeys(STARTER, 200))).changes)
    params = config.load_params(layout.params_file)
    assert (params.split.folds, params.split.test_share, params.train.every_fold) == (0, 0.2, False)
    gates = config.parse(presets.parse(presets.render("own"))).registry.gates
    assert params.registry.gates == gates


def test_a_class_of_ones_own_has_no_comparison_with_the_starter(tmp_path: Any) -> None:
    found = facts(classes={"pain": 40, "happy": 40})
    params = settled(tmp_path, found)
    assert params.data.classes == ("happy", "pain")
    baseline = params.models["baseline"]
    assert (baseline.pretrained, baseline.learns_from) == ("faces", LABELS)
    assert baseline.epochs >= 1
    assert not plan(found).compared
    assert "the starter has no pain, so there is no comparison with it" in "\n".join(plan(found).reasons)
    gate = params.registry.gates["baseline"]
    assert gate.metric == "crossvalidation.candidate_minus_baseline.accuracy.high"  # as good is good enough
    assert gate.bounds == {"at_least": 0.0}
    many = plan(facts(classes={"pain": 600, "happy": 600})).changes["register"]["gates"]["baseline"]
    assert many == {"metric": "accuracy.high", "reference": "baseline", "at_least": 0.0}


def test_a_second_look_undoes_what_the_first_one_decided(tmp_path: Any) -> None:
    settled(tmp_path, facts(classes={"pain": 40, "happy": 40}, side_px=48.0, groups=True))
    layout = Layout(tmp_path)
    presets.change(layout, plan(facts()).changes)
    again = config.load_params(layout.params_file)
    assert again == settled(tmp_path, facts())


@pytest.mark.parametrize("each", [8, 30, 100, 5000])
def test_training_fits_the_number_of_images(tmp_path: Any, each: int) -> None:
    params = settled(tmp_path, facts(classes={"happy": each, "sad": each}))
    train = 2 * each * (1 - params.split.test_share) * (1 - params.split.val_share)
    assert params.train.batch_size <= train  # one step at least
    assert 6 <= params.models["candidate"].epochs <= 30
    assert params.validation.min_rows_per_class <= each


def test_small_crops_are_kept_whole_and_groups_judged(tmp_path: Any) -> None:
    params = settled(tmp_path, facts(side_px=48.0, groups=True, people=0))
    assert params.preprocess.tight_sources == ("photos",)
    assert params.registry.overrides == {}
    assert "not named" in "\n".join(plan(facts(people=0)).reasons)


def test_a_class_with_too_few_images_is_left_out_and_named(tmp_path: Any) -> None:
    found = facts(classes={"happy": 30, "sad": 30, "fear": 7})
    assert settled(tmp_path, found).data.classes == ("happy", "sad")
    assert any("left out: fear, of which there are 7" in line for line in plan(found).reasons)
    with pytest.raises(FeropsError, match=r"two classes with 8 images each, .* found: fear \(7\), happy \(30\)"):
        plan(facts(classes={"happy": 30, "fear": 7}))


def test_a_class_of_too_few_people_is_left_out_and_named(tmp_path: Any) -> None:
    found = facts(classes={"happy": 30, "sad": 30, "fear": 30}, people_of={"happy": 9, "fear": 4})
    assert settled(tmp_path, found).data.classes == ("happy", "sad")
    assert any("left out: fear, shown by 4 of the people; 5 are the least" in line for line in plan(found).reasons)
    with pytest.raises(FeropsError, match=r"found: happy \(30\), sad \(30 of 2 people\)"):
        plan(facts(classes={"happy": 30, "sad": 30}, people_of={"sad": 2}))
