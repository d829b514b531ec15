"""RAF-DB, the Real-world Affective Faces Database, its basic (single-label) part: 15,339 images from the web.

Paper: S. Li, W. Deng, J. Du, "Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition
in the Wild", CVPR 2017. Documentation: the release's own README (version 1.1). Below `basic/`:

- `EmoLabel/list_patition_label.txt` (so spelt): `train_00001.jpg 5` a line; 1 surprise, 2 fear, 3 disgust, 4 happiness,
  5 sadness, 6 anger, 7 neutral. 12,271 names begin with `train`, 3,068 with `test`: the official split.
- `Image/aligned/train_00001_aligned.jpg`: the labelled face, cropped, upright, 100 x 100 px.
- `Image/original/train_00001.jpg`: the photograph, in which several people may be seen.
- `Annotation/manual/train_00001_manu_attri.txt`: five lines of landmarks, then one each for gender (0 male, 1 female, 2
  unsure), race (0 Caucasian, 1 African-American, 2 Asian) and age (0: 0-3, 1: 4-19, 2: 20-39, 3: 40-69, 4: 70+).

`Image` and `Annotation` are published as zips; both forms are read. So is the copy on Kaggle, whose aligned images
lie in folders named by the label's number, `train/5/train_00001_aligned.jpg`, without annotations. Where both kinds of
images are there, the aligned ones are taken: a label is about one face, and in a photograph of several the detector
cannot know which.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePosixPath

from ferops.datasets.kinds import IMAGE_ENDINGS
from ferops.datasets.release import Release, Rows, open_release, rows_of, wrong_layout
from ferops.datasets.untrusted import KEPT

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
    "the folder basic/ of RAF-DB, with EmoLabel/list_patition_label.txt, the images "
    "(Image/aligned/train_00001_aligned.jpg or Image/original/train_00001.jpg) and, if you have them, the manual "
    "annotations (Annotation/manual/train_00001_manu_attri.txt), as folders or as the zips published"
)

_NAME = re.compile(r"(?P<key>(?P<part>train|test)_\d+)(?P<aligned>_aligned)?\.\w+", re.IGNORECASE)
_ATTRIBUTES = re.compile(r"(?P<key>(?:train|test)_\d+)_manu_attri\.txt", re.IGNORECASE)


def read_rafdb(path: Path, *, skipped: Counter[str]) -> Rows:
    """Read a release: label, usage (train, test), no subject, and group_gender, group_race, group_age where there are
    manual annotations (null for an image that has none).

    Raises:
        FeropsError: no such path, a damaged or dangerous archive, no label list or more than one, or no image of it.
    """
    release = open_release(path, wanted=WANTED, skipped=skipped)
    aligned, original, annotations = _sort(release, skipped=skipped)
    images = aligned or original
    labels = _listed(release, skipped=skipped) or _in_folders(images)
    if not labels:
        reason = f"no label list {LISTS[0]} of lines like 'train_00001.jpg 5'"
        raise wrong_layout(release, wanted=WANTED, found=reason, skipped=skipped)
    if aligned and original:
        skipped["original image, as there are aligned ones"] += len(original)
    found = {name: key for key, name in sorted(images.items()) if key in labels}
    skipped["image without a label"] += len(images) - len(found)
    skipped["label without an image"] += len(labels) - len(found)
    if not found:
        reason = f"no image with a label: there are {len(labels)} labels in the list and {len(images)} images"
        raise wrong_layout(release, wanted=WANTED, found=reason, skipped=skipped)
    groups = _read_annotations(release, annotations, keys=set(found.values()), skipped=skipped)
    unknown: dict[str, str | None] = dict.fromkeys(ATTRIBUTES) if annotations else {}
    columns = {
        name: {"label": labels[key], "usage": key.split("_")[0], **groups.get(key, unknown)}
        for name, key in found.items()
    }
    return rows_of(release, columns, source="rafdb", skipped=skipped)


def _sort(release: Release, *, skipped: Counter[str]) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Return key (`train_00001`) -> path of the aligned images, the original ones, and the manual annotations."""
    aligned: dict[str, str] = {}
    original: dict[str, str] = {}
    annotations: dict[str, str] = {}
    for name in release.names:
        file = PurePosixPath(name)
        image, attributes = _NAME.fullmatch(file.name), _ATTRIBUTES.fullmatch(file.name)
        if image and file.suffix.lower() in IMAGE_ENDINGS:
            kind = aligned if image["aligned"] else original
            if kind.setdefault(image["key"].lower(), name) != name:
                skipped["second copy of an image (unpacked beside its archive?)"] += 1
        elif attributes:
            if annotations.setdefault(attributes["key"].lower(), name) != name:
                skipped["second copy of an annotation (unpacked beside its archive?)"] += 1
        elif file.name.lower() not in LISTS:
            skipped["neither an image nor a label (automatic landmarks, boxes, features, documents)"] += 1
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


def _in_folders(images: dict[str, str]) -> dict[str, str]:
    """Return key -> label of the images that lie in folders named by the label's number."""
    folders = {key: PurePosixPath(name).parent.name for key, name in images.items()}
    return {key: CODES[folder] for key, folder in folders.items() if folder in CODES}


def _read_annotations(
    release: Release, annotations: dict[str, str], *, keys: set[str], skipped: Counter[str]
) -> dict[str, dict[str, str | None]]:
    """Return key -> words of ATTRIBUTES for the images `keys`; all at once, as archives are quick only in order."""
    key_of = {name: key for key, name in annotations.items() if key in keys}
    skipped["annotation without an image"] += len(annotations) - len(key_of)
    if annotations:
        skipped[f"image without annotation, its groups empty{KEPT}"] += len(keys) - len(key_of)
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
