"""From the alias `champion` to a Bento: safe to repeat, so a schedule, a webhook and a person may all ask for it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ferops.config import Params
from ferops.layout import Layout


def reconcile(layout: Layout, params: Params) -> str:
    """Make sure that a Bento exists for the version that `champion` points to; return a sentence on what was done.

    Afterwards `serve` starts exactly this Bento; without a champion it starts none.

    Raises:
        FeropsError: the registry cannot be reached, or the champion's files cannot be packaged.
    """
    from ferops.package import forget, package
    from ferops.registry.promotion import champion

    with tempfile.TemporaryDirectory(prefix="ferops-champion-") as folder:
        found = champion(layout, params, Path(folder))
        if found is None:
            forget(layout)
            return (
                f"No version of {params.registry.model_name} has the alias champion yet. "
                "Set it in the MLflow UI (Model registry), or: ferops promote VERSION"
            )
        version, model_folder = found
        return package(layout, params, model_folder=model_folder, version=version).message
