"""Other ways to calibrate than one temperature, tried on the validation split and compared with it.

The served file has a temperature, which changes no answer and needs no memory but a number. A method with more freedom
would have to earn its place: on faces that it was not fitted to, and by more than chance.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from ferops.errors import FeropsError
from ferops.evaluation.inputs import Data, exported_answers
from ferops.export.runtime import Classifier
from ferops.export.temperature import FOLDS, best_temperature, source_weights
from ferops.layout import Layout
from ferops.records.metrics import CalibrationTrial, Interval
from ferops.tables import read_array

Floats = NDArray[np.float64]
Calibrate = Callable[[Floats], Floats]
"""Logits `(N, K)` -> probabilities `(N, K)`."""

_LEAST = 1e-4  # what isotonic regression calls impossible still happens; 0 would cost infinitely much
_LEVEL_95 = 1.96


def validated(layout: Layout, data: Data, classifier: Classifier) -> tuple[CalibrationTrial, ...]:
    """Return the trials of what the served file answers to the validation faces, for which the temperature was fitted.

    Raises:
        FeropsError: the faces are missing, or not those of faces.parquet.
    """
    path = layout.faces("val")
    faces = read_array(path, made_by="ferops preprocess", mmap=True)
    rows = data.everything[(data.everything["split"] == "val") & (data.everything["row"] >= 0)].sort_values("row")
    if len(rows) != len(faces):
        raise FeropsError(
            f"{layout.face_index} and {path} do not belong together: {len(rows)} rows with a face, {len(faces)} faces. "
            "Make both again: ferops preprocess"
        )
    labels = rows["label"].map(classifier.config.classes.index).to_numpy(np.int64)
    return try_calibrations(exported_answers(classifier, faces).logits, labels, rows["source"].to_numpy(str))


def try_calibrations(
    logits: NDArray[np.float32], labels: NDArray[np.int64], sources: NDArray[np.str_]
) -> tuple[CalibrationTrial, ...]:
    """Return how well each method does on fifths of the faces that it was not fitted to, each source counting alike.

    Args:
        logits: `(N, K)` of the validation faces, as `fit_temperature` takes them.
        labels: class indices `(N,)`.
        sources: names `(N,)`.

    Returns:
        A trial for each method; none where there are fewer faces than fifths.
    """
    if len(labels) < FOLDS:
        return ()
    wide, weights = logits.astype(np.float64), source_weights(sources)
    fold = np.arange(len(labels)) % FOLDS
    answers = {name: np.zeros_like(wide) for name in _METHODS}
    for each in range(FOLDS):
        out, rest = fold == each, fold != each
        for name, fit in _METHODS.items():
            answers[name][out] = fit(wide[rest], labels[rest], weights[rest])(wide[out])
    losses = {name: _losses(found, labels) for name, found in answers.items()}
    truth = np.eye(wide.shape[1])[labels]
    return tuple(
        CalibrationTrial(
            method=name,
            log_loss=float(weights @ losses[name]),
            brier=float(weights @ ((found - truth) ** 2).sum(axis=1)),
            accuracy=float(weights @ (found.argmax(axis=1) == labels)),
            changed_share=float((found.argmax(axis=1) != wide.argmax(axis=1)).mean()),
            log_loss_minus_temperature=_mean(losses[name] - losses["temperature"], weights),
        )
        for name, found in answers.items()
    )


def _none(_logits: Floats, _labels: NDArray[np.int64], _weights: Floats) -> Calibrate:
    return lambda others: np.asarray(softmax(others, axis=1))


def _temperature(logits: Floats, labels: NDArray[np.int64], weights: Floats) -> Calibrate:
    found = best_temperature(logits, labels, weights)
    return lambda others: np.asarray(softmax(others / found, axis=1))


def _vector(logits: Floats, labels: NDArray[np.int64], weights: Floats) -> Calibrate:
    """Vector scaling: a factor and an offset for each class's logit (Guo et al. 2017, section 4.2)."""
    k = logits.shape[1]
    truth = np.eye(k)[labels]

    def loss(values: Floats) -> tuple[float, Floats]:
        scaled = logits * values[:k] + values[k:]
        slope = (softmax(scaled, axis=1) - truth) * weights[:, None]
        value = float(-weights @ log_softmax(scaled, axis=1)[np.arange(len(labels)), labels])
        return value, np.concatenate([(slope * logits).sum(axis=0), slope.sum(axis=0)])

    start = np.concatenate([np.ones(k), np.zeros(k)])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * k + [(None, None)] * k).x
    return lambda others: np.asarray(softmax(others * found[:k] + found[k:], axis=1))


def _isotonic(logits: Floats, labels: NDArray[np.int64], weights: Floats) -> Calibrate:
    """Each class against the rest by isotonic regression, then shares of their sum (Zadrozny and Elkan 2002)."""
    from sklearn.isotonic import IsotonicRegression

    shares = softmax(logits, axis=1)
    curves = [
        IsotonicRegression(y_min=_LEAST, y_max=1.0, out_of_bounds="clip").fit(
            shares[:, index], labels == index, sample_weight=weights
        )
        for index in range(logits.shape[1])
    ]

    def calibrate(others: Floats) -> Floats:
        each = softmax(others, axis=1)
        raised = np.stack([curve.predict(each[:, index]) for index, curve in enumerate(curves)], axis=1)
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))

    return calibrate


_METHODS: dict[str, Callable[[Floats, NDArray[np.int64], Floats], Calibrate]] = {
    "none": _none,
    "temperature": _temperature,
    "vector": _vector,
    "isotonic": _isotonic,
}


def _losses(probabilities: Floats, labels: NDArray[np.int64]) -> Floats:
    return np.asarray(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)))


def _mean(differences: Floats, weights: Floats) -> Interval:
    """The weighted mean of paired differences, with a 95 % interval as if faces were independent."""
    mean = float(weights @ differences)
    if not differences.any():
        return Interval(value=0.0, low=0.0, high=0.0)
    error = _LEVEL_95 * float(np.sqrt((weights**2 * (differences - mean) ** 2).sum()))
    return Interval(value=mean, low=mean - error, high=mean + error)
