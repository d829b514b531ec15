from __future__ import annotations

from pathlib import Path

import pytest

from ferops.datasets import ckplus
from ferops.errors import FeropsError
from published import read_all, zip_below
from releases import make_folder, make_zip
from sample_images import noise_png

SEQUENCES = {"S005_001": (11, 3), "S010_004": (5, 1), "S138_008": (9, 2), "S010_002": (4, 7), "S999_001": (3, 5)}
"""sequence -> frames, code of the documentation; S010_006 below has no label."""
WORDS = {
    "S005_001": "disgust",
    "S010_004": "anger",
    "S138_008": "contempt",
    "S010_002": "surprised",
    "S999_001": "happy",
}

CLASSES_48 = {
    "anger": "anger",
    "contempt": "contempt",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "sadness": "sad",
    "surprise": "surprised",
}


def frame(sequence: str, number: int) -> str:
    subject, take = sequence.split("_")
    return f"cohn-kanade-images/{subject}/{take}/{sequence}_{number:08d}.png"


def image(sequence: str, number: int) -> bytes:
    return noise_png(int(sequence[1:4]) * 100_000 + int(sequence[5:]) * 100 + number, size_px=8)


def frames() -> dict[str, bytes]:
    lengths = {sequence: count for sequence, (count, _) in SEQUENCES.items()} | {"S010_006": 6}
    return {
        frame(sequence, number): image(sequence, number)
        for sequence, count in lengths.items()
        for number in range(1, count + 1)
    }


def labels() -> dict[str, bytes]:
    return {
        f"Emotion/{sequence[:4]}/{sequence[5:]}/{sequence}_{count:08d}_emotion.txt": f"   {code:.7e}\n".encode()
        for sequence, (count, code) in SEQUENCES.items()
    }


def original() -> dict[str, bytes]:
    return {
        **frames(),
        **labels(),
        "FACS/S005/001/S005_001_00000011_facs.txt": b"   9.0000000e+00   0.0\n",
        "Landmarks/S005/001/S005_001_00000001_landmarks.txt": b"1 2\n",
        "ReadMeCohnKanadeDatabase_website.txt": b"The Extended Cohn-Kanade Database",
    }


def small() -> dict[str, bytes]:
    names = [
        f"CK+48/{folder}/S{number:03d}_001_{frame_number:08d}.png"
        for number, folder in enumerate(CLASSES_48, 10)
        for frame_number in (7, 8, 9)
    ]
    return {name: noise_png(seed, size_px=8) for seed, name in enumerate(names)}


def test_the_last_three_frames_of_each_labelled_sequence(tmp_path: Path) -> None:
    rows, skipped = read_all(ckplus.read_ckplus, make_folder(tmp_path / "ck", original()))
    wanted = {
        image(sequence, number): (WORDS[sequence], sequence[:4])
        for sequence, (count, _) in SEQUENCES.items()
        for number in (count - 2, count - 1, count)
    }
    assert {row["image"]: (row["label"], row["subject"]) for row in rows} == wanted
    assert len(rows) == 15
    assert {(row["source"], row["usage"], row["width"], row["height"]) for row in rows} == {("ckplus", None, 8, 8)}
    assert skipped == {
        "sequence without an emotion label": 1,
        "frame before the last three of a labelled sequence": 8 + 2 + 6 + 1,
        "neither a frame nor an emotion label (FACS codes, landmarks, documents)": 3,
    }


def test_the_archives_as_published_in_one_folder(tmp_path: Path) -> None:
    unpacked, _ = read_all(ckplus.read_ckplus, make_folder(tmp_path / "ck", original()))
    root = tmp_path / "CK+"
    zip_below(root, "extended-cohn-kanade-images.zip", frames())
    make_zip(root / "Emotion_labels.zip", labels())
    make_zip(root / "FACS_labels.zip", {"FACS/S005/001/S005_001_00000011_facs.txt": b"9 0\n"})
    make_zip(root / "Landmarks.zip", {"Landmarks/S005/001/S005_001_00000001_landmarks.txt": b"1 2\n"})
    packed, _ = read_all(ckplus.read_ckplus, root)
    assert packed == unpacked
    one, _ = read_all(
        ckplus.read_ckplus, make_zip(tmp_path / "all.zip", {f"CK+/{k}": v for k, v in original().items()})
    )
    assert one == unpacked


def test_archives_left_beside_what_they_unpack_to_count_once(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "ck", original())
    make_zip(root / "extended-cohn-kanade-images.zip", frames())
    make_zip(root / "Emotion_labels.zip", labels())
    (root / next(iter(labels()))).unlink()  # so that not all of this archive is there a second time
    rows, skipped = read_all(ckplus.read_ckplus, root)
    assert len(rows) == 15
    assert skipped["archive beside all of its files (taken as unpacked already)"] == 1
    assert skipped["second copy of an emotion label (unpacked beside its archive?)"] == len(labels()) - 1


def test_frames_are_ordered_by_their_number(tmp_path: Path) -> None:
    numbers = {"S005/001/S005_001_9.png": 9, "S005/001/S005_001_10.png": 10, "S005/001/S005_001_00000008.png": 8}
    files = {f"x/{name}": image("S005_001", number) for name, number in numbers.items()}
    files |= {frame("S005_001", 2): image("S005_001", 2)}
    files |= {"Emotion/S005/001/S005_001_00000010_emotion.txt": b"6"}
    rows, _ = read_all(ckplus.read_ckplus, make_folder(tmp_path, files))
    assert [row["image"] for row in rows] == [image("S005_001", number) for number in (8, 9, 10)]
    assert {row["label"] for row in rows} == {"sad"}


