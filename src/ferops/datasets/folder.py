"""Your own pictures: a folder for each class, in a folder or an archive, and a table about them if there is one.

`anger/1.jpg`, `train/anger/1.jpg`, `set/Angry/train/1.jpg` and `set/0_angry/1.jpg` are all understood; so are the words
of SYNONYMS. A name that isn't refuses the import, since nobody would notice a class that silently stayed away.

The table is a CSV with a column `file` (or `image`): a picture's file name, or as much of its path as makes it unique.
`subject` and `usage` fill those columns; any other column becomes a group, `group_<column>`, for slices and audits.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ferops.classes import KNOWN_LABELS
from ferops.datasets.manifest import USAGES, make_row
from ferops.datasets.release import KEPT, PICTURES, Folder, Release, open_release, stream_pictures, wrong_layout
from ferops.datasets.tables import lines
from ferops.errors import FeropsError

SYNONYMS = {
    "anger": ("anger", "angry"),
    "disgust": ("disgust", "disgusted"),
    "fear": ("fear", "fearful", "afraid", "scared"),
    "happy": ("happy", "happiness", "joy", "joyful"),
    "sad": ("sad", "sadness"),
    "surprised": ("surprised", "surprise"),
    "neutral": ("neutral",),
    "contempt": ("contempt", "contemptuous"),
}
USAGE_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_LABEL_OF = {word: label for label, words in SYNONYMS.items() for word in words}
_USAGE_OF = {word: usage for usage, words in USAGE_WORDS.items() for word in words}
_NUMBER = re.compile(r"^\d+[\s._-]+")  # 0_anger, 3 - fear: the word decides

WANTED = f"a folder for each class, with the names {', '.join(KNOWN_LABELS)} or common words for them"


class Attributes(NamedTuple):
    """What the table says of one picture; every picture of an import has the same `groups` names."""

    subject: str | None
    usage: str | None
    groups: dict[str, str | None]


def read(
    path: Path, *, skipped: Counter[str], name: str = "folder", attributes: Path | None = None
) -> tuple[int, Iterator[dict[str, Any]]]:
    """Return the number of pictures and their rows, in the order of their paths, as the source `name`.

    `skipped` counts pictures without attributes (which come in) and lines without a picture, too.

    Raises:
        FeropsError: no such path, a damaged or dangerous archive, no picture in a class folder, folders with names that
            are not understood, or attributes that are ambiguous or malformed.
    """
    release = open_release(path, wanted=WANTED, skipped=skipped)
    labels = _labels(release, skipped=skipped)
    known, columns = _attributes(attributes, list(labels), skipped=skipped) if attributes else ({}, ())
    none = Attributes(None, None, dict.fromkeys(columns))
    return len(labels), _rows(release, labels, known, none=none, source=name, skipped=skipped)


def label_of(folder: str) -> str | None:
    """Return the label that a folder's name means, or None."""
    return _LABEL_OF.get(_NUMBER.sub("", folder.strip()).lower())


def _labels(release: Release, *, skipped: Counter[str]) -> dict[str, tuple[str, str | None]]:
    """Return path -> (label, usage) of every picture."""
    labels: dict[str, tuple[str, str | None]] = {}
    unknown: Counter[str] = Counter()
    for name in release.names:
        folders = PurePosixPath(name).parts[:-1]
        classes = [folder for folder in folders if folder.lower() not in _USAGE_OF]
        if not name.lower().endswith(PICTURES):
            skipped["not a picture"] += 1
        elif not classes:
            skipped["picture outside any class folder"] += 1
        elif (label := label_of(classes[-1])) is None:
            unknown[classes[-1]] += 1
        else:
            usages = [_USAGE_OF[folder.lower()] for folder in folders if folder.lower() in _USAGE_OF]
            labels[name] = label, usages[-1] if usages else None
    if unknown:
        raise FeropsError(_explain(release, unknown, {PurePosixPath(name).parent.name for name in labels}))
    if not labels:
        raise wrong_layout(release, wanted=WANTED, found="no picture in a class folder", skipped=skipped)
    return labels


