"""Presets: one documented step that leaves params.yaml the single source."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferops import config, presets
from ferops.errors import FeropsError
from ferops.layout import Layout

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_is_valid_and_carries_its_name(tmp_path: Path, name: str) -> None:
    presets.apply_preset(Layout(tmp_path), name)
    assert config.load_params(tmp_path / "params.yaml").preset == name


def test_the_readme_describes_every_preset() -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in presets.names() if f"\n| `{name}` |" not in table] == []


def test_seven_and_eight_classes_differ_from_quick_in_nothing_else(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    presets.apply_preset(layout, "quick")
    quick = config.load_params(layout.params_file)
    for name, more in (("quick-seven", ("neutral",)), ("quick-eight", ("neutral", "contempt"))):
        presets.apply_preset(layout, name)
        params = config.load_params(layout.params_file)
        assert params.data.classes == (*quick.data.classes, *more)
        assert params == quick.model_copy(update={"preset": name, "data": params.data})


def test_switching_there_and_back_leaves_no_residue(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    presets.apply_preset(layout, "quick")
    before = layout.params_file.read_text(encoding="utf-8")
    changes = presets.apply_preset(layout, "reference")
    assert any(change.startswith("preprocess.size_px:") for change in changes)
    presets.apply_preset(layout, "quick")
    assert layout.params_file.read_text(encoding="utf-8") == before


def test_an_empty_mapping_is_named_by_its_entries(tmp_path: Path) -> None:
    presets.apply_preset(Layout(tmp_path), "quick")
    there = [change for change in presets.apply_preset(Layout(tmp_path), "reference") if "overrides" in change]
    back = [change for change in presets.apply_preset(Layout(tmp_path), "quick") if "overrides" in change]
    assert [change.split(": ")[0] for change in there] == ["register.overrides.worst_slice"]
    assert [change.split(": ")[0] for change in back] == ["register.overrides.worst_slice"]


def test_comments_survive(tmp_path: Path) -> None:
    presets.apply_preset(Layout(tmp_path), "fer2013-cpu")
    assert "# Every knob of the pipeline" in (tmp_path / "params.yaml").read_text(encoding="utf-8")


def test_edits_by_hand_are_not_lost_unasked(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    presets.apply_preset(layout, "quick")
    edited = layout.params_file.read_text(encoding="utf-8").replace("mixup_alpha: 0.0", "mixup_alpha: 0.4")
    assert "mixup_alpha: 0.4" in edited
    layout.params_file.write_text(edited, encoding="utf-8")
    with pytest.raises(FeropsError, match=r"train\.mixup_alpha: 0\.0 -> 0\.4"):
        presets.apply_preset(layout, "reference")
    assert layout.params_file.read_text(encoding="utf-8") == edited
    presets.apply_preset(layout, "reference", overwrite=True)
    assert config.load_params(layout.params_file).preset == "reference"


def test_a_broken_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.params_file.write_text("seed: [1\n", encoding="utf-8")
    with pytest.raises(FeropsError, match="not valid YAML"):
        presets.apply_preset(layout, "quick")
    assert layout.params_file.read_text(encoding="utf-8") == "seed: [1\n"
    presets.apply_preset(layout, "quick", overwrite=True)
    assert config.load_params(layout.params_file).preset == "quick"


def test_an_unknown_preset_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match="Did you mean fer2013-cpu"):
        presets.apply_preset(Layout(tmp_path), "fer2013-cp")
    assert not (tmp_path / "params.yaml").exists()
