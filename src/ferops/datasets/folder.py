"""Your own images: a folder for each class, in a folder or an archive, and a table about them if there is one.

`anger/1.jpg`, `train/anger/1.jpg`, `set/Angry/train/1.jpg` and `set/0_angry/1.jpg` are all understood; so are the other
words for a label (`ferops.classes`). Any other name refuses the import: a missing class could go unnoticed.

The table is a CSV with a column `file` (or `image`): an image's file name, or as much of its path as makes it unique.
`subject` and `usage` fill those columns; any other column becomes a group, `group_<column>`, for slices and audits.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ferops.classes import KNOWN_LABELS, SYNONYMS, known
from ferops.datasets.manifest import USAGES
from ferops.datasets.release import Folder, Release, Rows, open_release, rows_of, wrong_layout
from ferops.datasets.tables import lines
from ferops.datasets.untrusted import IMAGE_ENDINGS, KEPT
from ferops.errors import FeropsError

USAGE_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_USAGE_OF = {word: usage for usage, words in USAGE_WORDS.items() for word in words}
_NUMBER = re.compile(r"^\d+[\s._-]+")  # 0_anger, 3 - fear: the word decides

WANTED = f"a folder for each class, with the names {', '.join(KNOWN_LABELS)} or common words for them"


class Attributes(NamedTuple):
    """What the table holds of one image; every image of an import has the same `groups` names."""

    subject: str | None
    usage: str | None
    groups: dict[str, str | None]


def read_folder(path: Path, *, skipped: Counter[str], name: str = "folder", attributes: Path | None = None) -> Rows:
    """Read images in the order of their paths, as the source `name`.

    `skipped` counts images without attributes (which come in) and lines without an image, too.

    Raises:
        FeropsError: no such path, a damaged or dangerous archive, no image in a class folder, folders with names that
            are not understood, or attributes that are ambiguous or malformed.
    """
    release = open_release(path, wanted=WANTED, skipped=skipped)
    labels = _labels(release, skipped=skipped)
    described, groups = _attributes(attributes, list(labels), skipped=skipped) if attributes else ({}, ())
    unknown = Attributes(None, None, dict.fromkeys(groups))
    found = {}
    for image, (label, usage) in labels.items():
        one = described.get(image, unknown)
        found[image] = {"label": label, "usage": one.usage or usage, "subject": one.subject, **one.groups}
    return rows_of(release, found, source=name, skipped=skipped)


def label_of_folder(folder: str) -> str | None:
    """Return the label that a folder's name means, or None."""
    return known(_NUMBER.sub("", folder.strip()))


def _labels(release: Release, *, skipped: Counter[str]) -> dict[str, tuple[str, str | None]]:
    """Return path -> (label, usage) of every image."""
    labels: dict[str, tuple[str, str | None]] = {}
    unknown: Counter[str] = Counter()
    for name in release.names:
        folders = PurePosixPath(name).parts[:-1]
        classes = [folder for folder in folders if folder.lower() not in _USAGE_OF]
        if not name.lower().endswith(IMAGE_ENDINGS):
            skipped["not an image"] += 1
        elif not classes:
            skipped["image outside any class folder"] += 1
        elif (label := label_of_folder(classes[-1])) is None:
            unknown[classes[-1]] += 1
        else:
            usages = [_USAGE_OF[folder.lower()] for folder in folders if folder.lower() in _USAGE_OF]
            labels[name] = label, usages[-1] if usages else None
    if unknown:
        raise FeropsError(_explain(release, unknown, {PurePosixPath(name).parent.name for name in labels}))
    if not labels:
        raise wrong_layout(release, wanted=WANTED, found="no image in a class folder", skipped=skipped)
    return labels


def _explain(release: Release, unknown: Counter[str], understood: set[str]) -> str:
    words = [word for label, others in SYNONYMS.items() for word in (label, *others)]

    def nearest(folder: str) -> str:
        near = difflib.get_close_matches(_NUMBER.sub("", folder).lower(), words, n=1)
        return f"{folder!r} ({unknown[folder]} images{f', did you mean {near[0]}?' if near else ''})"

    listed = ", ".join(nearest(folder) for folder, _ in unknown.most_common(20))
    more = f" and {len(unknown) - 20} more" if len(unknown) > 20 else ""
    return (
        f"{release.path} has folders whose names are not labels: {listed}{more}. Understood: "
        f"{', '.join(sorted(understood)) or 'none'}. Rename or remove them. The known words are {', '.join(words)}"
    )


def _attributes(
    path: Path, names: list[str], *, skipped: Counter[str]
) -> tuple[dict[str, Attributes], tuple[str, ...]]:
    """Return path -> the attributes in the table at `path`, and the names of its groups."""
    if not path.is_file():
        raise FeropsError(f"{path}, named by --attributes, is not a file; wanted a CSV with a column `file`")
    table = lines(Folder(path.parent, skipped=Counter(), only=[path.name]), path.name, columns=())
    called: dict[str, list[str]] = {}
    for name in names:
        called.setdefault(PurePosixPath(name).name, []).append(name)
    known: dict[str, Attributes] = {}
    at: dict[str, int] = {}
    columns: dict[str, str] | None = None
    for line, row in table:
        where = f"{path}, line {line}"
        columns = columns if columns is not None else _groups(row, where=str(path))
        image = _image(row.get("file") or row.get("image") or "", called, where=where)
        if image is None:
            skipped["line of the attributes without an image"] += 1
            continue
        if image in known:
            raise FeropsError(f"{where}: {image!r} was described in line {at[image]} already; keep one of the two")
        known[image] = _attributes_of(row, columns, where=where)
        at[image] = line
    if columns is None:
        raise FeropsError(
            f"{path} has no line below the names of its columns; wanted a CSV with a column `file` and a line for each "
            "image"
        )
    if len(known) < len(names):
        skipped[f"image without a line in the attributes{KEPT}"] += len(names) - len(known)
    return known, tuple(columns.values())


def _groups(row: dict[str, str], *, where: str) -> dict[str, str]:
    """Return column -> the name of its group, for the columns that are groups."""
    if not {"file", "image"} & set(row):
        raise FeropsError(f"{where} has no column `file` or `image` with the images' names; it has {list(row)}")
    if {"label", "labels"} & set(row):
        raise FeropsError(f"{where} has a column for labels, but the folders name those. Remove the column")
    columns = [column for column in row if column not in ("file", "image", "subject", "usage")]
    groups = {
        column: "group_" + re.sub(r"[^a-z0-9]+", "_", column.removeprefix("group_")).strip("_") for column in columns
    }
    if "group_" in groups.values() or len(set(groups.values())) < len(groups):
        raise FeropsError(f"{where} has columns that do not make distinct names of groups: {columns}")
    return groups


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
    if usage and usage not in _USAGE_OF:
        raise FeropsError(f"{where}: usage {usage!r} is not one of {', '.join(USAGES)}")
    return Attributes(
        subject=row.get("subject") or None,
        usage=_USAGE_OF[usage] if usage else None,
        groups={group: row.get(column) or None for column, group in groups.items()},
    )
