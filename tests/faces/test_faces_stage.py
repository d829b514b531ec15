from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from faces_project import SPLITS, Stand, changed, digests, project
from ferops import config
from ferops.classes import DEFAULT_CLASSES
from ferops.datasets.images import decode
from ferops.errors import FeropsError
from ferops.faces.align import TEMPLATE, align, whole
from ferops.faces.detection import Detection
from ferops.faces.stage import preprocess
from ferops.layout import Layout
from ferops.records.preprocess import DetectionRate, PreprocessSummary


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, PreprocessSummary, Stand]:
    layout, params = project(tmp_path_factory.mktemp("faces"), dark={("fear", 0), ("sad", 1)})
    detector = Stand()
    return layout, preprocess(layout, params, detector=detector), detector


def raw_images(layout: Layout) -> dict[str, bytes]:
    paths = [layout.source(source) for source in ("wild", "tight")]
    frames = [pd.read_parquet(path) for path in paths if path.exists()]
    return dict(pd.concat(frames)[["image_id", "image"]].itertuples(index=False))


def test_every_image_of_the_manifest_has_a_row(done: tuple[Layout, PreprocessSummary, Stand]) -> None:
    layout, _, _ = done
    faces, wanted = pd.read_parquet(layout.face_index), pd.read_parquet(layout.manifest)
    assert faces["image_id"].tolist() == wanted["image_id"].tolist()
    assert list(faces.columns)[: len(wanted.columns)] == list(wanted.columns)
    assert set(faces["status"]) == {"ok", "tight", "no_face"}
    assert (faces["label_index"] == [DEFAULT_CLASSES.index(label) for label in faces["label"]]).all()
    assert ((faces["status"] == "tight") == (faces["source"] == "tight")).all()
    added = {"split", "group", "status", "searched", "row", "label_index", "score", "landmarks", "faces_found"}
    added |= {"face_px"}
    added |= {"box_x1", "box_y1", "box_x2", "box_y2", "yaw_degrees", "roll_degrees"}
    assert set(faces.columns) - set(wanted.columns) == added


def test_rows_point_at_the_right_pixels(done: tuple[Layout, PreprocessSummary, Stand]) -> None:
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


def test_what_was_measured(done: tuple[Layout, PreprocessSummary, Stand]) -> None:
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


def test_the_detector_sees_batches_and_no_tight_crop(done: tuple[Layout, PreprocessSummary, Stand]) -> None:
    _, _, detector = done
    assert sum(detector.sizes) == 24 + 1, "the one small image without a face is looked at twice"
    assert max(detector.sizes) == 5


def test_the_summary_counts_right(done: tuple[Layout, PreprocessSummary, Stand]) -> None:
    layout, summary, _ = done
    assert PreprocessSummary.read(layout.summary("preprocess"), made_by="ferops preprocess") == summary
    assert summary.images == 36
    faces = pd.read_parquet(layout.face_index)
    assert sum(sum(counts.values()) for counts in summary.splits.values()) == 36
    assert summary.labels["fear"] == {"ok": 3, "tight": 2, "whole": 0, "no_face": 1, "small_face": 0}
    assert summary.quarantined == {"no_face": 2, "small_face": 0}
    assert summary.kept_whole == {"tight": 12, "whole": 0}
    detection = summary.detection
    assert (detection.tried, detection.found) == (24, 22)
    assert detection.rate == pytest.approx(22 / 24)
    assert detection.by["source"] == {"wild": DetectionRate(tried=24, found=22, rate=22 / 24)}
    assert detection.by["label"]["sad"] == DetectionRate(tried=4, found=3, rate=0.75)
    assert detection.by["group_light"]["dim"].found == 10
    assert summary.several_faces == 6
    assert summary.other_faces == 6
    assert detection.found + summary.quarantined["no_face"] == faces["searched"].sum()


def test_what_is_held_back_is_listed_with_its_reason(done: tuple[Layout, PreprocessSummary, Stand]) -> None:
    layout, _, _ = done
    held = pd.read_parquet(layout.artifacts("preprocess") / "quarantine.parquet")
    faces = pd.read_parquet(layout.face_index)
    assert list(held.columns) == ["image_id", "source", "label", "usage", "split", "reason", "detail"]
    assert held["image_id"].tolist() == faces.loc[faces["status"] == "no_face", "image_id"].tolist()
    assert held["label"].tolist() == ["fear", "sad"]
    assert set(held["reason"]) == {"no_face"}
    assert held["detail"].str.contains("at least 0.9").all()


def test_the_other_faces_are_listed(done: tuple[Layout, PreprocessSummary, Stand]) -> None:
    """In every bright image the stand-in finds a second face, a quarter of the size."""
    layout, _, _ = done
    others = pd.read_parquet(layout.artifacts("preprocess") / "other_faces.parquet")
    faces = pd.read_parquet(layout.face_index).set_index("image_id").loc[others["image_id"]].reset_index()
    assert (faces["faces_found"] == 2).all()
    assert (others["rank"] == 1).all()
    assert others["score"].to_numpy() == pytest.approx(0.99)
    for side in ("box_x1", "box_y1", "box_x2", "box_y2", "face_px"):
        np.testing.assert_allclose(others[side], faces[side] / 4, rtol=1e-5)
    np.testing.assert_allclose(np.stack(others["landmarks"]), np.stack(faces["landmarks"]) / 4, rtol=1e-5)


