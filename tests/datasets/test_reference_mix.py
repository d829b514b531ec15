"""The mix of the reference system, from FER2013, CK+ (48 px) and JAFFE as published: 24,854 pictures of six classes.

The counts are those of the publishers; the pictures are made up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from ferops.config import CLASSES
from ferops.datasets import ckplus, fer2013, jaffe
from ferops.datasets.raw import open_raw
from ferops.layout import Layout
from pictures import encoded, noise, write_source
from published import read_all
from releases import make_folder, make_zip

FER2013_TRAIN = {
    "angry": 3_995,
    "disgust": 436,
    "fear": 4_097,
    "happy": 7_215,
    "neutral": 4_965,
    "sad": 4_830,
    "surprise": 3_171,
}
FER2013_TEST = {"angry": 467, "disgust": 56, "fear": 496, "happy": 895, "neutral": 607, "sad": 653, "surprise": 415}
CKPLUS = {"anger": 135, "contempt": 54, "disgust": 177, "fear": 75, "happy": 207, "sadness": 84, "surprise": 249}
JAFFE = {"AN": 30, "DI": 29, "FE": 32, "HA": 31, "NE": 30, "SA": 31, "SU": 30}
JAFFE_PEOPLE = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")

MIX = {"anger": 4_160, "disgust": 642, "fear": 4_204, "happy": 7_453, "sad": 4_945, "surprised": 3_450}


def images(kind: str) -> Iterator[bytes]:
    """One small picture again and again, with a number after its end: every copy has its own bytes."""
    picture = encoded(noise(1), kind=kind)
    number = 0
    while True:
        yield picture + number.to_bytes(4, "big")
        number += 1


def fer2013_release() -> dict[str, bytes]:
    jpeg = images("JPEG")
    train = [f"train/{name}/Training_{i}.jpg" for name, count in FER2013_TRAIN.items() for i in range(count)]
    test = [f"test/{name}/PublicTest_{i}.jpg" for name, count in FER2013_TEST.items() for i in range(count)]
    return {name: next(jpeg) for name in [*train, *test]}


def ckplus_release() -> dict[str, bytes]:
    png = images("PNG")
    return {
        f"CK+48/{name}/S{10 + i // 9:03d}_{1 + i // 3 % 3:03d}_{7 + i % 3:08d}.png": next(png)
        for name, count in CKPLUS.items()
        for i in range(count)
    }


def jaffe_release() -> dict[str, bytes]:
    tiff = images("TIFF")
    names = [f"jaffe/{JAFFE_PEOPLE[i % 10]}.{code}{1 + i // 10}" for code, count in JAFFE.items() for i in range(count)]
    return {f"{name}.{number}.tiff": next(tiff) for number, name in enumerate(names, 1)} | {"jaffe/README": b"JAFFE"}


@pytest.mark.slow  # 33,000 pictures: about 10 s
def test_the_mix_of_the_reference_system_comes_out_exactly(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for source, reader, release, count in (
        ("fer2013", fer2013.read, make_zip(tmp_path / "fer2013.zip", fer2013_release()), 28_709 + 3_589),
        ("ckplus", ckplus.read, make_folder(tmp_path / "ckplus", ckplus_release()), 981),
        ("jaffe", jaffe.read, make_zip(tmp_path / "jaffe.zip", jaffe_release()), 213),
    ):
        rows, skipped = read_all(reader, release)
        assert len(rows) == count
        assert sum(skipped.values()) == (source == "jaffe")  # its README
        write_source(layout, source, rows)

    tables = [open_raw(layout, name).table(["source", "label", "usage"]) for name in ("fer2013", "ckplus", "jaffe")]
    facts = pa.concat_tables(tables).to_pandas()
    taking_part = facts[facts["label"].isin(CLASSES) & (facts["usage"].isna() | (facts["usage"] == "train"))]
    assert Counter(taking_part["label"]) == MIX
    assert Counter(taking_part["source"]) == {"fer2013": 23_744, "ckplus": 927, "jaffe": 183}
    assert len(taking_part) == 24_854
