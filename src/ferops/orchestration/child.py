"""The environment of the programs that ferops starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

NO_TELEMETRY = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""Keeps the tools that ferops uses from calling anybody. A value that the user sets wins."""


def child_environment() -> dict[str, str]:
    """Return the environment for a child: no telemetry, this interpreter's folder first in PATH, output unbuffered."""
    # Not resolved: in a virtual environment the interpreter is a link, and the scripts lie beside the link
    here = str(Path(sys.executable).parent)
    path = os.pathsep.join(filter(None, [here, os.environ.get("PATH")]))
    return {**NO_TELEMETRY, **os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}
