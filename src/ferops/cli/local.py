"""Verbs about this machine: the pipeline as a whole, and the local servers."""

from __future__ import annotations

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
def up() -> None:
    """Start the local stack: Prefect server and worker, MLflow server."""
    from ferops.local.stack import up as start

    say(start(Layout.find(or_here=True)))


@verbs.command()
def down() -> None:
    """Stop the local stack."""
    from ferops.local.stack import down as stop

    say(stop(Layout.find(or_here=True)))


@verbs.command()
def env() -> None:
    """Print the addresses and logins of the local stack for a shell: eval "$(ferops env)"."""
    from ferops.local import access, stack

    say(access.as_shell(stack.environment(Layout.find(or_here=True))))
