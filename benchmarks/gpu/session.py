"""All that a GPU is wanted for, in one go of nine minutes: benchmarks/gpu/README.md says what and why."""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import checks
import judge
import numpy as np
import packed
import reference
import speed
import tables
import teach
import timm
import torch
from packed import FACES, Pack, Split
from parts import Part, run, start_method

from ferops.files import write_json, write_text
from ferops.machine import cores, cpu_name

HERE = Path(__file__).parent
PARTS = (
    Part("speed", {"speed": speed.speed}, seconds=40, least=25),
    Part("teachers", {name: partial(teach.teacher, name) for name in teach.TEACHERS}, seconds=160, least=60),
    Part("student", {"student": teach.student}, seconds=90, least=40),
    Part("checks", {"resume": checks.resume, "amp": checks.amp}, seconds=35, least=20),
    Part(
        "reference",
        {f"reference_{kind}": partial(reference.reference, kind) for kind in ("by_cluster", "random")},
        seconds=115,
        least=60,
    ),
    Part("compile", {"compile": speed.compiled}, seconds=50, least=35),
)
RESERVE_S = 5.0
REHEARSED = 2
"""Faces of each class and source in each split of a rehearsal."""


def main() -> int:
    started, options = time.monotonic(), _arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("fork") if options.rehearse else start_method()
    if context is None:
        raise SystemExit("PyTorch can use no GPU here. --rehearse goes through all parts on any machine")
    pack = packed.read(options.pack / FACES)
    if options.rehearse:
        pack = Pack({name: few(split) for name, split in pack.splits.items()}, pack.about)
    figures: dict[str, Any] = {
        "machine": {
            "cpu": cpu_name(),
            "cores": cores(),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "rehearsal": options.rehearse,
        "data_version": pack.about["provenance"]["data_version"],
        "faces": {name: len(split) for name, split in pack.splits.items()},
        "unpacked_s": time.monotonic() - started,
        "jobs": {},
        "part_s": {},
    }
    with tempfile.TemporaryDirectory() as scratch:
        for part in PARTS:
            left = options.seconds - RESERVE_S - (time.monotonic() - started)
            begun = time.monotonic()
            if left < part.least:
                skipped = f"{left:.0f} s were left, and {part.least:.0f} are needed"
                found: dict[str, Any] = {name: {"skipped": skipped} for name in part.jobs}
            else:
                seconds = left if options.rehearse else min(part.seconds, left)
                found = run(
                    part,
                    pack,
                    options.out,
                    context=context,
                    seconds=seconds,
                    tiny=options.rehearse,
                    scratch=Path(scratch),
                )
            figures["jobs"] |= found
            figures["part_s"][part.name] = time.monotonic() - begun
            figures["seconds"] = time.monotonic() - started
            write_json(options.out / "figures.json", figures)
            write_text(options.out / "table.md", table(figures["jobs"]))
            print(f"{figures['seconds']:5.0f} s  {part.name}: {told(found)}", flush=True)
    return int(any("failed" in found for found in figures["jobs"].values()))


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__, "timm": timm.__version__}


def few(split: Split) -> Split:
    """Return some faces of each class and source."""
    rows = [
        np.flatnonzero((split.sources == source) & (split.labels == label))[:REHEARSED]
        for source in np.unique(split.sources)
        for label in np.unique(split.labels)
    ]
    return split[np.concatenate(rows)]


def table(jobs: dict[str, dict[str, Any]]) -> str:
    """Return a row for each network, ready for docs/results.md."""
    questions = ("labels", "votes", "photographs")
    head = ["network", "epochs", "minutes", *(f"{split}: {name}" for split in ("val", "test") for name in questions)]
    rows = []
    for name, found in jobs.items():
        if "judged" not in found:
            continue
        recipe = found["recipe"]
        shown = f"{name}: {recipe['architecture']}, {recipe['pretrained'] or 'random'}, {recipe['size_px']} px"
        epochs = f"{found['epochs']}, best {found['best_epoch']}"
        rows.append([shown, epochs, f"{found['seconds'] / 60:.1f}", *_answers(found["judged"])])
        if "ensemble" in found:
            rows.append(["mean of its teachers", "", "", *_answers(found["ensemble"])])
    return tables.markdown(head, rows)


def _answers(judged: dict[str, Any]) -> list[str]:
    return [cell for split in ("val", "test") for cell in judge.cells(judged[split])]


def told(found: dict[str, dict[str, Any]]) -> str:
    """Return one word for each job: done, or why not."""
    return ", ".join(
        f"{name} {next((f'{key}: {each[key]}' for key in ('skipped', 'failed') if key in each), 'done')}"
        for name, each in found.items()
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for figures, log and weights")
    parser.add_argument("--pack", type=Path, default=HERE / "packed", help="folder that pack.py wrote")
    parser.add_argument("--seconds", type=float, default=505.0, help="of all parts together")
    parser.add_argument("--rehearse", action="store_true", help="every part with a few faces and steps, on any machine")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
