"""deploy/prefect fits Prefect: its own code takes the template and the deployments, and makes the jobs of them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import ValidationError
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prefect"
WORKER = ("prefect-kubernetes==0.8.0", "kubernetes-asyncio", "kopf", "tenacity", "pyopenssl")
VALIDATOR = "kubernetes-validate==1.37.0"

JOBS = """
import asyncio, json, sys
from uuid import uuid4
from prefect.client.schemas import FlowRun
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration as Configuration
template, values = json.load(sys.stdin)
for each in values:
    made = asyncio.run(Configuration.from_template_and_values(template, each))
    made.prepare_for_flow_run(FlowRun(id=uuid4(), flow_id=uuid4(), name="a-run"))
    print(json.dumps(made.job_manifest))
"""


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return dict(json.loads((FOLDER / "kubernetes.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def deployments() -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load((FOLDER / "prefect.yaml").read_text(encoding="utf-8"))["deployments"])


def test_prefect_takes_the_template(template: dict[str, Any]) -> None:
    from prefect.server.schemas.actions import WorkPoolCreate

    WorkPoolCreate(name="kubernetes", type="kubernetes", base_job_template=template)
    damaged = deepcopy(template)
    del damaged["variables"]["properties"]["image"]  # what the manifest asks for must be there
    with pytest.raises(ValueError, match="image"):
        WorkPoolCreate(name="kubernetes", type="kubernetes", base_job_template=damaged)


def test_the_template_asks_for_nothing_that_the_worker_does_not_know(template: dict[str, Any]) -> None:
    """Prefect brings the worker's own template, without the worker."""
    import prefect

    [found] = Path(prefect.__file__).parent.rglob("aggregate-worker-metadata.json")
    known = json.loads(found.read_text())["prefect-kubernetes"]["kubernetes"]["default_base_job_configuration"]
    assert set(template["job_configuration"]) <= set(known["job_configuration"])


def test_prefect_takes_the_deployments(template: dict[str, Any], deployments: list[dict[str, Any]]) -> None:
    from prefect.client.schemas.actions import DeploymentCreate
    from prefect.flows import load_flow_from_entrypoint

    names = set()
    for each in deployments:
        flow = load_flow_from_entrypoint(str(ROOT / each["entrypoint"]), use_placeholder_flow=False)
        names.add(f"{flow.name}/{each['name']}")
        variables = each["work_pool"].get("job_variables", {})
        made = DeploymentCreate(name=each["name"], flow_id="0" * 32, job_variables=variables)  # type: ignore[arg-type]
        made.check_valid_configuration(template)
        assert set(variables) <= set(template["variables"]["properties"]), "Prefect lets misspelt ones pass"
        assert each["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    assert names == {"pipeline/kubernetes", "pipeline/gpu", "package/kubernetes"}
    wrong = DeploymentCreate(name="any", flow_id="0" * 32, job_variables={"gpus": "one"})  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="one"):
        wrong.check_valid_configuration(template)


def test_the_job_has_a_gpu_where_it_asks_for_one_and_the_project(
    template: dict[str, Any], deployments: list[dict[str, Any]]
) -> None:
    from prefect.workers.base import BaseJobConfiguration

    class Configuration(BaseJobConfiguration):
        job_manifest: dict[str, Any]

    def job(variables: dict[str, Any]) -> dict[str, Any]:
        made = asyncio.run(Configuration.from_template_and_values(template, variables))
        return dict(made.job_manifest["spec"]["template"]["spec"])

    jobs = {
        each["work_pool"]["work_queue_name"]: job(each["work_pool"].get("job_variables", {})) for each in deployments
    }
    limits = {queue: spec["containers"][0]["resources"]["limits"] for queue, spec in jobs.items()}
    assert limits["gpu"]["nvidia.com/gpu"] == 1
    assert "nvidia.com/gpu" not in limits["cpu"]
    [pull] = YAML(typ="safe").load((FOLDER / "prefect.yaml").read_text(encoding="utf-8"))["pull"]
    [container] = jobs["gpu"]["containers"]
    folder = pull["prefect.deployments.steps.set_working_directory"]["directory"]
    assert folder in [each["mountPath"] for each in container["volumeMounts"]]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert jobs["gpu"]["securityContext"]["runAsNonRoot"]


@pytest.mark.slow
def test_the_worker_makes_jobs_that_kubernetes_takes(
    template: dict[str, Any], deployments: list[dict[str, Any]], tmp_path: Path
) -> None:
    worker, validator = tmp_path / "worker", tmp_path / "validator"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target"]
    subprocess.run([*pip, str(validator), VALIDATOR], check=True)
    # Beside the Prefect that is installed, not with another one
    subprocess.run([*pip, str(worker), "--no-deps", WORKER[0]], check=True)
    subprocess.run([*pip, str(worker), *WORKER[1:]], check=True)
    values = [each["work_pool"].get("job_variables", {}) for each in deployments]
    variables = os.environ | {"PREFECT_HOME": str(tmp_path / "home"), "PREFECT_API_URL": "http://prefect:4200/api"}
    made = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", JOBS],
        env=variables | {"PYTHONPATH": str(worker)},
        input=json.dumps([template, values]),
        text=True,
        capture_output=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    jobs = made.stdout.splitlines()
    assert len(jobs) == len(deployments)
    for number, job in enumerate(jobs):
        manifest = json.loads(job)
        spec = manifest["spec"]["template"]["spec"]
        [container] = spec["containers"]
        assert container["args"] == ["prefect", "flow-run", "execute"]
        file = tmp_path / f"job-{number}.json"
        # The worker wants them there, where Kubernetes, which has them one level up, drops them: both mean 1
        assert (spec.pop("parallelism"), spec.pop("completions")) == (1, 1)
        file.write_text(json.dumps(manifest))
        command = [sys.executable, "-m", "kubernetes_validate", "--strict", "--quiet", str(file)]
        checked = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": str(validator)}, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
