"""params.yaml: parsed once, and a mistake in it is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ferops import config
from ferops.errors import FeropsError
from sample_images import quick_tree


@pytest.fixture
def tree() -> dict[str, Any]:
    return quick_tree()


@pytest.mark.parametrize(
    ("block", "key", "near"),
    [
        ("train", "mixup_alfa", "mixup_alpha"),
        ("export", "servee", "serve"),
        ("validate", "blank_sd", "blank_std"),
    ],
)
def test_an_unknown_key_names_the_nearest(tree: dict[str, Any], block: str, key: str, near: str) -> None:
    tree[block][key] = 1
    with pytest.raises(FeropsError, match=rf"{block}\.{key}: unknown key, did you mean {near}\?"):
        config.parse(tree)


def test_an_unknown_block_and_an_unknown_model_key_name_the_nearest(tree: dict[str, Any]) -> None:
    tree["trian"] = {}
    tree["models"]["candidate"]["epoch"] = 3
    with pytest.raises(FeropsError) as caught:
        config.parse(tree)
    assert "trian: unknown key, did you mean train?" in str(caught.value)
    assert "models.candidate.epoch: unknown key, did you mean epochs?" in str(caught.value)


def test_a_setting_of_an_earlier_version_names_what_replaced_it(tree: dict[str, Any]) -> None:
    tree["data"]["other_labels"] = {"contempt": "disgust"}
    with pytest.raises(FeropsError, match=r"data\.other_labels: no longer exists; list the classes in data\.classes"):
        config.parse(tree)


def test_a_missing_key_and_a_value_out_of_range_are_both_named(tree: dict[str, Any]) -> None:
    del tree["split"]["val_share"]
    tree["split"]["test_share"] = 1.5
    with pytest.raises(FeropsError) as caught:
        config.parse(tree)
    assert "split.val_share: missing" in str(caught.value)
    assert "split.test_share" in str(caught.value)
    assert "1.5" in str(caught.value)


def test_the_candidate_is_not_optional(tree: dict[str, Any]) -> None:
    del tree["models"]["candidate"]
    with pytest.raises(FeropsError, match="candidate"):
        config.parse(tree)


def test_settings_are_frozen(tree: dict[str, Any]) -> None:
    params = config.parse(tree)
    with pytest.raises(ValueError, match="frozen"):
        params.train.batch_size = 1  # type: ignore[misc]


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "seed: [1\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(FeropsError, match=r"params\.yaml"):
        config.load_params(path)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match="ferops preset quick"):
        config.load_params(tmp_path / "params.yaml")


def pretrained(tree: dict[str, Any], **train: Any) -> dict[str, Any]:
    tree["models"]["candidate"] |= {"architecture": "efficientnet_lite0", "pretrained": "imagenet", "epochs": 4}
    tree["train"] |= train
    return tree


def test_freezing_pretrained_weights_is_fine(tree: dict[str, Any]) -> None:
    assert config.parse(pretrained(tree, freeze_epochs=3, early_stopping=3)).train.freeze_epochs == 3


def test_freezing_without_pretrained_weights(tree: dict[str, Any]) -> None:
    tree["train"]["freeze_epochs"] = 1
    tree["models"]["candidate"]["pretrained"] = None
    with pytest.raises(FeropsError, match=r"freeze_epochs 1 would freeze random features: no model has pretrained"):
        config.parse(tree)


def test_freezing_layers_without_pretrained_weights(tree: dict[str, Any]) -> None:
    tree["train"]["freeze_layers"] = 4
    tree["models"]["candidate"]["pretrained"] = None
    with pytest.raises(FeropsError, match=r"train\.freeze_layers 4 would freeze random features: no model"):
        config.parse(tree)


def test_small_faces_are_smaller_than_the_others(tree: dict[str, Any]) -> None:
    tree["preprocess"]["size_px"] = tree["train"]["small_px"] = 64
    with pytest.raises(FeropsError, match=r"train\.small_px 64 is no smaller than preprocess\.size_px 64"):
        config.parse(tree)


def test_freezing_to_the_end(tree: dict[str, Any]) -> None:
    """The baseline, which is not pretrained, may be shorter."""
    tree["models"]["baseline"]["epochs"] = 1
    with pytest.raises(FeropsError, match=r"freeze_epochs 4 leaves no epoch .*: models\.candidate\.epochs 4$"):
        config.parse(pretrained(tree, freeze_epochs=4))


def test_stopping_before_the_whole_network_learns(tree: dict[str, Any]) -> None:
    with pytest.raises(FeropsError, match=r"train: early_stopping 2 could end a run within its freeze_epochs \(3\)"):
        config.parse(pretrained(tree, freeze_epochs=3, early_stopping=2))


def test_the_baseline_is_not_compared_with_itself(tree: dict[str, Any]) -> None:
    tree["export"]["model"] = "baseline"
    with pytest.raises(FeropsError, match=r"export\.model is baseline, which the exported model is compared with"):
        config.parse(tree)


def test_words_for_a_class_are_written_one_way(tree: dict[str, Any]) -> None:
    tree["data"] |= {"classes": ["Angry", "happiness", "surprise"], "map": {"disgusted": "Anger"}}
    data = config.parse(tree).data
    assert data.classes == ("anger", "happy", "surprised")
    assert data.map == {"disgust": "anger"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["anger", "angry", "happy"]}, "lists anger more than once"),
        ({"map": {"contempt": "bored"}}, "maps contempt to bored, which is not in data.classes: anger"),
        ({"map": {"surprise": "happy"}}, "maps surprised to happy, but surprised is one of data.classes itself"),
        ({"classes": ["happy"]}, "data.classes"),
        ({"classes": ["happy", "two words"]}, "data.classes"),
    ],
)
def test_classes_that_contradict_each_other(tree: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    tree["data"] |= changes
    with pytest.raises(FeropsError, match=message):
        config.parse(tree)


def test_a_sampling_is_whole_and_bounded(tree: dict[str, Any]) -> None:
    tree["train"]["sampling"] = {"wild": {"weight": 1.5, "balance": 0.5}}
    assert config.parse(tree).train.sampling["wild"].weight == 1.5
    tree["train"]["sampling"] = {"wild": {"weight": 0.0, "balance": 2.0, "odd": 1}}
    with pytest.raises(FeropsError) as caught:
        config.parse(tree)
    for key in ("weight", "balance", "odd"):
        assert f"train.sampling.wild.{key}: " in str(caught.value)


def test_soft_labels_have_another_name(tree: dict[str, Any]) -> None:
    tree["train"]["soft_labels"] = True
    with pytest.raises(FeropsError, match=r"train\.soft_labels: no longer exists; set train\.votes: 1\.0 for true"):
        config.parse(tree)


def test_no_epochs_take_a_model_that_exists(tree: dict[str, Any]) -> None:
    starter = tree["models"]["baseline"] | {"epochs": 0, "learns_from": "starter"}
    tree["models"]["baseline"] = starter
    assert config.parse(tree).models["baseline"].teacher == "starter"
    for wrong in ({"learns_from": config.LABELS}, {"pretrained": "faces"}):
        tree["models"]["baseline"] = starter | wrong
        with pytest.raises(FeropsError, match=r"models\.baseline: epochs 0 takes a model as it is: name its folder"):
            config.parse(tree)
    tree["models"] |= {"baseline": starter | {"epochs": 1}, "candidate": starter}
    with pytest.raises(FeropsError, match=r"export\.model is candidate, which has 0 epochs"):
        config.parse(tree)
