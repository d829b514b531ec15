"""`ferops learn`: what it says in the end, where it works, and once the whole way."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from ferops import presets
from ferops.config import load_params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.orchestration import learn as learning
from ferops.orchestration.child import child_environment
from ferops.orchestration.learn import learn
from ferops.orchestration.outcome import Outcome
from ferops.records.metrics import Difference
from ferops.registry.versions import CHALLENGER
from ferops.starter import shipped
from sample_images import noise_png

ROOT = Path(__file__).parents[2]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for index in range(40):
        path = tmp_path / "My Photos" / ("joy", "sadness")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise_png(index))
    return tmp_path / "My Photos"


class _RunError(Exception):
    pass


def _begin(photos: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[Layout, str]:
    """Run `learn` up to the pipeline; return the project that it would run in, and what was said."""
    ran: list[Layout] = []
    said: list[str] = []

    def run(layout: Layout) -> str:
        ran.append(layout)
        raise _RunError

    monkeypatch.setattr(learning, "run", run)
    defaults = {"project": None, "classes": (), "words": (), "attributes": None}
    with pytest.raises(_RunError):
        learn(photos, **defaults | options, say=said.append)
    return ran[0], "\n".join(said)


def test_a_project_is_made_once_and_said(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with chdir(tmp_path):
        layout, said = _begin(photos, monkeypatch)
        assert layout.root == Path("my-photos-model")
        params = load_params(layout.params_file)
        assert (params.data.sources, params.data.classes) == (("my-photos",), ("happy", "sad"))
        assert "No project yet: making my-photos-model" in said
        assert "happy (20), sad (20)" in said
        presets.change(layout, {"seed": 11})
        (photos / "joy" / "more.png").write_bytes(noise_png(99))
        again, said = _begin(photos, monkeypatch, project=layout.root)
        assert "making" not in said
        assert load_params(again.params_file).seed == 11  # an edit stays
        assert pq.read_table(again.source("my-photos")).num_rows == 41


def test_edits_of_another_preset_are_not_lost(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with chdir(tmp_path):
        layout, _ = _begin(photos, monkeypatch)
        presets.apply_preset(layout, "quick", overwrite=True)
        presets.change(layout, {"seed": 11})
        with pytest.raises(FeropsError, match="edits that switching would lose:\n  seed: 7 -> 11"):
            learn(photos, project=layout.root, classes=(), words=(), attributes=None, say=print)


def test_a_path_that_does_not_exist_makes_no_project(tmp_path: Path) -> None:
    with chdir(tmp_path), pytest.raises(FeropsError, match=r"nowhere does not exist\. Name a folder"):
        learn(Path("nowhere"), project=None, classes=(), words=(), attributes=None, say=print)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.2, "better than the starter, but failed another gate"),
        (-0.2, -0.01, "The starter is better"),
        (-0.1, 0.1, "do not show that your model is better"),
    ],
)
def test_the_verdict_is_what_the_paired_interval_says(low: float, high: float, words: str) -> None:
    accuracy = {"value": (low + high) / 2, "low": low, "high": high}
    minus = Difference.model_validate({"accuracy": accuracy, "macro_f1": accuracy})
    assert words in learning._verdict(minus)


@pytest.mark.soak
def test_two_classes_of_ones_own_become_a_registered_model(tmp_path: Path) -> None:
    """By the command itself, on rendered faces whose classes go by other names; it trains six times."""
    (file,) = [name for name in shipped.objects("data.dvc") if not name.endswith(".dir")]
    table = pq.read_table(ROOT / file, columns=["image", "label", "subject"]).to_pylist()
    lines = ["file,subject"]
    for label, word in (("happy", "engaged"), ("sad", "bored")):
        rows = [row for row in table if row["label"] == label][:54]
        for index, row in enumerate(rows):
            path = tmp_path / "faces" / word / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.open(io.BytesIO(row["image"])).resize((128, 128)).save(path)
            lines.append(f"{word}/{index}.png,{row['subject']}")
    (tmp_path / "who.csv").write_text("\n".join(lines), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "ferops", "learn", "faces", "--attributes", "who.csv"],
        cwd=tmp_path,
        env=child_environment() | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 4), done.stdout + done.stderr
    outcome = Outcome.read(Layout(tmp_path / "faces-model"))
    assert outcome.metrics.classes == ("bored", "engaged")
    assert outcome.registered.alias == (CHALLENGER if done.returncode == 0 else None)
    assert "the starter has no bored, engaged, so there is no comparison with it" in done.stdout