def test_small_faces_are_held_back(tmp_path: Path) -> None:
    """The stand-in's faces measure 30 x 40 px in the larger images and 20 x 16 in the smaller ones."""
    layout, params = project(tmp_path, dark={("fear", 0)})
    summary = preprocess(layout, changed(params, min_face_px=20), detector=Stand())
    faces = pd.read_parquet(layout.face_index)
    small = faces[faces["status"] == "small_face"]
    assert summary.quarantined == {"no_face": 1, "small_face": 12}
    assert (small["width"] == 60).all()
    assert (small["row"] == -1).all()
    assert small["face_px"].to_numpy() == pytest.approx(math.sqrt(20 * 16))
    assert summary.detection.found == 23, "a small face was found all the same"
    held = pd.read_parquet(layout.artifacts("preprocess") / "quarantine.parquet")
    assert held["reason"].value_counts().to_dict() == {"small_face": 12, "no_face": 1}
    assert "the face is 18 px wide and high, below preprocess.min_face_px, 20" in set(held["detail"])
    assert (layout.reports("preprocess") / "small_face.png").exists()
    for split in SPLITS:
        rows = faces[(faces["split"] == split) & (faces["row"] >= 0)]
        assert sorted(rows["row"]) == list(range(len(np.load(layout.faces(split)))))


def test_images_without_a_face_can_be_kept_whole(tmp_path: Path) -> None:
    layout, params = project(tmp_path, dark={("fear", 0)})
    summary = preprocess(layout, changed(params, no_face="keep"), detector=Stand())
    assert summary.quarantined == {"no_face": 0, "small_face": 0}
    assert summary.kept_whole == {"tight": 12, "whole": 1}
    (kept,) = pd.read_parquet(layout.face_index).query("status == 'whole'").itertuples()
    assert kept.searched
    assert kept.faces_found == 0
    assert kept.face_px == pytest.approx(math.sqrt(90 * 120))
    expected = whole(decode(raw_images(layout)[kept.image_id]), size_px=32)
    np.testing.assert_array_equal(np.load(layout.faces(kept.split))[kept.row], expected)
    assert not pd.read_parquet(layout.artifacts("preprocess") / "quarantine.parquet").shape[0]


class Half(Stand):
    """Finds a face that fills the image in every second one, and a spot in the others."""

    def _faces(self, image: NDArray[np.uint8]) -> list[Detection]:
        height, width = image.shape[:2]
        share = 0.9 if int(image[0, 0, 0]) % 2 else 0.3
        landmarks = (TEMPLATE * (share * width, share * height)).astype(np.float32)
        return [Detection(np.array([0, 0, share * width, share * height], np.float32), landmarks, score=0.95)]


def test_tight_crops_are_aligned_where_a_plausible_face_is_found(tmp_path: Path) -> None:
    layout, params = project(tmp_path, dark=set(), tight_only=True)
    summary = preprocess(layout, changed(params, tight="detect"), detector=Half())
    faces, raw = pd.read_parquet(layout.face_index), raw_images(layout)
    assert faces["searched"].all()
    assert set(faces["status"]) == {"ok", "tight"}
    for face in faces.itertuples():
        image = decode(raw[face.image_id])
        pixels = np.load(layout.faces(face.split))[face.row]
        if image[0, 0, 0] % 2:
            assert face.status == "ok"
            landmarks = (TEMPLATE * (0.9 * 60, 0.9 * 48)).astype(np.float32)
            np.testing.assert_array_equal(pixels, align(image, landmarks, size_px=32, margin=0.1))
        else:
            assert face.status == "tight"
            assert face.faces_found == 1
            assert math.isnan(face.score)
            np.testing.assert_array_equal(pixels, whole(image, size_px=32))
    spots = pd.read_parquet(layout.artifacts("preprocess") / "other_faces.parquet")
    assert sorted(spots["image_id"]) == sorted(faces.loc[faces["status"] == "tight", "image_id"])
    assert summary.detection.found == (faces["status"] == "ok").sum()
    assert summary.speed.detector_ms_per_image > 0


def test_the_images_for_people(done: tuple[Layout, PreprocessSummary, Stand]) -> None:
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
        "other_faces.parquet",
        "quarantine.parquet",
    }


def test_the_same_input_gives_the_same_files(done: tuple[Layout, PreprocessSummary, Stand], tmp_path: Path) -> None:
    first, _, _ = done
    layout, params = project(tmp_path, dark={("fear", 0), ("sad", 1)})
    preprocess(layout, params, detector=Stand())
    assert digests(layout.artifacts("preprocess")) == digests(first.artifacts("preprocess"))


def test_tight_sources_alone(tmp_path: Path) -> None:
    layout, params = project(tmp_path, dark=set(), tight_only=True)
    detector = Stand()
    summary = preprocess(layout, params, detector=detector)
    assert detector.sizes == []
    assert summary.detection.rate is None
    assert summary.speed.detector_ms_per_image is None
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
    assert preprocess(layout, params, detector=Stand()).images == 34
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
