"""How well the label review finds labels that are wrong: plants some, and looks where they come in its list.

    ferops validate && python benchmarks/label_review.py --seeds 1 2 3

Works in a project whose stage `validate` has run: the labels of a share of the accepted rows of data.sources are
changed, at random to any other class (`uniform`) or to the one that people confuse it with most (`confusable`, harder
and closer to real errors), the review runs as in the stage, and its order is compared with what was planted. Nothing
in the project changes. Real data hold wrong labels of their own, which count as false here: precision is a lower bound.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd

from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params, load_params
from ferops.layout import Layout
from ferops.machine import cpu_name
from ferops.validation.descriptors import Views
from ferops.validation.label_review import review_labels
from ferops.validation.measure import measure_sources

CONFUSED_WITH = {
    "anger": "disgust",
    "disgust": "anger",
    "fear": "surprised",
    "happy": "surprised",
    "sad": "fear",
    "surprised": "fear",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    layout = Layout(options.project)
    params = load_params(layout.params_file)
    rows, views = accepted(layout, params)
    print(f"{', '.join(params.data.sources)}: {len(rows)} accepted rows, {options.share:.0%} changed; {cpu_name()}")
    print(
        f"{'kind':<11}{'seed':>5}{'AUROC':>8}{'first 60':>10}{'first 100':>11}{'first k':>9}"
        f"{'listed':>8}{'precision':>11}{'recall':>8}{'agrees':>8}{'s':>7}"
    )
    for kind in ("uniform", "confusable"):
        for seed in options.seeds:
            print(
                line(kind, seed, run(rows, views, params=params, kind=kind, share=options.share, seed=seed)),
                flush=True,
            )
    print("first n: share of planted ones among the n least likely labels; k: as many as were planted (there precision")
    print("is recall). listed: what the stage reports. agrees: accuracy of the model on the labels it was given.")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


def accepted(layout: Layout, params: Params) -> tuple[pd.DataFrame, Views]:
    """Return the manifest, indexed by the place of each image in the views, and the views."""
    measured = measure_sources(layout, params.data.sources, params.validation)
    raw = measured.raw.select(["image_id", "source"]).to_pandas().assign(row=measured.facts["row"])
    places = raw.drop_duplicates(["image_id", "source"]).reset_index(names="place")
    manifest = pd.read_parquet(layout.manifest)
    rows = manifest.merge(places, on=["source", "image_id"], validate="one_to_one").set_index("place")
    return rows, measured.views


def run(rows: pd.DataFrame, views: Views, *, params: Params, kind: str, share: float, seed: int) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(seed)
    planted = random.random(len(rows)) < share
    right = rows["label"].map(DEFAULT_CLASSES.index).to_numpy()
    other = (right + random.integers(1, len(DEFAULT_CLASSES), len(rows))) % len(DEFAULT_CLASSES)
    if kind == "confusable":
        other = rows["label"].map(CONFUSED_WITH).map(DEFAULT_CLASSES.index).to_numpy()
    given = np.array(DEFAULT_CLASSES)[np.where(planted, other, right)]
    started = time.perf_counter()
    found = review_labels(rows.assign(label=given), views, params.validation, DEFAULT_CLASSES, seed=params.seed)
    seconds = time.perf_counter() - started
    if found is None:
        raise SystemExit("too little data for a review")
    is_planted = found.table["image_id"].map(pd.Series(planted, index=rows["image_id"])).to_numpy(dtype=bool)
    listed = found.table["suspected"].to_numpy()
    return {
        "auroc": roc_auc_score(is_planted, -found.table["label_quality"]),
        "first_60": is_planted[:60].mean(),
        "first_100": is_planted[:100].mean(),
        "first_k": is_planted[: planted.sum()].mean(),
        "listed": listed.sum(),
        "precision": is_planted[listed].mean(),
        "recall": is_planted[listed].sum() / planted.sum(),
        "agrees": found.record.accuracy,
        "seconds": seconds,
    }


def line(kind: str, seed: int, found: dict[str, float]) -> str:
    return (
        f"{kind:<11}{seed:>5}{found['auroc']:>8.3f}{found['first_60']:>10.0%}{found['first_100']:>11.0%}"
        f"{found['first_k']:>9.0%}{found['listed']:>8.0f}{found['precision']:>11.0%}{found['recall']:>8.0%}"
        f"{found['agrees']:>8.1%}{found['seconds']:>7.1f}"
    )


if __name__ == "__main__":
    main()
