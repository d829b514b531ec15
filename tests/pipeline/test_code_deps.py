"""A stage runs again when the code changes that determines its outputs, and only then: what dvc.yaml lists is complete.

The first test reads the imports of each stage; the others ask DVC itself, in a small copy of the project.
"""

from __future__ import annotations

import ast
import shlex
import shutil
from collections.abc import Iterable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from dvc.cli import main as dvc
from dvc.repo import Repo
from ruamel.yaml import YAML

from ferops import presets
from ferops.config import Train
from ferops.orchestration.dag import stages

ROOT = Path(__file__).parents[2]
FEROPS = ROOT / "src" / "ferops"
STARTS = {
    "validate": "validation",
    "split": "split",
    "preprocess": "faces",
    "train": "training",
    "export": "export",
    "evaluate": "evaluation",
    "explain": "explanation",
    "robustness": "robustness",
    "fairness": "fairness",
    "register": "registry",
}
SHAPES_NO_RESULT = {
    "classes.py": "words for labels: `validate` writes them one way, and lists it",
    "config.py": "the settings themselves are parameters of the stages",
    "errors.py": "messages",
    "files.py": "how files are written, not what is in them",
    "inference/drawing.py": "draws answers into images",
    "layout.py": "where files are; another place would be another dependency or output",
    "machine.py": "names the CPU",
    "pool.py": "how many processes work: results and their order are the same (tests)",
    "threads.py": "how many compute: results are the same (tests), and a training's summary says the number",
    "private.py": "keeps keys; which key signs changes no figure",
    "provenance.py": "says what a result was made from",
    "scratch.py": "temporary folders",
    "tables.py": "reads what stages wrote, and changes nothing in it",
    "records/__init__.py": "exports two names",
    "training/__init__.py": "a docstring",
    "records/base.py": "how records are read and written; their fields are in other modules",
    "records/provenance.py": "says what a result was made from",
    "datasets/catalogue.py": "citations and licence notes",
}
SHAPES_NO_WEIGHTS = {
    "plots.py": "drawings in reports/train, which wait for the next training",
    "training/bar.py": "shows progress",
    "training/checkpoint.py": "gives back what it was given, bit for bit (test_killed.py)",
    "training/identity.py": "tells trainings apart; dvc.yaml lists what it is made of",
    "training/interrupt.py": "stops a training, which then goes on to the same weights (test_killed.py)",
    "training/resident.py": "where faces lie while a GPU trains",
    "training/report.py": "drawings in reports/train, which wait for the next training",
}
UNIMPORTED = {FEROPS / "classes.py", FEROPS / "inference" / "pyfunc.py", FEROPS / "training" / "untrained.py"}
"""Listed, but not among the imports that count: the words for labels, what MLflow takes as a file, and what `ferops
train` does with 0 epochs."""

DAG: dict[str, Any] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def imports(path: Path) -> Iterator[Path]:
    """Yield the files of ferops that `path` imports, at any depth of nesting, with the `__init__.py` of packages."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("ferops."):
                place = FEROPS.parent / name.replace(".", "/")
                yield from (file for file in (place.with_suffix(".py"), place / "__init__.py") if file.exists())


def reached(start: Path, *, without: Iterable[str]) -> set[Path]:
    """Return all files of ferops that `start` needs, itself included, but for those `without` and what they need."""
    left_out = {FEROPS / name for name in without}
    seen: set[Path] = set()
    todo = [start]
    while todo:
        path = todo.pop()
        if path not in seen | left_out:
            seen.add(path)
            todo += imports(path)
    return seen


@pytest.mark.parametrize("name", DAG)
def test_a_stage_depends_on_all_the_code_that_it_imports(name: str) -> None:
    stage = DAG[name].get("do", DAG[name])
    listed = [ROOT / dependency for dependency in stage["deps"]]
    without = SHAPES_NO_RESULT | (SHAPES_NO_WEIGHTS if name == "train" else {})
    needed = reached(FEROPS / STARTS[name] / "stage.py", without=without)
    assert len(needed) > 1
    missing = {path for path in needed if not any(path.is_relative_to(dependency) for dependency in listed)}
    assert sorted(str(path.relative_to(ROOT)) for path in missing) == []
    code = {path for path in listed if path.is_relative_to(FEROPS)} - UNIMPORTED
    unused = {path for path in code if not any(each.is_relative_to(path) for each in needed)}
    assert sorted(str(path.relative_to(ROOT)) for path in unused) == []


def test_what_shapes_no_result_exists() -> None:
    assert [name for name in SHAPES_NO_RESULT | SHAPES_NO_WEIGHTS if not (FEROPS / name).exists()] == []


def test_the_words_for_labels_decide_what_validate_accepts() -> None:
    assert "src/ferops/classes.py" in DAG["validate"]["deps"]


def test_a_split_depends_on_the_manifest_and_the_classes() -> None:
    """Not on data/: a re-split after a changed setting must not wait for anything else."""
    data = [dependency for dependency in DAG["split"]["deps"] if not str(dependency).startswith("src/")]
    assert data == ["artifacts/validate/manifest.parquet"]
    assert DAG["split"]["params"] == ["seed", "split", "data.classes"]  # their order stands in its summary


def test_how_often_a_training_shows_itself_changes_no_result() -> None:
    listed = {key.removeprefix("train.") for key in DAG["train"]["do"]["params"]}
    assert set(Train.model_fields) - listed == {"checkpoint_every", "watch_every"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code and the DAG of the project, with an output of a few bytes for each stage, all of them up to date."""
    root = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "dvc.yaml", root)
    shutil.copytree(FEROPS, root / "src" / "ferops", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "params.yaml").write_text(presets.render("quick"), encoding="utf-8")
    outputs = [
        f"{folder}/{stage}{model}"
        for stage in STARTS
        for model in (("/baseline", "/candidate") if stage == "train" else ("",))
        for folder in ("artifacts", "reports")
    ]
    for folder in ("data", *outputs):
        (root / folder).mkdir(parents=True)
        for name in ("manifest.parquet", "metrics.json", "faces.parquet", "predictions.parquet", "end_to_end.parquet"):
            (root / folder / name).write_text("{}")
    Repo.init(str(root), no_scm=True).close()
    with chdir(root), Repo() as repo:
        repo.commit(force=True)
    assert invalidated(root) == set()
    return root


