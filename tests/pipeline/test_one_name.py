"""One verb means one thing everywhere: a DVC stage, a CLI verb, a block of params.yaml."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.main import get_command

from ferops import cli, config, presets

ROOT = Path(__file__).parents[2]
MODELS = {"baseline", "candidate"}
EXPORTED = "${export.model}"
STAGES = (
    "validate",
    "split",
    "preprocess",
    "train",
    "export",
    "evaluate",
    "explain",
    "robustness",
    "fairness",
    "register",
)


@pytest.fixture(scope="module")
def dag() -> dict[str, Any]:
    tree: dict[str, Any] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    return tree["stages"]  # type: ignore[no-any-return]


def _body(stage: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = stage.get("do", stage)
    return body


def test_the_dag_has_the_stages_of_the_design_in_order(dag: dict[str, Any]) -> None:
    assert tuple(dag) == STAGES


def test_every_stage_is_a_verb_and_reads_its_own_block(dag: dict[str, Any]) -> None:
    verbs = get_command(cli.app).commands  # type: ignore[attr-defined]
    blocks = {field.alias or name for name, field in config.Params.model_fields.items()}
    for name, stage in dag.items():
        body = _body(stage)
        assert name in verbs
        assert name in blocks
        assert body["cmd"].split()[:2] == ["ferops", name]
        assert any(key == name or str(key).startswith(f"{name}.") for key in body["params"])


def test_where_faces_are_looked_for_changes_no_result(dag: dict[str, Any]) -> None:
    """So another number of workers makes no stage run again; every other setting does."""
    listed = {key.removeprefix("preprocess.") for key in _body(dag["preprocess"])["params"]}
    assert set(config.Preprocess.model_fields) - listed == {"workers", "runner", "dask_address"}


def test_stages_write_only_their_own_folders(dag: dict[str, Any]) -> None:
    for name, stage in dag.items():
        for out in _body(stage)["outs"]:
            path = next(iter(out)) if isinstance(out, dict) else out
            assert re.match(rf"(artifacts|reports)/{name}(/|$)", path)


def test_the_figures_that_dvc_prints_are_in_an_output(dag: dict[str, Any]) -> None:
    tree = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    written = [
        str(out if isinstance(out, str) else next(iter(out))) for stage in dag.values() for out in _body(stage)["outs"]
    ]
    outs = {out.replace("${key}", name) for out in written for name in (*MODELS, EXPORTED)}
    assert {str(Path(path).parent) for path in tree["metrics"]} <= outs
    assert len(tree["metrics"]) == len(MODELS) + 3


@pytest.mark.parametrize("preset", presets.names())
def test_the_models_that_later_stages_read_are_trained_and_no_others(dag: dict[str, Any], preset: str) -> None:
    assert dag["train"]["foreach"] == {name: f"${{models.{name}}}" for name in MODELS}
    models = config.parse(YAML(typ="safe").load(presets.render(preset))).models
    assert set(models) == MODELS | {"resnet50"}
    trained = {
        dep for name in ("export", "evaluate") for dep in dag[name]["deps"] if dep.startswith("artifacts/train/")
    }
    assert trained == {f"artifacts/train/{name}" for name in ("baseline", EXPORTED)}
    assert config.parse(YAML(typ="safe").load(presets.render(preset))).export.model in models


def test_answers_of_the_registry_are_never_taken_from_the_run_cache(dag: dict[str, Any]) -> None:
    """DVC leaves stages with a persistent output out of its run cache."""
    for name in ("evaluate", "register"):
        assert any(isinstance(out, dict) and next(iter(out.values()))["persist"] for out in dag[name]["outs"])


def test_code_that_a_stage_depends_on_exists(dag: dict[str, Any]) -> None:
    for stage in dag.values():
        for dependency in _body(stage)["deps"]:
            if str(dependency).startswith("src/"):
                assert (ROOT / dependency).exists(), dependency


def test_no_file_of_the_product_names_a_path_outside_it() -> None:
    """The product must work where it is cloned: no home folders, no neighbours (marked tests aside)."""
    suspicious = re.compile(r"/(work|home|root)/[a-z]")
    for folder in ("src", "flows", "service", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert not suspicious.search(text), path
            assert "../shared" not in text, path
