"""`ferops rollout`: the versions beside the champion, by the log of the service."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.monitoring.accuracy import realized
from ferops.monitoring.traffic import PATTERN as TRAFFIC
from ferops.records.metrics import Interval
from ferops.records.rollout import Answered, Compared, ComparedWindow, Disagreement, RolloutReport
from ferops.rollout.shadow import PATTERN, PairRow

WINDOW = 500
"""Images, as `ferops monitor` has them."""


def rollout(layout: Layout, params: Params, *, window: int = WINDOW, traffic: Path | None = None) -> RolloutReport:
    """Return how the shadow and the canary that ran last compare with the champion beside which they ran.

    Args:
        window: images of a window.
        traffic: folder of the log; by default `serve.log_dir`.

    Raises:
        FeropsError: the service keeps no log, or it is empty.
    """
    if traffic is None:
        if params.serve.log_dir is None:
            raise FeropsError(
                "the service keeps no log: serve.log_dir is null. Name a folder there, such as traffic, and start "
                "ferops serve --follow again; or name another service's: ferops rollout --traffic FOLDER"
            )
        traffic = layout.root / params.serve.log_dir
    pairs = _read(traffic, PATTERN, list(PairRow._fields))
    answers = _read(traffic, TRAFFIC, ["time", "model_version", "role", "status", "face", "confidence", "latency_ms",
                                       "client_hash"])  # fmt: skip
    if pairs is None and answers is None:
        raise FeropsError(f"{traffic} holds no traffic. Start ferops serve --follow with serve.log_dir, and use it")
    canary, champion = _canary(answers) if answers is not None else (None, None)
    return RolloutReport(
        shadow=_compared(pairs, size=window) if pairs is not None else None, canary=canary, champion=champion
    )


def _read(folder: Path, pattern: str, columns: list[str]) -> pd.DataFrame | None:
    """Return the rows of all files, by time; None without any. A file that its service is replacing is passed over."""
    frames = []
    for file in sorted(folder.glob(pattern)):
        try:
            frame = pq.read_table(file, columns=columns).to_pandas()
        except FileNotFoundError:  # the service has removed its oldest
            continue
        except (pa.ArrowException, OSError) as error:
            raise FeropsError(f"{file} is damaged. Remove it, and ask again") from error
        if set(columns) <= set(frame.columns):  # not those from before there were canaries
            frames.append(frame)
    if not any(len(frame) for frame in frames):
        return None
    rows: pd.DataFrame = pd.concat(frames, ignore_index=True)
    return rows.sort_values("time", kind="stable", ignore_index=True)


def _compared(pairs: pd.DataFrame, *, size: int) -> Compared:
    last = pairs.iloc[-1]
    same = (pairs["champion_version"] == last["champion_version"]) & (pairs["shadow_version"] == last["shadow_version"])
    # An image's preferred face comes first, and its other faces are not independent of that
    images = pairs[same].drop_duplicates(["time", "path", "champion_ms"])
    both = images[images["outcome"] == "compared"]
    faces = both[both["champion_label"].notna()]
    return Compared(
        champion=str(last["champion_version"]),
        shadow=str(last["shadow_version"]),
        whole=_window(both) if len(both) else None,
        windows=tuple(_window(both.iloc[start : start + size]) for start in range(0, len(both), size)),
        dropped=int((images["outcome"] == "dropped").sum()),
        failed=int((images["outcome"] == "failed").sum()),
        missed=int(faces["shadow_label"].isna().sum()),
        extra=int((both["champion_label"].isna() & both["shadow_label"].notna()).sum()),
        by_label=_by_label(faces),
        champion_ms=_middle_and_high(both["champion_ms"]),
        shadow_ms=_middle_and_high(both["shadow_ms"]),
    )


def _window(both: pd.DataFrame) -> ComparedWindow:
    faces = both[both["champion_label"].notna()]
    difference = (faces["champion_confidence"] - faces["shadow_confidence"]).abs().dropna()
    return ComparedWindow(
        start=both["time"].iloc[0].to_pydatetime(),
        end=both["time"].iloc[-1].to_pydatetime(),
        images=len(both),
        faces=len(faces),
        agreement=realized(_agree(faces).to_numpy(bool)),
        status_agreement=float((both["champion_status"] == both["shadow_status"]).mean()),
        confidence_difference=float(difference.mean()) if len(difference) else None,
    )


def _agree(faces: pd.DataFrame) -> pd.Series[bool]:
    return (faces["champion_label"] == faces["shadow_label"]).fillna(False)


def _by_label(faces: pd.DataFrame) -> tuple[Disagreement, ...]:
    found = []
    for label, group in faces.groupby("champion_label"):
        others = group["shadow_label"][~_agree(group)].dropna()
        found.append(
            Disagreement(
                label=str(label),
                faces=len(group),
                agreement=float(_agree(group).mean()),
                mostly=str(others.mode().iloc[0]) if len(others) else None,
            )
        )
    return tuple(sorted(found, key=lambda each: (each.agreement, each.label)))


def _canary(answers: pd.DataFrame) -> tuple[Answered, Answered] | tuple[None, None]:
    """Return what the canary that ran last answered, and the champion beside it."""
    by_canary = answers[answers["role"] == "canary"]
    if by_canary.empty:
        return None, None
    mine = by_canary[by_canary["model_version"] == by_canary["model_version"].iloc[-1]]
    meanwhile = answers[answers["time"].between(mine["time"].iloc[0], mine["time"].iloc[-1])]
    theirs = meanwhile[meanwhile["role"] == "champion"]
    if theirs.empty:
        return None, None
    return _answered(mine), _answered(theirs[theirs["model_version"] == theirs["model_version"].iloc[-1]])


def _answered(rows: pd.DataFrame) -> Answered:
    images = rows[rows["face"] <= 1]
    confidence = images["confidence"].dropna()
    clients = images["client_hash"].dropna()
    return Answered(
        version=str(images["model_version"].iloc[-1]),
        images=len(images),
        clients=clients.nunique() if len(clients) else None,
        no_face=float((images["status"] == "no_face").mean()),
        low_confidence=float((images["status"] == "low_confidence").mean()),
        confidence=_mean(confidence.to_numpy(np.float64)),
        latency_ms=_middle_and_high(images["latency_ms"]),
    )


def _mean(values: Any) -> Interval | None:
    """Return the mean with the 95 % interval of its normal approximation; None without values."""
    if len(values) == 0:
        return None
    middle = float(values.mean())
    error = 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else None
    if error is None:
        return Interval(value=middle, low=None, high=None, reason="one face")
    return Interval(value=middle, low=middle - error, high=middle + error)


def _middle_and_high(values: pd.Series[float]) -> tuple[float, float] | None:
    """Return the median and the 95th percentile; None without values."""
    if values.empty:
        return None
    return (round(float(values.quantile(0.5)), 2), round(float(values.quantile(0.95)), 2))


def lines(report: RolloutReport, *, most: int = 10) -> Iterator[str]:
    """Yield what a person reads on the terminal."""
    if report.shadow is None:
        yield "shadow: none has run. ferops promote VERSION --as shadow"
    else:
        yield from _shadow_lines(report.shadow, most=most)
    if report.canary is None or report.champion is None:
        yield "canary: none has answered anybody. ferops promote VERSION --as canary"
        return
    yield f"canary: version {report.canary.version} beside version {report.champion.version}"
    for who, each in (("canary", report.canary), ("champion", report.champion)):
        clients = f" of {each.clients} clients" if each.clients is not None else ""
        confidence = _interval(each.confidence, 1, "{:.3f}") if each.confidence else "unknown, no face"
        yield (
            f"  {who:<8}  {each.images:,} images{clients}; mean confidence {confidence}; "
            f"{100 * each.no_face:.1f} % without a face, {100 * each.low_confidence:.1f} % for a person; "
            f"latency {_times(each.latency_ms)}"
        )


def _shadow_lines(found: Compared, *, most: int) -> Iterator[str]:
    whole = found.whole
    yield f"shadow: version {found.shadow} beside version {found.champion}"
    left = [f"{found.dropped:,} dropped" * bool(found.dropped), f"{found.failed:,} failed" * bool(found.failed)]
    compared = f"  {whole.images if whole else 0:,} images compared"
    when = f", {whole.start:%Y-%m-%d %H:%M} to {whole.end:%Y-%m-%d %H:%M} UTC" if whole else ""
    yield ", ".join([compared, *filter(None, left)]) + when
    if whole is None:
        return
    if whole.agreement is None:
        yield "  the champion found no face in them"
        return
    yield f"  the shadow agrees in {_interval(whole.agreement, 100, '{:.1f}', ' %')} of {whole.faces:,} faces"
    yield from (f"  it differs most in {text}" for text in _worst(found.by_label))
    difference = "unknown" if whole.confidence_difference is None else f"{whole.confidence_difference:.3f}"
    same = f"{100 * whole.status_agreement:.1f} %"
    yield f"  mean absolute difference of the confidence {difference}; same status in {same} of the images"
    if found.missed or found.extra:
        yield f"  faces that it missed: {found.missed:,}; that it alone found: {found.extra:,}"
    yield (
        f"  work on an image: {_times(found.shadow_ms)} at the lowest priority; the champion's "
        f"{_times(found.champion_ms)}"
    )
    if len(found.windows) > 1:
        for each in found.windows[-most:]:
            agreement = "no face" if each.agreement is None else _interval(each.agreement, 100, "{:.1f}", " %")
            yield f"  {each.end:%Y-%m-%d %H:%M} UTC, {each.images} images: {agreement}"


def _worst(labels: Sequence[Disagreement]) -> Iterator[str]:
    worst = labels[0]
    if worst.agreement < 1:
        instead = f", which it calls {worst.mostly} instead" if worst.mostly else ", which it does not find"
        yield f"{worst.label}: {100 * worst.agreement:.1f} % of {worst.faces:,} agree{instead}"


def _times(times: tuple[float, float] | None) -> str:
    return "unknown" if times is None else f"p50 {times[0]:.0f} ms, p95 {times[1]:.0f} ms"


def _interval(found: Interval, scale: float, form: str, unit: str = "") -> str:
    assert found.value is not None  # none is made without a value
    text = form.format(scale * found.value) + unit
    if found.low is None or found.high is None:
        return text
    return f"{text} ({form.format(scale * found.low)} to {form.format(scale * found.high)})"
