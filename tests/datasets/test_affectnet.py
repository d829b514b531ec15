from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferops.datasets import affectnet
from ferops.errors import FeropsError
from published import read_all
from releases import make_folder, make_tar, make_zip
from sample_images import encoded, noise, noise_png

WORDS = {
    0: "neutral",
    1: "happy",
    2: "sad",
    3: "surprised",
    4: "fear",
    5: "disgust",
    6: "anger",
    7: "contempt",
}
"""Table 3 of the paper, in the words of ferops."""

NO_EXPRESSION = {
    "code 8: the face shows another expression": 1,
    "code 9: the annotator was uncertain": 1,
    "code 10: no face": 1,
}

HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
LANDMARKS = ";".join(f"{20.5 + i:.2f};{30.25 + i:.2f}" for i in range(68))

Fact = tuple[bytes, str | None, str | None]


def image(seed: int) -> bytes:
    return encoded(noise(seed, size_px=10), kind="JPEG")


def line(file: str, code: int) -> str:
    return f"{file},134,134,899,899,{LANDMARKS},{code},-0.017253,0.004313\n"


def file_of(seed: int) -> str:
    """A place as in the lists: a numbered folder and a hash."""
    return f"{seed % 3 + 1}/{seed:056x}.jpg"


def listed(top: str = "Manually_Annotated/Manually_Annotated_Images/") -> dict[str, bytes]:
    """Training images of the codes 0 to 10, validation ones of 0 to 7, that list without column names."""
    training = "".join(line(file_of(code), code) for code in range(11))
    validation = "".join(line(file_of(100 + code), code) for code in range(8))
    files = {
        "Manually_Annotated_file_lists/training.csv": (HEADER + training).encode(),
        "Manually_Annotated_file_lists/validation.csv": validation.encode(),
    }
    return files | {top + file_of(seed): image(seed) for seed in [*range(11), *range(100, 108)]}


def npy(value: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, np.array(value))
    return out.getvalue()


def numbered(*, kind: str = "npy", val: str = "val_set", codes: range = range(8)) -> dict[str, bytes]:
    """The eight-label release: codes are texts in 0-d arrays, as published; AffectNet+ has JSON."""
    files: dict[str, bytes] = {}
    for part, first in (("train_set", 0), (val, 100)):
        for code in codes:
            files[f"{part}/images/{first + code}.jpg"] = image(first + code)
            stem = f"{part}/annotations/{first + code}"
            if kind == "npy":
                files |= {
                    f"{stem}_exp.npy": npy(str(code)),
                    f"{stem}_val.npy": npy("-0.5"),
                    f"{stem}_lnd.npy": npy([1.0]),
                }
            else:
                files[f"{stem}.json"] = json.dumps({"human-label": code, "soft-label": [0.1] * 8}).encode()
    return files


def class_folders(names: dict[int, str] | None = None) -> dict[str, bytes]:
    names = names or {code: str(code) for code in range(8)}
    return {
        f"{part}/{names[code]}/image{first + code:07d}.jpg": image(first + code)
        for part, first in (("train", 0), ("val", 100))
        for code in range(8)
    }


def facts(rows: list[dict[str, Any]]) -> list[Fact]:
    assert {(row["source"], row["subject"]) for row in rows} == {("affectnet", None)}
    return sorted((row["image"], row["label"], row["usage"]) for row in rows)


WANTED = sorted(
    [(image(code), word, "train") for code, word in WORDS.items()]
    + [(image(100 + code), word, "val") for code, word in WORDS.items()]
)


@pytest.mark.parametrize(
    "top", ["Manually_Annotated/Manually_Annotated_Images/", "Manually_Annotated_Images/", "", "a/b/"]
)
def test_lists_with_and_without_column_names(tmp_path: Path, top: str) -> None:
    rows, skipped = read_all(affectnet.read_affectnet, make_folder(tmp_path, listed(top)))
    assert facts(rows) == WANTED
    assert skipped == NO_EXPRESSION


