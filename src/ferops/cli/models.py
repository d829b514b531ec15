"""Verbs about models: score, compare, card, promote, withdraw, trust, package, serve, rollout, monitor, ..."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ferops import threads
from ferops.cli.base import note, project, say, say_record
from ferops.errors import FeropsError
from ferops.files import write_text
from ferops.layout import Layout

if TYPE_CHECKING:
    from ferops.config import Params
    from ferops.records.train import TrainSummary

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

    _of_several("ensemble", combine, name, members)


@verbs.command()
def soup(
    name: Annotated[str, typer.Argument(help="what the soup is called: a folder in artifacts/train")],
    ingredients: Annotated[list[str], typer.Argument(metavar="MODEL MODEL ...", help="trained models")],
) -> None:
    """Make one model of several trained from the same weights: the mean of theirs, at the cost of one."""
    from ferops.training.soup import soup as average

    _of_several("soup", average, name, ingredients)


@verbs.command()
def adjust(
    model: Annotated[str, typer.Argument(help="a trained model: a folder in artifacts/train")],
    share: Annotated[
        float | None,
        typer.Option(min=-1.0, max=1.0, help="1 as if all classes were equally frequent, below 0 the other way"),
    ] = None,
    name: Annotated[str | None, typer.Option(help="what the adjusted model is called, with --share")] = None,
) -> None:
    """Let a trained model say rare classes more often, or less, without training it again.

    Without --share, says what some shares give on the validation split, and writes nothing.
    """
    from ferops.training import adjust as adjusting

    if (share is None) != (name is None):
        raise FeropsError("--share and --name go together: ferops adjust MODEL --share 0.3 --name NAME")
    layout, params = project()
    if share is None or name is None:
        say(*adjusting.table(model, adjusting.tried(layout, params, model), params.data.classes))
        return
    make = partial(adjusting.adjust, layout, params, name, model=model, share=share)
    _write("adjust", layout, params, name, make)


def _of_several(
    kind: str, make: Callable[[Layout, Params, str, Sequence[str]], TrainSummary], name: str, parts: list[str]
) -> None:
    layout, params = project()
    threads.choose("ensemble")
    _write(kind, layout, params, name, partial(make, layout, params, name, parts))


def _write(verb: str, layout: Layout, params: Params, name: str, make: Callable[[], TrainSummary]) -> None:
    """Make a model that is not trained here, and say what it is and what comes next."""
    from ferops.orchestration.steady import steady

    with steady(layout, name):
        summary = make()
    say_record(f"{verb} {name}", summary)
    if params.export.model != name:
        say(f"next: export.model: {name} in params.yaml, and a stage in dvc.yaml (docs/ensembles.md)")


@verbs.command()
def compare(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN RUN ...", help="id, name, version, or models:/NAME@ALIAS")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="judge two models on this file of `ferops score` instead"),
    ] = None,
    page: Annotated[Path | None, typer.Option(metavar="FILE", help="with --data: write an HTML page")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="all that is known of them, as JSON")] = False,
) -> None:
    """Set runs of MLflow side by side: settings that differ, whether the figures can be compared, how each did.

    With --data, RUN RUN are two models, as `ferops score --model` takes them, such as a challenger and the champion:
    how do they do on these images, on each slice of them, and is the difference more than chance?
    """
    import shutil

    if data is not None:
        _duel(runs or [], data, page, as_json=as_json)
        return
    if page is not None:
        raise FeropsError("--page shows a comparison on labelled images: add --data FILE")

    from ferops.registry.compare import compare as side_by_side
    from ferops.registry.compare_table import table

    found = side_by_side(*project(), runs or [])
    width = shutil.get_terminal_size((120, 24)).columns  # 120 where the output is no terminal
    say(found.model_dump_json(indent=2) if as_json else table(found, width=width))


def _duel(models: list[str], data: Path, page: Path | None, *, as_json: bool) -> None:
    from contextlib import redirect_stdout

    from ferops.scoring.duel import duel
    from ferops.scoring.duel_words import html, text

    if len(models) != 2:
        raise FeropsError(f"compare --data takes two models, found {len(models)}: ferops compare A B --data FILE")
    threads.choose("score")
    with redirect_stdout(sys.stderr):  # what libraries print does not belong to the answer
        found = duel(Layout.find(or_here=True), models[0], models[1], data)
    if page is not None:
        write_text(page, html(found))
    say(found.model_dump_json(indent=2) if as_json else text(found))


@verbs.command()
def card(
    of: Annotated[str, typer.Argument(metavar="RUN", help="id, name, version, or models:/NAME@ALIAS")],
    other: Annotated[str | None, typer.Argument(metavar="RUN", help="what changed from the first to this")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="with two: the changes as JSON")] = False,
) -> None:
    """Print the model card of a version or run; of two, what changed: model, data, settings, figures and gates."""
    import shutil

    from ferops.registry.card_diff import card as written
    from ferops.registry.card_diff import card_diff
    from ferops.registry.card_words import text

    if other is None:
        if as_json:
            raise FeropsError("--json shows what changed between two cards: ferops card A B --json")
        say(written(*project(), of))
        return
    found = card_diff(*project(), of, other)
    width = shutil.get_terminal_size((120, 24)).columns
    say(found.model_dump_json(indent=2) if as_json else text(found, width=width))


@verbs.command()
def promote(
    version: Annotated[str, typer.Argument(help="a version of the registered model")],
    as_: Annotated[
        Literal["champion", "shadow", "canary"],
        typer.Option(
            "--as", help="champion: it is served; shadow: it answers too, unseen; canary: it answers some clients"
        ),
    ] = "champion",
) -> None:
    """Move the alias champion, shadow or canary to a version, as the MLflow UI does."""
    from ferops.registry.promotion import place
    from ferops.registry.promotion import promote as move

    layout, params = project()
    if as_ != "champion":
        say_record("promote", place(layout, params, version, as_))
        if as_ == "canary":
            say(f"it answers {100 * params.canary.share:g} % of the clients (canary.share)")
        say("only `ferops serve --follow` runs it. How it does: ferops rollout")
        return
    done = move(layout, params, version)
    say_record("promote", done)
    if done.synthetic and layout.starter_dvc.exists():
        note(
            f"version {done.champion} has seen only rendered faces: its labels on photographs mean nothing. It is "
            "served in place of the starter model from now on; to serve that: ferops serve --starter"
        )
    say("next: ferops package")
    say("a running service keeps its version until it is started anew, unless it was started by: ferops serve --follow")


@verbs.command()
def withdraw(
    alias: Annotated[Literal["shadow", "canary"], typer.Argument(help="which of those beside the champion")],
) -> None:
    """Take the alias shadow or canary away: `ferops serve --follow` ends that version, and the champion goes on."""
    from ferops.registry.promotion import withdraw as take_away

    say(f"version {take_away(*project(), alias)} is no {alias} any more")


@verbs.command()
def rollout(
    window: Annotated[int, typer.Option(min=1, help="images that are compared together")] = 500,
    traffic: Annotated[Path | None, typer.Option(help="folder of the service's log; by default serve.log_dir")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on standard output")] = False,
) -> None:
    """Say how the versions beside the champion do: does the shadow agree with it, and is the canary as good?"""
    from ferops.rollout.report import lines
    from ferops.rollout.report import rollout as look

    found = look(*project(), window=window, traffic=traffic)
    say(*([found.model_dump_json(indent=2)] if as_json else lines(found)))


@verbs.command()
def rollback() -> None:
    """Move the alias champion back to the version that was served before; its Bento is served again."""
    from ferops.packaging.rollback import rollback as go_back

    done, message = go_back(*project())
    say_record("rollback", done)
    say(message)
    say("a running service keeps its version until it is started anew, unless it was started by: ferops serve --follow")


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
    *,
    port: Annotated[int, typer.Option(envvar="FEROPS_SERVICE_PORT", min=1, max=65535)] = 3000,
    host: Annotated[str, typer.Option(help="an address of this machine; 0.0.0.0 lets other machines in")] = "127.0.0.1",
    root_path: Annotated[
        str, typer.Option(help="the path below which a proxy shows the service, such as /ferops")
    ] = "",
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="serve HTTPS: certificate and chain, PEM")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="its key, PEM, without a password")] = None,
    grpc_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="serve gRPC as well, at this port (service/ferops.proto)")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="serve each new champion, without a pause")] = False,
    starter: Annotated[bool, typer.Option("--starter", help="serve the starter model, whoever is champion")] = False,
) -> None:
    """Serve the champion, or the starter model until there is one; build the Bento first if it is missing."""
    from ferops.packaging.reconcile import starter_to_serve, to_serve
    from ferops.packaging.serve import Place, checked_root_path, checked_tls, require_address
    from ferops.packaging.serve import serve as start

    if follow and starter:
        raise FeropsError("--follow serves the champion and --starter does not: leave one out")
    layout, params = project()
    require_address(host, port)  # before a Bento is built
    if grpc_port is not None:
        require_address(host, grpc_port, option="--grpc-port")
    place = Place(port, host, checked_root_path(root_path), checked_tls(tls_cert, tls_key), grpc_port)
    threads.choose("serve")  # the service takes the number from its environment
    # The alias may have moved since the last package
    tag = starter_to_serve(layout, params, say=say) if starter else to_serve(layout, params, say=say)
    if starter and tag is None:
        raise FeropsError(f"{layout.starter_dvc} does not exist: this project comes without a starter model")
    start(layout, params, place, tag=tag, follow=follow)


@verbs.command()
def monitor(
    window: Annotated[int, typer.Option(min=1, help="images that are compared together")] = 500,
    reference: Annotated[
        Path | None,
        typer.Option(help="what they are compared with: end_to_end.parquet of an evaluation, or logged traffic"),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="labels that have come since: Parquet or CSV with image_id and label")
    ] = None,
    traffic: Annotated[Path | None, typer.Option(help="folder of the service's log; by default serve.log_dir")] = None,
) -> None:
    """Compare the service's traffic with the evaluation: drift, and accuracy without labels. See reports/monitor."""
    from ferops.monitoring.alert import alert
    from ferops.monitoring.monitor import monitor as watch
    from ferops.monitoring.report import lines

    layout, params = project()
    summary = watch(layout, params, window=window, reference=reference, labels=labels, traffic=traffic)
    say(*lines(summary), f"report: {layout.reports('monitor') / 'index.html'}")
    if sent := alert(layout, summary):
        say(sent)


