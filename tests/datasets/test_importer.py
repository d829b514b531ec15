from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML
from test_fer2013 import NAMES, members
from typer.testing import CliRunner

from benchmarks import ingest
from ferops import presets
from ferops.cli import app
from ferops.datasets import inventory, manifest, raw, removal, swap, synthetic, versioning
from ferops.datasets.importer import import_source
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.records.data import ImportResult
from releases import make_folder, make_zip
from repositories import dvc, make_repository
from sample_images import encoded, noise, noise_png


@pytest.fixture(scope="session")
def dvc_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty git and DVC project with two remotes: `embedded` inside it, and the user's own as the default."""
    root = tmp_path_factory.mktemp("template") / "project"
    make_repository(root)
    (root / ".dvc" / "config").write_text(
        "[core]\n    remote = mine\n    analytics = false\n"
        "['remote \"embedded\"']\n    url = ../embedded\n['remote \"mine\"']\n    url = ../../mine\n",
        encoding="utf-8",
    )
    return root


@pytest.fixture
def layout(dvc_project: Path, tmp_path: Path) -> Layout:
    shutil.copytree(dvc_project, tmp_path / "project")
    return Layout(tmp_path / "project")


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return make_zip(tmp_path / "fer.zip", members())


def _few_rows(*, seed: int) -> list[dict[str, Any]]:
    return [manifest.make_row(noise_png(seed + i), source="synthetic", label="happy") for i in range(3)]


def _tracked(layout: Layout) -> dict[str, Any]:
    return dict(YAML(typ="safe").load(layout.data_dvc.read_text(encoding="utf-8"))["outs"][0])


def _state(layout: Layout) -> dict[str, bytes]:
    files = [layout.data_dvc, *layout.data.rglob("*")] if layout.data.exists() else []
    return {str(file): file.read_bytes() for file in files}


def test_an_import_is_written_versioned_and_described(layout: Layout, release: Path) -> None:
    summary = import_source(layout, "fer2013", release, seed=1)
    assert summary.rows == len(NAMES)
    assert summary.classes == {"anger": 1, "happy": 1, "sad": 1, "surprised": 1, "neutral": 1}
    assert summary.skipped == {}
    assert _tracked(layout)["md5"] == summary.data_version + ".dir"
    assert sorted(pd.read_parquet(layout.source("fer2013"))["label"]) == sorted(summary.classes)
    assert [file.name for file in layout.data.iterdir()] == ["fer2013.parquet"]
    versioning.require_current(layout)  # our name for the content is DVC's
    said = inventory.describe_data(layout)
    for wanted in ("5 images", "anger      1", "licence: no licence", "Goodfellow", summary.data_version):
        assert wanted in said
    assert import_source(layout, "fer2013", release, seed=2).data_version == summary.data_version


def test_changed_data_are_not_the_version_that_data_dvc_names(layout: Layout, release: Path) -> None:
    import_source(layout, "fer2013", release, seed=1)
    layout.source("fer2013").write_bytes(b"other")
    with pytest.raises(FeropsError, match=r"dvc pull data\.dvc"):
        versioning.require_current(layout)


@pytest.mark.slow
def test_an_imported_data_set_never_reaches_the_embedded_remote(
    layout: Layout, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "rows", _few_rows, raising=False)
    embedded, mine = layout.root / "embedded", layout.root.parent / "mine"
    import_source(layout, "synthetic", None, seed=7)
    text = layout.data_dvc.read_text(encoding="utf-8")
    layout.data_dvc.write_text(text + "  remote: embedded\n", encoding="utf-8")
    dvc(layout.root, "push", "data.dvc")
    shipped = sorted(embedded.rglob("*"))
    assert len([file for file in shipped if file.is_file()]) == 2  # the folder's list and its one file

    import_source(layout, "synthetic", None, seed=7)  # the same version again: still the embedded default
    assert _tracked(layout)["remote"] == "embedded"

    import_source(layout, "fer2013", release, seed=7)
    assert "remote" not in _tracked(layout)
    assert {file.stem for file in layout.data.iterdir()} == {"fer2013", "synthetic"}
    dvc(layout.root, "push")
    assert sorted(embedded.rglob("*")) == shipped
    pushed = {file.read_bytes() for file in mine.rglob("*") if file.is_file()}
    assert layout.source("fer2013").read_bytes() in pushed


def test_a_failed_import_leaves_everything_as_it_was(layout: Layout, release: Path) -> None:
    import_source(layout, "fer2013", release, seed=7)
    before = _state(layout)
    cut = release.with_name("cut.zip")
    cut.write_bytes(release.read_bytes()[:-200])
    with pytest.raises(FeropsError, match=r"cut short"):
        import_source(layout, "fer2013", cut, seed=7)
    assert _state(layout) == before

    (layout.root / ".dvc" / "config").write_text("[core\n", encoding="utf-8")  # now dvc itself fails
    changed = make_zip(release.with_name("more.zip"), members([*NAMES, "train/fear/Training_8.jpg"]))
    with pytest.raises(FeropsError, match=r"dvc add data failed"):
        import_source(layout, "fer2013", changed, seed=7)
    assert _state(layout) == before


