"""The stage `preprocess`: from raw images to packed, aligned faces.

Its results go to the disk shard by shard (ferops.faces.unfinished), so a stopped run goes on where it was.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from types import TracebackType

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from ferops import threads
from ferops.config import Params, Preprocess
from ferops.datasets.raw import Raw, open_raw
from ferops.errors import FeropsError, StoppedError
from ferops.faces.detection import Detector
from ferops.faces.detectors import from_settings, require_known
from ferops.faces.index import (
    Places,
    held_back,
    read_index,
    require_every_class,
    with_results,
    write_faces,
    write_others,
)
from ferops.faces.process_pool import Work, extract_shards, sigterm_stops
from ferops.faces.report import write_report
from ferops.faces.shard import Encoded, Extracted, Shard, make_shards
from ferops.faces.unfinished import SPLITS, Unfinished, identity
from ferops.files import atomic_folder
from ferops.layout import Layout
from ferops.provenance import provenance
from ferops.records import Provenance
from ferops.records.preprocess import PreprocessSpeed, PreprocessSummary


def preprocess(layout: Layout, params: Params, *, detector: Detector | None = None) -> PreprocessSummary:
    """Write artifacts/preprocess/ and reports/preprocess/ as docs/files.md describes, and return the summary.

    A run that was stopped leaves what it has done beside its output; the next one of the same inputs, settings and code
    goes on from there.

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
    made_from = identity(layout, params, settings.detector if detector is None else type(detector).__qualname__)
    work = Unfinished(layout, made_from=made_from, size_px=settings.size_px)
    with sigterm_stops(), work:
        with _Sink(work, index) as sink:
            shards = _shards(layout, index, sink.places, settings)
            _run(islice(shards, work.done.shards, None), index, settings, detector, sink)
        work.close()
        try:
            summary = _finish(layout, params, work, index, origin)
        except StoppedError:
            raise
        except FeropsError:  # it would fail again
            work.remove()
            raise
        work.remove()
    return summary


def _finish(
    layout: Layout, params: Params, work: Unfinished, index: pd.DataFrame, origin: Provenance
) -> PreprocessSummary:
    """Make the stage's output of all shards."""
    faces, order = with_results(index, work)
    require_every_class(faces)
    quarantine = held_back(faces, work, order, params.preprocess)
    with (
        atomic_folder(layout.artifacts("preprocess")) as folder,
        atomic_folder(layout.reports("preprocess")) as reports,
    ):
        work.lend_faces(folder)
        write_faces(folder / "faces.parquet", index, work, order)
        write_others(folder / "other_faces.parquet", index, work)
        quarantine.to_parquet(folder / "quarantine.parquet", index=False)
        done = work.done
        return write_report(
            reports,
            provenance=origin,
            classes=params.data.classes,
            faces=faces,
            arrays={split: np.load(folder / f"{split}.npy", mmap_mode="r") for split in SPLITS},
            other_faces=done.rows["others"],
            quarantine=quarantine,
            thumbnails=work.thumbnails(),
            speed=PreprocessSpeed(
                detector_ms_per_image=1000 * done.detector_seconds / done.searched if done.searched else None,
                stage_ms_per_image=1000 * done.seconds / len(faces),
            ),
        )


class _Sink:
    """Hands shards, in their order, to what is kept of them, and shows how far the stage is."""

    def __init__(self, work: Unfinished, index: pd.DataFrame) -> None:
        self.places = Places(index["image_id"])
        self._work = work
        self._splits = pd.Categorical(index["split"], list(SPLITS)).codes  # a byte an image
        self._started = time.perf_counter()

    def __enter__(self) -> _Sink:
        total, done = len(self._splits), self._work.done.rows["images"]
        self._bar = tqdm(total=total, initial=done, desc="faces", unit="image", mininterval=1.0, smoothing=0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def take(self, extracted: Extracted) -> None:
        places = self.places.of([record["image_id"] for record in extracted.records])
        splits = [SPLITS[code] for code in self._splits[places]]
        seconds = time.perf_counter() - self._started
        self._work.take(extracted, places=places.tolist(), splits=splits, seconds=seconds)
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


def _shards(layout: Layout, index: pd.DataFrame, places: Places, settings: Preprocess) -> Iterator[Shard]:
    for source, rows in index.groupby("source", sort=True):
        tight = source in settings.tight_sources
        images = _encoded(open_raw(layout, str(source)), places, rows.index.to_numpy(), images=len(index))
        yield from make_shards(
            images, tight=tight, search=not tight or settings.tight == "detect", at_most=settings.batch_size
        )


def _encoded(raw: Raw, places: Places, wanted: NDArray[np.int64], *, images: int) -> Iterator[Encoded]:
    """Yield the images of a raw file that are at the places `wanted` of `images`, in the file's order and once each."""
    left = np.zeros(images, bool)
    left[wanted] = True
    for batch in raw.batches(["image_id", "image", "width", "height"]):
        found = places.of(batch.column(0).to_pylist())
        for row, place in enumerate(found):
            if place >= 0 and left[place]:
                left[place] = False
                yield Encoded(*(batch.column(i)[row].as_py() for i in range(4)))
    if left.any():
        missing = places.ids[np.flatnonzero(left)]
        raise FeropsError(
            f"{raw.files[0]} lacks {len(missing)} images of the manifest, such as {min(missing).decode()}: the raw "
            "data changed after validation. Run again: ferops validate, ferops split"
        )
