"""The Bento in its own environment: only what its requirements.txt names, and no torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ferops.datasets.synthetic.generate import rows
from ferops.layout import Layout
from ferops.packaging.bento import bento_folder, bentoml_environment
from served import served

HEAVY = ("torch", "torchvision", "timm", "sklearn", "pandas", "ferops")


@pytest.mark.slow
def test_a_photo_is_answered_in_the_bentos_own_environment(bentos: Layout, tmp_path: Path) -> None:
    source = bento_folder(bentos, "ferops:v1") / "src"
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "-r", source / "requirements.txt"]
    subprocess.run(pip, check=True)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run([python, "-m", "pip", "check"], check=True, env=plain)
    size = subprocess.run(["du", "-sm", environment], check=True, capture_output=True, text=True).stdout.split()[0]
    print(f"\nThe Bento's environment: {size} MB")
    for module in HEAVY:
        done = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False, env=plain)
        assert done.returncode != 0, f"{module} can be imported"

    variables = bentoml_environment(bentos)
    variables = {name: value for name, value in variables.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    command = [str(python), "-m", "bentoml", "serve", "ferops:v1", "--host", "127.0.0.1"]
    photo = next(rows(seed=7))["image"]
    assert isinstance(photo, bytes)
    with served(command, variables, folder=bentos.root, log=tmp_path / "service.log") as client:
        answer = client.post("/predict", files={"image": ("face.jpg", photo)}).json()
        assert [face["label"] for face in answer["faces"]] == ["happy"]
        assert client.get("/info").json()["tag"] == "ferops:v1"
        assert client.get("/").status_code == 200
