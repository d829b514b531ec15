from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ferops.classes import KNOWN_LABELS
from ferops.datasets import folder
from ferops.errors import FeropsError
from published import read_all
from releases import KINDS, make_folder, make_release
from sample_images import noise_png


def image_files(*names: str) -> dict[str, bytes]:
    return {name: noise_png(seed) for seed, name in enumerate(names)}


def read(path: Path, files: dict[str, bytes], **options: Any) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """Return the rows by the name of the file whose bytes they hold, and what was skipped."""
    rows, skipped = read_all(lambda path, *, skipped: folder.read_folder(path, skipped=skipped, **options), path)
    names = {content: name for name, content in files.items()}
    return {names[row["image"]]: row for row in rows}, skipped


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_for_each_class(tmp_path: Path, kind: str) -> None:
    files = image_files(*(f"mine/{label}/1.jpg" for label in KNOWN_LABELS))
    rows, skipped = read(make_release(tmp_path, kind, files), files, name="mine")
    assert {name: row["label"] for name, row in rows.items()} == {name: name.split("/")[1] for name in files}
    assert {(row["source"], row["usage"], row["subject"]) for row in rows.values()} == {("mine", None, None)}
    assert not skipped


@pytest.mark.parametrize(
    ("word", "label"),
    [
        ("Angry", "anger"), ("ANGER", "anger"), ("disgusted", "disgust"), ("fearful", "fear"), ("happiness", "happy"),
        ("Joy", "happy"), ("sadness", "sad"), ("Surprise", "surprised"), ("0_anger", "anger"), ("3 - Happy", "happy"),
        ("07.contempt", "contempt"), ("Neutral", "neutral"),
        ("0", None), ("happy2", None), ("not happy", None), ("anger_sad", None), ("", None),
    ],
)  # fmt: skip
def test_common_words(word: str, label: str | None) -> None:
    assert folder.label_of_folder(word) == label


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("anger/1.jpg", None),
        ("a/b/train/anger/1.jpg", "train"),
        ("set/anger/Training/1.jpg", "train"),
        ("Validation/anger/1.jpg", "val"),
        ("valid/anger/1.jpg", "val"),
        ("data/test/anger/1.jpg", "test"),
        ("test/train/anger/1.jpg", "train"),  # the nearer one
    ],
)
def test_the_official_part_is_a_folder_above_or_below(tmp_path: Path, name: str, usage: str | None) -> None:
    files = image_files(name)
    rows, _ = read(make_folder(tmp_path, files), files)
    assert [(row["label"], row["usage"]) for row in rows.values()] == [("anger", usage)]


def test_a_name_that_is_not_understood_refuses_the_import(tmp_path: Path) -> None:
    files = image_files("angery/1.jpg", "angery/2.jpg", "Happy/1.jpg", "zzz/1.jpg")
    with pytest.raises(
        FeropsError,
        match=r"'angery' \(2 images, did you mean angry\?\), 'zzz' \(1 images\). Understood: Happy. Rename",
    ):
        read(make_folder(tmp_path, files), files)


@pytest.mark.parametrize("names", [[], ["1.jpg"], ["train/1.jpg"], ["anger/notes.txt"]])
def test_no_image_in_a_class_folder(tmp_path: Path, names: list[str]) -> None:
    (tmp_path / "root").mkdir()
    with pytest.raises(FeropsError, match=r"but no image in a class folder; wanted a folder for each class"):
        read(make_folder(tmp_path / "root", image_files(*names)), {})


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    files = image_files("anger/1.jpg", "cover.png", "anger/list.txt") | {"anger/2.jpg": b""}
    rows, skipped = read(make_folder(tmp_path, files), files)
    assert list(rows) == ["anger/1.jpg"]
    assert skipped == {"image outside any class folder": 1, "not an image": 1, "empty file": 1}


# --- attributes ---------------------------------------------------------------------------------------------------


def with_table(tmp_path: Path, table: str, *names: str) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    files = image_files(*names)
    (tmp_path / "about.csv").write_text(table, encoding="utf-8")
    return read(make_folder(tmp_path / "root", files), files, attributes=tmp_path / "about.csv")


def test_attributes_fill_subject_usage_and_groups(tmp_path: Path) -> None:
    table = (
        "\ufeffFile,Subject,usage,Age band,group_gender\n1.jpg,p1,Training,20-29,\nb/anger/2.jpg,p2,,30-39,f\n"
        'sad\\3.jpg,"p, 3",test,,m\nanger/9.jpg,p9,,,\n'
    )
    names = ("a/anger/1.jpg", "b/anger/2.jpg", "train/sad/3.jpg", "train/sad/4.jpg")
    rows, skipped = with_table(tmp_path, table, *names)
    columns = ("subject", "usage", "group_age_band", "group_gender")
    assert {name: tuple(row[column] for column in columns) for name, row in rows.items()} == {
        "a/anger/1.jpg": ("p1", "train", "20-29", None),
        "b/anger/2.jpg": ("p2", None, "30-39", "f"),
        "train/sad/3.jpg": ("p, 3", "test", None, "m"),  # the table knows better than the folder
        "train/sad/4.jpg": (None, "train", None, None),
    }
    assert skipped == {
        "line of the attributes without an image": 1,
        "image without a line in the attributes (kept)": 1,
    }


def test_the_column_of_names_may_be_called_image(tmp_path: Path) -> None:
    rows, skipped = with_table(tmp_path, "image,age\n1.jpg,old\n", "anger/1.jpg")
    assert [row["group_age"] for row in rows.values()] == ["old"]
    assert not skipped


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("file,age\n1.jpg,old\n", r"line 2: '1.jpg' fits 2 images \(anger/1.jpg, sad/1.jpg"),
        ("file,age\nsad/1.jpg,old\nsad/1.jpg,young\n", r"line 3: 'sad/1.jpg' was described in line 2 already"),
        ("name,age\nsad/1.jpg,old\n", r"has no column `file` or `image`.*it has \['name', 'age'\]"),
        ("file;age\nsad/1.jpg;old\n", r"has no column `file` or `image`.*it has \['file;age'\]"),
        ("file,label\nsad/1.jpg,sad\n", r"has a column for labels, but the folders name those"),
        ("file,age,Age\nsad/1.jpg,1,2\n", r"has a column twice"),
        ("file,age band,age_band\nsad/1.jpg,1,2\n", r"do not make distinct names of groups"),
        ("file,??\nsad/1.jpg,1\n", r"do not make distinct names of groups"),
        ("file,usage\nsad/1.jpg,holdout\n", r"line 2: usage 'holdout' is not one of train, val, test"),
        ("file,age\n", r"has no line below the names"),
    ],
)
def test_attributes_that_are_ambiguous_or_malformed(tmp_path: Path, table: str, said: str) -> None:
    with pytest.raises(FeropsError, match=said):
        with_table(tmp_path, table, "anger/1.jpg", "sad/1.jpg")


def test_attributes_that_are_not_there(tmp_path: Path) -> None:
    files = image_files("anger/1.jpg")
    with pytest.raises(FeropsError, match=r"none.csv, named by --attributes, is not a file"):
        read(make_folder(tmp_path, files), files, attributes=tmp_path / "none.csv")
