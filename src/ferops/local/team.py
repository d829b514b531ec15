"""The stores of a team stack: PostgreSQL databases and an S3 bucket, named by the environment or a file of secrets.

    FEROPS_PREFECT_DATABASE, FEROPS_MLFLOW_DATABASE   postgresql://USER:PASSWORD@HOST:PORT/DATABASE
    FEROPS_S3                                         s3://BUCKET or s3://BUCKET/PREFIX
    AWS_ENDPOINT_URL, AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN

`.ferops/private/team.env` holds them as lines NAME=VALUE; a variable of the environment wins. They reach the two
servers, through their environment, and nobody else: the worker, flows, runs and Bentos ask the servers.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.local.ports import Ports

if TYPE_CHECKING:
    from sqlalchemy import URL

DATABASES = ("prefect", "mlflow")
S3 = "FEROPS_S3"
REGION = "us-east-1"
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_S3_CLIENT = ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", *_CREDENTIALS)
ANSWERS_WITHIN_S = 5


def database_variable(name: str) -> str:
    return f"FEROPS_{name.upper()}_DATABASE"


SECRETS = (*map(database_variable, DATABASES), S3)
"""What the worker and its flows do not get."""


@dataclass(frozen=True)
class Stores:
    """Where a team stack keeps what it must not lose.

    Attributes:
        databases: address by name (`prefect`, `mlflow`); None: ferops runs a PostgreSQL of the project's own.
        bucket: s3://BUCKET[/PREFIX].
        s3: the variables of an S3 client.
    """

    databases: Mapping[str, str] | None = field(repr=False)
    bucket: str
    s3: Mapping[str, str] = field(repr=False)

    @property
    def bucket_name(self) -> str:
        return self.bucket.removeprefix("s3://").partition("/")[0]


def secrets_file(layout: Layout) -> Path:
    return layout.state / "private" / "team.env"


def read_stores(layout: Layout) -> Stores:
    """Return the stores that the environment and `.ferops/private/team.env` name.

    Raises:
        FeropsError: no bucket or only one database is named, an address is none of its kind, or others may read the
            file.
    """
    given = {**_from_file(secrets_file(layout)), **os.environ}
    urls = {name: given.get(database_variable(name), "") for name in DATABASES}
    if any(urls.values()) and not all(urls.values()):
        missing = database_variable(next(name for name in DATABASES if not urls[name]))
        raise FeropsError(
            f"{missing} is not set, but the other database is. Name both, or none: then ferops starts a PostgreSQL of "
            "the project's own"
        )
    for name, url in urls.items():
        if url:
            database_url(name, url)
    bucket = given.get(S3, "").rstrip("/")
    if not bucket:
        raise FeropsError(
            f"the team stack keeps artifacts in an S3 store, and {S3} names none. Write {S3}=s3://BUCKET and, unless "
            "the machine has them already, AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to "
            f"{secrets_file(layout)} (mode 600). For a look without a store: ferops up --stack team --try-s3"
        )
    if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w.-]+)*", bucket):
        raise FeropsError(f"{S3} is {bucket!r}; supported is s3://BUCKET or s3://BUCKET/PREFIX")
    s3 = {name: given[name] for name in _S3_CLIENT if given.get(name)}
    return Stores(urls if all(urls.values()) else None, bucket, {"AWS_DEFAULT_REGION": REGION} | s3)


def trial(ports: Ports) -> Stores:
    """Return stores for a look: a PostgreSQL of the project's own, and a bucket of moto's S3 server on this machine."""
    driver("moto.server")
    keys = dict.fromkeys(_CREDENTIALS[:2], "trial")  # moto takes any
    return Stores(None, "s3://ferops", {"AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": ports.s3_url, **keys})


def database_url(name: str, text: str) -> URL:
    """Return an address as SQLAlchemy takes it. Raises FeropsError: it is none of a PostgreSQL database."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    supported = "supported is postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:  # the text holds a password: it is not shown
        raise FeropsError(f"{database_variable(name)} is no address of a database; {supported}") from error
    if url.get_backend_name() not in ("postgresql", "postgres") or not url.database or not url.host:
        shown = url.render_as_string(hide_password=True)
        raise FeropsError(f"{database_variable(name)} is {shown!r}; {supported}")
    return url.set(drivername="postgresql")