def test_a_failed_first_import_leaves_no_data_folder(layout: Layout, release: Path) -> None:
    (layout.root / ".dvc" / "config").write_text("[core\n", encoding="utf-8")
    with pytest.raises(FeropsError, match=r"dvc add data failed"):
        import_source(layout, "fer2013", release, seed=7)
    assert not layout.data.exists()
    assert not layout.data_dvc.exists()


@pytest.mark.parametrize(
    ("source", "path", "said"),
    [
        ("FER-2013", None, "there is no data set named 'FER-2013'; did you mean fer2013\\?"),
        ("xyz", None, "known are .*fer2013.*synthetic"),
        ("fer2013", None, "fer2013 needs the path of your copy"),
        ("synthetic", Path("x.zip"), "takes no path, found x.zip"),
    ],
)
def test_a_request_that_cannot_be_met(tmp_path: Path, source: str, path: Path | None, said: str) -> None:
    with pytest.raises(FeropsError, match=said):
        import_source(Layout(tmp_path), source, path, seed=7)


def test_outside_a_dvc_project_nothing_is_imported(tmp_path: Path, release: Path) -> None:
    with pytest.raises(FeropsError, match=r"is not a DVC project.*git init && dvc init"):
        import_source(Layout(tmp_path / "empty"), "fer2013", release, seed=7)


def test_data_that_was_not_pulled_is_not_dropped_silently(layout: Layout, release: Path) -> None:
    layout.data_dvc.write_text("outs:\n- md5: aa.dir\n  path: data\n", encoding="utf-8")
    with pytest.raises(FeropsError, match=r"dvc pull data.dvc"):
        import_source(layout, "fer2013", release, seed=7)


def test_describing_no_data_says_how_to_get_some(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match=r"dvc pull data.dvc, or ferops import"):
        inventory.describe_data(Layout(tmp_path))


# --- your own folders, and what is odd ----------------------------------------------------------------------------


def test_folders_of_your_own_live_side_by_side_under_their_names(layout: Layout, tmp_path: Path) -> None:
    for number, name in enumerate(("lab", "my-web")):
        source = make_folder(tmp_path / name, {f"anger/{i}.png": noise_png(10 * number + i) for i in range(number + 1)})
        summary = import_source(layout, "folder", source, seed=7, name=name)
        assert summary.source == name
        assert set(pd.read_parquet(layout.source(name))["source"]) == {name}
    assert {entry.source: entry.rows for entry in inventory.list_sources(layout)} == {"lab": 1, "my-web": 2}
    said = inventory.describe_data(layout)
    assert said.count("your own images, a folder for each class") == 2
    assert "3 images in 2 sources" in said


