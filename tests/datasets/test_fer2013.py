from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ferops.datasets import fer2013, fer2013_csv, ferplus
from ferops.datasets.images import decode
from ferops.datasets.untrusted import KEPT
from ferops.errors import FeropsError
from releases import KINDS, make_folder, make_release, make_zip
from sample_images import noise, noise_png

NAMES = {
    "train/angry/Training_1.jpg": ("anger", "train"),
    "train/surprise/Training_2.jpg": ("surprised", "train"),
    "train/neutral/Training_3.jpg": ("neutral", "train"),
    "test/sad/PublicTest_4.jpg": ("sad", "test"),
    "test/happy/PublicTest_5.jpg": ("happy", "test"),
}


def members(names: Any = NAMES) -> dict[str, bytes]:
    return {name: noise_png(seed) for seed, name in enumerate(names)}


def read(path: Path) -> tuple[list[dict[str, Any]], Counter[str]]:
    skipped: Counter[str] = Counter()
    _, rows = fer2013.read_fer2013(path, skipped=skipped)
    return list(rows), skipped


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("top", ["", "archive/fer2013/"])
def test_every_kind_of_release_gives_the_same_rows(tmp_path: Path, kind: str, top: str) -> None:
    rows, skipped = read(make_release(tmp_path, kind, {top + name: image for name, image in members().items()}))
    assert not skipped
    assert {row["image"]: (row["label"], row["usage"]) for row in rows} == {
        image: NAMES[name] for name, image in members().items()
    }
    assert {(row["source"], row["subject"]) for row in rows} == {("fer2013", None)}


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


def test_what_is_no_image_is_skipped_and_counted(tmp_path: Path) -> None:
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
        "not below train/ or test/": 1,
        "not an image": 1,
        "litter of an operating system (__MACOSX, .DS_Store, Thumbs.db ...)": 2,
        "unknown class folder contempt": 1,
        "empty file": 1,
    }


def test_an_image_that_cannot_be_decoded_is_kept_for_validation_to_judge(tmp_path: Path) -> None:
    rows, _ = read(make_zip(tmp_path / "fer.zip", members() | {"train/sad/Training_7.jpg": b"no image"}))
    assert [(row["width"], row["height"]) for row in rows if row["image"] == b"no image"] == [(0, 0)]


def test_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(
        FeropsError, match=r"absent.zip does not exist; wanted fer2013.csv .* or the Kaggle folder release"
    ):
        read(tmp_path / "absent.zip")


def test_a_file_that_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "fer2013.txt").write_text("emotion,pixels,Usage\n", encoding="utf-8")
    with pytest.raises(FeropsError, match=r"neither a folder nor a zip or tar; wanted"):
        read(tmp_path / "fer2013.txt")


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_zip_that_was_cut_short(tmp_path: Path, kept: float) -> None:
    whole = make_zip(tmp_path / "fer.zip", members()).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(FeropsError, match=r"cut short. Download it again"):
        read(tmp_path / "cut.zip")


