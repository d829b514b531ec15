"""FairFace: 97,698 published faces balanced over race, gender and age. It has no expression labels: it is for audits.

Paper: K. Kärkkäinen, J. Joo, "FairFace: Face Attribute Dataset for Balanced Race, Gender, and Age for Bias Measurement
and Mitigation", WACV 2021, pp. 1548-1558. Documentation: the README of the data set's repository. Published are:

- `fairface-img-margin025-trainval.zip` and `fairface-img-margin125-trainval.zip`: `train/1.jpg` ... `train/86744.jpg`
  and `val/1.jpg` ... `val/10954.jpg`; cut and turned upright with a margin of 0.25 or 1.25 of the face's size, the
  wider one being what the paper tests other people's services with.
- `fairface_label_train.csv`, `fairface_label_val.csv`: `file` (`train/1.jpg`), `age` (nine bands, `0-2` to `more than
  70`), `gender` (`Male`, `Female`), `race` (`White`, `Black`, `Indian`, `East Asian`, `Southeast Asian`, `Middle
  Eastern`, `Latino_Hispanic`) and `service_test` (a subset of the paper's experiments; not imported).

Annotators chose among these words by looking at a picture; nobody in it was asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from ferops.datasets.manifest import make_row
from ferops.datasets.release import KEPT, PICTURES, Release, open_release, stream_pictures, wrong_layout
from ferops.datasets.tables import lines

LISTS = {"fairface_label_train.csv": "train", "fairface_label_val.csv": "val"}
"""The label lists, and which official part each one is."""

ATTRIBUTES = ("age", "gender", "race")

WANTED = (
    "one folder with fairface_label_train.csv and fairface_label_val.csv as published, and beside them "
    "fairface-img-margin125-trainval.zip (or margin025, or either one unpacked: train/1.jpg ..., val/1.jpg ...)"
)

Groups = tuple[str | None, ...]  # in the order of ATTRIBUTES


def read(path: Path, *, skipped: Counter[str]) -> tuple[int, Iterator[dict[str, Any]]]:
    """Return the number of pictures in a release, and their rows: no label, usage (train, val), no subject, and
    group_age, group_gender (in small letters, as in other sources) and group_race (both as published).

    `skipped` counts files that were left out, by reason; complete once the rows are exhausted.

    Raises:
        FeropsError: no such path, a damaged or dangerous archive, no label list or one without its columns, or no
            picture of a list.
    """
    release = open_release(path, wanted=WANTED, skipped=skipped)
    groups = _read_lists(release, skipped=skipped)
    pictures = _pictures(release, skipped=skipped)
    taken = {name: key for key, name in pictures.items() if key in groups}
    skipped["picture without a line in the label lists"] += len(pictures) - len(taken)
    skipped["line in a label list without its picture"] += len(groups) - len(taken)
    if not taken:
        found = f"of {len(groups)} lines in the label lists and {len(pictures)} pictures none belong together"
        raise wrong_layout(release, wanted=WANTED, found=found, skipped=skipped)
    return len(taken), _rows(release, taken, groups, skipped=skipped)


def _rows(
    release: Release, taken: dict[str, str], groups: dict[str, Groups], *, skipped: Counter[str]
) -> Iterator[dict[str, Any]]:
    for name, image in stream_pictures(release, taken, skipped=skipped):
        key = taken[name]
        words = {f"group_{name}": word for name, word in zip(ATTRIBUTES, groups[key], strict=True)}
        yield make_row(image, source="fairface", label=None, usage=key.split("/")[0], **words)


def _read_lists(release: Release, *, skipped: Counter[str]) -> dict[str, Groups]:
    """Return key (`train/1.jpg`) -> words, from the lists that are there."""
    lists = {name: LISTS[file] for name in release.names if (file := PurePosixPath(name).name.lower()) in LISTS}
    if not lists:
        raise wrong_layout(release, wanted=WANTED, found=f"neither {' nor '.join(LISTS)}", skipped=skipped)
    groups: dict[str, Groups] = {}
    for name, part in lists.items():
        for _, line in lines(release, name, columns=("file", *ATTRIBUTES)):
            key = _key(line["file"])
            if not key.startswith(f"{part}/"):
                skipped["line of a label list that is not like 'train/1.jpg,50-59,Male,East Asian,True'"] += 1
            elif groups.setdefault(key, words := _words(line)) != words:
                # Nobody can tell which line is right, so neither is believed
                skipped[f"picture with two different lines in the label lists, its groups empty{KEPT}"] += 1
                groups[key] = (None,) * len(ATTRIBUTES)
    return groups


def _words(line: dict[str, str]) -> Groups:
    age, gender, race = (line[column] or None for column in ATTRIBUTES)
    return age, gender and gender.lower(), race


def _pictures(release: Release, *, skipped: Counter[str]) -> dict[str, str]:
    """Return key -> path of the pictures in one copy of the data set: the widest, if there are several."""
    copies: dict[str, dict[str, str]] = {}
    for name in release.names:
        file = PurePosixPath(name)
        if file.parent.name in LISTS.values() and file.suffix.lower() in PICTURES and not file.name.startswith("."):
            copies.setdefault(str(file.parent.parent), {})[_key(name)] = name
        elif file.name.lower() not in LISTS:
            skipped["not a picture below train/ or val/"] += 1
    # The wider margin leaves a detector room to work in; otherwise the first by name
    order = sorted(copies, key=lambda folder: ("margin125" not in folder, folder))
    for folder in order[1:]:
        skipped[f"further copy of the pictures, as {order[0]} was taken"] += len(copies[folder])
    return copies[order[0]] if order else {}


def _key(name: str) -> str:
    return "/".join(PurePosixPath(name.strip()).parts[-2:])
