"""`ferops run`: the whole pipeline, then what came out in a few lines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from ferops.datasets.store import outputs_not_stored
from ferops.datasets.versioning import require_current
from ferops.errors import FeropsError
from ferops.formats import figure, interval, percent
from ferops.layout import Layout
from ferops.missing import need
from ferops.orchestration.child import child_environment
from ferops.orchestration.dag import NOT_STORED
from ferops.orchestration.outcome import Outcome
from ferops.orchestration.overview import write_overview
from ferops.provenance import read_dvc_file
from ferops.records.register import RegisterSummary


def run(layout: Layout) -> str:
    """Pull what the .dvc files name if it is not there, run `dvc repro`, and return the closing lines.

    Raises:
        FeropsError: the data cannot be pulled or are another version, or a stage failed (its own message stands above).
    """
    need("torch")
    if not any(layout.data.glob("*.parquet")):
        _pull(layout, layout.data_dvc, failed="the data could not be pulled; import a data set: ferops import --help")
    for file in layout.shipped_dvc:
        # Nothing here uses them, but a later `dvc checkout` fails while anything that a .dvc file names is missing
        if not file.with_suffix("").exists():
            name = file.relative_to(layout.root).as_posix()
            _pull(layout, file, failed=f"the model that {name} names could not be pulled")
    require_current(layout)
    _dvc(layout, "repro", failed="the pipeline stopped; the reason is above. Fix it and run the same command again")
    if lost := outputs_not_stored(layout):
        raise FeropsError(NOT_STORED.format(", ".join(lost)))
    outcome = Outcome.read(layout)
    return closing(outcome, overview=write_overview(layout, outcome))


def closing(outcome: Outcome, *, overview: Path) -> str:
    """Return what was trained, how good it is, what the gates decided, and what to do next."""
    metrics, registered, validated, trained = outcome.metrics, outcome.registered, outcome.validated, outcome.trained
    origin, candidate = metrics.provenance, metrics.candidate
    best = f", best epoch {trained.best_epoch}" if trained.epochs else ""  # an ensemble, or a soup, has none
    models = origin.params["models"]
    tool = "make" if (overview.parents[1] / "Makefile").exists() else "ferops"
    lines = [
        "",
        f"Data      {', '.join(origin.sources)}, version {origin.data_version[:10]}: "
        f"{validated.accepted:,} of {validated.rows_in:,} rows accepted",
        f"Trained   {trained.architecture} at {origin.params['preprocess']['size_px']} px "
        f"({metrics.cost.parameters / 1e6:.1f} M parameters{best}), "
        f"baseline {_baseline(models['baseline'])}",
        f"Test      accuracy {interval(candidate.accuracy)} %, macro-F1 {figure(candidate.macro_f1)} "
        f"on {metrics.n:,} faces{f', tta {candidate.tta}' if candidate.tta != 'off' else ''}",
        f"          baseline {percent(metrics.baseline.accuracy.value)}, chance {percent(metrics.chance.accuracy)}",
        f"          end to end on {metrics.end_to_end.n:,} images {interval(metrics.end_to_end.accuracy)} %, "
        f"no face found in {percent(metrics.end_to_end.no_face.value)}",
        f"Gates     {registered.gates_passed} passed, {registered.gates_failed} failed, "
        f"{registered.gates_overridden} overridden",
        *(f"          {gate.name} overridden: {gate.overridden}" for gate in registered.gates if gate.overridden),
        *(f"          {name}: {reason}" for name, reason in registered.failed.items()),
        f"Registry  {_version(registered)}",
        *(["          Rendered faces: these numbers say nothing about real people."] if origin.synthetic else []),
        "",
        f"Reports   {overview}",
        f"MLflow    {tool} up",
    ]
    if registered.version is not None:
        which = f"VERSION={registered.version}" if tool == "make" else registered.version
        lines += [f"Promote   {tool} promote {which}", f"Serve     {tool} package && {tool} serve"]
    return "\n".join(lines)


def _baseline(settings: dict[str, Any]) -> str:
    return str(settings["architecture"]) if settings["epochs"] else f"{settings['learns_from']} as it is"


def _version(registered: RegisterSummary) -> str:
    if registered.model_uri is None:
        return "no version: the candidate's run was logged with the reasons above"
    return f"{registered.model_uri}, alias {registered.alias}"


def _pull(layout: Layout, file: Path, *, failed: str) -> None:
    # DVC says that there is no default remote, though the file names its own, unless it is given that one
    remote = read_dvc_file(file).get("remote") if file.exists() else None
    given = ["--remote", str(remote)] if remote else []
    _dvc(layout, "pull", *given, file.relative_to(layout.root).as_posix(), failed=failed)


def _dvc(layout: Layout, *arguments: str, failed: str) -> None:
    command = [str(Path(sys.executable).with_name("dvc")), *arguments]
    if subprocess.run(command, cwd=layout.root, env=child_environment(), check=False).returncode != 0:
        raise FeropsError(failed)
