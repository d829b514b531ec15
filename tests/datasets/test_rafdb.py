from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ferops.datasets import rafdb
from ferops.errors import FeropsError
from published import read_all, zip_below
from releases import make_folder, make_zip
from sample_images import encoded, noise, noise_png

PEOPLE: dict[str, tuple[str, str, str, tuple[int, int, int], dict[str, str]]] = {
    "train_00001": ("5", "sad", "train", (0, 0, 2), {"gender": "male", "race": "Caucasian", "age": "20-39"}),
    "train_00002": (
        "1",
        "surprised",
        "train",
        (1, 1, 0),
        {"gender": "female", "race": "African-American", "age": "0-3"},
    ),
    "train_12271": ("2", "fear", "train", (2, 2, 1), {"gender": "unsure", "race": "Asian", "age": "4-19"}),
    "train_00003": ("3", "disgust", "train", (0, 0, 3), {"gender": "male", "race": "Caucasian", "age": "40-69"}),
    "test_0001": ("4", "happy", "test", (1, 0, 4), {"gender": "female", "race": "Caucasian", "age": "70+"}),
    "test_0002": ("6", "anger", "test", (0, 2, 2), {"gender": "male", "race": "Asian", "age": "20-39"}),
    "test_3068": ("7", "neutral", "test", (1, 1, 2), {"gender": "female", "race": "African-American", "age": "20-39"}),
}
"""key -> code, label, usage, codes of the annotation, words of the annotation (the release's README)."""

LANDMARKS = "103.5000\t128.2500\n151.0000\t127.0000\n126.0000\t155.0000\n108.0000\t180.0000\n147.0000\t179.0000\n"


def image_files(kind: str) -> dict[str, bytes]:
    ending, size_px = ("_aligned.jpg", 10) if kind == "aligned" else (".jpg", 25)
    return {f"{kind}/{key}{ending}": encoded(noise(i, size_px=size_px), kind="JPEG") for i, key in enumerate(PEOPLE)}


def annotations(newline: str = "\n") -> dict[str, bytes]:
    return {
        f"manual/{key}_manu_attri.txt": (LANDMARKS + "".join(f"{code}\n" for code in codes))
        .replace("\n", newline)
        .encode()
        for key, (*_, codes, _) in PEOPLE.items()
    }


def label_list() -> dict[str, bytes]:
    lines = [f"{key}.jpg {code}" for key, (code, *_) in PEOPLE.items()]
    return {"basic/EmoLabel/list_patition_label.txt": ("\n".join(lines) + "\n").encode()}


