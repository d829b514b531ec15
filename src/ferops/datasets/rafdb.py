"""RAF-DB, the Real-world Affective Faces Database, its basic (single-label) part: 15,339 pictures from the web.

Paper: S. Li, W. Deng, J. Du, "Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition
in the Wild", CVPR 2017. Documentation: the release's own README (version 1.1). Below `basic/`:

- `EmoLabel/list_patition_label.txt` (so spelt): `train_00001.jpg 5` a line; 1 surprise, 2 fear, 3 disgust, 4 happiness,
  5 sadness, 6 anger, 7 neutral. 12,271 names begin with `train`, 3,068 with `test`: the official split.
- `Image/aligned/train_00001_aligned.jpg`: the labelled face, cropped, upright, 100 x 100 px.
- `Image/original/train_00001.jpg`: the photograph, in which several people may be seen.
- `Annotation/manual/train_00001_manu_attri.txt`: five lines of landmarks, then one each for gender (0 male, 1 female, 2
  unsure), race (0 Caucasian, 1 African-American, 2 Asian) and age (0: 0-3, 1: 4-19, 2: 20-39, 3: 40-69, 4: 70+).

`Image` and `Annotation` are published as zips; both forms are read. So is the copy on Kaggle, whose aligned pictures
lie in folders named by the label's number, `train/5/train_00001_aligned.jpg`, without annotations. Where both kinds of
pictures are there, the aligned ones are taken: a label is about one face, and in a photograph of several the detector
cannot know which.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from ferops.datasets.manifest import make_row
from ferops.datasets.release import KEPT, PICTURES, Release, open_release, stream_pictures, wrong_layout

CODES = {"1": "surprised", "2": "fear", "3": "disgust", "4": "happy", "5": "sad", "6": "anger", "7": "neutral"}

ATTRIBUTES = {
    "group_gender": ("male", "female", "unsure"),
    "group_race": ("Caucasian", "African-American", "Asian"),
    "group_age": ("0-3", "4-19", "20-39", "40-69", "70+"),
}
"""The lines after the landmarks in an annotation, in their order: the words by number."""

LANDMARK_LINES = 5

LISTS = ("list_patition_label.txt", "list_partition_label.txt")
"""The label list as it is named, and as the documentation also spells it."""

WANTED = (
    "the folder basic/ of RAF-DB, with EmoLabel/list_patition_label.txt, the pictures "
    "(Image/aligned/train_00001_aligned.jpg or Image/original/train_00001.jpg) and, if you have them, the manual "
    "annotations (Annotation/manual/train_00001_manu_attri.txt), as folders or as the zips published"
)

_NAME = re.compile(r"(?P<key>(?P<part>train|test)_\d+)(?P<aligned>_aligned)?\.\w+", re.IGNORECASE)
_ATTRIBUTES = re.compile(r"(?P<key>(?:train|test)_\d+)_manu_attri\.txt", re.IGNORECASE)


def read(path: Path, *, skipped: Counter[str]) -> tuple[int, Iterator[dict[str, Any]]]:
    """Return the number of pictures in a release, and their rows: label, usage (train, test), no subject, and
    group_gender, group_race, group_age where there are manual annotations (null for a picture that has none).

    `skipped` counts files that were left out, by reason; complete once the rows are exhausted.

    Raises:
        FeropsError: no such path, a damaged or dangerous archive, no label list or more than one, or no picture of it.
    """
    release = open_release(path, wanted=WANTED, skipped=skipped)
    aligned, original, annotations = _sort(release, skipped=skipped)
    pictures = aligned or original
    labels = _listed(release, skipped=skipped) or _in_folders(pictures)
    if not labels:
        found = f"no label list {LISTS[0]} of lines like 'train_00001.jpg 5'"
        raise wrong_layout(release, wanted=WANTED, found=found, skipped=skipped)
    if aligned and original:
        skipped["original picture, as there are aligned ones"] += len(original)
    taken = {name: key for key, name in sorted(pictures.items()) if key in labels}
    skipped["picture without a label"] += len(pictures) - len(taken)
    skipped["label without a picture"] += len(labels) - len(taken)
    if not taken:
        found = f"no picture with a label: there are {len(labels)} labels in the list and {len(pictures)} pictures"
        raise wrong_layout(release, wanted=WANTED, found=found, skipped=skipped)
    return len(taken), _rows(release, taken, labels, annotations, skipped=skipped)


def _sort(release: Release, *, skipped: Counter[str]) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Return key (`train_00001`) -> path of the aligned pictures, the original ones, and the manual annotations."""
    aligned: dict[str, str] = {}
    original: dict[str, str] = {}
    annotations: dict[str, str] = {}
    for name in release.names:
        file = PurePosixPath(name)
        picture, attributes = _NAME.fullmatch(file.name), _ATTRIBUTES.fullmatch(file.name)
        if picture and file.suffix.lower() in PICTURES:
            kind = aligned if picture["aligned"] else original
            if kind.setdefault(picture["key"].lower(), name) != name:
                skipped["second copy of a picture (unpacked beside its archive?)"] += 1
        elif attributes:
            if annotations.setdefault(attributes["key"].lower(), name) != name:
                skipped["second copy of an annotation (unpacked beside its archive?)"] += 1
        elif file.name.lower() not in LISTS:
            skipped["neither a picture nor a label (automatic landmarks, boxes, features, documents)"] += 1
    return aligned, original, annotations


