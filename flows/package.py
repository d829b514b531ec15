"""Keeps the newest Bento in step with the alias `champion`; `ferops package` does the same without a server."""

from __future__ import annotations

from prefect import flow, get_run_logger

from ferops.config import load_params
from ferops.layout import Layout
from ferops.local import stack
from ferops.packaging.reconcile import reconcile


@flow(name="package")
def package() -> str:
    """Make sure that a Bento exists for the version which the alias `champion` points to."""
    layout = Layout()
    stack.require_tracking_server(layout)
    outcome = reconcile(layout, load_params(layout.params_file))
    get_run_logger().info(outcome)
    return outcome


if __name__ == "__main__":
    package()
