"""A PostgreSQL of the project's own, in `.postgres`, for a team stack that was given no databases.

`python -m ferops.local.postgres FOLDER PORT` becomes the server, as `ferops up` starts it. It listens on this machine
only, has no socket file, and every login needs a password (SCRAM), kept in `.ferops/private`. PostgreSQL refuses to
run as root: for root it runs as Debian's user `postgres`, or else as `nobody`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.local import processes
from ferops.local.ports import HOST, Ports
from ferops.local.processes import Process
from ferops.local.team import DATABASES, connect, database_url, driver
from ferops.orchestration.child import child_environment
from ferops.private import password

OWNER = "ferops"
"""The superuser of the cluster; each server has a role and a database of its own, by its name."""

READY_WITHIN_S = 60.0
_DEBIAN = Path("/usr/lib/postgresql")


def folder(layout: Layout) -> Path:
    return layout.root.resolve() / ".postgres"


def programs(data: Path | None = None) -> Path:
    """Return the folder of PostgreSQL's programs, of the release that made the cluster in `data` if there is one.

    Raises:
        FeropsError: PostgreSQL is not installed, or not that release.
    """
    version = data / "PG_VERSION" if data else None
    wanted = version.read_text(encoding="ascii").strip() if version and version.exists() else None
    folders = sorted(_DEBIAN.glob("*/bin"), key=lambda each: _number(each.parent.name), reverse=True)
    if found := shutil.which("postgres"):
        folders.append(Path(found).resolve().parent)
    for each in folders:
        if (each / "initdb").exists() and wanted in (None, _release(each)):
            return each
    if wanted:
        raise FeropsError(
            f"{data} was made by PostgreSQL {wanted}, whose programs are not installed. Install them (Debian: "
            f"apt-get install postgresql-{wanted}), or restore a backup with the release that is (ferops restore)"
        )
    raise FeropsError(
        "the team stack needs PostgreSQL, and its programs (initdb, postgres) were not found. Install them (Debian: "
        "apt-get install postgresql), or name a server's databases in FEROPS_PREFECT_DATABASE and "
        "FEROPS_MLFLOW_DATABASE"
    )


def make_cluster(layout: Layout) -> None:
    """Make the cluster in `.postgres`, unless there is one.

    Raises:
        FeropsError: PostgreSQL is not installed, its user cannot reach the folder, or initdb fails.
    """
    data, user = folder(layout), _user()
    tools = programs(data)
    if (data / "PG_VERSION").exists():
        return
    if user is not None:
        _require_way(data.parent, user)
    # Made beside it, as PostgreSQL's user, and renamed: a kill leaves no half of a cluster
    with tempfile.TemporaryDirectory(dir=data.parent, prefix=".postgres.", suffix=".tmp") as scratch:
        new, secret = Path(scratch) / "data", Path(scratch) / "password"
        secret.touch(mode=0o600)
        secret.write_text(password(layout, "postgres"), encoding="ascii")
        new.mkdir(mode=0o700)
        if user is not None:
            for each in (Path(scratch), new, secret):
                os.chown(each, user.pw_uid, user.pw_gid)
        initdb = [str(tools / "initdb"), "--pgdata", str(new), "--username", OWNER, "--pwfile", str(secret)]
        initdb += ["--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--data-checksums"]
        done = subprocess.run(
            initdb, capture_output=True, text=True, check=False, cwd=scratch, umask=0o077, **_as(user)
        )
        if done.returncode != 0:
            raise FeropsError(f"PostgreSQL's initdb failed: {(done.stderr or done.stdout).strip()}")
        new.rename(data)


def command(layout: Layout, ports: Ports) -> list[str]:
    """Return the arguments of Python that start the own server."""
    return ["-m", "ferops.local.postgres", str(folder(layout)), str(ports.postgres)]


def start(layout: Layout, ports: Ports) -> Process:
    """Start the own server for a while, outside a stack; `processes.stop` ends it."""
    return processes.start(
        "postgresql",
        [sys.executable, *command(layout, ports)],
        cwd=layout.root.resolve(),
        env=child_environment(),
        log=layout.state.resolve() / "logs" / "postgresql.log",
        umask=0o077,
    )


def wait_and_make_databases(layout: Layout, ports: Ports, server: Process) -> dict[str, str]:
    """Wait until the own server answers, make its roles and databases if need be, and return their addresses by name.

    Raises:
        FeropsError: it does not start, or does not know the project's password.
    """
    psycopg = driver("psycopg")
    refused: list[str] = []

    def answers() -> bool:
        try:
            connect(database_url("prefect", _address(layout, ports, OWNER, "postgres"))).close()
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                refused.append(str(error))
                return True
            return False
        return True

    processes.wait_until(answers, server, within_s=READY_WITHIN_S)
    if refused:
        raise FeropsError(
            f"{folder(layout)} has another password than {layout.state / 'private' / 'postgres'}. Bring that file back "
            "from where the project was copied, or restore a backup (ferops restore)"
        )
    with connect(database_url("prefect", _address(layout, ports, OWNER, "postgres"))) as connection:
        for name in DATABASES:
            _make_database(connection, name, password(layout, f"postgres-{name}"))
    return addresses(layout, ports)


def addresses(layout: Layout, ports: Ports) -> dict[str, str]:
    """Return the addresses of the own databases by name."""
    return {name: _address(layout, ports, name, name) for name in DATABASES}


def _make_database(connection: Any, name: str, secret: str) -> None:
    from psycopg import sql

    role = sql.Identifier(name)
    exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
    verb = "ALTER" if exists else "CREATE"
    # Hashed here: the server's log never sees the password
    hashed = connection.pgconn.encrypt_password(secret.encode(), name.encode(), b"scram-sha-256").decode()
    connection.execute(sql.SQL(verb + " ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(hashed)))
    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
        connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(role))


def _address(layout: Layout, ports: Ports, role: str, database: str) -> str:
    secret = password(layout, "postgres" if role == OWNER else f"postgres-{role}")
    return f"postgresql://{role}:{secret}@{HOST}:{ports.postgres}/{database}"


def _user() -> pwd.struct_passwd | None:
    """As whom PostgreSQL runs; None: as this user."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise FeropsError("PostgreSQL does not run as root, and there is no user postgres. Install Debian's postgresql")


def _as(user: pwd.struct_passwd | None) -> dict[str, Any]:
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _require_way(parent: Path, user: pwd.struct_passwd) -> None:
    for each in (parent, *parent.parents):
        if not each.stat().st_mode & 0o001:
            raise FeropsError(
                f"PostgreSQL does not run as root, and its user {user.pw_name} cannot pass {each}. Work as a user that "
                f"is not root, allow it (chmod o+x {each}), or name a server's databases in FEROPS_PREFECT_DATABASE "
                "and FEROPS_MLFLOW_DATABASE"
            )


def _number(release: str) -> float:
    try:
        return float(release)
    except ValueError:
        return 0.0


def _release(tools: Path) -> str:
    """Return the release of a folder of programs, as PG_VERSION writes it."""
    done = subprocess.run([tools / "postgres", "--version"], capture_output=True, text=True, check=False)
    words = done.stdout.split()
    return words[2].partition(".")[0] if len(words) > 2 else ""


def main() -> None:
    data, port = Path(sys.argv[1]), int(sys.argv[2])
    server = str(programs(data) / "postgres")
    user = _user()
    if user is not None:
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    os.chdir(data)
    settings = {"listen_addresses": HOST, "port": port, "unix_socket_directories": "", "timezone": "UTC"}
    options = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
    os.execv(server, [server, "-D", str(data), *options])


if __name__ == "__main__":
    main()
