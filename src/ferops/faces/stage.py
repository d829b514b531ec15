"""The stage `preprocess`: from raw images to packed, aligned faces."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ferops import threads
from ferops.config import Params, Preprocess
from ferops.datasets.raw import Raw, open_raw
from ferops.errors import FeropsError
from ferops.faces.detection import Detector, Image
from ferops.faces.detectors import from_settings, require_known
from ferops.faces.index import held_back, read_index, require_every_class, write_faces, write_others
from ferops.faces.pack import FaceFile
from ferops.faces.process_pool import Work, extract_shards, sigterm_stops
from ferops.faces.report import write_report
from ferops.faces.shard import Encoded, Extracted, Shard, make_shards
from ferops.faces.status import HELD_BACK
from ferops.files import atomic_folder
from ferops.layout import Layout
from ferops.provenance import provenance
from ferops.records.preprocess import PreprocessSpeed, PreprocessSummary

SPLITS = ("train", "val", "test")

_THUMBNAILS = 60  # at most so many images held back are shown per reason


def preprocess(layout: Layout, params: Params, *, detector: Detector | None = None) -> PreprocessSummary:
    """Write artifacts/preprocess/ and reports/preprocess/ as docs/files.md describes, and return the summary.

    Args:
        detector: used in this process only; by default `preprocess.detector`, run as `preprocess.runner` and
            `preprocess.workers` say.

    Raises:
        FeropsError: an earlier stage's file or a raw image is missing, or all images of a class were held back.
        StoppedError: SIGTERM.
    """
    settings = params.preprocess
    if detector is None:
        require_known(settings.detector)
    index = read_index(layout, params.data.classes)
    origin = provenance(layout, params)
    started = time.perf_counter()
    with (
        sigterm_stops(),
        atomic_folder(layout.artifacts("preprocess")) as folder,
        atomic_folder(layout.reports("preprocess")) as reports,
    ):
        with _Sink(folder, index, size_px=settings.size_px) as sink:
            _run(_shards(layout, index, settings), index, settings, detector, sink)
        seconds = time.perf_counter() - started
        records = pd.DataFrame(sink.records).set_index("image_id")
        faces = index.join(records, on="image_id", validate="one_to_one")
        require_every_class(faces)
        quarantine = held_back(faces, settings)
        write_faces(folder / "faces.parquet", faces)
        write_others(folder / "other_faces.parquet", sink.others)
        quarantine.to_parquet(folder / "quarantine.parquet", index=False)
        speed = PreprocessSpeed(
            detector_ms_per_image=1000 * sink.detector_seconds / sink.searched if sink.searched else None,
            stage_ms_per_image=1000 * seconds / len(faces),
        )
        arrays = {split: np.load(folder / f"{split}.npy", mmap_mode="r") for split in SPLITS}
        return write_report(
            reports,
            provenance=origin,
            classes=params.data.classes,
            faces=faces,
            arrays=arrays,
            other_faces=len(sink.others),
            quarantine=quarantine,
            thumbnails=sink.thumbnails,
            speed=speed,
        )


@dataclass
class _Sink:
    """Writes faces to the split files in the order of the shards; keeps the tables and a few thumbnails."""

    folder: Path
    index: pd.DataFrame
    size_px: int
    records: list[dict[str, Any]] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)
    thumbnails: dict[str, list[Image]] = field(default_factory=lambda: {status: [] for status in HELD_BACK})
    searched: int = 0
    detector_seconds: float = 0.0

    def __enter__(self) -> _Sink:
        self._stack = ExitStack()
        self._split_of = dict(zip(self.index["image_id"], self.index["split"], strict=True))
        self._files = {
            split: self._stack.enter_context(FaceFile(self.folder / f"{split}.npy", size_px=self.size_px))
            for split in SPLITS
        }
        bar = tqdm(total=len(self.index), desc="faces", unit="image", mininterval=1.0, smoothing=0.1)
        self._bar = self._stack.enter_context(bar)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def take(self, extracted: Extracted) -> None:
        faces, thumbnails = iter(extracted.pixels), iter(extracted.thumbnails)
        for record in extracted.records:
            row = -1
            if record["status"] not in HELD_BACK:
                row = self._files[self._split_of[record["image_id"]]].append(next(faces))
            elif len(self.thumbnails[record["status"]]) < _THUMBNAILS:
                self.thumbnails[record["status"]].append(next(thumbnails))
            else:
                next(thumbnails)
            self.records.append({**record, "row": row})
        self.others += extracted.others
        self.searched += extracted.searched
        self.detector_seconds += extracted.detector_seconds
        self._bar.update(len(extracted.records))


def _run(
    shards: Iterator[Shard], index: pd.DataFrame, settings: Preprocess, detector: Detector | None, sink: _Sink
) -> None:
    """Process the shards where the settings say."""
    work = Work(settings, functools.partial(from_settings, settings, threads=1))
    workers = settings.workers
    if detector is not None:
        work, workers = Work(settings, lambda: detector), 1  # a lambda cannot leave this process, nor should it
    elif settings.runner == "dask":
        from ferops.faces.dask_runner import extract_on_dask

        processes = threads.current() if workers == "auto" else workers
        extract_on_dask(shards, work, address=settings.dask_address, workers=processes, take=sink.take)
        return
    to_search = int((~index["source"].isin(settings.tight_sources) | (settings.tight == "detect")).sum())
    with closing(extract_shards(shards, work, workers=workers, to_search=to_search)) as results:
        for extracted in results:
            sink.take(extracted)


def _shards(layout: Layout, index: pd.DataFrame, settings: Preprocess) -> Iterator[Shard]:
    for source, rows in index.groupby("source", sort=True):
        tight = source in settings.tight_sources
        images = _encoded(open_raw(layout, str(source)), set(rows["image_id"]))
        yield from make_shards(
            images, tight=tight, search=not tight or settings.tight == "detect", at_most=settings.batch_size
        )


def _encoded(raw: Raw, wanted: set[str]) -> Iterator[Encoded]:
    """Yield the `wanted` images of a raw file, in its order and once each."""
    left = set(wanted)
    for batch in raw.batches(["image_id", "image", "width", "height"]):
        for image_id, data, width, height in zip(*(batch.column(i) for i in range(4)), strict=True):
            if image_id.as_py() in left:
                left.discard(image_id.as_py())
                yield Encoded(image_id.as_py(), data.as_py(), width.as_py(), height.as_py())
    if left:
        raise FeropsError(
            f"{raw.files[0]} lacks {len(left)} images of the manifest, such as {min(left)}: the raw data changed after "
            "validation. Run again: ferops validate, ferops split"
        )
