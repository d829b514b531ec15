"""reports/split/index.html: one self-contained page about how the images were divided."""

from __future__ import annotations

from ferops.pages import render
from ferops.records.split import SplitSummary, Stratum
from ferops.split.assign import SPLITS

FAR_OFF = 0.02
"""A split whose share is this far from what was asked is marked: the groups did not allow better."""

MODES = {
    "drawn": "The test split was drawn.",
    "official": "The test split is the data set's own.",
    "folds": "All images were divided into folds, and one of them is the test split.",
}


def split_page(summary: SplitSummary) -> str:
    """Return the page."""
    classes = list(summary.counts["train"])
    return render(
        "ferops.split",
        "report.html.j2",
        summary=summary,
        mode=MODES[summary.mode],
        splits=SPLITS,
        classes=classes,
        far_off=FAR_OFF,
        sources=[(source, _lines(source, summary.strata, classes)) for source in sorted(summary.sources)],
        largest_fold=max((fold.rows for fold in summary.folds), default=0),
        most_groups=max(summary.group_sizes.values()),
    )


def _lines(source: str, strata: tuple[Stratum, ...], classes: list[str]) -> list[Stratum]:
    """Return the source as a whole, then its classes in their order."""
    own = sorted((one for one in strata if one.source == source), key=lambda one: classes.index(one.label))
    total = {name: sum(getattr(one, name) for one in own) for name in ("rows", *SPLITS, "dropped")}
    return [Stratum(source=source, label="all", **total), *own]
