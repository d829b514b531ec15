"""`ferops run`: the whole pipeline, then what came out in a few lines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from ferops.datasets.versioning import require_current
from ferops.errors import FeropsError
from ferops.files import read_json
from ferops.layout import Layout
from ferops.orchestration.child import child_environment


def run(layout: Layout) -> str:
    """Pull what data.dvc and starter.dvc name if it is not there, run `dvc repro`, and return the closing lines.

    Raises:
        FeropsError: the data cannot be pulled or are another version, or a stage failed (its own message stands above).
    """
    if not any(layout.data.glob("*.parquet")):
        _dvc(layout, "pull", "data.dvc", failed="the data could not be pulled; import a data set: ferops import --help")
    if layout.starter_dvc.exists() and not layout.starter.exists():
        # Nothing here uses it, but a later `dvc checkout` fails while anything that a .dvc file names is missing
        _dvc(layout, "pull", layout.starter_dvc.name, failed="the starter model could not be pulled")
    require_current(layout)
    _dvc(layout, "repro", failed="the pipeline stopped; the reason is above. Mend it and run the same command again")
    return closing(layout)


def closing(layout: Layout) -> str:
    """Say what was trained, how it did, what the gates decided, and how to look further."""
    validated = read_json(layout.summary("validate"), made_by="ferops validate")
    trained = read_json(layout.summary("train").parent / "candidate" / "summary.json", made_by="ferops train candidate")
    metrics = read_json(layout.artifacts("evaluate") / "metrics.json", made_by="ferops evaluate")
    registered = read_json(layout.summary("register"), made_by="ferops register")
    return "\n".join(["", *_results(validated, trained, metrics, registered), "", *_next(layout, registered)])


def _results(
    validated: dict[str, Any], trained: dict[str, Any], metrics: dict[str, Any], registered: dict[str, Any]
) -> list[str]:
    origin = metrics["provenance"]
    settings = origin["params"]
    models = settings["models"]
    candidate, baseline = metrics["candidate"], metrics["baseline"]
    lines = [
        f"Data      {', '.join(origin['sources'])}, version {origin['data_version'][:10]}: "
        f"{validated['accepted']:,} of {validated['rows_in']:,} rows accepted",
        f"Trained   {models['candidate']['architecture']} at {settings['preprocess']['size_px']} px "
        f"({metrics['cost']['parameters'] / 1e6:.1f} M parameters, best epoch {trained['best_epoch']}), "
        f"baseline {models['baseline']['architecture']}",
        f"Test      accuracy {_interval(candidate['accuracy'])}, macro-F1 {_interval(candidate['macro_f1'])} "
        f"on {metrics['n']:,} faces",
        f"          baseline {_percent(baseline['accuracy']['value'])}, "
        f"chance {_percent(metrics['chance']['accuracy'])}",
        f"Gates     {registered['gates_passed']} passed, {registered['gates_failed']} failed, "
        f"{registered['gates_overridden']} overridden",
        *(f"          {name} overridden: {reason}" for name, reason in _overridden(registered)),
        *(f"          {name}: {reason}" for name, reason in registered["failed"].items()),
        f"Registry  {_version(registered, settings['register']['model_name'])}",
    ]
    if metrics["n_tight"]:
        lines.append(
            f"          {metrics['n_tight']:,} of {metrics['n']:,} test faces are tight crops, kept whole: what the "
            "service makes of them, the end-to-end figures say."
        )
    if metrics["n_unfound"]:
        lines.append(
            f"          In {metrics['n_unfound']:,} of {metrics['n']:,} test pictures no face was found: judged whole, "
            "where the service answers that there is no face."
        )
    if origin["synthetic"]:
        lines.append("          Rendered faces: these numbers say nothing about real people.")
    return lines


def _overridden(registered: dict[str, Any]) -> list[tuple[str, str]]:
    return [(gate["name"], gate["overridden"]) for gate in registered["gates"] if gate["overridden"]]


def _version(registered: dict[str, Any], model_name: str) -> str:
    if registered["version"] is None:
        return "no version: the candidate's run was logged with the reasons above"
    return f"{model_name} version {registered['version']}, alias {registered['alias']}"


def _next(layout: Layout, registered: dict[str, Any]) -> list[str]:
    version = registered["version"]
    lines = [f"Report    {layout.reports('evaluate') / 'report.html'}", "MLflow    make up"]
    if version is not None:
        lines += [f"Promote   make promote VERSION={version}", "Serve     make package && make serve"]
    return lines


def _interval(metric: dict[str, Any]) -> str:
    return f"{_percent(metric['value'])} ({_percent(metric['low'])} to {_percent(metric['high'])})"


def _percent(share: float | None) -> str:
    return "undefined" if share is None else f"{100 * share:.1f} %"


def _dvc(layout: Layout, *arguments: str, failed: str) -> None:
    command = [str(Path(sys.executable).with_name("dvc")), *arguments]
    if subprocess.run(command, cwd=layout.root, env=child_environment(), check=False).returncode != 0:
        raise FeropsError(failed)
