"""Judge models on photographs and on FER2013 by four questions, with `ferops score`: a table for docs/results.md.

    python benchmarks/exam.py --project ~/fer --split val artifacts/export starter
    python benchmarks/exam.py --project ~/fer --split test artifacts/export      # once for each model that is shipped
    python benchmarks/exam.py --project ~/fer --tta off flip flip_zoom artifacts/export    # the gain and time of each

The project holds FER2013 with FERPlus's votes and a source of photographs, validated and split. The questions:

- `labels`: FER2013's images of six classes, by their own labels.
- `votes`: those in which more than half of the ten annotators saw one and the same of the six, by that answer.
- `votes of seven`: those in which more than half saw one and the same of the six or neutral, by that answer.
- `photographs`: by their labels, seven classes. The figure is the mean recall of the classes with 50 of them or more in
  the whole source; a class that the model does not answer has a recall of 0.

A model of seven classes is judged on `labels` and `votes` renormalised over the six. The time is that of one face at a
time, the median of 200, without detection.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import timeit
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import tables

from ferops.classes import DEFAULT_CLASSES
from ferops.config import Tta
from ferops.datasets.raw import files_of
from ferops.layout import Layout
from ferops.records.score import Score
from ferops.scoring.model import opened
from ferops.scoring.score import score

ENOUGH = 50
COLUMNS = ["image_id", "image", "label", "source", "subject", "cluster"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="as for ferops score --model, below the project")
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--tta", nargs="+", choices=get_args(Tta), help="by default as the model is served")
    parser.add_argument("--photographs", default="wild", help="the source of photographs")
    asked = parser.parse_args()
    os.chdir(asked.project)
    layout = Layout(Path.cwd())
    rows, enough = split_rows(layout, asked.split, asked.photographs)
    with tempfile.TemporaryDirectory() as folder:
        files = questions(rows, asked.photographs, Path(folder))
        found = [judged(layout, model, tta, files, enough) for model in asked.models for tta in asked.tta or [None]]
    columns = ["model", "tta", *files, "recall of photographs", "confusion of photographs", "ms a face"]
    print(tables.markdown(columns, found))


def split_rows(layout: Layout, split: str, photographs: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the images of `split` with their bytes, and the classes with enough photographs."""
    manifest = pd.read_parquet(layout.manifest).merge(
        pd.read_parquet(layout.assignment)[["image_id", "split"]], on="image_id"
    )
    counts = manifest.loc[manifest["source"] == photographs, "label"].value_counts()
    chosen = manifest[manifest["split"] == split]
    raw = pd.concat(
        pd.read_parquet(file, columns=["image_id", "image"], filters=[("image_id", "in", list(chosen["image_id"]))])
        for source in ("fer2013", photographs)
        for file in files_of(layout.data, source)
    ).drop_duplicates("image_id")
    return chosen.merge(raw, on="image_id"), sorted(counts.index[counts >= ENOUGH])


def questions(rows: pd.DataFrame, photographs: str, folder: Path) -> dict[str, Path]:
    """Write a file of labelled images for each question; return their paths by name."""
    of_fer = rows[rows["source"] == "fer2013"]
    sets = {
        "labels": of_fer[of_fer["label"].isin(DEFAULT_CLASSES)],
        "votes": agreed(of_fer, DEFAULT_CLASSES),
        "votes of seven": agreed(of_fer, [*DEFAULT_CLASSES, "neutral"]),
        "photographs": rows[rows["source"] == photographs],
    }
    files = {name: folder / f"{name}.parquet" for name in sets}
    for name, file in files.items():
        sets[name][COLUMNS].to_parquet(file)
    return files


def agreed(rows: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return the rows in which more than half of the ten annotators saw the same of `classes`, with that as label."""
    votes = rows[[f"votes_{name}" for name in classes]].fillna(0).astype(int)
    return rows.assign(label=votes.idxmax(axis=1).str.removeprefix("votes_"))[votes.max(axis=1) > 5]


def judged(layout: Layout, model: str, tta: Tta | None, files: dict[str, Path], enough: list[str]) -> list[str]:
    """Return a row: model and tta, a cell for each question, the recalls and confusion of the photographs, the time."""
    cells, last = [], None
    for name, file in files.items():
        last = score(layout, model, file, tta=tta)
        figures = last.renormalised or last
        if name != "photographs":
            cells.append(f"{100 * figures.accuracy:.1f} %, {figures.macro_f1:.3f} ({figures.n:,})")
    assert last is not None
    recalls = {name: recall(last, name) for name in enough}
    cells.append(f"{np.mean(list(recalls.values())):.3f} ({last.n:,})")
    cells.append(", ".join(f"{name} {value:.2f}" for name, value in recalls.items()))
    cells.append(
        "; ".join(f"{name}: {' '.join(map(str, row))}" for name, row in zip(last.classes, last.confusion, strict=True))
    )
    return [model, last.model.tta, *cells, f"{milliseconds(layout, model, tta):.2f}"]


def milliseconds(layout: Layout, model: str, tta: Tta | None) -> float:
    with opened(layout, model, tta=tta) as ready:
        size = ready.config.size_px
        face = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
        seconds = timeit.repeat(lambda: ready.predictor.classify(face), number=1, repeat=220)
    return 1e3 * float(np.median(seconds[20:]))


def recall(found: Score, name: str) -> float:
    return (found.per_class[name].recall or 0.0) if name in found.per_class else 0.0


if __name__ == "__main__":
    main()
