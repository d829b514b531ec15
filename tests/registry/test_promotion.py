from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.model_config import export_digest
from ferops.packaging.bento import beside_file
from ferops.packaging.beside import ENDED, note_ended, wanted
from ferops.packaging.reconcile import reconcile
from ferops.records.register import Promotion
from ferops.records.rollout import CanaryEnd
from ferops.registry import promotion
from ferops.registry.connection import connect
from ferops.registry.promotion import aliases, champion, place, promote, withdraw
from ferops.registry.stage import register
from ferops.registry.versions import all_versions, fetch


def register_with_temperature(layout: Layout, params: Params, temperature: float) -> str:
    path = layout.exported / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"temperature": temperature}))
    return str(register(layout, params).version)


def test_without_model_there_is_no_champion(layout: Layout, params: Params, tmp_path: Path) -> None:
    assert champion(layout, params, tmp_path / "champion") is None
    with pytest.raises(FeropsError, match=r"no models:/ferops/1\. It is empty; .*dvc repro"):
        promote(layout, params, "1")


def test_promotion_and_the_champions_files(
    layout: Layout, params: Params, client: MlflowClient, tmp_path: Path
) -> None:
    register_with_temperature(layout, params, 1.1)
    first_digest = export_digest(layout.exported)
    assert champion(layout, params, tmp_path / "none") is None  # a challenger is no champion
    register_with_temperature(layout, params, 1.2)

    assert promote(layout, params, "1").promoted_from is None
    found = champion(layout, params, tmp_path / "first")
    assert found is not None
    version, copy = found
    assert version == "1"
    assert export_digest(copy) == first_digest  # of version 1, although 2 is newer
    assert copy.is_relative_to(tmp_path / "first")
    (copy / "model.onnx").write_bytes(b"")  # a copy: spoiling it harms nobody
    assert champion(layout, params, tmp_path / "again") is not None

    moved = promote(layout, params, "v2")
    assert moved == Promotion(
        model="ferops", champion="2", promoted_from="1", changed=True, gates="passed", synthetic=True
    )
    tags = client.get_model_version("ferops", "2").tags
    assert tags["promoted_from"] == "1"
    assert tags["promoted_by"]
    assert datetime.fromisoformat(tags["promoted_at"]).tzinfo is not None
    assert promote(layout, params, "2").changed is False
    assert client.get_model_version("ferops", "2").tags == tags

    newest, older = all_versions(client, "ferops")
    assert (str(newest.version), sorted(newest.aliases), older.aliases) == ("2", ["challenger", "champion"], [])
    assert newest.tags["accuracy"] == "0.8000"
    with pytest.raises(FeropsError, match=r"no models:/ferops/7.* has: 2 \(challenger champion\), 1 \(no alias\)"):
        promote(layout, params, "7")


def test_files_that_changed_in_the_store_are_refused(
    layout: Layout, params: Params, client: MlflowClient, tmp_path: Path
) -> None:
    promote(layout, params, register_with_temperature(layout, params, 1.3))
    source = client.get_model_version_by_alias("ferops", "champion").source  # models:/<id of the logged model>
    location = client.get_logged_model(source.removeprefix("models:/")).artifact_location
    stored = Path(location.removeprefix("file://")) / "artifacts" / "export" / "model.onnx"
    assert stored.is_relative_to(layout.root / "mlruns")
    stored.write_bytes(stored.read_bytes() + b" ")
    with pytest.raises(FeropsError, match="are not those that `ferops register` signed"):
        champion(layout, params, tmp_path / "champion")


@pytest.mark.parametrize(
    "gone",
    [
        "mlruns/**/model-int8.onnx",
        pytest.param("mlruns", marks=pytest.mark.slow),
        pytest.param("mlruns/*/models/*/artifacts/artifacts/export", marks=pytest.mark.slow),
    ],
)
def test_a_version_whose_artifacts_were_deleted(
    layout: Layout, params: Params, client: MlflowClient, tmp_path: Path, gone: str
) -> None:
    register(layout, params)
    (path,) = layout.root.glob(gone)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    uses = {
        "promote": lambda: promote(layout, params, "1"),
        "evaluate": lambda: champion(layout, params, tmp_path / "champion"),
        "package, serve": lambda: reconcile(layout, params),
        "score": lambda: fetch(layout, "models:/ferops/1", tmp_path),
    }
    for verb, use in uses.items():
        with pytest.raises(FeropsError, match=r"files of models:/ferops/1") as error:
            use()
        assert "\n" not in str(error.value), verb
        assert "romote another version" in str(error.value), verb
        client.set_registered_model_alias("ferops", "champion", "1")
        if verb == "promote":  # nothing was moved
            assert "promoted_at" not in client.get_model_version("ferops", "1").tags
    client.delete_registered_model_alias("ferops", "champion")
    assert register(layout, params).version == "2"  # with its files
    assert promote(layout, params, "2").changed


