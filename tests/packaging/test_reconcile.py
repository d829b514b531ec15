"""From the alias to the Bento; the registry and BentoML are played, their own tests are theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferops.errors import RegistryAwayError
from ferops.layout import Layout
from ferops.packaging import bento as package
from ferops.packaging.bento import PackageResult
from ferops.packaging.reconcile import reconcile, to_serve
from ferops.registry import promotion
from sample_images import quick_params
from sockets import free_port

PARAMS = quick_params()


def test_without_a_champion_it_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promotion, "champion", lambda *_, **__: None)
    pointer = tmp_path / "bentoml" / "serving.json"
    pointer.parent.mkdir()
    pointer.write_text("{}")
    said = reconcile(Layout(tmp_path), PARAMS)
    assert not pointer.exists()  # a former champion is not served
    assert f"No version of {PARAMS.registry.model_name} has the alias champion" in said
    assert "ferops promote" in said


def test_the_champion_is_packaged_while_its_files_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []

    def champion(_layout: Layout, _params: object, destination: Path, *, judged: bool) -> tuple[str, Path]:
        assert judged  # a version whose gates failed is not packaged
        folder = destination / "export"
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(b"onnx")
        return "7", folder

    def build(layout: Layout, _params: object, *, model_folder: Path, version: str) -> PackageResult:
        assert (model_folder / "model.onnx").read_bytes() == b"onnx"
        seen.append(model_folder)
        return PackageResult(tag=f"x:v{version}", folder=layout.root, created=True, message=f"built v{version}")

    monkeypatch.setattr(promotion, "champion", champion)
    monkeypatch.setattr(package, "package", build)
    assert reconcile(Layout(tmp_path), PARAMS) == "built v7"
    assert not seen[0].exists()  # the copy is for building only


def test_with_the_registry_away_the_bento_on_the_disk_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    layout, said = Layout(tmp_path), list[str]()
    with pytest.raises(RegistryAwayError, match="no MLflow server"):  # and nothing was packaged
        to_serve(layout, PARAMS, say=said.append)
    folder = package.bento_folder(layout, "ferops:v7")
    (folder / "src" / "service").mkdir(parents=True)
    for path in ("bento.yaml", "src/service/release.json"):
        (folder / path).touch()
    (tmp_path / "bentoml" / "serving.json").write_text('{"tag": "ferops:v7"}')
    assert to_serve(layout, PARAMS, say=said.append) == "ferops:v7"
    assert "no MLflow server" in said[0]
    assert said[1] == "Served is ferops:v7, which was packaged last."
    with pytest.raises(RegistryAwayError):  # a schedule builds nothing on a guess
        reconcile(layout, PARAMS)
