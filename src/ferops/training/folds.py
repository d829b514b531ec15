"""Cross-validation: the answers to every face of models that have not seen it (`train.every_fold`).

The model itself is tested on the fold `split.test_fold`. For each other fold a model is trained by the same settings on
what remains, validation faces drawn anew as `ferops split` does it, and tested on that fold. Their weights are not
kept.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.files import atomic_file
from ferops.layout import Layout
from ferops.split.assign import COLUMNS, SPLITS, assign
from ferops.tables import Kind, read_parquet
from ferops.training.evaluator import predict
from ferops.training.precision import Precision
from ferops.training.prepare import prepare

_INDEX: dict[str, Kind] = COLUMNS | {"split": "text", "row": "whole"}


@dataclass(frozen=True)
class _FoldLayout(Layout):
    """The project as the training of one fold sees it: with faces and checkpoints of its own."""

    folder: Path = Path()

    def artifacts(self, stage: str) -> Path:
        return self.folder if stage == "preprocess" else super().artifacts(stage)

    @property
    def state(self) -> Path:
        return self.folder


def answers(images: Sequence[str], logits: NDArray[np.float32], classes: Sequence[str]) -> pd.DataFrame:
    """Return the content of every_fold.parquet: the `logits` `(N, K)` of N images."""
    columns = {f"logit_{name}": logits[:, index] for index, name in enumerate(classes)}
    return pd.DataFrame({"image_id": list(images)} | columns)


def images_of(layout: Layout, split: str) -> list[str]:
    """Return the ids of the packed faces of `split`, in their order."""
    index = _index(layout)
    return list(index[(index["split"] == split) & (index["row"] >= 0)].sort_values("row")["image_id"])


def other_folds(layout: Layout, params: Params, name: str) -> pd.DataFrame:
    """Train and test a model for every fold but `split.test_fold`; return its `answers`.

    A fold that was complete when the training was killed is not trained again.

    Raises:
        FeropsError: a class would be missing where a fold is trained on what remains; or as `prepare` and `Fit.run`.
    """
    place = layout.state / "folds" / name
    found = []
    for number, settings, parts in _parts(_index(layout), params):
        said = f"fold {number + 1} of {params.split.folds}, the model of fold {params.split.test_fold + 1} comes last"
        print(f"train {name}: {said}", file=sys.stderr, flush=True)
        fold = _FoldLayout(layout.root, folder=place / str(number))
        _pack(layout, fold, parts)
        found.append(answers(images_of(fold, "test"), _logits(fold, settings, name), params.data.classes))
    shutil.rmtree(place, ignore_errors=True)
    return pd.concat(found)


def _index(layout: Layout) -> pd.DataFrame:
    return read_parquet(layout.face_index, _INDEX, made_by="dvc repro preprocess", unique="image_id")


def _parts(index: pd.DataFrame, params: Params) -> Iterator[tuple[int, Params, pd.DataFrame]]:
    """Yield each other fold, its settings, and `index` with the column `part`: the split that an image is in then."""
    found = []
    for number in range(params.split.folds):
        if number == params.split.test_fold:
            continue
        split = params.split.model_copy(update={"test_fold": number})
        part = assign(index, split, seed=params.seed).set_index("image_id")["split"]
        parts = index.assign(part=part.reindex(index["image_id"]).to_numpy())
        seen = set(parts.loc[(parts["part"] == "train") & (parts["row"] >= 0), "label"])
        if missing := [label for label in params.data.classes if label not in seen]:
            raise FeropsError(
                f"train.every_fold: without fold {number + 1} of {params.split.folds} no face labelled "
                f"{', '.join(missing)} is left to learn from. Add images of it, of other people; take the class out of "
                "data.classes; or set every_fold to false"
            )
        found.append((number, params.model_copy(update={"split": split}), parts))
    yield from found


def _pack(layout: Layout, fold: Layout, parts: pd.DataFrame) -> None:
    """Write the packed faces as `preprocess` would have, had the split been another."""
    packed = {split: np.load(layout.faces(split), mmap_mode="r") for split in SPLITS}
    fold.face_index.parent.mkdir(parents=True, exist_ok=True)
    rows = parts[parts["row"] >= 0].copy()
    for part in SPLITS:
        chosen = rows["part"] == part
        arrays = [packed[split][row] for split, row in zip(rows["split"][chosen], rows["row"][chosen], strict=True)]
        np.save(fold.faces(part), np.stack(arrays) if arrays else packed[part][:0])
        rows.loc[chosen, "row"] = np.arange(len(arrays))
    rows.drop(columns="split").rename(columns={"part": "split"}).to_parquet(fold.face_index, index=False)


def _logits(fold: _FoldLayout, settings: Params, name: str) -> NDArray[np.float32]:
    training = prepare(fold, settings, name, say=False)  # said of the model itself, which is made ready first
    done = fold.folder / f"{training.identity.digest[:16]}.npy"
    if not done.exists():
        training.fit.run()
        plain = Precision(training.fit.precision.device, None)
        logits = predict(training.fit.state.net, training.faces["test"].images, precision=plain)
        with atomic_file(done) as temporary, temporary.open("wb") as file:
            np.save(file, logits)
        training.fit.checkpoint.remove()
    found: NDArray[np.float32] = np.load(done)
    return found
