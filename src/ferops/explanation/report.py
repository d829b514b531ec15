"""The pages: reports/explain/index.html, which opens without scripts, and map.html, which needs Plotly beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferops import pages
from ferops.explanation.check import CONTROLS
from ferops.explanation.drawings import class_curves, risk_coverage
from ferops.explanation.embedding import NEIGHBOURS, Projection
from ferops.explanation.gallery import Gallery
from ferops.explanation.sample import Sample
from ferops.files import write_text
from ferops.formats import figure, interval
from ferops.plots import COLOURS
from ferops.records.explain import ExplainSummary

KINDS = {
    "layer_cam": "LayerCAM, the maps shown here",
    "grad_cam": "Grad-CAM, on the network's last feature map",
    **{kind: f"control: {what}" for kind, what in CONTROLS.items()},
}

_HOVER_PX = 64


def explain_page(
    summary: ExplainSummary,
    gallery: Gallery,
    risk: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    labels: NDArray[np.intp],
    *,
    champion: Mapping[str, NDArray[np.float64]],
) -> str:
    """Return index.html.

    Args:
        risk: `(N,)` error among the n surest answers.
        probabilities: `(N, K)` of all test faces, whose `labels` are `(N,)`.
        champion: its probabilities `(N,)` of the classes that it shares; empty without a champion.
    """
    classes = tuple(summary.rankings)
    return pages.render(
        "ferops.explanation",
        "report.html.j2",
        summary=summary,
        gallery=gallery,
        kinds=KINDS,
        neighbours=NEIGHBOURS,
        risk=risk_coverage(risk),
        curves=class_curves(probabilities, labels, classes, champion),
        champion=bool(champion),
        interval=interval,
        figure=figure,
    )


def write_map(folder: Path, summary: ExplainSummary, sample: Sample, projections: Sequence[Projection]) -> None:
    """Write map.html and plotly.min.js: the maps in two and three dimensions, with the face under the pointer."""
    from plotly.offline import get_plotlyjs

    write_text(folder / "plotly.min.js", get_plotlyjs())
    colourings = _colourings(sample)
    plots = {
        f"{one.method.lower()}-{one.dimensions}": json.loads(_plot(sample, one.points, colourings).to_json())
        for one in projections
    }
    faces = [pages.image_uri(face, side_px=_HOVER_PX, kind="jpeg") for face in sample.faces]
    html = pages.render(
        "ferops.explanation",
        "map.html.j2",
        summary=summary,
        colourings=list(colourings),
        plots=plots,
        faces=faces,
        captions=[
            f"{sample.caption(row)} ({100 * sample.confidence[row]:.0f} %), {sample.index['source'].iloc[row]}"
            for row in range(len(sample))
        ],
    )
    write_text(folder / "map.html", html)


def _colourings(sample: Sample) -> dict[str, list[str]]:
    """What points can be coloured by: a value for each face."""
    names = sample.classes
    found = {
        "label": [names[label] for label in sample.labels],
        "answer": [names[answer] for answer in sample.answers],
        "right or wrong": ["right" if right else "wrong" for right in sample.answers == sample.labels],
        "source": sample.index["source"].astype(str).tolist(),
    }
    for column in sample.index.columns:
        if column.startswith("group_") and sample.index[column].notna().any():
            values = sample.index[column].astype(object).where(sample.index[column].notna(), "unknown")
            found[column.removeprefix("group_").replace("_", " ")] = [str(value) for value in values]
    return found


def _plot(sample: Sample, points: NDArray[np.float32], colourings: dict[str, list[str]]) -> Any:
    """One trace for each value of each colouring; the page shows the traces of one colouring at a time."""
    from plotly import graph_objects

    flat = points.shape[1] == 2
    kind = graph_objects.Scatter if flat else graph_objects.Scatter3d
    axes = "xy" if flat else "xyz"
    traces = []
    for colouring, values in colourings.items():
        for index, value in enumerate(_ordered(set(values), sample.classes)):
            rows = [row for row, each in enumerate(values) if each == value]
            places = {axis: points[rows, column].round(3).tolist() for column, axis in enumerate(axes)}
            traces.append(
                kind(
                    **places,
                    name=value,
                    meta=colouring,
                    mode="markers",
                    customdata=rows,
                    hoverinfo="none",
                    visible=colouring == "label",
                    marker={"size": 8 if flat else 4, "color": COLOURS[index % len(COLOURS)]},
                )
            )
    drawing = graph_objects.Figure(traces)
    no_axis = {"visible": False}
    drawing.update_layout(
        template="none",
        margin={"l": 0, "r": 0, "t": 36, "b": 0},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        xaxis=no_axis,
        yaxis=no_axis | {"scaleanchor": "x"},
        scene={"xaxis": no_axis, "yaxis": no_axis, "zaxis": no_axis},
        legend={"itemsizing": "constant"},
    )
    return drawing


def _ordered(values: set[str], classes: Sequence[str]) -> list[str]:
    """Classes in their order, so that a class has one colour whatever points are coloured by; others by name."""
    order = {name: place for place, name in enumerate(classes)}
    return sorted(values, key=lambda value: (order.get(value, len(order)), value))
