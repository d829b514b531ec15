"""Near-duplicates: recompressed, resized, mirrored, slightly cropped, turned or brightened copies of one image.

Two steps, because tight face crops all look alike from afar. Each image is a point made of its lowest cosine
frequencies, and a graph index finds the few nearest points, of the image and of its mirror image: the cost grows with
N log N, not with the square. Each pair found is then aligned and compared closely (`similarity.detail_correlation`).

Low cosine frequencies as a signature: Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010
(here with their values instead of one bit each). The index: Malkov and Yashunin, Efficient and Robust Approximate
Nearest Neighbor Search Using Hierarchical Navigable Small World Graphs, TPAMI 2020, in faiss. docs/duplicates.md says
what was measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.fft import dctn

from ferops import threads
from ferops.validation.similarity import detail_correlation

THUMBNAIL_PX = 32
FREQUENCIES = 6
"""Cosine frequencies 0 to 5 in both directions: a crop of 8 % moves the fifth by a third of its period, no more."""
WHITENING = 0.75
"""Power of the standard deviation that each coefficient is divided by. At 0 the lowest frequencies drown the others; at
1 an 8 % crop, which stirs the highest ones most, falls below CANDIDATE_COSINE twice as often."""
NEIGHBOURS = 8
CANDIDATE_COSINE = 0.8
"""Nearest neighbours whose signatures are further apart are not compared closely. Of 300 FER2013 images each, 98 % of
the copies turned by 4 degrees lay above 0.94, cropped by 4 % above 0.91, cropped by 8 % above 0.77."""
GRAPH_LINKS = 16
GRAPH_BREADTH = 64
BLOCK = 4096

Thumbnails = NDArray[np.uint8]


def thumbnail(grey: NDArray[np.uint8]) -> Thumbnails:
    """Shrink a grey image `(H, W)` to uint8 `(32, 32)`, whatever its proportions."""
    shrinks = min(grey.shape) >= THUMBNAIL_PX
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=how), dtype=np.uint8)


def near_pairs(thumbnails: Thumbnails, *, threshold: float) -> pd.DataFrame:
    """Return the pairs of `thumbnails`, uint8 `(N, 32, 32)` not one of them flat, that show one image.

    Columns: a and b (positions, a < b), similarity (`threshold` to 1), mirrored (b is the mirror image of a). Sorted by
    a and b, each pair once. The result depends on the order of the images, not on the number of threads.
    """
    return compare_candidates(candidates(thumbnails), thumbnails, threshold=threshold)


def compare_candidates(pairs: NDArray[np.int64], thumbnails: Thumbnails, *, threshold: float) -> pd.DataFrame:
    """Align the `pairs` of `candidates` on all cores and return those that show one image, as `near_pairs` does."""
    found = [_compare(block, thumbnails, threshold=threshold) for block in _blocks(pairs)]
    alike = pd.concat([no_pairs(), *found])
    best = alike.sort_values("similarity", ascending=False, kind="stable").drop_duplicates(["a", "b"])
    return best.sort_values(["a", "b"], ignore_index=True)


def no_pairs() -> pd.DataFrame:
    """Return a frame of `near_pairs` without rows."""
    return _frame(np.empty((0, 3), dtype=np.int64), np.empty(0))


def _frame(pairs: NDArray[np.int64], values: NDArray[np.float64]) -> pd.DataFrame:
    columns = {"a": pairs[:, 0], "b": pairs[:, 1], "similarity": values, "mirrored": pairs[:, 2].astype(bool)}
    return pd.DataFrame(columns)


def candidates(thumbnails: Thumbnails) -> NDArray[np.int64]:
    """Return the pairs worth comparing, int64 `(M, 3)`: a, b (a < b) and whether b is mirrored (0, 1); sorted, unique.

    M is at most (2 * NEIGHBOURS + 1) * N.
    """
    import faiss

    if len(thumbnails) < 2:
        return np.empty((0, 3), dtype=np.int64)
    points = signatures(thumbnails)
    index = faiss.IndexHNSWFlat(points.shape[1], GRAPH_LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = index.hnsw.efSearch = GRAPH_BREADTH
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # the graph depends on the order in which points are added
    try:
        index.add(points)
    finally:
        faiss.omp_set_num_threads(before)
    found = []
    for mirrored, queries in enumerate((points, points * _mirror_signs())):
        cosines, neighbours = index.search(queries, min(NEIGHBOURS + 1, len(points)))  # one of them is the point itself
        here = np.broadcast_to(np.arange(len(points))[:, None], neighbours.shape)
        near = (cosines >= CANDIDATE_COSINE) & (neighbours >= 0) & (neighbours != here)
        ends = np.sort(np.stack([here[near], neighbours[near]], axis=1), axis=1)
        found.append(np.column_stack([ends, np.full(len(ends), mirrored)]))
    return np.unique(np.concatenate(found), axis=0)


def signatures(thumbnails: Thumbnails) -> NDArray[np.float32]:
    """Return the points of the index, float32 `(N, 35)` of length 1: whitened cosine coefficients without the mean."""
    low = np.empty((len(thumbnails), FREQUENCIES**2 - 1), dtype=np.float32)
    for start in range(0, len(thumbnails), BLOCK):
        block = thumbnails[start : start + BLOCK].astype(np.float32)
        waves = dctn(block, axes=(1, 2), norm="ortho")[:, :FREQUENCIES, :FREQUENCIES]
        low[start : start + BLOCK] = waves.reshape(len(block), -1)[:, 1:]
    low /= np.linalg.norm(low, axis=1, keepdims=True) + 1e-9  # contrast plays no part, nor does brightness (the mean)
    low /= low.std(axis=0) ** WHITENING + 1e-9
    low /= np.linalg.norm(low, axis=1, keepdims=True) + 1e-9
    return low


def _mirror_signs() -> NDArray[np.float32]:
    """Mirroring an image turns the sign of its odd horizontal frequencies, and does nothing else to them."""
    across = np.tile(np.arange(FREQUENCIES), FREQUENCIES)[1:]
    return np.where(across % 2, -1, 1).astype(np.float32)


def _blocks(pairs: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(pairs), 16 * BLOCK):
        yield pairs[start : start + 16 * BLOCK]


def _compare(pairs: NDArray[np.int64], thumbnails: Thumbnails, *, threshold: float) -> pd.DataFrame:
    def values_of(part: NDArray[np.int64]) -> list[float]:
        return [detail_correlation(thumbnails[a], thumbnails[b], mirrored=bool(mirrored)) for a, b, mirrored in part]

    with ThreadPoolExecutor(max_workers=threads.current()) as pool:  # OpenCV releases the GIL
        parts = pool.map(values_of, np.array_split(pairs, 8 * threads.current()))
        values = np.array([value for part in parts for value in part])
    alike = values >= threshold
    return _frame(pairs[alike], values[alike])