def test_lists_and_images_in_several_archives(tmp_path: Path) -> None:
    files = listed("")
    lists = {name: content for name, content in files.items() if name.endswith(".csv")}
    for folder in ("1", "2", "3"):
        part = {f"Manually_Annotated_Images/{name}": x for name, x in files.items() if name.startswith(f"{folder}/")}
        make_tar(tmp_path / f"Manually_Annotated_{folder}.tar.gz", part)
    make_zip(tmp_path / "Manually_Annotated_file_lists.zip", {name.split("/")[1]: x for name, x in lists.items()})
    rows, skipped = read_all(affectnet.read_affectnet, tmp_path)
    assert facts(rows) == WANTED
    assert skipped == NO_EXPRESSION


@pytest.mark.parametrize(("kind", "val"), [("npy", "val_set"), ("json", "validation_set")])
def test_one_annotation_file_per_image(tmp_path: Path, kind: str, val: str) -> None:
    rows, skipped = read_all(affectnet.read_affectnet, make_folder(tmp_path, numbered(kind=kind, val=val)))
    assert facts(rows) == WANTED
    assert not skipped


def test_an_archive_per_part_unpacked_into_a_folder_of_its_name(tmp_path: Path) -> None:
    for part in ("train_set", "val_set"):
        files = {name: content for name, content in numbered().items() if name.startswith(part)}
        make_zip(tmp_path / f"{part}.zip", files)  # train_set/train_set/images/0.jpg
    rows, skipped = read_all(affectnet.read_affectnet, tmp_path)
    assert facts(rows) == WANTED
    assert not skipped


@pytest.mark.parametrize(
    "names",
    [
        None,
        {0: "Neutral", 1: "Happy", 2: "Sad", 3: "Surprise", 4: "Fear", 5: "Disgust", 6: "Anger", 7: "Contempt"},
        {0: "neutral", 1: "happiness", 2: "sadness", 3: "surprise", 4: "fear", 5: "disgust", 6: "angry", 7: "contempt"},
    ],
)
def test_class_folders(tmp_path: Path, names: dict[int, str] | None) -> None:
    rows, skipped = read_all(affectnet.read_affectnet, make_folder(tmp_path, class_folders(names)))
    assert facts(rows) == WANTED
    assert not skipped


def test_class_folders_of_what_is_no_expression_or_unknown_are_counted(tmp_path: Path) -> None:
    files = class_folders() | {
        "train/8/a.jpg": noise_png(1),
        "train/No-Face/b.jpg": noise_png(2),
        "train/uncertain/c.jpg": noise_png(3),
        "train/17/d.jpg": noise_png(4),
        "train/calm/e.jpg": noise_png(5),
        "readme.txt": b"x",
    }
    rows, skipped = read_all(affectnet.read_affectnet, make_folder(tmp_path, files))
    assert facts(rows) == WANTED
    assert skipped == NO_EXPRESSION | {
        "unknown expression code 17": 1,
        "unknown class folder calm": 1,
        "not an image below train/<class>/ or val/<class>/": 1,
    }


def test_what_does_not_fit_together_in_lists_is_counted(tmp_path: Path) -> None:
    files = listed()
    top = "Manually_Annotated/Manually_Annotated_Images/"
    files["Manually_Annotated_file_lists/training.csv"] += (
        line(file_of(50), 1)  # no such image
        + line(file_of(1), 1)  # once more
        + line(file_of(60), 42)
        + line(file_of(61), 0).replace(",0,", ",happy,")
        + "a line,of something else\n"
    ).encode()
    files |= {top + file_of(60): image(60), top + file_of(70): image(70), "copy/" + file_of(2): image(2)}
    files |= {"Automatically_Annotated/Automatically_Annotated_Images/" + file_of(80): image(80), top + file_of(0): b""}
    rows, skipped = read_all(affectnet.read_affectnet, make_folder(tmp_path, files))
    assert facts(rows) == [fact for fact in WANTED if fact[0] != image(0)]
    assert skipped == NO_EXPRESSION | {
        "label without an image": 1,
        "unknown expression code 42": 1,
        "line of a list without a code": 2,
        "image without a label": 1,
        "second copy of an image (unpacked beside its archive?)": 1,
        "labelled by a network, not by people": 1,
        "empty file": 1,
    }


def test_an_image_with_two_labels_gives_two_rows_for_the_validation_to_judge(tmp_path: Path) -> None:
    files = listed()
    files["Manually_Annotated_file_lists/validation.csv"] += line(file_of(3), 4).encode()
    rows, _ = read_all(affectnet.read_affectnet, make_folder(tmp_path, files))
    assert facts(rows) == sorted([*WANTED, (image(3), "fear", "val")])


