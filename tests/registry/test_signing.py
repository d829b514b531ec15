"""Who may say that a version is good: not whoever writes to the registry."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from ferops import cli
from ferops.config import Params
from ferops.errors import FeropsError
from ferops.files import sha256
from ferops.layout import Layout
from ferops.packaging.reconcile import reconcile
from ferops.records.signature import Signature, Statement, Trust
from ferops.registry.connection import connect, fluent
from ferops.registry.promotion import accept, champion, promote
from ferops.registry.signing import TAG, own_key, sign, statements
from ferops.registry.stage import register
from ferops.registry.trust import add_key
from ferops.registry.versions import fetch
from registry_project import against_champion, changed, good_metrics, interval, params_tree, write_metrics


def signature_tag(version: ModelVersion) -> tuple[str, Signature]:
    (tag,) = (name for name in version.tags if name.startswith(TAG))
    return tag, Signature.model_validate_json(version.tags[tag])


def stored(layout: Layout, name: str) -> Path:
    (found,) = layout.root.glob(f"mlruns/*/models/*/artifacts/artifacts/export/{name}")
    return found


def every_user(layout: Layout, params: Params, scratch: Path) -> list[Callable[[], Any]]:
    """All that downloads a version and uses it."""
    return [
        lambda: promote(layout, params, "1"),
        lambda: champion(layout, params, scratch / "baseline"),  # of `evaluate`
        lambda: reconcile(layout, params),  # of `package`, of the schedule and of `serve`
        lambda: fetch(layout, "models:/ferops/1", scratch),  # of `score`
    ]


def refused(layout: Layout, params: Params, scratch: Path, why: str) -> None:
    for number, use in enumerate(every_user(layout, params, scratch)):
        (scratch / str(number)).mkdir(parents=True, exist_ok=True)
        with pytest.raises(FeropsError, match=why):
            use()
    assert not (layout.root / "bentoml" / "serving.json").exists()


@pytest.fixture(scope="module")
def promoted(registered: Layout, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A project with version 1, champion, as whoever writes to the registry made it; copied for every test."""
    layout = Layout(tmp_path_factory.mktemp("promoted") / "project")
    shutil.copytree(registered.root, layout.root)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        connect(layout).set_registered_model_alias("ferops", "champion", "1")
    return layout


