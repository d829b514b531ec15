"""Verbs about data and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ferops import threads
from ferops.cli.base import project, say
from ferops.layout import Layout

verbs = typer.Typer()


@verbs.command("import")
def import_(  # noqa: PLR0917
    source: Annotated[str, typer.Argument(help="a data set of docs/sources.md; folder for your own; or synthetic")],
    path: Annotated[Path | None, typer.Argument(help="folder or archive as published; none for synthetic")] = None,
    name: Annotated[str | None, typer.Option(help="for folder: its name in data/ (a-z, 0-9, _ and -)")] = None,
    attributes: Annotated[Path | None, typer.Option(help="for folder: CSV with file, subject, usage, ...")] = None,
    votes: Annotated[
        Path | None, typer.Option(help="for fer2013 as on Kaggle: CSV with FERPlus's votes by file")
    ] = None,
    seed: Annotated[int, typer.Option(help="for synthetic")] = 7,
) -> None:
    """Bring a data set into data/ and version it with DVC."""
    from ferops.datasets.importer import import_source
    from ferops.datasets.inventory import describe_import

    layout = Layout.find(or_here=True)
    found = import_source(layout, source, path, seed=seed, name=name, attributes=attributes, votes=votes)
    say(describe_import(found))


@verbs.command()
def data() -> None:
    """List the data sets in data/ with counts, licence notes and citations."""
    from ferops.datasets.inventory import describe_data

    say(describe_data(Layout.find(or_here=True)))


@verbs.command()
def audit(
    source: Annotated[str, typer.Argument(help="a source in data/ with attributes of people: fairface, rafdb ...")],
    limit: Annotated[int | None, typer.Option(min=1, help="images drawn at random; all if not given")] = None,
) -> None:
    """Write a page on how often a face is found, by annotated group of people. No labels are needed."""
    from ferops.audit import audit as page

    layout, params = project()
    threads.choose("audit")
    say(page(layout, params, source, limit=limit))


@verbs.command()
def drift(
    before: Annotated[str, typer.Argument(metavar="REV_A", help="a Git revision of data.dvc: commit, tag or branch")],
    after: Annotated[str | None, typer.Argument(metavar="[REV_B]", help="another one; what is in data/ now")] = None,
) -> None:
    """Compare two versions of the data: rows, class shares, and how the images look. Changes nothing in data/."""
    from ferops.drift.compare import compare_versions, drift_table

    layout, params = project()
    threads.choose("drift")
    summary = compare_versions(layout, params, before, after)
    say(*drift_table(summary), f"report: {layout.reports('drift') / 'index.html'}")


@verbs.command()
def preset(
    name: Annotated[str, typer.Argument(help="quick, quick-seven, quick-eight, fer2013-cpu, edge, ...")],
    overwrite: Annotated[bool, typer.Option(help="discard edits made to params.yaml by hand")] = False,
) -> None:
    """Write a preset to params.yaml, the single source of settings."""
    from ferops.presets import apply_preset

    changes = apply_preset(Layout.find(or_here=True), name, overwrite=overwrite)
    say(*(f"  {change}" for change in changes), f"params.yaml now holds the preset {name}; next: dvc repro")
