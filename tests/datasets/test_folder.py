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
    assert folder.Words().label(word) == label


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
    assert skipped == {"image outside any class folder": 1, "not an image (.txt)": 1, "empty file": 1}


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "tar.gz"])
def test_files_without_an_ending_are_known_by_their_content(tmp_path: Path, kind: str) -> None:
    images = image_files("anger/1", "anger/at 12.30", "sad/b.jfif", "sad/c.jpe", "sad/d.AVIF")
    jpeg_xl = b"\xff\x0a\xfa\x7f"
    others = {"sad/README": b"about", "sad/empty": b"", "sad/IMG_1.JXL": jpeg_xl, "sad/IMG_2": jpeg_xl}
    rows, skipped = read(make_release(tmp_path, kind, images | others), images)
    assert {name: row["label"] for name, row in rows.items()} == {name: name.split("/")[0] for name in images}
    assert skipped == {
        "not an image": 2,
        "JXL image, which cannot be decoded (convert it to JPEG)": 1,
        "JPEG XL image, which cannot be decoded (convert it to JPEG)": 1,
    }


@pytest.mark.parametrize(
    ("names", "subjects", "where"),
    [
        (["set/anna/happy/1.jpg", "set/ben/sad/1.jpg", "set/ben/test/sad/2.jpg"], ["anna", "ben", "ben"], "above"),
        (["happy/anna/1.jpg", "sad/anna/2.jpg", "train/sad/ben/3.jpg"], ["anna", "anna", "ben"], "below"),
        (["anna/monday/sad/1.jpg", "anna/friday/sad/2.jpg", "ben/monday/sad/3.jpg"], ["anna", "anna", "ben"], "above"),
        (["set/happy/1.jpg", "set/sad/2.jpg"], [None, None], None),
        (["happy/1.jpg", "happy/anna/2.jpg"], [None, "anna"], "below"),
    ],
)
def test_folders_of_people(tmp_path: Path, names: list[str], subjects: list[str | None], where: str | None) -> None:
    files = image_files(*names)
    rows, skipped = read(make_folder(tmp_path, files), files)
    assert [rows[name]["subject"] for name in names] == subjects
    named = sum(each is not None for each in subjects)
    assert skipped == ({f"folder {where} the class: taken for the person (kept)": named} if where else {})


def test_a_class_with_a_typing_error_is_no_person(tmp_path: Path) -> None:
    files = image_files("faces/sad/1.jpg", "happy/surprized/1.jpg")
    with pytest.raises(FeropsError, match=r"'surprized' \(1 images, did you mean surprised\?\)"):
        read(make_folder(tmp_path, files), files)


def test_words_of_ones_own(tmp_path: Path) -> None:
    files = image_files("Froh/1.jpg", "3/2.jpg", "04_trist/3.jpg", "angry/4.jpg")
    rows, _ = read(make_folder(tmp_path, files), files, words=["happy= froh ,3", "Sadness=trist"])
    assert [rows[name]["label"] for name in files] == ["happy", "happy", "sad", "anger"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["happy"], "--map 'happy' is not understood. Write LABEL=WORD,WORD"),
        (["happy="], "is not understood"),
        (["glad=froh"], "is not understood. Write LABEL=WORD,WORD, as in"),
        (["happy=3", "sad=3"], "gives '3' two meanings, happy and sad"),
    ],
)
def test_words_that_are_not_understood(tmp_path: Path, words: list[str], said: str) -> None:
    with pytest.raises(FeropsError, match=said):
        read(tmp_path, {}, words=words)


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
        ("file,label\nsad/1.jpg,happy\n", r"sad/1.jpg lies in a folder of sad, but its line says 'happy'. Correct one"),
        ("file,emotion\nsad/1.jpg,saad\n", r"'saad' \(1 images, did you mean sad\?\)"),
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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_as_a_spreadsheet_saves_it(tmp_path: Path, delimiter: str, encoding: str) -> None:
    files = image_files("a/müde.jpg", "a/2.jpg")
    rows = [("file", "label", "subject", "note"), ("müde.jpg", "Happy", "José", "1,5"), ("2.jpg", "sad", "Zoë", "x")]
    text = "\r\n".join(delimiter.join(f'"{cell}"' if "," in cell else cell for cell in row) for row in rows)
    (tmp_path / "about.csv").write_bytes(text.encode(encoding))
    found, skipped = read(make_folder(tmp_path / "root", files), files, attributes=tmp_path / "about.csv")
    assert {name: (row["label"], row["subject"], row["group_note"]) for name, row in found.items()} == {
        "a/müde.jpg": ("happy", "José", "1,5"),
        "a/2.jpg": ("sad", "Zoë", "x"),
    }
    assert not skipped


