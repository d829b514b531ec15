"""What a project vouches for: the signed statement on a version of the registry, and whom the project trusts."""

from __future__ import annotations

from typing import ClassVar

from ferops.records.base import Record
from ferops.records.register import Gate


class Statement(Record):
    """What `register` found out about a version; the text that is signed.

    Attributes:
        model: the registered model's name, so that the statement counts for no other model.
        digest: of the export folder without its provenance (`ferops.model_config.export_digest`).
        files: the version's files -> SHA-256, hex.
        gates: as they were judged.
        metrics: SHA-256 of the metrics.json that was judged, hex.
        data_version, split_hash, git_commit: of those metrics, as in `Provenance`.
        signed_at: ISO 8601, UTC. Of several statements of trusted keys on one version, the latest counts.
    """

    stored_in: ClassVar[str] = "`statement` of a tag `ferops.signature.KEY`"
    made_by: ClassVar[str] = "ferops register"

    model: str
    digest: str
    files: dict[str, str]
    gates: tuple[Gate, ...]
    metrics: str
    data_version: str
    split_hash: str | None
    git_commit: str | None
    ferops_version: str
    signed_at: str

    @property
    def verdict(self) -> str:
        """`passed`, `overridden` or `failed`."""
        return verdict(self.gates)


class Signature(Record):
    """A `Statement` as JSON text, and the Ed25519 signature of that very text.

    Attributes:
        key: the public key, 64 hex digits.
        signature: 128 hex digits.
    """

    stored_in: ClassVar[str] = "the tag `ferops.signature.KEY` of a version in MLflow"
    made_by: ClassVar[str] = "ferops register"

    key: str
    signature: str
    statement: str


class TrustedKey(Record):
    """The public key (64 hex digits) of another project folder, and who added it when."""

    key: str
    by: str
    at: str


class AcceptedVersion(Record):
    """A version that a person accepted by hand: exactly these files (path -> SHA-256, hex) under this model's name."""

    model: str
    version: str
    files: dict[str, str]
    by: str
    at: str


class Trust(Record):
    """Whose versions this project uses beside its own, and which single ones."""

    stored_in: ClassVar[str] = "trust.json"
    made_by: ClassVar[str] = "ferops trust KEY, ferops accept VERSION"

    keys: tuple[TrustedKey, ...] = ()
    accepted: tuple[AcceptedVersion, ...] = ()


def verdict(gates: tuple[Gate, ...]) -> str:
    """Return `failed` if a gate blocks, `overridden` if a person let one pass, else `passed`."""
    if any(gate.blocks for gate in gates):
        return "failed"
    return "passed" if all(gate.passed for gate in gates) else "overridden"
