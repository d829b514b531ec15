"""`ferops serve --follow`: the server runs as a child, and for it the champion, shadow and canary are packaged.

service/follow.py and service/beside.py take up what is packaged. A canary that the service has ended loses its alias.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable

from ferops.config import load_params
from ferops.layout import Layout
from ferops.monitoring.key import log_key_file
from ferops.monitoring.traffic import KEY_VARIABLE
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
    added = {VARIABLE: str(pointer(layout)), KEY_VARIABLE: str(log_key_file(layout))}
    process = subprocess.Popen(command, env=variables | added, start_new_session=True)
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
    """Package what the aliases name and was not packaged yet, and return what there is to say."""
    from ferops.packaging.beside import is_current, note_ended
    from ferops.registry.promotion import aliases
    from ferops.registry.versions import CHAMPION

    try:
        params = load_params(layout.params_file)
        if ended := "\n".join(note_ended(layout, params)):
            return ended
        held = aliases(layout, params)
        number = held.get(CHAMPION)
        if number is None:
            return f"No version of {params.registry.model_name} is champion: the service keeps what it serves."
        if packaged(layout) == f"{params.package.bento_name}:v{number}" and is_current(layout, params, held):
            return ""
        return reconcile(layout, params)
    except Exception as error:  # whatever it is, it is no reason to stop serving
        return f"The service keeps what it serves: {error}"
