"""The wheel stands alone: installed elsewhere, it makes a project, reads its stages and labels a face."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ferops import presets
from ferops.config import load_params
from ferops.layout import Layout
from ferops.orchestration.child import child_environment
from ferops.packaging.contents import OPTIONAL, required_contents
from ferops.starter import shipped
from served import served

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the wheel, built from a copy without the tests, is installed without its dependencies."""
    root = tmp_path_factory.mktemp("wheel")
    source = root / "source"
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ferops"]["project"]
    for name in (*listed, "src", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    subprocess.run([*pip, "wheel", *offline, "--no-build-isolation", "-w", str(root), str(source)], check=True)
    (wheel,) = root.glob("ferops-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "ferops/project/dvc.yaml" in names
    assert not [name for name in names if name.startswith(("tests", "docs", "ferops/project/src"))]
    subprocess.run([*pip, "install", *offline, "--target", str(root / "site"), str(wheel)], check=True)
    return root / "site"


def _ferops(installed: Path, folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ferops", *arguments],
        cwd=folder,
        env=child_environment() | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_from_init_to_a_label(installed: Path, tmp_path: Path) -> None:
    where = "import ferops; print(ferops.__file__)"
    environment = child_environment() | {"PYTHONPATH": str(installed)}
    found = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert Path(found.stdout.strip()).is_relative_to(installed)
    table = pq.read_table(installed / "ferops" / "project" / shipped.objects("data.dvc")[1], columns=["image"])
    (tmp_path / "photo.png").write_bytes(table["image"][0].as_py())
    header, face = _ferops(installed, tmp_path, "predict", "photo.png", "--csv", "-").splitlines()  # no project yet
    assert "p_happy" in header
    assert "no_face" not in face
    assert "next: cd mine; ferops learn" in _ferops(installed, tmp_path, "init", "mine")
    project = tmp_path / "mine"
    graph = subprocess.run(
        [sys.executable, "-m", "dvc", "dag"], cwd=project, env=environment, capture_output=True, text=True, check=True
    )
    assert "train@candidate" in graph.stdout
    again = _ferops(installed, project, "predict", "../photo.png", "--csv", "-").splitlines()
    assert again[1].partition(",")[2] == face.partition(",")[2]  # the same starter, by DVC


@pytest.mark.slow
def test_from_init_to_a_served_model(installed: Path, tmp_path: Path) -> None:
    """With fewer epochs than `quick` has: what its gates then say means little, so each is overridden."""
    _ferops(installed, tmp_path, "init", "mine", "--preset", "quick")
    project = tmp_path / "mine"
    layout = Layout(project)
    gates = load_params(layout.params_file).registry.gates
    presets.change(
        layout,
        {
            "models": {"baseline": {"epochs": 1}, "candidate": {"epochs": 2}},
            "export": {"max_disagreement": 1.0},
            "explain": {"map_faces": 20, "heat_faces": 10},
            "robustness": {"faces": 12},
            "fairness": {"pairs": 1, "images": 20},
            "register": {"overrides": dict.fromkeys(gates, "a test of the way, not of the model")},
        },
    )
    said = _ferops(installed, project, "run")
    assert "Registry  models:/ferops/1, alias challenger" in said
    _ferops(installed, project, "promote", "1")
    table = pq.read_table(next((project / "data").glob("*.parquet")), columns=["image"])
    command = [sys.executable, "-m", "ferops", "serve"]
    environment = child_environment() | {"PYTHONPATH": str(installed)}
    with served(command, environment, folder=project, log=tmp_path / "serve.log") as client:
        about = client.get("/info").json()
        found = client.post("/predict", files={"image": ("photo.png", table["image"][0].as_py(), "image/png")})
    assert about["model_version"] == "1"
    assert found.status_code == 200
    (face,) = found.json()["faces"]
    assert sum(face["probabilities"].values()) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.slow
def test_predict_needs_no_extra(installed: Path, tmp_path: Path) -> None:
    """With `pip install ferops` alone: an image, tables of both kinds, and the image with the face drawn in."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    allowed = {"ferops"} | _with_theirs([Requirement(line).name for line in project["dependencies"]])
    table = pq.read_table(installed / "ferops" / "project" / shipped.objects("data.dvc")[1], columns=["image"])
    (tmp_path / "photo.png").write_bytes(table["image"][0].as_py())
    absent = {
        top
        for top, owners in packages_distributions().items()
        if not allowed & {canonicalize_name(owner) for owner in owners}
    }
    assert {"torch", "bentoml", "dvc", "mlflow", "prefect", "sklearn"} <= absent
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent!r}))\n"  # None: there is no such module
        "from ferops.cli import app\n"
        "app(['predict', 'photo.png', '--csv', '-', '--parquet', 'faces.parquet', '--annotated', 'drawn'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=child_environment() | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith("photo.png,")
    assert pq.read_table(tmp_path / "faces.parquet").num_rows == 1
    assert (tmp_path / "drawn" / "photo.png").exists()


def _with_theirs(names: list[str]) -> set[str]:
    """Return the packages and those that they need, without extras."""
    found: set[str] = set()
    waiting = [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for line in requires(name) or ():
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(wanted.name))
    return found


def test_the_extra_serve_brings_what_the_service_imports() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = project["dependencies"] + project["optional-dependencies"]["serve"]
    brought = _with_theirs([Requirement(line).name for line in asked])
    assert not {"torch", "prefect", "timm"} & brought
    owners = packages_distributions()
    modules = {name.partition(".")[0] for name in required_contents(ROOT / "service", detector="mtcnn").imported}
    missing = {
        module for module in modules - OPTIONAL if not brought & {canonicalize_name(name) for name in owners[module]}
    }
    assert not missing
