"""`ferops monitor`: new traffic in windows, each compared with the reference once, and what came of it for people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from filelock import FileLock

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.monitoring.accuracy import Estimator, realized
from ferops.monitoring.labels import read_labels
from ferops.monitoring.read import read_reference, read_traffic, reference_of
from ferops.monitoring.report import write_reports
from ferops.monitoring.windows import compare
from ferops.records.drift import Size
from ferops.records.monitor import MonitorSummary, Window

WINDOW = 500
"""Images; docs/monitoring.md says which shifts so many show."""
MIN_WINDOW = 50
KEPT = 100
"""Windows in the summary."""

_ORDER: list[Size] = ["no", "small", "large"]


def monitor(
    layout: Layout,
    params: Params,
    *,
    window: int = WINDOW,
    reference: Path | None = None,
    labels: Path | None = None,
    traffic: Path | None = None,
) -> MonitorSummary:
    """Compare the traffic of the version that served last with its reference, and write reports/monitor.

    Each run takes up where the last one ended; images that fill no window wait for the next.

    Args:
        window: images of a window.
        reference: as `read_reference` takes it; by default what the version's evaluation left in the registry.
        labels: as `read_labels` takes them; they count for earlier windows as well, as long as the log has these.
        traffic: folder of the log; by default `serve.log_dir`.

    Raises:
        FeropsError: there is no traffic, no reference, or a file is damaged.
    """
    if window < MIN_WINDOW:
        raise FeropsError(f"a window of {window} images is too small for the tests. Supported: {MIN_WINDOW} or more")
    frame, damaged = read_traffic(_folder(layout, params, traffic))
    frame = frame[frame["role"] == "champion"]  # a canary answers some clients only
    if frame.empty:
        raise FeropsError(
            "the log holds answers of canaries alone, and none of a champion. Use the service for a while"
        )
    version = str(frame["model_version"].iloc[-1])
    if reference is None:
        name, wanted = reference_of(layout, params, version)
    else:
        name, wanted = str(reference), read_reference(reference)
    layout.state.mkdir(exist_ok=True)
    with FileLock(layout.state / "monitor.lock"):
        known = _known(layout)
        ended = [each.end for each in known if each.version == version]
        fresh = frame[frame["model_version"] == version]
        if ended:
            fresh = fresh[fresh["time"] > max(ended)]
        windows = [*known, *_windows(fresh, wanted, version=version, size=window)]
        if labels is not None:
            windows = _labelled(windows, frame, read_labels(layout, labels))
        right = wanted["right"][wanted["answer"].notna()] if "right" in wanted else None
        summary = MonitorSummary(
            version=version,
            reference=name,
            reference_images=len(wanted),
            reference_accuracy=None if right is None else realized(right.to_numpy(bool)),
            waiting=len(fresh) % window,
            unreadable=damaged,
            windows=tuple(windows[-KEPT:]),
        )
        write_reports(layout, summary)
    return summary


def note_alerted(layout: Layout) -> None:
    """Note that somebody has got the alert about all drift so far."""
    with FileLock(layout.state / "monitor.lock"):
        summary = MonitorSummary.read(layout.summary("monitor"), made_by="ferops monitor")
        windows = tuple(each.model_copy(update={"alerted": each.word != "no"}) for each in summary.windows)
        summary.model_copy(update={"windows": windows}).write(layout.summary("monitor"))


def _folder(layout: Layout, params: Params, given: Path | None) -> Path:
    if given is not None:
        return given
    if params.serve.log_dir is None:
        raise FeropsError(
            "the service keeps no log: serve.log_dir is null. Name a folder there, such as traffic, and start the "
            "service again; or name another service's: ferops monitor --traffic FOLDER"
        )
    return layout.root / params.serve.log_dir


def _known(layout: Layout) -> tuple[Window, ...]:
    path = layout.summary("monitor")
    return MonitorSummary.read(path, made_by=f"rm {path}, then ferops monitor").windows if path.exists() else ()


def _windows(fresh: pd.DataFrame, reference: pd.DataFrame, *, version: str, size: int) -> Iterator[Window]:
    estimator = Estimator(reference)
    for start in range(0, len(fresh) - size + 1, size):
        images = fresh.iloc[start : start + size]
        faces = images[images["answer"].notna()]
        shifts = compare(reference, images)
        yield Window(
            version=version,
            start=images["time"].iloc[0].to_pydatetime(),
            end=images["time"].iloc[-1].to_pydatetime(),
            images=size,
            faces=len(faces),
            word=max((shift.word for shift in shifts), key=_ORDER.index),
            shifts=shifts,
            confidence=float(faces["confidence"].mean()) if len(faces) else None,
            estimated_accuracy=estimator.accuracy(faces["confidence"]),
        )


def _labelled(windows: list[Window], frame: pd.DataFrame, labels: pd.Series[str]) -> list[Window]:
    """Return `windows` with the accuracy of those images whose labels are there."""
    if frame["image_hash"].isna().all():
        raise FeropsError(
            "labels cannot be joined: the log has no hashes of the images. Set serve.log_hashes to true in params.yaml "
            "and build the Bento anew; then the images from then on can be"
        )
    frame = frame.assign(label=frame["image_hash"].map(labels))
    known = frame[frame["label"].notna() & frame["answer"].notna()]
    found = []
    for each in windows:
        inside = known[(known["model_version"] == each.version) & known["time"].between(each.start, each.end)]
        if len(inside):
            right = (inside["answer"] == inside["label"]).to_numpy(bool)
            each = each.model_copy(update={"labels": len(inside), "realized_accuracy": realized(right)})  # noqa: PLW2901
        found.append(each)
    return found
