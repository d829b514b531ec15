from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ferops.datasets import fairface
from ferops.errors import FeropsError
from published import read_all
from releases import make_folder, make_zip
from sample_images import encoded, noise, noise_png

LINES = {
    "train/1.jpg": "59,Male,East Asian,True",
    "train/2.jpg": "30-39,Female,Indian,False",
    "train/86744.jpg": "more than 70,Male,Latino_Hispanic,False",
    "val/1.jpg": "3-9,Male,Southeast Asian,False",
    "val/10954.jpg": "0-2,Female,Middle Eastern,True",
}
"""file -> the rest of its line, as in the published lists; the first age is no band, which is none of our business."""

HEADER = "file,age,gender,race,service_test"


def image_files(size_px: int = 12) -> dict[str, bytes]:
    return {name: encoded(noise(i, size_px=size_px), kind="JPEG") for i, name in enumerate(LINES)}


def lists(lines: dict[str, str] = LINES, *, header: str = HEADER) -> dict[str, bytes]:
    return {
        f"fairface_label_{part}.csv": "\n".join(
            [header, *(f"{name},{rest}" for name, rest in lines.items() if name.startswith(part)), ""]
        ).encode()
        for part in ("train", "val")
    }


def release() -> dict[str, bytes]:
    """One folder with everything unpacked."""
    return lists() | {f"fairface-img-margin025-trainval/{name}": image for name, image in image_files().items()}


def facts(rows: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    columns = ("image", "label", "usage", "subject", "group_age", "group_gender", "group_race")
    return {tuple(row[column] for column in columns) for row in rows}


WANTED = {
    (image_files()["train/1.jpg"], None, "train", None, "59", "male", "East Asian"),
    (image_files()["train/2.jpg"], None, "train", None, "30-39", "female", "Indian"),
    (image_files()["train/86744.jpg"], None, "train", None, "more than 70", "male", "Latino_Hispanic"),
    (image_files()["val/1.jpg"], None, "val", None, "3-9", "male", "Southeast Asian"),
    (image_files()["val/10954.jpg"], None, "val", None, "0-2", "female", "Middle Eastern"),
}


def test_lists_beside_the_zip_as_downloaded(tmp_path: Path) -> None:
    make_folder(tmp_path, lists())
    make_zip(tmp_path / "fairface-img-margin025-trainval.zip", image_files())
    rows, skipped = read_all(fairface.read_fairface, tmp_path)
    assert facts(rows) == WANTED
    assert not skipped


@pytest.mark.parametrize("top", ["", "fairface-img-margin025-trainval/", "data/FairFace/"])
def test_images_unpacked_at_any_depth(tmp_path: Path, top: str) -> None:
    files = lists() | {top + name: image for name, image in image_files().items()}
    rows, skipped = read_all(fairface.read_fairface, make_folder(tmp_path, files))
    assert facts(rows) == WANTED
    assert not skipped


def test_of_two_margins_the_wider_one_is_taken(tmp_path: Path) -> None:
    make_folder(tmp_path, lists())
    make_zip(tmp_path / "fairface-img-margin025-trainval.zip", image_files(12))
    make_zip(tmp_path / "fairface-img-margin125-trainval.zip", image_files(30))
    rows, skipped = read_all(fairface.read_fairface, tmp_path)
    assert {row["width"] for row in rows} == {30}
    assert skipped == {"further copy of the images, as fairface-img-margin125-trainval was taken": 5}


def test_a_validation_part_alone(tmp_path: Path) -> None:
    files = {name: content for name, content in release().items() if "train/" not in name and "train.csv" not in name}
    rows, skipped = read_all(fairface.read_fairface, make_folder(tmp_path, files))
    assert facts(rows) == {row for row in WANTED if row[2] == "val"}
    assert not skipped


def test_what_does_not_fit_together_is_counted(tmp_path: Path) -> None:
    lines = LINES | {"train/3.jpg": "20-29,Male,White,False", "elsewhere.jpg": "20-29,Male,White,False"}
    files = release() | lists(lines)
    files["fairface_label_train.csv"] += b"elsewhere.jpg,20-29,Male,White,False\ntrain/1.jpg,20-29,Male,White,True\n"
    files |= {"fairface-img-margin025-trainval/train/4.jpg": noise_png(9), "README.md": b"#"}
    files["fairface-img-margin025-trainval/train/2.jpg"] = b""
    rows, skipped = read_all(fairface.read_fairface, make_folder(tmp_path, files))
    assert skipped == {
        "line in a label list without its image": 1,
        "line of a label list that is not like 'train/1.jpg,50-59,Male,East Asian,True'": 1,
        "image with two different lines in the label lists, its groups empty (kept)": 1,
        "image without a line in the label lists": 1,
        "not an image below train/ or val/": 1,
        "empty file": 1,
    }
    twice = (image_files()["train/1.jpg"], None, "train", None, None, None, None)
    assert facts(rows) == {row for row in WANTED if row[4] not in ("59", "30-39")} | {twice}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "holds 0 files, but neither fairface_label_train.csv nor fairface_label_val.csv"),
        (image_files(), "holds 5 files.*but neither fairface_label_train.csv"),
        (lists(), "no one of 5 lines in the label lists belongs to one of 0 images"),
        (image_files() | lists(header="file,age,gender,ethnicity,service_test"), "lacks the columns \\['race'\\]"),
    ],
)
def test_another_layout_is_an_error_that_says_what_is_wanted(
    tmp_path: Path, files: dict[str, bytes], said: str
) -> None:
    with pytest.raises(FeropsError, match=said):
        read_all(
            fairface.read_fairface, make_folder(tmp_path / "there", files | {}) if files else _empty(tmp_path / "there")
        )


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_what_is_wanted_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match=r"wanted one folder with fairface_label_train\.csv.*margin125-trainval\.zip"):
        read_all(fairface.read_fairface, make_zip(tmp_path / "fairface-img-margin025-trainval.zip", image_files()))
