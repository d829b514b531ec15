"""What `ferops up` asks the Prefect server itself; Prefect's own client takes a second to import."""

from __future__ import annotations

import json
import urllib.request
from datetime import datetime
from typing import Any

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.local import access
from ferops.local.ports import Ports

WORK_POOL = "local"


def worker_polls(layout: Layout, ports: Ports, *, since_s: float) -> bool:
    try:
        workers = ask(layout, ports, f"work_pools/{WORK_POOL}/workers/filter", {})
    except FeropsError:
        return False  # a loaded machine; the caller asks again
    beats = [datetime.fromisoformat(worker["last_heartbeat_time"]).timestamp() for worker in workers]
    return any(beat >= since_s for beat in beats)  # an earlier start of the stack left its worker in the list


def end_orphans(layout: Layout, ports: Ports) -> None:
    """Mark runs that an earlier worker left unfinished as crashed: they would hold the one slot of `pipeline` for ever.

    Called before the worker starts, when nothing of the work pool can be running.
    """
    unfinished = {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}}
    here = {"name": {"any_": [WORK_POOL]}}
    for run in ask(layout, ports, "flow_runs/filter", {"flow_runs": unfinished, "work_pools": here}):
        state = {"type": "CRASHED", "message": "The stack was stopped during this run"}
        ask(layout, ports, f"flow_runs/{run['id']}/set_state", {"state": state})


def ask(layout: Layout, ports: Ports, path: str, body: dict[str, Any]) -> Any:
    """POST to the Prefect API, which must be up; return the JSON answer. FeropsError if there is none."""
    request = urllib.request.Request(
        f"{ports.prefect_url}/api/{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Authorization": access.authorization(layout, "prefect")},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as reply:
            return json.load(reply)
    except OSError as error:  # URLError, HTTPError and TimeoutError are OSErrors
        raise FeropsError(f"the Prefect server gave no answer to {request.full_url}: {error}") from error