def test_the_commands_say_what_came_and_what_is_there(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(tmp_path / "lab", {"Happy/1.png": noise_png(1), "angry/2.png": noise_png(2)})
    (tmp_path / "lab.csv").write_text("file,subject,age\n1.png,p1,old\n", encoding="utf-8")
    monkeypatch.chdir(layout.root)
    options = ["--name", "lab", "--attributes", str(tmp_path / "lab.csv")]
    done = CliRunner().invoke(app, ["import", "folder", str(tmp_path / "lab"), *options], catch_exceptions=False)
    assert "lab: 2 images in data/lab.parquet\n    anger  1\n    happy  1\n" in done.output
    assert "1 x image without a line in the attributes" in done.output
    said = CliRunner().invoke(app, ["data"], catch_exceptions=False).output
    for wanted in ("lab: your own images", "people: 1", "groups: age", "licence: whatever applies", "2 images in 1"):
        assert wanted in said


@pytest.mark.parametrize("name", ["fer2013", "synthetic", "Mine", "my set", "../x", "a-001", "1a", "a" * 41, "x.y"])
def test_a_name_that_is_taken_or_no_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(FeropsError, match=r"--name .*(choose another one|cannot be the name of a file)"):
        import_source(Layout(tmp_path), "folder", tmp_path, seed=7, name=name)
    with pytest.raises(FeropsError, match=r"--map, --classes and --label-pattern are for `folder`"):
        import_source(Layout(tmp_path), "fer2013", tmp_path, seed=7, name="mine")
    with pytest.raises(FeropsError, match=r"--votes is for `fer2013`"):
        import_source(Layout(tmp_path), "folder", tmp_path, seed=7, votes=tmp_path / "votes.csv")


def test_the_summary_counts_what_was_left_out_and_what_is_odd(layout: Layout, tmp_path: Path) -> None:
    content = encoded(noise(0), kind="JPEG")
    files = {
        "sad/cut.jpg": content[: len(content) // 2],
        "sad/text.jpg": b"<html>",
        "sad/whole.jpg": content,
        "sad/none.jpg": b"",
        "sad/.DS_Store": b"x",
    }
    summary = import_source(layout, "folder", make_folder(tmp_path / "mine", files), seed=7)
    litter = "litter of an operating system (__MACOSX, .DS_Store, Thumbs.db ...)"
    assert summary.skipped == {litter: 1, "empty file": 1}
    assert summary.noticed == {"cut short": 1, "not a readable image": 1}
    images = set(pd.read_parquet(layout.source("folder"))["image"])
    assert images == {files[f"sad/{name}.jpg"] for name in ("cut", "text", "whole")}  # byte for byte
    assert inventory.describe_import(summary) == (
        f"folder: 3 images in {layout.source('folder')}\n"
        "    sad  3\n"
        f"  left out:\n    1 x {litter}\n    1 x empty file\n"
        "  unusual, but imported as published:\n    1 x cut short\n    1 x not a readable image\n"
        f"  each file that was left out: {layout.root / 'reports/import/folder-left-out.csv'}\n"
        f"  data version {summary.data_version}"
    )
    listed = pd.read_csv(str(summary.left_out)).to_numpy().tolist()
    assert listed == [["sad/.DS_Store", litter], ["sad/none.jpg", "empty file"]]
    whole = import_source(layout, "folder", make_folder(tmp_path / "whole", {"sad/1.jpg": content}), seed=7)
    assert (whole.left_out, Path(str(summary.left_out)).exists()) == (None, False)


def test_the_summary_is_short_and_plain_whatever_an_archive_holds() -> None:
    skipped = {f"unknown folder \x1b[2J{number}": 2 for number in range(50)}
    result = ImportResult(
        source="x",
        rows=1,
        file="x",
        files=3,
        classes={"sad": 1},
        noticed={},
        skipped=skipped,
        left_out=None,
        data_version="v",
    )
    said = inventory.describe_import(result)
    assert "x and 2 more" in said
    assert "\x1b" not in said
    assert "    60 x 30 other reasons" in said


# --- killed -------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from ferops.datasets import importer, manifest, store, swap, versioning
from ferops.layout import Layout

root, source, moment = sys.argv[1:]
move, add = swap._move, versioning.add_data
at = {"moves": 0}

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def moved(files, folder):
    move(files, folder)
    at["moves"] += 1
    if moment == f"after move {at['moves']}":
        kill()

def added(layout, repo):
    if moment == "before dvc":
        kill()
    if moment == "within dvc":  # its data are stored, data.dvc is half written
        layout.data_dvc.write_text("outs:\\n- md5: 0")
        kill()
    store.add(repo, layout.data)
    if moment == "after dvc":
        kill()

def read(rows, noticed):
    for row in rows:
        yield row
        kill()

swap._move, versioning.add_data = moved, added
if moment == "while reading":
    importer._noting = read
importer.import_source(Layout(Path(root)), "fer2013", Path(source), seed=7)
"""


def _kill_import(layout: Layout, source: Path, moment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(layout.root), str(source), moment], capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


SLOW = ("while reading", "after move 2", "before dvc", "within dvc")
MOMENTS = ["after move 1", *(pytest.param(moment, marks=pytest.mark.slow) for moment in SLOW)]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_import_loses_nothing(layout: Layout, release: Path, moment: str) -> None:
    import_source(layout, "fer2013", release, seed=7)
    before = _state(layout)
    changed = make_zip(release.with_name("more.zip"), members([*NAMES, "train/fear/Training_8.jpg"]))
    _kill_import(layout, changed, moment)
    if moment != "while reading":
        with pytest.raises(FeropsError, match=r"was interrupted.*ferops data"):
            versioning.require_current(layout)
    inventory.describe_data(layout)
    assert _state(layout) == before
    versioning.require_current(layout)
    assert import_source(layout, "fer2013", changed, seed=7).rows == len(NAMES) + 1
    assert [path.name for path in layout.state.iterdir()] == ["import.lock"]


@pytest.mark.slow
def test_an_import_killed_after_dvc_is_finished_by_the_next_command(layout: Layout, release: Path) -> None:
    import_source(layout, "fer2013", release, seed=7)
    text = layout.data_dvc.read_text(encoding="utf-8")
    layout.data_dvc.write_text(text + "  remote: embedded\n", encoding="utf-8")
    changed = make_zip(release.with_name("more.zip"), members([*NAMES, "train/fear/Training_8.jpg"]))
    _kill_import(layout, changed, "after dvc")
    assert f"{len(NAMES) + 1} images" in inventory.describe_data(layout)
    versioning.require_current(layout)
    assert "remote" not in _tracked(layout)  # or the next push would publish the images


@pytest.mark.slow
def test_a_killed_first_import_leaves_no_data_folder(layout: Layout, release: Path) -> None:
    _kill_import(layout, release, "before dvc")
    with pytest.raises(FeropsError, match=r"no data in"):
        inventory.describe_data(layout)
    assert not layout.data.exists()
    assert not layout.data_dvc.exists()
    assert import_source(layout, "fer2013", release, seed=7).rows == len(NAMES)


def _describe_when_free(layout: Layout) -> str:
    """DVC, if it was at work for a killed import, ends first: it holds the lock."""
    for _ in range(100):
        with suppress(FeropsError):
            return inventory.describe_data(layout)
        time.sleep(0.1)
    return inventory.describe_data(layout)


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.3, 0.6, 0.9, 1.2, 1.5, 1.8])
def test_a_kill_at_any_time_leaves_the_old_data_or_the_new(layout: Layout, release: Path, delay_s: float) -> None:
    import_source(layout, "fer2013", release, seed=7)
    before = _state(layout)
    changed = make_zip(release.with_name("more.zip"), members([*NAMES, "train/fear/Training_8.jpg"]))
    child = subprocess.Popen(
        [sys.executable, "-c", "from ferops.cli import main; main()", "import", "fer2013", str(changed)],
        cwd=layout.root,
    )
    time.sleep(delay_s)
    child.kill()
    child.wait()
    said = _describe_when_free(layout)
    versioning.require_current(layout)
    assert _state(layout) == before or f"{len(NAMES) + 1} images" in said
    assert import_source(layout, "fer2013", changed, seed=7).rows == len(NAMES) + 1


def test_two_imports_at_once(layout: Layout, release: Path) -> None:
    with swap.exclusive(layout), pytest.raises(FeropsError, match=r"another import is running"):
        import_source(layout, "fer2013", release, seed=7)


def test_what_dvc_objects_to_is_told(layout: Layout, release: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    layout.data.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(FeropsError, match=r"dvc add data failed: .*symlink"):
        import_source(layout, "fer2013", release, seed=7)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second disk; Linux has one in memory")
def test_data_on_another_disk_is_told_before_anything_is_read(layout: Layout, release: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == layout.root.stat().st_dev:
            pytest.skip("the temporary folder is on that disk, too")
        layout.data.symlink_to(other, target_is_directory=True)
        with pytest.raises(FeropsError, match=r"on different disks.*leave a link"):
            import_source(layout, "fer2013", release, seed=7)
        assert not list(Path(other).iterdir())


@pytest.mark.slow
def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    peaks_mb = {}
    for images in (2_000, 22_000):
        archive = tmp_path / f"{images}.zip"
        ingest.make(archive, images=images, side_px=8)
        found, _, peaks_mb[images] = ingest.measure(archive, source="folder")
        assert found == images
    each_kb = 1024 * (peaks_mb[22_000] - peaks_mb[2_000]) / 20_000
    assert each_kb < 2.5  # with 290,000 images, 700 MB more than with none
    assert peaks_mb[2_000] < 300


def test_the_same_images_under_two_names_are_noticed_and_one_is_removed(layout: Layout, tmp_path: Path) -> None:
    """Its version stays in DVC's cache; a source that the settings name stays where it is."""
    photos = make_folder(tmp_path / "photos", {f"happy/{i}.png": noise_png(i) for i in range(3)})
    first = import_source(layout, "folder", photos, seed=1, name="mine")
    (photos / "happy" / "0.png").write_bytes(noise_png(9))
    second = import_source(layout, "folder", photos, seed=1, name="again")
    assert second.noticed == {"image that the source mine has, too (ferops remove mine, unless both are wanted)": 2}

    layout.params_file.write_text(presets.render("own"), encoding="utf-8")  # data.sources: [mine]
    before = _state(layout)
    with pytest.raises(FeropsError, match=r"params\.yaml names mine in data\.sources, so the next run would fail"):
        removal.remove(layout, "mine")
    with pytest.raises(FeropsError, match=r"there is no source 'agian' in .*; it holds again, mine"):
        removal.remove(layout, "agian")
    assert _state(layout) == before
    tracked = layout.data_dvc.read_bytes()
    said = removal.remove(layout, "again")
    assert said[:2] == [
        f"again: 3 images removed, {layout.source('again')}",
        f"data version {second.data_version} -> {first.data_version}",
    ]
    layout.params_file.unlink()
    removal.remove(layout, "mine")
    assert raw.sources(layout) == []
    versioning.require_current(layout)
    layout.data_dvc.write_bytes(tracked)
    dvc(layout.root, "checkout", "-q", "data.dvc")
    assert raw.sources(layout) == ["again", "mine"]
