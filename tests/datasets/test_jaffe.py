from __future__ import annotations

from pathlib import Path

import pytest

from ferops.datasets import jaffe
from ferops.datasets.images import decode
from ferops.errors import FeropsError
from published import read_all, zip_below
from releases import make_folder, make_zip
from sample_images import encoded, noise, noise_png

NAMES = {
    "KA.AN1.39.tiff": ("anger", "KA"),
    "KL.DI4.173.tiff": ("disgust", "KL"),
    "KM.FE1.23.tiff": ("fear", "KM"),
    "KM.HA4.7.tiff": ("happy", "KM"),
    "NA.NE2.200.tiff": ("neutral", "NA"),
    "KM.SA5.13.tiff": ("sad", "KM"),
    "YM.SU3.60.tiff": ("surprised", "YM"),
}


def files() -> dict[str, bytes]:
    return {f"jaffe/{name}": encoded(noise(seed, size_px=16), kind="TIFF") for seed, name in enumerate(NAMES)}


def test_subject_and_label_are_in_the_name(tmp_path: Path) -> None:
    release = files() | {
        "jaffe/README": b"The Japanese Female Facial Expression Database",
        "jaffe/a_names.dat": b"KA\n",
    }
    rows, skipped = read_all(jaffe.read_jaffe, make_folder(tmp_path / "folder", release))
    wanted = {content: NAMES[name.split("/")[1]] for name, content in files().items()}
    assert {row["image"]: (row["label"], row["subject"]) for row in rows} == wanted
    assert {(row["source"], row["usage"], row["width"], row["height"]) for row in rows} == {("jaffe", None, 16, 16)}
    assert skipped == {"not an image with a name of JAFFE (README ...)": 2}
    assert decode(rows[0]["image"]).shape == (16, 16, 3)
    assert read_all(jaffe.read_jaffe, make_zip(tmp_path / "jaffe.zip", release)) == (rows, skipped)
    inside = zip_below(tmp_path / "download", "jaffe.zip", release).parent
    assert read_all(jaffe.read_jaffe, inside) == (rows, skipped)


def test_the_folder_of_the_images_itself(tmp_path: Path) -> None:
    rows, _ = read_all(jaffe.read_jaffe, make_folder(tmp_path, files()) / "jaffe")
    assert len(rows) == 7


def test_odd_names_are_counted(tmp_path: Path) -> None:
    release = files() | {
        "jaffe/KA.XX1.39.tiff": noise_png(1),
        "jaffe/KA.AN1.tiff": noise_png(2),
        "jaffe/KA.AN2.40.tiff": b"",
        "jaffe/KA.AN3.41.txt": b"x",
        "jaffe/KA.AN1.39.png": noise_png(3),
        "jaffe/ka.di1.42.TIFF": encoded(noise(42), kind="TIFF"),
    }
    rows, skipped = read_all(jaffe.read_jaffe, make_folder(tmp_path, release))
    assert len(rows) == 8
    assert noise_png(3) not in {row["image"] for row in rows}
    assert ("disgust", "KA") in {(row["label"], row["subject"]) for row in rows}
    assert skipped == {
        "unknown expression code XX": 1,
        "not an image with a name of JAFFE (README ...)": 2,
        "empty file": 1,
        "second copy of an image (unpacked beside its archive, or converted?)": 1,
    }


def test_another_data_set(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match=r"holds 1 files.*but no image.*of JAFFE.*wanted.*KA\.AN1\.39\.tiff"):
        read_all(jaffe.read_jaffe, make_folder(tmp_path, {"train/happy/1.jpg": noise_png(1)}))
    with pytest.raises(FeropsError, match=r"does not exist"):
        read_all(jaffe.read_jaffe, tmp_path / "missing")
