"""AffectNet: some 420,000 faces from the web, labelled by people, in any of the forms in which it is handed out.

Paper: A. Mollahosseini, B. Hasani, M. H. Mahoor, "AffectNet: A Database for Facial Expression, Valence, and Arousal
Computing in the Wild", IEEE Transactions on Affective Computing 10(1), 2019, arXiv:1708.03985. All forms use its codes:
0 neutral, 1 happy, 2 sad, 3 surprise, 4 fear, 5 disgust, 6 anger, 7 contempt, 8 none, 9 uncertain, 10 no face. The
last three are not expressions: "none" is a face with some other one, "uncertain" one that the annotator could not name.
Such images are left out and counted: as unlabelled rows they would lose what the annotators found.

- Lists (2017): `training.csv` (414,799 lines) and `validation.csv` (5,500, without a line of column names in some
  copies), with COLUMNS, beside `Manually_Annotated_Images/<number>/<hash>.jpg`. By code, the training list has 74,874,
  134,415, 25,459, 14,090, 6,378, 3,803, 24,882, 3,750 expressions, then 33,088, 11,645, 82,415; the other has 500 each.
- Numbered (the eight-label release of 287,651 + 3,999 images): `train_set/images/<id>.jpg` and
  `train_set/annotations/<id>_exp.npy` (one code; `_val`, `_aro`, `_lnd` are not read), `val_set/` likewise. The later
  AffectNet+ has `<id>.json` with `human-label` instead, and `validation_set/`.
- Folders: `train/<class>/` and `val/<class>/` (or `test/`), a class being a code or a name; many make it of the others.

The images of the lists show a face with surroundings (the columns face_x ... give its box), so a detector has room.
Valence and arousal are not imported. The part labelled by a network (`Automatically_Annotated`) is not either: such
labels are not used. The official test set is not published.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

from ferops.classes import known
from ferops.datasets.kinds import IMAGE_ENDINGS
from ferops.datasets.release import Columns, Release, Rows, open_release, rows_of, wrong_layout
from ferops.datasets.tables import lines

CODES = ("neutral", "happy", "sad", "surprised", "fear", "disgust", "anger", "contempt")
NO_EXPRESSION = {
    8: "code 8: the face shows another expression",
    9: "code 9: the annotator was uncertain",
    10: "code 10: no face",
}

NAMES = {"none": 8, "uncertain": 9, "noface": 10}
"""Words for the codes without an expression that copies name their class folders by."""

LISTS = {"training.csv": "train", "validation.csv": "val"}
PARTS = {"train_set": "train", "val_set": "val", "validation_set": "val", "test_set": "test"}
FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""What marks the official split in each of the three forms."""

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
"""What is published of one image: (code, usage), more than one where lines contradict each other."""
Annotated = dict[str, Facts]
"""Path or key of an image -> its facts. Equal facts are one object (`_also`): there are 400,000 images."""


def read_affectnet(path: Path, *, skipped: Counter[str]) -> Rows:
    """Read a release: label, usage (train, val, test), no subject.

    An image that the lists name twice, with different labels or parts, gives a row for each: `ferops validate`
    quarantines them as a label conflict.

    Raises:
        FeropsError: no such path, a damaged or dangerous archive, no known layout, or no image with a label.
    """
    release = open_release(path, wanted=WANTED, skipped=skipped)
    for layout in (_listed, _numbered, _in_class_folders):
        annotated = layout(release, skipped)
        if annotated is not None:
            found = _with_expression(annotated, skipped=skipped)
            if not found:
                reason = "no image with an expression"
                raise wrong_layout(release, wanted=WANTED, found=reason, skipped=skipped)
            return rows_of(release, found, source="affectnet", skipped=skipped)
    raise wrong_layout(release, wanted=WANTED, found="not in a layout of AffectNet", skipped=skipped)


def _with_expression(annotated: Annotated, *, skipped: Counter[str]) -> dict[str, tuple[Columns, ...]]:
    """Return path -> columns, in order; counts the images whose codes are not expressions."""
    found = {name: columns for name in sorted(annotated) if (columns := _columns(annotated[name]))}
    for facts in annotated.values():
        for code in (code for code, _ in facts if code not in range(len(CODES))):
            skipped[NO_EXPRESSION.get(code, f"unknown expression code {code}")] += 1
    return found


