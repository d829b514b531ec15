"""Packaging: exact versions, nothing built twice, and the pointer that `serve` follows."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout

from ferops import cli, presets
from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.packaging import bento as packaging
from ferops.packaging.bento import bento_folder, package, packaged
from ferops.packaging.serve import Place, serve_command
from ferops.records.release import Release
from ferops.registry import promotion

ROOT = Path(__file__).parents[2]


@pytest.fixture
def params(quick_params: Params) -> Params:
    return quick_params


@pytest.fixture
def no_build(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: Any) -> None:
        raise AssertionError("a Bento was built")

    monkeypatch.setattr(packaging, "_build", build)


def release(layout: Layout, tag: str) -> Release:
    return Release.read(bento_folder(layout, tag) / "src" / "service" / "release.json", made_by="ferops package")


def test_a_bento_holds_exactly_its_version(bentos: Layout, favourites: dict[str, str]) -> None:
    for version in favourites:
        there = release(bentos, f"ferops:v{version}")
        assert (there.tag, there.model_version) == (f"ferops:v{version}", version)
        served = bento_folder(bentos, f"ferops:v{version}") / "src" / "model" / "model.onnx"
        assert served.read_bytes() == (bentos.root / "exports" / version / "model.onnx").read_bytes()


def test_a_bento_holds_what_serving_needs_and_no_more(bentos: Layout) -> None:
    source = bento_folder(bentos, "ferops:v1") / "src"
    found = {path.relative_to(source).as_posix() for path in source.rglob("*.*") if path.suffix != ".pyc"}
    assert {"service/service.py", "service/release.json", "service/page/index.html", "model/config.json"} <= found
    assert {"ferops/inference/predictor.py", "ferops/faces/detectors/weights/yunet.safetensors"} <= found
    assert "model/model-int8.onnx" not in found  # not served
    packages = {path.split("/")[1] for path in found if path.startswith("ferops/") and path.count("/") > 1}
    assert packages == {"datasets", "export", "faces", "inference", "monitoring", "records", "rollout", "video"}


def test_bentoml_lists_exactly_these_tags(bentos: Layout) -> None:
    listed = sorted(path.parent for path in (bentos.root / "bentoml" / "bentos").glob("*/*/bento.yaml"))
    assert listed == [bento_folder(bentos, tag) for tag in ("ferops:v1", "ferops:v2")]


@pytest.mark.usefixtures("no_build")
def test_packaging_again_changes_nothing(bentos: Layout, params: Params) -> None:
    before = {path: path.stat().st_mtime_ns for path in bento_folder(bentos, "ferops:v2").rglob("*")}
    result = package(bentos, params, model_folder=bentos.root / "exports" / "2", version="2")
    assert (result.tag, result.created) == ("ferops:v2", False)
    assert "nothing to do" in result.message
    assert before == {path: path.stat().st_mtime_ns for path in result.folder.rglob("*")}


@pytest.mark.usefixtures("no_build")
def test_serve_follows_the_champion_back(bentos: Layout, params: Params) -> None:
    """After a roll-back to version 1 the older Bento is served, though version 2 is the latest built."""
    for version in ("1", "2"):
        package(bentos, params, model_folder=bentos.root / "exports" / version, version=version)
        command, variables = serve_command(bentos, params, Place(3999))
        assert f"ferops:v{version}" in command
        assert command[command.index("--port") + 1] == "3999"
        assert variables["BENTOML_HOME"] == str(bentos.root / "bentoml")


@pytest.mark.usefixtures("no_build")
def test_another_model_under_the_same_tag_is_refused(bentos: Layout, params: Params) -> None:
    with pytest.raises(FeropsError, match=r"its model is not that of version.*rm -r"):
        package(bentos, params, model_folder=bentos.root / "exports" / "2", version="1")


@pytest.mark.usefixtures("no_build")
def test_settings_that_changed_since_are_named(bentos: Layout, params: Params) -> None:
    changed = params.model_copy(update={"package": params.package.model_copy(update={"purpose": "entertainment"})})
    result = package(bentos, changed, model_folder=bentos.root / "exports" / "2", version="2")
    assert not result.created
    assert "keeps its own purpose" in result.message


def test_a_tag_that_only_begins_alike_is_another_one(bentos: Layout) -> None:
    assert not bento_folder(bentos, "ferops:v").exists()
    assert not bento_folder(bentos, "ferops:v10").exists()


def test_nothing_to_serve_says_what_to_do(tmp_path: Path, params: Params) -> None:
    assert packaged(Layout(tmp_path)) is None
    with pytest.raises(FeropsError, match=r"promote.*ferops package"):
        serve_command(Layout(tmp_path), params, Place(3000))


def test_a_deleted_bento_is_not_served(bentos: Layout, params: Params, tmp_path: Path) -> None:
    (tmp_path / "bentoml").mkdir()
    shutil.copyfile(bentos.root / "bentoml" / "serving.json", tmp_path / "bentoml" / "serving.json")
    with pytest.raises(FeropsError, match="no Bento"):
        serve_command(Layout(tmp_path), params, Place(3000))


@pytest.mark.parametrize("version", ["", "../1", "1:2", "a b"])
def test_a_version_that_is_no_tag_is_refused(tmp_path: Path, params: Params, version: str) -> None:
    with pytest.raises(FeropsError, match="version"):
        package(Layout(tmp_path), params, model_folder=tmp_path, version=version)


def test_a_folder_without_a_model_is_refused(tmp_path: Path, params: Params) -> None:
    with pytest.raises(FeropsError, match=r"config\.json"):
        package(Layout(tmp_path), params, model_folder=tmp_path, version="1")
    assert not (tmp_path / "bentoml" / "serving.json").exists()


@pytest.mark.slow
def test_a_failed_build_leaves_nothing_to_serve(tmp_path: Path, params: Params, make_export: Any) -> None:
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "service.py").write_text("raise RuntimeError('broken on purpose')\n")
    shutil.copyfile(ROOT / "requirements.lock", tmp_path / "requirements.lock")
    with pytest.raises(FeropsError, match="broken on purpose"):
        package(Layout(tmp_path), params, model_folder=make_export(), version="1")
    assert packaged(Layout(tmp_path)) is None


@pytest.fixture
def project(tmp_path: Path) -> Layout:
    """A project that can be packaged, without a Bento."""
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "service.py").touch()
    shutil.copyfile(ROOT / "requirements.lock", tmp_path / "requirements.lock")
    return Layout(tmp_path)


def play_bentoml(monkeypatch: pytest.MonkeyPatch, *, killed: bool) -> None:
    """Write a Bento as BentoML does: the folder first, then copies in no certain order."""

    def run(*_: Any, cwd: Path, env: dict[str, str], **__: Any) -> subprocess.CompletedProcess[str]:
        folder = Path(env["BENTOML_HOME"]) / "bentos" / "ferops" / "v1"
        folder.mkdir(parents=True)
        (folder / "bento.yaml").touch()
        if killed:
            raise KeyboardInterrupt
        shutil.copytree(cwd, folder / "src")
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)


def test_a_killed_build_is_no_dead_end(
    project: Layout, params: Params, make_export: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bento_folder(project, "ferops:v1")
    play_bentoml(monkeypatch, killed=True)
    with pytest.raises(KeyboardInterrupt):
        package(project, params, model_folder=make_export(), version="1")
    assert not folder.exists()
    for left in (".building.01234567.tmp", "building-left"):  # SIGKILL gives nobody the time to tidy up
        (project.root / "bentoml" / left / "bentos").mkdir(parents=True)

    play_bentoml(monkeypatch, killed=False)
    assert package(project, params, model_folder=make_export(), version="1").created
    assert (folder / "src" / "model" / "model.onnx").exists()
    assert packaged(project) == "ferops:v1"
    left_over = project.root / "bentoml" / ".building.89abcdef.tmp"  # a later build's; this one finds its Bento there
    left_over.mkdir()
    assert not package(project, params, model_folder=make_export(), version="1").created
    assert list((project.root / "bentoml").glob("*building*")) == []


@pytest.mark.parametrize("there", ["bento.yaml", "src/service/release.json"])
def test_a_part_of_a_bento_is_built_anew(
    project: Layout, params: Params, make_export: Any, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    folder = bento_folder(project, "ferops:v1")
    for name in (there, "left"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    (project.root / "bentoml" / "serving.json").write_text('{"tag": "ferops:v1"}')
    assert packaged(project) is None
    play_bentoml(monkeypatch, killed=False)
    assert package(project, params, model_folder=make_export(), version="1").created
    assert release(project, "ferops:v1").model_version == "1"
    assert not (folder / "left").exists()


def test_callers_take_turns(project: Layout, params: Params, make_export: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    play_bentoml(monkeypatch, killed=False)
    at_once, build = [], packaging._run_bentoml

    def slow(*arguments: Any, **more: Any) -> None:
        with pytest.raises(Timeout):
            FileLock(project.root / "bentoml" / "package.lock", timeout=0).acquire()
        time.sleep(0.2)
        at_once.append(1)
        build(*arguments, **more)

    monkeypatch.setattr(packaging, "_run_bentoml", slow)
    model = make_export()
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(package, project, params, model_folder=model, version="1") for _ in range(2)]
    assert sorted(each.result().created for each in both) == [False, True]
    assert len(at_once) == 1


@pytest.fixture
def started(bentos: Layout, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in the project of `bentos`; the words of the server command that `ferops serve` turned into."""
    words: list[str] = []
    (bentos.root / "params.yaml").write_text(presets.render("quick"))
    monkeypatch.chdir(bentos.root)
    monkeypatch.setattr(os, "execve", lambda _path, command, _env: words.extend(command))
    return words


@pytest.mark.usefixtures("no_build")
def test_serve_asks_who_is_champion_now(
    bentos: Layout, params: Params, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    package(bentos, params, model_folder=bentos.root / "exports" / "1", version="1")
    monkeypatch.setattr(promotion, "champion", lambda *_, **__: ("2", bentos.root / "exports" / "2"))
    cli.models.serve(port=3999)
    assert "ferops:v2" in started


@pytest.mark.usefixtures("no_build")
def test_without_champion_no_former_one_is_served(
    bentos: Layout,
    params: Params,
    started: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    package(bentos, params, model_folder=bentos.root / "exports" / "1", version="1")
    monkeypatch.setattr(promotion, "champion", lambda *_, **__: None)
    with pytest.raises(FeropsError, match="no Bento"):
        cli.models.serve(port=3999)
    assert "has the alias champion yet" in capsys.readouterr().out
    assert started == []
    assert bento_folder(bentos, "ferops:v1").exists()
