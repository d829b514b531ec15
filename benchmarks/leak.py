"""What a random split of FER2013 is worth, whose test faces have copies among the training faces.

    python benchmarks/leak.py --project ~/fer --work leak --epochs 30

The project holds FER2013, preprocessed (the figures of docs/results.md: at 64 px) with `split.official_test: false`
(true leaves out faces of the training folder that have a copy in PublicTest), and with `validate.label_conflicts` and
`near_label_conflicts` on `keep`. The training folder is split as the reference system does it: every row on its own,
exact copies put back, four fifths to learn from and a fifth to test, each class in proportion. The recipe is the
reference's (the preset of that name) but for the network, a MobileNet from face weights in place of a ResNet-50, the
size of the project's faces, the batches and the epochs; the epoch is chosen on the tested fifth, which is the
reference's way, too.

The table has the accuracy on that fifth, on its faces with and without a copy (exact or near) among the training faces,
and on the faces of PublicTest without one. Intervals of 95 % are by bootstrap over groups of copies. A training that
was stopped goes on when the command is given again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tables import markdown

from ferops import presets
from ferops.config import load_params
from ferops.layout import Layout
from ferops.split.assign import SPLITS
from ferops.training.prepare import prepare
from ferops.training.stage import run

SEED = 7
TESTED = 0.2
SAMPLES = 2_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("leak"), help="a folder for faces and checkpoints")
    parser.add_argument("--epochs", type=int, default=30)
    asked = parser.parse_args()
    layout = Layout(asked.work)
    if not layout.face_index.exists():
        project(layout, Layout(asked.project), epochs=asked.epochs)
    if not layout.model("candidate").exists():
        run(prepare(layout, load_params(layout.params_file), "candidate"))
    print(table(layout))


def project(layout: Layout, source: Layout, *, epochs: int) -> None:
    """Write what the stages before the training would leave, had they split like this."""
    rows, faces = read(source)
    part = drawn(rows)
    presets.apply_preset(layout, "reference")
    presets.change(
        layout,
        {
            "preprocess": {"size_px": int(faces.shape[1])},
            "train": {"batch_size": 64, "accumulate": 1},
            "models": {"candidate": {"architecture": "mobilenetv1", "pretrained": "faces", "epochs": epochs}},
        },
    )
    layout.artifacts("preprocess").mkdir(parents=True, exist_ok=True)
    for name in SPLITS:
        np.save(layout.faces(name), faces[part == name])
    rows = rows.assign(split=part, group=rows["cluster"], image_id=[f"{number:06}" for number in range(len(rows))])
    rows = rows[rows["split"] != ""]
    layout.assignment.parent.mkdir(parents=True, exist_ok=True)
    rows[["image_id", "split", "group"]].to_parquet(layout.assignment, index=False)
    layout.data_dvc.write_text(source.data_dvc.read_text(encoding="utf-8"), encoding="utf-8")
    # Last: by this `main` knows that all is there
    rows.assign(row=rows.groupby("split").cumcount()).to_parquet(layout.face_index, index=False)


def read(source: Layout) -> tuple[pd.DataFrame, NDArray[np.uint8]]:
    """Return all rows, exact copies too, and their faces `(N, S, S, 3)` in the same order."""
    rows = pd.read_parquet(source.face_index)
    rows = rows[rows["row"] >= 0].sort_values(["split", "row"])
    arrays = {name: np.load(source.faces(name)) for name in SPLITS}
    faces = np.concatenate([arrays[str(name)] for name in rows["split"].unique()])
    left_out = pd.read_parquet(source.quarantine, columns=["image_id", "reason"])
    copies = left_out.loc[left_out["reason"] == "exact_duplicate", "image_id"].value_counts()
    times = 1 + rows["image_id"].map(copies).fillna(0).to_numpy(int)
    places = np.repeat(np.arange(len(rows)), times)
    return rows.iloc[places].reset_index(drop=True), faces[places]


def drawn(rows: pd.DataFrame) -> NDArray[np.str_]:
    """Return the split of each row, `(N,)`; empty for faces of PublicTest that have a copy in the training folder."""
    public = (rows["usage"] == "test").to_numpy()
    part = np.where(public, "test", "train").astype("<U5")
    part[public & rows["cluster"].isin(rows.loc[~public, "cluster"]).to_numpy()] = ""
    part[public & rows.duplicated("image_id").to_numpy()] = ""
    order = np.random.default_rng(SEED).permutation(np.flatnonzero(~public))
    labels = rows["label_index"].to_numpy()
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        part[of_class[: round(TESTED * len(of_class))]] = "val"
    return part


def table(layout: Layout) -> str:
    rows = pd.read_parquet(layout.face_index)
    tested, public = (rows[rows["split"] == name].sort_values("row") for name in ("val", "test"))
    known = tested["cluster"].isin(rows.loc[rows["split"] == "train", "cluster"]).to_numpy()
    right = {name: answers(layout, name) == each["label_index"] for name, each in (("val", tested), ("test", public))}
    parts = {
        "the tested fifth": (tested, right["val"]),
        "of these: with a copy among the training faces": (tested[known], right["val"][known]),
        "of these: without": (tested[~known], right["val"][~known]),
        "PublicTest, faces without a copy": (public, right["test"]),
    }
    found = []
    for name, (each, hits) in parts.items():
        low, high = np.percentile(list(resampled(each["cluster"], hits.to_numpy())), [2.5, 97.5])
        found.append([name, f"{len(each):,}", f"{100 * hits.mean():.1f} ({100 * low:.1f} to {100 * high:.1f})"])
    return markdown(["judged on", "faces", "accuracy, %"], found)


def answers(layout: Layout, split: str) -> NDArray[np.int64]:
    logits: NDArray[np.float32] = np.load(layout.model("candidate") / f"{split}_logits.npy")
    return logits.argmax(axis=1)


def resampled(clusters: pd.Series, hits: NDArray[np.bool_]) -> Iterator[float]:
    """Yield the accuracies of as many groups, drawn with replacement."""
    sums = pd.DataFrame({"hits": hits, "n": 1}).groupby(clusters.to_numpy()).sum().to_numpy()
    rng = np.random.default_rng(SEED)
    for _ in range(SAMPLES):
        total = sums[rng.integers(len(sums), size=len(sums))].sum(axis=0)
        yield total[0] / total[1]


if __name__ == "__main__":
    main()
