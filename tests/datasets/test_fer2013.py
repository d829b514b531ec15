from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ferops.datasets import fer2013
from ferops.errors import FeropsError
from pictures import picture

NAMES = {
    "train/angry/Training_1.jpg": ("anger", "train"),
    "train/surprise/Training_2.jpg": ("surprised", "train"),
    "train/neutral/Training_3.jpg": ("neutral", "train"),
    "test/sad/PublicTest_4.jpg": ("sad", "test"),
    "test/happy/PublicTest_5.jpg": ("happy", "test"),
}


def make_zip(path: Path, members: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def members(names: Any = NAMES) -> dict[str, bytes]:
    return {name: picture(seed) for seed, name in enumerate(names)}


def read(path: Path) -> tuple[list[dict[str, Any]], Counter[str]]:
    skipped: Counter[str] = Counter()
    _, rows = fer2013.read(path, skipped=skipped)
    return list(rows), skipped


@pytest.mark.parametrize("top", ["", "archive/fer2013/"])
def test_zip_and_folder_give_the_same_rows(tmp_path: Path, top: str) -> None:
    content = {top + name: image for name, image in members().items()}
    packed, _ = read(make_zip(tmp_path / "fer.zip", content))
    for name, image in content.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(image)
    unpacked, skipped = read(tmp_path / "folder")
    assert packed == unpacked
    assert not skipped
    assert {row["image"]: (row["label"], row["usage"]) for row in packed} == {
        image: NAMES[name] for name, image in members().items()
    }
    assert {(row["source"], row["subject"]) for row in packed} == {("fer2013", None)}


def test_the_public_part_is_validation_where_the_private_one_is_the_test(tmp_path: Path) -> None:
    names = ["train/fear/Training_1.jpg", "test/fear/PublicTest_2.jpg", "test/fear/PrivateTest_3.jpg"]
    rows, _ = read(make_zip(tmp_path / "fer.zip", members(names)))
    images = {image: name for name, image in members(names).items()}
    assert {images[row["image"]]: row["usage"] for row in rows} == dict(
        zip(names, ["train", "val", "test"], strict=True)
    )


def test_the_folder_decides_where_names_carry_no_part(tmp_path: Path) -> None:
    rows, _ = read(make_zip(tmp_path / "fer.zip", members(["train/fear/im0.png", "test/fear/im1.png"])))
    assert sorted(row["usage"] for row in rows) == ["test", "train"]


def test_what_is_no_picture_is_skipped_and_counted(tmp_path: Path) -> None:
    extra = {
        "README.txt": b"x",
        "train/angry/notes.txt": b"x",
        "train/angry/._Training_1.jpg": b"x",
        "__MACOSX/train/angry/Training_1.jpg": b"x",
        "train/contempt/Training_9.jpg": b"x",
        "train/angry/Training_0.jpg": b"",
    }
    rows, skipped = read(make_zip(tmp_path / "fer.zip", members() | extra))
    assert len(rows) == len(NAMES)
    assert skipped == {
        "not below train/ or test/": 2,
        "not a picture": 2,
        "unknown class folder contempt": 1,
        "empty file": 1,
    }


def test_a_picture_that_cannot_be_decoded_is_kept_for_validation_to_judge(tmp_path: Path) -> None:
    rows, _ = read(make_zip(tmp_path / "fer.zip", members() | {"train/sad/Training_7.jpg": b"no picture"}))
    assert [(row["width"], row["height"]) for row in rows if row["image"] == b"no picture"] == [(0, 0)]


def test_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match=r"absent.zip does not exist; wanted the Kaggle folder release"):
        read(tmp_path / "absent.zip")


def test_a_file_that_is_no_zip(tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n", encoding="utf-8")
    with pytest.raises(FeropsError, match=r"neither a folder nor a zip; wanted"):
        read(tmp_path / "fer2013.csv")


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_zip_that_was_cut_short(tmp_path: Path, kept: float) -> None:
    whole = make_zip(tmp_path / "fer.zip", members()).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(FeropsError, match=r"cut short. Download it again"):
        read(tmp_path / "cut.zip")


def test_a_zip_with_a_damaged_member(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "fer.zip", members(), method=zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.index(picture(1)) + 200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(FeropsError, match=r"Training_2.jpg' cannot be read .*CRC.*damaged"):
        read(path)


@pytest.mark.parametrize("names", [[], ["a.jpg"], ["train/fear/Training_1.jpg"], ["train/joy/1.jpg", "test/joy/2.jpg"]])
def test_a_zip_without_the_layout(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(FeropsError, match=rf"holds {len(names)} files, but not pictures in both"):
        read(make_zip(tmp_path / "fer.zip", members(names)))


@pytest.mark.parametrize(
    "name", ["../train/fear/1.jpg", "/train/fear/1.jpg", "train/..\\..\\x.jpg", "C:/train/fear/1.jpg"]
)
def test_a_member_that_would_leave_the_archive(tmp_path: Path, name: str) -> None:
    with pytest.raises(FeropsError, match=r"name leaves the archive"):
        read(make_zip(tmp_path / "fer.zip", members() | {name: b"x"}))


def test_a_decompression_bomb(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match=r"decompression bomb"):
        read(make_zip(tmp_path / "fer.zip", members() | {"train/fear/Training_6.jpg": bytes(3 * 2**20)}))


def test_a_picture_of_absurd_size(tmp_path: Path) -> None:
    huge = {"train/fear/Training_6.jpg": bytes(fer2013.MAX_IMAGE_BYTES + 1)}
    with pytest.raises(FeropsError, match=r"10485761 bytes; at most 10485760"):
        read(make_zip(tmp_path / "fer.zip", members() | huge))
    for name, content in (members() | huge).items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    with pytest.raises(FeropsError, match=r"10485761 bytes; at most 10485760"):
        read(tmp_path / "folder")
