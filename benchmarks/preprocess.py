"""How fast the preprocess stage is, against its own detector and against the packaged peer.

    python benchmarks/preprocess.py --images data/synthetic.parquet --images PHOTOS.zip --images FOLDER --limit 1500

Images a second, the best of --repeats runs, on the same images of each path, drawn at random:

- `bare 1`: the detector's own loop, `detect` on decoded images in memory, one process with one thread.
- `bare all`: the same in as many such processes at once as there are cores, the images dealt out among them; from the
  first one's start to the last one's end, all warm.
- `peer`: facenet_pytorch.MTCNN(keep_all=True).detect(image, landmarks=True) on the same decoded images, one after
  another, with torch's default threads.
- `stage 1`, `stage all`: all of the stage, with `preprocess.workers` 1 and the number of cores: read the Parquet file,
  decode, find, align, write faces, tables and report. Importing libraries in this process is not counted; the start of
  the other processes is. How long one takes stands under `start`: a price that a large data set does not notice.
- `running 1`, `running all`: the same without what any run costs, few images or many: `fixed`, the seconds of a run
  with 12 images (making the detector, the report), and for `all` the start of the other processes.

The ratios compare like with like: the running stage with the bare loop on as many cores; and the whole stage with the
peer, which may use all cores too. `again` is the share of small images that the stage looks at twice, since nothing
was found (faces/detect.py); the bare loop looks once.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import pandas as pd
import torch
from images import read
from quick import settings

from ferops import machine
from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params, Preprocess
from ferops.datasets import manifest
from ferops.datasets.images import UnreadableImageError, decode
from ferops.faces.detect import SMALL_PX
from ferops.faces.detection import Image
from ferops.faces.detectors import from_settings
from ferops.faces.stage import preprocess
from ferops.faces.unfinished import SPLITS
from ferops.layout import Layout
from ferops.machine import cores
from ferops.pool import one_thread

FEW = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, action="append", required=True, help="Parquet source, zip or folder")
    parser.add_argument("--limit", type=int, default=1500, help="images drawn at random from each path")
    parser.add_argument("--detector", default="mtcnn")
    parser.add_argument("--min-confidence", type=float, default=0.9)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    params = settings(detector=options.detector, min_confidence=options.min_confidence)
    print(f"{cores()} cores of {machine.cpu_name()}; images a second; detector {options.detector}")
    print(
        f"{'images':<14}{'n':>6}{'bare 1':>8}{'bare all':>10}{'peer':>7}{'stage 1':>9}{'stage all':>11}{'fixed':>8}"
        f"{'start':>8}{'running 1':>11}{'running all':>13}{'again':>7}{'running/bare 1':>16}{'all':>6}"
        f"{'stage 1/peer':>14}{'stage all/peer':>16}"
    )
    for path in options.images:
        encoded = read(path, limit=options.limit, seed=options.seed)
        measure(path.stem, readable(encoded), params, repeats=options.repeats)


def readable(encoded: Sequence[bytes]) -> dict[bytes, Image]:
    """Decode; leave out copies and what the stage `validate` would not let through."""
    images = {}
    for data in encoded:
        try:
            images[data] = decode(data)
        except UnreadableImageError:
            continue
    return images


def measure(name: str, images: dict[bytes, Image], params: Params, *, repeats: int) -> None:
    n, decoded = len(images), list(images.values())
    with one_thread():
        detector = from_settings(params.preprocess, threads=1)
        found = detector.detect(decoded)  # warms up for every size of image
        bare_one = n / fastest(lambda: detector.detect(decoded), repeats=repeats)
    again = sum(not faces and max(image.shape) <= SMALL_PX for faces, image in zip(found, decoded, strict=True)) / n
    bare_s, start_s = bare_on_all_cores(decoded, params.preprocess, repeats=repeats)
    bare_all = n / bare_s
    peer = n / fastest(peer_loop(decoded), repeats=repeats)
    with tempfile.TemporaryDirectory() as folder:
        layout, few = project(Path(folder) / "all", list(images)), project(Path(folder) / "few", list(images)[:FEW])
        fixed_s = fastest(lambda: preprocess(few, with_workers(params, 1)), repeats=repeats)
        one_s, all_s = (
            fastest(lambda: preprocess(layout, with_workers(params, workers)), repeats=repeats)  # noqa: B023
            for workers in (1, cores())
        )
    one, every = n / one_s, n / all_s
    running_one = (n - FEW) / (one_s - fixed_s)
    running_all = (n - FEW) / (
        all_s - fixed_s - start_s * (cores() - 1) / cores()
    )  # meanwhile, this process works alone
    print(
        f"{name[:13]:<14}{n:>6}{bare_one:>8.1f}{bare_all:>10.1f}{peer:>7.1f}{one:>9.1f}{every:>11.1f}{fixed_s:>6.1f} s"
        f"{start_s:>6.1f} s{running_one:>11.1f}{running_all:>13.1f}{again:>7.1%}{running_one / bare_one:>16.2f}"
        f"{running_all / bare_all:>6.2f}{one / peer:>14.2f}"
        f"{every / peer:>16.2f}",
        flush=True,
    )


def fastest(work: Callable[[], object], *, repeats: int) -> float:
    """Return seconds."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def with_workers(params: Params, workers: int) -> Params:
    return params.model_copy(update={"preprocess": params.preprocess.model_copy(update={"workers": workers})})


