"""What makes containers says what it must, and the commands in them run, without a daemon."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ferops.datasets.synthetic.generate import rows
from ferops.layout import Layout
from ferops.local.state import status
from ferops.packaging.bento import bento_folder
from served import served
from stacks import free_ports, small_project

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")
COMPOSE = YAML(typ="safe").load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
READ_ONLY = """
mount --make-rprivate / && mount --bind / / && mount -o remount,bind,ro / && mount -t tmpfs tmpfs /tmp
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""


@pytest.mark.parametrize("name", COMPOSE)
def test_containers_are_closed(name: str) -> None:
    service: dict[str, Any] = COMPOSE[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert service.get("user") or name == "service"  # BentoML's image has a user of its own
    build = service.get("build", "")
    for path in (build if isinstance(build, str) else "", *service.get("volumes", [])):
        if not path.startswith("./.ferops/"):  # made by deploy/team/prepare.py
            assert (ROOT / path.partition(":")[0]).exists()


def test_the_image_is_made_of_the_locked_packages_and_what_git_has() -> None:
    made = (ROOT / "Makefile").read_text(encoding="utf-8")
    for option in ("--require-hashes --no-deps", "--require-hashes --no-deps --no-build-isolation"):
        assert f"{option} --requirement" in made
        assert f"{option} --requirement" in DOCKERFILE
    assert re.search(r"^USER [1-9]", DOCKERFILE, re.MULTILINE)
    sources = re.findall(r"^COPY (?!--from)(\S+)", DOCKERFILE, re.MULTILINE)
    assert [source for source in sources if not (ROOT / source).exists()] == []
    ignored = [line for line in (ROOT / ".dockerignore").read_text().split("\n") if line and line[0] != "#"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ferops"]["project"]
    for path in (*project, "src", "setup.py", "pyproject.toml"):
        assert [pattern for pattern in ignored if fnmatch(path, pattern)] == [], f"the build needs {path}"
    secret = subprocess.run(
        ["git", "check-ignore", ".ferops", "data", "starter"], cwd=ROOT, check=True, capture_output=True
    )
    assert set(secret.stdout.decode().split()) <= set(ignored)


def test_the_documented_commands_are_those_of_compose() -> None:
    page = " ".join(PAGE.replace("\\\n", " ").split())
    service = COMPOSE["service"]
    command = " ".join(service["command"])
    assert f"--workdir {service['working_dir']} ferops-service:v1 {command}" in page


@pytest.mark.slow
@pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0,
    reason="needs the right to make a mount namespace",
)
def test_the_service_needs_nothing_to_write_to_but_tmp(bentos: Layout, tmp_path: Path) -> None:
    """Its command of compose.yaml, on a read-only root with a temporary /tmp and without capabilities."""
    service = COMPOSE["service"]
    here = Path("/var/tmp") / f"ferops-container-{os.getpid()}"  # /tmp is another one for the service
    shutil.copytree(bento_folder(bentos, "ferops:v1"), here)
    try:
        command = [
            word.replace("/home/bentoml/bento", str(here)).replace("0.0.0.0", "127.0.0.1")
            for word in service["command"]
        ]
        command[0] = sys.executable
        folder = here / Path(service["working_dir"]).name
        variables = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **service["environment"]}
        isolated = ["unshare", "--mount", "bash", "-ec", READ_ONLY, "bash", *command]
        with served(isolated, variables, folder=folder, log=tmp_path / "service.log") as client:
            answer = client.post("/predict", files={"image": ("face.jpg", next(rows(seed=7))["image"])}).json()  # type: ignore[dict-item]
            assert [face["label"] for face in answer["faces"]] == ["happy"]
    finally:
        shutil.rmtree(here)


@pytest.mark.slow
def test_the_stack_comes_up_and_goes_down_by_the_signal_of_docker(tmp_path: Path) -> None:
    stack = COMPOSE["stack"]
    layout, ports = Layout(small_project(tmp_path)), free_ports()
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    variables |= {"FEROPS_PREFECT_PORT": str(ports.prefect), "FEROPS_MLFLOW_PORT": str(ports.mlflow)}
    # The image has `ferops` on its path; a test run by .venv/bin/pytest has not
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"
    with subprocess.Popen(
        [*stack["entrypoint"], *stack["command"]], cwd=layout.root, env=variables, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        said = next((line for line in process.stdout if line.startswith("The stack is")), "nothing")
        assert said == "The stack is up.\n"
        assert all(status(layout).values())
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert not any(status(layout).values())
