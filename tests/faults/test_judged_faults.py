"""A fault is put into a good candidate, which then goes through `evaluate` and `register`: it gets no version.

The table FAULTS says what is put in, and the sentence that a person reads.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import evaluation_project
from evaluation_project import Project, answers, change_index
from ferops import config
from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params, Rule
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.provenance import provenance
from ferops.registry import stage
from ferops.registry.connection import connect
from registry_project import make_trained, params_tree

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Judged:
    """A project on its way to the registry: faults come before `evaluate`, or between it and `register`."""

    project: Project
    params: Params

    @property
    def layout(self) -> Layout:
        return self.project.layout

    @property
    def metrics_file(self) -> Path:
        return self.layout.artifacts("evaluate") / "metrics.json"

    def export(self, logits: NDArray[np.floating[Any]]) -> None:
        """Replace the export by one that answers `logits` `(N, K)` to the test faces."""
        shutil.rmtree(self.layout.exported)
        origin = provenance(self.layout, self.params)
        evaluation_project.export(self.layout.exported, logits.astype(np.float64), temperature=2.6, origin=origin)

    def register(self) -> str:
        """Return what a person is told: the version, or each gate that failed with its reason."""
        summary = stage.register(self.layout, self.params)
        if summary.version is None:
            assert summary.alias is None
            return "; ".join(f"{name}: {reason}" for name, reason in summary.failed.items())
        return f"version {summary.version}"


def biased(judged: Judged) -> Judged:
    """One group is answered the next class, always."""
    test = judged.project.index.query("split == 'test' and row >= 0").sort_values("row")
    group = (test["group_skin_tone"] == "medium").to_numpy()
    logits = answers(judged.layout.exported).copy()
    logits[group] = np.roll(logits[group], 1, axis=1)
    judged.export(logits)
    return judged


def leaking(judged: Judged) -> Judged:
    """The people of the test split are in training, too."""
    change_index(judged.project, lambda index: index.assign(group=index["group"].str.split("-").str[-1]))
    return judged


def damaged(judged: Judged) -> Judged:
    file = judged.layout.exported / "model-int8.onnx"
    file.write_bytes(file.read_bytes()[:200])
    return judged


def mixed_up(judged: Judged) -> Judged:
    """The answers come in another order than config.json says."""
    judged.export(np.roll(answers(judged.layout.exported), 1, axis=1))
    return judged


def not_a_number(judged: Judged) -> Judged:
    logits = answers(judged.layout.exported).copy()
    logits[3] = np.nan
    judged.export(logits)
    return judged


def tiny(judged: Judged) -> Judged:
    """Twelve test faces, all right: no figure of them means anything."""
    folder = judged.layout.root.with_name("tiny")
    few = prepare(evaluation_project.build(folder, n_test=12, no_face=0, evaluate={"bootstrap_samples": 100}))
    copy_store(judged.layout.root, folder)
    return few


def change_figure(judged: Judged, name: str, end: str, value: float | None) -> None:
    tree = json.loads(judged.metrics_file.read_text(encoding="utf-8"))
    tree["candidate"][name][end] = value
    judged.metrics_file.write_text(json.dumps(tree), encoding="utf-8")


def promoted_since(judged: Judged) -> None:
    """Somebody promotes a version after the comparison."""
    client, name = connect(judged.layout), judged.params.registry.model_name
    client.create_registered_model(name)
    version = client.create_model_version(name, source="file:///nowhere", run_id=None)
    client.set_registered_model_alias(name, "champion", version.version)


def exported_since(judged: Judged) -> None:
    """The files that were judged are replaced by others."""
    judged.export(answers(judged.layout.exported) + 1e-3)


FAULTS: dict[str, tuple[Callable[[Judged], Judged] | None, Callable[[Judged], None] | None, str]] = {
    "none": (None, None, r"^version 1$"),
    "a model biased against one group": (
        biased,
        None,
        r"worst_slice: found −0\.\d+, wanted accuracy of the worst group of people, minus the whole, of at least",
    ),
    "a split that leaks": (
        leaking,
        None,
        r"groups of copies or people are in the test split and in training or validation.* would be too good",
    ),
    "an export that is damaged": (damaged, None, r"model-int8\.onnx is damaged or not an ONNX model"),
    "an export whose answers are mixed up": (
        mixed_up,
        None,
        r"beats_chance: found .* wanted lower bound of accuracy minus the accuracy of guessing above .*; macro_f1: ",
    ),
    "an answer that is NaN": (not_a_number, None, r"the exported model gives logits that are not finite"),
    "a figure that is NaN": (
        None,
        lambda judged: change_figure(judged, "accuracy", "low", math.nan),
        r"beats_chance: .*nan, not a number",
    ),
    "a figure that is missing": (
        None,
        lambda judged: change_figure(judged, "macro_f1", "value", None),
        r"macro_f1: candidate\.macro_f1\.value is None, not a number",
    ),
    "a comparison with a former champion": (
        None,
        promoted_since,
        r"the evaluation compared with no champion, but 'ferops' now has champion 1\. Evaluate again",
    ),
    "an export that nobody judged": (
        None,
        exported_since,
        r"is not what the evaluation judged: its files have changed since\. Evaluate again",
    ),
    "a test split that is tiny": (tiny, None, r"enough_samples: found 12, wanted test faces of at least 100"),
}
"""What is put in before and after `evaluate`, and what is then said."""


def copy_store(source: Path, target: Path) -> None:
    for name in ("mlflow.db", "mlflow.db.schema"):
        shutil.copy(source / name, target / name)


def prepare(project: Project) -> Judged:
    """Let the export answer nearly always right, and add what `register` reads beside the evaluation."""
    origin = provenance(project.layout, project.params)
    for name in ("baseline", "candidate"):
        make_trained(project.layout, name, made_from=origin)
    blocks = {"register": params_tree()["register"]}
    judged = Judged(project, config.parse(project.params.model_dump(mode="json", by_alias=True) | blocks))
    labels = project.labels
    right = 6 * np.eye(len(DEFAULT_CLASSES), dtype=np.float32)[labels]
    judged.export(answers(project.layout.exported) + right)
    return judged


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Judged:
    root = tmp_path_factory.mktemp("good") / "project"
    judged = prepare(evaluation_project.build(root, n_test=120, no_face=0, evaluate={"bootstrap_samples": 100}))
    copy_store(store.parent, root)
    judged.project.evaluate()
    return judged


@pytest.fixture
def candidate(good: Judged, tmp_path: Path) -> Judged:
    """A copy of the good one, evaluated."""
    root = shutil.copytree(good.layout.root, tmp_path / "project")
    project = Project(Layout(root), good.project.params, good.project.labels, good.project.index, good.project.no_face)
    return Judged(project, good.params)


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's own registry, with few of the figures: a request for each takes most of the time."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(stage, "flatten", lambda *_, **__: {})


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_person_reads(fault: str, candidate: Judged) -> None:
    before, after, sentence = FAULTS[fault]
    try:
        if before:
            candidate = before(candidate)
            candidate.project.evaluate()
        if after:
            after(candidate)
        said = candidate.register()
    except FeropsError as error:
        said = str(error)
    assert re.search(sentence, said), said
    client = connect(candidate.layout)
    versions = client.search_model_versions("name = 'ferops'")
    aliases = [client.get_model_version(each.name, each.version).aliases for each in versions]
    assert aliases.count(["challenger"]) == (fault == "none")


def test_a_figure_that_robustness_did_not_find_is_missing(candidate: Judged) -> None:
    rule = Rule(metric="robustness.passed_mirrored", reference="absolute", at_least=0.8)
    registry = candidate.params.registry.model_copy(update={"gates": {"mirrored": rule}})
    asked = Judged(candidate.project, candidate.params.model_copy(update={"registry": registry}))
    said = asked.register()
    assert said == "mirrored: robustness has not run, so there is no passed_mirrored. Run: ferops robustness"