def invalidated(root: Path, *touched: str) -> set[str]:
    """Return the stages that DVC would run again after a line was added to these files of src/ferops."""
    paths = [root / "src" / "ferops" / name for name in touched]
    before = {path: path.read_bytes() for path in paths}
    for path, content in before.items():
        path.write_bytes(content + b"\n# touched\n")
    with chdir(root), Repo() as repo:
        found = repo.status()
    for path, content in before.items():
        path.write_bytes(content)
    return set(found)


TRAININGS = {"train@baseline", "train@candidate"}


def test_what_only_shows_or_judges_invalidates_no_training(project: Path) -> None:
    others = ["registry/watch.py", "cli/stages.py", "orchestration/dag.py", "inference/predictor.py"]
    drift = [f"drift/{path.name}" for path in (FEROPS / "drift").iterdir() if path.is_file()]
    templates = [str(path.relative_to(FEROPS)) for path in FEROPS.rglob("*.j2")]
    assert len(templates) > 3
    assert invalidated(project, *SHAPES_NO_WEIGHTS, *others, *drift, *templates).isdisjoint(TRAININGS)
    assert invalidated(project, *drift, "training/bar.py", "training/report.py", "training/interrupt.py") == set()


def test_what_shapes_the_weights_invalidates_trainings(project: Path) -> None:
    assert invalidated(project, "training/losses.py") == TRAININGS
    assert invalidated(project, "training/model.py") == TRAININGS | {"export", "explain", "robustness"}


@pytest.mark.slow
def test_a_teacher_is_trained_before_its_pupil_which_follows_its_weights(project: Path) -> None:
    teacher = project / "artifacts" / "train" / "baseline" / "metrics.json"

    def after_another_teacher() -> set[str]:
        before = teacher.read_bytes()
        teacher.write_bytes(b"[]")
        found = invalidated(project)
        teacher.write_bytes(before)
        return found & TRAININGS

    assert after_another_teacher() == {"train@baseline"}  # whose output is not what it was
    settings = project / "params.yaml"
    before = settings.read_text(encoding="utf-8")
    tree = YAML(typ="safe").load(before)
    tree["models"]["candidate"]["learns_from"] = "artifacts/train/baseline"
    tree["models"] = dict(reversed(tree["models"].items()))  # their order there says nothing
    with settings.open("w", encoding="utf-8") as file:
        YAML().dump(tree, file)
    try:
        assert invalidated(project) == {"train@candidate"}
        with chdir(project), Repo() as repo:
            repo.commit(force=True)
        assert after_another_teacher() == TRAININGS
        assert [name for name in stages(project) if name in TRAININGS] == ["train@baseline", "train@candidate"]
    finally:
        settings.write_text(before, encoding="utf-8")
        with chdir(project), Repo() as repo:
            repo.commit(force=True)


def test_an_ensemble_is_a_stage_between_its_members_and_the_export(project: Path) -> None:
    """By the command of docs/ensembles.md."""
    page = (ROOT / "docs" / "ensembles.md").read_text(encoding="utf-8")
    command = page[page.index("dvc stage add") :].partition("```")[0].replace("\\\n", "")
    command = command.replace("large", "baseline").replace("other", "candidate")
    before = {project / name: (project / name).read_text(encoding="utf-8") for name in ("dvc.yaml", "params.yaml")}
    tree = YAML(typ="safe").load(before[project / "params.yaml"])
    tree["export"]["model"] = "duo"
    try:
        with (project / "params.yaml").open("w", encoding="utf-8") as file:
            YAML().dump(tree, file)
        with chdir(project):
            assert dvc(shlex.split(command)[1:]) == 0
            (project / "reports" / "train" / "duo").mkdir()
            (project / "reports" / "train" / "duo" / "metrics.json").write_text('{"val_accuracy": 0.5}')
            with Repo() as repo:
                shown = repo.metrics.show()[""]["data"]
        order = stages(project)
        assert max(order.index(name) for name in TRAININGS) < order.index("duo") < order.index("export")
        assert "export" in invalidated(project)
        assert shown["reports/train/duo/metrics.json"]["data"] == {"val_accuracy": 0.5}
        assert "reports/train/candidate/metrics.json" not in shown
    finally:
        for path, text in before.items():
            path.write_text(text, encoding="utf-8")
        shutil.rmtree(project / "reports" / "train" / "duo", ignore_errors=True)


def test_a_report_template_runs_its_own_stage_again(project: Path) -> None:
    """And as that stage writes the same artifacts, nothing after it."""
    templates = [str(path.relative_to(FEROPS)) for path in (FEROPS / "validation").glob("*.j2")]
    assert templates
    assert invalidated(project, *templates) == {"validate"}
