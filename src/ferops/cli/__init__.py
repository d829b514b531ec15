"""`ferops VERB`: one verb per stage, plus what surrounds them. Thin: it wires packages together and talks to people.

Heavy libraries are imported inside the verbs, so that `ferops --help` answers at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress

from ferops import threads
from ferops.cli import blur, data, edge, local, models, predict, stages, start
from ferops.cli.base import VERBOSE, app
from ferops.errors import FeropsError
from ferops.escape import lines, plain_stream
from ferops.layout import Layout
from ferops.missing import remedy
from ferops.orchestration.child import NO_TELEMETRY

__all__ = ["app", "blur", "data", "edge", "local", "main", "models", "predict", "stages", "start"]

for group in (start, data, stages, predict, blur, models, edge, local):  # as `ferops --help` lists them
    app.add_typer(group.verbs)


def main() -> None:
    """Entry point of the console script: bad input becomes one message and exit status 1."""
    for name, value in NO_TELEMETRY.items():
        os.environ.setdefault(name, value)
    sys.stdout, sys.stderr = plain_stream(sys.stdout), plain_stream(sys.stderr)
    threads.begin()
    try:
        _log_in()
        app()
    except FeropsError as error:
        if os.environ.get(VERBOSE):
            traceback.print_exc()
        # Indented, so that a line break in a file's name cannot begin a message of its own
        print(lines(f"ferops: {error}").replace("\n", "\n  "), file=sys.stderr)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if (told := remedy(error)) is None:
            raise
        print(f"ferops: {told}", file=sys.stderr)
        sys.exit(1)


def _log_in() -> None:
    """Let every verb reach the project's own stack, where the environment names it and this user has started it."""
    layout = Layout.find(or_here=True)
    named = os.environ.keys() & {"MLFLOW_TRACKING_URI", "PREFECT_API_URL"}
    if not named and not (layout.state / "stack.json").exists():
        return  # importing the rest takes a moment
    from ferops.local import stack

    with suppress(FeropsError):  # another user's stack; the server says that it wants a login
        os.environ.update(stack.logins(layout))
