"""Which test faces are tried, and how many: as many as the seconds allow."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Rows = NDArray[np.intp]


def in_order(labels: NDArray[np.intp], *, seed: int) -> Rows:
    """Return the rows `(N,)` in an order of which every beginning has each class by its share, drawn by `seed`."""
    drawn = np.random.default_rng(seed).permutation(len(labels))
    of_class = pd.Series(labels[drawn])
    place = of_class.groupby(of_class).cumcount().to_numpy() + 0.5
    count = of_class.groupby(of_class).transform("size").to_numpy()
    return np.asarray(drawn[np.argsort(place / count, kind="stable")])


def chunks(rows: Rows, size: int, *, seconds: float) -> Iterator[Rows]:
    """Yield `size` rows at a time, the first in any case; none after `seconds`."""
    started = time.perf_counter()
    for start in range(0, len(rows), size):
        if start and time.perf_counter() - started > seconds:
            return
        yield rows[start : start + size]
