"""Every file that a person or a tool can damage: one clear message and exit status 1, never a traceback."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

import blobs
from damaged import DVC_FILES, TEXTS, Attempts, ferops, parquet_files
from ferops.classes import DEFAULT_CLASSES
from ferops.datasets import manifest, versioning
from ferops.layout import Layout
from releases import make_folder, make_tar
from sample_images import noise_png, quick_tree

pytestmark = pytest.mark.slow

COUNTS: dict[str, int] = {}


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A project with a source `a`, and with what each stage would hand on."""
    layout = Layout(tmp_path_factory.mktemp("bad") / "project")
    layout.data.mkdir(parents=True)
    Repo.init(str(layout.root), no_scm=True).close()
    tree = quick_tree()
    tree["data"]["sources"] = ["a"]
    YAML().dump(tree, layout.params_file)
    rows = [
        manifest.make_row(noise_png(i), source="a", label=DEFAULT_CLASSES[i % 6], group_age="young") for i in range(12)
    ]
    manifest.write(layout.source("a"), rows, source="a")
    _name_data(layout)
    return layout


@pytest.fixture
def attempts(request: pytest.FixtureRequest) -> Iterator[Attempts]:
    found = Attempts()
    yield found
    COUNTS[request.node.name] = found.tried
    assert found.wrong == []
    assert found.tried


def _name_data(layout: Layout) -> None:
    text = f"outs:\n- md5: {versioning.folder_md5(layout.data)}.dir\n  path: data\n"
    layout.data_dvc.write_text(text, encoding="utf-8")


def test_raw_data(layout: Layout, attempts: Attempts) -> None:
    good = pq.read_table(layout.source("a"))
    files = parquet_files(good)
    whole = {"damaged pages", "image_id is null", "width is too large", "another source"}  # `data` does not look there
    for what in attempts.each(layout.source("a"), files):
        _name_data(layout)
        attempts.refused(what, layout.root, "validate")
        if not any(what.endswith(name) for name in whole):
            attempts.refused(what, layout.root, "data")
    _name_data(layout)


def test_raw_data_as_other_tools_write_it_are_read(layout: Layout) -> None:
    before = layout.source("a").read_bytes()
    frame = pd.read_parquet(layout.source("a"))
    frame["label"] = frame["label"].astype("category")
    frame["width"] = frame["width"].astype("int64")
    frame["note"] = [["not ours"]] * len(frame)
    frame.to_parquet(layout.source("a"))
    assert "12 images" in ferops(layout.root, "data")[1]
    layout.source("a").write_bytes(before)


@pytest.mark.parametrize("name", ["data.dvc", "starter.dvc"])
def test_dvc_files(layout: Layout, attempts: Attempts, name: str) -> None:
    for what in attempts.each(layout.root / name, DVC_FILES):
        attempts.refused(what, layout.root, "validate")
        if name == "data.dvc":
            attempts.refused(what, layout.root, "data")


def test_settings(layout: Layout, attempts: Attempts) -> None:
    for what in attempts.each(layout.params_file, TEXTS):
        attempts.refused(what, layout.root, "split")
        if what.split()[-1] not in ("empty", "blank", "null", "mark"):
            attempts.refused(what, layout.root, "preset", "quick")
    shutil.move(layout.params_file, layout.root / "kept")
    layout.params_file.mkdir()
    attempts.refused("params.yaml is a folder", layout.root, "split")
    layout.params_file.rmdir()
    shutil.move(layout.root / "kept", layout.params_file)


