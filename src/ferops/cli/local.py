"""Verbs about this machine: the pipeline as a whole, and the local servers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ferops.cli.base import say
from ferops.layout import Layout

verbs = typer.Typer()


@verbs.command()
def run() -> None:
    """Pull the embedded data if there is none, reproduce the pipeline, and say what came out."""
    from ferops.orchestration.run import run as whole

    say(whole(Layout.find()))


@verbs.command()
def up(
    stack: Annotated[
        Literal["local", "team"],
        typer.Option(envvar="FEROPS_STACK", help="local: SQLite and files; team: PostgreSQL and S3 (docs/team.md)"),
    ] = "local",
    try_s3: Annotated[
        bool, typer.Option("--try-s3", help="for a look at a team stack: moto's S3 server, emptied by `ferops down`")
    ] = False,
) -> None:
    """Start the local stack: Prefect server and worker, MLflow server."""
    from ferops.local.stack import up as start

    say(start(Layout.find(or_here=True), kind=stack, try_s3=try_s3))


@verbs.command()
def down() -> None:
    """Stop the local stack."""
    from ferops.local.stack import down as stop

    say(stop(Layout.find(or_here=True)))


@verbs.command()
def member(
    name: Annotated[str, typer.Argument(help="the login, such as anna")],
    role: Annotated[
        Literal["trainer", "reviewer"] | None, typer.Option(help="trainer: may register; reviewer: may promote")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="take the login away")] = False,
) -> None:
    """Give somebody a login of their own for a team's registry, or take it away. The team stack is up."""
    import os

    from ferops.errors import FeropsError
    from ferops.local import access, members, stack

    if (role is None) is not remove:
        raise FeropsError("say which role the login gets, --role trainer or --role reviewer, or --remove it")
    environment = stack.team_environment(Layout.find(or_here=True))
    os.environ.update(environment)
    made = members.set_member(environment["MLFLOW_TRACKING_URI"], name, role=role)
    if made is None:
        say(f"{name} has no login any more.")
        return
    login = {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": made}
    say(
        f"# The login of {name}, a {role}. It is shown once; give it to nobody else.",
        access.as_shell({"MLFLOW_TRACKING_URI": environment["MLFLOW_TRACKING_URI"]} | login),
    )


@verbs.command()
def backup(
    file: Annotated[Path, typer.Argument(help="the tar file to write; it must not exist")],
    stack: Annotated[
        Literal["local", "team"], typer.Option(envvar="FEROPS_STACK", help="whose registry: SQLite's or PostgreSQL's")
    ] = "local",
    data: Annotated[bool, typer.Option(help="DVC's cache, too; a shared store (dvc push) may hold it already")] = True,
) -> None:
    """Write registry, runs, artifacts, Bentos, DVC's cache and the signing key to one file, each with its hash."""
    from ferops.local.backup import backup as write

    made = write(Layout.find(), file, stack, data=data)
    say(
        f"{file}: {len(made.files)} files, {file.stat().st_size / 1e6:,.1f} MB, each read again and compared with its "
        "SHA-256. It holds the project's signing key: keep it where nobody else reads it."
    )


@verbs.command()
def restore(
    file: Annotated[Path, typer.Argument(help="what `ferops backup` wrote")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a registry that is there")] = False,
) -> None:
    """Bring back what a backup holds, after every file was compared with its hash."""
    from ferops.local.backup import restore as bring_back

    made = bring_back(Layout.find(or_here=True), file, overwrite=overwrite)
    say(
        f"Restored {len(made.files)} files of {made.made_at} ({made.kind} stack). The data of this commit: dvc checkout"
    )


@verbs.command()
def env() -> None:
    """Print the addresses and logins of the local stack for a shell: eval "$(ferops env)"."""
    from ferops.local import access, stack

    say(access.as_shell(stack.environment(Layout.find(or_here=True))))
