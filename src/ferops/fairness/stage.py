"""The stage `fairness`: groups of people on the test images, rendered pairs, and sources without labels."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.evaluation.inputs import Data, read_data, resampler
from ferops.export.runtime import Classifier
from ferops.faces.detection import Detector
from ferops.fairness import pairs
from ferops.fairness.groups import Answered, Compared, compare, is_behind
from ferops.fairness.report import name_of, page
from ferops.fairness.unlabelled import audited, rates
from ferops.files import atomic_folder, write_text
from ferops.formats import interval
from ferops.inference.predictor import Predictor
from ferops.layout import Layout
from ferops.provenance import provenance
from ferops.records.fairness import FairnessFigures, FairnessSummary, Group, GroupRates
from ferops.records.metrics import Interval
from ferops.tables import Kind, read_parquet

_ANSWERS: dict[str, Kind] = {"image_id": "text", "status": "text", "answer": "text or null"}


def fairness(layout: Layout, params: Params, *, detector: Detector | None = None) -> FairnessSummary:
    """Write artifacts/fairness and reports/fairness: does the candidate serve one group of people as well as another?

    Args:
        detector: finds the faces; by default the one that the model's config names.

    Raises:
        FeropsError: an input is missing, damaged, or of other data than the rest.
    """
    started = time.perf_counter()
    settings, minimum = params.fairness, params.evaluate.min_slice_samples
    classifier = Classifier(layout.exported)
    data = read_data(layout, params.evaluate, classifier.config.classes, seed=params.seed)
    answered = _answered(layout, params, data)
    compared = compare(answered, min_images=minimum)
    predictor = Predictor(layout.exported, detector=detector, classifier=classifier)
    table = _pairs(predictor, params)
    raws = list(audited(layout))
    unlabelled: list[GroupRates] = []
    all_done = table["person"].nunique() == settings.pairs or table.empty
    for raw in raws:
        found, done = rates(
            raw,
            predictor,
            settings.images,
            seed=params.seed,
            seconds=settings.seconds / 3 / len(raws),
            min_images=minimum,
        )
        unlabelled += found
        all_done &= done
    every = [*compared.groups, *compared.crossings]
    summary = FairnessSummary(
        provenance=provenance(layout, params),
        model=params.export.model,
        verdict=_verdict(compared),
        test_images=len(answered.images),
        min_images=minimum,
        attributes=compared.attributes,
        groups=compared.groups,
        crossings=compared.crossings,
        small_crossings=compared.small_crossings,
        worst=min(every, key=lambda group: group.accuracy.value or 0.0, default=None),
        changes=pairs.changes(
            table,
            samples=params.evaluate.bootstrap_samples,
            level=params.evaluate.confidence_level,
            seed=params.seed,
        ),
        unlabelled=tuple(unlabelled),
        without_annotations=answered.without_annotations,
        within_seconds=all_done,
        seconds=time.perf_counter() - started,
    )
    with atomic_folder(layout.artifacts("fairness")) as folder:
        table.to_parquet(folder / "pairs.parquet", index=False)
    with atomic_folder(layout.reports("fairness")) as folder:
        write_text(folder / "index.html", page(summary))
        flat(summary).write(folder / "metrics.json")
        summary.write(folder / "summary.json")
    return summary


def flat(summary: FairnessSummary) -> FairnessFigures:
    """Return the few flat numbers that `dvc metrics` prints."""

    def largest(gaps: list[Interval]) -> float | None:
        return max((gap.value for gap in gaps if gap.value is not None), default=None)

    changed = {f"changed_{change.name}": change.changed.value for change in summary.changes}
    return FairnessFigures(
        worst_group_accuracy=summary.worst.accuracy.value if summary.worst else None,
        accuracy_gap=largest([each.accuracy_gap for each in summary.attributes]),
        found_gap=largest([each.found_gap for each in summary.attributes]),
        equalised_odds=largest([each.equalised_odds for each in summary.attributes]),
        behind=sum(is_behind(group) for group in (*summary.groups, *summary.crossings)),
        **changed,
    )


def _answered(layout: Layout, params: Params, data: Data) -> Answered:
    """Return the test images as `evaluate` has answered them end to end.

    Raises:
        FeropsError: the file is missing, damaged, or of other images.
    """
    path = layout.artifacts("evaluate") / "end_to_end.parquet"
    table = read_parquet(path, _ANSWERS, made_by="ferops evaluate")
    images = data.images.reset_index(drop=True)
    if not np.array_equal(table["image_id"], images["image_id"]):
        raise FeropsError(f"{path} has answers to other images than {layout.face_index}. Evaluate again: dvc repro")
    classes = data.test.classes
    wrong_face = table["wrong_face"].fillna(False).to_numpy(bool)
    answers = pd.Categorical(table["answer"], categories=list(classes)).codes.astype(np.intp)
    return Answered(
        classes=classes,
        images=images,
        labels=pd.Categorical(images["label"], categories=list(classes)).codes.astype(np.intp),
        answers=np.where(wrong_face, -1, answers),
        found=(table["status"] != "no_face").to_numpy() & ~wrong_face,
        resampler=resampler(images, params.evaluate, seed=params.seed),
    )


def _pairs(predictor: Predictor, params: Params) -> pd.DataFrame:
    """Answer rendered pairs for two thirds of the seconds, one face at least."""
    settings, started, found = params.fairness, time.perf_counter(), []
    for rows in pairs.answers(predictor, settings.pairs, seed=params.seed):
        found.append(rows)
        if time.perf_counter() - started > 2 / 3 * settings.seconds:
            break
    columns = ["person", "expression", "change", "before", "after"]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)


def _verdict(compared: Compared) -> str:
    if not compared.attributes:
        return "The test images carry no annotations of people, so no groups can be compared."
    every = [*compared.groups, *compared.crossings]
    if not every:
        return "No group of people has enough test images to be compared."
    behind = sorted((group for group in every if is_behind(group)), key=_lost)
    if not behind:
        return f"None of {len(every)} groups and crossings of people is behind beyond what chance would show."
    named = "; ".join(_sentence(group) for group in behind[:3])
    return f"Behind beyond chance are {len(behind)} of {len(every)} groups and crossings of people: {named}."


def _lost(group: Group) -> float:
    return min(minus.value or 0.0 for minus in (group.accuracy_minus_rest, group.found_minus_rest))


def _sentence(group: Group) -> str:
    return (
        f"{name_of(group)} (accuracy {interval(group.accuracy_minus_rest, signed=True)}, "
        f"faces found {interval(group.found_minus_rest, signed=True)} points)"
    )