def _explain(release: Release, unknown: Counter[str], understood: set[str]) -> str:
    def nearest(folder: str) -> str:
        near = difflib.get_close_matches(_NUMBER.sub("", folder).lower(), _LABEL_OF, n=1)
        return f"{folder!r} ({unknown[folder]} pictures{f', did you mean {near[0]}?' if near else ''})"

    told = ", ".join(nearest(folder) for folder, _ in unknown.most_common(20))
    more = f" and {len(unknown) - 20} more" if len(unknown) > 20 else ""
    words = "; ".join(f"{label}: {', '.join(words)}" for label, words in SYNONYMS.items())
    return (
        f"{release.path} has folders whose names are no classes: {told}{more}. Understood were: "
        f"{', '.join(sorted(understood)) or 'none'}. Rename or remove them; the known words are {words}"
    )


def _rows(
    release: Release,
    labels: dict[str, tuple[str, str | None]],
    known: dict[str, Attributes],
    *,
    none: Attributes,
    source: str,
    skipped: Counter[str],
) -> Iterator[dict[str, Any]]:
    for name, image in stream_pictures(release, labels, skipped=skipped):
        label, usage = labels[name]
        said = known.get(name, none)
        yield make_row(
            image, source=source, label=label, usage=said.usage or usage, subject=said.subject, **said.groups
        )


def _attributes(
    path: Path, names: list[str], *, skipped: Counter[str]
) -> tuple[dict[str, Attributes], tuple[str, ...]]:
    """Return path -> what the table at `path` says, and the names of its groups."""
    if not path.is_file():
        raise FeropsError(f"{path}, named by --attributes, is no file; wanted a CSV with a column `file`")
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
        picture = _picture(row.get("file") or row.get("image") or "", called, where=where)
        if picture is None:
            skipped["line of the attributes without a picture"] += 1
            continue
        if picture in known:
            raise FeropsError(f"{where}: {picture!r} was described in line {at[picture]} already; keep one of the two")
        known[picture] = _said(row, columns, where=where)
        at[picture] = line
    if columns is None:
        raise FeropsError(
            f"{path} has no line below the names of its columns; wanted a CSV with a column `file` and a line for each "
            "picture"
        )
    if len(known) < len(names):
        skipped[f"picture without a line in the attributes{KEPT}"] += len(names) - len(known)
    return known, tuple(columns.values())


def _groups(row: dict[str, str], *, where: str) -> dict[str, str]:
    """Return column -> the name of its group, for the columns that are groups."""
    if not {"file", "image"} & set(row):
        raise FeropsError(f"{where} has no column `file` or `image` with the pictures' names; it has {list(row)}")
    if {"label", "labels"} & set(row):
        raise FeropsError(f"{where} has a column for labels, but the folders say those. Remove the column")
    columns = [column for column in row if column not in ("file", "image", "subject", "usage")]
    groups = {
        column: "group_" + re.sub(r"[^a-z0-9]+", "_", column.removeprefix("group_")).strip("_") for column in columns
    }
    if "group_" in groups.values() or len(set(groups.values())) < len(groups):
        raise FeropsError(f"{where} has columns that make no names of groups, or the same one: {columns}")
    return groups


def _picture(file: str, called: dict[str, list[str]], *, where: str) -> str | None:
    file = file.replace("\\", "/").removeprefix("./")
    found = [name for name in called.get(PurePosixPath(file).name, []) if name == file or name.endswith(f"/{file}")]
    if len(found) > 1:
        raise FeropsError(
            f"{where}: {file!r} fits {len(found)} pictures ({', '.join(found[:3])} ...). "
            "Write more of the path in the column of file names"
        )
    return found[0] if found else None


def _said(row: dict[str, str], groups: dict[str, str], *, where: str) -> Attributes:
    usage = row.get("usage", "").lower()
    if usage and usage not in _USAGE_OF:
        raise FeropsError(f"{where}: usage {usage!r} is none of {', '.join(USAGES)}")
    return Attributes(
        subject=row.get("subject") or None,
        usage=_USAGE_OF[usage] if usage else None,
        groups={group: row.get(column) or None for column, group in groups.items()},
    )
