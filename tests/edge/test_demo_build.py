"""The page for a browser alone is put together whole, from pinned files, or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from docs.demo import build as demo

from exports import write_export
from ferops.errors import FeropsError

IMPORTS = re.compile(r"""(?:from|import|new URL\()\s*["']([^"']+)["']""")


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with the names of onnxruntime-web's files, and its hash pinned."""
    archive = tmp_path / "runtime.tgz"
    with tarfile.open(archive, "w:gz") as packed:
        for name in (*demo.RUNTIME_FILES, "ort.node.min.mjs"):
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(name)
            packed.addfile(member, io.BytesIO(name.encode()))
    digest = b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    monkeypatch.setattr(demo, "INTEGRITY", f"sha512-{digest}")
    return archive


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    write_export(folder)
    return folder


def changed(model: Path, **values: Any) -> None:
    path = model / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_all_that_the_page_loads_is_in_its_folder(tmp_path: Path, runtime: Path, model: Path) -> None:
    out = tmp_path / "demo"
    demo.build(out, model=str(model), runtime=runtime)
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {f"ort/{name}" for name in demo.RUNTIME_FILES} <= names
    assert "ort/ort.node.min.mjs" not in names
    loaded = {"index.html"}
    page = (out / "index.html").read_text()
    for script in [path for path in out.rglob("*.js") if path.is_file()]:
        text = script.read_text()
        assert "://" not in text, script
        found = [name for name in IMPORTS.findall(text) if name.endswith(("js", "mjs"))]
        loaded |= {(script.parent / name).resolve().relative_to(out.resolve()).as_posix() for name in found}
    loaded |= set(re.findall(r'(?:src|href)="([^#"]+)"', page))
    assert loaded <= names
    assert {name for name in names if name.endswith(".js")} <= loaded, "nothing that no module needs"
    ids = set(re.findall(r'id="([\w-]+)"', page))
    asked = {name for path in out.rglob("*.js") for name in re.findall(r'\$\("([\w-]+)"\)', path.read_text())}
    assert asked <= ids, "the page has every element that a module asks for"


def test_it_knows_the_model_and_says_its_terms(tmp_path: Path, runtime: Path, model: Path) -> None:
    out = tmp_path / "demo"
    changed(model, temperature=1.7, low_confidence=0.4, tta="flip", set_threshold=0.2, coverage=0.9)
    demo.build(out, model=str(model), runtime=runtime)
    about = demo.BrowserModel.read(out / "models" / "model.json", made_by="the test")
    config = json.loads((model / "config.json").read_text())
    assert (about.temperature, about.low_confidence, about.tta, about.set_threshold) == (1.7, 0.4, "flip", 0.2)
    assert list(about.classes) == config["classes"]
    assert (out / "models" / about.file).read_bytes() == (model / config["served"]).read_bytes()
    assert about.prohibited_uses
    notice = (out / "NOTICE.txt").read_text()
    assert "MIT License" in notice
    assert config["licence"] in notice


def test_what_cannot_be_built_leaves_nothing(
    tmp_path: Path, runtime: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "demo"
    other = tmp_path / "other.tgz"
    other.write_bytes(b"another version")
    with pytest.raises(FeropsError, match=r"other.tgz is not onnxruntime-web@.*npm pack"):
        demo.build(out, model=str(model), runtime=other)
    with pytest.raises(FeropsError, match=r"none.tgz does not exist"):
        demo.build(out, model=str(model), runtime=tmp_path / "none.tgz")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FeropsError, match=r"npm is not installed.*--runtime FILE"):
        demo.build(out, model=str(model))
    (tmp_path / "npm").write_text("#!/bin/sh\necho 'no network here' >&2\nexit 1\n")
    (tmp_path / "npm").chmod(0o755)
    with pytest.raises(FeropsError, match=r"npm could not fetch.*no network here"):
        demo.build(out, model=str(model))
    assert not out.exists()
    demo.build(out, model=str(model), runtime=runtime)
    with pytest.raises(FeropsError, match=r"exists, and would be replaced"):
        demo.build(out, model=str(model), runtime=runtime)


def test_a_model_of_another_detector_is_refused(tmp_path: Path, runtime: Path, model: Path) -> None:
    changed(model, detector="centerface")
    with pytest.raises(FeropsError, match=r"centerface"):
        demo.build(tmp_path / "demo", model=str(model), runtime=runtime)
    assert not (tmp_path / "demo").exists()


def test_the_command_says_what_is_wrong(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["build.py", str(tmp_path), "--model", str(model)])
    assert demo.main() == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path} exists")
