"""What all records share: how they are read from JSON, and written whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ferops.errors import FeropsError
from ferops.files import read_bytes, write_json


class Record(BaseModel):
    """A frozen record. An unknown or missing field is an error, so that no file is half understood.

    A record that reaches a file or standard output says where it is stored and which command makes it, and so gets a
    JSON Schema and a line in docs/records.md (`python -m ferops.records docs`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stored_in: ClassVar[str]
    made_by: ClassVar[str]

    @classmethod
    def read(cls, path: Path, *, made_by: str) -> Self:
        """Read the JSON file at `path`, which the command `made_by` writes.

        Raises:
            FeropsError: the file is missing, not JSON, or not such a record; the message names `made_by`.
        """
        text = read_bytes(path, made_by=made_by)
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise FeropsError(f"{path} cannot be used: {problems(error)}. Make it again: {made_by}") from error

    def write(self, path: Path) -> None:
        """Write the record as indented JSON, whole or not at all. NaN and infinity are refused (ValueError)."""
        write_json(path, self.as_json())

    def as_json(self) -> dict[str, Any]:
        """Return the record as JSON types, fields in their order; what is unknown is null."""
        return self.model_dump(mode="json", by_alias=True)


def problems(error: ValidationError, *, most: int = 5) -> str:
    """Return what a validation found, one clause per field."""
    found = [f"{'.'.join(map(str, detail['loc'])) or 'the file'}: {detail['msg']}" for detail in error.errors()]
    more = f"; and {len(found) - most} more" if len(found) > most else ""
    return "; ".join(found[:most]) + more