def peer_loop(images: Sequence[Image]) -> Callable[[], object]:
    from facenet_pytorch import MTCNN

    net = MTCNN(keep_all=True)
    for image in images[:5]:
        net.detect(image, landmarks=True)  # warms up
    return lambda: [net.detect(image, landmarks=True) for image in images]


def bare_on_all_cores(images: Sequence[Image], settings: Preprocess, *, repeats: int) -> tuple[float, float]:
    """Return the seconds of the loop, and those until a process is ready for it."""
    context = multiprocessing.get_context("spawn")
    shares = [images[start :: cores()] for start in range(cores())]
    asked = time.monotonic()  # one clock for all processes
    with ProcessPoolExecutor(
        cores(), mp_context=context, initializer=_prepare, initargs=(settings, context.Barrier(cores()))
    ) as pool:
        ready = [future.result() for future in [pool.submit(_ready) for _ in shares]]
        spans = []
        for _ in range(repeats):
            parts = [future.result() for future in [pool.submit(_bare, share) for share in shares]]
            spans.append(max(end for _, end in parts) - min(start for start, _ in parts))
    return min(spans), max(ready) - asked


_here: list[Any] = []  # in a process of the bare loop: its detector, the barrier, and whether it is warm


def _prepare(settings: Preprocess, barrier: Any) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _here[:] = [from_settings(settings, threads=1), barrier, time.monotonic()]


def _ready() -> float:
    _here[1].wait()  # so that each process takes one
    return float(_here[2])


def _bare(images: Sequence[Image]) -> tuple[float, float]:
    detector, barrier, _ = _here
    detector.detect(images)
    barrier.wait()
    started = time.monotonic()
    detector.detect(images)
    return started, time.monotonic()


def project(root: Path, encoded: Sequence[bytes]) -> Layout:
    """Lay the images out as if they had been imported, validated and split; each class has some."""
    layout = Layout(root)
    layout.data.mkdir(parents=True)
    layout.data_dvc.write_text(f"outs:\n- md5: {'0' * 32}.dir\n  path: data\n")
    rows = [
        manifest.make_row(data, source="images", label=DEFAULT_CLASSES[i % len(DEFAULT_CLASSES)])
        for i, data in enumerate(encoded)
    ]
    manifest.write(layout.source("images"), rows, source="images")
    frame = pd.DataFrame(rows).drop(columns="image")
    frame = frame.assign(cluster=frame["image_id"].str[:16], brightness=100.0, sharpness=100.0)
    for path in (layout.manifest, layout.assignment):
        path.parent.mkdir(parents=True)
    frame.to_parquet(layout.manifest, index=False)
    splits = [SPLITS[i % len(SPLITS)] for i in range(len(frame))]
    frame[["image_id"]].assign(split=splits, group=frame["cluster"]).to_parquet(layout.assignment, index=False)
    return layout


if __name__ == "__main__":
    main()
