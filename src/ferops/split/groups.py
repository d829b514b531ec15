"""Whether what may not be torn apart is together: images of one picture, and of one person."""

from __future__ import annotations

import pandas as pd


def leakage(joined: pd.DataFrame, *, part: str = "split") -> list[str]:
    """Return the clusters, subjects and connected rows that are in more than one value of the column `part`, by name.

    Asks the manifest's own columns, not the groups: it would find a mistake in those.
    """
    crossing = []
    for kind in ("cluster", "connected"):
        parts = joined.groupby(kind)[part].nunique()
        crossing += [f"{kind} {name}" for name in parts.index[parts > 1]]
    known = joined[joined["subject"].notna()]
    parts = known.groupby(["source", "subject"])[part].nunique()
    return crossing + [f"subject {name[1]} of {name[0]}" for name in parts.index[parts > 1]]


def together(rows: pd.DataFrame) -> dict[str, int]:
    """Return what the leakage check has to go by: clusters, clusters_of_several (images), images_in_them, subjects,
    images_with_subject, images_without_subject."""
    images = rows["cluster"].value_counts()
    with_subject = rows["subject"].notna()
    return {
        "clusters": len(images),
        "clusters_of_several": int((images > 1).sum()),
        "images_in_them": int(images[images > 1].sum()),
        "subjects": rows[with_subject].groupby(["source", "subject"]).ngroups,
        "images_with_subject": int(with_subject.sum()),
        "images_without_subject": int((~with_subject).sum()),
    }
