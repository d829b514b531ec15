"""The stage `preprocess`: from raw images to packed, aligned faces."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ferops.config import CLASSES, Params, Preprocess
from ferops.datasets.images import decode
from ferops.datasets.raw import Raw, open_raw
from ferops.errors import FeropsError
from ferops.faces.align import roll_degrees, whole, yaw_degrees
from ferops.faces.crop import Face, face_from, tight
from ferops.faces.detector import Detection, Detector, Image, mtcnn
from ferops.faces.pack import FaceFile
from ferops.faces.report import THUMBNAIL_PX, write_report
from ferops.files import atomic_folder, require
from ferops.layout import Layout
from ferops.provenance import provenance

SPLITS = ("train", "val", "test")

_CHUNK_PX = 32_000_000  # decoded pixels held at once; bounds memory whatever the images' size
_THUMBNAILS = 60  # pictures without a face that the report shows


def preprocess(layout: Layout, params: Params, *, detector: Detector | None = None) -> dict[str, Any]:
    """Write artifacts/preprocess/ and reports/preprocess/ as docs/files.md describes, and return the summary.

    Args:
        detector: finds the faces; MTCNN on the GPU, if there is one, unless given.

    Raises:
        FeropsError: an earlier stage's file or a raw image is missing, or no image of some class shows a face.
    """
    settings = params.preprocess
    index = _index(layout)
    origin = provenance(layout, params)
    device = _device()
    work = _Work(settings=settings, detector=detector or mtcnn(min_confidence=settings.min_confidence, device=device))
    started = time.perf_counter()
    with (
        atomic_folder(layout.artifacts("preprocess")) as folder,
        atomic_folder(layout.reports("preprocess")) as reports,
    ):
        records = _pack(layout, index, folder, work)
        seconds = time.perf_counter() - started
        faces = index.join(pd.DataFrame.from_dict(records, orient="index"), on="image_id", validate="one_to_one")
        _check_classes(faces)
        _write_index(folder / "faces.parquet", faces)
        speed = {
            "device": device,
            "detector_ms_per_image": 1000 * work.detector_seconds / work.detected if work.detected else None,
            "stage_ms_per_image": 1000 * seconds / len(faces),
        }
        arrays = {split: np.load(folder / f"{split}.npy", mmap_mode="r") for split in SPLITS}
        head = {"stage": "preprocess", "provenance": origin}
        return write_report(reports, head=head, faces=faces, arrays=arrays, thumbnails=work.thumbnails, speed=speed)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _index(layout: Layout) -> pd.DataFrame:
    """Return the manifest with `split`, `group` and `label_index`, without the rows that the split left out."""
    manifest = pd.read_parquet(require(layout.manifest, made_by="ferops validate"))
    assignment = pd.read_parquet(require(layout.assignment, made_by="ferops split"))
    index = manifest.merge(assignment[["image_id", "split", "group"]], on="image_id", how="inner", validate="1:1")
    if len(index) < len(assignment):
        raise FeropsError(
            f"{layout.assignment} names {len(assignment) - len(index)} images that {layout.manifest} does not hold: "
            "it was made from another manifest. Run again: ferops split"
        )
    index["label_index"] = index["label"].map({label: i for i, label in enumerate(CLASSES)}).astype("int64")
    return index


@dataclass
class _Work:
    """The detector, and what is counted along the way."""

    settings: Preprocess
    detector: Detector
    detected: int = 0
    detector_seconds: float = 0.0
    thumbnails: list[Image] = field(default_factory=list)

    def detect(self, images: list[Image]) -> list[list[Detection]]:
        started = time.perf_counter()
        found = self.detector.detect(images)
        self.detector_seconds += time.perf_counter() - started
        self.detected += len(images)
        return found


def _pack(layout: Layout, index: pd.DataFrame, folder: Path, work: _Work) -> dict[str, dict[str, Any]]:
    """Append every face to its split's file and return the record of each image_id."""
    split_of = dict(zip(index["image_id"], index["split"], strict=True))
    records: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        files = {
            split: stack.enter_context(FaceFile(folder / f"{split}.npy", size_px=work.settings.size_px))
            for split in SPLITS
        }
        bar = stack.enter_context(tqdm(total=len(index), desc="faces", unit="image", mininterval=1.0, smoothing=0.1))
        for source, rows in index.groupby("source", sort=True):
            is_tight = source in work.settings.tight_sources
            wanted = set(rows["image_id"])
            for chunk in _chunks(open_raw(layout, str(source)), wanted, at_most=work.settings.batch_size):
                images = [image for _, image in chunk]
                found = [[] for _ in images] if is_tight else work.detect(images)
                for (image_id, image), detections in zip(chunk, found, strict=True):
                    face = _face(image, detections, work.settings, is_tight=is_tight)
                    if face is None and len(work.thumbnails) < _THUMBNAILS:
                        work.thumbnails.append(whole(image, size_px=THUMBNAIL_PX))
                    row = -1 if face is None else files[split_of[image_id]].append(face.pixels)
                    records[image_id] = _record(image, face, row=row, faces_found=len(detections))
                bar.update(len(chunk))
    return records


