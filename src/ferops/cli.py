"""`ferops VERB`: one verb per stage, plus what surrounds them. Thin: it wires packages together and talks to people.

Heavy libraries are imported inside the verbs, so that `ferops --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ferops.errors import FeropsError, StoppedError
from ferops.layout import Layout

app = typer.Typer(
    help="An MLOps pipeline for facial-expression recognition.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

NO_TELEMETRY = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""ferops calls nobody: the defaults that keep its tools from doing so. A value set by the user wins."""


def main() -> None:
    """Entry point of the console script: bad input becomes one message and exit status 1."""
    for name, value in NO_TELEMETRY.items():
        os.environ.setdefault(name, value)
    try:
        app()
    except FeropsError as error:
        print(f"ferops: {error}", file=sys.stderr)
        sys.exit(1)


def _say(*lines: str) -> None:
    print("\n".join(lines), flush=True)


def _params(layout: Layout) -> Any:
    from ferops.config import load

    return load(layout.params_file)


# --- data ---------------------------------------------------------------------------------------------------------


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(help="a data set of docs/sources.md; folder for your own; or synthetic")],
    path: Annotated[Path | None, typer.Argument(help="folder or archive as published; none for synthetic")] = None,
    name: Annotated[str | None, typer.Option(help="for folder: what to call it in data/")] = None,
    attributes: Annotated[Path | None, typer.Option(help="for folder: CSV with file, subject, usage, ...")] = None,
    seed: Annotated[int, typer.Option(help="for synthetic")] = 7,
) -> None:
    """Bring a data set into data/ and version it with DVC."""
    from ferops.datasets.importer import import_source
    from ferops.datasets.inventory import describe_import

    _say(describe_import(import_source(Layout(), source, path, seed=seed, name=name, attributes=attributes)))


@app.command()
def data() -> None:
    """List the data sets in data/ with counts, licence notes and citations."""
    from ferops.datasets.inventory import describe

    _say(describe(Layout()))


@app.command()
def audit(
    source: Annotated[str, typer.Argument(help="a source in data/ with attributes of people: fairface, rafdb ...")],
    limit: Annotated[int | None, typer.Option(min=1, help="images drawn at random; all if not given")] = None,
) -> None:
    """Say how often a face is found, by each annotated group of people: a Markdown page. No labels are needed."""
    from ferops.audit import audit as page

    layout = Layout()
    _say(page(layout, _params(layout), source, limit=limit))


@app.command()
def drift(
    before: Annotated[str, typer.Argument(metavar="REV_A", help="a Git revision of data.dvc: commit, tag or branch")],
    after: Annotated[str | None, typer.Argument(metavar="[REV_B]", help="another one; what is in data/ now")] = None,
) -> None:
    """Compare two versions of the data: rows, class shares, and how the images look. Changes nothing in data/."""
    from ferops.drift.compare import drift as compare
    from ferops.drift.compare import table

    layout = Layout()
    _say(*table(compare(layout, _params(layout), before, after)), f"report: {layout.reports('drift') / 'index.html'}")


@app.command()
def preset(
    name: Annotated[str, typer.Argument(help="quick, fer2013-cpu or reference")],
    overwrite: Annotated[bool, typer.Option(help="discard edits made to params.yaml by hand")] = False,
) -> None:
    """Write a preset to params.yaml, the single source of settings."""
    from ferops import presets

    changes = presets.apply(Layout(), name, overwrite=overwrite)
    _say(*(f"  {change}" for change in changes), f"params.yaml now holds the preset {name}; next: dvc repro")


# --- stages -------------------------------------------------------------------------------------------------------


@app.command()
def validate() -> None:
    """Stage: decide which rows may enter; quarantine the others with a reason."""
    from ferops.datasets.versioning import require_current
    from ferops.validation.stage import validate as stage

    layout = Layout()
    require_current(layout)  # `dvc repro` has seen to it; a single stage, as Prefect runs them, has not
    _stage("validate", stage(layout, _params(layout)))


@app.command()
def split() -> None:
    """Stage: assign train, val and test by cluster and subject, never by row."""
    from ferops.split.stage import split as stage

    layout = Layout()
    _stage("split", stage(layout, _params(layout)))


@app.command()
def preprocess() -> None:
    """Stage: find, align and crop the faces."""
    from ferops.faces.stage import preprocess as stage

    layout = Layout()
    _stage("preprocess", stage(layout, _params(layout)))


@app.command()
def train(name: Annotated[str, typer.Argument(help="a key of params.yaml: models")]) -> None:
    """Stage: train one model; a killed run resumes from its last checkpoint."""
    from ferops.training import distributed

    distributed.relaunch("train", name)
    from ferops.registry.watch import training_run
    from ferops.training.stage import train as stage

    layout = Layout()
    params = _params(layout)
    if not distributed.from_environment().main:
        with suppress(StoppedError):  # process 0 tells, and its exit status counts
            stage(layout, params, name)
        return
    with training_run(layout, params, name) as watch:
        summary = stage(layout, params, name, on_start=watch.on_start, on_epoch=watch.on_epoch)
    _stage(f"train {name}", summary)


