from __future__ import annotations

import io

import numpy as np
from matplotlib.image import imread

from ferops.classes import DEFAULT_CLASSES
from ferops.training.fit import confusion
from ferops.training.report import confusion_figure, draw_confusion

COUNTS = np.array(
    [
        [30, 2, 3, 0, 5, 0],
        [1, 4, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],  # a class without a face
        [2, 0, 1, 1200, 9, 3],
        [8, 0, 4, 3, 40, 0],
        [0, 0, 6, 2, 0, 50],
    ]
)


def test_confusion_counts_labels_as_rows() -> None:
    labels = np.array([0, 0, 1, 3, 3, 3, 5])
    predicted = np.array([0, 2, 1, 3, 3, 5, 3])
    counts = confusion(labels, np.eye(6, dtype=np.float32)[predicted])
    expected = np.zeros((6, 6), dtype=np.int64)
    for label, guess in zip(labels, predicted, strict=True):
        expected[label, guess] += 1
    np.testing.assert_array_equal(counts, expected)
    assert counts.dtype == np.int64


def test_the_picture_shows_counts_and_the_shares_of_rows() -> None:
    axes = confusion_figure(COUNTS, title="validation, epoch 5").axes[0]
    assert axes.get_title() == "validation, epoch 5"
    assert [label.get_text() for label in axes.get_xticklabels()] == list(DEFAULT_CLASSES)
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert [row.split("\n")[0] for row in rows] == list(DEFAULT_CLASSES)
    assert rows[0] == "anger\n75 % of 40"
    assert rows[2] == "fear\n0 % of 0"
    shades = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(shades[0], [0.75, 0.05, 0.075, 0.0, 0.125, 0.0])
    np.testing.assert_array_equal(shades[2], np.zeros(6))
    texts = {tuple(map(int, reversed(text.get_position()))): text for text in axes.texts}  # drawn at (column, row)
    assert {place: text.get_text() for place, text in texts.items()} == {
        place: f"{count:,}" for place, count in np.ndenumerate(COUNTS)
    }
    assert (texts[3, 3].get_color(), texts[0, 1].get_color()) == ("white", "black")  # readable on its shade


def test_the_picture_goes_into_memory_too() -> None:
    target = io.BytesIO()
    draw_confusion(target, COUNTS, title="validation")
    target.seek(0)
    assert imread(target, format="png").shape[:2] == (600, 660)
