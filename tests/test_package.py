"""Packaging: exact versions, nothing built twice, and the pointer that `serve` follows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from ferops import package as packaging
from ferops.config import Params, load
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.package import bento_folder, package, packaged, pins, serve_command

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def params() -> Params:
    return load(ROOT / "params.yaml")


@pytest.fixture
def no_build(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: Any) -> None:
        raise AssertionError("a Bento was built")

    monkeypatch.setattr(packaging, "_build", build)


def release(layout: Layout, tag: str) -> dict[str, Any]:
    path = bento_folder(layout, tag) / "src" / "service" / "release.json"
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_a_bento_holds_exactly_its_version(bentos: Layout, favourites: dict[str, str]) -> None:
    for version in favourites:
        there = release(bentos, f"ferops:v{version}")
        assert (there["tag"], there["model_version"]) == (f"ferops:v{version}", version)
        served = bento_folder(bentos, f"ferops:v{version}") / "src" / "model" / "model.onnx"
        assert served.read_bytes() == (bentos.root / "exports" / version / "model.onnx").read_bytes()


def test_a_bento_holds_what_serving_needs_and_no_more(bentos: Layout) -> None:
    source = bento_folder(bentos, "ferops:v1") / "src"
    found = {path.relative_to(source).as_posix() for path in source.rglob("*.*") if path.suffix != ".pyc"}
    assert {f"ferops/{module}" for module in packaging.MODULES} <= found
    assert {"service/service.py", "service/release.json", "service/page/index.html", "model/config.json"} <= found
    assert "model/model-int8.onnx" not in found  # not served
    assert not [path for path in found if path.startswith(("ferops/registry", "ferops/evaluation", "tests"))]


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
        command, variables = serve_command(bentos, params, port=3999)
        assert f"ferops:v{version}" in command
        assert command[command.index("--port") + 1] == "3999"
        assert variables["BENTOML_HOME"] == str(bentos.root / "bentoml")


@pytest.mark.usefixtures("no_build")
def test_another_model_under_the_same_tag_is_refused(bentos: Layout, params: Params) -> None:
    with pytest.raises(FeropsError, match=r"holds another model.*rm -r"):
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
        serve_command(Layout(tmp_path), params, port=3000)


def test_a_deleted_bento_is_not_served(bentos: Layout, params: Params, tmp_path: Path) -> None:
    (tmp_path / "bentoml").mkdir()
    shutil.copyfile(bentos.root / "bentoml" / "serving.json", tmp_path / "bentoml" / "serving.json")
    with pytest.raises(FeropsError, match="no Bento"):
        serve_command(Layout(tmp_path), params, port=3000)


@pytest.mark.parametrize("version", ["", "../1", "1:2", "a b"])
def test_a_version_that_is_no_tag_is_refused(tmp_path: Path, params: Params, version: str) -> None:
    with pytest.raises(FeropsError, match="version"):
        package(Layout(tmp_path), params, model_folder=tmp_path, version=version)


def test_a_folder_without_a_model_is_refused(tmp_path: Path, params: Params) -> None:
    with pytest.raises(FeropsError, match=r"config\.json"):
        package(Layout(tmp_path), params, model_folder=tmp_path, version="1")
    assert not (tmp_path / "bentoml" / "serving.json").exists()


def test_a_failed_build_leaves_nothing_to_serve(tmp_path: Path, params: Params, make_export: Any) -> None:
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "service.py").write_text("raise RuntimeError('broken on purpose')\n")
    shutil.copyfile(ROOT / "constraints.txt", tmp_path / "constraints.txt")
    with pytest.raises(FeropsError, match="broken on purpose"):
        package(Layout(tmp_path), params, model_folder=make_export(), version="1")
    assert packaged(Layout(tmp_path)) is None


def test_requirements_are_pinned_with_all_that_they_need() -> None:
    lines = pins(ROOT / "constraints.txt")
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    assert set(lines) <= set(constraints)
    names = {canonicalize_name(line.partition("==")[0]) for line in lines}
    assert set(packaging.REQUIREMENTS) <= names
    assert {"uvicorn", "pydantic-core"} <= names  # needed by bentoml and by pydantic
    assert not {"mlflow", "prefect", "dvc", "great-expectations", "pytest"} & names


def test_a_requirement_without_a_pin_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "constraints.txt").write_text("numpy==1\n")
    with pytest.raises(FeropsError, match="does not pin"):
        pins(tmp_path / "constraints.txt")
