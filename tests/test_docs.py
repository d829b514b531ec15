"""The pages say what is true: commands, files and settings that they quote exist, and figures are those of a run."""

from __future__ import annotations

import ast
import importlib
import json
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from docs.offline import LOADS
from docs.reference import COMMAND, DOCS, pages
from ruamel.yaml import YAML
from typer.main import get_command

import ferops
from ferops import cli, presets
from ferops.config import Params, Register, flatten
from ferops.layout import Layout
from ferops.records.starter import StarterMetrics
from ferops.registry import gates
from quoted import python_blocks
from registry_project import changed, good_metrics
from sample_images import noise_png, quick_params

ROOT = DOCS.parent
SITE = sorted(DOCS.glob("*.md"))
PAGES = [*SITE, *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY"))]
VERBS = get_command(cli.app).commands  # type: ignore[attr-defined]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
BLOCKS = set(Params.model_fields) - {"models"}  # its keys are names of the user's own
EXAMPLES = ("census", "named.py")
"""What docs/extending.md adds."""


def _code(text: str) -> str:
    """Return what a page has in blocks of shell, in indented blocks and between backticks, a command a line."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [body for language, body in blocks if language in ("sh", "bash", "console")]
    lines += re.findall(r"^ {4}(.*)$", rest, re.MULTILINE)
    lines += [span.replace("\n", " ") for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", rest)]
    return "\n".join(lines).replace("\\\n", " ")


def wrong_commands(text: str) -> list[str]:
    """Return the verbs, options, make targets and files that a page quotes and that do not exist."""
    code = _code(text)
    wrong = []
    for verb, rest in re.findall(r"(?<![\w./-])ferops +([a-z][\w-]*)([^\n#;&|)]*)", code):
        if verb not in VERBS:
            wrong += [f"ferops {verb}"] if verb not in EXAMPLES else []
            continue
        known = {"--help", *(name for each in VERBS[verb].params for name in (*each.opts, *each.secondary_opts))}
        wrong += [f"ferops {verb} {name}" for name in re.findall(r"(?<!\S)--[a-z][\w-]*", rest) if name not in known]
    wrong += [f"make {name}" for name in re.findall(r"(?<![\w./-])make +([a-z][\w-]*)", code) if name not in TARGETS]
    quoted = re.findall(
        r"(?<![\w./-])((?:src|tests|benchmarks|docs|deploy|service|flows|notebooks|\.ci)/[\w./-]*\w)(?![\w*])", code
    )
    return wrong + [path for path in quoted if not any(name in path for name in EXAMPLES) and not _exists(path)]


def _exists(path: str) -> bool:
    return (ROOT / path).exists() or (ROOT / "src" / "ferops" / path.removeprefix("src/")).exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_quotes_exists(page: Path) -> None:
    assert wrong_commands(page.read_text(encoding="utf-8")) == []


def wrong_python(text: str) -> list[str]:
    """Return what Python blocks import from ferops and does not exist; SyntaxError: a block is no Python."""
    wrong = []
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ferops"):
                module = importlib.import_module(str(node.module))
                wrong += [f"{node.module}.{each.name}" for each in node.names if not hasattr(module, each.name)]
    return wrong


def wrong_settings(text: str) -> list[str]:
    """Return the settings in YAML blocks that begin with a block of params.yaml, and that it does not have."""
    wrong: list[str] = []
    known = {".".join(path.split(".")[:2]) for path in flatten(presets.parse(presets.render("quick")))}
    for block in re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for tree in YAML(typ="safe").load_all(block):
            for name, settings in tree.items() if isinstance(tree, dict) else ():
                if name in BLOCKS and isinstance(settings, dict):
                    wrong += [path for path in (f"{name}.{key}" for key in settings) if path not in known]
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_and_settings_of_a_page_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert wrong_python(text) == []
    assert wrong_settings(text) == []


def test_python_and_settings_that_do_not_exist_are_found() -> None:
    assert wrong_python("```python\nfrom ferops.classes import canonical, Klasse\n```\n") == ["ferops.classes.Klasse"]
    assert wrong_settings("```yaml\nserve:\n  max_face: 1\n  max_faces: 1\nkind: x\n```\n") == ["serve.max_face"]


def test_what_does_not_exist_is_found() -> None:
    text = "`ferops scor x`\n```sh\nferops score --modle x && make sandwich\n```\n    python benchmarks/none.py\n"
    assert wrong_commands(text) == ["ferops score --modle", "ferops scor", "make sandwich", "benchmarks/none.py"]
    text = '`ferops score --tta off`\n```sh\neval "$(ferops env)"; make run\n```\n```python\nferops nothing\n```\n'
    assert wrong_commands(text) == []


def test_every_page_is_in_the_navigation() -> None:
    """A link that leads nowhere, and an anchor, are errors of `make docs`."""
    config = YAML(typ="safe").load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = Counter(_leaves(config["nav"]))
    assert listed == dict.fromkeys((page.name for page in SITE), 1)
    assert config["strict"]


@pytest.mark.parametrize(
    ("html", "loaded"),
    [
        ('<script src="https://unpkg.com/x"></script>', ["https://unpkg.com/x"]),
        ('<link rel="stylesheet" href=//fonts.example.org/a.css>', ["//fonts.example.org/a.css"]),
        ('<a href="https://osv.dev">OSV</a><script src="assets/a.js"></script><img src="images/a.png">', []),
    ],
)
def test_what_a_page_of_the_site_loads_from_elsewhere_is_found(html: str, loaded: list[str]) -> None:
    assert LOADS.findall(html) == loaded


def _leaves(tree: Any) -> list[str]:
    if isinstance(tree, str):
        return [tree]
    return [leaf for branch in (tree.values() if isinstance(tree, dict) else tree) for leaf in _leaves(branch)]


def test_links_and_names_of_pages_lead_somewhere() -> None:
    missing = []
    for page in [page for page in PAGES if page not in SITE]:
        links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
        missing += [f"{page.name}: {link}" for link in links if not (ROOT / link).exists()]
    for folder in ("src", "service", "flows", "benchmarks"):
        for path in (each for kind in ("*.py", "*.yaml", "*.j2") for each in (ROOT / folder).rglob(kind)):
            named = re.findall(r"docs/[\w-]+\.md", path.read_text(encoding="utf-8"))
            missing += [f"{path.name}: {name}" for name in named if not (ROOT / name).exists()]
    assert missing == []


def test_the_generated_pages_are_current() -> None:
    for name, text in pages().items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, f"write docs/{name} again: {COMMAND}"


def test_the_figures_of_the_starter_are_those_of_its_file() -> None:
    page = (DOCS / "starter.md").read_text(encoding="utf-8")
    table = page[page.index("<!-- The figures of the starter") : page.index("<!-- End of the figures")]
    found = _starter_metrics()
    accuracy, macro_f1 = found.accuracy, found.macro_f1
    percent = [f"{100 * (each or 0):.1f}" for each in (accuracy.value, accuracy.low, accuracy.high)]
    score = [f"{each or 0:.3f}" for each in (macro_f1.value, macro_f1.low, macro_f1.high)]
    for text in (
        f"{found.test_images:,} faces",
        f"{percent[0]} % ({percent[1]}-{percent[2]}), {score[0]} ({score[1]}-{score[2]})",
        f"{100 * found.chance_accuracy:.1f} %",
    ):
        assert text in table, f"docs/starter.md lacks {text!r}, which starter/metrics.json says"


def _starter_metrics() -> StarterMetrics:
    """Read starter/metrics.json of the version that starter.dvc names, in the remote inside the repository."""

    def stored(md5: str) -> str:
        return (ROOT / ".dvc" / "embedded" / "files" / "md5" / md5[:2] / md5[2:]).read_text(encoding="utf-8")

    version = YAML(typ="safe").load((ROOT / "starter.dvc").read_text(encoding="utf-8"))["outs"][0]["md5"]
    [file] = [entry for entry in json.loads(stored(version)) if entry["relpath"] == "metrics.json"]
    return StarterMetrics.model_validate_json(stored(file["md5"]))


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert ferops.__version__ == project["version"] == str(citation["version"])
    assert project["license"] == citation["license"]


@pytest.fixture(scope="module")
def examples() -> dict[str, dict[str, Any]]:
    """What the Python blocks of docs/extending.md define, by file; test_zoo.py has the backbone."""
    found = {}
    for path, body in python_blocks(DOCS / "extending.md").items():
        if "zoo" not in path:
            found[path] = {"__name__": "example"}
            exec(compile(body, path, "exec", dont_inherit=True), found[path])
    return found


def test_the_example_of_a_detector_finds_faces(examples: dict[str, dict[str, Any]]) -> None:
    detector = examples["my_package/detector.py"]["Middle"](min_confidence=0.9, threads=1)
    [[face]] = detector.detect([np.zeros((40, 80, 3), np.uint8)])
    assert face.landmarks.tolist() == pytest.approx(np.array([[24, 16], [56, 16], [40, 24], [28, 32], [52, 32]]))
    assert face.area_px == 40 * 80


def test_the_example_of_a_reader_reads_a_release(examples: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    for name in ("happy_p01_1.png", "angry_p02_7.png", "README.txt"):
        (tmp_path / name).write_bytes(noise_png(len(name)))
    skipped: Counter[str] = Counter()
    count, rows = examples["src/ferops/datasets/named.py"]["read_named"](tmp_path, skipped=skipped)
    assert {(row["label"], row["subject"], row["source"]) for row in rows} == {
        ("happy", "p01", "named"),
        ("anger", "p02", "named"),
    }
    assert (count, skipped.total()) == (2, 1)


@pytest.mark.parametrize(("clusters", "passed"), [(19, False), (20, True)])
def test_the_examples_of_gates_decide(clusters: int, passed: bool) -> None:
    text = (DOCS / "extending.md").read_text(encoding="utf-8")
    rules = YAML(typ="safe").load("register:" + text.partition("```yaml\nregister:")[2].partition("```")[0])
    settings = Register.model_validate({"model_name": "any", "overrides": {}} | rules["register"])
    found = {gate.name: gate for gate in gates.evaluate_gates(changed(good_metrics(), clusters=clusters), settings)}
    assert found["enough_people"].passed is passed
    assert all(gate.observed is not None for gate in found.values())


def test_the_example_of_a_stage_counts(examples: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.data_dvc.write_text(f"outs:\n- md5: {'0123' * 8}.dir\n  path: data\n", encoding="utf-8")
    for path, column, values in (
        (layout.manifest, "label", ["happy", "sad", "happy"]),
        (layout.assignment, "split", ["train", "train", "test"]),
    ):
        path.parent.mkdir(parents=True)
        pd.DataFrame({"image_id": ["a", "b", "c"], column: values}).to_parquet(path)
    summary = examples["src/ferops/census/stage.py"]["census"](layout, quick_params())
    assert summary.counts == {"train": {"happy": 1, "sad": 1}, "test": {"happy": 1, "sad": 0}}
    assert type(summary).read(layout.summary("census"), made_by="ferops census") == summary
