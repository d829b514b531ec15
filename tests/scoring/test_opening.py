"""Which model a name means; the files themselves are tested in test_scoring_model.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from exports import write_export
from ferops import Predictor, presets
from ferops.errors import FeropsError, RegistryAwayError
from ferops.layout import Layout
from ferops.registry import connection, store, versions
from ferops.scoring.opening import opened
from ferops.starter import folder


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A project with a starter and no registry."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write_export(tmp_path / "starter", favours="sad")
    (tmp_path / "params.yaml").write_text(presets.render("quick"), encoding="utf-8")
    (tmp_path / "starter.dvc").write_text(
        f"outs:\n- md5: {folder.folder_md5(tmp_path / 'starter')}.dir\n  path: starter\n"
    )
    return Layout()


@pytest.fixture
def champion(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 3 in the registry is champion."""

    @contextmanager
    def connected(_: Layout) -> Iterator[str]:
        yield "client"

    def fetch(_: Layout, address: str, scratch: Path) -> tuple[str, Path]:
        assert address == "models:/ferops/3"
        return address, write_export(scratch / "model", favours="fear")

    monkeypatch.setattr(store, "has_store", lambda _: True)
    monkeypatch.setattr(connection, "connected", connected)
    monkeypatch.setattr(versions, "champion_version", lambda *_: SimpleNamespace(version=3))
    monkeypatch.setattr(versions, "fetch", fetch)
    assert layout.params_file.exists()


@pytest.mark.parametrize("given", ["starter", None])
def test_the_starter_is_the_default_until_there_is_a_champion(layout: Layout, given: str | None) -> None:
    with opened(layout, given) as ready:
        assert ready.name == f"starter-{folder.folder_md5(layout.starter)[:8]}"
        assert ready.file == layout.starter / "model.onnx"


@pytest.mark.usefixtures("champion")
def test_the_champion_is_the_default(layout: Layout) -> None:
    with opened(layout, None) as ready:
        assert (ready.name, ready.version) == ("models:/ferops/3", "models:/ferops/3")
    with opened(layout, "starter") as ready:
        assert ready.name.startswith("starter-")


def test_a_registry_that_is_away_is_not_passed_over(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: Layout) -> Any:
        raise RegistryAwayError("no MLflow server")

    monkeypatch.setattr(store, "has_store", lambda _: True)
    monkeypatch.setattr(connection, "connected", away)
    with pytest.raises(RegistryAwayError), opened(layout, None):
        pass


def test_a_folder_called_starter_will_do_without_starter_dvc(layout: Layout) -> None:
    layout.starter_dvc.unlink()
    with opened(layout, "starter") as ready:
        assert ready.name == "starter"
    with pytest.raises(FeropsError, match=r"starter\.dvc does not exist"):
        folder.bring(layout)


def test_without_any_model_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").write_text(presets.render("quick"), encoding="utf-8")  # a project without starter.dvc
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FeropsError, match=r"starter does not exist\. --model is starter \(unless a project removed"):
        Predictor.load()


@pytest.mark.usefixtures("champion")
def test_the_predictor_outlives_the_files_of_a_version(layout: Layout) -> None:
    import numpy as np

    predictor = Predictor.load()
    probabilities = predictor.classify(np.zeros((1, 32, 32, 3), np.uint8))
    assert predictor.config.classes[int(probabilities.argmax())] == "fear"
    assert Predictor.load(layout.starter).config.served == "model.onnx"
