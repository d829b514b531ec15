"""The stage `explain`: heat maps, a map of the features, and how well the confidence ranks, on the test split."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.evaluation.inputs import Data, read_data, resampler
from ferops.explanation import embedding, ranking
from ferops.explanation.check import check, verdict
from ferops.explanation.embedding import Projection
from ferops.explanation.gallery import gallery
from ferops.explanation.report import explain_page, write_map
from ferops.explanation.sample import Sample, draw
from ferops.files import atomic_folder, write_text
from ferops.layout import Layout
from ferops.model_config import ModelConfig
from ferops.provenance import provenance
from ferops.records.explain import ExplainSummary, Heat, Map
from ferops.tables import Kind, read_parquet
from ferops.training import model
from ferops.training.model import ExpressionNet


def explain(layout: Layout, params: Params) -> ExplainSummary:
    """Write artifacts/explain and reports/explain: why the candidate answered what it answered on the test split.

    Heat maps and features are of the trained weights, `artifacts/train/<export.model>`; answers and confidences are
    those of the served file, as `evaluate` wrote them.

    Raises:
        FeropsError: an input is missing, damaged, or of other data than the rest.
    """
    started = time.perf_counter()
    name = params.export.model
    net, config = model.load(layout.model(name))
    data = read_data(layout, params.evaluate, config.classes, seed=params.seed)
    answers = _answers(layout, data)
    probabilities = answers[[f"p_{label}" for label in config.classes]].to_numpy(np.float64)
    sample = draw(data, probabilities, params.explain.map_faces, seed=params.seed)
    found = embedding.features(net, sample.faces)
    neighbours = embedding.nearest(found)
    projections = embedding.projections(found, sample.labels, seed=params.seed)
    heat = _heat(net, config, data, probabilities, params)
    drawn = resampler(data.index, params.evaluate, seed=params.seed)
    selection, risk = ranking.selection(probabilities, data.test.labels, drawn)
    summary = ExplainSummary(
        provenance=provenance(layout, params),
        model=name,
        architecture=config.architecture,
        verdict=verdict(heat),
        test_faces=len(data.faces),
        faces=len(sample),
        agreement=embedding.agreement(neighbours, sample.labels),
        maps=tuple(
            Map(
                method=one.method,
                dimensions=one.dimensions,
                trustworthiness=one.trustworthiness,
                agreement=one.agreement,
            )
            for one in projections
        ),
        heat=heat,
        selection=selection,
        rankings=ranking.rankings(probabilities, data.test.labels, config.classes, drawn),
        seconds=time.perf_counter() - started,
    )
    with atomic_folder(layout.artifacts("explain")) as folder:
        _table(sample, projections).to_parquet(folder / "map.parquet", index=False)
    with atomic_folder(layout.reports("explain")) as folder:
        shown = gallery(net, sample, neighbours)
        champion = _champion(answers, config.classes)
        html = explain_page(summary, shown, risk, probabilities, data.test.labels, champion=champion)
        write_text(folder / "index.html", html)
        write_map(folder, summary, sample, projections)
        summary.write(folder / "summary.json")
    return summary


def _answers(layout: Layout, data: Data) -> pd.DataFrame:
    """Return what `evaluate` wrote of the test faces: `p_<class>`, and `champion_p_<class>` if there was a champion.

    Raises:
        FeropsError: the file is missing, damaged, or of other faces.
    """
    path = layout.artifacts("evaluate") / "predictions.parquet"
    columns = [f"p_{name}" for name in data.test.classes]
    kinds: dict[str, Kind] = {"image_id": "text", **dict.fromkeys(columns, "number or null")}
    table = read_parquet(path, kinds, made_by="ferops evaluate")
    if not np.array_equal(table["image_id"], data.index["image_id"]):
        raise FeropsError(f"{path} has answers to other faces than {layout.face_index}. Evaluate again: dvc repro")
    if not np.isfinite(table[columns].to_numpy(np.float64)).all():
        raise FeropsError(f"{path} has answers that are not finite. Evaluate again: dvc repro")
    return table


def _champion(answers: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
    """Return the champion's probability `(N,)` of each class that it shares; empty without a champion."""
    columns = {name: f"champion_p_{name}" for name in classes}
    return {name: answers[column].to_numpy(np.float64) for name, column in columns.items() if column in answers}


def _heat(
    net: ExpressionNet, config: ModelConfig, data: Data, probabilities: NDArray[np.float64], params: Params
) -> Heat | None:
    few = draw(data, probabilities, params.explain.heat_faces, seed=params.seed)
    drawn = resampler(few.index, params.evaluate, seed=params.seed)
    return check(net, config, few.faces, few.answers, drawn, seed=params.seed)


def _table(sample: Sample, projections: Sequence[Projection]) -> pd.DataFrame:
    """One row a face: its place on each map, `x2` and so on by t-SNE, `pacmap_x2` by PaCMAP."""
    places = {
        f"{'' if one.method == 't-SNE' else 'pacmap_'}{axis}{one.dimensions}": one.points[:, column]
        for one in projections
        for column, axis in enumerate("xyz"[: one.dimensions])
    }
    return sample.index[["image_id"]].assign(**places)
