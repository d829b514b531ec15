"""`ferops import` of the published layouts, from the command line to the versioned file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import test_ckplus
import test_jaffe
import test_rafdb
from typer.testing import CliRunner

from ferops.cli import app
from ferops.datasets import versioning
from ferops.errors import FeropsError
from ferops.layout import Layout
from published import empty_project
from releases import make_folder, make_zip

Ferops = Callable[..., str]


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    layout = empty_project(tmp_path / "project")
    monkeypatch.chdir(layout.root)
    return layout


@pytest.fixture
def ferops(layout: Layout) -> Ferops:
    def run(*arguments: str | Path) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        assert result.exit_code == 0
        versioning.require_current(layout)
        return result.output

    return run


def test_both_releases_of_ckplus_are_one_source(layout: Layout, ferops: Ferops, tmp_path: Path) -> None:
    root = tmp_path / "CK+"
    make_zip(root / "extended-cohn-kanade-images.zip", test_ckplus.frames())
    make_zip(root / "Emotion_labels.zip", test_ckplus.labels())
    said = ferops("import", "ckplus", root)
    for wanted in ("15 images", "contempt   3", "17 x frame before the last three", "1 x sequence without an emotion"):
        assert wanted in said

    said = ferops("import", "ckplus", make_zip(tmp_path / "ck48.zip", test_ckplus.small()))
    assert "21 images" in said
    assert [file.name for file in layout.data.iterdir()] == ["ckplus.parquet"]
    assert set(pd.read_parquet(layout.source("ckplus"))["source"]) == {"ckplus"}
    before = layout.source("ckplus").read_bytes()
    with pytest.raises(FeropsError, match=r"mixes both releases"):
        ferops("import", "ckplus", make_folder(tmp_path / "mixed", test_ckplus.original() | test_ckplus.small()))
    assert layout.source("ckplus").read_bytes() == before


def test_jaffe_and_rafdb_side_by_side(layout: Layout, ferops: Ferops, tmp_path: Path) -> None:
    jaffe = make_zip(tmp_path / "jaffe.zip", test_jaffe.files() | {"jaffe/README": b"x", "jaffe/.DS_Store": b""})
    assert "7 images" in ferops("import", "jaffe", jaffe)
    root = make_folder(tmp_path / "raf", test_rafdb.label_list())
    for folder, name, content in (
        ("Image", "aligned", test_rafdb.image_files("aligned")),
        ("Image", "original", test_rafdb.image_files("original")),
        ("Annotation", "manual", test_rafdb.annotations()),
    ):
        make_zip(root / "basic" / folder / f"{name}.zip", content)
    assert "7 x original image, as there are aligned ones" in ferops("import", "rafdb", root)

    rows = pd.read_parquet(layout.source("rafdb"))
    assert rows["usage"].value_counts().to_dict() == {"train": 4, "test": 3}
    assert {"group_age", "group_gender", "group_race"} <= set(rows.columns)
    said = ferops("data")
    for wanted in ("jaffe: JAFFE", "people: 5", "Lyons", "rafdb: RAF-DB", "groups: age, gender, race", "Deng"):
        assert wanted in said
