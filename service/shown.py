"""What GET /info and /docs.json say: of the model that is served now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferops.inference import answer as answers
from ferops.model_config import ExportConfig, read_model_config
from ferops.monitoring.recorder import log_folder
from service.follow import pointer

COMPARED = " While a new version is tried, it answers them too, unseen, after the answer is sent."

if TYPE_CHECKING:
    from pathlib import Path

    from ferops.records.release import Release


class Shown:
    """`release` and `info` of the model that `show` got last."""

    def __init__(self, model: Path, release: Release, *, needs_key: bool) -> None:
        self._needs_key = needs_key
        self.show(model, release)

    def show(self, model: Path, release: Release) -> None:
        """Raises FeropsError: the folder `model` holds no model that this code can serve."""
        config = read_model_config(model, ExportConfig)
        info = answers.info(
            release=release, config=config, needs_key=self._needs_key, logged=log_folder(release.limits) is not None
        )
        self.info = info.model_copy(update={"privacy": info.privacy + COMPARED}) if pointer() is not None else info
        self.release = release
