"""What a person said in Label Studio or CVAT: back into data/, or as a table beside images that have no source yet."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Container, Sequence
from pathlib import Path, PurePosixPath

from ferops.classes import CLASS_NAME, canonical
from ferops.datasets import relabel
from ferops.datasets.label_exports import Answer, read_export
from ferops.datasets.raw import open_raw, sources
from ferops.errors import FeropsError
from ferops.files import atomic_file
from ferops.layout import Layout
from ferops.provenance import data_version
from ferops.records.data import Correction
from ferops.review.pool import of_files

UNCLEAR = "unclear"
"""The answer for an image that shows none of the classes, or no face: it loses its label, and so takes no part."""

_NAME = re.compile(r"\d+-([0-9a-f]{20})\.jpg")


def image_name(number: int, image_id: str) -> str:
    """Return the name of an image in a queue: its place, and as much of its image_id as tells images apart."""
    return f"{number:04d}-{image_id[:20]}.jpg"


def take(layout: Layout, what: str, export: Path) -> list[str]:
    """Read the answers of `export` back; return what became of them, in lines.

    For a source in data/ they become labels of a new data version, with who gave them and when. For image files they
    become the table `answers.csv` in reports/review/NAME, for `ferops import folder`.

    Raises:
        FeropsError: `export` is none, or not of a queue of these images; or the data cannot be versioned.
    """
    said = _said(read_export(export), export)
    if what in sources(layout):
        return _into_source(layout, what, said, export)
    pool = of_files(Path(what))
    places = dict(zip(pool.rows["image_id"].str[:20], pool.rows["place"], strict=True))
    _require_known(said, places.keys(), what, export)
    table = layout.reports("review") / pool.name / "answers.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    rows = [(places[key], one.label) for key, one in said.items() if key in places and one.label]
    with atomic_file(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "label"), *rows])
    classes = ",".join(sorted({str(label) for _, label in rows}))
    return [
        f"{len(rows)} of {len(said)} answers give a label: {table}",
        f"next: ferops import folder {what} --name NAME --attributes {table} --classes {classes}",
    ]


def _into_source(layout: Layout, source: str, said: dict[str, Answer], export: Path) -> list[str]:
    table = open_raw(layout, source).table(["image_id", "label"]).to_pydict()
    labels = dict(zip(table["image_id"], table["label"], strict=True))
    known = {image[:20]: image for image in labels}
    _require_known(said, known.keys(), source, export)
    earlier = relabel.corrections(layout, source)
    given = []
    for key, one in said.items():
        if key in known:
            image = known[key]
            new = Correction(image_id=image, was=labels[image], label=one.label, who=one.who, when=one.when)
            old = earlier.get(image)
            if old is None or (old.label, old.who, old.when) != (new.label, new.who, new.when):
                given.append(new)
    if not given:
        return [f"every answer of {export} is in {source} already; nothing changes"]
    before = data_version(layout)
    relabel.correct(layout, source, given)
    changed = Counter(f"{one.was or 'no label'} -> {one.label or 'no label'}" for one in given if one.was != one.label)
    confirmed = len(given) - changed.total()
    return [
        f"{source}: {changed.total():,} labels changed, {confirmed:,} confirmed, by {_people(given)}",
        *(f"  {count:>5,} x {move}" for move, count in changed.most_common()),
        f"data version {before} -> {data_version(layout)}",
        "next: git add data.dvc && git commit; ferops run",
        "to go back instead: git checkout data.dvc && dvc checkout data.dvc",
    ]


def _people(given: Sequence[Correction]) -> str:
    return ", ".join(sorted({one.who for one in given if one.who})) or "somebody whom the export does not name"


def _said(answers: Sequence[Answer], export: Path) -> dict[str, Answer]:
    """Return the first digits of image_id -> the answer, its label as data/ has it."""
    found = {}
    for one in answers:
        name = _NAME.fullmatch(PurePosixPath(one.file).name)
        if name is None:
            raise FeropsError(
                f"{export} names {one.file!r}, which is no image of a queue that ferops review wrote. Images of "
                "your own, with their labels, come in by: ferops import folder PATH --attributes EXPORT"
            )
        if one.label is None:
            continue
        label = canonical(one.label)
        if not CLASS_NAME.fullmatch(label):
            raise FeropsError(f"{export} labels {one.file} as {one.label!r}. A class has letters, digits and _ only")
        found[name[1]] = one._replace(label=None if label == UNCLEAR else label)
    if not found:
        raise FeropsError(f"{export} has no answer yet. Export it again when somebody has labelled images")
    return found


def _require_known(said: dict[str, Answer], known: Container[str], what: str, export: Path) -> None:
    if not any(key in known for key in said):
        raise FeropsError(
            f"none of the {len(said)} images in {export} is in {what}. Name the source or folder of the queue"
        )
