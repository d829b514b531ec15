"""What may not be torn apart: images that show the same pixels, a near-duplicate, or the same person."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def components(rows: pd.DataFrame) -> NDArray[np.object_]:
    """Return a name per row that is the same exactly for rows connected by clusters and subjects (within a source).

    The name is the first 16 hex digits of the smallest image_id in the component, so it depends neither on the order
    of the rows nor on what the clusters and subjects are called.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # A bipartite graph: rows on one side, what they show (clusters, people) on the other.
    subjects = rows.groupby(["source", "subject"]).ngroup().fillna(-1)  # no subject: no tie
    codes = [pd.factorize(rows["cluster"])[0], subjects.to_numpy(dtype=np.int64)]
    ends, width = [], len(rows)
    for code in codes:
        ends.append(np.where(code < 0, -1, code + width))
        width += int(code.max(initial=-1)) + 1
    start = np.tile(np.arange(len(rows)), len(ends))
    stop = np.concatenate(ends)
    start, stop = start[stop >= 0], stop[stop >= 0]
    graph = coo_array((np.ones(len(start), dtype=bool), (start, stop)), shape=(width, width))
    labels = connected_components(graph, directed=False)[1][: len(rows)]
    return rows["image_id"].groupby(labels).transform("min").str[:16].to_numpy(dtype=object)


def leakage(joined: pd.DataFrame, *, part: str = "split") -> list[str]:
    """Return the clusters and subjects that have rows in more than one value of the column `part`, by name.

    Asks the manifest's own columns, not the components: it would find a mistake in those.
    """
    parts_of_cluster = joined.groupby("cluster")[part].nunique()
    known = joined[joined["subject"].notna()]
    parts_of_subject = known.groupby(["source", "subject"])[part].nunique()
    crossing = [f"cluster {name}" for name in parts_of_cluster.index[parts_of_cluster > 1]]
    return crossing + [f"subject {name[1]} of {name[0]}" for name in parts_of_subject.index[parts_of_subject > 1]]


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
