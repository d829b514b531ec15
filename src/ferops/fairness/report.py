"""The page reports/fairness/index.html."""

from __future__ import annotations

from ferops import pages
from ferops.fairness.groups import is_behind
from ferops.formats import interval
from ferops.records.fairness import FairnessSummary, Group

WORST = 20
"""Crossings that the page shows, those with the lowest accuracy; summary.json has all."""


def name_of(group: Group) -> str:
    """Return "skin tone monk 09, age older"."""
    named = zip(group.attributes, group.values, strict=True)
    return ", ".join(f"{name} {value.replace('_', ' ')}" for name, value in named)


def page(summary: FairnessSummary) -> str:
    """Return the page."""
    crossings = sorted(summary.crossings, key=lambda group: group.accuracy.value or 0.0)[:WORST]
    return pages.render(
        "ferops.fairness",
        "report.html.j2",
        summary=summary,
        crossings=crossings,
        tables=_by_source(summary),
        name_of=name_of,
        is_behind=is_behind,
        interval=interval,
        level=summary.provenance.params["evaluate"]["confidence_level"],
    )


def _by_source(summary: FairnessSummary) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for rates in summary.unlabelled:
        found.setdefault(rates.source, []).append(rates)
    return found
