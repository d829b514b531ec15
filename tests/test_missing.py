"""An installation without an extra says which one is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ferops.missing import remedy


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("torch.nn", "torch", "train"),
        ("great_expectations", "great-expectations", "train"),
        ("sklearn.manifold", "scikit-learn", "train"),
        ("onnx", "onnx", "train"),
        ("bentoml", "bentoml", "serve"),
        ("dvc.repo", "dvc", "serve"),
        ("grpc_health", "grpcio-health-checking", "serve"),
        ("mlflow", "mlflow", "serve"),
    ],
)
def test_it_names_package_and_extra(module: str, package: str, extra: str) -> None:
    told = remedy(ModuleNotFoundError(f"No module named {module!r}", name=module))
    assert told
    assert told.startswith(f"this needs {package}, which is not installed: pip install 'ferops[{extra}]'")


@pytest.mark.parametrize("module", ["numpy", "no_such_module", "ferops.no_such_module", None])
def test_what_no_extra_brings_has_no_remedy(module: str | None) -> None:
    assert remedy(ModuleNotFoundError("No module", name=module)) is None


def test_a_verb_that_lacks_its_extra_is_one_line(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch': raise ModuleNotFoundError('No module named torch', name='torch')\n"
        "sys.meta_path.insert(0, Absent())\n"
        "sys.argv = ['ferops', 'run']\n"
        "from ferops.cli import main\n"
        "main()"
    )
    (tmp_path / "params.yaml").write_text("preset: quick\n", encoding="utf-8")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "ferops: this needs torch, which is not installed: pip install 'ferops[train]' (docs/predict.md)"
    )