def _listed(release: Release, *, skipped: Counter[str]) -> dict[str, str]:
    """Return key -> label from the one label list; nothing where there is none."""
    lists = [name for name in release.names if PurePosixPath(name).name.lower() in LISTS]
    contents = [release.read(name) for name in lists]
    if not lists:
        return {}
    if len(set(contents)) > 1:
        found = f"{len(lists)} label lists that differ: {lists}"
        raise wrong_layout(release, wanted=WANTED, found=found, skipped=skipped)
    labels: dict[str, str] = {}
    for line in contents[0].decode("utf-8-sig", errors="replace").splitlines():
        fields = line.split()
        match = _NAME.fullmatch(fields[0]) if len(fields) == 2 else None
        if match and fields[1] in CODES:
            labels[match["key"].lower()] = CODES[fields[1]]
        elif fields:
            skipped["line of the label list that is not like 'train_00001.jpg 5'"] += 1
    return labels


def _in_folders(pictures: dict[str, str]) -> dict[str, str]:
    """Return key -> label of the pictures that lie in folders named by the label's number."""
    folders = {key: PurePosixPath(name).parent.name for key, name in pictures.items()}
    return {key: CODES[folder] for key, folder in folders.items() if folder in CODES}


def _rows(
    release: Release,
    taken: dict[str, str],
    labels: dict[str, str],
    annotations: dict[str, str],
    *,
    skipped: Counter[str],
) -> Iterator[dict[str, Any]]:
    groups = _read_annotations(release, annotations, keys=set(taken.values()), skipped=skipped)
    unknown: dict[str, str | None] = dict.fromkeys(ATTRIBUTES) if annotations else {}
    for name, image in stream_pictures(release, taken, skipped=skipped):
        key = taken[name]
        usage = key.split("_")[0]
        yield make_row(image, source="rafdb", label=labels[key], usage=usage, **groups.get(key, unknown))


def _read_annotations(
    release: Release, annotations: dict[str, str], *, keys: set[str], skipped: Counter[str]
) -> dict[str, dict[str, str | None]]:
    """Return key -> words of ATTRIBUTES for the pictures `keys`; all at once, as archives are quick only in order."""
    key_of = {name: key for key, name in annotations.items() if key in keys}
    skipped["annotation without a picture"] += len(annotations) - len(key_of)
    if annotations:
        skipped[f"picture without annotation, its groups empty{KEPT}"] += len(keys) - len(key_of)
    groups: dict[str, dict[str, str | None]] = {}
    for name, content in release.stream(list(key_of)):
        words = _words(content)
        if words is None:
            skipped[f"annotation that cannot be read, its groups empty{KEPT}"] += 1
        else:
            groups[key_of[name]] = words
    return groups


def _words(content: bytes) -> dict[str, str | None] | None:
    lines = content.decode("ascii", errors="replace").split("\n")
    codes = [line.strip() for line in lines if line.strip()][LANDMARK_LINES:]
    if len(codes) != len(ATTRIBUTES):
        return None
    words: dict[str, str | None] = {}
    for (column, meanings), code in zip(ATTRIBUTES.items(), codes, strict=True):
        if code not in map(str, range(len(meanings))):
            return None
        words[column] = meanings[int(code)]
    return words
