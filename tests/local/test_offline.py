"""The pages that `ferops up` links ask nobody but this machine, which a real browser shows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from browser import CHROMIUM, browser, log_in
from ferops.local import stack
from ferops.registry.connection import connect, experiment_id
from stacks import Running


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_linked_pages_ask_nobody(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    experiment = experiment_id(connect(running.layout))
    text = stack.up(running.layout)
    prefect, mlflow = re.findall(r"^  (?:Prefect|MLflow) +(\S+)$", text, re.MULTILINE)
    assert mlflow.endswith(f"/#/experiments/{experiment}/runs")
    log = tmp_path / "network.json"
    with browser(tmp_path, f"--log-net-log={log}") as page:
        log_in(page, running)
        for url, shown in {
            f"{prefect}/dashboard": "Work Pools",
            f"{prefect}/runs": "Flow runs",
            f"{prefect}/deployments": "pipeline",
            mlflow: "ferops",
        }.items():
            page.open(url)
            page.wait_for(f"document.body.innerText.toLowerCase().includes({shown.lower()!r})")
        page.close()
    assert hosts_asked(log) == {"127.0.0.1"}


def hosts_asked(log: Path) -> set[str]:
    """Return the hosts that the pages asked; what the browser itself asks does not count."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()  # one event each, the last one maybe cut
    whole = [line.rstrip(",]") for line in lines if line.startswith('{"params":{') and line.endswith(("},", "}]"))]
    requests = [each for line in whole if "initiator" in (each := json.loads(line)["params"]) and "url" in each]
    return {str(urlsplit(each["url"]).hostname) for each in requests if str(each["initiator"]).startswith("http")}
