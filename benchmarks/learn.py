"""What a model of one's own gains: the training of `ferops learn` beside its starter, by the number of photographs.

    python benchmarks/learn.py --project ~/fer --source wild --starter artifacts/train/candidate --draws 5 \
        --as-they-come 100 200 500 --of-a-class 30 --out learn.jsonl
    python benchmarks/learn.py --table learn.jsonl

The project holds labelled photographs whose people are named, validated, split and preprocessed. A share of the people
is set aside, the same in every draw: on their faces both models are judged. From the others each draw takes people in
a random order: until there are so many faces, in the mixture of the classes that they have (`--as-they-come`), or until
every class has so many, or all that there are (`--of-a-class`). These faces are what `ferops learn` would be given: its
decisions (`ferops.orchestration.sizing`) and its split apply, and the model is the trained one, before its export.
`--set train.class_weights=effective` changes settings that it takes. With `--aside 0` nobody is set aside, and starter
and trained model are judged on the drawn faces, as `ferops learn` judges few: cross-validated, which takes five times
as long.

The starter must not have learnt from the photographs: else it knows them, and there is nothing to gain. Give one that
was trained on others (`--starter`), or the people whom it has not learnt from (`--splits test`). Faces of classes that
it lacks are left out.

A line of --out is a draw; a draw that is there is not made again. The table has the means over the draws, and the least
and the most that a draw gained. Accuracy is that of the faces judged on; the mean recall is over the classes with 15 of
them or more, and does not change with the mixture of the classes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from numpy.typing import NDArray
from tables import markdown

from ferops import presets
from ferops.config import Split, load_params
from ferops.layout import Layout
from ferops.model_config import read_training_config
from ferops.orchestration.sizing import FOLDS, Facts, plan
from ferops.split.assign import SPLITS, assign
from ferops.training import model
from ferops.training.evaluator import predict
from ferops.training.precision import Precision
from ferops.training.prepare import prepare
from ferops.training.stage import run

SEED = 7  # of who is set aside
ENOUGH = 15
AS_THEY_COME, OF_A_CLASS = ("as they come", "of a class")
PEOPLE = ["image_id", "label", "source", "usage", "subject", "cluster", "connected"]


@dataclass(frozen=True)
class Pool:
    """Faces `(N, S, S, 3)`, their rows of faces.parquet in the same order, and which are set aside."""

    faces: NDArray[np.uint8]
    rows: pd.DataFrame
    aside: NDArray[np.bool_]

    @classmethod
    def read(cls, layout: Layout, source: str, splits: Sequence[str], *, classes: Sequence[str], share: float) -> Pool:
        table = pd.read_parquet(layout.face_index)
        table = table[(table["source"] == source) & (table["row"] >= 0) & table["split"].isin(splits)]
        table = table[table["label"].isin(classes)]
        table = table.sort_values(["split", "row"])
        arrays = {split: np.load(layout.faces(split), mmap_mode="r") for split in SPLITS}
        faces = np.concatenate(
            [arrays[str(split)][rows["row"].to_numpy()] for split, rows in table.groupby("split", sort=True)]
        )
        aside = np.zeros(len(table), dtype=bool)
        if share:
            drawn = Split(official_test=False, test_share=share, val_share=0.1, folds=0, test_fold=0)
            side = assign(table[PEOPLE], drawn, seed=SEED).set_index("image_id")["split"]
            aside = side.reindex(table["image_id"]).to_numpy() == "test"
        return cls(faces, table.reset_index(drop=True), aside)

    def draw(self, count: int, mixture: str, *, seed: int) -> NDArray[np.intp]:
        """Return the places of the faces of one draw; `mixture` is AS_THEY_COME or OF_A_CLASS."""
        order = np.random.default_rng(seed).permutation(np.unique(self.rows["group"]))
        place = pd.Series(np.arange(len(order)), index=order)
        rows = self.rows[~self.aside]
        rows = rows.assign(turn=place[rows["group"]].to_numpy()).sort_values(["turn", "image_id"])
        drawn = rows.head(count) if mixture == AS_THEY_COME else rows.groupby("label").head(count)
        return np.sort(drawn.index.to_numpy(np.intp))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--source", default="wild")
    parser.add_argument("--starter", type=Path, help="a folder that ferops train wrote")
    parser.add_argument("--as-they-come", nargs="*", type=int, default=[100, 200, 500], help="faces of all classes")
    parser.add_argument("--of-a-class", nargs="*", type=int, default=[30], help="faces of each class")
    parser.add_argument("--set", nargs="*", default=[], metavar="BLOCK.SETTING=VALUE")
    parser.add_argument("--splits", nargs="+", default=SPLITS, help="of the project, whose people are used")
    parser.add_argument("--aside", type=float, default=0.2, help="share of the people; 0: cross-validate")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("learn.jsonl"))
    parser.add_argument("--table", type=Path, help="print the table of such a file, and do nothing else")
    asked = parser.parse_args()
    if asked.table:
        print(table(read(asked.table)))
        return
    starter = asked.starter.resolve()
    classes = read_training_config(starter).classes
    pool = Pool.read(Layout(asked.project), asked.source, asked.splits, classes=classes, share=asked.aside)
    settings = " ".join(sorted(asked.set))
    counts = [(AS_THEY_COME, count) for count in asked.as_they_come] + [(OF_A_CLASS, each) for each in asked.of_a_class]
    for mixture, count in counts:
        for seed in range(asked.draws):
            key = {"mixture": mixture, "count": count, "seed": seed, "settings": settings}
            if not any(key.items() <= row.items() for row in read(asked.out)):
                row = key | measured(pool, pool.draw(count, mixture, seed=seed), asked.set, starter)
                with asked.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
    print(table(read(asked.out)))


def measured(pool: Pool, places: NDArray[np.intp], settings: Sequence[str], starter: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        layout = project(Layout(Path(folder)), pool, places, starter)
        for setting in settings:
            name, value = setting.split("=", 1)
            block, key = name.split(".")
            presets.change(layout, {block: {key: yaml.safe_load(value)}})
        params = load_params(layout.params_file)
        training = prepare(layout, params, "candidate")
        summary = run(training)
        assert summary is not None
        judged_on = np.flatnonzero(pool.aside) if pool.aside.any() else places
        judged_on = judged_on[pool.rows["label"].iloc[judged_on].isin(params.data.classes).to_numpy()]
        found = {"starter": answers(pool, judged_on, starter, params.data.classes)}
        if pool.aside.any():
            found["learnt"] = answers(pool, judged_on, layout.model("candidate"), params.data.classes)
        else:
            table = pd.read_parquet(layout.every_fold("candidate")).set_index("image_id")
            logits = table.loc[pool.rows["image_id"].iloc[judged_on], [f"logit_{name}" for name in params.data.classes]]
            found["learnt"] = np.array(params.data.classes)[logits.to_numpy().argmax(axis=1)]
        labels = pool.rows["label"].to_numpy()[judged_on]
    return {
        "faces": summary.images,
        "counts": pool.rows["label"].iloc[places].value_counts().to_dict(),
        "people": int(pool.rows["group"].iloc[places].nunique()),
        "epochs": summary.epochs,
        "best_epoch": summary.best_epoch,
        "judged_on": "people set aside" if pool.aside.any() else "cross-validated",
        "judged": len(judged_on),
        **{name: figures(labels, of_model) for name, of_model in found.items()},
    }


def project(layout: Layout, pool: Pool, places: NDArray[np.intp], starter: Path) -> Layout:
    """Write what the stages before the training would leave of these faces."""
    rows, faces = pool.rows.iloc[places], pool.faces[places]
    facts = Facts(
        source=str(rows["source"].iloc[0]),
        classes=rows["label"].value_counts().to_dict(),
        side_px=float(np.median(rows[["width", "height"]].min(axis=1))),
        people_of={},
        people=int(rows["group"].nunique()),
        groups=False,
        starter=read_training_config(starter).classes,
    )
    presets.apply_preset(layout, "own")
    presets.change(layout, plan(facts).changes)
    crossed = {"split": {"folds": FOLDS}, "train": {"every_fold": True}}
    alone = {"train": {"every_fold": False}}
    presets.change(
        layout,
        {
            "models": {"baseline": {"learns_from": str(starter)}, "candidate": {"pretrained": str(starter)}},
            **(alone if pool.aside.any() else crossed),
        },
    )
    params = load_params(layout.params_file)
    kept = rows["label"].isin(params.data.classes).to_numpy()
    rows, faces = rows[kept], faces[kept]
    split = assign(rows[PEOPLE], params.split, seed=params.seed)
    rows = rows.drop(columns=["split", "group", "row"]).merge(split, on="image_id", validate="one_to_one")
    rows["label_index"] = rows["label"].map({name: index for index, name in enumerate(params.data.classes)})
    rows["row"] = rows.groupby("split").cumcount()
    layout.artifacts("preprocess").mkdir(parents=True)
    for name in SPLITS:
        np.save(layout.faces(name), faces[(rows["split"] == name).to_numpy()])
    rows.to_parquet(layout.face_index, index=False)
    layout.assignment.parent.mkdir(parents=True)
    split.to_parquet(layout.assignment, index=False)
    layout.data_dvc.write_text(f"outs:\n- md5: {'0' * 32}.dir\n  path: data\n", encoding="utf-8")
    return layout


def answers(pool: Pool, places: NDArray[np.intp], folder: Path, classes: Sequence[str]) -> NDArray[np.str_]:
    """Return what the model in `folder` says of these faces, of the `classes` that both models have."""
    net, config = model.load(folder)
    logits = predict(net, pool.faces[places], precision=Precision(torch.device("cpu"), None))
    return np.array(classes)[logits[:, [config.classes.index(name) for name in classes]].argmax(axis=1)]


def figures(labels: NDArray[np.str_], answers: NDArray[np.str_]) -> dict[str, Any]:
    names, counts = np.unique(labels.astype(str), return_counts=True)
    recalls = {str(name): float((answers[labels == name] == name).mean()) for name in names}
    large = [recalls[str(name)] for name, count in zip(names, counts, strict=True) if count >= ENOUGH]
    return {"accuracy": float((answers == labels).mean()), "mean_recall": float(np.mean(large)), "recalls": recalls}


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def table(found: list[dict[str, Any]]) -> str:
    rows = []
    for settings, mixture, count in sorted({(row["settings"], row["mixture"], row["count"]) for row in found}):
        wanted = {"settings": settings, "mixture": mixture, "count": count}
        draws = [row for row in found if wanted.items() <= row.items()]
        drawn = np.mean([sum(row["counts"].values()) for row in draws])
        cells = [f"{count} {mixture}" + (f" ({drawn:.0f})" if mixture == OF_A_CLASS else "")]
        cells[0] += f"; {settings}" if settings else ""
        for key in ("accuracy", "mean_recall"):
            starter, learnt = (np.array([100 * row[name][key] for row in draws]) for name in ("starter", "learnt"))
            gains = learnt - starter
            cells += [f"{starter.mean():.1f}", f"{learnt.mean():.1f}", f"{gains.min():+.1f} to {gains.max():+.1f}"]
        rows.append(cells)
    gained = ["learnt", "gain"]
    return markdown(["photographs", "starter: accuracy, %", *gained, "starter: mean recall, %", *gained], rows)


if __name__ == "__main__":
    main()
