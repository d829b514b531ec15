"""`ferops import SOURCE [PATH]`: a published data set -> data/<source>.parquet, versioned by DVC."""

from __future__ import annotations

import csv
import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from tqdm import tqdm

from ferops.datasets import catalogue, images, manifest, relabel, swap, versioning
from ferops.datasets.affectnet import read_affectnet
from ferops.datasets.ckplus import read_ckplus
from ferops.datasets.fairface import read_fairface
from ferops.datasets.fer2013 import read_fer2013
from ferops.datasets.folder import OwnClasses, read_folder
from ferops.datasets.jaffe import read_jaffe
from ferops.datasets.rafdb import read_rafdb
from ferops.datasets.raw import files_of, open_raw, sources
from ferops.datasets.release import Rows
from ferops.datasets.untrusted import KEPT, Skipped
from ferops.errors import FeropsError
from ferops.escape import inline
from ferops.files import atomic_file, atomic_folder
from ferops.layout import Layout
from ferops.provenance import data_version
from ferops.records.data import ImportResult

READERS: dict[str, Callable[..., Rows]] = {
    "affectnet": read_affectnet,
    "ckplus": read_ckplus,
    "fairface": read_fairface,
    "fer2013": read_fer2013,
    "folder": read_folder,
    "jaffe": read_jaffe,
    "rafdb": read_rafdb,
}
"""Sources read from a path: `reader(path, *, skipped)`."""

NAME = re.compile(r"(?!.*-\d{3}$)[a-z][a-z0-9_-]{0,39}")
"""Possible names of a source: of its file in data/, and a value of the column `source`. `-001` marks a further file of
a large source (`manifest.shard_path`), so a name cannot end like that."""


def import_source(
    layout: Layout,
    source: str,
    path: Path | None,
    *,
    seed: int,
    name: str | None = None,
    attributes: Path | None = None,
    words: Sequence[str] = (),
    classes: OwnClasses = (),
    pattern: str | None = None,
    votes: Path | None = None,
) -> ImportResult:
    """Read the data set `source` from `path` into data/ and version it. Other sources in data/ stay.

    `name`, `attributes`, `words`, `classes` and `pattern` are for `folder` only: the name of the source in data/, a CSV
    about its images, the user's words for labels (`happy=froh,3`), classes of his own, and a pattern of names that say
    the label. What is left out is listed in reports/import/.
    `votes` is for `fer2013` only: FERPlus's votes by file name.

    Raises:
        FeropsError: the source is not known, the path holds something else, or DVC fails. data/ and data.dvc are
            then as they were; after a kill they are so as soon as `ferops data` or the next import has run.
    """
    own = {"name": name, "attributes": attributes, "words": words, "classes": classes, "pattern": pattern}
    _check_request(source, path, own=own, votes=votes)
    versioning.check_ready(layout)
    kept_as = name or source
    left_out = Skipped()
    noticed: Counter[str] = Counter()
    with swap.exclusive(layout):
        total, rows = _read(
            source,
            path,
            seed=seed,
            skipped=left_out,
            name=name,
            attributes=attributes,
            words=words,
            classes=classes,
            pattern=pattern,
            votes=votes,
        )
        staged = swap.workplace(layout) / kept_as
        with atomic_folder(staged) as temporary:
            progress = tqdm(_noting(rows, noticed), total=total, unit=" images", desc=f"import {kept_as}", disable=None)
            file = temporary / f"{kept_as}.parquet"
            counts = manifest.write(file, progress, source=kept_as, reader=source)
            noticed["label that a person corrected (ferops review), kept"] = relabel.carry_over(
                layout, kept_as, temporary
            )
        noticed.update(_elsewhere(layout, kept_as, staged))
        swap.replace(layout, kept_as, staged)
    tally = +left_out  # without what was counted 0 times
    listed = layout.reports("import") / f"{kept_as}-left-out.csv"
    _list(left_out, listed)
    noticed.update({reason.removesuffix(KEPT): tally.pop(reason) for reason in list(tally) if reason.endswith(KEPT)})
    order = [*manifest.LABELS, *sorted(set(counts) - {*manifest.LABELS, ""})]
    found = {label: counts[label] for label in order if label in counts}
    return ImportResult(
        source=kept_as,
        file=str(layout.source(kept_as)),
        files=len(files_of(layout.data, kept_as)),
        rows=sum(counts.values()),
        classes=found | ({"unlabelled": counts[""]} if "" in counts else {}),
        skipped=dict(tally.most_common()),
        noticed=dict((+noticed).most_common()),
        left_out=str(listed) if left_out.files else None,
        data_version=data_version(layout),
    )