@app.command()
def export() -> None:
    """Stage: the candidate as ONNX and INT8, checked against the trained weights."""
    from ferops.export.stage import export as stage

    layout = Layout()
    _stage("export", stage(layout, _params(layout)))


@app.command()
def evaluate() -> None:
    """Stage: judge the exported candidate on the test split; write the report and the model card."""
    import tempfile

    from ferops.evaluation.stage import Champion
    from ferops.evaluation.stage import evaluate as stage
    from ferops.registry.promotion import champion

    layout = Layout()
    params = _params(layout)
    with tempfile.TemporaryDirectory(prefix="ferops-champion-") as folder:
        found = champion(layout, params, Path(folder))
        reference = Champion(version=found[0], folder=found[1]) if found else None
        _stage("evaluate", stage(layout, params, champion=reference).as_json())


@app.command()
def register() -> None:
    """Stage: gates decide whether the candidate becomes a version with the alias challenger."""
    from ferops.registry.stage import register as stage

    layout = Layout()
    _stage("register", stage(layout, _params(layout)))


@app.command()
def score(
    model: Annotated[str, typer.Option(help="weights folder, exported folder or file, or models:/NAME@ALIAS")],
    data: Annotated[Path, typer.Option(metavar="FILE", help="Parquet with the columns image and label")],
    framing: Annotated[
        Literal["auto", "whole", "aligned"],
        typer.Option(help="how faces are made: auto as the model's settings say; whole pictures; only found faces"),
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on standard output, nothing else")] = False,
) -> None:
    """Judge any model on a file of labelled pictures, with intervals. Nothing is trained, nothing is written."""
    import json
    from contextlib import redirect_stdout

    from ferops.scoring.score import score as judge
    from ferops.scoring.words import text

    with redirect_stdout(sys.stderr):  # what libraries print is no part of the answer
        result = judge(Layout(), model, data, asked=framing)
    _say(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) if as_json else text(result))


# --- after the pipeline -------------------------------------------------------------------------------------------


@app.command()
def run() -> None:
    """Pull the embedded data if there is none, reproduce the pipeline, and say what came out."""
    from ferops.orchestration.run import run as whole

    _say(whole(Layout()))


@app.command()
def compare(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN RUN ...", help="id, name, version, or models:/NAME@ALIAS")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="all that is known of them, as JSON")] = False,
) -> None:
    """Set runs of MLflow side by side: settings that differ, whether the figures can be compared, how each did."""
    import json
    import shutil

    from ferops.registry.compare import compare as look_up
    from ferops.registry.compare_table import table

    layout = Layout()
    found = look_up(layout, _params(layout), runs or [])
    wide = shutil.get_terminal_size((120, 24)).columns  # 120 where the output is no terminal
    _say(json.dumps(found, indent=2) if as_json else table(found, width=wide))


@app.command()
def promote(version: Annotated[str, typer.Argument(help="a version of the registered model")]) -> None:
    """Move the alias champion to a version, as the MLflow UI does."""
    from ferops.registry.promotion import promote as move

    layout = Layout()
    _say(*_table(move(layout, _params(layout), version)), "next: ferops package")


@app.command()
def package() -> None:
    """Make sure that a Bento exists for the version that champion points to."""
    from ferops.packaging.reconcile import reconcile

    layout = Layout()
    _say(reconcile(layout, _params(layout)))


@app.command()
def serve(port: Annotated[int, typer.Option(envvar="FEROPS_SERVICE_PORT")] = 3000) -> None:
    """Serve the champion, or the starter model until there is one; build the Bento first if it is missing."""
    from ferops.packaging.bento import serve as start
    from ferops.packaging.reconcile import to_serve

    layout = Layout()
    params = _params(layout)
    # The alias may have moved since the last package
    start(layout, params, port=port, tag=to_serve(layout, params, say=_say))


@app.command(hidden=True)
def adopt(
    project: Annotated[Path, typer.Argument(help="a project with artifacts/export and reports/evaluate")],
) -> None:
    """For maintainers: make the judged model of a project the starter model, and put it into the repository."""
    from ferops.starter.adopt import adopt as publish

    _say(*publish(Layout(), project))


@app.command()
def up() -> None:
    """Start the local stack: Prefect server and worker, MLflow server."""
    from ferops.local.stack import up as start

    _say(start(Layout()))


@app.command()
def down() -> None:
    """Stop the local stack."""
    from ferops.local.stack import down as stop

    _say(stop(Layout()))


def _stage(name: str, summary: dict[str, Any]) -> None:
    scalars = {key: value for key, value in summary.items() if key not in ("stage", "provenance")}
    _say(f"{name}:", *_table(scalars))


def _table(values: dict[str, Any]) -> list[str]:
    """One aligned line per scalar; lists and tables are for the reports."""
    rows = {
        key: _short(value) for key, value in values.items() if not isinstance(value, list | dict) or _is_flat(value)
    }
    width = max((len(key) for key in rows), default=0)
    return [f"  {key:<{width}}  {text}" for key, text in rows.items()]


def _is_flat(value: Any) -> bool:
    return (
        isinstance(value, dict) and 0 < len(value) <= 8 and not any(isinstance(v, list | dict) for v in value.values())
    )


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(part)}" for key, part in value.items())
    return str(value)
