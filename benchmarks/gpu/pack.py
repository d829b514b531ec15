"""Pack the faces of a project, and the packages that a bare GPU machine lacks, for benchmarks/gpu/session.sh.

    python benchmarks/gpu/pack.py --project ~/fer

It takes artifacts/preprocess of a project whose split has an official test (FER2013's PublicTest), and writes
benchmarks/gpu/packed: faces.zip and wheels. Faces become grey, and WebP: those of thumbnails with --small-px, which is
still more than a thumbnail shows of them. The rest of what travels is src and benchmarks.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import packed
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray
from packed import FACES, SPLITS, Pack, Split

from ferops.files import atomic_file, atomic_folder
from ferops.layout import Layout
from ferops.records.preprocess import PreprocessSummary
from ferops.tables import read_array

HERE = Path(__file__).parent
WHEELS = (
    "annotated-types",
    "pydantic",
    "pydantic-core",
    "ruamel-yaml",
    "timm",
    "typing-extensions",
    "typing-inspection",
)
"""What ferops.training imports beside torch, torchvision, safetensors, numpy and what these bring."""

LUMA = np.array([0.299, 0.587, 0.114])
THUMBNAIL_PX = 64


def main() -> None:
    options = _arguments()
    layout, folder = Layout(options.project), options.out
    folder.mkdir(parents=True, exist_ok=True)
    pack, small = collect(layout, options.photographs)
    with atomic_file(folder / FACES) as file:
        packed.write(file, pack, small=small, small_px=options.small_px, quality=options.quality)
    if options.wheels:
        with atomic_folder(folder / "wheels") as wheels:
            download(wheels, python=options.python)
    report(folder, pack)


def collect(layout: Layout, photographs: str) -> tuple[Pack, dict[str, NDArray[np.bool_]]]:
    """Return the faces of all splits, and which of them are from thumbnails."""
    summary = PreprocessSummary.read(layout.summary("preprocess"), made_by="dvc repro preprocess")
    classes = summary.provenance.params["data"]["classes"]
    columns = ["image_id", "split", "row", "source", "label_index", "width", "height"]
    votes = [f"votes_{name}" for name in classes]
    known = set(pq.read_schema(layout.face_index).names)
    rows = pd.read_parquet(layout.face_index, columns=[*columns, *(name for name in votes if name in known)])
    rows = rows[rows["row"] >= 0].reindex(columns=[*columns, *votes])
    copies = exact_copies(layout)
    splits, small = {}, {}
    for name in SPLITS:
        chosen = rows[rows["split"] == name].sort_values("row")
        images = read_array(layout.faces(name), made_by="dvc repro preprocess", mmap=True)
        assert np.array_equal(chosen["row"], np.arange(len(images)))
        splits[name] = Split(
            grey(images),
            chosen["label_index"].to_numpy(np.int64),
            chosen[votes].fillna(0).to_numpy(np.uint8),
            chosen["source"].to_numpy(str),
            chosen["image_id"].map(copies).fillna(0).to_numpy(np.uint8),
        )
        small[name] = (chosen[["width", "height"]].max(axis=1) <= THUMBNAIL_PX).to_numpy()
    about = {"classes": classes, "photographs": photographs, "size_px": splits["train"].images.shape[1]}
    return Pack(splits, {**about, "provenance": summary.provenance.as_json()}), small


def exact_copies(layout: Layout) -> pd.Series:
    """Return how many exact copies of an image the validation took out, by the `image_id` of the one that it kept."""
    quarantine = pd.read_parquet(layout.quarantine, columns=["image_id", "reason"])
    return quarantine.loc[quarantine["reason"] == "exact_duplicate", "image_id"].value_counts()


def grey(images: NDArray[np.uint8], *, chunk: int = 1024) -> NDArray[np.uint8]:
    parts = [images[start : start + chunk] @ LUMA for start in range(0, len(images), chunk)]
    return np.concatenate([np.rint(part).astype(np.uint8) for part in parts])


def download(folder: Path, *, python: str) -> None:
    """Fetch wheels of the versions that are installed here, for a Linux machine with this Python."""
    glibcs = (17, 24, 27, 28)
    platforms = [f"--platform=manylinux_2_{glibc}_x86_64" for glibc in glibcs]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", folder]
    names = [f"{name}=={version(name)}" for name in WHEELS]
    subprocess.run([*command, f"--python-version={python}", "--implementation=cp", *platforms, *names], check=True)


def report(folder: Path, pack: Pack) -> None:
    for file in (folder / FACES, *sorted((folder / "wheels").glob("*.whl"))):
        print(f"{file.stat().st_size / 1e6:6.1f} MB  {file}")
    for name, split in pack.splits.items():
        counts = ", ".join(f"{source} {(split.sources == source).sum():,}" for source in np.unique(split.sources))
        print(f"{name}: {len(split):,} faces ({counts}), {split.copies.sum():,} exact copies")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=Path(), help="folder with artifacts/preprocess (default: here)")
    parser.add_argument("--photographs", default="wild", help="the source of photographs")
    parser.add_argument("--out", type=Path, default=HERE / "packed")
    parser.add_argument("--small-px", type=int, default=56, help="stored side of faces from thumbnails")
    parser.add_argument("--quality", type=int, default=80, help="of WebP, 0-100")
    parser.add_argument("--python", default="3.12", help="of the GPU machine")
    parser.add_argument("--no-wheels", dest="wheels", action="store_false", help="faces only")
    return parser.parse_args()


if __name__ == "__main__":
    main()