def _face(image: Image, detections: list[Detection], settings: Preprocess, *, is_tight: bool) -> Face | None:
    if is_tight:
        return tight(image, size_px=settings.size_px)
    return face_from(image, detections, size_px=settings.size_px, margin=settings.margin, how=settings.choose)


def _chunks(raw: Raw, wanted: set[str], *, at_most: int) -> Iterator[list[tuple[str, Image]]]:
    """Yield the decoded `wanted` images of a raw file, in its order and once each, in groups of bounded memory."""
    left = set(wanted)
    chunk: list[tuple[str, Image]] = []
    pixels = 0
    for batch in raw.batches(["image_id", "image"]):
        for image_id, encoded in zip(batch["image_id"].to_pylist(), batch["image"], strict=True):
            if image_id not in left:
                continue
            left.discard(image_id)
            image = decode(encoded.as_py())
            chunk.append((image_id, image))
            pixels += image.shape[0] * image.shape[1]
            if len(chunk) >= at_most or pixels >= _CHUNK_PX:
                yield chunk
                chunk, pixels = [], 0
    if left:
        raise FeropsError(
            f"{raw.files[0]} lacks {len(left)} images of the manifest, {min(left)} for one: the raw data changed "
            "since it was validated. Run again: ferops validate, ferops split"
        )
    if chunk:
        yield chunk


def _record(image: Image, face: Face | None, *, row: int, faces_found: int) -> dict[str, Any]:
    detection = face.detection if face else None
    is_tight = face is not None and detection is None
    height, width = image.shape[:2]
    box = detection.box if detection else np.full(4, np.nan, np.float32)
    x1, y1, x2, y2 = (float(side) for side in box)
    return {
        "status": "no_face" if face is None else "tight" if is_tight else "ok",
        "row": row,
        "score": detection.score if detection else math.nan,
        "box_x1": x1,
        "box_y1": y1,
        "box_x2": x2,
        "box_y2": y2,
        "landmarks": detection.landmarks.reshape(10).tolist() if detection else None,
        "faces_found": faces_found,
        "face_px": math.sqrt(width * height if is_tight else detection.area_px if detection else math.nan),
        "yaw_degrees": yaw_degrees(detection.landmarks) if detection else math.nan,
        "roll_degrees": roll_degrees(detection.landmarks) if detection else math.nan,
    }


def _check_classes(faces: pd.DataFrame) -> None:
    for label, rows in faces.groupby("label"):
        if (rows["status"] == "no_face").all():
            raise FeropsError(
                f"no face was found in any of the {len(rows)} images labelled {label}, so nothing could be learnt of "
                f"it. If {sorted(rows['source'].unique())} are face crops already, name them in "
                "preprocess.tight_sources; otherwise lower preprocess.min_confidence"
            )


def _write_index(path: Path, faces: pd.DataFrame) -> None:
    # Arrow would infer a column of nulls where no image has landmarks
    landmarks = pa.array(faces["landmarks"].tolist(), pa.list_(pa.float32()))
    table = pa.Table.from_pandas(faces.drop(columns="landmarks"), preserve_index=False)
    place = list(faces.columns).index("landmarks")
    pq.write_table(table.add_column(place, "landmarks", landmarks), path)
