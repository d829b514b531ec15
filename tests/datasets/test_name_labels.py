from __future__ import annotations

from pathlib import Path

import pytest

from ferops.classes import SYNONYMS
from ferops.datasets.folder import read_folder
from ferops.datasets.name_labels import advice
from ferops.errors import FeropsError
from published import read_all
from releases import make_folder
from sample_images import noise_png

JAFFE = ["set/KA.AN1.39.png", "set/KA.HA2.30.png", "set/YM.AN1.61.png", "set/cover.png"]


def read(tmp_path: Path, names: list[str], **options: object) -> tuple[dict[bytes, dict[str, object]], dict[str, int]]:
    files = {name: noise_png(i) for i, name in enumerate(names)}
    path = make_folder(tmp_path / "photos", files)
    rows, skipped = read_all(lambda path, *, skipped: read_folder(path, skipped=skipped, **options), path)
    named = {content: name for name, content in files.items()}
    return {named[row["image"]]: row for row in rows}, skipped


@pytest.mark.parametrize("classes", [(), "any"])
def test_labels_and_people_in_names(tmp_path: Path, classes: object) -> None:
    pattern = r"(?P<subject>[A-Z]{2})\.(?P<label>[A-Z]{2})\d"
    rows, skipped = read(tmp_path, JAFFE, pattern=pattern, words=["anger=AN", "happy=HA"], classes=classes)
    assert {name: (row["label"], row["subject"]) for name, row in rows.items()} == {
        "set/KA.AN1.39.png": ("anger", "KA"),
        "set/KA.HA2.30.png": ("happy", "KA"),
        "set/YM.AN1.61.png": ("anger", "YM"),
    }
    assert skipped == {"name does not fit --label-pattern": 1}


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"(?P<label>[A-Z]{2}", "is no regular expression"),
        (r"([A-Z]{2})", "has the groups none; wanted"),
        (r"(?P<label>\d{9})", r"fits none of 4 names \('set/"),
        (r"\.(?P<label>[A-Z]{2})\d", "not understood: 'AN' \\(2 images"),
    ],
)
def test_patterns_that_say_nothing(tmp_path: Path, pattern: str, said: str) -> None:
    with pytest.raises(FeropsError, match=said):
        read(tmp_path, JAFFE, pattern=pattern)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (JAFFE[:3], "ferops import jaffe PATH"),
        (["aligned/train_00001_aligned.jpg"], "ferops import rafdb PATH"),
        (["S005_001_00000011.png"], "ferops import ckplus PATH"),
        (["p1_happy_2.png", "p2-Sadness.png"], "--label-pattern '(?i)(?P<label>sadness|happy)'"),
        (["p1_happy_2.png", "IMG_2.png"], ""),
        (["unhappy.png"], ""),
    ],
)
def test_names_that_say_it_propose_the_command(tmp_path: Path, names: list[str], said: str) -> None:
    """And what is proposed works."""
    found = advice(names)
    assert said in found
    assert bool(found) == bool(said)
    if found:
        with pytest.raises(FeropsError) as caught:
            read(tmp_path, names)
        assert found in str(caught.value)
    if "--label-pattern" in found:
        rows, _ = read(tmp_path, names, pattern=found.partition("'")[2].rstrip("'"))
        assert {row["label"] for row in rows.values()} == {"happy", "sad"} <= SYNONYMS.keys()
