"""The pages that `ferops up` links ask nobody but this machine, which a real browser shows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ferops.layout import Layout
from ferops.local import stack
from ferops.registry.connection import connect, experiment_id
from stacks import free_ports, small_project

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def hosts_asked_by(page: str, scratch: Path) -> set[str]:
    """Return the hosts that a page asks while the browser shows it; what the browser itself asks does not count."""
    log = scratch / "network.json"
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        f"--user-data-dir={scratch}/profile",
    ]
    subprocess.run(
        [str(CHROMIUM), *options, f"--log-net-log={log}", "--virtual-time-budget=15000", "--dump-dom", page],
        check=True,
        capture_output=True,
        timeout=120,
    )
    text = log.read_text(encoding="utf-8", errors="replace")
    events = [json.loads(line.rstrip(",")) for line in text.splitlines() if line.startswith('{"params":{')]
    requests = [each["params"] for each in events if "initiator" in each["params"] and "url" in each["params"]]
    of_page = [each["url"] for each in requests if str(each["initiator"]).startswith("http")] + [page]
    return {str(urlsplit(url).hostname) for url in of_page}


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_linked_pages_ask_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(small_project(tmp_path))
    monkeypatch.chdir(layout.root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    experiment = experiment_id(connect(layout))
    try:
        text = stack.up(layout, free_ports())
        prefect, mlflow = re.findall(r"^  (?:Prefect|MLflow) +(\S+)$", text, re.MULTILINE)
        assert mlflow.endswith(f"/#/experiments/{experiment}/runs")
        for number, page in enumerate((prefect, f"{prefect}/runs", f"{prefect}/deployments", mlflow)):
            scratch = tmp_path / str(number)
            scratch.mkdir()
            assert hosts_asked_by(page, scratch) == {"127.0.0.1"}, page
    finally:
        stack.down(layout)
