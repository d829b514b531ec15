from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from exports import write_export
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.records.duel import Duel
from ferops.scoring.duel import duel
from ferops.scoring.duel_words import html, text
from scoring_files import BrightFaces, dark, tinted, trained_on_wild, write


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Duel:
    """The first answers happy to red, the second anger; both answer disgust to green, and find no face in the dark."""
    root = tmp_path_factory.mktemp("duel")
    one = write_export(root / "one", favours="happy", by=3.0, **trained_on_wild())
    other = write_export(root / "other", favours="happy", by=0.0, **trained_on_wild())
    kinds = [("red", "happy", "young")] * 30 + [("red", "angry", "old")] * 10 + [("green", "disgust", "old")] * 40
    images = [tinted(colour, seed) for seed, (colour, _, _) in enumerate(kinds)] + [dark(seed) for seed in range(5)]
    data = write(
        root / "faces.parquet",
        image=[*images, tinted("blue", 99)],
        source=["wild"] * 86,
        label=[*(label for _, label, _ in kinds), *["fear"] * 5, "boredom"],
        group_age=[*(age for _, _, age in kinds), *["old"] * 5, None],
    )
    return duel(Layout(root), str(one), str(other), data, detector=BrightFaces())


def test_both_are_judged_on_the_same_images_and_no_face_is_wrong(found: Duel) -> None:
    assert (found.whole.n, found.left_out, found.no_face) == (85, 1, (5, 5))
    assert found.whole.first.value == pytest.approx(70 / 85)
    assert found.whole.second.value == pytest.approx(50 / 85)
    assert found.whole.difference.value == pytest.approx(20 / 85)
    assert (found.whole.fixed, found.whole.broken) == (30, 10)
    # Macro-F1 by hand. First: happy 60/70, anger 0, disgust 1, fear 0; second: happy 0, anger 20/50, disgust 1, fear 0
    assert [each.value for each in found.macro_f1] == pytest.approx([(6 / 7 + 1) / 4, (0.4 + 1) / 4])
    assert found.verdict.startswith("The first is more accurate than the second, by +23.5 (")


def test_the_interval_is_that_of_paired_draws(found: Duel) -> None:
    rng = np.random.default_rng(0)
    outcome = np.repeat([1, -1, 0], [30, 10, 45])
    draws = rng.choice(outcome, (4000, 85)).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    assert found.whole.difference.low == pytest.approx(low, abs=0.02)
    assert found.whole.difference.high == pytest.approx(high, abs=0.02)


def test_slices_are_sorted_by_loss_and_small_ones_say_nothing(found: Duel) -> None:
    slices = {(each.column, each.value): each for each in found.slices}
    assert slices["group_age", "old"].difference.value == pytest.approx(-10 / 55)
    assert slices["group_age", "young"].difference.value == 1.0
    assert slices["label", "anger"].small
    assert next(each.column for each in found.slices if not each.small) == "group_age"


def test_it_is_shown_in_the_terminal_and_as_a_page(found: Duel) -> None:
    assert "age old" in text(found)
    assert "was trained on data of wild" in text(found)
    page = html(found)
    HTMLParser().feed(page)
    assert found.verdict in page
    assert "://" not in page
    assert '<td class="bad">−18.2' in page


def test_models_without_common_classes_are_not_compared(tmp_path: Path) -> None:
    one = write_export(tmp_path / "one", **trained_on_wild())
    names = ("a", "b", "c", "d", "e", "f")
    other = write_export(tmp_path / "other", favours="a", **trained_on_wild(classes=names))
    data = write(tmp_path / "faces.parquet", image=[tinted("red", 1)], label=["happy"])
    with pytest.raises(FeropsError, match="two classes that both answer, found 0"):
        duel(Layout(tmp_path), str(one), str(other), data, detector=BrightFaces())
