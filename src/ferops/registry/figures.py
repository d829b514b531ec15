"""The figure that a gate judges: looked up by its path, alone or as a difference to a reference."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ferops.config import Reference, flatten
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.records import Provenance
from ferops.records.fairness import FairnessFigures, FairnessSummary
from ferops.records.robustness import RobustnessFigures, RobustnessSummary

PROBES: Mapping[str, type[RobustnessFigures] | type[FairnessFigures]] = {
    "robustness": RobustnessFigures,
    "fairness": FairnessFigures,
}
"""Stages beside `evaluate` whose flat figures a gate may read, by the path `<stage>.<figure>`."""

_SUMMARIES: Mapping[str, type[RobustnessSummary] | type[FairnessSummary]] = {
    "robustness": RobustnessSummary,
    "fairness": FairnessSummary,
}

Probes = Mapping[str, Mapping[str, Any]]
"""Stage -> its figures, by name; a stage that has not run is not in it."""


class UndefinedError(Exception):
    """The reason why there is no figure to judge."""


def read_probes(layout: Layout, judged: Provenance) -> Probes:
    """Return what the stages PROBES found.

    Raises:
        FeropsError: a file is damaged, or is about other data or another split than `judged`, that of metrics.json.
    """
    found = {}
    for stage, figures in PROBES.items():
        folder = layout.reports(stage)
        if not folder.exists():
            continue
        origin = _SUMMARIES[stage].read(folder / "summary.json", made_by=f"ferops {stage}").provenance
        if (origin.data_version, origin.split_hash) != (judged.data_version, judged.split_hash):
            raise FeropsError(
                f"reports/{stage} is about the split {origin.split_hash} of the data {origin.data_version}, and the "
                f"evaluation about the split {judged.split_hash} of {judged.data_version}. Make it again: dvc repro"
            )
        found[stage] = figures.read(folder / "metrics.json", made_by=f"ferops {stage}").model_dump()
    return found


def figure_of(
    path: str,
    reference: Reference,
    tree: Mapping[str, Any],
    *,
    probes: Probes,
    worst: Callable[[Iterable[float]], float],
) -> float:
    """Return the figure at `path`, as `ferops.config.Rule` says what it means with this reference.

    Args:
        tree: metrics.json.
        probes: what the stages PROBES found.
        worst: min or max, which of the slices counts.

    Raises:
        UndefinedError: the path leads nowhere, or to what is not a finite number; or there is nothing to compare with.
    """
    stage, _, name = path.partition(".")
    if stage in PROBES:
        return _probed(stage, name, reference, probes)
    if reference == "absolute":
        return _look_up(tree, path)
    if reference == "chance":
        chance = [_look_up(tree, f"chance.{name}") for name in ("accuracy", "uniform_accuracy")]
        return _look_up(tree, f"candidate.{path}") - max(chance)
    if reference in ("baseline", "champion"):
        difference = f"candidate_minus_{reference}"
        if tree[difference] is None:
            raise UndefinedError(f"the {reference} shares too few classes with the candidate to be compared")
        return _look_up(tree, f"{difference}.{path}")
    whole = _look_up(tree, f"candidate.{path}")
    return worst(_of_slices(path, reference, tree, whole=whole))


def _probed(stage: str, name: str, reference: Reference, probes: Probes) -> float:
    if reference != "absolute":
        raise UndefinedError(f"figures of {stage} have no difference to a reference; set reference: absolute")
    if stage not in probes:
        raise UndefinedError(f"{stage} has not run, so there is no {name}. Run: ferops {stage}")
    return _look_up(probes[stage], name, file=f"reports/{stage}/metrics.json")


def _of_slices(path: str, kind: str, tree: Mapping[str, Any], *, whole: float) -> list[float]:
    """Return each slice's figure minus the whole's, of the slices with enough samples.

    A slice in which the detector found no face at all fails before any number: its accuracy is unknown.
    """
    one, many = {"people": ("group of people", "groups of people")}.get(kind, (kind, f"{kind}s"))
    slices = [each for each in tree["slices"] if each["kind"] == kind]
    if not slices:
        columns = " (group_* columns)" if kind == "people" else ""
        raise UndefinedError(f"the data describes no {many}{columns}, so none can be compared")
    for each in slices:
        if each["n"] == 0:
            raise UndefinedError(
                f"no face was found in any of the {each['n_no_face']} test images of {each['column']}={each['value']}"
            )
    large = [each for each in slices if not each["small"]]
    if not large:
        raise UndefinedError(f"every {one} has too few samples to judge")
    return [_look_up(each, path, origin=f"{each['column']}={each['value']} ") - whole for each in large]


def _look_up(tree: Mapping[str, Any], path: str, *, origin: str = "", file: str = "metrics.json") -> float:
    value: Any = tree
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            near = difflib.get_close_matches(path, flatten(tree), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UndefinedError(f"{file} has no {origin}{path}{hint}")
        value = value[key]
    if isinstance(value, Mapping):
        raise UndefinedError(f"{origin}{path} is no figure; name one of its {', '.join(value)}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UndefinedError(f"{origin}{path} is {value}, not a number")
    return float(value)
