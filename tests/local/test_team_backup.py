"""A team stack's stores, saved and destroyed: PostgreSQL of the project's own, and a bucket of moto's S3 server."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.local import backup, dumps, postgres, processes, team
from ferops.local.ports import Ports
from repositories import make_repository
from servers import s3_server
from sockets import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ("boto3", "moto", "psycopg"))),
        reason="needs the extras team and dev: make install",
    ),
]


@pytest.fixture
def layout(monkeypatch: pytest.MonkeyPatch) -> Iterator[Layout]:
    try:
        postgres.programs()
    except FeropsError as error:
        pytest.skip(str(error))
    folder = Path(tempfile.mkdtemp(prefix="ferops-backup-"))  # pytest's own are closed to PostgreSQL's user
    folder.chmod(0o711)
    (folder / "project").mkdir()
    make_repository(folder / "project", scm=False)
    for name in team.SECRETS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FEROPS_POSTGRES_PORT", str(free_port()))
    with s3_server() as endpoint:
        settings = {"FEROPS_S3": "s3://faces/ours", "AWS_ENDPOINT_URL": endpoint}
        settings |= dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "any")
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield Layout(folder / "project")
    shutil.rmtree(folder)


def bucket(layout: Layout) -> Any:
    return team.s3_client(team.driver("boto3"), team.read_stores(layout))


def ask(layout: Layout, *statements: str) -> list[Any]:
    """Let the own PostgreSQL run for these statements, in each database; return the last one's rows of both."""
    ports = Ports.from_environment()
    postgres.make_cluster(layout)
    server = postgres.start(layout, ports)
    try:
        found = []
        for name, url in postgres.wait_and_make_databases(layout, ports, server).items():
            with team.connect(team.database_url(name, url)) as connection:
                for statement in statements:
                    last = connection.execute(statement)
                found.append(last.fetchall() if last.description else None)
        return found
    finally:
        processes.stop([server])


def test_what_was_lost_is_as_it_was(layout: Layout, tmp_path: Path) -> None:
    team.require_bucket(team.read_stores(layout))
    objects = {"ours/mlflow/1/a/model.onnx": b"weights", "ours/mlflow/1/b ü.txt": b"", "ours/dvc/ab/cd": b"data"}
    for key, content in objects.items():
        bucket(layout).put_object(Bucket="faces", Key=key, Body=content)
    # As Prefect's: an extension, too
    ask(layout, "CREATE TABLE versions (name text)", "INSERT INTO versions VALUES ('é')", "CREATE EXTENSION pg_trgm")
    made = backup.backup(layout, tmp_path / "saved.tar", "team")
    assert sorted(name for name in made.files if not name.startswith(".")) == [
        "databases/mlflow.dump",
        "databases/prefect.dump",
        "objects/1/a/model.onnx",
        "objects/1/b ü.txt",
    ]
    assert not any("postgres" in name for name in made.files)

    # A later state is replaced only when asked, and whole: a table of a later release does not stay
    ask(layout, "CREATE TABLE later (x int)", "INSERT INTO versions VALUES ('later')")
    with pytest.raises(FeropsError, match=r"s3://faces/ours and the database of prefect .*--overwrite"):
        backup.restore(layout, tmp_path / "saved.tar")
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    assert ask(layout, tables) == [[("later",), ("versions",)]] * 2
    backup.restore(layout, tmp_path / "saved.tar", overwrite=True)
    assert ask(layout, tables) == [[("versions",)]] * 2

    # All of it is lost, the passwords of the cluster included
    shutil.rmtree(postgres.folder(layout))
    shutil.rmtree(layout.state)
    for key in objects:
        bucket(layout).delete_object(Bucket="faces", Key=key)
    bucket(layout).delete_bucket(Bucket="faces")
    backup.restore(layout, tmp_path / "saved.tar")
    assert ask(layout, "SELECT name FROM versions") == [[("é",)]] * 2
    found = bucket(layout).list_objects_v2(Bucket="faces")["Contents"]
    assert {each["Key"] for each in found} == {key for key in objects if key.startswith("ours/mlflow/")}
    content = bucket(layout).get_object(Bucket="faces", Key="ours/mlflow/1/a/model.onnx")["Body"].read()
    assert content == b"weights"


def test_a_dump_that_cannot_be_read_leaves_the_database(layout: Layout, tmp_path: Path) -> None:
    ask(layout, "CREATE TABLE versions (name text)")
    for name in team.DATABASES:
        (tmp_path / f"{name}.dump").write_bytes(b"no dump")
    team.require_bucket(team.read_stores(layout))
    with pytest.raises(FeropsError, match="pg_restore of the database of prefect failed"):
        dumps.restore(layout, tmp_path, tmp_path / "none")
    assert ask(layout, "SELECT count(*) FROM versions") == [[(0,)]] * 2


def test_a_store_that_is_away_is_named(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(FeropsError, match=r"bucket 'faces' at http://127\.0\.0\.1:\d+ cannot be used"):
        team.require_bucket(team.read_stores(layout))
    port = free_port()
    with pytest.raises(
        FeropsError, match=rf"database of mlflow at 127\.0\.0\.1:{port}/mlflow cannot be used.*_DATABASE"
    ):
        team.require_databases({"mlflow": f"postgresql://m:geheim@127.0.0.1:{port}/mlflow"})
