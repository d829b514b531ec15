"""The stage `robustness`: test faces that get worse, and images that change in ways that should change nothing."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ferops.config import Params
from ferops.evaluation.inputs import Data, exported_answers, read_data, resampler
from ferops.export.runtime import Classifier
from ferops.faces.detection import Detector
from ferops.files import atomic_folder, write_text
from ferops.formats import interval, percent
from ferops.inference.predictor import Predictor
from ferops.layout import Layout
from ferops.provenance import provenance
from ferops.records.robustness import Behaviour, RobustnessFigures, RobustnessSummary
from ferops.robustness import behaviour as tests
from ferops.robustness.conditions import everything
from ferops.robustness.curves import Answer, Figures, Tried, attempt, figures, worst
from ferops.robustness.images import MOST, Images, neutral_images, test_images
from ferops.robustness.report import page, words
from ferops.robustness.sample import chunks, in_order
from ferops.training import model

_FOR_FACES, _FOR_BEHAVIOUR, _FOR_NEUTRAL = 0.6, 0.3, 0.1
"""How the seconds are shared out."""

_BATCH = 64
_CHUNK = 5  # images


def robustness(layout: Layout, params: Params, *, detector: Detector | None = None) -> RobustnessSummary:
    """Write artifacts/robustness and reports/robustness: how the exported candidate answers to worse test faces.

    Args:
        detector: finds the faces of the behaviour tests; by default the one that the model's config names.

    Raises:
        FeropsError: an input is missing, damaged, or of other data than the rest.
    """
    started = time.perf_counter()
    settings = params.robustness
    classifier = Classifier(layout.exported)
    data = read_data(layout, params.evaluate, classifier.config.classes, seed=params.seed)
    rows = in_order(data.test.labels, seed=params.seed)[: settings.faces]
    how = everything(params.preprocess.margin)
    tried = attempt(
        data.faces,
        data.test.labels,
        rows,
        how,
        candidate=_candidate(classifier),
        baseline=_baseline(layout, data.test.classes),
        seed=params.seed,
        seconds=_FOR_FACES * settings.seconds,
    )
    found = figures(tried, resampler(data.index.iloc[tried.rows], params.evaluate, seed=params.seed))
    predictor = Predictor(layout.exported, detector=detector, classifier=classifier)
    behaviours, images, all_images = _behaviours(layout, params, data, predictor)
    summary = RobustnessSummary(
        provenance=provenance(layout, params),
        model=params.export.model,
        verdict=_verdict(found),
        test_faces=len(data.faces),
        faces=len(tried.rows),
        images=images,
        within_seconds=len(tried.rows) == len(rows) and all_images,
        clean=found.clean,
        baseline_clean=found.baseline_clean,
        corrupted=found.corrupted,
        loss=found.loss,
        met=found.met,
        mean_corruption_error=found.mean_corruption_error,
        relative_mean_corruption_error=found.relative_mean_corruption_error,
        worst=tuple(curve.name for curve in worst(found.curves)),
        curves=found.curves,
        behaviours=behaviours,
        seconds=time.perf_counter() - started,
    )
    with atomic_folder(layout.artifacts("robustness")) as folder:
        _table(data, tried).to_parquet(folder / "answers.parquet", index=False)
    with atomic_folder(layout.reports("robustness")) as folder:
        write_text(folder / "index.html", page(summary, data.faces[tried.rows[0]], how, seed=params.seed))
        flat(summary).write(folder / "metrics.json")
        summary.write(folder / "summary.json")
    return summary


def flat(summary: RobustnessSummary) -> RobustnessFigures:
    """Return the few flat numbers that `dvc metrics` prints."""
    return RobustnessFigures(
        clean_accuracy=summary.clean.value,
        corrupted_accuracy=summary.corrupted.value,
        met_accuracy=summary.met.value,
        mean_corruption_error=summary.mean_corruption_error.value,
        faces=summary.faces,
        images=summary.images,
        **{curve.name: curve.mean.value for curve in summary.curves},
        **{f"passed_{one.name}": one.passed.value for one in summary.behaviours},
    )


def _candidate(classifier: Classifier) -> Answer:
    return lambda faces: exported_answers(classifier, faces).logits.argmax(axis=1)


def _baseline(layout: Layout, classes: tuple[str, ...]) -> Answer:
    """The baseline's trained weights; where it has other classes, too, the best of `classes`."""
    net, config = model.load(layout.model("baseline"))
    columns = [config.classes.index(name) for name in classes]

    def answer(faces: NDArray[np.uint8]) -> NDArray[np.intp]:
        with torch.inference_mode():
            starts = range(0, len(faces), _BATCH)
            logits = [net(torch.from_numpy(faces[start : start + _BATCH])).numpy() for start in starts]
        return np.asarray(np.concatenate(logits)[:, columns].argmax(axis=1))

    return answer


