"""Which stores a team stack uses, and what is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.local import postgres, stack, team
from ferops.local.ports import Ports

BOTH = {
    "FEROPS_PREFECT_DATABASE": "postgresql://p:geheim%40@db.example.org:5432/prefect?sslmode=require",
    "FEROPS_MLFLOW_DATABASE": "postgresql://m:secret@db.example.org/mlflow",
}


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    for name in (*team.SECRETS, "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    return Layout(tmp_path)


def _file(layout: Layout, *lines: str, mode: int = 0o600) -> Path:
    file = team.secrets_file(layout)
    file.parent.mkdir(parents=True)
    file.write_text("\n".join(lines), encoding="utf-8")
    file.chmod(mode)
    return file


def test_a_file_names_the_stores_and_the_environment_wins(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    _file(layout, "# ours", "", *(f"{name}={url}" for name, url in BOTH.items()), "export FEROPS_S3='s3://faces/a/'")
    found = team.read_stores(layout)
    assert found.bucket == "s3://faces/a"
    assert found.bucket_name == "faces"
    assert found.databases == {"prefect": BOTH["FEROPS_PREFECT_DATABASE"], "mlflow": BOTH["FEROPS_MLFLOW_DATABASE"]}
    assert "secret" not in repr(found)
    monkeypatch.setenv("FEROPS_S3", "s3://other")
    assert team.read_stores(layout).bucket == "s3://other"


def test_each_server_gets_its_own_database_in_its_driver_s_words(layout: Layout) -> None:
    _file(
        layout,
        *(f"{name}={url}" for name, url in BOTH.items()),
        "FEROPS_S3=s3://faces",
        "AWS_ENDPOINT_URL=https://s3.example.org",
        "AWS_SECRET_ACCESS_KEY=key",
    )
    stores = team.read_stores(layout)
    assert stores.databases is not None
    prefect = team.server_environment("prefect", stores, stores.databases)
    assert prefect == {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": (
            "postgresql+asyncpg://p:geheim%40@db.example.org:5432/prefect?ssl=require"
        )
    }
    mlflow = team.server_environment("mlflow", stores, stores.databases)
    assert mlflow["FEROPS_MLFLOW_DATABASE"] == "postgresql+psycopg://m:secret@db.example.org/mlflow"
    assert mlflow["MLFLOW_S3_ENDPOINT_URL"] == mlflow["AWS_ENDPOINT_URL"] == "https://s3.example.org"
    assert mlflow["AWS_SECRET_ACCESS_KEY"] == "key"


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "FEROPS_S3 names none.*--try-s3"),
        (["FEROPS_S3=/mnt/s3"], "supported is s3://BUCKET"),
        (["FEROPS_S3=s3://faces", "FEROPS_PREFECT_DATABASE=postgresql://a:b@c/d"], "FEROPS_MLFLOW_DATABASE is not set"),
        (["FEROPS_S3=s3://faces", "FEROPS_MLFLOW_DATABASE=geheim", "FEROPS_PREFECT_DATABASE=geheim"], "no address"),
        (
            ["FEROPS_S3=s3://faces", *(f"{each}=mysql://a:geheim@c/d" for each in BOTH)],
            r"mysql://a:\*\*\*@c/d.*postgresql://USER",
        ),
        (["FEROPS_S3=s3://faces", "PATH=/evil"], "line 2, sets none of the known variables"),
    ],
)
def test_wrong_settings_are_explained_without_a_password(layout: Layout, lines: list[str], says: str) -> None:
    _file(layout, *lines)
    with pytest.raises(FeropsError, match=says) as refused:
        team.read_stores(layout)
    assert "geheim" not in str(refused.value)


def test_a_file_that_others_may_read_is_refused(layout: Layout) -> None:
    _file(layout, "FEROPS_S3=s3://faces", mode=0o640)
    with pytest.raises(FeropsError, match="chmod 600"):
        team.read_stores(layout)


def test_without_postgresql_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_DEBIAN", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FeropsError, match=r"apt-get install postgresql\b.*FEROPS_PREFECT_DATABASE"):
        postgres.programs()
    (tmp_path / "PG_VERSION").write_text("12\n")
    with pytest.raises(FeropsError, match="made by PostgreSQL 12"):
        postgres.programs(tmp_path)


def test_a_trial_store_belongs_to_a_team_stack(layout: Layout) -> None:
    for name in ("prefect.yaml", "dvc.yaml"):
        (layout.root / name).touch()
    with pytest.raises(FeropsError, match="--stack team --try-s3"):
        stack.up(layout, Ports(), try_s3=True)
    assert not layout.state.exists()
