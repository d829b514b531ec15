"""reports/split/index.html: one page for people, self-contained, that says how the images were divided."""

from __future__ import annotations

from typing import Any

from ferops.classes import DEFAULT_CLASSES
from ferops.split.assign import SPLITS

FAR_OFF = 0.02
"""A split whose share is this far from what was asked is marked: the groups did not allow better."""

MODES = {
    "drawn": "The test split was drawn.",
    "official": "The test split is the data set's own.",
    "folds": "All images were dealt into folds, and one of them is the test split.",
}


def page(summary: dict[str, Any]) -> str:
    """Return the page for a summary of `shares.describe`, with stage and provenance."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("ferops.split", "."), autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"percent": _percent, "points": _points, "number": _number}
    return environment.get_template("page.html.j2").render(
        summary=summary,
        provenance=summary["provenance"],
        mode=MODES[summary["mode"]],
        splits=SPLITS,
        classes=DEFAULT_CLASSES,
        far_off=FAR_OFF,
        sources=_by_source(summary["strata"]),
        largest_fold=max((fold["rows"] for fold in summary["folds"]), default=0),
        most_groups=max(summary["group_sizes"].values()),
    )


def _by_source(strata: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of each source: the whole, then its classes in the order of DEFAULT_CLASSES."""
    keys = ("rows", *SPLITS, "dropped")
    found = []
    for source in sorted({row["source"] for row in strata}):
        own = {row["label"]: row for row in strata if row["source"] == source}
        total = {key: sum(row[key] for row in own.values()) for key in keys}
        classes = [own[label] for label in DEFAULT_CLASSES if label in own]
        found.append({"source": source, "lines": [{"label": "all", **total}, *classes]})
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(difference: float) -> str:
    return f"{round(100 * difference, 1) + 0.0:+.1f}"  # never -0.0


def _number(value: int) -> str:
    return f"{value:,}"