def test_a_zip_with_a_damaged_member(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "fer.zip", members(), method=zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.index(noise_png(1)) + 200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(FeropsError, match=r"Training_2.jpg' cannot be read .*CRC.*damaged"):
        read(path)


@pytest.mark.parametrize("names", [[], ["a.jpg"], ["train/fear/Training_1.jpg"], ["train/joy/1.jpg", "test/joy/2.jpg"]])
def test_a_zip_without_the_layout(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(FeropsError, match=rf"holds {len(names)} files.*, but not images in both"):
        read(make_zip(tmp_path / "fer.zip", members(names)))


# --- the CSV ------------------------------------------------------------------------------------------------------

LINES = [
    *((code, "Training") for code in range(3)),
    (3, "PublicTest"),
    (4, "PublicTest"),
    *((code, "PrivateTest") for code in (5, 6)),
]
LABELLED = [
    ("anger", "train"), ("disgust", "train"), ("fear", "train"), ("happy", "val"), ("sad", "val"),
    ("surprised", "test"), ("neutral", "test"),
]  # fmt: skip
VOTES = [[number, 9, 8, 7, 6, 5, 4, 3, 2, 1] for number in range(len(LINES))]


def table_of(images: Iterable[tuple[int, NDArray[np.uint8], str]], *, header: str = "emotion,pixels,Usage") -> bytes:
    """A CSV as Kaggle has it: (code, pixels (48, 48), part) a line, in the header's order of columns."""
    columns = [name.strip().lower() for name in header.split(",")]
    lines = [header]
    for code, pixels, part in images:
        cells = {"emotion": str(code), "pixels": " ".join(str(level) for level in pixels.ravel()), "usage": part}
        lines.append(",".join(cells[column] for column in columns))
    return ("\n".join(lines) + "\n").encode()


def votes_of(lines: Iterable[tuple[str, str, list[int]]]) -> bytes:
    """FERPlus's file: (part, image name or "", ten votes) a line."""
    header = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    return "\n".join([header, *(f"{part},{name},{','.join(map(str, votes))}" for part, name, votes in lines)]).encode()


def table(*, header: str = "emotion,pixels,Usage", lines: Any = LINES) -> bytes:
    return table_of(((code, noise(seed), part) for seed, (code, part) in enumerate(lines)), header=header)


def votes(lines: Any = LINES) -> bytes:
    # as in the real file, the names' numbers need not be those of the lines, and a removed image has none
    named = [(part, "" if number == 2 else f"fer{number + 5:07}.png") for number, (_, part) in enumerate(lines)]
    return votes_of((part, name, counts) for (part, name), counts in zip(named, VOTES, strict=False))


@pytest.mark.parametrize(
    ("file", "header"),
    [("fer2013.csv", "emotion,pixels,Usage"), ("icml_face_data.csv", "emotion, Usage, pixels")],
)
@pytest.mark.parametrize("kind", [*KINDS, "file"])
def test_the_csv_becomes_lossless_images(tmp_path: Path, kind: str, file: str, header: str) -> None:
    content = {f"top/{file}": table(header=header)}
    path = make_folder(tmp_path, content) / "top" / file if kind == "file" else make_release(tmp_path, kind, content)
    rows, skipped = read(path)
    assert [(row["label"], row["usage"]) for row in rows] == LABELLED
    for seed, row in enumerate(rows):
        assert np.array_equal(decode(row["image"]), np.repeat(noise(seed)[..., None], 3, axis=2))
        assert (row["width"], row["height"]) == (48, 48)
    assert not skipped


def test_the_images_of_the_csv_are_the_same_bytes_on_every_machine() -> None:
    image = fer2013_csv.png(noise(0).tobytes(), width_px=48)
    assert len(image) == 2352 + 68  # 48 rows of 49 bytes, stored as they are
    assert noise(0)[3].tobytes() in image
    # a tall and narrow one, so that width and height cannot be taken for one another
    assert (
        decode(fer2013_csv.png(bytes(range(12)), width_px=3))[..., 0].tolist() == np.arange(12).reshape(4, 3).tolist()
    )


def test_without_a_private_part_the_public_one_is_the_test(tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv").write_bytes(table(lines=LINES[:5]))
    rows, _ = read(tmp_path / "fer2013.csv")
    assert [row["usage"] for row in rows] == ["train", "train", "train", "test", "test"]


def test_the_original_csv_goes_before_its_copies(tmp_path: Path) -> None:
    content = {"a/icml_face_data.csv": b"x", "fer2013.csv": table(), "README": b"x", "b/fer2013.csv": b"x"}
    rows, skipped = read(make_zip(tmp_path / "fer.zip", content))
    assert len(rows) == len(LINES)
    assert skipped == {"not fer2013.csv, which holds every image": 3}


@pytest.mark.parametrize("kind", [*KINDS, "file"])
def test_votes_beside_the_csv_travel_with_the_images(tmp_path: Path, kind: str) -> None:
    content = {"fer2013/fer2013.csv": table(), "fer2013/fer2013new.csv": votes()}
    folder = make_folder(tmp_path, content) / "fer2013"
    rows, skipped = read(folder / "fer2013.csv" if kind == "file" else make_release(tmp_path, kind, content))
    assert not skipped
    assert [row["votes_neutral"] for row in rows] == list(range(len(LINES)))
    wanted = {"happy": 9, "surprised": 8, "sad": 7, "anger": 6, "disgust": 5, "fear": 4, "contempt": 3}
    wanted |= {"unknown": 2, "not_a_face": 1}
    for row in rows:
        assert {name: row[f"votes_{name}"] for name in wanted} == wanted


def test_votes_of_another_length_or_order_are_refused(tmp_path: Path) -> None:
    make_folder(tmp_path, {"fer2013.csv": table(), "fer2013new.csv": votes(LINES[:6])})
    with pytest.raises(FeropsError, match=r"has 6 lines of votes, but the CSV beside it 7 images"):
        read(tmp_path / "fer2013.csv")
    (tmp_path / "fer2013new.csv").write_bytes(votes(LINES[::-1]))
    with pytest.raises(FeropsError, match=r"its image 1 is 'PrivateTest', in the CSV beside it 'Training'"):
        read(tmp_path / "fer2013.csv")
    (tmp_path / "fer2013new.csv").write_bytes(votes().replace(b",9,", b",many,", 1))
    with pytest.raises(FeropsError, match=r"fer2013new.csv, line 2: votes are whole numbers"):
        read(tmp_path / "fer2013.csv")


@pytest.mark.parametrize("shift", [0, 1])
def test_votes_that_are_shifted_by_a_line_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: int
) -> None:
    monkeypatch.setattr(ferplus, "ENOUGH_TO_JUDGE", 100)
    codes = np.random.default_rng(0).integers(0, 7, 200)
    column = [4, 5, 6, 1, 3, 2, 0]  # of FERPlus, for each code
    lines = [("Training", "a.png", [10 * (column[code] == k) for k in range(10)]) for code in np.roll(codes, shift)]
    pixels = noise(0)
    make_folder(
        tmp_path,
        {"fer2013.csv": table_of((code, pixels, "Training") for code in codes), "fer2013new.csv": votes_of(lines)},
    )
    if shift:
        with pytest.raises(FeropsError, match=r"of 200 labels have the most votes, as if .* for other images"):
            read(tmp_path)
    else:
        assert len(read(tmp_path)[0]) == 200


def test_votes_without_the_csv_are_told(tmp_path: Path) -> None:
    _, skipped = read(make_zip(tmp_path / "fer.zip", members() | {"fer2013new.csv": votes()}))
    assert skipped["fer2013new.csv: its votes follow the order of fer2013.csv, which is not there"] == 1


BROKEN = {
    "9,{pixels},Training": "emotion '9' is not a code from 0 to 6",
    ",{pixels},Training": "emotion '' is not a code from 0 to 6",
    "0,{pixels},Holdout": "Usage 'Holdout' is not one of Training, PublicTest, PrivateTest",
    "0,{pixels} 7,Training": "2305 pixels instead of 2304",
    "0,,Training": "0 pixels instead of 2304",
    "0,{pixels}x,Training": "a pixel is not a whole number from 0 to 255",
    "0,1{pixels}000,Training": "a pixel is not a whole number from 0 to 255",
    "0": "Usage '' is not one of",
}


@pytest.mark.parametrize("line", BROKEN)
def test_a_broken_line_is_left_out_with_its_number(tmp_path: Path, line: str) -> None:
    pixels = " ".join(str(level) for level in noise(0).ravel())
    lines = table().decode().splitlines()
    lines.insert(3, line.format(pixels=pixels))
    (tmp_path / "fer2013.csv").write_text("\n".join(lines), encoding="utf-8")
    rows, skipped = read(tmp_path / "fer2013.csv")
    assert [(row["label"], row["usage"]) for row in rows] == LABELLED
    [(reason, count)] = skipped.items()
    assert reason.startswith(f"line 4: {BROKEN[line]}")
    assert count == 1


def test_more_than_a_few_broken_lines_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv").write_bytes(table() + b"0,1 2 3,Training\n" * 11)
    with pytest.raises(FeropsError, match=r"more than 10 lines are not images of FER2013 \(line 9: 3 pixels"):
        read(tmp_path / "fer2013.csv")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"lacks the columns \['emotion', 'pixels', 'usage'\]; it has \[\]"),
        (b"pixels\n1 2 3\n", r"lacks the columns \['emotion', 'usage'\]; it has \['pixels'\]"),
        (b"emotion,pixels,Usage,usage\n", r"has a column twice"),
        (b"\x89PNG\r\n" + bytes(range(256)), r"lacks the columns"),
        (b"emotion,pixels,Usage\n" + b"1 " * 2**19, r"a line of more than 1048576 characters"),
    ],
)
def test_a_csv_that_is_something_else(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "fer2013.csv").write_bytes(content)
    with pytest.raises(FeropsError, match=said):
        read(tmp_path / "fer2013.csv")


