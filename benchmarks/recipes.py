"""Recipes side by side, each with several seeds: what an ingredient adds, and how much the seed alone moves it.

    python benchmarks/recipes.py --project ~/fer --recipes recipes.yaml --seeds 7 8 9 --results recipes.jsonl
    python benchmarks/recipes.py ... --faces 8000     # the same 8,000 training faces for all: a quicker table

The project has its faces packed (dvc repro preprocess). The file of recipes holds, by name, what differs from the
project's params.yaml:

    faces: {}
    imagenet: {models: {candidate: {architecture: efficientnet_lite0, pretrained: imagenet}}}
    no Mixup: {train: {mixup_alpha: 0.0}}

Each is trained by `ferops train candidate` in a folder of its own beside --results, and judged on the packed validation
faces by the questions of benchmarks/exam.py; the test split is not looked at. A run that was stopped goes on where it
was; one with a line in --results is done. The table goes to standard output.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML
from tables import markdown

from ferops import config
from ferops.files import atomic_file, atomic_folder, write_text
from ferops.layout import Layout

sys.path.append(str(Path(__file__).parent / "gpu"))
from judge import cells, judge
from pack import collect

INPUTS = ("data", "data.dvc", "artifacts/validate", "artifacts/split", "artifacts/preprocess", "reports/preprocess")
FIGURES = {
    "labels": lambda found: found["labels"]["accuracy"],
    "labels, macro-F1": lambda found: found["labels"]["macro_f1"],
    "votes": lambda found: found["votes"]["accuracy"],
    "votes, macro-F1": lambda found: found["votes"]["macro_f1"],
    "photographs": lambda found: found["photographs"]["mean_recall"],
    "core-minutes": lambda found: found["core_minutes"],
}


def main() -> None:
    options = _arguments()
    recipes: dict[str, Any] = YAML(typ="safe").load(options.recipes.read_text(encoding="utf-8"))
    done = [json.loads(line) for line in options.results.read_text().splitlines()] if options.results.exists() else []
    pack, _ = collect(Layout(options.project), options.photographs)
    project = drawn(options.project, options.results.parent, options.faces) if options.faces else options.project
    for seed in options.seeds:  # all recipes once, then again: a table that was stopped compares like with like
        for name, changes in recipes.items():
            if any((line["recipe"], line["seed"], line["changes"]) == (name, seed, changes) for line in done):
                continue
            folder = options.results.parent / f"{options.results.stem}-runs" / f"{name.replace(' ', '-')}-{seed}"
            layout, minutes = Layout(folder), trained(folder, project, changes, seed)
            logits = np.load(layout.model("candidate") / "val_logits.npy")
            found = {"recipe": name, "seed": seed, "changes": changes, "core_minutes": minutes}
            done.append({**found, **judge(pack, "val", logits)})
            write_text(options.results, "".join(json.dumps(line) + "\n" for line in done))
            print(f"{name}, seed {seed}: {', '.join(cells(done[-1]))}; {minutes:.0f} core-minutes", flush=True)
    wanted = [line for line in done if recipes.get(line["recipe"], False) == line["changes"]]
    print(table(wanted, list(recipes)))


def trained(folder: Path, project: Path, changes: dict[str, Any], seed: int) -> float:
    """Train the candidate of `project` with these changes in `folder`; return the minutes of CPU that it took.

    They add up in a file, since a run that was stopped goes on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in INPUTS:
        link_to(project / name, folder / name)
    (folder / ".dvc").mkdir(exist_ok=True)  # what makes it a project
    tree = config.read_yaml(project / "params.yaml")
    merge(tree, {**changes, "seed": seed})
    config.parse(tree, origin=str(folder))
    with atomic_file(folder / "params.yaml") as file:
        YAML().dump(tree, file)
    spent = folder / "core-seconds"
    before = float(spent.read_text()) if spent.exists() else 0.0
    start = _children_s()
    try:
        subprocess.run(["ferops", "train", "candidate"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    finally:
        write_text(spent, str(before + _children_s() - start))
    return float(spent.read_text()) / 60


def drawn(project: Path, folder: Path, count: int) -> Path:
    """Return a project like `project`, below `folder`, with `count` of its training faces, drawn once for all runs."""
    few = folder / f"{project.resolve().name}-{count}-faces"
    if few.exists():
        return few
    with atomic_folder(few) as made:
        own, theirs = Layout(made), Layout(project)
        for name in (*INPUTS, "params.yaml"):
            if name != "artifacts/preprocess":
                link_to(project / name, made / name)
        own.face_index.parent.mkdir()
        for split in ("val", "test"):
            link_to(theirs.faces(split), own.faces(split))
        images = np.load(theirs.faces("train"), mmap_mode="r")
        kept = np.sort(np.random.default_rng(0).permutation(len(images))[:count])
        np.save(own.faces("train"), images[kept])
        rows = pd.read_parquet(theirs.face_index)
        train = (rows["split"] == "train") & (rows["row"] >= 0)
        rows = rows[~train | rows["row"].isin(kept)].copy()
        train = (rows["split"] == "train") & (rows["row"] >= 0)
        rows.loc[train, "row"] = np.searchsorted(kept, rows.loc[train, "row"])
        rows.to_parquet(own.face_index)
    return few


def link_to(target: Path, link: Path) -> None:
    link.parent.mkdir(exist_ok=True, parents=True)
    if not link.is_symlink():
        link.symlink_to(target.resolve())


def merge(tree: dict[str, Any], changes: dict[str, Any]) -> None:
    """Change `tree` in place; mappings are merged, but for `sampling`, whose keys are sources."""
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict) and key != "sampling":
            merge(tree[key], value)
        else:
            tree[key] = value


def table(lines: list[dict[str, Any]], names: list[str]) -> str:
    """Return mean and, over several seeds, standard deviation of each figure."""
    rows = []
    for name in names:
        own = [line for line in lines if line["recipe"] == name]
        if own:
            shown = [_figure([figure(line) for line in own]) for figure in FIGURES.values()]
            rows.append([name, ", ".join(str(line["seed"]) for line in own), *shown])
    return markdown(["recipe", "seeds", *FIGURES], rows)


def _figure(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    digits = 0 if max(known) > 1 else 3
    mean = f"{statistics.mean(known):.{digits}f}"
    return f"{mean} ± {statistics.stdev(known):.{digits}f}" if len(known) > 1 else mean


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=Path(), help="folder with artifacts/preprocess (default: here)")
    parser.add_argument("--recipes", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9])
    parser.add_argument("--results", type=Path, required=True, help="JSON lines, one for each run")
    parser.add_argument("--faces", type=int, help="train on so many faces, the same ones each time (default: all)")
    parser.add_argument("--photographs", default="wild", help="the source of photographs")
    options = parser.parse_args()
    options.results = options.results.resolve()
    return options


if __name__ == "__main__":
    main()