@pytest.mark.slow
def test_a_server_that_goes_away_midway_is_named_and_nothing_is_made_twice(
    layout: Layout, params: Params, tmp_path: Path, die: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as gone:
        gone.setattr(MlflowClient, "set_registered_model_alias", die)
        with pytest.raises(FeropsError, match="no longer answers"):
            register(layout, params)
    assert register(layout, params).version == "1"
    with monkeypatch.context() as gone:
        gone.setattr(MlflowClient, "set_registered_model_alias", die)
        with pytest.raises(FeropsError, match="no longer answers"):
            promote(layout, params, "1")
    assert promote(layout, params, "1").changed
    with monkeypatch.context() as gone:
        gone.setattr(MlflowClient, "get_model_version_by_alias", die)
        with pytest.raises(FeropsError, match="no longer answers"):
            champion(layout, params, tmp_path / "champion")


def test_versions_beside_the_champion(layout: Layout, params: Params, client: MlflowClient) -> None:
    register_with_temperature(layout, params, 1.1)
    with pytest.raises(FeropsError, match=r"no version is champion, so there is nothing for a shadow to run beside"):
        place(layout, params, "1", "shadow")
    register_with_temperature(layout, params, 1.2)
    promote(layout, params, "1")
    with pytest.raises(FeropsError, match=r"version 1 is champion itself"):
        place(layout, params, "1", "canary")
    done = place(layout, params, "v2", "canary")
    assert (done.version, done.before, done.changed, done.gates) == ("2", None, True, "passed")
    assert not place(layout, params, "2", "canary").changed
    place(layout, params, "2", "shadow")
    tags = client.get_model_version("ferops", "2").tags
    assert tags["canary_by"]
    assert datetime.fromisoformat(tags["canary_since"]).tzinfo is not None
    assert wanted(aliases(layout, params)) == {"shadow": "2", "canary": "2"}
    assert withdraw(layout, params, "shadow") == "2"
    with pytest.raises(FeropsError, match=r"no version of ferops has the alias shadow"):
        withdraw(layout, params, "shadow")

    folder = beside_file(layout).parent
    folder.mkdir()
    ended = CanaryEnd(
        tag="ferops:v2",
        version="2",
        champion="ferops:v1",
        reason="latency",
        said="it is slow",
        images=200,
        at=datetime(2026, 11, 29, 12, tzinfo=UTC),
    )
    ended.write(folder / ENDED)
    (said,) = note_ended(layout, params)
    assert said == "The canary, version 2, was ended: it is slow. Its alias was taken away."
    tags = client.get_model_version("ferops", "2").tags
    assert (tags["canary_ended_by"], tags["canary_ended_because"]) == ("latency", "it is slow")
    assert wanted(aliases(layout, params)) == {}
    assert not (folder / ENDED).exists()
    assert note_ended(layout, params) == []


def test_who_was_overtaken_while_promoting_is_told(
    version_1: Layout, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = register_with_temperature(version_1, params, 1.2)
    move = promotion.set_alias

    def overtaken(client: MlflowClient, name: str, alias: str, version: str) -> None:
        move(client, name, alias, version)
        move(client, name, alias, second)

    monkeypatch.setattr(promotion, "set_alias", overtaken)
    with pytest.raises(FeropsError, match=r"at the same moment: version 2 is champion now, not 1"):
        promote(version_1, params, "1")
    assert aliases(version_1, params)["champion"] == second


def test_who_is_overtaken_before_the_alias_moved_changes_nothing(
    version_1: Layout, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = register_with_temperature(version_1, params, 1.2)
    client, crown = connect(version_1), promotion._crown

    def overtaken(*arguments: Any, **options: Any) -> None:
        client.set_registered_model_alias("ferops", "champion", second)
        crown(*arguments, **options)

    monkeypatch.setattr(promotion, "_crown", overtaken)
    with pytest.raises(FeropsError, match=r"at the same moment: version 2 is champion now, not 1"):
        promote(version_1, params, "1")
    assert aliases(version_1, params)["champion"] == second
    assert "promoted_by" not in client.get_model_version("ferops", "1").tags
