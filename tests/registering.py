"""Registrations and promotions in processes of their own: `python registering.py PLAN`, PLAN as JSON, a list of rounds.

Each round is a list of what runs at once, each forked off before MLflow connects to anything: `{"root": folder,
"uri": address or null, "promote": version or null, "meet": folder or null, "die": [method, "before" or "after"] or
null}`. It registers the project, or promotes that version. Those that `meet` wait for one another before they make a
version, or when they have seen which one is champion. `die`: SIGKILL around the first call of that method of MLflow's
client. Prints the exit codes by round as one line of JSON, negative for signals; what people are told goes to stderr.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from mlflow import MlflowClient

from ferops import config
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.registry import promotion, stage
from registry_project import params_tree


def registration(root: Path, **how: Any) -> dict[str, Any]:
    return {"root": str(root), "uri": None, "promote": None, "meet": None, "die": None} | how


def run(rounds: Sequence[Sequence[dict[str, Any]]], *, within_s: float = 300) -> tuple[list[list[int]], str]:
    """Run these rounds; return the exit codes, and what was said."""
    done = subprocess.run(
        [sys.executable, __file__, json.dumps(rounds)],
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    codes: list[list[int]] = json.loads(done.stdout.splitlines()[-1])
    return codes, done.stderr


def die_around(method: str, when: str) -> None:
    call = getattr(MlflowClient, method)

    def dying(*arguments: Any, **options: Any) -> Any:
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        call(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(MlflowClient, method, dying)


def meet_in(folder: Path, number: int, before: tuple[ModuleType, str]) -> None:
    call = getattr(*before)

    def meeting(*arguments: Any, **options: Any) -> None:
        (folder / str(os.getpid())).touch()
        deadline = time.monotonic() + 60
        while len(list(folder.iterdir())) < number and time.monotonic() < deadline:
            time.sleep(0.005)
        call(*arguments, **options)

    setattr(*before, meeting)


def perform(plan: dict[str, Any], *, together: int) -> int:
    if plan["uri"]:
        os.environ["MLFLOW_TRACKING_URI"] = plan["uri"]
    if plan["die"]:
        die_around(*plan["die"])
    if plan["meet"]:
        before = (promotion, "_crown") if plan["promote"] else (stage, "create")
        meet_in(Path(plan["meet"]), together, before)
    layout, params = Layout(Path(plan["root"])), config.parse(params_tree())
    try:
        if plan["promote"]:
            promotion.promote(layout, params, plan["promote"])
        else:
            stage.register(layout, params)
    except FeropsError as error:
        print(f"ferops: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def main(rounds: list[list[dict[str, Any]]]) -> None:
    importlib.import_module("mlflow.pyfunc")  # once, not in each process
    codes = []
    for plans in rounds:
        children = []
        for plan in plans:
            child = os.fork()
            if not child:
                os._exit(perform(plan, together=len(plans)))
            children.append(child)
        codes.append([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
    print(json.dumps(codes))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
