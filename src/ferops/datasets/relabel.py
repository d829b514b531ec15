"""Labels that people corrected: a source's new version differs in them alone, and says who gave them and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from ferops.datasets import swap
from ferops.datasets.manifest import open_writer
from ferops.datasets.raw import files_of, open_raw
from ferops.errors import FeropsError
from ferops.files import atomic_folder
from ferops.layout import Layout
from ferops.records.data import Correction

KEY = b"ferops.corrections"
"""Metadata of a raw file: the corrections of its source, as JSON; docs/files.md."""

_ALL = TypeAdapter(tuple[Correction, ...])


def corrections(layout: Layout, source: str) -> dict[str, Correction]:
    """Return image_id -> the last correction of its label; confirmed labels are among them.

    Raises:
        FeropsError: there is no such source, or what its file says of them is damaged.
    """
    noted = (open_raw(layout, source).schema.metadata or {}).get(KEY, b"[]")
    try:
        return {one.image_id: one for one in _ALL.validate_json(noted)}
    except ValidationError as error:
        raise FeropsError(
            f"the metadata {KEY.decode()} of {layout.source(source)} is damaged. Get it anew: dvc checkout data.dvc"
        ) from error


def correct(layout: Layout, source: str, given: Sequence[Correction]) -> None:
    """Make a new version of data/ in which `given` are the labels of their images; nothing else changes.

    Raises:
        FeropsError: as `swap.replace`; data/ and data.dvc are then as before.
    """
    with swap.exclusive(layout):
        known = corrections(layout, source) | {one.image_id: one for one in given}
        staged = swap.workplace(layout) / source
        with atomic_folder(staged) as temporary:
            for file in files_of(layout.data, source):
                _rewrite(file, temporary / file.name, known)
        swap.replace(layout, source, staged)


def carry_over(layout: Layout, source: str, folder: Path) -> int:
    """Give the files of a new import in `folder` the labels that people have corrected in the source's present version;
    return how many of its images have one."""
    if not layout.source(source).exists():
        return 0
    known = corrections(layout, source)
    if not known:
        return 0
    found = 0
    for file in files_of(folder, source):
        found += len(known.keys() & set(pq.read_table(file, columns=["image_id"])["image_id"].to_pylist()))
        rewritten = file.with_suffix(".corrected")
        _rewrite(file, rewritten, known)
        rewritten.replace(file)
    return found


def _rewrite(file: Path, target: Path, known: Mapping[str, Correction]) -> None:
    """Copy a raw file with other labels, a row group at a time."""
    with pq.ParquetFile(file) as old:
        schema = old.schema_arrow
        schema = schema.with_metadata({**(schema.metadata or {}), KEY: _ALL.dump_json(tuple(known.values()))})
        at = schema.get_field_index("label")
        with open_writer(target, schema) as writer:
            for group in range(old.num_row_groups):
                table = old.read_row_group(group)
                pairs = zip(table["image_id"].to_pylist(), table["label"].to_pylist(), strict=True)
                labels = [known[image].label if image in known else label for image, label in pairs]
                column = pa.array(labels, pa.string()).cast(schema.field(at).type)
                writer.write_table(
                    table.set_column(at, schema.field(at), column).replace_schema_metadata(schema.metadata)
                )
