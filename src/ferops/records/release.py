"""What a Bento serves: release.json beside the service."""

from __future__ import annotations

from typing import ClassVar

from ferops.config import Serve
from ferops.records.base import Record
from ferops.records.starter import AboutStarter


class Release(Record):
    """The exact model and settings of a Bento.

    Attributes:
        tag: of the Bento, `name:version`.
        model_version: of the registered model, or `starter`.
        model_sha256: of the served file, 64 hex digits.
        data_version: of the data that the model was trained on.
        purpose: what the deployment is declared to be for.
        limits: the block `serve` of params.yaml.
        starter: None for a version of the registry.
    """

    stored_in: ClassVar[str] = "service/release.json in a Bento"
    made_by: ClassVar[str] = "ferops package"

    tag: str
    bento_name: str
    model_version: str
    model_sha256: str
    data_version: str
    purpose: str
    limits: Serve
    starter: AboutStarter | None = None
