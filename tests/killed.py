"""A training that is killed again and again: `python killed.py ROOT PARAMS PLAN`, all but ROOT as JSON.

PLAN lists the deaths. Each is a process of its own, forked off before anything is computed, that goes on from what the
one before left, and gets its signal at an exact place; one more then trains to the end. Prints one line of JSON: the
exit codes, negative for signals.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from ferops import config
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.training import checkpoint as checkpoints
from ferops.training import fit as fits
from ferops.training.prepare import prepare
from ferops.training.stage import run as run_training
from ferops.training.step import StepRunner

PLACES = ("step", "half-written", "unnamed", "saved")


def die_at(place: str, count: int, number: int) -> None:
    """Send the signal to this process at the `count`-th pass, from 1, of the place:

    step: before an optimiser step. half-written: a checkpoint's file has half its bytes. unnamed: it has all, but not
    its name. saved: it is in place. epoch: an epoch is over.
    """
    passes = 0

    def arrive(here: str) -> None:
        nonlocal passes
        passes += here == place
        if here == place and passes == count:
            os.kill(os.getpid(), number)

    step, write, save = StepRunner.run, checkpoints.save_file, fits.Fit.save

    def stepping(self: StepRunner, *arguments: Any, **place: int) -> Any:
        arrive("step")
        return step(self, *arguments, **place)

    def writing(tensors: Any, path: Path, **options: Any) -> None:
        write(tensors, path, **options)
        arrive("unnamed")
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        arrive("half-written")
        path.write_bytes(whole)

    def saving(self: fits.Fit) -> None:
        save(self)
        arrive("saved")

    StepRunner.run, checkpoints.save_file, fits.Fit.save = stepping, writing, saving  # type: ignore[method-assign]


def run(root: str, params: config.Params) -> int:
    try:
        run_training(prepare(Layout(Path(root)), params, "baseline"))
    except FeropsError as error:
        print(f"ferops: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def main(root: str, params: str, plan: str) -> None:
    torch.set_num_threads(1)
    fits.SAVE_EVERY_S = 0.0  # a checkpoint after each step
    codes = []
    for death in [*json.loads(plan), None]:
        child = os.fork()
        if not child:
            if death:
                die_at(death["place"], death["count"], signal.Signals[death["signal"]])
            os._exit(run(root, config.parse(json.loads(params))))
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(json.dumps(codes))


if __name__ == "__main__":
    main(*sys.argv[1:])
