"""Verbs about data and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ferops import threads
from ferops.cli.base import LABEL_PATTERN, own_classes, presets_like, project, say
from ferops.layout import Layout

verbs = typer.Typer()


@verbs.command("import")
def import_(  # noqa: PLR0917
    source: Annotated[str, typer.Argument(help="a data set of docs/sources.md; folder for your own; or synthetic")],
    path: Annotated[Path | None, typer.Argument(help="folder or archive as published; none for synthetic")] = None,
    name: Annotated[str | None, typer.Option(help="for folder: its name in data/ (a-z, 0-9, _ and -)")] = None,
    attributes: Annotated[
        Path | None,
        typer.Option(help="for folder: CSV with file, subject, usage, label, ...; or an annotation tool's export"),
    ] = None,
    map_: Annotated[
        list[str] | None, typer.Option("--map", help="for folder: your words for a label: happy=froh,3; repeatable")
    ] = None,
    votes: Annotated[
        Path | None, typer.Option(help="for fer2013 as on Kaggle: CSV with FERPlus's votes by file")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(metavar="A,B", help="for folder: your own classes (pain,no_pain), or any for all")
    ] = None,
    label_pattern: Annotated[str | None, typer.Option(metavar="REGEX", help=LABEL_PATTERN)] = None,
    seed: Annotated[int, typer.Option(help="for synthetic")] = 7,
) -> None:
    """Bring a data set into data/ and version it with DVC."""
    from ferops.datasets.importer import import_source
    from ferops.datasets.inventory import describe_import

    layout = Layout.find(or_here=True)
    found = import_source(
        layout,
        source,
        path,
        seed=seed,
        name=name,
        attributes=attributes,
        words=map_ or (),
        classes=own_classes(classes),
        pattern=label_pattern,
        votes=votes,
    )
    say(describe_import(found))


@verbs.command()
def data() -> None:
    """List the data sets in data/ with counts, licence notes and citations."""
    from ferops.datasets.inventory import describe_data

    say(describe_data(Layout.find(or_here=True)))


@verbs.command()
def remove(source: Annotated[str, typer.Argument(help="a source in data/, as `ferops data` lists them")]) -> None:
    """Take a data set out of data/, as a new data version. It can be taken back until DVC's cache is cleaned."""
    from ferops.datasets.removal import remove as take_out

    say(*take_out(Layout.find(or_here=True), source))


@verbs.command()
def review(
    what: Annotated[str, typer.Argument(metavar="SOURCE|PATH", help="a source in data/, or images without labels")],
    model: Annotated[str | None, typer.Option(help="whose answers count, as for predict; and the starter's")] = None,
    limit: Annotated[int, typer.Option(min=1, help="the most images that a person is asked about")] = 200,
    answers: Annotated[
        Path | None,
        typer.Option(metavar="EXPORT", help="what the person said: makes a new data version"),
    ] = None,
) -> None:
    """Write the images that need a person as a task for Label Studio or CVAT; with --answers, take the labels back."""
    layout = Layout.find()
    threads.choose("review")
    if answers is not None:
        from ferops.review.answers import take

        say(*take(layout, what, answers))
        return
    from ferops.review.queue import review as write

    found = write(layout, what, model=model, limit=limit)
    say(
        f"{found.cases:,} of {found.images:,} images for a person, the most valuable first:",
        f"  asked: {' and '.join(found.models)}",
        *(f"  {count:>6,} x {kind}" for kind, count in found.kinds.most_common()),
        f"  not asked: {found.without_face:,} without a face",
        f"Label Studio: import {found.folder / 'label-studio.json'}, interface {found.folder / 'label-studio.xml'}",
        f"CVAT: upload {found.folder / 'images'}, labels {found.folder / 'cvat-labels.json'}",
        f"then: ferops review {what} --answers EXPORT",
    )


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
def across() -> None:
    """Train the candidate on each source alone and on all but each, and judge it on the test faces of every source."""
    from ferops.across import across as page

    layout, params = project()
    threads.choose("across")
    say(page(layout, params))


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
    name: Annotated[
        str,
        typer.Argument(
            help="edge, own, quick, quick-seven, quick-eight, reference (a GPU), fer2013-cpu or fer2013-gpu",
            autocompletion=presets_like,
        ),
    ],
    overwrite: Annotated[bool, typer.Option(help="discard edits made to params.yaml by hand")] = False,
) -> None:
    """Write a preset to params.yaml, the single source of settings."""
    from ferops.presets import apply_preset

    changes = apply_preset(Layout.find(or_here=True), name, overwrite=overwrite)
    say(*(f"  {change}" for change in changes), f"params.yaml now holds the preset {name}; next: dvc repro")
