"""A table about your own images: who is in them, their official split, what describes them, and what they show.

A CSV with a column `file` (or `image`): an image's file name, or as much of its path as makes it unique. `subject` and
`usage` fill those columns, `label` (or `emotion`, `class`, `expression`) is what an image shows; any other column
becomes a group, `group_<column>`, for slices and audits, unless it says what the label says. Or the export of an
annotation tool (`ferops.datasets.label_exports`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ferops.datasets import label_exports
from ferops.datasets.manifest import USAGES
from ferops.datasets.release import Folder
from ferops.datasets.tables import lines
from ferops.datasets.untrusted import KEPT
from ferops.errors import FeropsError

USAGE_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
USAGE_OF = {word: usage for usage, words in USAGE_WORDS.items() for word in words}

LABEL_COLUMNS = ("label", "labels", "emotion", "class", "expression")
_FILE_COLUMNS = ("file", "image")


class Attributes(NamedTuple):
    """What the table holds of one image; every image of an import has the same `groups` names.

    Attributes:
        label: the word that stands there.
    """

    label: str | None = None
    subject: str | None = None
    usage: str | None = None
    groups: Mapping[str, str | None] = {}


def read_attributes(path: Path, names: Iterable[str], *, skipped: Counter[str]) -> dict[str, Attributes]:
    """Return path -> what the table at `path` says, of each image in `names`.

    Raises:
        FeropsError: no such file, or it is ambiguous or malformed.
    """
    if not path.is_file():
        raise FeropsError(
            f"{path}, named by --attributes, is not a file; wanted a CSV with a column `file`, or "
            f"{label_exports.WANTED}"
        )
    if path.suffix.lower() in label_exports.ENDINGS:
        return labelled(label_exports.read_export(path), names, where=str(path), skipped=skipped)
    table = Folder(path.parent, skipped=Counter(), only=[path.name])
    return _described(lines(table, path.name, columns=()), names, where=str(path), skipped=skipped)


def labelled(
    answers: Iterable[label_exports.Answer], names: Iterable[str], *, where: str, skipped: Counter[str]
) -> dict[str, Attributes]:
    """Return path -> the label that an annotation tool's export gives each image in `names`; as `read_attributes`."""
    rows = enumerate(({"file": one.file, "label": one.label or ""} for one in answers), start=1)
    return _described(rows, names, where=where, skipped=skipped)


def _described(
    rows: Iterable[tuple[int, dict[str, str]]], names: Iterable[str], *, where: str, skipped: Counter[str]
) -> dict[str, Attributes]:
    path = where
    called: dict[str, list[str]] = {}
    for name in names:
        called.setdefault(PurePosixPath(name).name, []).append(name)
    found: dict[str, Attributes] = {}
    at: dict[str, int] = {}
    columns: dict[str, str] | None = None
    for line, row in rows:
        where = f"{path}, line {line}"
        columns = columns if columns is not None else _groups(row, where=path)
        image = _image(row.get("file") or row.get("image") or "", called, where=where)
        if image is None:
            skipped["line of the attributes without an image"] += 1
            continue
        if image in found:
            raise FeropsError(f"{where}: {image!r} was described in line {at[image]} already; keep one of the two")
        found[image] = _attributes_of(row, columns, where=where)
        at[image] = line
    if columns is None:
        raise FeropsError(
            f"{path} has no line below the names of its columns; wanted a CSV with a column `file` and a line for each "
            "image"
        )
    missing = [name for several in called.values() for name in several if name not in found]
    if missing:
        skipped[f"image without a line in the attributes{KEPT}"] += len(missing)
    unknown = Attributes(groups=dict.fromkeys(columns.values()))
    return found | dict.fromkeys(missing, unknown)


def without_labels(
    described: dict[str, Attributes],
    labels: Mapping[str, str],
    *,
    means: Callable[[str], str | None],
    said: Counter[str],
) -> dict[str, Attributes]:
    """Return `described` without the groups that say what the label says: they would be no group of people.

    Args:
        means: returns the label that a word means.
    """
    rows = [(described[name].groups, label) for name, label in labels.items()]
    if len({label for _, label in rows}) < 2:
        return described
    repeated = {
        group
        for group in rows[0][0]
        if all(groups[group] is None or means(groups[group] or "") == label for groups, label in rows)
        and any(groups[group] for groups, _ in rows)
    }
    for group in sorted(repeated):
        said[f"column {group.removeprefix('group_')!r} repeats the label, and is no group of people{KEPT}"] += len(rows)
    return {
        name: one._replace(groups={group: value for group, value in one.groups.items() if group not in repeated})
        for name, one in described.items()
    }


def _groups(row: dict[str, str], *, where: str) -> dict[str, str]:
    """Return column -> the name of its group, for the columns that are groups."""
    if not set(_FILE_COLUMNS) & set(row):
        raise FeropsError(f"{where} has no column `file` or `image` with the images' names; it has {list(row)}")
    columns = [column for column in row if column not in (*_FILE_COLUMNS, "subject", "usage", _label_column(row))]
    groups = {
        column: "group_" + re.sub(r"[^a-z0-9]+", "_", column.removeprefix("group_")).strip("_") for column in columns
    }
    if "group_" in groups.values() or len(set(groups.values())) < len(groups):
        raise FeropsError(f"{where} has columns that do not make distinct names of groups: {columns}")
    return groups


def _label_column(row: Mapping[str, str]) -> str | None:
    return next((column for column in LABEL_COLUMNS if column in row), None)


def _image(file: str, called: dict[str, list[str]], *, where: str) -> str | None:
    file = file.replace("\\", "/").removeprefix("./")
    found = [name for name in called.get(PurePosixPath(file).name, []) if name == file or name.endswith(f"/{file}")]
    if len(found) > 1:
        raise FeropsError(
            f"{where}: {file!r} fits {len(found)} images ({', '.join(found[:3])} ...). "
            "Write more of the path in the column of file names"
        )
    return found[0] if found else None


def _attributes_of(row: dict[str, str], groups: dict[str, str], *, where: str) -> Attributes:
    usage = row.get("usage", "").lower()
    if usage and usage not in USAGE_OF:
        raise FeropsError(f"{where}: usage {usage!r} is not one of {', '.join(USAGES)}")
    return Attributes(
        label=row.get(_label_column(row) or "") or None,
        subject=row.get("subject") or None,
        usage=USAGE_OF[usage] if usage else None,
        groups={group: row.get(column) or None for column, group in groups.items()},
    )
