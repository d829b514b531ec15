"""Check the heat maps against controls, and against a network that has learnt nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ferops.evaluation.bootstrap import Resampler
from ferops.explanation.deletion import CELLS, Curves, centre_maps, curves, random_maps
from ferops.explanation.heat import heat_maps
from ferops.model_config import ModelConfig
from ferops.records.explain import Heat, HeatCheck
from ferops.training import model
from ferops.training.model import ExpressionNet

CONTROLS = {
    "centre": "a spot in the middle of the face",
    "unlearnt": "maps of the same network with random weights",
    "random": "noise",
}
"""Maps that know nothing of what was learnt."""


def check(
    net: ExpressionNet,
    config: ModelConfig,
    faces: NDArray[np.uint8],
    answers: NDArray[np.intp],
    resampler: Resampler,
    *,
    seed: int,
) -> Heat | None:
    """Compare LayerCAM and Grad-CAM of `faces` `(N, S, S, 3)` with the controls, by deletion and insertion.

    Args:
        answers: `(N,)` the classes that the network answers.
        resampler: draws the N faces' clusters.

    Returns:
        None for a network without a spatial feature map.
    """
    layer_cam = heat_maps(net, faces, answers)
    grad_cam = heat_maps(net, faces, answers, method="grad_cam")
    unlearnt = heat_maps(model.from_config(config).eval(), faces, answers)
    if layer_cam is None or grad_cam is None or unlearnt is None:
        return None
    n, size_px = faces.shape[:2]
    kinds = {
        "layer_cam": layer_cam,
        "grad_cam": grad_cam,
        "centre": centre_maps(n, size_px),
        "unlearnt": unlearnt,
        "random": random_maps(n, size_px, seed=seed),
    }
    followed = {kind: curves(net, faces, answers, maps, seed=seed) for kind, maps in kinds.items()}
    return Heat(
        faces=n,
        checks={kind: _compare(one, followed["layer_cam"], resampler) for kind, one in followed.items()},
        same_without_learning=_likeness(layer_cam, unlearnt),
    )


def verdict(heat: Heat | None) -> str:
    """Return a sentence: can the heat maps be used?"""
    if heat is None:
        return "There are no heat maps: this network has no spatial feature map."
    not_beaten = [what for kind, what in CONTROLS.items() if not (heat.checks[kind].lead.low or 0.0) > 0]
    if not_beaten:
        return (
            "Do not trust the heat maps of this model: they mark what decides no better than "
            f"{' and '.join(not_beaten)}."
        )
    *first, last = CONTROLS.values()
    return f"The heat maps mark what decides better than {', '.join(first)} and {last}."


def _compare(one: Curves, layer_cam: Curves, resampler: Resampler) -> HeatCheck:
    rows = np.arange(len(one.gap))
    values = np.stack([one.gap, layer_cam.gap - one.gap, np.ones(len(rows))], axis=1)
    gap, lead, faces = resampler.totals(values, rows).T
    clusters = resampler.clusters_in(rows)
    return HeatCheck(
        deletion=float(one.deletion.mean()),
        insertion=float(one.insertion.mean()),
        gap=resampler.interval(gap / faces, clusters=clusters, share=False),
        lead=resampler.interval(lead / faces, clusters=clusters, share=False),
    )


def _likeness(maps: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    """Return the mean rank correlation of two sets of maps `(N, S, S)`, by cells; a map without heat correlates 0."""
    from scipy.stats import rankdata

    first, second = (rankdata(_cells(each), axis=1) for each in (maps, others))
    first, second = (each - each.mean(axis=1, keepdims=True) for each in (first, second))
    scale = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    return float(((first * second).sum(axis=1) / np.where(scale > 0, scale, 1.0)).mean())


def _cells(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    step = np.linspace(0, maps.shape[1] - 1, CELLS).round().astype(int)
    return maps[:, step][:, :, step].reshape(len(maps), -1)
