"""What an import brought, and what lies in data/."""

from __future__ import annotations

from ferops.records.base import Record


class ImportResult(Record):
    """What `ferops import` did.

    Attributes:
        source: the name in data/.
        file: the first of its `files` files.
        classes: label -> rows; `unlabelled` for none.
        skipped: reason -> files that were left out.
        noticed: reason -> rows that came in, but are unusual.
        left_out: the list of the files that were left out, with their reasons; None for an empty one.
    """

    source: str
    file: str
    files: int
    rows: int
    classes: dict[str, int]
    skipped: dict[str, int]
    noticed: dict[str, int]
    left_out: str | None
    data_version: str


class SourceEntry(Record):
    """One source in data/. The last four are None for a file that no reader of ferops wrote.

    Attributes:
        classes: label -> rows; `unlabelled` for none.
        usage: official split -> rows.
        people: distinct subjects.
        groups, votes: names of the annotated attributes and of the annotators' votes, without their prefix.
        size_mb: MiB of its `files` files.
        tight: whether the images are face crops.
    """

    source: str
    rows: int
    classes: dict[str, int]
    usage: dict[str, int]
    people: int
    groups: tuple[str, ...]
    votes: tuple[str, ...]
    size_mb: float
    files: int
    title: str | None
    licence: str | None
    citation: str | None
    tight: bool | None


class Correction(Record):
    """What a person said of the label of one image; null for an image that shows none.

    Attributes:
        was: the label before; the same where the person confirmed it.
        who, when: as the annotation tool names them; "" where it does not.
    """

    image_id: str
    was: str | None
    label: str | None
    who: str
    when: str
