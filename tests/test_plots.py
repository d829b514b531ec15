from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from ferops.plots import confusion_matrix, save_confusion_matrix


@pytest.mark.parametrize("k", [2, 6, 8])
def test_a_confusion_matrix_names_every_class_and_shows_every_count(k) -> None:
    counts = np.random.default_rng(k).integers(0, 3000, (k, k))
    counts[0] = 0
    names = [f"class {index}" for index in range(k)]
    (axes,) = confusion_matrix(counts, names, title="anything").axes
    assert [text.get_text() for text in axes.get_xticklabels()] == names
    rows = [text.get_text() for text in axes.get_yticklabels()]
    assert rows[0] == "class 0\n0 % of 0"
    assert rows[1] == f"class 1\n{100 * counts[1, 1] / counts[1].sum():.0f} % of {counts[1].sum():,}"
    assert [text.get_text() for text in axes.texts] == [f"{count:,}" for count in counts.ravel()]


def test_texts_of_eight_classes_do_not_overlap() -> None:
    figure = confusion_matrix(np.full((8, 8), 8888), ["surprised"] * 8, title="anything")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    for texts in (axes.texts[:8], axes.get_yticklabels()):
        boxes = [text.get_window_extent() for text in texts]
        assert not any(first.overlaps(second) for first, second in itertools.pairwise(boxes))


def test_it_is_saved_as_png() -> None:
    buffer = io.BytesIO()
    save_confusion_matrix(buffer, [[1, 2], [3, 4]], ("one", "two"), title="anything")
    assert Image.open(buffer).format == "PNG"
