"""Back to the version before, whoever promoted the present one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.files import write_json
from ferops.layout import Layout
from ferops.packaging import bento, rollback
from ferops.packaging.bento import bento_folder, former_tags, pointer


@pytest.fixture
def served(tmp_path: Path, quick_params: Params, monkeypatch: pytest.MonkeyPatch) -> tuple[Layout, list[str]]:
    """Versions 1, 2 and 3 were packaged one after the other; the last element of the list is the champion."""
    layout, alias = Layout(tmp_path), ["3"]
    for version in "123":
        source = bento_folder(layout, f"{quick_params.package.bento_name}:v{version}")
        (source / "src" / "service").mkdir(parents=True)
        for name in ("bento.yaml", "src/service/release.json"):
            (source / name).touch()
        point(layout, f"ferops:v{version}")

    def promote(_layout: Layout, _params: Params, version: str) -> str:
        alias.append(version.removeprefix("v"))
        return version

    def reconcile(layout: Layout, _params: Params) -> str:
        point(layout, f"ferops:v{alias[-1]}")
        return "packaged"

    monkeypatch.setattr(rollback, "promote", promote)
    monkeypatch.setattr(rollback, "reconcile", reconcile)
    monkeypatch.setattr(rollback, "aliases", lambda *_: {"champion": alias[-1]})
    return layout, alias


def point(layout: Layout, tag: str) -> None:
    write_json(pointer(layout), {"tag": tag, "former": bento._former(layout, tag)})


def test_back_step_by_step(served: tuple[Layout, list[str]], quick_params: Params) -> None:
    layout, alias = served
    assert former_tags(layout) == ["ferops:v1", "ferops:v2"]
    rollback.rollback(layout, quick_params)
    rollback.rollback(layout, quick_params)
    assert alias == ["3", "2", "1"]
    with pytest.raises(FeropsError, match="no Bento that was served before ferops:v1"):
        rollback.rollback(layout, quick_params)


def test_a_champion_that_was_never_packaged(served: tuple[Layout, list[str]], quick_params: Params) -> None:
    layout, alias = served
    alias.append("4")  # in the UI, a moment ago
    rollback.rollback(layout, quick_params)
    assert (alias[-1], former_tags(layout)) == ("3", ["ferops:v1", "ferops:v2"])
