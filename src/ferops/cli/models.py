"""Verbs about models: score, ensemble, compare, promote, trust, accept, package, serve."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ferops import threads
from ferops.cli.base import project, say, say_record
from ferops.layout import Layout

verbs = typer.Typer()


@verbs.command()
def score(
    model: Annotated[str, typer.Option(help="weights folder, exported folder or file, or models:/NAME@ALIAS")],
    data: Annotated[Path, typer.Option(metavar="FILE", help="Parquet with the columns image and label")],
    framing: Annotated[
        Literal["auto", "whole", "aligned"],
        typer.Option(help="how faces are made: auto as the model's settings say; whole images; only found faces"),
    ] = "auto",
    tta: Annotated[
        Literal["off", "flip", "flip_zoom"] | None,
        typer.Option(help="test-time augmentation; by default as the model is served"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on standard output, nothing else")] = False,
) -> None:
    """Evaluate any model on a file of labelled images, with intervals. Nothing is trained, nothing is written."""
    from contextlib import redirect_stdout

    from ferops.scoring.score import score as evaluate
    from ferops.scoring.words import text

    threads.choose("score")
    with redirect_stdout(sys.stderr):  # what libraries print does not belong to the answer
        result = evaluate(Layout.find(or_here=True), model, data, asked=framing, tta=tta)
    say(result.model_dump_json(indent=2) if as_json else text(result))


@verbs.command()
def ensemble(
    name: Annotated[str, typer.Argument(help="what the ensemble is called: a folder in artifacts/train")],
    members: Annotated[list[str], typer.Argument(metavar="MEMBER MEMBER ...", help="trained models")],
) -> None:
    """Make one model of several trained ones: it answers the mean of their calibrated probabilities."""
    from ferops.export.ensemble import ensemble as combine
    from ferops.orchestration.steady import steady

    layout, params = project()
    threads.choose("ensemble")
    with steady(layout, name):
        summary = combine(layout, params, name, members)
    say_record(f"ensemble {name}", summary)
    if params.export.model != name:
        say(f"next: export.model: {name} in params.yaml, and a stage in dvc.yaml (docs/ensembles.md)")


@verbs.command()
def compare(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN RUN ...", help="id, name, version, or models:/NAME@ALIAS")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="all that is known of them, as JSON")] = False,
) -> None:
    """Set runs of MLflow side by side: settings that differ, whether the figures can be compared, how each did."""
    import shutil

    from ferops.registry.compare import compare as side_by_side
    from ferops.registry.compare_table import table

    found = side_by_side(*project(), runs or [])
    width = shutil.get_terminal_size((120, 24)).columns  # 120 where the output is no terminal
    say(found.model_dump_json(indent=2) if as_json else table(found, width=width))


@verbs.command()
def promote(version: Annotated[str, typer.Argument(help="a version of the registered model")]) -> None:
    """Move the alias champion to a version, as the MLflow UI does."""
    from ferops.registry.promotion import promote as move

    say_record("promote", move(*project(), version))
    say("next: ferops package")


@verbs.command()
def trust(
    key: Annotated[
        str | None, typer.Argument(metavar="[KEY]", help="what `ferops trust` prints in the other folder")
    ] = None,
) -> None:
    """Use the versions that another project folder registers and signs; without KEY, show this folder's key."""
    from ferops.registry.signing import own_key
    from ferops.registry.trust import add_key, read_trust

    layout = Layout.find(or_here=True)
    if key is not None:
        add_key(layout, key)
        say(f"trusted: {key}", f"next: git add {layout.trust}, and commit it: whoever has the file trusts this key")
        return
    say(
        f"this folder's key: {own_key(layout, make=True)}",
        *(f"trusted: {each.key} (by {each.by}, {each.at})" for each in read_trust(layout).keys),
    )


@verbs.command()
def accept(version: Annotated[str, typer.Argument(help="a version of the registered model")]) -> None:
    """Use a version that nobody trusted has signed, as one of ferops 0.1: these very files, on your word alone."""
    from ferops.registry.promotion import accept as by_hand

    layout, params = project()
    found = by_hand(layout, params, version)
    say(f"version {found.version} of {found.model} is accepted BY HAND, on your word alone:")
    say(*(f"  {digest}  {name}" for name, digest in found.files.items()))
    say(
        "Nobody whom this project trusts says who made these files, or that they passed a gate. They may now be",
        "promoted, packaged and served all the same. Other files under this number are still refused.",
        f"To take it back: remove the entry from {layout.trust}. To let colleagues use it too: commit {layout.trust}",
    )


@verbs.command()
def package() -> None:
    """Make sure that a Bento exists for the version that champion points to."""
    from ferops.packaging.reconcile import reconcile

    say(reconcile(*project()))


@verbs.command()
def serve(
    port: Annotated[int, typer.Option(envvar="FEROPS_SERVICE_PORT", min=1, max=65535)] = 3000,
    host: Annotated[str, typer.Option(help="an address of this machine; 0.0.0.0 lets other machines in")] = "127.0.0.1",
) -> None:
    """Serve the champion, or the starter model until there is one; build the Bento first if it is missing."""
    from ferops.packaging.reconcile import to_serve
    from ferops.packaging.serve import require_address
    from ferops.packaging.serve import serve as start

    layout, params = project()
    require_address(host, port)  # before a Bento is built
    threads.choose("serve")  # the service takes the number from its environment
    # The alias may have moved since the last package
    start(layout, params, port=port, host=host, tag=to_serve(layout, params, say=say))


@verbs.command(hidden=True)
def adopt(
    folder: Annotated[Path, typer.Argument(metavar="PROJECT", help="with artifacts/export and reports/evaluate")],
    name: Annotated[str, typer.Option("--as", help="starter, or models/NAME")] = "starter",
) -> None:
    """For maintainers: make the model of a project the starter, or another that ferops comes with."""
    from ferops.starter.adopt import adopt as publish

    say(*publish(Layout.find(or_here=True), folder, name))
