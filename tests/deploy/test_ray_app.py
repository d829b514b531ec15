"""What a replica of Ray Serve answers, without Ray: the app that it builds, around a small model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

import pytest
from starlette.testclient import TestClient

import service
from answers import release
from ferops.api_keys import ENVIRONMENT, add_key
from ferops.config import Params
from ferops.datasets.synthetic.generate import rows
from sample_images import noise_png

APP = Path(__file__).parents[2] / "deploy" / "ray" / "serve_app.py"


@pytest.fixture
def app(
    make_export: Callable[..., Path], quick_params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    """The module, with a Bento on the Python path and a Ray that only records."""
    (tmp_path / "model").symlink_to(make_export(favours="sad"))
    (tmp_path / "service").mkdir()
    release(quick_params.serve).write(tmp_path / "service" / "release.json")
    monkeypatch.setattr(service, "__file__", str(tmp_path / "service" / "__init__.py"))
    for name in ("ray", "ray.serve", "ray.serve.metrics"):
        monkeypatch.setitem(sys.modules, name, MagicMock())
    spec = spec_from_file_location("serve_app", APP)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_replica_answers_and_refuses_as_the_service_does(app: ModuleType) -> None:
    client = TestClient(app.web())
    answer = client.post("/predict", files={"image": next(rows(seed=7))["image"]}).json()  # type: ignore[dict-item]
    assert [face["label"] for face in answer["faces"]] == ["sad"]
    assert answer["model_version"] == "3"
    assert client.get("/readyz").status_code == 200
    assert client.get("/info").json()["tag"] == "ferops:v3"
    for content, code in ((b"no image", "not_an_image"), (noise_png(1)[:80], "damaged_image")):
        refused = client.post("/predict", content=content, headers={"content-type": "image/png"})
        assert refused.json()["code"] == code


def test_a_replica_asks_for_keys(app: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = add_key(tmp_path / "api_keys.txt", "clinic")
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "api_keys.txt"))
    client = TestClient(app.web())
    image = next(rows(seed=7))["image"]
    assert client.post("/predict", files={"image": image}).json()["code"] == "no_key"  # type: ignore[dict-item]
    answer = client.post("/predict", files={"image": image}, headers={"authorization": f"Bearer {key}"})  # type: ignore[dict-item]
    assert answer.status_code == 200
