"""`ferops learn`: from labelled images to a model of one's own, by the stages of dvc.yaml; nothing is asked."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ferops import presets
from ferops.config import load_params
from ferops.datasets.catalogue import SOURCES
from ferops.datasets.folder import OwnClasses
from ferops.datasets.importer import NAME, import_source
from ferops.datasets.inventory import describe_import
from ferops.datasets.raw import files_of
from ferops.errors import FeropsError
from ferops.formats import interval, percent
from ferops.layout import Layout
from ferops.missing import need
from ferops.model_config import read_training_config
from ferops.orchestration.outcome import Outcome
from ferops.orchestration.project import init
from ferops.orchestration.run import run
from ferops.orchestration.sizing import Facts, Plan, plan
from ferops.records.metrics import Difference
from ferops.starter.folder import bring

PRESET = "own"


@dataclass(frozen=True)
class Learnt:
    """What came of it: the version in the registry, None if a gate failed; and the closing lines."""

    version: str | None
    closing: str


def learn(
    images: Path,
    *,
    project: Path | None,
    classes: OwnClasses,
    words: Sequence[str],
    attributes: Path | None,
    pattern: str | None = None,
    say: Callable[[str], None],
) -> Learnt:
    """Import `images`, fit the preset `own` to them, run the pipeline and compare the result with the starter.

    Args:
        images: a folder or archive with a folder for each class.
        project: a project's folder, made where there is none; None for the project around the working folder, or a new
            one beside, `NAME-model`.
        classes: the folders to use; all of them if empty.
        words, attributes, pattern: as for `ferops import folder`.
        say: is given the decisions, in lines.

    Raises:
        FeropsError: the images cannot be imported, params.yaml has edits of another preset, or a stage failed.
    """
    need("torch")
    if not images.exists():
        raise FeropsError(f"{images} does not exist. Name a folder with a folder for each class: photos/happy/1.jpg")
    name = _name(images)
    layout = _project(project, name, say)
    _settle(layout)
    say(f"Project   {layout.root.resolve()}")
    found = import_source(
        layout,
        "folder",
        images,
        seed=load_params(layout.params_file).seed,
        name=name,
        attributes=attributes,
        words=words,
        classes=classes or "any",
        pattern=pattern,
    )
    say(describe_import(found))
    bring(layout)
    decided = plan(_facts(layout, name))
    presets.change(layout, decided.changes)
    say("\n".join([*decided.reasons, f"          all of it is in {layout.params_file}"]))
    say(run(layout))
    outcome = Outcome.read(layout)
    return Learnt(outcome.registered.version, "\n".join(_closing(layout, outcome, decided)))


def _name(images: Path) -> str:
    """Return a name for data/: that of the folder, as far as it goes."""
    stem = images.resolve().name.partition(".")[0].lower()
    name = re.sub(r"[^a-z0-9_-]+", "-", stem).strip("-_")[:40]
    return name if NAME.fullmatch(name) and name not in SOURCES else "mine"


def _project(project: Path | None, name: str, say: Callable[[str], None]) -> Layout:
    if project is None:
        try:
            return Layout.find()
        except FeropsError:
            project = Path(f"{name}-model")
    if (project / "params.yaml").exists():
        return Layout(project)
    say(f"No project yet: making {project}")
    return init(project, PRESET)


def _settle(layout: Layout) -> None:
    """Bring params.yaml to the preset `own`; its edits stay where it is that already."""
    if load_params(layout.params_file).preset != PRESET:
        presets.apply_preset(layout, PRESET)


def _facts(layout: Layout, name: str) -> Facts:
    import pyarrow.parquet as pq

    labels: Counter[str] = Counter()
    people: defaultdict[str | None, set[str | None]] = defaultdict(set)  # by label; None: not named
    sides: list[int] = []
    groups = False
    for file in files_of(layout.data, name):
        columns = pq.read_schema(file).names
        table = pq.read_table(file, columns=["label", "subject", "width", "height"])
        labels.update(label for label in table["label"].to_pylist() if label)
        for label, subject in zip(table["label"].to_pylist(), table["subject"].to_pylist(), strict=True):
            people[label].add(subject or None)
        sides += [min(pair) for pair in zip(table["width"].to_pylist(), table["height"].to_pylist(), strict=True)]
        groups = groups or any(column.startswith("group_") for column in columns)
    starter = read_training_config(layout.starter).classes
    return Facts(
        source=name,
        classes=labels,
        people_of={label: len(people[label]) for label in labels if None not in people[label]},
        side_px=float(np.median(sides)),
        people=len(set().union(*people.values()) - {None}),
        groups=groups,
        starter=starter,
    )


def _closing(layout: Layout, outcome: Outcome, decided: Plan) -> list[str]:
    """Say in plain words whether to use the model or the starter."""
    metrics, registered = outcome.metrics, outcome.registered
    whole = metrics.crossvalidation
    judged = whole or metrics
    minus = judged.candidate_minus_baseline
    lines = [""]
    faces = (
        f"{judged.n:,} faces, each answered by a model that had not seen it" if whole else f"{judged.n:,} test faces"
    )
    if decided.compared:
        lines.append(
            f"On the same {faces}: yours {percent(judged.candidate.accuracy.value)} right, the starter "
            f"{percent(judged.baseline.accuracy.value)}; difference {interval(minus.accuracy, signed=True)} points. "
            "The starter may have been trained on some of them, if they are public."
        )
    else:
        lines.append(
            f"Of {faces}, {interval(judged.candidate.accuracy)} % are right: "
            f"{interval(judged.candidate_minus_chance.accuracy, signed=True)} points more than with the most frequent "
            "class for all."
        )
    if whole:
        lines.append(
            f"These figures are of {whole.folds} models, trained alike, each without one fold; yours is the first one."
        )
    here = "" if layout.root.resolve() == Path.cwd() else f"cd {layout.root}; "
    if registered.version is None:
        verdict = _verdict(minus) if decided.compared else "Your model is not good enough"
        failed = "; ".join(f"{name}: {reason}" for name, reason in registered.failed.items())
        advice = "Use the starter: ferops predict and ferops serve take it. " if decided.compared else ""
        lines.append(
            f"{verdict}, so it got no version ({failed}). {advice}What helps: more images, of more people; right "
            "labels (reports/validate/index.html)."
        )
    else:
        better = "Your model is better than the starter" if decided.compared else "Your model passed its gates"
        lines.append(f"{better}. To use it: {here}ferops promote {registered.version}; ferops serve")
    return lines


def _verdict(minus: Difference) -> str:
    low, high = minus.accuracy.low, minus.accuracy.high
    if high is not None and high < 0:
        return "The starter is better than your model"
    if low is not None and low > 0:
        return "Your model is better than the starter, but failed another gate"
    return "These images do not show that your model is better than the starter: too few, or no gain"
