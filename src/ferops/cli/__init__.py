"""`ferops VERB`: one verb per stage, plus what surrounds them. Thin: it wires packages together and talks to people.

Heavy libraries are imported inside the verbs, so that `ferops --help` answers at once.
"""

from __future__ import annotations

import os
import sys

from ferops.cli import data, local, models, stages
from ferops.cli.base import app
from ferops.errors import FeropsError

__all__ = ["app", "data", "local", "main", "models", "stages"]

NO_TELEMETRY = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""The tools that ferops uses call nobody, unless the user sets one of these."""

for group in (data, stages, models, local):  # as `ferops --help` lists them
    app.add_typer(group.verbs)


def main() -> None:
    """Entry point of the console script: bad input becomes one message and exit status 1."""
    for name, value in NO_TELEMETRY.items():
        os.environ.setdefault(name, value)
    try:
        app()
    except FeropsError as error:
        print(f"ferops: {error}", file=sys.stderr)
        sys.exit(1)
