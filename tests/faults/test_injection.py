"""Data that want to be code: no page runs them, no table breaks on them, no terminal obeys them."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from damaged import ferops
from evaluation_project import build, change_index
from ferops.classes import DEFAULT_CLASSES
from ferops.datasets import store, versioning
from ferops.datasets.manifest import make_row, schema_of
from ferops.layout import Layout
from ferops.orchestration.summary import markdown
from releases import make_folder
from sample_images import noise_png, quick_tree

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = (
    "<script>document.title='RAN'</script><img src=x onerror=\"document.title='RAN'\">|`x` [y](javascript:z) "
    "\x1b[31m\x9b\u202e$\\frac{\r\nferops: FORGED"
)
SOURCE = "<script>|`x`\x1b[31m\nferops: FORGED"
"""The name of a file, so without a slash."""
GROUP = "group_<u>|\x1b[31m"


class _Page(HTMLParser):
    """What a page could run, and a tag that only the data have."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[str] = []
        self.policy = ""
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag in ("script", "iframe", "object", "embed", "base", "form", "u"):
            self.runs.append(tag)
        self.runs += [f"{tag} {name}" for name in values if name.startswith("on")]
        self.runs += [value for value in values.values() if value.strip().lower().startswith("javascript:")]
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]

    def handle_data(self, data: str) -> None:
        self.text += data


def _check_pages(folder: Path, *, shows: str = "") -> None:
    pages = sorted(folder.rglob("*.html"))
    assert pages
    shown = ""
    for path in pages:
        page = _Page()
        page.feed(path.read_text(encoding="utf-8"))
        assert page.runs == [], path
        assert page.policy.startswith("default-src 'none'"), path
        shown += page.text
    assert shows in shown


def _check_tables(text: str) -> None:
    """Each line of a Markdown table has as many cells as its head."""
    wide = 0
    for line in text.splitlines():
        if not line.startswith("|"):
            wide = 0
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        wide = wide or cells
        assert cells == wide, line
        assert "<script" not in line


def _said(root: Path, *arguments: str, status: int = 0) -> str:
    code, said = ferops(root, *arguments)
    assert code == status, said
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]", said)
    assert not re.search(r"^ferops: FORGED", said, re.MULTILINE)
    return said


def _write(layout: Layout, *, usage: str | None) -> None:
    rows = [
        make_row(
            noise_png(10 * i + place),
            source=SOURCE,
            label=label,
            usage=usage if (i, place) == (0, 0) else None,
            subject=f"{HOSTILE}{i}{place}",
            **{GROUP: HOSTILE if i % 2 else "other"},
        )
        for i in range(6)
        for place, label in enumerate([*DEFAULT_CLASSES, HOSTILE])
    ]
    layout.data.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema_of(rows)), layout.source(SOURCE))


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    layout = Layout(tmp_path_factory.mktemp("hostile") / "project")
    layout.root.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=layout.root, check=True)
    Repo.init(str(layout.root)).close()
    tree = quick_tree()
    tree["data"]["sources"] = [SOURCE]
    tree["validate"] |= {"min_rows_per_class": 1, "max_quarantine_share": 0.9, "label_review_folds": 0}
    tree["preprocess"] |= {"tight_sources": [SOURCE], "tight": "whole"}
    YAML().dump(tree, layout.params_file)
    return layout


def _version(layout: Layout) -> None:
    with store.locked(layout) as repo:
        versioning.add_data(layout, repo)


def test_a_value_that_an_expectation_refuses(layout: Layout) -> None:
    _write(layout, usage=HOSTILE)
    _version(layout)
    said = _said(layout.root, "validate", status=1)
    assert "usage is train, val, test or null; found: 1 of 42 rows differ, such as <script>" in said
    docs = layout.reports("validate") / "data_docs"
    _check_pages(layout.reports("validate"), shows="<script>document.title='RAN'</script>")
    if CHROMIUM is None:
        return
    page = docs / "validations" / "incoming.html"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000", "--dump-dom"]
    drawn = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, check=True, timeout=60).stdout
    assert "document.title=" in html.unescape(drawn)
    assert "<title>RAN" not in drawn


def test_from_the_data_to_the_faces(layout: Layout) -> None:
    _write(layout, usage=None)
    _version(layout)
    commit = "git add -A && git -c user.name=a -c user.email=a@b.c commit -qm x"
    subprocess.run(["bash", "-c", commit], cwd=layout.root, check=True)
    assert "42 images" in _said(layout.root, "data")
    for stage in ("validate", "split", "preprocess"):
        _said(layout.root, stage)
        _check_tables(markdown(layout.summary(stage)))
    _check_pages(layout.reports("validate"))
    _check_pages(layout.reports("split"))
    frame = pd.read_parquet(layout.source(SOURCE))
    frame["label"] = np.roll(frame["label"].to_numpy(), 1)
    frame.to_parquet(layout.source(SOURCE))
    said = _said(layout.root, "drift", "HEAD")
    assert "\\u001b[31m" in said
    _check_pages(layout.reports("drift"), shows="<script>")
    _check_tables(markdown(layout.summary("drift")))


def test_the_report_and_the_model_card(tmp_path: Path) -> None:
    project = build(tmp_path / "project", n_test=60)
    hostile = {"group_age": lambda index: index["group_age"].replace({"18-39": HOSTILE})}
    change_index(project, lambda index: index.assign(**hostile).rename(columns={"group_skin_tone": GROUP}))
    project.evaluate()
    reports = project.layout.reports("evaluate")
    _check_pages(reports, shows="<script>document.title='RAN'</script>")
    card = (reports / "model_card.md").read_text(encoding="utf-8")
    _check_tables(card)
    assert "&lt;script&gt;document.title='RAN'" in card
    for wrong in ("\x1b", "\u202e", "<script", "<img", "\nferops: FORGED"):
        assert wrong not in card


def test_what_is_printed(layout: Layout, tmp_path: Path, make_export) -> None:
    files = {f"{HOSTILE.replace('/', '')}/1.png": noise_png(1), "happy/2.png": noise_png(2)}
    release = make_folder(tmp_path / SOURCE, files)
    said = _said(layout.root, "import", "folder", str(release), "--name", "b", status=1)
    assert "\\u001b[31m" in said
    table = pa.table({"image": [noise_png(1), noise_png(2)], "label": [HOSTILE, "happy"]})
    path = tmp_path / f"{SOURCE}.parquet"
    pq.write_table(table, path)
    said = _said(layout.root, "score", "--model", str(make_export()), "--data", str(path))
    assert "data   " in said
    assert "\\u000aferops: FORGED.parquet" in said
    _said(layout.root, "score", "--model", str(tmp_path / SOURCE), "--data", str(path), status=1)
    _said(layout.root, f"{SOURCE}", status=2)
    _said(layout.root, "drift", SOURCE, status=1)