def test_what_stages_hand_on(layout: Layout, attempts: Attempts) -> None:
    raw = pd.read_parquet(layout.source("a")).drop(columns="image")
    table = raw.assign(cluster=raw["image_id"], connected=raw["image_id"], pixel_hash=raw["image_id"])
    layout.manifest.parent.mkdir(parents=True)
    layout.assignment.parent.mkdir(parents=True)
    table.to_parquet(layout.manifest)
    split = pd.DataFrame({"image_id": raw["image_id"], "split": "train", "group": raw["image_id"]})
    split.to_parquet(layout.assignment)
    files = parquet_files(pq.read_table(layout.source("a")))
    damage = {name: files[name] for name in ("empty", "text", "half", "damaged footer", "no columns", "without label")}
    twice = io.BytesIO()
    pd.concat([table, table]).to_parquet(twice)
    for what in attempts.each(layout.manifest, damage | {"each row twice": twice.getvalue()}):
        attempts.refused(what, layout.root, "split")
        attempts.refused(what, layout.root, "preprocess")
    for what in attempts.each(layout.assignment, damage):
        attempts.refused(what, layout.root, "preprocess")

    blobs.write_faces(layout, {split: blobs.blobs(2, seed=1) for split in ("train", "val", "test")})
    for what in attempts.each(layout.face_index, damage):
        attempts.refused(what, layout.root, "train", "baseline")
    array = layout.faces("train").read_bytes()
    other = io.BytesIO()
    np.savez(other, a=np.zeros(3))
    arrays = {"empty": b"", "half": array[: len(array) // 2], "text": b"x", "archive": other.getvalue()}
    for what in attempts.each(layout.faces("train"), arrays | {"no header": array[:6], "pickle": b"\x80\x04N."}):
        attempts.refused(what, layout.root, "train", "baseline")


def test_score(layout: Layout, attempts: Attempts, make_export) -> None:
    model = layout.root / "model"
    shutil.copytree(make_export(), model)
    path = layout.root / "labelled.parquet"
    files = parquet_files(pq.read_table(layout.source("a")))
    unread = ("id", "width", "height", "source", "subject", "group", "usage")  # not read, or optional
    wanted = {n: c for n, c in files.items() if not any(word in n for word in unread) or n == "without image"}
    for what in attempts.each(path, wanted | TEXTS):
        attempts.refused(what, layout.root, "score", "--model", str(model), "--data", str(path))
    path = layout.source("a")
    for what in attempts.each(model / "config.json", TEXTS):
        attempts.refused(what, layout.root, "score", "--model", str(model), "--data", str(path))


def test_imports(layout: Layout, attempts: Attempts, tmp_path: Path) -> None:
    def tried(what: str, path: Path, *more: str) -> None:
        attempts.refused(what, layout.root, "import", "folder", str(path), "--name", "b", *more)

    good = make_folder(tmp_path / "good", {f"happy/{i}.png": noise_png(i) for i in range(2)})
    listed = tmp_path / "list.csv"
    for what in attempts.each(
        listed, {n: c for n, c in TEXTS.items() if n != "mark"} | {"a column twice": b"file,a,a\n1.png,1,2\n"}
    ):
        tried(what, good, "--attributes", str(listed))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("happy/1.png", noise_png(1))
    whole = packed.getvalue()
    tar = make_tar(tmp_path / "x.tar", {"happy/1.png": noise_png(1)}).read_bytes()
    archives = {
        "zip cut": whole[:-30],
        "zip start": whole[:60],
        "zip damaged": whole[:50] + b"\0" * 100 + whole[150:],
        "tar cut": tar[:700],
        "gzip of nothing": b"\x1f\x8b\x08\0",
        "7z": b"7z\xbc\xaf\x27\x1c" + b"\0" * 99,
    }
    for what in attempts.each(tmp_path / "release", archives | TEXTS):
        tried(what, tmp_path / "release")
    for number, name in enumerate(("no class", "\x1b[31mred", "a\nb", "x" * 200, "\udcff")):
        tried(f"folder {name!r}", make_folder(tmp_path / str(number), {f"{name}/1.png": noise_png(1)}))
    tried("nothing there", tmp_path / "none")


def test_at_least_two_hundred_were_tried() -> None:
    print(f"\nbad inputs tried: {sum(COUNTS.values())} {COUNTS}")
    assert sum(COUNTS.values()) >= 200