@pytest.mark.parametrize("value", ["7", np.int64(7), np.float64(7.0), [7], np.array("7", dtype="<U2")])
def test_codes_as_text_or_number(value: Any) -> None:
    assert affectnet._npy_code(npy(value)) == 7


class _Trap:
    def __reduce__(self) -> Any:
        return print, ("unpickled",)


def test_annotations_that_cannot_be_read_are_counted_and_never_unpickled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = io.BytesIO()
    np.save(out, np.array([_Trap()], dtype=object), allow_pickle=True)
    # A header alone that claims 8 TB of numbers
    huge = npy(np.zeros(1)).replace(b"(1,), }", b"(10**12,), }")[:128]
    claims = npy(np.zeros(1)).replace(b"(1,), }            ", b"(1000000000000,), }")
    files = numbered() | {
        "train_set/annotations/0_exp.npy": out.getvalue(),
        "train_set/annotations/1_exp.npy": b"",
        "train_set/annotations/2_exp.npy": npy("happy"),
        "train_set/annotations/3_exp.npy": npy([1, 2]),
        "train_set/annotations/4_exp.npy": npy("1")[:-2],
        "train_set/annotations/5_exp.npy": huge,
        "train_set/annotations/6_exp.npy": claims,
    }
    rows, skipped = read_all(affectnet.read_affectnet, make_folder(tmp_path, files))
    assert facts(rows) == [fact for fact in WANTED if fact[0] not in map(image, range(7))]
    assert skipped == {"annotation that cannot be read": 7, "image without a label": 7}
    assert "unpickled" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b"7", b'{"label": 7}', b'{"human-label": null}', b"\xff", b"[" * 10**5]
)
def test_json_that_says_no_code(content: bytes) -> None:
    assert affectnet._json_code(content) is None


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a/b.jpg": noise_png(1)}, r"holds 1 files \('a/b\.jpg' \.\.\.\), but not in a layout of AffectNet"),
        (
            {"Manually_Annotated/Manually_Annotated.part1.rar": b"Rar!", "x.txt": b""},
            r"Left out: 1 x archive of a kind that is not read.*unpack",
        ),
        (
            {name: content for name, content in listed().items() if name.endswith("csv")},
            "no image with an expression.*wanted AffectNet as published.*19 x label without an image",
        ),
        (
            {"training.csv": b"subDirectory_filePath,face_x\n1/a.jpg,3\n", "1/a.jpg": noise_png(1)},
            r"training\.csv lacks the columns \['expression'\]",
        ),
        ({"training.csv": b"x" * 200_000, "1/a.jpg": noise_png(1)}, r"training\.csv is not a CSV \(field larger"),
        ({"train_set/annotations/1_exp.npy": npy("1")}, "no image with an expression.*label without an image"),
    ],
)
def test_another_layout_is_an_error_that_says_what_was_found(
    tmp_path: Path, files: dict[str, bytes], said: str
) -> None:
    with pytest.raises(FeropsError, match=said):
        read_all(affectnet.read_affectnet, make_folder(tmp_path, files))


PEAK = """
import sys
from collections import Counter
from pathlib import Path
from ferops.datasets import affectnet, manifest
_, rows = affectnet.read_affectnet(Path(sys.argv[1]), skipped=Counter())
manifest.write(Path(sys.argv[2]), rows, source="affectnet")
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(peak.split()[1])
"""


def _peak_mb(folder: Path, images: int) -> float:
    """Return the memory that reading a zip of the lists' form takes, at its highest, in a process of its own."""
    lines = "".join(line(file_of(seed), seed % 8) for seed in range(images))
    content = image(1)
    files = {"training.csv": (HEADER + lines).encode()}
    files |= {f"Manually_Annotated_Images/{file_of(i)}": content + i.to_bytes(4, "big") for i in range(images)}
    release = make_zip(folder / "AffectNet.zip", files)
    command = [sys.executable, "-c", PEAK, str(release), str(folder / "out.parquet")]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from Linux's /proc")
def test_the_memory_for_290_000_images_stays_below_a_gigabyte(tmp_path: Path) -> None:
    small, large = (_peak_mb(tmp_path / str(images), images) for images in (10_000, 40_000))
    assert small + (290_000 - 10_000) / 30_000 * (large - small) < 1000
