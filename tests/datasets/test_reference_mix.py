"""The mix of the reference system, from FER2013, CK+ (48 px) and JAFFE as published: 24,854 images of six classes.

The counts are those of the publishers; the images are made up.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ferops import config, presets
from ferops.datasets.importer import import_source
from ferops.validation.stage import validate
from published import empty_project
from releases import make_folder, make_zip
from sample_images import encoded

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


def images(kind: str, seed: int) -> Iterator[bytes]:
    """Images of 48 px, no two alike."""
    random = np.random.default_rng(seed)
    while True:
        yield encoded(random.integers(0, 256, (48, 48), dtype=np.uint8), kind=kind)


def fer2013_release() -> dict[str, bytes]:
    jpeg = images("JPEG", 1)
    train = [f"train/{name}/Training_{i}.jpg" for name, count in FER2013_TRAIN.items() for i in range(count)]
    test = [f"test/{name}/PublicTest_{i}.jpg" for name, count in FER2013_TEST.items() for i in range(count)]
    return {name: next(jpeg) for name in [*train, *test]}


def ckplus_release() -> dict[str, bytes]:
    png = images("PNG", 2)
    return {
        f"CK+48/{name}/S{10 + i // 9:03d}_{1 + i // 3 % 3:03d}_{7 + i % 3:08d}.png": next(png)
        for name, count in CKPLUS.items()
        for i in range(count)
    }


def jaffe_release() -> dict[str, bytes]:
    tiff = images("TIFF", 3)
    names = [f"jaffe/{JAFFE_PEOPLE[i % 10]}.{code}{1 + i // 10}" for code, count in JAFFE.items() for i in range(count)]
    return {f"{name}.{number}.tiff": next(tiff) for number, name in enumerate(names, 1)} | {"jaffe/README": b"JAFFE"}


@pytest.mark.slow  # 33,492 images through three imports and the stage `validate`
def test_the_mix_of_the_reference_system_comes_out_exactly(tmp_path: Path) -> None:
    layout = empty_project(tmp_path / "project")
    imported = {
        source: import_source(layout, source, release, seed=7)
        for source, release in (
            ("fer2013", make_zip(tmp_path / "fer2013.zip", fer2013_release())),
            ("ckplus", make_folder(tmp_path / "ckplus", ckplus_release())),
            ("jaffe", make_zip(tmp_path / "jaffe.zip", jaffe_release())),
        )
    }
    rows = {source: summary.rows for source, summary in imported.items()}
    assert rows == {"fer2013": 28_709 + 3_589, "ckplus": 981, "jaffe": 213}

    presets.apply_preset(layout, "reference")
    params = config.load_params(layout.params_file)
    assert params.data.sources == ("fer2013", "ckplus", "jaffe")
    # Which labels are doubtful is another question, and a slow one.
    validation = params.validation.model_copy(update={"label_review_folds": 0})
    summary = validate(layout, params.model_copy(update={"validation": validation}))
    accepted = {source: counts.accepted for source, counts in summary.sources.items()}
    assert accepted == {"fer2013": 23_744, "ckplus": 927, "jaffe": 183}
    assert summary.class_counts == MIX
    assert summary.accepted == 24_854
    assert summary.quarantined == {}
    assert len(pd.read_parquet(layout.manifest)) == 24_854
    subjects = pd.read_parquet(layout.manifest, columns=["source", "subject"]).groupby("source")["subject"].nunique()
    assert subjects["jaffe"] == 10
