"""Verbs that are stages of dvc.yaml."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from ferops import threads
from ferops.cli.base import project, say_record
from ferops.errors import StoppedError
from ferops.layout import Layout
from ferops.orchestration.steady import steady

if TYPE_CHECKING:
    from ferops.config import Params
    from ferops.records import Record

verbs = typer.Typer()


def _run(name: str, stage: Callable[[Layout, Params], Record], layout: Layout, params: Params) -> None:
    """Run a stage on the free cores, make sure that its inputs stayed the same, and print its summary."""
    threads.choose(name)
    with steady(layout, name):
        summary = stage(layout, params)
    say_record(name, summary)


@verbs.command()
def validate() -> None:
    """Stage: decide which rows may enter; quarantine the others with a reason."""
    from ferops.datasets.versioning import require_current
    from ferops.validation.stage import validate as stage

    layout, params = project()
    require_current(layout)  # `dvc repro` has checked it; a single stage, as Prefect runs them, has not
    _run("validate", stage, layout, params)


@verbs.command()
def split() -> None:
    """Stage: assign train, val and test by cluster and subject, never by row."""
    from ferops.split.stage import split as stage

    _run("split", stage, *project())


@verbs.command()
def preprocess() -> None:
    """Stage: find, align and crop the faces."""
    from ferops.faces.stage import preprocess as stage

    _run("preprocess", stage, *project())


@verbs.command()
def train(name: Annotated[str, typer.Argument(help="a key of params.yaml: models")]) -> None:
    """Stage: train one model; a killed run resumes from its last checkpoint."""
    from ferops.training import distributed

    distributed.relaunch("train", name)
    from ferops.training.prepare import prepare
    from ferops.training.stage import run

    layout, params = project()
    if name in params.models and params.models[name].epochs == 0:
        _take(layout, params, name)
        return
    main = distributed.from_environment().main
    threads.choose(f"train {name}", say=main)
    if not main:
        with suppress(StoppedError):  # process 0 reports it, and its exit status counts
            run(prepare(layout, params, name))
        return
    from ferops.registry.watch import training_run

    with steady(layout, f"train@{name}"):
        training = prepare(layout, params, name)
        with training_run(layout, params, name, training=training.identity.digest) as watch:
            summary = run(training, on_start=watch.on_start, on_epoch=watch.on_epoch)
    if summary:
        say_record(f"train {name}", summary)


def _take(layout: Layout, params: Params, name: str) -> None:
    from ferops.training.untrained import take

    threads.choose(f"train {name}")
    with steady(layout, f"train@{name}"):
        summary = take(layout, params, name)
    say_record(f"train {name}", summary)


@verbs.command()
def export() -> None:
    """Stage: the candidate as ONNX and INT8, checked against the trained weights."""
    from ferops.export.stage import export as stage

    _run("export", stage, *project())


@verbs.command()
def evaluate() -> None:
    """Stage: evaluate the exported candidate on the test split; write the report and the model card."""
    from ferops.evaluation.stage import Champion
    from ferops.evaluation.stage import evaluate as stage
    from ferops.registry.promotion import champion
    from ferops.scratch import scratch_folder

    layout, params = project()
    with scratch_folder(layout.state, "champion") as folder:
        found = champion(layout, params, folder)
        reference = Champion(version=found[0], folder=found[1]) if found else None
        _run("evaluate", functools.partial(stage, champion=reference), layout, params)


@verbs.command()
def explain() -> None:
    """Stage: why the candidate answered what it answered: heat maps, a map of the faces, what confidence is worth."""
    from ferops.explanation.stage import explain as stage

    _run("explain", stage, *project())


@verbs.command()
def robustness() -> None:
    """Stage: test faces that get worse, and images that change in ways that should change nothing."""
    from ferops.robustness.stage import robustness as stage

    _run("robustness", stage, *project())


@verbs.command()
def fairness() -> None:
    """Stage: groups of people beside each other, and rendered faces that differ in one thing."""
    from ferops.fairness.stage import fairness as stage

    _run("fairness", stage, *project())


@verbs.command()
def register() -> None:
    """Stage: gates decide whether the candidate becomes a version with the alias challenger."""
    from ferops.registry.stage import register as stage

    _run("register", stage, *project())