def below(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{name}": content for name, content in files.items()}


def aligned_release(newline: str = "\n") -> dict[str, bytes]:
    return (
        label_list()
        | below("basic/Image", image_files("aligned"))
        | below("basic/Annotation", annotations(newline))
        | {"basic/Annotation/auto/train_00001_auto_attri.txt": b"1 2\n", "basic/RAF_README.txt": b"RAF"}
    )


def facts(rows: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    columns = ("label", "usage", "group_gender", "group_race", "group_age")
    return {(row["width"], *(row[column] for column in columns)) for row in rows}


def wanted(width: int) -> set[tuple[Any, ...]]:
    return {(width, label, usage, *words.values()) for _, label, usage, _, words in PEOPLE.values()}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_labels_usage_and_groups(tmp_path: Path, newline: str) -> None:
    rows, skipped = read_all(rafdb.read_rafdb, make_folder(tmp_path, aligned_release(newline)))
    assert facts(rows) == wanted(10)
    assert [row["image"] for row in rows] == [
        image_files("aligned")[f"aligned/{key}_aligned.jpg"] for key in sorted(PEOPLE)
    ]
    assert {(row["source"], row["subject"]) for row in rows} == {("rafdb", None)}
    assert skipped == {"neither an image nor a label (automatic landmarks, boxes, features, documents)": 2}


def test_the_archives_as_published(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "raf", label_list())
    zip_below(root / "basic" / "Image", "aligned.zip", image_files("aligned"))
    zip_below(root / "basic" / "Annotation", "manual.zip", annotations())
    rows, skipped = read_all(rafdb.read_rafdb, root)
    assert facts(rows) == wanted(10)
    assert not skipped
    unpacked, _ = read_all(rafdb.read_rafdb, make_folder(tmp_path / "unpacked", aligned_release()))
    assert rows == unpacked


def test_folders_named_by_the_number_of_the_label(tmp_path: Path) -> None:
    files = {
        f"DATASET/{usage}/{code}/{key}_aligned.jpg": image_files("aligned")[f"aligned/{key}_aligned.jpg"]
        for key, (code, _, usage, _, _) in PEOPLE.items()
    }
    files |= {"train_labels.csv": b"image,label\ntrain_00001_aligned.jpg,5\n", "DATASET/train/9/train_00004.jpg": b"x"}
    rows, skipped = read_all(rafdb.read_rafdb, make_folder(tmp_path, files))
    assert {(row["label"], row["usage"]) for row in rows} == {(label, usage) for _, label, usage, *_ in PEOPLE.values()}
    assert len(rows) == len(PEOPLE)
    assert skipped == {
        "neither an image nor a label (automatic landmarks, boxes, features, documents)": 1,
        "original image, as there are aligned ones": 1,
    }
    files["DATASET/train/9/train_00004_aligned.jpg"] = noise_png(4)
    assert read_all(rafdb.read_rafdb, make_folder(tmp_path, files))[1]["image without a label"] == 1


def test_original_images_where_there_are_no_aligned_ones(tmp_path: Path) -> None:
    files = label_list() | below("basic/Image", image_files("original")) | below("basic/Annotation", annotations())
    rows, skipped = read_all(rafdb.read_rafdb, make_zip(tmp_path / "basic.zip", files))
    assert facts(rows) == wanted(25)
    assert not skipped


def test_aligned_images_where_there_are_both(tmp_path: Path) -> None:
    files = aligned_release() | below("basic/Image", image_files("original"))
    rows, skipped = read_all(rafdb.read_rafdb, make_folder(tmp_path, files))
    assert facts(rows) == wanted(10)
    assert skipped["original image, as there are aligned ones"] == len(PEOPLE)


def test_without_annotations_there_are_no_groups(tmp_path: Path) -> None:
    rows, _ = read_all(
        rafdb.read_rafdb, make_folder(tmp_path, label_list() | below("basic/Image", image_files("aligned")))
    )
    assert len(rows) == len(PEOPLE)
    assert not [column for column in rows[0] if column.startswith("group_")]


@pytest.mark.parametrize(
    "content", [b"", b"0\n0\n2\n", LANDMARKS.encode() + b"0\n3\n2\n", LANDMARKS.encode() + b"0\n0\n", b"\xff\xfe"]
)
def test_an_annotation_that_cannot_be_read_leaves_its_groups_empty(tmp_path: Path, content: bytes) -> None:
    files = aligned_release() | {"basic/Annotation/manual/train_00001_manu_attri.txt": content}
    del files["basic/Annotation/manual/test_3068_manu_attri.txt"]
    files["basic/Annotation/manual/train_09999_manu_attri.txt"] = b"x"
    rows, skipped = read_all(rafdb.read_rafdb, make_folder(tmp_path, files))
    empty = [row for row in rows if row["group_gender"] is None]
    assert sorted(row["label"] for row in empty) == ["neutral", "sad"]
    assert {(row["group_race"], row["group_age"]) for row in empty} == {(None, None)}
    assert len(rows) == len(PEOPLE)
    reasons = {reason.split(",")[0].split(" (")[0]: count for reason, count in skipped.items()}
    assert reasons["annotation that cannot be read"] == 1
    assert reasons["image without annotation"] == 1
    assert reasons["annotation without an image"] == 1


def test_what_does_not_belong_together_is_counted(tmp_path: Path) -> None:
    files = aligned_release()
    files["basic/EmoLabel/list_patition_label.txt"] += b"train_00077.jpg 3\ntrain_00078.jpg 8\nnonsense\n\n"
    files["basic/Image/aligned/train_00099_aligned.jpg"] = noise_png(99)
    files["basic/Image/aligned/test_0002_aligned.jpg"] = b""
    rows, skipped = read_all(rafdb.read_rafdb, make_folder(tmp_path, files))
    assert len(rows) == len(PEOPLE) - 1
    assert skipped["label without an image"] == 1
    assert skipped["image without a label"] == 1
    assert skipped["line of the label list that is not like 'train_00001.jpg 5'"] == 2
    assert skipped["empty file"] == 1


def test_bad_layouts(tmp_path: Path) -> None:
    only_images = make_folder(tmp_path / "images", below("basic/Image", image_files("aligned")))
    with pytest.raises(
        FeropsError, match=r"no label list list_patition_label\.txt.*wanted the folder basic/ of RAF-DB"
    ):
        read_all(rafdb.read_rafdb, only_images)
    with pytest.raises(FeropsError, match=r"7 labels in the list and 0 images"):
        read_all(rafdb.read_rafdb, make_folder(tmp_path / "labels", label_list()))
    two = label_list() | {"compound/EmoLabel/list_patition_label.txt": b"train_00001.jpg 1\n"}
    with pytest.raises(FeropsError, match=r"2 label lists that differ"):
        read_all(rafdb.read_rafdb, make_folder(tmp_path / "two", two | below("basic/Image", image_files("aligned"))))
