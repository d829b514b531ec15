"""Verbs to start with: init, a new project; learn, from photos to a model of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ferops.cli.base import LABEL_PATTERN, NOT_BETTER, own_classes, presets_like, say

verbs = typer.Typer()


@verbs.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="made if it does not exist")] = Path(),
    preset: Annotated[
        str,
        typer.Option(help="its settings: own (your images), quick (rendered faces), ...", autocompletion=presets_like),
    ] = "own",
) -> None:
    """Make a project: settings, stages, flows, service, and the starter model, under Git and DVC."""
    from ferops.orchestration.project import init as make

    layout = make(folder, preset)
    here = "" if folder.resolve() == Path.cwd() else f"cd {folder}; "
    next_step = (
        "ferops run" if layout.data_dvc.exists() else "ferops learn PHOTOS, a folder with a folder for each class"
    )
    say(f"{folder.resolve()} is now a project with the preset {preset}; next: {here}{next_step}")


@verbs.command()
def learn(  # noqa: PLR0917
    images: Annotated[Path, typer.Argument(metavar="DIR", help="a folder or archive with a folder for each class")],
    classes: Annotated[
        str | None, typer.Option(metavar="A,B", help="the folders to use, any names (pain,no_pain); all if not given")
    ] = None,
    map_: Annotated[
        list[str] | None, typer.Option("--map", help="your words for a class: happy=froh,3; repeatable")
    ] = None,
    project: Annotated[
        Path | None, typer.Option(metavar="DIR", help="made if there is none; by default the one around this folder")
    ] = None,
    attributes: Annotated[Path | None, typer.Option(help="CSV with file, subject, ...: who is on which image")] = None,
    label_pattern: Annotated[str | None, typer.Option(metavar="REGEX", help=LABEL_PATTERN)] = None,
) -> None:
    """Train a model of your own from the starter, and say whether it is better. Exit status 4: it got no version."""
    from ferops.orchestration.learn import learn as go

    found = go(
        images,
        project=project,
        classes=own_classes(classes),
        words=map_ or (),
        attributes=attributes,
        pattern=label_pattern,
        say=say,
    )
    say(found.closing)
    if found.version is None:
        raise typer.Exit(NOT_BETTER)
