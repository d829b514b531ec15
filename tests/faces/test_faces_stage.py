from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from ferops import config
from ferops.config import CLASSES, Params
from ferops.datasets import manifest
from ferops.datasets.images import decode
from ferops.errors import FeropsError
from ferops.faces.align import TEMPLATE, align, whole
from ferops.faces.detector import Detection
from ferops.faces.stage import preprocess
from ferops.layout import Layout

ROOT = Path(__file__).parents[2]
SPLITS = ("train", "val", "test")
BLIND = 20  # the stand-in finds nothing in pictures as dark as this


class Stand:
    """A detector that finds a face in the middle third of every picture that is not dark, and two in bright ones."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        self.sizes.append(len(images))
        return [self._faces(image) for image in images]

    def _faces(self, image: NDArray[np.uint8]) -> list[Detection]:
        if image.mean() < BLIND:
            return []
        height, width = image.shape[:2]
        middle = np.array([width / 3, height / 3, 2 * width / 3, 2 * height / 3], np.float32)
        landmarks = (TEMPLATE * (width / 3, height / 3) + (width / 3, height / 3)).astype(np.float32)
        faces = [Detection(box=middle, landmarks=landmarks, score=0.97)]
        if image.mean() > 200:
            small = Detection(box=middle / 4, landmarks=landmarks / 4, score=0.99)
            faces.insert(0, small)
        return faces


def picture(seed: int, *, level: int, size: tuple[int, int] = (60, 48)) -> bytes:
    """A noisy PNG of (width, height), `level` bright."""
    noise = np.random.default_rng(seed).integers(-9, 10, (size[1], size[0], 3))
    stream = io.BytesIO()
    Image.fromarray((level + noise).clip(0, 255).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def project(root: Path, *, dark: set[tuple[str, int]], tight_only: bool = False) -> tuple[Layout, Params]:
    """Raw data, manifest and assignment of two sources: 4 wild and 2 tight images of each class.

    `dark`: (class, number) of wild images in which the stand-in sees nothing.
    """
    layout = Layout(root)
    layout.data.mkdir(parents=True)
    layout.data_dvc.write_text("outs:\n- md5: 00000000000000000000000000000000.dir\n  path: data\n")
    rows: dict[str, list[dict[str, Any]]] = {"wild": [], "tight": []}
    for i, label in enumerate(CLASSES):
        for number in range(4):
            level = 5 if (label, number) in dark else 230 if number == 3 else 120
            image = picture(10 * i + number, level=level, size=(60, 48) if number % 2 else (90, 120))
            rows["wild"].append(
                manifest.make_row(image, source="wild", label=label, group_light="dim" if number < 2 else "bright")
            )
        for number in range(2):
            image = picture(1000 + 10 * i + number, level=100)
            rows["tight"].append(manifest.make_row(image, source="tight", label=label))
    rows["wild"].append(rows["wild"][0])  # an exact copy, which the manifest holds once
    if tight_only:
        rows["wild"] = []
    for source, each in rows.items():
        if each:
            manifest.write(layout.source(source), each, source=source)
    frame = pd.DataFrame([row for each in rows.values() for row in each]).drop(columns="image")
    frame = frame.drop_duplicates("image_id").assign(brightness=1.0, sharpness=1.0)
    frame["cluster"] = frame["image_id"].str[:16]
    layout.manifest.parent.mkdir(parents=True)
    frame.to_parquet(layout.manifest)
    layout.assignment.parent.mkdir(parents=True)
    splits = [SPLITS[i % 3] for i in range(len(frame))]
    pd.DataFrame({"image_id": frame["image_id"], "split": splits, "group": frame["cluster"]}).to_parquet(
        layout.assignment
    )
    tree = config.load(ROOT / "params.yaml").model_dump(by_alias=True)
    tree["data"]["sources"] = ["wild", "tight"]
    tree["preprocess"] |= {"tight_sources": ["tight"], "batch_size": 5, "size_px": 32, "margin": 0.1}
    tree["preprocess"]["choose"] = "largest"
    return layout, config.parse(tree)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, dict[str, Any], Stand]:
    layout, params = project(tmp_path_factory.mktemp("faces"), dark={("fear", 0), ("sad", 1)})
    detector = Stand()
    return layout, preprocess(layout, params, detector=detector), detector


def raw_images(layout: Layout) -> dict[str, bytes]:
    frames = [pd.read_parquet(layout.source(source)) for source in ("wild", "tight")]
    return dict(pd.concat(frames)[["image_id", "image"]].itertuples(index=False))


def test_every_image_of_the_manifest_has_a_row(done: tuple[Layout, dict[str, Any], Stand]) -> None:
    layout, _, _ = done
    faces, wanted = pd.read_parquet(layout.face_index), pd.read_parquet(layout.manifest)
    assert faces["image_id"].tolist() == wanted["image_id"].tolist()
    assert list(faces.columns)[: len(wanted.columns)] == list(wanted.columns)
    assert set(faces["status"]) == {"ok", "tight", "no_face"}
    assert (faces["label_index"] == [CLASSES.index(label) for label in faces["label"]]).all()
    assert ((faces["status"] == "tight") == (faces["source"] == "tight")).all()
    added = {"split", "group", "status", "row", "label_index", "score", "landmarks", "faces_found", "face_px"}
    added |= {"box_x1", "box_y1", "box_x2", "box_y2", "yaw_degrees", "roll_degrees"}
    assert set(faces.columns) - set(wanted.columns) == added


def test_rows_point_at_the_right_pixels(done: tuple[Layout, dict[str, Any], Stand]) -> None:
    layout, _, _ = done
    faces, raw = pd.read_parquet(layout.face_index), raw_images(layout)
    for split in SPLITS:
        array = np.load(layout.faces(split), mmap_mode="r")
        assert isinstance(array, np.memmap)
        rows = faces[(faces["split"] == split) & (faces["row"] >= 0)]
        assert array.shape == (len(rows), 32, 32, 3)
        assert array.dtype == np.uint8
        assert sorted(rows["row"]) == list(range(len(rows)))
        for face in rows.itertuples():
            image = decode(raw[face.image_id])
            if face.status == "tight":
                expected = whole(image, size_px=32)
            else:
                landmarks = np.reshape(face.landmarks, (5, 2)).astype(np.float32)
                expected = align(image, landmarks, size_px=32, margin=0.1)
            np.testing.assert_array_equal(array[face.row], expected)


def test_what_was_measured(done: tuple[Layout, dict[str, Any], Stand]) -> None:
    layout, _, _ = done
    faces = pd.read_parquet(layout.face_index)
    found = faces[faces["status"] == "ok"]
    np.testing.assert_allclose(found["face_px"], np.sqrt(found["width"] * found["height"]) / 3, rtol=1e-5)
    np.testing.assert_allclose(found["box_x1"], found["width"] / 3, rtol=1e-5)
    assert found["score"].to_numpy() == pytest.approx(0.97)
    assert found["roll_degrees"].to_numpy() == pytest.approx(0, abs=1e-4)
    assert found["yaw_degrees"].to_numpy() == pytest.approx(0, abs=1e-4)
    others = faces[faces["status"] != "ok"]
    assert others[["score", "box_x1", "yaw_degrees", "roll_degrees", "landmarks"]].isna().all(axis=None)
    tight = faces[faces["status"] == "tight"]
    assert tight["face_px"].to_numpy() == pytest.approx(math.sqrt(60 * 48))
    assert (faces.loc[faces["status"] == "no_face", "row"] == -1).all()


def test_the_detector_sees_batches_and_no_tight_crop(done: tuple[Layout, dict[str, Any], Stand]) -> None:
    _, _, detector = done
    assert sum(detector.sizes) == 24
    assert max(detector.sizes) == 5


def test_the_summary_counts_right(done: tuple[Layout, dict[str, Any], Stand]) -> None:
    layout, summary, _ = done
    assert json.loads(layout.summary("preprocess").read_text()) == summary
    assert list(summary)[:2] == ["stage", "provenance"]
    assert summary["images"] == 36
    faces = pd.read_parquet(layout.face_index)
    assert sum(sum(counts.values()) for counts in summary["splits"].values()) == 36
    assert summary["labels"]["fear"] == {"ok": 3, "tight": 2, "no_face": 1}
    detection = summary["detection"]
    assert (detection["tried"], detection["found"]) == (24, 22)
    assert detection["rate"] == pytest.approx(22 / 24)
    assert detection["by"]["source"] == {"wild": {"tried": 24, "found": 22, "rate": pytest.approx(22 / 24)}}
    assert detection["by"]["label"]["sad"] == {"tried": 4, "found": 3, "rate": 0.75}
    assert detection["by"]["group_light"]["dim"]["found"] == 10
    assert summary["several_faces"] == 6
    assert sorted(summary["no_face"]) == sorted(faces.loc[faces["status"] == "no_face", "image_id"])
    assert len(summary["no_face"]) == 2


def test_the_pictures_for_people(done: tuple[Layout, dict[str, Any], Stand]) -> None:
    layout, _, _ = done
    for name in ("contact_sheet.png", "no_face.png"):
        with Image.open(layout.reports("preprocess") / name) as sheet:
            pixels = np.array(sheet.convert("RGB"))
        assert pixels.std() > 5, f"{name} shows something"
    assert {path.name for path in layout.reports("preprocess").iterdir()} == {
        "summary.json",
        "contact_sheet.png",
        "no_face.png",
    }
    assert {path.name for path in layout.artifacts("preprocess").iterdir()} == {
        *(f"{split}.npy" for split in SPLITS),
        "faces.parquet",
    }


def test_the_same_input_gives_the_same_files(done: tuple[Layout, dict[str, Any], Stand], tmp_path: Path) -> None:
    first, _, _ = done
    layout, params = project(tmp_path, dark={("fear", 0), ("sad", 1)})
    preprocess(layout, params, detector=Stand())

    def digests(folder: Path) -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}

    assert digests(layout.artifacts("preprocess")) == digests(first.artifacts("preprocess"))


def test_tight_sources_alone(tmp_path: Path) -> None:
    layout, params = project(tmp_path, dark=set(), tight_only=True)
    detector = Stand()
    summary = preprocess(layout, params, detector=detector)
    assert detector.sizes == []
    assert summary["detection"]["rate"] is None
    assert summary["speed"]["detector_ms_per_image"] is None
    assert not (layout.reports("preprocess") / "no_face.png").exists()
    assert pd.read_parquet(layout.face_index)["landmarks"].isna().all()


def test_a_class_without_a_face_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    layout, params = project(tmp_path, dark={("happy", n) for n in range(4)})
    tree = params.model_dump(by_alias=True)
    tree["preprocess"]["tight_sources"] = []
    frame = pd.read_parquet(layout.manifest)
    wild = set(frame.loc[frame["source"] == "wild", "image_id"])
    assignment = pd.read_parquet(layout.assignment)
    assignment[assignment["image_id"].isin(wild)].to_parquet(layout.assignment)
    with pytest.raises(FeropsError, match=r"4 images labelled happy.*tight_sources"):
        preprocess(layout, config.parse(tree), detector=Stand())
    assert not layout.artifacts("preprocess").exists()
    assert not layout.reports("preprocess").exists()
    assert not list(layout.artifacts("preprocess").parent.glob(".*.tmp"))


def test_raw_data_that_lacks_an_image(tmp_path: Path) -> None:
    layout, params = project(tmp_path, dark=set())
    frame = pd.read_parquet(layout.source("wild"))
    frame.iloc[3:].to_parquet(layout.source("wild"))
    with pytest.raises(FeropsError, match="lacks 2 images"):  # the copy of the first is still there
        preprocess(layout, params, detector=Stand())


def test_rows_that_the_split_left_out_take_no_part(tmp_path: Path) -> None:
    layout, params = project(tmp_path, dark=set())
    kept = pd.read_parquet(layout.assignment).iloc[2:]
    kept.to_parquet(layout.assignment)
    assert preprocess(layout, params, detector=Stand())["images"] == 34
    assert pd.read_parquet(layout.face_index)["image_id"].tolist() == kept["image_id"].tolist()


def test_a_split_of_another_manifest(tmp_path: Path) -> None:
    layout, params = project(tmp_path, dark=set())
    pd.read_parquet(layout.manifest).iloc[1:].to_parquet(layout.manifest)
    with pytest.raises(FeropsError, match=r"1 images .* ferops split"):
        preprocess(layout, params, detector=Stand())


def test_missing_inputs_name_the_command(tmp_path: Path) -> None:
    layout, params = project(tmp_path, dark=set())
    layout.assignment.unlink()
    with pytest.raises(FeropsError, match="ferops split"):
        preprocess(layout, params, detector=Stand())
