"""Serving without a champion: the starter stands in, says that it does, and never stands in a champion's way."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from ferops import cli, presets
from ferops.config import Params
from ferops.datasets.synthetic.generate import rows
from ferops.errors import FeropsError
from ferops.export.runtime import Classifier
from ferops.inference import answer
from ferops.layout import Layout
from ferops.model_config import ExportConfig, read_model_config
from ferops.orchestration.child import child_environment
from ferops.packaging import bento as packaging
from ferops.packaging.bento import bento_folder, packaged
from ferops.packaging.contents import copy_model
from ferops.packaging.reconcile import reconcile, to_serve
from ferops.records.metrics import Interval
from ferops.records.release import Release
from ferops.registry import promotion

ROOT = Path(__file__).parents[2]
JudgedMaker = Callable[..., Path]
Shell = Callable[[Path, str], str]


@pytest.fixture
def params(quick_params: Params) -> Params:
    return quick_params


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tags that were built; BentoML is played, its own part is in test_package.py."""
    tags: list[str] = []

    def build(layout: Layout, release: Release, model_folder: Path) -> None:
        folder = bento_folder(layout, release.tag)
        (folder / "src" / "service").mkdir(parents=True)
        (folder / "bento.yaml").touch()
        (folder / "src" / "service" / "run.py").touch()
        release.write(folder / "src" / "service" / "release.json")
        copy_model(model_folder, folder / "src" / "model", read_model_config(model_folder, ExportConfig))
        tags.append(release.tag)

    monkeypatch.setattr(packaging, "_build", build)
    return tags


@pytest.fixture
def fetched(clone: Layout, shipped: Path) -> Layout:
    """The clone with its starter/ in place."""
    shutil.copytree(shipped / "starter", clone.starter)
    return clone


def promote(monkeypatch: pytest.MonkeyPatch, holder: tuple[str, Path] | None) -> None:
    monkeypatch.setattr(promotion, "champion", lambda *_, **__: holder)


def starter_tag(layout: Layout) -> str:
    return f"ferops:starter-{layout.starter_dvc.read_text().split('md5: ')[1][:8]}"


def test_without_a_champion_the_starter_is_served_and_says_what_it_is(
    clone: Layout, params: Params, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(monkeypatch, None)
    said: list[str] = []
    tag = to_serve(clone, params, say=said.append)
    assert tag == starter_tag(clone)
    assert built == [tag]
    text = "\n".join(said)
    for words in (
        "alias champion yet",
        "starter model",
        "accuracy 75.1 (72.5 to 77.5) %",
        "Licence note",
        "make run, make promote",
    ):
        assert words in text

    source = bento_folder(clone, tag) / "src"
    release = Release.read(source / "service" / "release.json", made_by="ferops package")
    assert (release.tag, release.model_version, release.data_version) == (tag, "starter", "d" * 32)
    assert {path.name for path in (source / "model").iterdir()} == {
        "config.json",
        "model.onnx",
        "MODEL_CARD.md",
        "NOTICE",
    }
    info = answer.info(release=release, config=Classifier(source / "model").config)
    assert info.model_version == "starter"
    assert info.starter is not None
    assert info.starter.metrics.accuracy == Interval(value=0.7512, low=0.7249, high=0.7751)
    assert info.starter.summary in text
    assert info.starter.terms in text

    assert to_serve(clone, params, say=said.append) == tag
    assert built == [tag]  # not twice
    assert "nothing to do" in said[-1]


def test_a_champion_wins_over_the_starter(
    fetched: Layout, params: Params, built: list[str], make_judged: JudgedMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(monkeypatch, None)
    starter = to_serve(fetched, params, say=lambda _: None)
    promote(monkeypatch, ("1", make_judged(favours="sad") / "artifacts" / "export"))
    said: list[str] = []
    assert to_serve(fetched, params, say=said.append) == "ferops:v1"
    assert "starter" not in "\n".join(said)
    promote(monkeypatch, None)  # the alias was taken away: the former champion is not served
    assert to_serve(fetched, params, say=said.append) == starter
    assert built == [starter, "ferops:v1"]
    path = bento_folder(fetched, "ferops:v1") / "src" / "service" / "release.json"
    release = Release.read(path, made_by="ferops package")
    assert release.starter is None
    config = Classifier(bento_folder(fetched, "ferops:v1") / "src" / "model").config
    assert answer.info(release=release, config=config).starter is None


def test_a_schedule_without_a_champion_builds_no_starter(
    clone: Layout, params: Params, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(monkeypatch, None)
    assert "has the alias champion yet" in reconcile(clone, params)
    assert built == []
    assert packaged(clone) is None
    assert not clone.starter.exists()


def test_the_verb_starts_the_starter(fetched: Layout, built: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    promote(monkeypatch, None)
    presets.apply_preset(fetched, "quick")
    words: list[str] = []
    monkeypatch.setattr(os, "execve", lambda _path, command, _env: words.extend(command))
    monkeypatch.chdir(fetched.root)
    cli.models.serve(port=3999)
    assert starter_tag(fetched) in words
    assert built == [starter_tag(fetched)]


def test_a_fresh_clone_without_a_store_has_no_champion_and_gets_no_store(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert promotion.champion(Layout(tmp_path), params, tmp_path / "copy") is None
    assert list(tmp_path.iterdir()) == []  # a database would take seconds


def test_the_verb_goes_back_to_the_starter(
    fetched: Layout, built: list[str], monkeypatch: pytest.MonkeyPatch, make_judged: Any
) -> None:
    promote(monkeypatch, ("1", make_judged(favours="sad") / "artifacts" / "export"))
    presets.apply_preset(fetched, "quick")
    words: list[str] = []
    monkeypatch.setattr(os, "execve", lambda _path, command, _env: words.extend(command))
    monkeypatch.chdir(fetched.root)
    cli.models.serve(port=3999, starter=True)
    assert starter_tag(fetched) in words
    assert built == [starter_tag(fetched)]
    with pytest.raises(FeropsError, match="leave one out"):
        cli.models.serve(port=3999, starter=True, follow=True)


@pytest.mark.slow
def test_serve_at_once(clone: Layout, sh: Shell) -> None:
    """README, "Serve at once": a fresh clone answers a photo, and git sees no change."""
    shutil.copytree(ROOT / "service", clone.root / "service", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.lock", clone.root)
    presets.apply_preset(clone, "quick")
    sh(clone.root, "git add . && git commit -qm service")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = child_environment() | {"FEROPS_SERVICE_PORT": str(port)}
    variables.pop("MLFLOW_TRACKING_URI", None)
    log = clone.root.parent / "service.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("ferops"), "serve"], cwd=clone.root, env=variables, stdout=out, stderr=out
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
            info = _wait(http, process, log)
            assert (info["model_version"], info["tag"]) == ("starter", starter_tag(clone))
            photo = next(rows(seed=7))["image"]
            assert isinstance(photo, bytes)
            found = http.post("/predict", files={"image": ("face.jpg", photo)}).json()
            assert [face["label"] for face in found["faces"]] == ["happy"]
            assert found["model_version"] == "starter"
            assert 'class="banner starter"' in http.get("/").text
    finally:
        process.terminate()
        process.wait(timeout=20)
    assert info["starter"]["summary"] in log.read_text()
    assert sh(clone.root, "git status --porcelain") == ""


def _wait(http: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if http.get("/readyz").status_code == 200:
                info: dict[str, Any] = http.get("/info").json()
                return info
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(f"the service did not start:\n{log.read_text()[-3000:]}")
