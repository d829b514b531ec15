from __future__ import annotations

import io
import zipfile
from pathlib import Path

import faiss
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dct

from ferops import threads
from ferops.validation import near_duplicates as near
from ferops.validation.near_duplicates import candidates, near_pairs, signatures, thumbnail
from scenes import EDITS, edited, scene

OTHERS = 150
REAL = Path(__file__).parents[3] / "shared" / "data" / "fer2013.zip"


@pytest.fixture(scope="module")
def crowd() -> NDArray[np.uint8]:
    """OTHERS different scenes; then one altered copy of each of the first ones, one for each kind of edit."""
    scenes = [scene(seed) for seed in range(OTHERS)]
    copies = [edited(scenes[i], how) for i, how in enumerate(EDITS)]
    return np.stack([thumbnail(grey) for grey in scenes + copies])


@pytest.fixture(scope="module")
def found(crowd: NDArray[np.uint8]) -> pd.DataFrame:
    return near_pairs(crowd, threshold=0.95)


def test_every_kind_of_copy_is_found_and_nothing_else(found: pd.DataFrame) -> None:
    expected = {(i, OTHERS + i): how == "mirrored" for i, how in enumerate(EDITS)}
    pairs = {(row.a, row.b): row.mirrored for row in found.itertuples()}
    assert pairs == expected
    assert found["similarity"].between(0.95, 1).all()
    assert list(found.columns) == ["a", "b", "similarity", "mirrored"]
    assert list(found.dtypes.astype(str)) == ["int64", "int64", "float64", "bool"]


def test_the_threshold_is_one(crowd: NDArray[np.uint8], found: pd.DataFrame) -> None:
    level = float(found["similarity"].median())
    higher = near_pairs(crowd, threshold=level)
    pd.testing.assert_frame_equal(higher, found[found["similarity"] >= level].reset_index(drop=True))


def test_the_number_of_threads_changes_nothing(
    crowd: NDArray[np.uint8], found: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = candidates(crowd)
    before = faiss.omp_get_max_threads()
    monkeypatch.setenv(threads.SETTING, "5")
    monkeypatch.setattr(threads._Choice, "count", None)
    try:
        faiss.omp_set_num_threads(3)
        assert (candidates(crowd) == pairs).all()
        assert faiss.omp_get_max_threads() == 3, "left as it was found"
        pd.testing.assert_frame_equal(near_pairs(crowd, threshold=0.95), found)
    finally:
        faiss.omp_set_num_threads(before)


def test_few_images() -> None:
    copy = thumbnail(scene(1))
    for number, pairs in ((0, []), (1, []), (2, [(0, 1)]), (3, [(0, 1), (0, 2), (1, 2)])):
        same = np.stack([copy] * number) if number else np.empty((0, 32, 32), np.uint8)
        assert [(row.a, row.b) for row in near_pairs(same, threshold=0.95).itertuples()] == pairs


def test_candidates_are_the_exact_nearest_ones(crowd: NDArray[np.uint8]) -> None:
    """The graph index is approximate; on a few images it must agree with a search of all pairs."""
    points = signatures(crowd).astype(float)
    mirrored = signatures(np.concatenate([crowd, crowd[:, :, ::-1]])).astype(float)[len(crowd) :]
    expected = set()
    for flag, queries in enumerate((points, mirrored)):
        cosines = queries @ points.T
        for i, row in enumerate(cosines):
            nearest = np.argsort(-row)[: near.NEIGHBOURS + 1]
            expected |= {(min(i, j), max(i, j), flag) for j in nearest if j != i and row[j] >= near.CANDIDATE_COSINE}
    pairs = candidates(crowd)
    assert {tuple(map(int, row)) for row in pairs} == expected
    assert (pairs[:, 0] < pairs[:, 1]).all()


def test_signatures_are_whitened_cosine_coefficients() -> None:
    thumbnails = np.stack([thumbnail(scene(seed)) for seed in range(20)])
    rows = dct(dct(thumbnails.astype(float), axis=1, norm="ortho"), axis=2, norm="ortho")[:, :6, :6]
    plain = np.delete(rows.reshape(20, 36), 0, axis=1)
    plain /= np.linalg.norm(plain, axis=1)[:, None]
    white = plain / plain.std(axis=0) ** 0.75
    white /= np.linalg.norm(white, axis=1)[:, None]
    assert signatures(thumbnails) == pytest.approx(white, abs=1e-4)


def test_signatures_do_not_see_brightness_and_contrast() -> None:
    dull = np.stack([(thumbnail(scene(seed)) // 2).astype(np.uint8) for seed in range(20)])
    assert signatures(dull * 2) == pytest.approx(signatures(dull), abs=1e-5)
    assert signatures(dull + 90) == pytest.approx(signatures(dull), abs=1e-4)


def test_a_thumbnail_keeps_the_mean_and_forgets_the_proportions() -> None:
    grey = scene(3, size_px=96)
    boxes = grey.reshape(32, 3, 32, 3).mean(axis=(1, 3))
    assert np.abs(thumbnail(grey) - boxes).max() <= 0.5
    wide = np.asarray(Image.fromarray(grey).resize((192, 96), Image.Resampling.BICUBIC))
    assert np.abs(thumbnail(wide).astype(int) - thumbnail(grey)).mean() < 2
    assert thumbnail(scene(3, size_px=16)).shape == (32, 32)


@pytest.mark.real
@pytest.mark.skipif(not REAL.exists(), reason="needs ../shared/data/fer2013.zip, which is not part of the product")
def test_planted_copies_of_photographs_are_found() -> None:
    """FER2013 holds copies of its own, so a sample of it is taken in which few are left to be counted as false."""
    with zipfile.ZipFile(REAL) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[::16]
        images = [np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("L")) for name in names]
    images = [image for image in images if image.std() >= 4]
    kinds = [how for how in EDITS for _ in range(100)]
    copies = [edited(image, how) for image, how in zip(images, kinds, strict=False)]
    found = near_pairs(np.stack([thumbnail(each) for each in images + copies]), threshold=0.95)
    planted = found["b"] - found["a"] == len(images)
    assert planted.sum() / len(copies) > 0.99
    own = found["b"] < len(images)  # the sample's own, and what pairs up with copies of them
    tied = set(found.loc[own, "a"]) | set(found.loc[own, "b"])
    false = ~planted & ~found["a"].isin(tied) & ~(found["b"] % len(images)).isin(tied)
    assert planted.sum() / (planted | false).sum() > 0.99
    assert len(tied) / len(images) < 0.1