@pytest.mark.parametrize("content", [b"", b"8.0", b"-1", b"3.5", b"nan", b"inf", b"1 2", b"\xff\xfe", b"happy"])
def test_a_label_without_a_code_is_counted(tmp_path: Path, content: bytes) -> None:
    files = original() | {"Emotion/S005/001/S005_001_00000011_emotion.txt": content}
    rows, skipped = read_all(ckplus.read_ckplus, make_folder(tmp_path, files))
    assert len(rows) == 12
    assert "disgust" not in {row["label"] for row in rows}
    assert skipped["emotion label that holds no code from 0 to 7"] == 1


def test_every_code_has_its_word(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for code in range(8):
        files[frame(f"S100_00{code}", 1)] = image(f"S100_00{code}", 1)
        files[f"Emotion/S100/00{code}/S100_00{code}_00000001_emotion.txt"] = f"   {code:.7e}\n".encode()
    rows, _ = read_all(ckplus.read_ckplus, make_folder(tmp_path, files))
    words = ["neutral", "anger", "contempt", "disgust", "fear", "happy", "sad", "surprised"]
    assert [row["label"] for row in rows] == words


@pytest.mark.parametrize("top", ["", "archive/ckplus/"])
def test_the_class_folders(tmp_path: Path, top: str) -> None:
    files = {top + name: content for name, content in small().items()}
    rows, skipped = read_all(ckplus.read_ckplus, make_zip(tmp_path / "ck48.zip", files))
    assert not skipped
    assert {row["image"]: (row["label"], row["subject"]) for row in rows} == {
        content: (CLASSES_48[name.split("/")[1]], name.split("/")[2][:4]) for name, content in small().items()
    }
    assert {(row["source"], row["usage"]) for row in rows} == {("ckplus", None)}
    assert read_all(ckplus.read_ckplus, make_folder(tmp_path / "f", files))[0] == rows


def test_what_else_lies_in_the_class_folders_is_counted(tmp_path: Path) -> None:
    files = small() | {
        "CK+48/calm/S010_001_00000001.png": noise_png(1),
        "CK+48/anger/face.png": noise_png(2),
        "CK+48/anger/S010_009_00000001.png": b"",
        "CK+48/anger/S010_001_00000007.png.part": b"x",
    }
    rows, skipped = read_all(ckplus.read_ckplus, make_folder(tmp_path, files))
    assert len(rows) == 21
    assert skipped == {
        "unknown class folder 'calm'": 1,
        "neither a frame nor an emotion label (FACS codes, landmarks, documents)": 2,
        "empty file": 1,
    }


def test_one_image_in_two_classes_stays_twice(tmp_path: Path) -> None:
    files = small() | {"CK+48/fear/S010_001_00000007.png": small()["CK+48/anger/S010_001_00000007.png"]}
    rows, skipped = read_all(ckplus.read_ckplus, make_folder(tmp_path, files))
    assert len(rows) == 22  # whether an image has two labels is for the stage `validate` to judge
    assert not skipped


def test_a_mixture_of_both_releases_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match=r"mixes both releases.*21 images in class folders.*38 frames.*5 emotion"):
        read_all(ckplus.read_ckplus, make_folder(tmp_path / "all", original() | small()))
    with pytest.raises(FeropsError, match=r"mixes both releases.*beside 38 frames of sequences and 0 emotion labels"):
        read_all(ckplus.read_ckplus, make_folder(tmp_path / "frames", frames() | small()))
    with pytest.raises(FeropsError, match=r"mixes both releases"):
        read_all(ckplus.read_ckplus, make_folder(tmp_path / "labels", labels() | small()))


def test_half_of_a_release(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match=r"5 emotion labels of CK\+ without the frames.*both cohn-kanade-images/"):
        read_all(ckplus.read_ckplus, make_folder(tmp_path / "labels", labels()))
    with pytest.raises(FeropsError, match=r"38 frames of CK\+ with neither emotion labels.*Emotion_labels.zip"):
        read_all(ckplus.read_ckplus, make_zip(tmp_path / "extended-cohn-kanade-images.zip", frames()))
    one_class = make_folder(tmp_path / "small", small()) / "CK+48" / "anger"
    with pytest.raises(FeropsError, match=r"3 frames of CK\+ with .*nor class folders.*zip of the class folders"):
        read_all(ckplus.read_ckplus, one_class)
    with pytest.raises(FeropsError, match=r"neither frames nor emotion labels of CK\+.*wanted either the original"):
        read_all(ckplus.read_ckplus, make_folder(tmp_path / "other", {"train/happy/1.jpg": noise_png(1)}))


def test_labels_and_frames_of_different_sequences(tmp_path: Path) -> None:
    files = {name: content for name, content in original().items() if "S999/001" not in name or "Emotion" in name}
    rows, skipped = read_all(ckplus.read_ckplus, make_folder(tmp_path / "some", files))
    assert len(rows) == 12
    assert skipped["emotion label without its sequence of frames"] == 1
    none = {frame("S010_006", 1): image("S010_006", 1), **labels()}
    with pytest.raises(FeropsError, match=r"no one of 5 emotion labels holds a code from 0 to 7 for one of 1 seq"):
        read_all(ckplus.read_ckplus, make_folder(tmp_path / "none", none))