@verbs.command()
def api_key(name: Annotated[str, typer.Argument(help="whose key it is, such as a team or a program")]) -> None:
    """Make a key for the service (serve.api_keys_file). It is shown once; the file gets its hash alone."""
    from ferops.api_keys import add_key

    layout, params = project()
    file = params.serve.api_keys_file or "api_keys.txt"
    key = add_key(layout.root / file, name)
    note(f"the key of {name}, which is shown this once; its hash is in {file}")
    if params.serve.api_keys_file is None:
        note(f"the service asks for keys once params.yaml says so: serve.api_keys_file: {file}")
    say(key)


@verbs.command(hidden=True)
def adopt(
    folder: Annotated[Path, typer.Argument(metavar="PROJECT", help="with artifacts/export and reports/evaluate")],
    name: Annotated[str, typer.Option("--as", help="starter, or models/NAME")] = "starter",
    terms: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE=TEXT", help="title, terms and citation of a source of your own, for NOTICE"),
    ] = None,
) -> None:
    """For maintainers: make the model of a project the starter, or another that ferops comes with."""
    from ferops.starter.adopt import adopt as publish

    pairs = [text.partition("=") for text in terms or []]
    if not all(source and text for source, _, text in pairs):
        raise FeropsError(f"--terms wants SOURCE=TEXT, found {', '.join(terms or [])}")
    terms_of = {source: text for source, _, text in pairs}
    say(*publish(Layout.find(or_here=True), folder, name, terms_of=terms_of))
