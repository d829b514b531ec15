"""`ferops import SOURCE [PATH]`: a published data set -> data/<source>.parquet, versioned by DVC."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ferops.datasets import (
    affectnet,
    catalogue,
    ckplus,
    fairface,
    fer2013,
    folder,
    images,
    jaffe,
    manifest,
    rafdb,
    swap,
    versioning,
)
from ferops.datasets.raw import files_of
from ferops.datasets.release import KEPT
from ferops.errors import FeropsError
from ferops.files import atomic_folder
from ferops.layout import Layout
from ferops.provenance import data_version

Rows = tuple[int | None, Iterator[dict[str, Any]]]

READERS: dict[str, Callable[..., Rows]] = {
    "affectnet": affectnet.read,
    "ckplus": ckplus.read,
    "fairface": fairface.read,
    "fer2013": fer2013.read,
    "folder": folder.read,
    "jaffe": jaffe.read,
    "rafdb": rafdb.read,
}
"""Sources read from a path: `read(path, *, skipped)` returns the number of pictures, or None, and the rows."""

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""What a source may be called: the name of its file in data/, and a value of the column `source`."""


def import_source(
    layout: Layout,
    source: str,
    path: Path | None,
    *,
    seed: int,
    name: str | None = None,
    attributes: Path | None = None,
) -> dict[str, Any]:
    """Read the data set `source` from `path` into data/ and version it. Other sources in data/ stay.

    `name` and `attributes` are for `folder` only: what the source is called in data/, and a CSV about its pictures.

    Returns a summary: source, file (the first one), files (their number), rows, classes (label -> rows), skipped
    (reason -> files), noticed (reason -> rows that came in, but are odd), data_version.

    Raises:
        FeropsError: the source is not known, the path holds something else, or DVC fails. data/ and data.dvc are
            then as they were; after a kill they are so as soon as `ferops data` or the next import has run.
    """
    _check_request(source, path, name=name, attributes=attributes)
    versioning.check_ready(layout)
    kept_as = name or source
    tally: Counter[str] = Counter()
    noticed: Counter[str] = Counter()
    with swap.exclusive(layout) as lock:
        total, rows = _read(source, path, seed=seed, skipped=tally, name=name, attributes=attributes)
        staged = swap.workplace(layout) / kept_as
        with atomic_folder(staged) as temporary:
            progress = tqdm(_noting(rows, noticed), total=total, unit=" images", desc=f"import {kept_as}", disable=None)
            file = temporary / f"{kept_as}.parquet"
            counts = manifest.write(file, progress, source=kept_as, reader=source)
        swap.replace(layout, kept_as, staged, lock=lock)
    tally = +tally  # without what was counted 0 times
    noticed.update({reason.removesuffix(KEPT): tally.pop(reason) for reason in list(tally) if reason.endswith(KEPT)})
    return {
        "source": kept_as,
        "file": str(layout.source(kept_as)),
        "files": len(files_of(layout.data, kept_as)),
        "rows": sum(counts.values()),
        "classes": {label: counts[label] for label in manifest.LABELS if label in counts}
        | ({"unlabelled": counts[""]} if "" in counts else {}),
        "skipped": dict(tally.most_common()),
        "noticed": dict(noticed.most_common()),
        "data_version": data_version(layout),
    }


def _noting(rows: Iterator[dict[str, Any]], noticed: Counter[str]) -> Iterator[dict[str, Any]]:
    for row in rows:
        noticed.update(images.header(row["image"]).oddities)
        yield row


def _check_request(source: str, path: Path | None, *, name: str | None, attributes: Path | None) -> None:
    known = catalogue.SOURCES.get(source)
    if known is None:
        near = difflib.get_close_matches(source.lower(), catalogue.SOURCES, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(catalogue.SOURCES)}"
        raise FeropsError(f"no data set is called {source!r}; {hint}")
    if known.needs_path and path is None:
        raise FeropsError(f"{source} needs the path of your copy: ferops import {source} PATH, {known.release}")
    if not known.needs_path and path is not None:
        raise FeropsError(f"{source} is {known.release} and takes no path, found {path}")
    if source != "folder" and (name or attributes):
        raise FeropsError(f"--name and --attributes are for `folder`, your own pictures, not for {source}")
    if name in catalogue.SOURCES and name != "folder":
        raise FeropsError(f"--name {name} is the data set that `ferops import {name}` reads; choose another one")
    if name is not None and not NAME.fullmatch(name):
        raise FeropsError(
            f"--name {name!r} cannot be a file's name in data/: wanted a small letter, then at most 39 small letters, "
            "digits or _"
        )


def _read(
    source: str,
    path: Path | None,
    *,
    seed: int,
    skipped: Counter[str],
    name: str | None,
    attributes: Path | None,
) -> Rows:
    if path is None:
        from ferops.datasets import synthetic

        return None, iter(synthetic.rows(seed=seed))
    if source == "folder":
        return folder.read(path, skipped=skipped, name=name or source, attributes=attributes)
    return READERS[source](path, skipped=skipped)