@lru_cache(maxsize=1024)
def _columns(facts: Facts) -> tuple[Columns, ...]:
    known_codes = [(code, usage) for code, usage in sorted(facts) if code in range(len(CODES))]
    return tuple({"label": CODES[code], "usage": usage} for code, usage in known_codes)


@lru_cache(maxsize=1024)
def _also(facts: Facts | None, code: int, usage: str) -> Facts:
    """Return `facts` and one more."""
    return (facts or frozenset()) | {(code, usage)}


def _listed(release: Release, skipped: Counter[str]) -> Annotated | None:
    """The form with lists: their lines, looked up among the images by folder number and hash."""
    lists = {name: LISTS[file] for name in release.names if (file := PurePosixPath(name).name.lower()) in LISTS}
    if not lists:
        return None
    codes: Annotated = {}
    for name, usage in lists.items():
        for _, line in lines(release, name, columns=(FILE, CODE), header=COLUMNS):
            try:
                key, code = _last_two(line[FILE]), int(line[CODE])
            except ValueError:
                skipped["line of a list without a code"] += 1
            else:
                codes[key] = _also(codes.get(key), code, usage)
    return _join(release, codes, key_of=_last_two, skipped=skipped)


def _numbered(release: Release, skipped: Counter[str]) -> Annotated | None:
    """The form with one annotation file per image: all of these first, as archives are quick only in order."""
    annotations: dict[str, str] = {}
    for name in release.names:
        file = PurePosixPath(name)
        stem = file.name.removesuffix("_exp.npy") if file.name.endswith("_exp.npy") else None
        stem = file.stem if file.suffix.lower() == ".json" else stem
        if stem and file.parent.name == "annotations" and file.parent.parent.name in PARTS:
            annotations[name] = f"{file.parent.parent.name}/{stem}"
    if not annotations:
        return None
    codes: Annotated = {}
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


def _in_class_folders(release: Release, skipped: Counter[str]) -> Annotated | None:
    """The form with a folder per class."""
    found: Annotated = {}
    odd: Counter[str] = Counter()
    for name in release.names:
        file = PurePosixPath(name)
        usage = FOLDERS.get(file.parent.parent.name.lower())
        code = _class_code(file.parent.name)
        if usage is None or not _is_image(file):
            odd["not an image below train/<class>/ or val/<class>/"] += 1
        elif code is None:
            odd[f"unknown class folder {file.parent.name}"] += 1
        else:
            found[name] = _also(None, code, usage)
    if not found:
        return None
    skipped.update(odd)
    return found


def _class_code(folder: str) -> int | None:
    word = folder.lower().replace("-", "").replace("_", "").replace(" ", "")
    if word.isdecimal() and word.isascii() and len(word) < 3:
        return int(word)
    label = known(word)
    return CODES.index(label) if label else NAMES.get(word)


def _join(release: Release, codes: Annotated, *, key_of: Callable[[str], str], skipped: Counter[str]) -> Annotated:
    """Return path -> the facts of its key in `codes`, for the images of a release; counts what has no match."""
    path_of: dict[str, str] = {}
    for name in release.names:
        key = key_of(name)
        if "Automatically_Annotated" in name:
            skipped["labelled by a network, not by people"] += 1
        elif key in codes:
            if path_of.setdefault(key, name) != name:
                skipped["second copy of an image (unpacked beside its archive?)"] += 1
        elif _is_image(PurePosixPath(name)):
            skipped["image without a label"] += 1
    skipped["label without an image"] += len(codes) - len(path_of)
    return {name: codes[key] for key, name in path_of.items()}


def _last_two(name: str) -> str:
    parts = PurePosixPath(name.strip().replace("\\", "/")).parts[-2:]
    return "/".join(parts)


def _part_and_stem(name: str) -> str:
    """Return `train_set/123` of `.../train_set/images/123.jpg`, and nothing that is a key of other files."""
    file = PurePosixPath(name)
    if file.parent.name != "images" or not _is_image(file):
        return ""
    return f"{file.parent.parent.name}/{file.stem}"


def _is_image(file: PurePosixPath) -> bool:
    return file.suffix.lower() in IMAGE_ENDINGS and not file.name.startswith(".")
