"""AffectNet: some 420,000 faces from the web, labelled by people, in any of the forms in which it is handed out.

Paper: A. Mollahosseini, B. Hasani, M. H. Mahoor, "AffectNet: A Database for Facial Expression, Valence, and Arousal
Computing in the Wild", IEEE Transactions on Affective Computing 10(1), 2019, arXiv:1708.03985. All forms use its codes:
0 neutral, 1 happy, 2 sad, 3 surprise, 4 fear, 5 disgust, 6 anger, 7 contempt, 8 none, 9 uncertain, 10 no face. The
last three are no expressions: "none" is a face with some other one, "uncertain" one that the annotator could not name.
Such pictures are left out and counted: as unlabelled rows they would lose what the annotators said.

- Lists (2017): `training.csv` (414,799 lines) and `validation.csv` (5,500, without a line of column names in some
  copies), with COLUMNS, beside `Manually_Annotated_Images/<number>/<hash>.jpg`. By code, the training list has 74,874,
  134,415, 25,459, 14,090, 6,378, 3,803, 24,882, 3,750 expressions, then 33,088, 11,645, 82,415; the other has 500 each.
- Numbered (the eight-label release of 287,651 + 3,999 pictures): `train_set/images/<id>.jpg` and
  `train_set/annotations/<id>_exp.npy` (one code; `_val`, `_aro`, `_lnd` are not read), `val_set/` likewise. The later
  AffectNet+ has `<id>.json` with `human-label` instead, and `validation_set/`.
- Folders: `train/<class>/` and `val/<class>/` (or `test/`), a class being a code or a name; many make it of the others.

The pictures of the lists show a face with surroundings (the columns face_x ... give its box), so a detector has room.
Valence and arousal are not imported. The part labelled by a network (`Automatically_Annotated`) is not either: such
labels are no evidence. The official test set is not published.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ferops.datasets.manifest import make_row
from ferops.datasets.release import PICTURES, Release, open_release, stream_pictures, wrong_layout
from ferops.datasets.tables import lines

CODES = ("neutral", "happy", "sad", "surprised", "fear", "disgust", "anger", "contempt")
NO_EXPRESSION = {
    8: "code 8: the face shows none of the expressions",
    9: "code 9: the annotator was uncertain",
    10: "code 10: no face",
}

NAMES = dict(zip(CODES, range(8), strict=True)) | {
    "happiness": 1, "sadness": 2, "surprise": 3, "angry": 6, "none": 8, "uncertain": 9, "noface": 10,
}  # fmt: skip
"""Words that copies name their class folders by, as codes."""

LISTS = {"training.csv": "train", "validation.csv": "val"}
PARTS = {"train_set": "train", "val_set": "val", "validation_set": "val", "test_set": "test"}
FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""What marks the official part in each of the three forms."""

COLUMNS = (
    "subdirectory_filepath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks",
    "expression", "valence", "arousal",
)  # fmt: skip
"""Of the lists, in their order and without case; the landmarks make the training list some 400 MB long."""
FILE, CODE = "subdirectory_filepath", "expression"

WANTED = (
    "AffectNet as published: training.csv and validation.csv with Manually_Annotated_Images/<number>/<hash>.jpg; or "
    "train_set/images/<id>.jpg and train_set/annotations/<id>_exp.npy (or .json), and val_set likewise; or "
    "train/<class>/*.jpg and val/<class>/*.jpg with the classes 0 to 7 or their names. A multi-part RAR is to be "
    "unpacked first"
)

Facts = frozenset[tuple[int, str]]
"""What is said of one picture: (code, usage), more than one where lines contradict each other."""
Said = dict[str, Facts]
"""Path or key of a picture -> what is said of it. Equal facts are one object (`_also`): there are 400,000 pictures."""
Labels = tuple[tuple[str, str], ...]  # (label, usage)


def read(path: Path, *, skipped: Counter[str]) -> tuple[int, Iterator[dict[str, Any]]]:
    """Return the number of pictures in a release, and their rows: label, usage (train, val, test), no subject.

    A picture that the lists name twice, with different labels or parts, gives a row for each: `ferops validate` holds
    them back as a label conflict. `skipped` counts what was left out, by reason; complete once the rows are exhausted.

    Raises:
        FeropsError: no such path, a damaged or dangerous archive, none of the layouts, or no picture with a label.
    """
    release = open_release(path, wanted=WANTED, skipped=skipped)
    for form in (_listed, _numbered, _in_class_folders):
        said = form(release, skipped)
        if said is not None:
            taken = _with_expression(said, skipped=skipped)
            if not taken:
                found = "no picture with an expression"
                raise wrong_layout(release, wanted=WANTED, found=found, skipped=skipped)
            return sum(map(len, taken.values())), _rows(release, taken, skipped=skipped)
    raise wrong_layout(release, wanted=WANTED, found="not in a layout of AffectNet", skipped=skipped)


def _rows(release: Release, taken: dict[str, Labels], *, skipped: Counter[str]) -> Iterator[dict[str, Any]]:
    for name, image in stream_pictures(release, taken, skipped=skipped):
        for label, usage in taken[name]:
            yield make_row(image, source="affectnet", label=label, usage=usage)


