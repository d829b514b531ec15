"""`ferops across`: what a model learns from one source, is it true of another?

The candidate is trained anew on the packed training faces of each source alone, and of all but each, and judged on the
test faces of every source. The split stays: no copy and no person of a test face was in any training. The left-out
source is not in validation either, so the epoch is not chosen by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.config import LABELS, Params
from ferops.errors import FeropsError
from ferops.escape import markdown
from ferops.evaluation import metrics
from ferops.evaluation.inputs import Data, read_data
from ferops.faces.pack import FaceFile
from ferops.files import atomic_file, write_text
from ferops.formats import interval
from ferops.layout import Layout
from ferops.records.metrics import Interval
from ferops.tables import read_array
from ferops.training.faces import OTHERS
from ferops.training.prepare import prepare
from ferops.training.stage import run

MODEL = "candidate"


@dataclass(frozen=True)
class Row:
    """One training: what it learnt from, and its accuracy on each source's test faces; None where it cannot be."""

    name: str
    sources: tuple[str, ...]
    accuracy: dict[str, Interval] | None
    reason: str = ""


def across(layout: Layout, params: Params) -> str:
    """Return a Markdown page: a row for each training, a column for each source's test faces.

    Each training lies in .ferops/across/: one that was killed goes on, one that is done is not done again.

    Raises:
        FeropsError: fewer than two sources, a candidate that begins with what has seen other sources, or an input of
            the trainings is missing.
    """
    wanted = params.models[MODEL]
    if wanted.epochs == 0 or wanted.learns_from != LABELS:
        raise FeropsError(
            f"models.{MODEL} learns from {wanted.learns_from}, which has seen images of the sources that are to be "
            f"left out. Train it on the labels alone: learns_from {LABELS}, and epochs above 0"
        )
    data = read_data(layout, params.evaluate, params.data.classes, seed=params.seed)
    sources = tuple(sorted(set(data.index["source"])))
    if len(sources) < 2:
        raise FeropsError(
            f"the test split has faces of {' and '.join(sources)} alone. Import a second source (ferops import), name "
            "both in data.sources, and run: dvc repro preprocess"
        )
    rows = []
    for name, kept in trainings(sources).items():
        missing = sorted(set(params.data.classes) - set(_faces_of(data, kept, "train")["label"]))
        if missing:
            rows.append(Row(name, kept, None, f"no training face labelled {', '.join(missing)}"))
            continue
        logits = _trained(layout, params, data, name, kept)
        rows.append(Row(name, kept, accuracies(data, logits.argmax(axis=1))))
    return page(rows, sources, data, params)


def trainings(sources: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return by name what each training learns from: all sources, each alone, and all but each."""
    found = {"all": tuple(sources)} | {f"only {one}": (one,) for one in sources}
    if len(sources) > 2:
        found |= {f"without {one}": tuple(other for other in sources if other != one) for one in sources}
    return found


def accuracies(data: Data, answers: NDArray[np.intp]) -> dict[str, Interval]:
    """Return the accuracy of `answers` `(N,)` on the test faces of each source."""
    found = {}
    for source in sorted(set(data.index["source"])):
        inside = (data.index["source"] == source).to_numpy()
        clusters = data.test.resampler.clusters_in(data.test.rows[inside])
        counts = data.test.confusion(answers, inside=inside)
        found[source] = data.test.resampler.interval(metrics.accuracy(counts), clusters=clusters)
    return found


def page(rows: Sequence[Row], sources: Sequence[str], data: Data, params: Params) -> str:
    """Return the Markdown."""
    counts = data.index["source"].value_counts()
    lines = [
        "# Across sources",
        "",
        f"Accuracy in % of models.{MODEL}, trained on the row's sources, on the test faces of the column's source; "
        f"{100 * params.evaluate.confidence_level:g} % intervals; seed {params.seed}. **Bold**: the source was in the "
        "training.",
        "",
        "| trained on | training faces | " + " | ".join(f"{markdown(one)} (n={counts[one]})" for one in sources) + " |",
        "|---|---:|" + "---:|" * len(sources),
    ]
    for row in rows:
        cells = [_cell(row, source) for source in sources]
        lines.append(f"| {markdown(row.name)} | {len(_faces_of(data, row.sources, 'train'))} | {' | '.join(cells)} |")
    lines += ["", *(f"- {markdown(row.name)} was not trained: {markdown(row.reason)}." for row in rows if row.reason)]
    return "\n".join(lines).rstrip()


def _cell(row: Row, source: str) -> str:
    if row.accuracy is None:
        return "n/a"
    shown = interval(row.accuracy[source])
    return f"**{shown}**" if source in row.sources else shown


def _faces_of(data: Data, sources: Sequence[str], split: str) -> pd.DataFrame:
    rows = data.everything
    return rows[(rows["split"] == split) & (rows["row"] >= 0) & rows["source"].isin(sources)].sort_values("row")


def _trained(layout: Layout, params: Params, data: Data, name: str, kept: tuple[str, ...]) -> NDArray[np.float32]:
    """Train on the faces of the sources `kept`, and return the logits `(N, K)` of all test faces."""
    own = Layout(layout.state / "across" / name.replace(" ", "-"))
    _write_inputs(layout, own, params, data, kept)
    rows = _faces_of(data, kept, "train")
    voted = bool(rows.filter(like="votes_").notna().any(axis=None))
    some = {source: how for source, how in params.train.sampling.items() if source in {*kept, OTHERS}}
    changed = params.model_copy(
        update={
            "train": params.train.model_copy(update={"sampling": some, "votes": params.train.votes if voted else 0.0}),
            "data": params.data.model_copy(update={"sources": kept}),
        }
    )
    training = prepare(own, changed, MODEL, say=name == "all")  # what the weights are is said once
    done = own.root / "done"
    if not (done.exists() and done.read_text(encoding="utf-8") == training.identity.digest):
        run(training)
        write_text(done, training.identity.digest)
    return read_array(own.model(MODEL) / "test_logits.npy", made_by="ferops across")


def _write_inputs(layout: Layout, own: Layout, params: Params, data: Data, kept: tuple[str, ...]) -> None:
    """Write what a training reads: faces of the sources `kept` for training and validation, of all for the test."""
    own.artifacts("preprocess").mkdir(parents=True, exist_ok=True)
    _link(layout.data_dvc, own.data_dvc)
    _link(layout.artifacts("split"), own.artifacts("split"))
    _link(layout.faces("test"), own.faces("test"))
    tables = [data.everything[data.everything["split"] == "test"]]
    for split in ("train", "val"):
        rows = _faces_of(data, kept, split)
        images = read_array(layout.faces(split), made_by="ferops preprocess", mmap=True)
        with atomic_file(own.faces(split)) as file, FaceFile(file, size_px=params.preprocess.size_px) as packed:
            for row in rows["row"]:
                packed.append(images[row])
        tables.append(rows.assign(row=np.arange(len(rows))))
    with atomic_file(own.face_index) as file:
        pd.concat(tables).to_parquet(file)


def _link(target: Path, link: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target.resolve())
