"""`ferops serve --follow`: the server runs as a child, and each new champion is packaged for it (service/follow.py)."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable

from ferops.config import load_params
from ferops.layout import Layout
from ferops.packaging.bento import packaged, pointer
from ferops.packaging.reconcile import reconcile

VARIABLE = "FEROPS_FOLLOW"
"""As the service reads it."""

EVERY_S = 5.0
_ENDS_WITHIN_S = 20.0


def follow(layout: Layout, command: list[str], variables: dict[str, str], *, say: Callable[[str], None]) -> int:
    """Run the server until it ends or a signal ends both, and return its exit status.

    While the registry does not answer, or its champion cannot be packaged, the server keeps what it serves; `say` gets
    the reason, once.
    """
    signals = (signal.SIGINT, signal.SIGTERM)
    former = [signal.signal(number, lambda *_: sys.exit(0)) for number in signals]
    # A session of its own: Ctrl-C reaches this process alone, which ends the server in order
    process = subprocess.Popen(command, env=variables | {VARIABLE: str(pointer(layout))}, start_new_session=True)
    said = ""
    try:
        while True:
            try:
                return process.wait(EVERY_S)
            except subprocess.TimeoutExpired:
                message = _step(layout)
            if message and message != said:
                say(message)
            said = message
    finally:
        process.terminate()
        try:
            process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
        for number, handler in zip(signals, former, strict=True):
            signal.signal(number, handler)


def _step(layout: Layout) -> str:
    """Package the champion if its Bento is not the one that was packaged last, and return what there is to say."""
    from ferops.registry.promotion import champion_number

    try:
        params = load_params(layout.params_file)
        number = champion_number(layout, params)
        if number is None:
            return f"No version of {params.registry.model_name} is champion: the service keeps what it serves."
        if packaged(layout) == f"{params.package.bento_name}:v{number}":
            return ""
        return reconcile(layout, params)
    except Exception as error:  # whatever it is, it is no reason to stop serving
        return f"The service keeps what it serves: {error}"
