"""reports/monitor: the page, the numbers for Prometheus, and the lines of `ferops monitor`."""

from __future__ import annotations

from collections.abc import Iterator

from ferops.drift.report import shift_groups
from ferops.files import atomic_folder, write_text
from ferops.layout import Layout
from ferops.monitoring.windows import KINDS
from ferops.pages import render
from ferops.records.metrics import Interval
from ferops.records.monitor import MonitorSummary, Window


def write_reports(layout: Layout, summary: MonitorSummary) -> None:
    """Write reports/monitor/{summary.json, index.html, ferops.prom}."""
    with atomic_folder(layout.reports("monitor")) as folder:
        summary.write(folder / "summary.json")
        write_text(folder / "index.html", page(summary))
        write_text(folder / "ferops.prom", metrics(summary))


def page(summary: MonitorSummary) -> str:
    newest = summary.windows[-1] if summary.windows else None
    return render(
        "ferops.monitoring",
        "report.html.j2",
        summary=summary,
        newest=newest,
        windows=summary.windows[::-1],
        groups=shift_groups(newest.shifts) if newest else [],
        kinds=KINDS,
    )


def metrics(summary: MonitorSummary) -> str:
    """Return the newest window as Prometheus's text format, for the textfile collector of its node_exporter."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()

    def gauge(name: str, text: str, value: float | None, **labels: str) -> None:
        if value is not None:
            one = gauges.get(name) or Gauge(f"ferops_monitor_{name}", text, list(labels), registry=registry)
            gauges[name] = one
            (one.labels(**labels) if labels else one).set(value)

    gauges: dict[str, Gauge] = {}
    drifted = sum(each.word != "no" for each in summary.windows)
    gauge("windows", "Windows of traffic in the summary", len(summary.windows))
    gauge("drifted_windows", "Those of them that differ from the reference", drifted)
    gauge("waiting_images", "Images that fill no window yet", summary.waiting)
    if summary.windows:
        newest = summary.windows[-1]
        gauge("window_end_seconds", "When the newest window ended, Unix time", newest.end.timestamp())
        gauge("drift", "Whether the newest window differs from the reference", float(newest.word != "no"))
        for shift in newest.shifts:
            kind = KINDS[shift.quantity]
            gauge("shift", "KS distance or stability index", shift.effect, quantity=shift.quantity, kind=kind)
            gauge("shift_q", "Adjusted p", shift.q, quantity=shift.quantity, kind=kind)
        gauge("estimated_accuracy", "Estimated without labels, 0-1", newest.estimated_accuracy.value)
        gauge("confidence", "Mean calibrated confidence, 0-1", newest.confidence)
        labelled = [each.realized_accuracy for each in summary.windows if each.realized_accuracy]
        if labelled:
            gauge("realized_accuracy", "Of the newest window with labels, 0-1", labelled[-1].value)
    return generate_latest(registry).decode()


def lines(summary: MonitorSummary, *, most: int = 10) -> Iterator[str]:
    """Yield what a person reads on the terminal: a line for each of the newest windows."""
    yield f"version {summary.version}, compared with {summary.reference} ({summary.reference_images} images)"
    if not summary.windows:
        yield f"  no window is full yet; {summary.waiting} images wait"
        return
    for each in summary.windows[-most:]:
        yield f"  {each.end:%Y-%m-%d %H:%M} UTC, {each.images} images: {_found(each)}"
    if summary.unreadable:
        yield f"  passed over, damaged: {', '.join(summary.unreadable)}"


def _found(window: Window) -> str:
    drift = f"DRIFT of {', '.join(window.drifted)}" if window.drifted else "no drift"
    text = f"{drift}; estimated accuracy {_percent(window.estimated_accuracy)}"
    if window.realized_accuracy is not None:
        text += f", realized {_percent(window.realized_accuracy)} of {window.labels} labelled"
    return text


def _percent(interval: Interval) -> str:
    return "unknown" if interval.value is None else f"{100 * interval.value:.1f} %"
