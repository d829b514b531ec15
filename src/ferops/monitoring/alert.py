"""Telling somebody: a webhook, whose address is a secret and so comes from the environment."""

from __future__ import annotations

import os
from typing import Any

import requests

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.monitoring.monitor import note_alerted
from ferops.records.monitor import MonitorSummary, Window

VARIABLE = "FEROPS_ALERT_URL"
WITHIN_S = 15.0


def pending(summary: MonitorSummary) -> list[Window]:
    """Return the windows with drift that nobody has got an alert about."""
    return [each for each in summary.windows if each.word != "no" and not each.alerted]


def alert(layout: Layout, summary: MonitorSummary) -> str | None:
    """POST what drifted to the address in FEROPS_ALERT_URL; return what was done, None if there is nothing to do.

    The JSON has `text`, as chat systems want it, and `windows`. What was sent is noted; what failed is sent next time.

    Raises:
        FeropsError: the address did not take it. The message does not repeat the address.
    """
    windows, address = pending(summary), os.environ.get(VARIABLE)
    if not windows or not address:
        return None
    body: dict[str, Any] = {
        "text": text(windows),
        "windows": [each.model_dump(mode="json", exclude={"shifts"}) for each in windows],
    }
    try:
        requests.post(address, json=body, timeout=WITHIN_S).raise_for_status()
    except (requests.RequestException, ValueError) as error:  # its text may hold the address
        answer = getattr(error, "response", None)
        reason = type(error).__name__ if answer is None else f"status {answer.status_code}"
        raise FeropsError(
            f"the address in {VARIABLE} did not take the alert ({reason}). The next `ferops monitor` sends it again"
        ) from None
    note_alerted(layout)
    return f"alert sent about {len(windows)} windows"


def text(windows: list[Window]) -> str:
    """Return what people read: the newest windows, what drifted in each, and the estimated accuracy."""
    lines = [f"ferops: the traffic of {len(windows)} windows differs from the reference"]
    for each in windows[-5:]:
        accuracy = each.estimated_accuracy.value
        guess = "" if accuracy is None else f"; estimated accuracy {100 * accuracy:.1f} %"
        lines.append(f"version {each.version}, to {each.end:%Y-%m-%d %H:%M} UTC: {', '.join(each.drifted)}{guess}")
    return "\n".join(lines)
