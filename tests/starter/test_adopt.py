"""`ferops adopt`: what reaches the repository, what leaves it, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from embedded import contents, objects, of_folder
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file
from typer.main import get_command

from exports import export_config, provenance
from ferops import cli, uses
from ferops.classes import DEFAULT_CLASSES
from ferops.datasets.catalogue import SOURCES
from ferops.errors import FeropsError
from ferops.export.runtime import Classifier
from ferops.layout import Layout
from ferops.records.metrics import Interval
from ferops.starter.adopt import adopt, notice, remarks
from ferops.starter.folder import fetch

JudgedMaker = Callable[..., Path]
Shell = Callable[[Path, str], str]


@pytest.fixture
def project(bare: Path, tmp_path: Path) -> Layout:
    shutil.copytree(bare, tmp_path / "project")
    return Layout(tmp_path / "project")


def named(layout: Layout) -> str:
    return str(YAML(typ="safe").load(layout.starter_dvc.read_text())["outs"][0]["md5"])


def test_a_fresh_clone_has_the_adopted_model(clone: Layout, shipped: Path, sh: Shell) -> None:
    starter = fetch(clone)
    assert starter is not None
    found = contents(clone.starter)
    assert found == contents(shipped / "starter")
    assert set(found) == {
        "MODEL_CARD.md",
        "NOTICE",
        "config.json",
        "metrics.json",
        "model.onnx",  # the served file only
        "weights.safetensors",
    }
    assert b"favours happy" in found["MODEL_CARD.md"]
    figures = Interval(value=0.7512, low=0.7249, high=0.7751)
    assert (starter.metrics.accuracy, starter.metrics.test_images) == (figures, 1234)
    assert Classifier(clone.starter).config.classes == DEFAULT_CLASSES
    assert sh(clone.root, "git status --porcelain") == ""


def test_the_weights_come_along(shipped: Path) -> None:
    """Matrices in half precision; a norm's variance, which may be beyond its range, as it was."""
    weights = load_file(shipped / "starter" / "weights.safetensors")
    assert weights["backbone.fc.weight"].dtype == torch.float16
    assert torch.equal(weights["backbone.bn1.running_var"], torch.full((2,), 1e6))


def test_weights_beyond_half_precision_are_refused(project: Layout, make_judged: JudgedMaker) -> None:
    source = make_judged()
    save_file({"fc.weight": torch.full((6, 2), 1e6)}, Layout(source).model("candidate") / "weights.safetensors")
    with pytest.raises(FeropsError, match=r"weights beyond half precision \(65,504\)"):
        adopt(project, source)
    assert not project.starter.exists()


@pytest.mark.slow
def test_another_model_comes_beside_the_starter(
    project: Layout, make_judged: JudgedMaker, tmp_path: Path, sh: Shell
) -> None:
    adopt(project, make_judged(favours="happy"))
    said = adopt(project, make_judged(favours="sad"), "models/compared")
    assert "then: git add models/compared.dvc .dvc/embedded" in said[-1]
    sh(project.root, "git add . && git commit -qm models")
    assert sh(project.root, "git ls-files models starter").split() == ["models/compared.dvc"]
    sh(tmp_path, "git clone -q project elsewhere")
    elsewhere = tmp_path / "elsewhere"
    assert Layout(elsewhere).shipped_dvc == [elsewhere / "starter.dvc", elsewhere / "models" / "compared.dvc"]
    sh(elsewhere, "dvc pull -q models/compared.dvc")
    assert b"favours sad" in contents(elsewhere / "models" / "compared")["MODEL_CARD.md"]


def test_names_are_checked(project: Layout, make_judged: JudgedMaker) -> None:
    with pytest.raises(FeropsError, match=r"called starter or models/NAME, not '\.\./x'"):
        adopt(project, make_judged(), "../x")


