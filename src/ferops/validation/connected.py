"""What no split may divide: images that show the same pixels, a near-duplicate, or the same person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def connected_groups(rows: pd.DataFrame, *, by: Sequence[str] = ("cluster",)) -> NDArray[np.object_]:
    """Return a name per row that is the same exactly for rows connected by the columns `by` and by subjects.

    A subject is a person within a source; null connects nothing. The name is the first 16 hex digits of the smallest
    image_id in the group, so it depends neither on the order of the rows nor on the names of clusters and subjects.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # A bipartite graph: rows on one side, what they show (clusters, people) on the other.
    subjects = rows.groupby(["source", "subject"]).ngroup().fillna(-1)
    codes = [*(pd.factorize(rows[name])[0] for name in by), subjects.to_numpy(dtype=np.int64)]
    ends, width = [], len(rows)
    for code in codes:
        ends.append(np.where(code < 0, -1, code + width))
        width += int(code.max(initial=-1)) + 1
    start = np.tile(np.arange(len(rows)), len(ends))
    stop = np.concatenate(ends)
    start, stop = start[stop >= 0], stop[stop >= 0]
    graph = coo_array((np.ones(len(start), dtype=bool), (start, stop)), shape=(width, width))
    labels = connected_components(graph, directed=False)[1][: len(rows)]
    return rows["image_id"].astype(object).groupby(labels).transform("min").str[:16].to_numpy(dtype=object)
