from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from ferops.explanation import drawings


def test_the_champion_is_dashed_in_the_colour_of_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(drawings, "_uri", lambda figure: drawn.append(figure) or "")
    labels = np.array([0, 0, 1, 1, 2])
    probabilities = np.random.default_rng(1).dirichlet(np.ones(3), 5)
    perfect = (labels == 1).astype(float)
    drawings.class_curves(probabilities, labels, ("calm", "afraid", "glad"), {"afraid": perfect})
    precision_axes, roc_axes = drawn[0].axes
    lines = {(line.get_color(), line.get_linestyle()): line for line in precision_axes.lines}
    assert [style for _, style in lines].count("--") == 1
    dashed = lines[drawings.COLOURS[1], "--"]
    assert (drawings.COLOURS[1], "-") in lines
    assert min(dashed.get_ydata()[1:]) == 1.0, "the champion's own scores: it is never wrong about this class"
    assert len(roc_axes.lines) == 5, "three classes, the champion, and the diagonal"
    assert [text.get_text() for text in precision_axes.get_legend().get_texts()] == ["calm", "afraid", "glad"]
