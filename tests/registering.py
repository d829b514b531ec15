"""Registrations in processes of their own: `python registering.py PLAN`, PLAN as JSON, a list of rounds.

Each round is a list of registrations that run at once, each forked off before MLflow connects to anything:
`{"root": folder, "uri": address or null, "meet": folder or null, "die": [method, "before" or "after"] or null}`.
Those that `meet` wait for one another before they make a version. `die`: SIGKILL around the first call of that method
of MLflow's client. Prints the exit codes by round as one line of JSON, negative for signals.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from ferops import config
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.registry import stage
from registry_project import params_tree


def die_around(method: str, when: str) -> None:
    call = getattr(MlflowClient, method)

    def dying(*arguments: Any, **options: Any) -> Any:
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        call(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(MlflowClient, method, dying)


def meet_in(folder: Path, number: int) -> None:
    create = stage.create

    def meeting(*arguments: Any, **options: Any) -> None:
        (folder / str(os.getpid())).touch()
        deadline = time.monotonic() + 60
        while len(list(folder.iterdir())) < number and time.monotonic() < deadline:
            time.sleep(0.005)
        create(*arguments, **options)

    stage.create = meeting


def register(plan: dict[str, Any], *, together: int) -> int:
    if plan["uri"]:
        os.environ["MLFLOW_TRACKING_URI"] = plan["uri"]
    if plan["die"]:
        die_around(*plan["die"])
    if plan["meet"]:
        meet_in(Path(plan["meet"]), together)
    try:
        stage.register(Layout(Path(plan["root"])), config.parse(params_tree()))
    except FeropsError as error:
        print(f"ferops: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def main(rounds: list[list[dict[str, Any]]]) -> None:
    codes = []
    for plans in rounds:
        children = []
        for plan in plans:
            child = os.fork()
            if not child:
                os._exit(register(plan, together=len(plans)))
            children.append(child)
        codes.append([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
    print(json.dumps(codes))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