# --- votes by file name

HEADER = "file,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def named_votes(path: Path, lines: Iterable[str], *, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def read_voted(release: Path, votes: Path) -> tuple[list[dict[str, Any]], Counter[str]]:
    skipped: Counter[str] = Counter()
    _, rows = fer2013.read_fer2013(release, skipped=skipped, votes=votes)
    return list(rows), skipped


@pytest.mark.parametrize("kind", KINDS)
def test_votes_by_file_name_reach_their_images(tmp_path: Path, kind: str) -> None:
    release = make_release(tmp_path, kind, members())
    file = named_votes(
        tmp_path / "votes.csv",
        [
            "train/angry/Training_1.jpg,1,0,0,0,8,1,0,0,0,0",
            "PublicTest_5.jpg,0,9,0,0,0,0,0,0,0,1",
            "gone.jpg" + ",1" * 10,
        ],
    )
    rows, skipped = read_voted(release, file)
    assert skipped == {"line of the votes without an image": 1, f"image without votes{KEPT}": 3}
    by_image = {row["image"]: row for row in rows}
    images = members()
    angry, happy = by_image[images["train/angry/Training_1.jpg"]], by_image[images["test/happy/PublicTest_5.jpg"]]
    assert (angry["label"], angry["votes_anger"], angry["votes_disgust"], angry["votes_neutral"]) == ("anger", 8, 1, 1)
    assert (happy["votes_happy"], happy["votes_not_a_face"]) == (9, 1)
    assert by_image[images["train/surprise/Training_2.jpg"]]["votes_anger"] is None
    assert len({frozenset(row) for row in rows}) == 1


