"""What many images cost the raw data and the stage `preprocess`: CPU, memory, disk, and what more of them would.

    python benchmarks/scale.py [--images 30000 300000] [--side 48] [--to 3000000]

Makes raw data of different images (noise, so that nothing compresses and no two are alike), writes the tables that
`validate` and `split` would, and packs all of them whole (`preprocess.tight: whole`): what a data set costs however
quick its detector is. Each size is packed by a process of its own; peak memory is that process's resident set. From
the first to the last size comes what one more image costs, and from that what --to images would; the search for faces
comes on top (docs/detectors.md). What the search for copies costs is in docs/duplicates.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from preprocess import settings

from ferops.classes import DEFAULT_CLASSES
from ferops.datasets import manifest
from ferops.faces.unfinished import SPLITS
from ferops.layout import Layout
from ferops.machine import cores, cpu_name

STAGE = """
import json, pathlib, re, sys, time
from ferops import config
from ferops.faces.stage import preprocess
from ferops.layout import Layout
begun, start = time.perf_counter(), time.process_time()
preprocess(Layout(pathlib.Path(sys.argv[1])), config.parse(json.loads(sys.argv[2])))
peak = re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]
print(json.dumps([time.process_time() - start, time.perf_counter() - begun, int(peak) / 1024]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[30_000, 300_000])
    parser.add_argument("--side", type=int, default=48, metavar="PX", help="the images' width and height")
    parser.add_argument("--to", type=int, default=3_000_000)
    options = parser.parse_args()
    print(f"{cores()} cores of {cpu_name()}; images of {options.side} px")
    print(
        f"{'images':>10}{'raw, MB':>9}{'CPU s to write':>16}{'CPU s to pack':>15}{'memory, MB':>12}{'packed, MB':>12}"
    )
    found = []
    for images in sorted(options.images):
        with tempfile.TemporaryDirectory() as folder:
            found.append([float(images), *measure(Layout(Path(folder)), images=images, side_px=options.side)])
        print("{:>10,.0f}{:>9.0f}{:>16.1f}{:>15.1f}{:>12.0f}{:>12.0f}".format(*found[-1]), flush=True)
    if len(found) > 1:
        first, last = np.array(found[0]), np.array(found[-1])
        each = (last - first) / (last[0] - first[0])
        print("{:>10,.0f}{:>9.0f}{:>16.1f}{:>15.1f}{:>12.0f}{:>12.0f}".format(*(last + each * (options.to - last[0]))))
        print("The last line is extrapolated.")


def measure(layout: Layout, *, images: int, side_px: int) -> tuple[float, ...]:
    """Return raw MB, CPU seconds to write them, CPU seconds to pack them, peak memory in MB, and packed MB."""
    start = time.process_time()
    counted = project(layout, images=images, side_px=side_px)
    written_s = time.process_time() - start
    assert counted == images
    raw = sum(file.stat().st_size for file in layout.data.iterdir())
    tree = settings(tight_sources=["images"], tight="whole", workers=1).model_dump_json(by_alias=True)
    child = subprocess.run(
        [sys.executable, "-c", STAGE, str(layout.root), tree], capture_output=True, text=True, check=True
    )
    packed_s, _, peak_mb = json.loads(child.stdout.splitlines()[-1])
    packed = sum(file.stat().st_size for file in layout.artifacts("preprocess").rglob("*") if file.is_file())
    return raw / 2**20, written_s, packed_s, peak_mb, packed / 2**20


def project(layout: Layout, *, images: int, side_px: int) -> int:
    """Lay `images` out as if they had been imported, validated and split; return how many there are."""
    layout.data.mkdir(parents=True)
    layout.data_dvc.write_text(f"outs:\n- md5: {'0' * 32}.dir\n  path: data\n")
    counts = manifest.write(layout.source("images"), _rows(images, side_px=side_px), source="images")
    for path in (layout.manifest, layout.assignment):
        path.parent.mkdir(parents=True)
    with _Tables(layout) as tables:
        for file in sorted(layout.data.glob("*.parquet")):
            raw = pq.ParquetFile(file)
            columns = [name for name in raw.schema_arrow.names if name != "image"]
            for batch in raw.iter_batches(columns=columns):
                tables.add(pa.Table.from_batches([batch]))
    return sum(counts.values())


def _rows(images: int, *, side_px: int) -> Iterator[dict[str, Any]]:
    generator = np.random.default_rng(7)
    for number in range(images):
        pixels = generator.integers(0, 256, (side_px, side_px), dtype=np.uint8)
        done, encoded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 0])
        assert done
        label = DEFAULT_CLASSES[number % len(DEFAULT_CLASSES)]
        yield manifest.make_row(encoded.tobytes(), source="images", label=label)


class _Tables:
    """Manifest and assignment, written batch by batch: the parent's memory must not limit the sizes."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._writers: dict[Path, pq.ParquetWriter] = {}
        self._seen = 0

    def __enter__(self) -> _Tables:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers.values():
            writer.close()

    def add(self, table: pa.Table) -> None:
        ids = table.column("image_id")
        cluster = pa.array([each.as_py()[:16] for each in ids])
        flat = pa.array(np.full(len(ids), 100.0))
        splits = pa.array([SPLITS[(self._seen + i) // len(DEFAULT_CLASSES) % len(SPLITS)] for i in range(len(ids))])
        self._seen += len(ids)
        full = table.append_column("cluster", cluster).append_column("brightness", flat)
        self._write(self._layout.manifest, full.append_column("sharpness", flat))
        self._write(self._layout.assignment, pa.table({"image_id": ids, "split": splits, "group": cluster}))

    def _write(self, path: Path, table: pa.Table) -> None:
        if path not in self._writers:
            self._writers[path] = pq.ParquetWriter(path, table.schema)
        self._writers[path].write_table(table)


if __name__ == "__main__":
    main()
