"""FairFace: 97,698 published faces balanced over race, gender and age. It has no expression labels: it is for audits.

Paper: K. Kärkkäinen, J. Joo, "FairFace: Face Attribute Dataset for Balanced Race, Gender, and Age for Bias Measurement
and Mitigation", WACV 2021, pp. 1548-1558. Documentation: the README of the data set's repository. Published are:

- `fairface-img-margin025-trainval.zip` and `fairface-img-margin125-trainval.zip`: `train/1.jpg` ... `train/86744.jpg`
  and `val/1.jpg` ... `val/10954.jpg`; cut and turned upright with a margin of 0.25 or 1.25 of the face's size, the
  wider one being what the paper tests other people's services with.
- `fairface_label_train.csv`, `fairface_label_val.csv`: `file` (`train/1.jpg`), `age` (nine bands, `0-2` to `more than
  70`), `gender` (`Male`, `Female`), `race` (`White`, `Black`, `Indian`, `East Asian`, `Southeast Asian`, `Middle
  Eastern`, `Latino_Hispanic`) and `service_test` (a subset of the paper's experiments; not imported).

Annotators chose among these words by looking at an image; nobody in it was asked.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from ferops.datasets.kinds import IMAGE_ENDINGS
from ferops.datasets.release import Release, Rows, open_release, rows_of, wrong_layout
from ferops.datasets.tables import lines
from ferops.datasets.untrusted import KEPT

LISTS = {"fairface_label_train.csv": "train", "fairface_label_val.csv": "val"}
"""The label lists, and which official split each one is."""

ATTRIBUTES = ("age", "gender", "race")

WANTED = (
    "one folder with fairface_label_train.csv and fairface_label_val.csv as published, and beside them "
    "fairface-img-margin125-trainval.zip (or margin025, or either one unpacked: train/1.jpg ..., val/1.jpg ...)"
)

Groups = dict[str, str | None]  # group_<name> of ATTRIBUTES -> word


def read_fairface(path: Path, *, skipped: Counter[str]) -> Rows:
    """Read a release: no label, usage (train, val), no subject, and group_age, group_gender (in small letters, as in
    other sources) and group_race (both as published).

    Raises:
        FeropsError: no such path, a damaged or dangerous archive, no label list or one without its columns, or no
            image of a list.
    """
    release = open_release(path, wanted=WANTED, skipped=skipped)
    groups = _read_lists(release, skipped=skipped)
    images = _images(release, skipped=skipped)
    found = {
        name: {"label": None, "usage": key.split("/")[0], **groups[key]}
        for key, name in images.items()
        if key in groups
    }
    skipped["image without a line in the label lists"] += len(images) - len(found)
    skipped["line in a label list without its image"] += len(groups) - len(found)
    if not found:
        reason = f"no one of {len(groups)} lines in the label lists belongs to one of {len(images)} images"
        raise wrong_layout(release, wanted=WANTED, found=reason, skipped=skipped)
    return rows_of(release, found, source="fairface", skipped=skipped)


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
                # It is not known which line is right, so neither is used
                skipped[f"image with two different lines in the label lists, its groups empty{KEPT}"] += 1
                groups[key] = dict.fromkeys(words)
    return groups


def _words(line: dict[str, str]) -> Groups:
    words = {f"group_{name}": line[name] or None for name in ATTRIBUTES}
    gender = words["group_gender"]
    return words | {"group_gender": gender and gender.lower()}


def _images(release: Release, *, skipped: Counter[str]) -> dict[str, str]:
    """Return key -> path of the images in one copy of the data set: the widest, if there are several."""
    copies: dict[str, dict[str, str]] = {}
    for name in release.names:
        file = PurePosixPath(name)
        if (
            file.parent.name in LISTS.values()
            and file.suffix.lower() in IMAGE_ENDINGS
            and not file.name.startswith(".")
        ):
            copies.setdefault(str(file.parent.parent), {})[_key(name)] = name
        elif file.name.lower() not in LISTS:
            skipped["not an image below train/ or val/"] += 1
    # The wider margin leaves a detector room to work in; otherwise the first by name
    order = sorted(copies, key=lambda folder: ("margin125" not in folder, folder))
    for folder in order[1:]:
        skipped[f"further copy of the images, as {order[0]} was taken"] += len(copies[folder])
    return copies[order[0]] if order else {}


def _key(name: str) -> str:
    return "/".join(PurePosixPath(name.strip()).parts[-2:])
