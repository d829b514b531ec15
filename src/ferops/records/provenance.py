"""What a result was made from: written into every metric file, tag and model config."""

from __future__ import annotations

from typing import Any

from ferops.records.base import Record


class Provenance(Record):
    """Which data, split, code and settings gave a result.

    Attributes:
        data_version: DVC's MD5 of the folder data/, 32 hex digits.
        split_hash: of the split, 16 hex digits; None before the split.
        git_commit: 40 hex digits, `-dirty` behind it where tracked files differed; None outside Git.
        synthetic: every source is rendered, not photographed.
        params: all settings, as they stood in params.yaml; of the ferops version that made the result.
    """

    data_version: str
    split_hash: str | None
    git_commit: str | None
    seed: int
    preset: str
    sources: tuple[str, ...]
    synthetic: bool
    ferops_version: str
    params: dict[str, Any]
