"""Whether what no split may divide is together: images of one cluster, and of one person."""

from __future__ import annotations

import pandas as pd

from ferops.records.split import LeakageCheck


def leakage(joined: pd.DataFrame, *, column: str = "split") -> list[str]:
    """Return the clusters, subjects and connected rows that have more than one value of `column`, by name.

    Reads the manifest's own columns, not the groups, so that it would find an error in those.
    """
    crossing = []
    for kind in ("cluster", "connected"):
        values = joined.groupby(kind)[column].nunique()
        crossing += [f"{kind} {name}" for name in values.index[values > 1]]
    subjects = joined.groupby(["source", "subject"])[column].nunique()
    return crossing + [f"subject {subject} of {source}" for source, subject in subjects.index[subjects > 1]]


def leakage_check(rows: pd.DataFrame) -> LeakageCheck:
    """Return what the leakage check compares."""
    images = rows["cluster"].value_counts()
    with_subject = rows["subject"].notna()
    return LeakageCheck(
        clusters=len(images),
        clusters_of_several=int((images > 1).sum()),
        images_in_them=int(images[images > 1].sum()),
        subjects=rows[with_subject].groupby(["source", "subject"]).ngroups,
        images_with_subject=int(with_subject.sum()),
        images_without_subject=int((~with_subject).sum()),
    )
