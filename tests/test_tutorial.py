"""docs/tutorial.md, word by word in a fresh clone. Only the installation is left out: this environment is used."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from ferops.classes import DEFAULT_CLASSES
from ferops.layout import Layout
from ferops.orchestration.child import child_environment
from ferops.records.metrics import Metrics
from ferops.starter import shipped
from served import served

ROOT = Path(__file__).parents[1]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
INSTALLATION = ("make install", "source .venv/bin/activate")


def commands() -> list[str]:
    """Return the lines of the tutorial's shell blocks, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", TUTORIAL, re.MULTILINE | re.DOTALL)
    return [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]


def recipe(line: str) -> str:
    """Return what `make TARGET [NAME=VALUE]` runs after the installation; any other command as it is."""
    if not line.startswith("make "):
        return line
    _, target, *values = line.split()
    [found] = re.findall(
        rf"^{target}: install .*\n(?:\t@test .*\n)?\t@(ferops .*)", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    for name, _, value in (each.partition("=") for each in values):
        found = found.replace(f"$({name})", value)
    return str(found)


def test_every_command_of_the_tutorial_is_understood() -> None:
    assert commands()[:2] == list(INSTALLATION)
    assert [recipe(line) for line in commands()[2:]] == [
        "ferops predict photo.jpg",
        "ferops serve",
        "ferops run",
        "ferops promote 1",
        "ferops serve",
        "ferops import folder path/to/mine --name mine",
        "ferops data",
        "ferops run",
    ]


@pytest.mark.soak
def test_the_tutorial(tmp_path: Path) -> None:
    clone = tmp_path / "ferops"
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    environment = child_environment() | {"PYTHONPATH": str(clone / "src")}
    environment.pop("MLFLOW_TRACKING_URI", None)
    photo = _photos(clone)
    tags, said, began = [], "", time.monotonic()
    for line in commands()[2:]:
        start = time.monotonic()
        if recipe(line) == "ferops serve":
            command = [str(Path(sys.executable).with_name("ferops")), "serve"]
            with served(command, environment, folder=clone, log=tmp_path / "service.log") as client:
                assert "text/html" in client.get("/").headers["content-type"]
                assert client.post("/predict", files={"image": photo}).json()["faces_found"] == 1
                tags.append(client.get("/info").json()["tag"])
        else:
            done = subprocess.run(
                ["bash", "-c", recipe(line)], cwd=clone, env=environment, capture_output=True, text=True, check=False
            )
            said = done.stdout
            assert done.returncode == 0, f"{line}\n{said}\n{done.stderr}"
            print(f"\n$ {line}\n{said[-1500:]}")
        if line == "ferops data":
            assert "mine" in said
            settings = YAML()
            params = settings.load(clone / "params.yaml")
            params["data"]["sources"] = ["mine"]  # as the text asks
            settings.dump(params, clone / "params.yaml")
        print(f"{line}: {time.monotonic() - start:.0f} s")
    print(f"The tutorial after the installation: {(time.monotonic() - began) / 60:.0f} min")
    assert tags[0].startswith("ferops:starter-")
    assert tags[1] == "ferops:v1"
    metrics = Metrics.read(Layout(clone).artifacts("evaluate") / "metrics.json", made_by="ferops run")
    assert metrics.provenance.sources == ("mine",)
    assert metrics.champion is not None
    assert metrics.champion.version == "1"


def _photos(clone: Path) -> bytes:
    """Write photo.jpg and the folder path/to/mine, and return the photo: rendered faces of the embedded data."""
    (file,) = [name for name in shipped.objects("data.dvc") if not name.endswith(".dir")]
    table = pq.read_table(ROOT / file, columns=["image", "label", "subject"]).to_pandas().dropna()
    for label in DEFAULT_CLASSES:
        folder = clone / "path" / "to" / "mine" / label
        folder.mkdir(parents=True)
        for number, image in enumerate(table[table["label"] == label]["image"][:40]):
            (folder / f"{number}.png").write_bytes(image)
    photo: bytes = table["image"].iloc[0]
    (clone / "photo.jpg").write_bytes(photo)  # its name says JPEG, which nothing depends on
    return photo