def _behaviours(
    layout: Layout, params: Params, data: Data, predictor: Predictor
) -> tuple[tuple[Behaviour, ...], int, bool]:
    """Return the tests, how many images they began with, and whether these are all that are asked for."""
    most, seconds = min(params.robustness.faces, MOST), params.robustness.seconds
    images = test_images(layout, data, most, seed=params.seed)
    found = [
        tests.behave(predictor, [images.pixels[row] for row in chunk])
        for chunk in chunks(np.arange(len(images.pixels)), _CHUNK, seconds=_FOR_BEHAVIOUR * seconds)
    ]
    passed = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    tried = len(passed["mirrored"])
    meanings = {name: meaning for name, (meaning, _) in tests.INVARIANCES.items()} | {"upside_down": tests.UPSIDE_DOWN}
    table = [
        _behaviour(name, meanings[name], values, images, params, reason="no face was found in any image")
        for name, values in passed.items()
    ]
    done = tried == len(images.pixels)
    if "anger" in data.test.classes:
        neutral = neutral_images(layout, data, most, seed=params.seed)
        calm = [
            tests.not_anger(predictor, [neutral.pixels[row] for row in chunk])
            for chunk in chunks(np.arange(len(neutral.pixels)), _CHUNK, seconds=_FOR_NEUTRAL * seconds)
        ]
        values = np.concatenate(calm) if calm else np.zeros(0)
        reason = "the sources have no image labelled neutral of a person outside the training"
        table.append(_behaviour("neutral", tests.NEUTRAL, values, neutral, params, reason=reason))
        done &= len(values) == len(neutral.pixels)
    return tuple(table), tried, done


def _behaviour(
    name: str, meaning: str, passed: NDArray[np.float64], images: Images, params: Params, *, reason: str
) -> Behaviour:
    draws = resampler(images.rows.iloc[: len(passed)], params.evaluate, seed=params.seed)
    return tests.behaviour(name, meaning, passed, draws, reason=reason)


def _verdict(found: Figures) -> str:
    first, second, third = (words(curve.name) for curve in worst(found.curves))
    return (
        f"{percent(found.clean.value)} of the answers are right on the faces as they are, "
        f"{percent(found.corrupted.value)} under the corruptions: a loss of {interval(found.loss)} points. "
        f"Most is lost to {first}, {second} and {third}."
    )


def _table(data: Data, tried: Tried) -> pd.DataFrame:
    """One row for each face, condition and severity: whether the candidate was right."""
    n, conditions, severities = tried.worse.shape
    each = np.indices((n, conditions, severities)).reshape(3, -1)
    return pd.DataFrame(
        {
            "image_id": data.index["image_id"].to_numpy()[tried.rows][each[0]],
            "condition": np.array(tried.names)[each[1]],
            "severity": (each[2] + 1).astype(np.int32),
            "right": tried.worse.astype(bool).reshape(-1),
        }
    )
