"""What the profile `team` of compose.yaml mounts: made once, read by ferops, and by each program's own checker."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ferops.layout import Layout
from ferops.local import team

ROOT = Path(__file__).parents[2]
TEAM = ROOT / "deploy" / "team"
COMPOSE = YAML(typ="safe").load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
SERVICES = {name: service for name, service in COMPOSE.items() if "team" in service.get("profiles", [])}


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    runpy.run_path(str(TEAM / "prepare.py"))["main"](tmp_path)
    return tmp_path


def test_what_is_prepared_fits_together_and_stays(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*team.SECRETS, "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    files = {file: file.read_bytes() for file in prepared.rglob("*") if file.is_file()}
    assert len(files) == 6
    for path in (prepared / ".ferops").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    stores = team.read_stores(Layout(prepared))
    assert stores.databases is not None
    variables = dict(
        line.split("=") for line in (prepared / ".ferops/containers/postgres.env").read_text().splitlines()
    )
    for name in team.DATABASES:
        assert team.database_url(name, stores.databases[name]).password == variables[f"{name.upper()}_PASSWORD"]
    (identity,) = json.loads((prepared / ".ferops/containers/s3.json").read_text())["identities"]
    assert identity["credentials"] == [
        {"accessKey": stores.s3["AWS_ACCESS_KEY_ID"], "secretKey": stores.s3["AWS_SECRET_ACCESS_KEY"]}
    ]
    for port, service in ((5433, "postgres"), (8333, "s3")):
        (published,) = SERVICES[service]["ports"]
        assert str(port) in published

    again = runpy.run_path(str(TEAM / "prepare.py"))["main"]
    assert again(prepared) == []
    assert {file: file.read_bytes() for file in files} == files
    (prepared / ".ferops/containers/s3.json").unlink()
    with pytest.raises(SystemExit, match=r"s3\.json is missing"):
        again(prepared)


def test_every_mounted_file_exists(prepared: Path) -> None:
    for service in SERVICES.values():
        for volume in [*service["volumes"], *service.get("env_file", [])]:
            path = volume.partition(":")[0].removeprefix("./")
            assert (prepared / path if path.startswith(".ferops") else ROOT / path).exists(), path


def test_the_dashboard_is_of_metrics_that_the_service_has() -> None:
    board = json.loads((TEAM / "grafana/dashboards/ferops.json").read_text())
    assert board == runpy.run_path(str(TEAM / "dashboard.py"))["dashboard"]()
    rules = YAML(typ="safe").load((TEAM / "rules.yml").read_text())["groups"][0]["rules"]
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked = set(re.findall(r"\b(?:ferops|bentoml)_\w+", " ".join([*queries, *(rule["expr"] for rule in rules)])))
    assert asked
    ends = {"Counter": ("_total",), "Histogram": ("_sum", "_count", "_bucket")}
    made = re.findall(r'(Counter|Histogram)\(\s*"(\w+)"', (ROOT / "service" / "counters.py").read_text())
    own = {f"{name}{end}" for kind, name in made for end in ends[kind]}
    assert "ferops_images_total" in own
    bento = {"total", "duration_seconds_bucket", "in_progress"}  # as tests/service reads them from a running service
    theirs = {f"bentoml_service_request_{each}" for each in bento} | {"bentoml_service_last_request_timestamp_seconds"}
    assert asked <= own | theirs


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    return found or pytest.skip(f"needs {name} (Debian)")


def test_prometheus_takes_its_files_and_the_dashboard_s_queries(tmp_path: Path) -> None:
    promtool = _program("promtool")
    board = json.loads((TEAM / "grafana/dashboards/ferops.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    rules = [{"record": f"dashboard:{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "queries.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    for command in (
        ["check", "config", "--syntax-only", str(TEAM / "prometheus.yml")],
        ["check", "rules", str(TEAM / "rules.yml"), str(tmp_path / "queries.yml")],
    ):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_nginx_takes_its_file(prepared: Path) -> None:
    nginx = _program("nginx")
    text = (TEAM / "nginx.conf").read_text().replace("/tmp/", f"{prepared}/")
    (prepared / "nginx.conf").write_text(text.replace("/etc/nginx/tls", str(prepared / ".ferops/containers/tls")))
    command = [nginx, "-t", "-c", str(prepared / "nginx.conf"), "-e", "stderr"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_roles_get_their_own_passwords(tmp_path: Path) -> None:
    """The script with a `psql` that prints what it is asked."""
    (tmp_path / "psql").write_text('#!/bin/sh\necho "$@"; cat\n')
    (tmp_path / "psql").chmod(0o755)
    variables = {"PATH": f"{tmp_path}:/usr/bin:/bin", "POSTGRES_USER": "ferops"}
    variables |= {"PREFECT_PASSWORD": "of prefect", "MLFLOW_PASSWORD": "of mlflow"}
    done = subprocess.run(["sh", str(TEAM / "roles.sh")], env=variables, capture_output=True, text=True, check=True)
    for name in team.DATABASES:
        assert f"role={name} --set secret=of {name}" in done.stdout


def test_only_the_proxy_is_open() -> None:
    found: dict[str, Any] = {name: service.get("ports") for name, service in SERVICES.items()}
    assert found.pop("proxy") is None
    assert SERVICES["proxy"]["network_mode"] == "host"
    assert re.findall(r"listen (\S+)", (TEAM / "nginx.conf").read_text()) == ["8443"] * 5
    assert all(port.startswith("127.0.0.1:") for ports in found.values() for port in ports)