def test_the_version_is_the_content(shipped: Path) -> None:
    """Recomputed as DVC 3 does it: the MD5 of the JSON list of the files' MD5s."""
    entries = [
        {"md5": hashlib.md5(data, usedforsecurity=False).hexdigest(), "relpath": name}
        for name, data in sorted(contents(shipped / "starter").items())
    ]
    digest = hashlib.md5(json.dumps(entries, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
    assert named(Layout(shipped)) == f"{digest}.dir"


@pytest.mark.slow
def test_the_former_starter_leaves_and_may_come_back(
    project: Layout, make_judged: JudgedMaker, tmp_path: Path, sh: Shell
) -> None:
    data = objects(project.root)
    happy, sad = make_judged(favours="happy"), make_judged(favours="sad")
    adopt(project, happy)
    first = of_folder(project.root, named(project))
    assert objects(project.root) == data | first

    said = adopt(project, sad)
    second = of_folder(project.root, named(project))
    assert len(first & second) == 4  # config.json, metrics.json, NOTICE and the weights are the same
    assert objects(project.root) == data | second
    assert f"removed from it: {len(first - second)}" in "\n".join(said)
    assert "warning:" not in "\n".join(said)

    adopt(project, happy)
    assert objects(project.root) == data | first
    sh(project.root, "git add . && git commit -qm starter")
    sh(tmp_path, "git clone -q project elsewhere")
    elsewhere = Layout(tmp_path / "elsewhere")
    fetch(elsewhere)
    assert contents(elsewhere.starter) == contents(project.starter)


def test_adopting_the_same_again_changes_nothing(shipped: Path, make_judged: JudgedMaker, sh: Shell) -> None:
    before = objects(shipped)
    adopt(Layout(shipped), make_judged(favours="happy"))
    assert objects(shipped) == before
    assert sh(shipped, "git status --porcelain") == ""


def test_a_starter_that_is_too_large_is_refused(project: Layout, make_judged: JudgedMaker) -> None:
    source, before = make_judged(), objects(project.root)
    (source / "reports" / "evaluate" / "model_card.md").write_text("x" * 12_000_000)
    with pytest.raises(FeropsError, match=r"12\.0 MB; at most 12 MB"):
        adopt(project, source)
    assert not project.starter.exists()
    assert not project.starter_dvc.exists()
    assert objects(project.root) == before


def test_the_card_of_another_model_is_refused(project: Layout, make_judged: JudgedMaker) -> None:
    source, other = make_judged(favours="happy"), make_judged(favours="sad")
    shutil.copy(other / "artifacts" / "evaluate" / "metrics.json", source / "artifacts" / "evaluate")
    with pytest.raises(FeropsError, match=r"about another model.*dvc repro evaluate"):
        adopt(project, source)
    assert not project.starter.exists()


@pytest.mark.parametrize("missing", ["artifacts/export", "artifacts/evaluate", "reports/evaluate"])
def test_what_is_missing_is_named(project: Layout, make_judged: JudgedMaker, missing: str) -> None:
    source = make_judged()
    shutil.rmtree(source / missing)
    with pytest.raises(FeropsError, match=missing):
        adopt(project, source)
    assert not project.starter.exists()


def test_a_push_that_fails_leaves_no_trace_in_git(project: Layout, make_judged: JudgedMaker, sh: Shell) -> None:
    (project.root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    sh(project.root, "git commit -qam 'no remote'")
    with pytest.raises(FeropsError, match=r"dvc push starter\.dvc failed"):
        adopt(project, make_judged())
    assert sh(project.root, "git status --porcelain") == ""


def test_what_should_not_be_published_is_remarked(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.starter.mkdir()
    trained = {"git_commit": f"{'c' * 40}-dirty", "params": {"weights": "/home/somebody/imagenet.safetensors"}}
    (layout.starter / "config.json").write_text(json.dumps({"provenance": trained}))
    (layout.starter / "MODEL_CARD.md").write_text(
        "Trained on 1/2 of it and/or more, in `/tmp/lab/x`; see docs/home/a.md"
    )
    path, other, commit = remarks(layout.starter)
    assert path == "the folder names a path of this machine: /home/somebody/imagenet.safetensors"
    assert other.endswith("this machine: /tmp/lab/x")
    assert "-dirty: nobody else can look up" in commit


def test_the_notice_holds_the_terms_of_every_source() -> None:
    trained = provenance(synthetic=False, sources=("fer2013", "ckplus", "mine", "theirs"))
    start = {"source": "imagenet", "sha256": "f" * 64, "licence": "Apache-2.0 (Somebody)"}
    config = export_config(provenance=trained, licence="terms of fer2013, ckplus and mine", pretrained=start)
    text = " ".join(notice(config, {"theirs": "Their photographs. Terms: CC0"}).split())
    for name in ("fer2013", "ckplus"):
        assert SOURCES[name].licence in text
        assert SOURCES[name].citation in text
    assert "mine: on its owner's terms" in text
    assert "theirs: Their photographs. Terms: CC0" in text
    assert "terms of fer2013, ckplus and mine" in text
    assert f"pretrained weights (imagenet, SHA-256 {'f' * 64}). Licence: Apache-2.0 (Somebody)" in text
    assert all(use in text for use in uses.PROHIBITED)


def test_the_notice_of_a_soup_names_each_start_once() -> None:
    start = {"source": "starter", "sha256": "f" * 64, "licence": "FER2013's"}
    teacher = {"source": "artifacts/train/large", "sha256": "e" * 64, "licence": "CC0"}
    parts = [
        {"name": "one", "sha256": "1" * 64, "pretrained": start, "teacher": None},
        {"name": "two", "sha256": "2" * 64, "pretrained": start, "teacher": teacher},
    ]
    text = " ".join(notice(export_config(ingredients=parts), {}).split())
    assert text.count(f"pretrained weights (starter, SHA-256 {'f' * 64}). Licence: FER2013's") == 1
    assert f"another model (artifacts/train/large, SHA-256 {'e' * 64}). Licence: CC0" in text


def test_the_notice_of_an_ensemble_names_the_starts_of_its_soups() -> None:
    known = {
        "mean": (0.5,) * 3,
        "std": (0.5,) * 3,
        "grayscale": False,
        "temperature": 1.0,
        "parameters": 9,
        "teacher": None,
    }
    start, other = ({"source": name, "sha256": 64 * name[0], "licence": f"{name}'s"} for name in ("faces", "elsewhere"))
    soup = [{"name": "one", "sha256": "1" * 64, "pretrained": start, "teacher": None}]
    members = [
        {"name": "mean", "sha256": "3" * 64, "architecture": "a", "pretrained": None, "ingredients": soup, **known},
        {"name": "two", "sha256": "2" * 64, "architecture": "a", "pretrained": other, **known},
    ]
    text = " ".join(notice(export_config(members=members), {}).split())
    assert all(f"pretrained weights ({one['source']}, SHA-256 {one['sha256']})" in text for one in (start, other))


def test_the_verb_is_for_maintainers() -> None:
    assert get_command(cli.app).commands["adopt"].hidden  # type: ignore[attr-defined]