@pytest.mark.parametrize("column", ["label", "emotion", "class", "Expression"])
def test_a_table_may_say_what_the_images_show(tmp_path: Path, column: str) -> None:
    table = f"file,{column}\n1.jpg,Froh\n2.jpg,7\n"
    files = image_files("1.jpg", "photos/2.jpg", "photos/3.jpg")
    (tmp_path / "about.csv").write_text(table)
    rows, skipped = read(
        make_folder(tmp_path / "root", files), files, attributes=tmp_path / "about.csv", words=["happy=froh", "sad=7,8"]
    )
    assert {name: row["label"] for name, row in rows.items()} == {"1.jpg": "happy", "photos/2.jpg": "sad"}
    assert not any(key.startswith("group_") for row in rows.values() for key in row)
    assert skipped == {"image without a label": 1, "image without a line in the attributes (kept)": 1}


def test_a_column_that_repeats_the_folders_is_no_group(tmp_path: Path) -> None:
    table = "file,label,emotion,mood,light\n1.jpg,happy,Happiness,joy,day\n2.jpg,sad,sad,,day\n"
    rows, skipped = with_table(tmp_path, table, "happy/1.jpg", "sad/2.jpg")
    assert {key for row in rows.values() for key in row if key.startswith("group_")} == {"group_light"}
    assert skipped == {
        f"column '{name}' repeats the label, and is no group of people (kept)": 2 for name in ("emotion", "mood")
    }


def test_attributes_that_are_not_there(tmp_path: Path) -> None:
    files = image_files("anger/1.jpg")
    with pytest.raises(FeropsError, match=r"none.csv, named by --attributes, is not a file"):
        read(make_folder(tmp_path, files), files, attributes=tmp_path / "none.csv")


def test_classes_of_ones_own(tmp_path: Path) -> None:
    files = image_files("Pain/1.jpg", "1 No Pain/2.jpg", "Happy/p01/3.jpg", "test/Pain/4.jpg")
    root = make_folder(tmp_path, files)
    rows, _ = read(root, files, classes="any")
    assert {name: row["label"] for name, row in rows.items()} == {
        "Pain/1.jpg": "pain",
        "1 No Pain/2.jpg": "no_pain",
        "Happy/p01/3.jpg": "happy",  # a known word wins over a folder in it
        "test/Pain/4.jpg": "pain",
    }
    rows, skipped = read(root, files, classes=["pain", "happy"])
    assert {row["label"] for row in rows.values()} == {"pain", "happy"}
    assert skipped["'1 No Pain' is not among the classes"] == 1


@pytest.mark.parametrize("name", ["hapy/1.jpg", "123/1.jpg", "!/1.jpg"])
def test_a_slip_or_a_number_is_no_class_of_ones_own(tmp_path: Path, name: str) -> None:
    files = image_files(name, "pain/1.jpg")
    with pytest.raises(FeropsError, match="or name your own classes: --classes pain,no_pain"):
        read(make_folder(tmp_path, files), files, classes="any")


def test_a_class_has_a_name_that_columns_can_have(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match="a class cannot be called 'no pain'"):
        read(make_folder(tmp_path, image_files("no pain/1.jpg")), {}, classes=["no pain"])


def test_words_and_people_of_classes_of_ones_own(tmp_path: Path) -> None:
    files = image_files("Schmerz/anna/1.jpg", "nichts/2.jpg")
    words = ["pain=schmerz", "no_pain=nichts"]
    rows, _ = read(make_folder(tmp_path, files), files, classes=["pain", "no_pain"], words=words)
    assert [row["label"] for row in rows.values()] == ["pain", "no_pain"]
