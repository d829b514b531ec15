"""Watches the service; `ferops monitor` does the same without a server. Drift is an event that automations can use."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event

from ferops.config import load_params
from ferops.layout import Layout
from ferops.local import stack
from ferops.monitoring import alert
from ferops.monitoring import monitor as monitoring
from ferops.monitoring.report import lines

DRIFT = "ferops.drift"


@flow(name="monitor")
def monitor(window: int = monitoring.WINDOW, reference: str = "") -> str:
    """Compare the new traffic of the service with its reference.

    Args:
        window: Images that are compared together.
        reference: File to compare with. Empty means what the version's evaluation left in the registry.
    """
    layout = Layout()
    stack.require_tracking_server(layout)
    params = load_params(layout.params_file)
    summary = monitoring.monitor(layout, params, window=window, reference=Path(reference) if reference else None)
    text = "\n".join(lines(summary))
    get_run_logger().info(text)
    create_markdown_artifact(key="monitor", markdown=f"```\n{text}\n```", description="reports/monitor/index.html")
    drifted = alert.pending(summary)
    if drifted:
        resource = {"prefect.resource.id": f"ferops.model.{params.registry.model_name}.{summary.version}"}
        quantities = sorted({name for each in drifted for name in each.drifted})
        emit_event(DRIFT, resource=resource, payload={"windows": len(drifted), "quantities": quantities})
        if alert.alert(layout, summary) is None:  # nobody to send it to: the event is said once, too
            monitoring.note_alerted(layout)
    return text


if __name__ == "__main__":
    monitor()
