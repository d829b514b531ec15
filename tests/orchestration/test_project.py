"""`ferops init`: a project from the files that ferops brings."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ferops.config import load_params
from ferops.datasets.versioning import folder_md5
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.orchestration import dag
from ferops.orchestration.project import init
from ferops.starter import shipped
from ferops.starter.folder import named_version


def test_a_project_has_its_settings_stages_and_the_starter(tmp_path: Path) -> None:
    layout = init(tmp_path / "mine", "own")
    assert load_params(layout.params_file).preset == "own"
    assert dag.stages(layout.root)[0] == "validate"  # DVC reads it
    assert "- src/" not in (layout.root / "dvc.yaml").read_text(encoding="utf-8")
    for name in ("flows/pipeline.py", "service/service.py", "prefect.yaml", ".gitignore", ".dvcignore", "README.md"):
        assert (layout.root / name).is_file(), name
    assert not layout.data_dvc.exists()  # the rendered faces are for those who ask for them
    assert (layout.root / ".git").is_dir()
    seen = subprocess.run(
        ["git", "-C", str(layout.root), "status", "--short"], capture_output=True, text=True, check=True
    )
    assert "params.yaml" in seen.stdout
    assert not list(layout.root.glob(".*.tmp"))


def test_the_rendered_faces_come_with_the_presets_that_use_them(tmp_path: Path) -> None:
    layout = init(tmp_path, "quick")
    for name in shipped.objects("data.dvc"):
        assert (layout.root / name).is_file()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("mine", encoding="utf-8")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FeropsError, match=r"already has params\.yaml, and ferops init overwrites nothing"):
        init(tmp_path, "own")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "params.yaml"]
    with pytest.raises(FeropsError, match=r"there is no preset named 'onw'\. Did you mean own"):
        init(tmp_path / "new", "onw")
    assert not (tmp_path / "new").exists()


def test_a_folder_of_a_repository_stays_in_it(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    layout = init(tmp_path / "part", "own")
    assert not (layout.root / ".git").exists()


def test_without_git_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(FeropsError, match="git was not found"):
        init(tmp_path / "mine", "own")
    assert not (tmp_path / "mine").exists()


def test_the_starter_that_comes_along_is_the_one_that_the_repository_names(tmp_path: Path) -> None:
    version = shipped.unpack_starter(tmp_path)
    assert version == folder_md5(tmp_path) == named_version(Layout(Path(__file__).parents[2]).starter_dvc)
