"""What `ferops promote` says besides the figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferops import cli, presets
from ferops.records.register import Promotion
from ferops.registry import promotion


@pytest.mark.parametrize("case", [(True, True, True), (True, False, False), (False, True, False)])
def test_a_model_of_rendered_faces_does_not_take_the_starters_place_unsaid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: tuple[bool, bool, bool]
) -> None:
    synthetic, has_starter, warns = case
    (tmp_path / "params.yaml").write_text(presets.render("quick"))
    if has_starter:
        (tmp_path / "starter.dvc").touch()
    monkeypatch.chdir(tmp_path)
    done = Promotion(
        model="ferops", champion="1", promoted_from=None, changed=True, gates="passed", synthetic=synthetic
    )
    monkeypatch.setattr(promotion, "promote", lambda *_: done)
    cli.models.promote("1")
    said = capsys.readouterr()
    assert ("ferops serve --starter" in said.err) == warns
    assert "a running service keeps its version" in said.out
    assert "ferops serve --follow" in said.out
