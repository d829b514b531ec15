"""`ferops predict`, with a detector that finds a face in the middle of every image that is not black."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from numpy.typing import NDArray
from typer.testing import CliRunner

from ferops import threads
from ferops.classes import DEFAULT_CLASSES
from ferops.cli import app
from ferops.errors import FeropsError
from ferops.inference import predictor, sources
from ferops.inference.sinks import columns
from middle import Middle
from sample_images import encoded

DOCS = Path(__file__).parents[2] / "docs"

Predict = Callable[..., Result]


def photo(colour: tuple[int, int, int]) -> bytes:
    return encoded(np.full((80, 100, 3), colour, np.uint8))


@pytest.fixture
def predict(tmp_path: Path, make_export: Any, monkeypatch: pytest.MonkeyPatch) -> Predict:
    """Run the verb in a folder with photos/ and model/; return what click says of it."""
    monkeypatch.setattr(predictor, "build", lambda *_, **__: Middle())
    monkeypatch.setattr(threads, "choose", lambda _: 1)
    monkeypatch.chdir(tmp_path)
    Path("model").symlink_to(make_export(favours="happy"))
    for name, content in {
        "anger.png": photo((255, 0, 0)),
        "black.png": photo((0, 0, 0)),
        "damaged.jpg": photo((9, 9, 9))[:100],
        "more/happy.png": photo((20, 20, 20)),
        "more/sad.png": photo((200, 20, 20)),
    }.items():
        (Path("photos") / name).parent.mkdir(parents=True, exist_ok=True)
        (Path("photos") / name).write_bytes(content)

    def run(*arguments: str, stdin: bytes | None = None) -> Result:
        found = CliRunner().invoke(app, ["predict", *arguments, "--model", "model"], input=stdin)
        if found.exception and not isinstance(found.exception, SystemExit):
            raise found.exception
        return found

    return run


def test_a_photo_is_a_line(predict: Predict) -> None:
    found = predict("photos/anger.png")
    assert (found.exit_code, found.stdout) == (0, "photos/anger.png  happy        72%\n")
    assert found.stderr.startswith("model: model, which answers anger, disgust")
    assert predict("photos/black.png").stdout == "photos/black.png  no face\n"


def test_an_image_on_standard_input(predict: Predict) -> None:
    assert predict("-", stdin=photo((255, 0, 0))).stdout == "-  happy        72%\n"


def test_a_folder_as_files(predict: Predict) -> None:
    files = ["--csv", "out/a.csv", "--json", "out/a.jsonl", "--parquet", "out/a.parquet"]
    found = predict("photos", *files, "--annotated", "out/drawn", "--blur", "--batch", "2")
    assert (found.exit_code, found.stdout) == (3, "")
    assert "5 images, 3 faces" in found.stderr
    assert "1 without a face; 1 could not be read" in found.stderr
    rows = pd.read_csv("out/a.csv")
    assert rows["status"].tolist() == ["ok", "no_face", "unreadable", "ok", "ok"]
    assert rows["reason"][2].startswith("The image is damaged")
    assert pd.read_parquet("out/a.parquet")["source"].tolist() == rows["source"].tolist()
    assert len(Path("out/a.jsonl").read_text().splitlines()) == 5
    drawn = {path.relative_to("out/drawn").as_posix() for path in Path("out/drawn").rglob("*.png")}
    assert drawn == {"anger.png", "black.png", "more/happy.png", "more/sad.png"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_gone_on_with(predict: Predict, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    files = ["--csv", "{}.csv", "--json", "{}.jsonl", "--parquet", "{}.parquet", "--annotated", "{}", "--batch", "1"]
    predict("photos", *(each.format("whole") for each in files))
    read = sources.read

    def stopping(name: str) -> NDArray[np.uint8]:
        if name.endswith("happy.png"):
            os.kill(os.getpid(), number)
        return read(name)

    mine = [each.format("mine") for each in files]
    with monkeypatch.context() as patch:
        patch.setattr(sources, "read", stopping)
        found = predict("photos", *mine)
    assert found.exit_code == 130
    assert "To go on: the same command with --resume" in found.stderr
    done = len(pd.read_parquet("mine.parquet"))
    assert done in (2, 3, 4)
    found = predict("photos", *mine, "--resume")
    assert f"{5 - done + (done > 2)} image" in found.stderr  # and the damaged one, of which there is no drawing
    for ending in ("csv", "jsonl"):
        assert Path(f"mine.{ending}").read_bytes() == Path(f"whole.{ending}").read_bytes()
    pd.testing.assert_frame_equal(pd.read_parquet("mine.parquet"), pd.read_parquet("whole.parquet"))
    assert len(list(Path("mine").rglob("*.png"))) == 4
    assert "1 image, 0 faces; 1 could not be read" in predict("photos", *mine, "--resume").stderr
    assert "0 images" in predict("photos", *mine[:6], "--resume").stderr


def test_standard_output_holds_nothing_else(predict: Predict) -> None:
    found = predict("photos", "--csv", "-")
    assert len(found.stdout.splitlines()) == 6
    assert found.stdout.startswith("source,")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.jpg"], "nowhere.jpg does not exist"),
        (["photos", "--csv", "model/config.json"], "exists"),
        (["photos", "--csv", "a", "--json", "a"], "two of the outputs have one name"),
        (["photos", "--resume"], "--resume goes on with files"),
        (["photos", "--csv", "-", "--resume"], "--resume goes on with files"),
        (["photos", "--parquet", "-"], "cannot be written to standard output"),
        (["photos", "--annotated", "one.png"], "names one file, but there are 5 images"),
        (["photos", "--annotated", "photos/drawn"], "lies in photos"),
    ],
)
def test_wrong_wishes_are_refused_and_leave_nothing(predict: Predict, arguments: list[str], message: str) -> None:
    before = sorted(Path().rglob("*"))
    with pytest.raises(FeropsError, match=message):
        predict(*arguments)
    assert sorted(Path().rglob("*")) == before


def test_blurring_needs_drawings(predict: Predict) -> None:
    assert predict("photos", "--blur").exit_code == 2


def test_every_column_and_exit_status_is_described() -> None:
    page = (DOCS / "predict.md").read_text(encoding="utf-8")
    named = {name for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)}
    for name in columns(DEFAULT_CLASSES):
        assert name in named or re.sub(r"^p_.*", "p_CLASS", name) in named or re.sub(r"_[xy]$", "_x", name) in named
    for status in ("| 0 |", "| 1 |", "| 2 |", "| 3 |", "| 130 |"):
        assert status in page


@pytest.mark.slow  # a process of its own: 3 s
def test_a_photo_needs_no_heavy_library(make_export: Any, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(photo((255, 0, 0)))
    script = (
        "import sys; from ferops.cli import main; sys.argv[1:] = ['predict', 'photo.png', '--model', sys.argv[1]]\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'pandas', 'mlflow', 'sklearn', 'pyarrow', 'scipy', 'matplotlib', 'dvc'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(make_export())], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "photo.png  no face\n"), done.stderr