def server_environment(name: str, stores: Stores, databases: Mapping[str, str]) -> dict[str, str]:
    """Return what the server `name` needs to use its stores."""
    url = database_url(name, databases[name])
    if name == "prefect":
        # asyncpg knows libpq's sslmode as ssl
        query = {("ssl" if key == "sslmode" else key): value for key, value in url.query.items()}
        url = url.set(drivername="postgresql+asyncpg", query=query)
        return {"PREFECT_SERVER_DATABASE_CONNECTION_URL": url.render_as_string(hide_password=False)}
    url = url.set(drivername="postgresql+psycopg")
    endpoint = stores.s3.get("AWS_ENDPOINT_URL")
    return {
        **stores.s3,
        **({"MLFLOW_S3_ENDPOINT_URL": endpoint} if endpoint else {}),
        database_variable(name): url.render_as_string(hide_password=False),
        S3: stores.bucket,
    }


def require_databases(databases: Mapping[str, str]) -> None:
    """Raise a FeropsError unless each database can be used."""
    psycopg = driver("psycopg")
    for name, text in databases.items():
        url = database_url(name, text)
        try:
            connect(url).close()
        except psycopg.Error as error:
            raise FeropsError(
                f"the database of {name} at {url.host}:{url.port or 5432}/{url.database} cannot be used: "
                f"{_first_line(error)}. Start it, or correct {database_variable(name)}"
            ) from error


def connect(url: URL) -> Any:
    """Return a psycopg connection."""
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return driver("psycopg").connect(plain, connect_timeout=ANSWERS_WITHIN_S, autocommit=True)


def require_bucket(stores: Stores) -> bool:
    """Make the bucket if it does not exist, and return whether it was made.

    Raises:
        FeropsError: the store does not answer, or refuses the keys.
    """
    boto3 = driver("boto3")
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client = s3_client(boto3, stores)
        try:
            client.head_bucket(Bucket=stores.bucket_name)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            client.create_bucket(Bucket=stores.bucket_name)
            return True
    except (BotoCoreError, ClientError, ValueError) as error:
        where = stores.s3.get("AWS_ENDPOINT_URL", "Amazon S3")
        raise FeropsError(
            f"the bucket {stores.bucket_name!r} at {where} cannot be used: {_first_line(error)}. Check {S3}, "
            "AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    return False


def s3_client(boto3: Any, stores: Stores) -> Any:
    from botocore.config import Config

    s3 = stores.s3
    return boto3.client(
        "s3",
        endpoint_url=s3.get("AWS_ENDPOINT_URL"),
        region_name=s3["AWS_DEFAULT_REGION"],
        aws_access_key_id=s3.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=s3.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=s3.get("AWS_SESSION_TOKEN"),
        config=Config(connect_timeout=ANSWERS_WITHIN_S, read_timeout=4 * ANSWERS_WITHIN_S, retries={"max_attempts": 1}),
    )


def driver(name: str) -> Any:
    """Return a module of the extra `team`. Raises FeropsError: it is not installed."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise FeropsError(f"the team stack needs the package {name}: pip install 'ferops[team]'") from error


def _from_file(file: Path) -> dict[str, str]:
    try:
        mode, text = file.stat(), file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise FeropsError(f"{file} cannot be read: {error}") from error
    if stat.S_IMODE(mode.st_mode) & 0o077 or mode.st_uid not in (os.geteuid(), 0):
        raise FeropsError(f"other users may read or write {file}, which holds passwords: chmod 600 {file}")
    known, found = {*SECRETS, *_S3_CLIENT}, {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if not equals or name not in known:
            raise FeropsError(
                f"{file}, line {number}, sets none of the known variables. Supported are lines NAME=VALUE, NAME one "
                f"of: {', '.join(sorted(known))}"
            )
        found[name] = value.strip("'\"")
    return found


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