@pytest.fixture
def layout(promoted: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(promoted.root, tmp_path / "project")
    return Layout(tmp_path / "project")


@pytest.fixture
def version(client: MlflowClient) -> ModelVersion:
    return client.get_model_version("ferops", "1")


def test_register_signs_what_it_found(version: ModelVersion, layout: Layout, params: Params) -> None:
    ((key, statement),) = statements(version)
    assert key == own_key(layout)
    assert statement.model == "ferops"
    assert statement.verdict == "passed"
    assert {gate.name for gate in statement.gates} >= {"baseline", "champion", "macro_f1"}
    names = {"config.json", "model.onnx", "model-int8.onnx"}
    assert statement.files == {name: sha256(layout.exported / name) for name in names}
    assert statement.metrics == sha256(layout.artifacts("evaluate") / "metrics.json")
    assert (statement.data_version, statement.git_commit) == ("d" * 32, "c" * 40)
    assert promote(layout, params, "1").gates == "passed"
    key_file = layout.state / "private" / "signing.key"
    assert key_file.stat().st_mode & 0o777 == 0o600


def test_a_clock_that_was_ahead_does_not_win_over_a_later_verdict(
    version: ModelVersion, layout: Layout, params: Params, client: MlflowClient, tmp_path: Path
) -> None:
    """Version 1 passed on a machine whose clock is a year ahead; here, and later, its gates fail."""
    ((_, statement),) = statements(version)
    other = Layout(tmp_path / "other")
    ahead = (datetime.now(UTC) + timedelta(days=365)).isoformat(timespec="microseconds")
    for tag, value in sign(other, statement.model_copy(update={"signed_at": ahead})).items():
        client.set_model_version_tag("ferops", "1", tag, value)
    key = own_key(other)
    assert key is not None
    add_key(layout, key)
    write_metrics(
        layout, changed(against_champion(good_metrics(), low=-0.01), candidate__macro_f1=interval(0.1, 0.0, 0.2))
    )
    assert register(layout, params).failed
    (layout.state / "private" / "failed-digests").unlink()  # what another folder would not know
    with pytest.raises(FeropsError, match="gates of models:/ferops/1 failed"):
        promote(layout, params, "1")


def test_an_unsigned_version_is_refused_until_a_person_accepts_it(
    version: ModelVersion, layout: Layout, params: Params, client: MlflowClient, tmp_path: Path
) -> None:
    client.delete_model_version_tag("ferops", "1", signature_tag(version)[0])  # as ferops 0.1 registered it
    refused(layout, params, tmp_path, r"version 1 of ferops has no valid signature.*ferops accept 1")
    assert accept(layout, params, "v1").files == {path.name: sha256(path) for path in layout.exported.iterdir()}
    assert promote(layout, params, "1").gates == "accepted"
    assert fetch(layout, "models:/ferops/1", tmp_path / "0")[0] == "models:/ferops/1"
    stored(layout, "model.onnx").write_bytes(b"another one")
    refused(layout, params, tmp_path / "later", "version 1 of ferops has no valid signature")


def test_what_was_edited_is_refused(
    version: ModelVersion, layout: Layout, params: Params, client: MlflowClient, tmp_path: Path
) -> None:
    tag, signed = signature_tag(version)
    forged = json.loads(signed.statement) | {"metrics": "0" * 64}
    for edit in (
        signed.model_copy(update={"statement": json.dumps(forged)}),
        signed.model_copy(update={"signature": "00" * 64}),
        signed.model_copy(update={"signature": "no hex"}),
        signed.model_copy(update={"key": "ff" * 32}),
    ):
        client.set_model_version_tag("ferops", "1", tag, edit.model_dump_json())
        with pytest.raises(FeropsError, match="no valid signature"):
            champion(layout, params, tmp_path / "champion")
    for nonsense in ("", "{}", "[" * 5000, "null"):
        client.set_model_version_tag("ferops", "1", tag, nonsense)
        with pytest.raises(FeropsError, match="no valid signature"):
            champion(layout, params, tmp_path / "champion")
    client.set_model_version_tag("ferops", "1", tag, signed.model_dump_json())
    assert champion(layout, params, tmp_path / "champion") is not None
    client.set_model_version_tag("ferops", "1", "gates", "failed")  # unsigned tags decide nothing
    client.set_model_version_tag("ferops", "1", "digest", "0")
    assert champion(layout, params, tmp_path / "again") is not None
    stored(layout, "config.json").write_text(stored(layout, "config.json").read_text() + " ")
    (tmp_path / "files").mkdir()
    refused(layout, params, tmp_path / "files", r"not those that `ferops register` signed \(config\.json\)")


def test_a_file_beside_the_signed_ones_is_refused(layout: Layout, params: Params, tmp_path: Path) -> None:
    stored(layout, "config.json").with_name("more.onnx").write_bytes(b"")
    refused(layout, params, tmp_path, r"signed \(more\.onnx\)")


def test_a_signature_counts_for_its_own_model_only(
    version: ModelVersion, layout: Layout, params: Params, client: MlflowClient, tmp_path: Path
) -> None:
    tag, signed = signature_tag(version)
    client.create_registered_model("edge")
    with fluent(client):
        for name in ("edge", "ferops"):
            client.create_model_version(name, version.source, tags={tag: signed.model_dump_json()})
    with pytest.raises(FeropsError, match="version 1 of edge has no valid signature"):
        fetch(layout, "models:/edge/1", tmp_path)
    # Under another number it is the same model with the same gates
    (tmp_path / "2").mkdir()
    assert fetch(layout, "models:/ferops/2", tmp_path / "2")[0] == "models:/ferops/2"
    assert promote(layout, params, "2").champion == "2"


def test_another_folders_key_counts_once_a_person_says_so(layout: Layout, params: Params, tmp_path: Path) -> None:
    theirs = own_key(layout)
    assert theirs is not None
    shutil.rmtree(layout.state / "private")  # a clone of the same project on another machine
    refused(
        layout, params, tmp_path, f"signed by a key that this project does not trust: {theirs}.*ferops trust {theirs}"
    )
    add_key(layout, f" {theirs.upper()}\n")
    add_key(layout, theirs)
    assert [each.key for each in Trust.read(layout.trust, made_by="a test").keys] == [theirs]
    assert promote(layout, params, "1").gates == "passed"
    for wrong in ("", "abc", "zz" * 32, theirs[:-2], theirs + "00"):
        with pytest.raises(FeropsError, match="no public key"):
            add_key(layout, wrong)


def test_gates_that_failed_stay_failed(
    version: ModelVersion, layout: Layout, params: Params, client: MlflowClient, tmp_path: Path
) -> None:
    tag, passed = signature_tag(version)
    register_failing(layout, params, client)
    client.set_model_version_tag("ferops", "1", "gates", "passed")

    def stays_failed(why: str) -> None:
        for use in (lambda: promote(layout, params, "1"), lambda: reconcile(layout, params)):
            with pytest.raises(FeropsError, match=rf"gates of models:/ferops/1 failed \({why}\)"):
                use()

    stays_failed("macro_f1")
    client.set_model_version_tag("ferops", "1", tag, passed.model_dump_json())  # an older statement, put back
    stays_failed("in a later evaluation")
    assert champion(layout, params, tmp_path / "baseline") is not None  # to compare with, it is what it was
    client.delete_registered_model_alias("ferops", "champion")
    write_metrics(layout, good_metrics())
    assert register(layout, params).version == "1"
    assert promote(layout, params, "1").gates == "passed"


def register_failing(layout: Layout, params: Params, client: MlflowClient) -> None:
    """Register after an evaluation in which a gate failed, and put the alias champion back."""
    client.delete_registered_model_alias("ferops", "champion")
    write_metrics(layout, changed(good_metrics(), candidate__macro_f1__value=0.31))
    assert register(layout, params).version is None
    client.set_registered_model_alias("ferops", "champion", "1")


def test_the_latest_of_two_trusted_statements_counts(
    version: ModelVersion, layout: Layout, params: Params, client: MlflowClient
) -> None:
    theirs = own_key(layout)
    assert theirs is not None
    shutil.rmtree(layout.state / "private")
    add_key(layout, theirs)
    register_failing(layout, params, client)
    keys = [key for key, _ in statements(client.get_model_version("ferops", str(version.version)))]
    assert sorted(keys) == sorted([theirs, str(own_key(layout))])
    with pytest.raises(FeropsError, match=r"gates .* failed"):
        promote(layout, params, "1")


def test_registering_signs_a_version_that_a_stranger_made_of_the_same_files(
    version: ModelVersion, layout: Layout, params: Params, client: MlflowClient
) -> None:
    client.delete_model_version_tag("ferops", "1", signature_tag(version)[0])
    client.delete_registered_model_alias("ferops", "champion")
    assert register(layout, params).version == "1"  # byte for byte what was evaluated here
    assert promote(layout, params, "1").gates == "passed"


@pytest.mark.parametrize("spoil", ["model.onnx", pytest.param("config.json", marks=pytest.mark.slow)])
def test_a_version_that_only_claims_to_be_these_files_is_not_taken_for_them(
    layout: Layout, params: Params, client: MlflowClient, spoil: str
) -> None:
    client.delete_registered_model_alias("ferops", "champion")
    place = stored(layout, spoil)
    place.write_text("{" if spoil == "config.json" else "garbage")
    assert register(layout, params).version == "2"
    assert promote(layout, params, "2").champion == "2"
    place.unlink()
    assert register_again(layout, params) == "2"


def register_again(layout: Layout, params: Params) -> str | None:
    made = against_champion(good_metrics(), low=0.0)
    assert made.champion is not None
    write_metrics(layout, made.model_copy(update={"champion": made.champion.model_copy(update={"version": "2"})}))
    return register(layout, params).version


def test_statements_are_signed_for_this_purpose_only(layout: Layout, version: ModelVersion) -> None:
    """A signature of the bare text, made for something else with the same key, counts for nothing."""
    _, signed = signature_tag(version)
    key = Ed25519PrivateKey.from_private_bytes((layout.state / "private" / "signing.key").read_bytes())
    bare = signed.model_copy(update={"signature": key.sign(signed.statement.encode()).hex()})
    version.tags[signature_tag(version)[0]] = bare.model_dump_json()
    assert list(statements(version)) == []
    statement = Statement.model_validate_json(signed.statement)
    version.tags.update(sign(layout, statement))
    assert list(statements(version)) == [(signed.key, statement)]


def test_a_trust_file_that_anybody_may_write_is_refused(layout: Layout, params: Params) -> None:
    add_key(layout, Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex())
    layout.trust.chmod(0o666)
    with pytest.raises(FeropsError, match=r"every user of this machine may write .*trust\.json.*chmod o-w"):
        promote(layout, params, "1")
    layout.trust.chmod(0o644)
    layout.trust.write_text("[]")
    with pytest.raises(FeropsError, match=r"trust\.json cannot be used"):
        promote(layout, params, "1")


def test_a_damaged_key_says_what_to_do(layout: Layout, params: Params) -> None:
    (layout.state / "private" / "signing.key").write_bytes(b"short")
    with pytest.raises(FeropsError, match=r"signing\.key is no signing key \(5 bytes, 32 are wanted\)"):
        promote(layout, params, "1")


def test_the_verbs_say_what_they_mean(
    version: ModelVersion,
    layout: Layout,
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (layout.root / "params.yaml").write_text(json.dumps(params_tree()))
    (layout.root / "dvc.yaml").touch()
    monkeypatch.chdir(layout.root)
    cli.models.trust()
    assert capsys.readouterr().out == f"this folder's key: {own_key(layout)}\n"
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    cli.models.trust(other)
    assert "commit it" in capsys.readouterr().out
    cli.models.trust()
    assert f"trusted: {other} (by " in capsys.readouterr().out
    client.delete_model_version_tag("ferops", "1", signature_tag(version)[0])
    cli.models.accept("1")
    said = capsys.readouterr().out
    assert "BY HAND, on your word alone" in said
    assert f"  {sha256(layout.exported / 'model.onnx')}  model.onnx" in said