def test_a_name_in_two_folders_gets_no_votes(tmp_path: Path) -> None:
    """Kaggle's release has one name twice, with different pictures; nobody knows which the votes are for."""
    names = ["train/angry/Training_1.jpg", "train/sad/Training_1.jpg", "test/fear/PublicTest_2.jpg"]
    lines = ["Training_1.jpg" + ",1" * 10, "Training_1.jpg" + ",2" * 10, "PublicTest_2.jpg" + ",3" * 10]
    rows, skipped = read_voted(make_zip(tmp_path / "fer.zip", members(names)), named_votes(tmp_path / "v.csv", lines))
    assert sorted(row["votes_fear"] or 0 for row in rows) == [0, 0, 3]
    assert skipped == {"line of the votes for a name that several images have": 2, f"image without votes{KEPT}": 2}


@pytest.mark.parametrize(
    ("lines", "header", "message"),
    [
        (["Training_1.jpg" + ",1" * 10] * 2, HEADER, r"line 3: 'Training_1\.jpg' has votes in line 2 already"),
        (["Training_1.jpg" + ",1.5" * 10], HEADER, "line 2: votes are whole numbers from 0 to 255"),
        (["Training_1.jpg" + ",-1" * 10], HEADER, "line 2: votes are whole numbers from 0 to 255"),
        (["Training_1.jpg,1,2"], HEADER, "line 2: votes are whole numbers from 0 to 255"),
        (["other.jpg" + ",1" * 10], HEADER, "has votes for 1 images, and this release has no image"),
        ([], HEADER, "has votes for 0 images"),
        (["Training,1" + ",1" * 10], HEADER.replace("file", "usage"), r"lacks the columns \['file'\]"),
    ],
)
def test_unfit_votes_refuse_the_import(tmp_path: Path, lines: list[str], header: str, message: str) -> None:
    file = named_votes(tmp_path / "votes.csv", lines, header=header)
    with pytest.raises(FeropsError, match=message):
        read_voted(make_zip(tmp_path / "fer.zip", members()), file)


def test_votes_for_other_images_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ferplus, "ENOUGH_TO_JUDGE", 5)
    lines = [f"{name.rsplit('/')[-1]},0,0,0,0,0,9,0,0,0,0" for name in NAMES]
    with pytest.raises(FeropsError, match=r"only 0 of 5 labels have the most votes.* Take the votes that belong"):
        read_voted(make_zip(tmp_path / "fer.zip", members()), named_votes(tmp_path / "votes.csv", lines))


def test_votes_that_are_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match=r"named by --votes, is not a file; wanted a CSV with the columns file, neut"):
        read_voted(make_zip(tmp_path / "fer.zip", members()), tmp_path / "gone.csv")


def test_the_csv_takes_its_votes_line_by_line(tmp_path: Path) -> None:
    make_folder(tmp_path / "fer", {"fer2013.csv": table()})
    file = named_votes(tmp_path / "votes.csv", [])
    for path in (tmp_path / "fer", tmp_path / "fer" / "fer2013.csv"):
        with pytest.raises(FeropsError, match=r"takes its votes from fer2013new\.csv in the same folder, line by line"):
            read_voted(path, file)


@pytest.mark.real
@pytest.mark.slow
def test_the_real_votes_fit_the_real_release() -> None:
    shared = Path(__file__).parents[3] / "shared" / "data"
    release, file = shared / "fer2013.zip", shared / "ferplus_votes.csv"
    if not (release.exists() and file.exists()):
        pytest.skip("no ../shared/data here")
    rows, skipped = read_voted(release, file)
    voted = [row for row in rows if row["votes_neutral"] is not None]
    assert (len(rows), len(voted)) == (32_298, 31_417)
    assert skipped["line of the votes for a name that several images have"] == 3
    assert sum(row[f"votes_{row['label']}"] >= 5 for row in voted) > 0.5 * len(voted)