def _elsewhere(layout: Layout, source: str, folder: Path) -> dict[str, int]:
    """Count the images of a new import that other sources have, byte for byte: the same data under two names."""
    ids = {one for file in files_of(folder, source) for one in pq.read_table(file, columns=["image_id"])[0].to_pylist()}
    found = {}
    for other in sources(layout):
        if other != source:
            theirs = open_raw(layout, other).table(["image_id"])[0].to_pylist()
            found[f"image that the source {other} has, too (ferops remove {other}, unless both are wanted)"] = len(
                ids.intersection(theirs)
            )
    return found


def _list(skipped: Skipped, path: Path) -> None:
    """Write the files that were left out, and why; or remove the list of an earlier import."""
    if not skipped.files:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [("file", "reason"), *((inline(name), reason) for name, reason in sorted(skipped.files))]
        )


def _noting(rows: Iterator[dict[str, Any]], noticed: Counter[str]) -> Iterator[dict[str, Any]]:
    for row in rows:
        noticed.update(images.header(row["image"]).oddities)
        yield row


def _check_request(
    source: str,
    path: Path | None,
    *,
    own: Mapping[str, object],
    votes: Path | None,
) -> None:
    name = own["name"]
    known = catalogue.SOURCES.get(source)
    if known is None:
        near = difflib.get_close_matches(source.lower(), catalogue.SOURCES, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(catalogue.SOURCES)}"
        raise FeropsError(f"there is no data set named {source!r}; {hint}")
    if known.needs_path and path is None:
        raise FeropsError(f"{source} needs the path of your copy: ferops import {source} PATH, {known.release}")
    if not known.needs_path and path is not None:
        raise FeropsError(f"{source} is {known.release} and takes no path, found {path}")
    if source != "folder" and any(own.values()):
        raise FeropsError(
            "--name, --attributes, --map, --classes and --label-pattern are for `folder`, your own images, not for "
            f"{source}"
        )
    if source != "fer2013" and votes:
        raise FeropsError(f"--votes is for `fer2013`, FERPlus's votes for its images, not for {source}")
    if name in catalogue.SOURCES and name != "folder":
        raise FeropsError(f"--name {name} is the data set that `ferops import {name}` reads; choose another one")
    if name is not None and not NAME.fullmatch(str(name)):
        raise FeropsError(
            f"--name {name!r} cannot be the name of a file in data/. Use a lower-case letter, then at most 39 more "
            "lower-case letters, digits, _ or -, but not - and three digits at the end: so are the further files of a "
            "large source named"
        )


def _read(
    source: str,
    path: Path | None,
    *,
    seed: int,
    skipped: Counter[str],
    name: str | None,
    attributes: Path | None,
    words: Sequence[str],
    classes: OwnClasses,
    pattern: str | None,
    votes: Path | None,
) -> Rows:
    if path is None:
        from ferops.datasets import synthetic

        return None, iter(synthetic.rows(seed=seed))
    if source == "folder":
        return read_folder(
            path,
            skipped=skipped,
            name=name or source,
            attributes=attributes,
            words=words,
            classes=classes,
            pattern=pattern,
        )
    if source == "fer2013":
        return read_fer2013(path, skipped=skipped, votes=votes)
    return READERS[source](path, skipped=skipped)