def _with_expression(said: Said, *, skipped: Counter[str]) -> dict[str, Labels]:
    """Return path -> labels, in order; counts the pictures whose codes are no expressions."""
    taken: dict[str, Labels] = {}
    for name in sorted(said):
        labels = _labels(said[name])
        if labels:
            taken[name] = labels
        for code in (code for code, _ in said[name] if code not in range(len(CODES))):
            skipped[NO_EXPRESSION.get(code, f"unknown expression code {code}")] += 1
    return taken


@lru_cache(maxsize=1024)
def _labels(facts: Facts) -> Labels:
    return tuple((CODES[code], usage) for code, usage in sorted(facts) if code in range(len(CODES)))


@lru_cache(maxsize=1024)
def _also(facts: Facts | None, code: int, usage: str) -> Facts:
    """Return `facts` and one more."""
    return (facts or frozenset()) | {(code, usage)}


def _listed(release: Release, skipped: Counter[str]) -> Said | None:
    """The form with lists: their lines, looked up among the pictures by folder number and hash."""
    lists = {name: LISTS[file] for name in release.names if (file := PurePosixPath(name).name.lower()) in LISTS}
    if not lists:
        return None
    codes: Said = {}
    for name, usage in lists.items():
        for _, line in lines(release, name, columns=(FILE, CODE), header=COLUMNS):
            try:
                key, code = _last_two(line[FILE]), int(line[CODE])
            except ValueError:
                skipped["line of a list without a code"] += 1
            else:
                codes[key] = _also(codes.get(key), code, usage)
    return _join(release, codes, key_of=_last_two, skipped=skipped)


def _numbered(release: Release, skipped: Counter[str]) -> Said | None:
    """The form with one annotation file per picture: all of these first, as archives are quick only in order."""
    annotations: dict[str, str] = {}
    for name in release.names:
        file = PurePosixPath(name)
        stem = file.name.removesuffix("_exp.npy") if file.name.endswith("_exp.npy") else None
        stem = file.stem if file.suffix.lower() == ".json" else stem
        if stem and file.parent.name == "annotations" and file.parent.parent.name in PARTS:
            annotations[name] = f"{file.parent.parent.name}/{stem}"
    if not annotations:
        return None
    codes: Said = {}
    for name, content in release.stream(list(annotations)):
        code = _json_code(content) if name.lower().endswith(".json") else _npy_code(content)
        if code is None:
            skipped["annotation that cannot be read"] += 1
        else:
            key = annotations[name]
            codes[key] = _also(codes.get(key), code, PARTS[key.split("/")[0]])
    return _join(release, codes, key_of=_part_and_stem, skipped=skipped)


def _npy_code(content: bytes) -> int | None:
    """Return the one number or text in a NumPy file; pickled objects are not loaded."""
    try:
        values = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
        return int(values.item())
    except (ValueError, EOFError, TypeError, MemoryError):  # MemoryError: a header that claims terabytes
        return None


def _json_code(content: bytes) -> int | None:
    try:
        return int(json.loads(content)["human-label"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _in_class_folders(release: Release, skipped: Counter[str]) -> Said | None:
    """The form with a folder per class."""
    said: Said = {}
    odd: Counter[str] = Counter()
    for name in release.names:
        file = PurePosixPath(name)
        usage = FOLDERS.get(file.parent.parent.name.lower())
        code = _class_code(file.parent.name)
        if usage is None or not _is_picture(file):
            odd["not a picture below train/<class>/ or val/<class>/"] += 1
        elif code is None:
            odd[f"unknown class folder {file.parent.name}"] += 1
        else:
            said[name] = _also(None, code, usage)
    if not said:
        return None
    skipped.update(odd)
    return said


def _class_code(folder: str) -> int | None:
    word = folder.lower().replace("-", "").replace("_", "").replace(" ", "")
    return int(word) if word.isdecimal() and word.isascii() and len(word) < 3 else NAMES.get(word)


def _join(release: Release, codes: Said, *, key_of: Callable[[str], str], skipped: Counter[str]) -> Said:
    """Return path -> what `codes` says of its key, for the pictures of a release; counts what has no partner."""
    path_of: dict[str, str] = {}
    for name in release.names:
        key = key_of(name)
        if "Automatically_Annotated" in name:
            skipped["labelled by a network, not by people"] += 1
        elif key in codes:
            if path_of.setdefault(key, name) != name:
                skipped["second copy of a picture (unpacked beside its archive?)"] += 1
        elif _is_picture(PurePosixPath(name)):
            skipped["picture without a label"] += 1
    skipped["label without a picture"] += len(codes) - len(path_of)
    return {name: codes[key] for key, name in path_of.items()}


def _last_two(name: str) -> str:
    parts = PurePosixPath(name.strip().replace("\\", "/")).parts[-2:]
    return "/".join(parts)


def _part_and_stem(name: str) -> str:
    """Return `train_set/123` of `.../train_set/images/123.jpg`, and nothing that is a key of other files."""
    file = PurePosixPath(name)
    if file.parent.name != "images" or not _is_picture(file):
        return ""
    return f"{file.parent.parent.name}/{file.stem}"


def _is_picture(file: PurePosixPath) -> bool:
    return file.suffix.lower() in PICTURES and not file.name.startswith(".")
