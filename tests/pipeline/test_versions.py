"""docs/versions.md, run as it stands: add a source, compare, go back, share, pull. Nothing reaches `embedded`."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from ferops import presets, provenance
from ferops.classes import DEFAULT_CLASSES
from ferops.datasets import manifest, store, versioning
from ferops.errors import FeropsError
from ferops.layout import Layout
from repositories import dvc, make_repository
from sample_images import noise_png
from shell import run

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "versions.md"
CONFIG = "[core]\n    analytics = false\n['remote \"embedded\"']\n    url = embedded\n"

Files = dict[str, bytes]


def _blocks(section: str) -> list[str]:
    """The shell blocks of one section of the page."""
    sections = re.split(r"^## ", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    [text] = [text for text in sections if text.startswith(section)]
    return re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)


def _files(folder: Path) -> Files:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _write_synthetic(root: Path, *, seed: int) -> None:
    rows = (manifest.make_row(noise_png(seed + i), source="synthetic", label=DEFAULT_CLASSES[i]) for i in range(6))
    (root / "data").mkdir(exist_ok=True)
    manifest.write(root / "data" / "synthetic.parquet", rows, source="synthetic")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as a fresh clone with its embedded data: one commit, the data in a remote inside the repository."""
    root = make_repository(tmp_path_factory.mktemp("shipped") / "project")
    (root / ".dvc" / "config").write_text(CONFIG, encoding="utf-8")
    shutil.copy(ROOT / ".gitignore", root)
    (root / "params.yaml").write_text(presets.render("quick"), encoding="utf-8")
    _write_synthetic(root, seed=0)
    with store.locked(Layout(root)) as repo:
        versioning.add_data(Layout(root), repo)
    with (root / "data.dvc").open("a", encoding="utf-8") as file:
        file.write("  remote: embedded\n")
    dvc(root, "push", "data.dvc")
    run(root, "git add . && git commit -qm shipped")
    assert len(_files(root / ".dvc" / "embedded")) == 2  # the folder's list and its one file
    return root


@pytest.fixture
def project(shipped: Path, tmp_path: Path) -> Path:
    shutil.copytree(shipped, tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    for i, label in enumerate(DEFAULT_CLASSES):
        (tmp_path / "images" / label).mkdir(parents=True)
        (tmp_path / "images" / label / "1.png").write_bytes(noise_png(100 + i))
    return tmp_path / "images"


@pytest.mark.slow
def test_the_whole_cycle_as_documented(project: Path, image_folder: Path, tmp_path: Path) -> None:
    embedded, first = _files(project / ".dvc" / "embedded"), _files(project / "data")
    first_name = provenance.data_version(Layout(project))
    store = tmp_path / "store"

    [add] = _blocks("Add a source")
    run(project, add.replace("path/to/images", str(image_folder)))
    second = _files(project / "data")
    assert second.keys() == {"synthetic.parquet", "ours.parquet"}
    assert "remote:" not in (project / "data.dvc").read_text(encoding="utf-8")

    [see] = _blocks("See what changed")
    said = run(project, see)
    assert "Add our own images" in said
    added = said.split("Added:")[1].split("Modified:")[0]
    assert "ours.parquet" in added
    assert "synthetic.parquet" not in said  # it is the same in both
    summary = json.loads(Layout(project).summary("drift").read_text(encoding="utf-8"))
    assert (summary["before"]["rows"], summary["after"]["rows"]) == (6, 12)

    back, forward = _blocks("Go back")
    run(project, back)
    assert _files(project / "data") == first
    versioning.require_current(Layout(project))
    run(project, forward)
    assert _files(project / "data") == second
    assert run(project, "git status --porcelain") == ""

    folder, _, _, push, pull = _blocks("A shared store")
    run(project, folder.replace("/srv/faces", str(store)))
    run(project, push)
    assert set(second.values()) <= set(_files(store).values())
    assert _files(project / ".dvc" / "embedded") == embedded

    run(tmp_path, f"git clone -q {project} elsewhere")
    elsewhere = tmp_path / "elsewhere"
    run(elsewhere, pull)
    assert _files(elsewhere / "data") == second
    versioning.require_current(Layout(elsewhere))
    run(elsewhere, "git checkout -q HEAD~2 data.dvc && dvc pull -q data.dvc")  # before the import
    assert _files(elsewhere / "data") == first
    assert _files(elsewhere / ".dvc" / "embedded") == embedded

    drop = re.search(r"`(rm data/ours\.parquet && dvc add data)`", DOCS.read_text(encoding="utf-8"))
    assert drop
    run(project, drop[1])
    assert provenance.data_version(Layout(project)) == first_name


@pytest.mark.slow
@pytest.mark.parametrize(("number", "scheme"), [(1, "s3"), (2, "ssh")])
def test_the_other_stores_are_named_as_documented_and_keys_stay_out_of_git(
    project: Path, number: int, scheme: str
) -> None:
    run(project, _blocks("A shared store")[number])
    shared = (project / ".dvc" / "config").read_text(encoding="utf-8")
    own = (project / ".dvc" / "config.local").read_text(encoding="utf-8")
    assert f"url = {scheme}://" in shared
    assert "remote = store" in shared
    assert "remote = store" not in own
    for secret in {"s3": ("access_key_id = KEY", "secret_access_key = SECRET"), "ssh": ("keyfile = ",)}[scheme]:
        assert secret in own
        assert secret not in shared
    assert run(project, "git status --porcelain").split() == ["M", ".dvc/config"]


def test_a_version_made_by_hand_is_stopped_before_it_can_reach_the_repository(project: Path) -> None:
    embedded = _files(project / ".dvc" / "embedded")
    _write_synthetic(project, seed=50)
    dvc(project, "add", "data")
    line = "  remote: embedded\n"
    text = (project / "data.dvc").read_text(encoding="utf-8")
    assert line in text  # DVC keeps it: this is the danger
    with pytest.raises(FeropsError, match=r"Delete the line `remote: embedded` from data\.dvc"):
        versioning.require_current(Layout(project))
    (project / "data.dvc").write_text(text.replace(line, ""), encoding="utf-8")
    versioning.require_current(Layout(project))
    dvc(project, "remote", "add", "-d", "store", str(project.parent / "store"))
    dvc(project, "push")
    assert _files(project / ".dvc" / "embedded") == embedded
