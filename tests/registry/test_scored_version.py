"""What `ferops score --model models:/...` fetches (ferops.registry.versions); here, for the store that it needs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from exports import change
from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.model_config import export_digest
from ferops.registry.promotion import promote
from ferops.registry.signing import own_key
from ferops.registry.stage import register
from ferops.registry.trust import add_key
from ferops.registry.versions import fetch
from ferops.scoring.score import score
from scoring_files import contents, tinted, write
from servers import mlflow_server


def register_one(layout: Layout, params: Params, *, temperature: float) -> str:
    """Register a version and return the digest of its files."""
    learnt = params.model_dump(mode="json", by_alias=True)
    change(layout.exported, temperature=temperature, provenance={"sources": ["wild"], "params": learnt})
    register(layout, params)
    return export_digest(layout.exported)


def test_versions_are_fetched_and_scored_without_a_trace(
    layout: Layout, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = [register_one(layout, params, temperature=temperature) for temperature in (1.1, 1.2)]
    promote(layout, params, "1")
    shutil.rmtree(layout.exported)  # what is fetched are the registry's files
    before = contents(layout.root)
    wanted = {
        "models:/ferops@champion": ("models:/ferops/1", digests[0]),
        "models:/ferops@challenger": ("models:/ferops/2", digests[1]),
        "models:/ferops/1": ("models:/ferops/1", digests[0]),
        "models:/ferops/v2": ("models:/ferops/2", digests[1]),
    }
    for place, (uri, (exact, digest)) in enumerate(wanted.items()):
        scratch = tmp_path / str(place)
        scratch.mkdir()
        found, copy = fetch(layout, uri, scratch)
        assert (found, export_digest(copy)) == (exact, digest)
        assert copy.is_relative_to(scratch)
    known = r"The model ferops has: 2 \(challenger\), 1 \(champion\)$"
    others = "Its models are: ferops$"
    for uri, has in {
        "models:/ferops@nobody": known,
        "models:/ferops/7": known,
        "models:/other@champion": others,
        "models:/other/1": others,
    }.items():
        with pytest.raises(FeropsError, match=rf"no {uri}\. {has}"):
            fetch(layout, uri, tmp_path)

    data = write(tmp_path / "data.parquet", image=[tinted("red", i) for i in range(4)], label=["sad"] * 4)
    monkeypatch.chdir(layout.root)
    judged = score(Layout(), "models:/ferops@champion", data, asked="whole")
    assert judged.model.version == "models:/ferops/1"
    assert judged.model.file == "models:/ferops/1/artifacts/export/model-int8.onnx"
    assert judged.n == 4
    assert contents(layout.root) == before  # no migration, no lock, no log, nothing in the working folder


@pytest.mark.slow
def test_an_old_store_is_not_migrated(layout: Layout, params: Params, tmp_path: Path) -> None:
    """Without the stamp of this MLflow release, the copy is made ready, not the store."""
    register_one(layout, params, temperature=1.1)
    (layout.root / "mlflow.db.schema").unlink()
    before = contents(layout.root)
    assert fetch(layout, "models:/ferops/1", tmp_path)[0] == "models:/ferops/1"
    assert contents(layout.root) == before


def test_an_empty_registry_and_a_damaged_one(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match="It is empty"):
        fetch(layout, "models:/ferops@champion", tmp_path)
    (layout.root / "mlflow.db").write_text("this is no database, " * 100)
    with pytest.raises(FeropsError, match=r"mlflow\.db cannot be used as an MLflow database"):
        fetch(layout, "models:/ferops@champion", tmp_path)


@pytest.mark.slow
def test_files_that_were_changed_or_deleted_since(layout: Layout, params: Params, tmp_path: Path) -> None:
    register_one(layout, params, temperature=1.1)
    (served,) = layout.root.glob("mlruns/**/export/config.json")
    config = json.loads(served.read_text())
    served.write_text(json.dumps(config | {"temperature": 9.0}))
    with pytest.raises(FeropsError, match="models:/ferops/1 are not those that `ferops register` signed"):
        fetch(layout, "models:/ferops/1", tmp_path)
    shutil.rmtree(layout.root / "mlruns")
    with pytest.raises(FeropsError, match="files of models:/ferops/1 cannot be fetched"):
        fetch(layout, "models:/ferops/1", tmp_path)


@pytest.mark.slow
def test_through_a_server(layout: Layout, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = register_one(layout, params, temperature=1.1)
    here = tmp_path / "elsewhere"
    here.mkdir()
    with mlflow_server(layout.root, "--artifacts-destination", "mlruns") as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.chdir(here)
        with pytest.raises(FeropsError, match="signed by a key that this project does not trust"):
            fetch(Layout(), "models:/ferops@challenger", tmp_path / "scratch")
        assert list(here.iterdir()) == []
        key = own_key(layout)
        assert key
        add_key(Layout(), key)
        exact, copy = fetch(Layout(), "models:/ferops@challenger", tmp_path / "scratch")
        assert (exact, export_digest(copy)) == ("models:/ferops/1", digest)
    assert list(here.iterdir()) == [here / "trust.json"]
    with pytest.raises(FeropsError, match="no MLflow server at"):
        fetch(Layout(), "models:/ferops@challenger", tmp_path / "scratch")
