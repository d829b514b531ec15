"""The stores of a team stack in files and back: pg_dump and pg_restore of both databases, and the bucket's objects."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.local import postgres, processes, team
from ferops.local.ports import HOST, Ports, require_free
from ferops.local.state import recorded, status
from ferops.local.team import Stores
from ferops.orchestration.child import child_environment

OBJECTS = "mlflow/"
"""Below the bucket's prefix; the data have a place of their own, and DVC's cache is in the backup."""


def dump(layout: Layout, scratch: Path) -> Iterator[tuple[str, Path]]:
    """Yield the name in the archive and a file of each part: the databases first, then every object of the bucket.

    Raises:
        FeropsError: a store cannot be read.
    """
    stores = _stores(layout)
    with _databases(layout, stores) as databases:
        for name, url in databases.items():
            file = scratch / f"{name}.dump"
            options = ["--format", "custom", "--no-owner", "--no-privileges", "--file", str(file)]
            _run(layout, "pg_dump", options, name, url)
            yield f"databases/{name}.dump", file
    client, prefix = _client(stores), _prefix(stores)
    with _explained(stores):
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=stores.bucket_name, Prefix=prefix):
            for each in page.get("Contents", []):
                file = scratch / "object"
                client.download_file(stores.bucket_name, each["Key"], str(file))
                yield f"objects/{each['Key'].removeprefix(prefix)}", file


def require_stores(layout: Layout, *, overwrite: bool) -> None:
    """Raise a FeropsError unless the stores can be used and, without `overwrite`, hold nothing yet."""
    stores = _stores(layout)
    team.require_bucket(stores)
    if overwrite:
        return
    with _explained(stores):
        found = _client(stores).list_objects_v2(Bucket=stores.bucket_name, Prefix=_prefix(stores), MaxKeys=1)
    full = [stores.bucket] if found.get("KeyCount") else []
    with _databases(layout, stores) as databases:
        for name, url in databases.items():
            with team.connect(team.database_url(name, url)) as connection:
                query = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
                if connection.execute(query).fetchone()[0]:
                    full.append(f"the database of {name}")
    if full:
        raise FeropsError(
            f"{' and '.join(full)} would be replaced. Nothing was changed; to replace what is there: "
            "ferops restore --overwrite"
        )


def restore(layout: Layout, databases: Path, objects: Path) -> None:
    """Replace both databases and add the objects of the bucket.

    Raises:
        FeropsError: a store cannot be written. Each database is replaced whole, or not at all.
    """
    stores = _stores(layout)
    client, prefix = _client(stores), _prefix(stores)
    with _explained(stores):  # before the databases, which name them
        for path in sorted(each for each in objects.rglob("*") if each.is_file()):
            key = f"{prefix}{PurePosixPath(*path.relative_to(objects).parts)}"
            client.upload_file(str(path), stores.bucket_name, key)
    with _databases(layout, stores) as urls:
        for name, url in urls.items():
            script = databases / f"{name}.sql"
            options = ["--no-owner", "--no-privileges", "--file", str(script), str(databases / f"{name}.dump")]
            _run(layout, "pg_restore", options, name, url)
            # In one transaction. With pg_restore's own --clean the tables of a later release would stay
            anew = ["--command", "DROP SCHEMA public CASCADE", "--command", "CREATE SCHEMA public"]
            once = ["--no-psqlrc", "--quiet", "--single-transaction", "--set", "ON_ERROR_STOP=1"]
            _run(layout, "psql", [*once, *anew, "--file", str(script)], name, url)


def _stores(layout: Layout) -> Stores:
    """Return those of the running stack, or those that the environment and the file of secrets name."""
    state = recorded(layout)
    if state and any(status(layout).values()) and any(each.name == "s3" for each in state.processes):
        return team.trial(state.ports)
    return team.read_stores(layout)


@contextmanager
def _databases(layout: Layout, stores: Stores) -> Iterator[Mapping[str, str]]:
    """Yield the databases' addresses; the project's own PostgreSQL is started for as long, unless it runs."""
    if stores.databases is not None:
        team.require_databases(stores.databases)
        yield stores.databases
        return
    state = recorded(layout)
    if state and any(status(layout).values()):
        yield postgres.addresses(layout, state.ports)
        return
    ports = Ports.from_environment()
    require_free(ports.postgres, variable="FEROPS_POSTGRES_PORT", what="PostgreSQL")
    postgres.make_cluster(layout)
    server = postgres.start(layout, ports)
    try:
        yield postgres.wait_and_make_databases(layout, ports, server)
    finally:
        processes.stop([server])


def _run(layout: Layout, program: str, options: list[str], name: str, address: str) -> None:
    url = team.database_url(name, address)
    tools = postgres.programs(postgres.folder(layout))
    where = {
        "PGHOST": url.host or HOST,
        "PGPORT": str(url.port or 5432),
        "PGUSER": url.username or "",
        "PGPASSWORD": url.password or "",  # never on the command line, which everybody can read
        **({"PGSSLMODE": str(url.query["sslmode"])} if "sslmode" in url.query else {}),
    }
    command = [str(tools / program), *options]
    if program != "pg_restore":  # which only writes a script here
        command += ["--no-password", "--dbname", str(url.database)]
    done = subprocess.run(command, env=child_environment() | where, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise FeropsError(f"{program} of the database of {name} failed: {done.stderr.strip()}")


def _client(stores: Stores) -> Any:
    return team.s3_client(team.driver("boto3"), stores)


def _prefix(stores: Stores) -> str:
    inside = stores.bucket.removeprefix("s3://").partition("/")[2]
    return f"{inside}/{OBJECTS}" if inside else OBJECTS


@contextmanager
def _explained(stores: Stores) -> Iterator[None]:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise FeropsError(f"the bucket {stores.bucket} failed: {error}. Try again when it answers") from error
