"""benchmarks/gpu: what is packed comes out again, and a session needs no more than PyTorch and a few wheels."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from packaging.requirements import Requirement

from exports import provenance
from ferops.classes import DEFAULT_CLASSES
from ferops.datasets.images import decode
from ferops.datasets.synthetic import rows
from ferops.layout import Layout
from ferops.records.preprocess import PreprocessSummary
from ferops.training import model

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CLASSES = (*DEFAULT_CLASSES, "neutral")
SPLITS = ("train", "val", "test")
SIZE_PX = 96


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import a module of benchmarks/gpu by its name; afterwards they are forgotten."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.syspath_prepend(str(BENCHMARKS / "gpu"))

    def by_name(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield by_name
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]


@pytest.fixture(scope="module")
def portraits() -> dict[str, list[np.ndarray]]:
    """A rendered face of each class and its mirror image, uint8 `(96, 96, 3)`."""
    rendered = islice(rows(seed=11, identities=1, images_per_expression=1, size_px=SIZE_PX), 8)
    faces = {row["label"]: decode(row["image"]) for row in rendered}
    return {name: [faces[name], faces[name][:, ::-1]] for name in CLASSES}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, portraits: dict[str, list[np.ndarray]]) -> Layout:
    """What `preprocess` hands on: two faces of each class from thumbnails, and two from photographs, in each split."""
    layout = Layout(tmp_path_factory.mktemp("packed"))
    for stage in ("preprocess", "validate"):
        layout.artifacts(stage).mkdir(parents=True)
    layout.reports("preprocess").mkdir(parents=True)
    tables = []
    for split in SPLITS:
        images, table = [], []
        for source, side in (("fer2013", 48), ("wild", 350)):
            for index, name in enumerate(CLASSES):
                for number, image in enumerate(portraits[name]):
                    row = {"image_id": f"{split}-{source}-{name}-{number}", "split": split, "row": len(images)}
                    table.append({**row, "source": source, "label_index": index, "width": side, "height": side})
                    images.append(image)
        np.save(layout.faces(split), np.stack(images))
        tables.append(pd.DataFrame(table))
    faces = pd.concat(tables)
    faces["votes_happy"] = np.where(faces["label_index"] == CLASSES.index("happy"), 8.0, np.nan)
    faces.sample(frac=1.0, random_state=0).to_parquet(layout.face_index)
    twin = {"image_id": "train-fer2013-sad-0", "reason": "exact_duplicate"}
    other = {"image_id": "train-fer2013-sad-1", "reason": "blank"}
    pd.DataFrame([twin, twin, other]).to_parquet(layout.quarantine)
    origin = provenance(params={"data": {"classes": list(CLASSES)}})
    counts: dict[str, Any] = dict.fromkeys(("images", "several_faces", "other_faces"), 0)
    tables_of: dict[str, Any] = {name: {} for name in ("quarantined", "kept_whole", "splits", "labels")}
    searched = {"tried": 0, "found": 0, "rate": None, "by": {}}
    speed = {"detector_ms_per_image": None, "stage_ms_per_image": 1.0}
    summary = {"provenance": origin, "detection_rate": None, "detection": searched, "speed": speed}
    PreprocessSummary.model_validate(summary | counts | tables_of).write(layout.summary("preprocess"))
    return layout


@pytest.fixture
def packed_project(project: Layout, load: Any, tmp_path: Path) -> Path:
    pack, packed = load("pack"), load("packed")
    collected, small = pack.collect(project, "wild")
    packed.write(tmp_path / packed.FACES, collected, small=small, small_px=56, quality=80)
    return tmp_path


def test_a_pack_gives_back_faces_labels_votes_and_copies(packed_project, project, load):
    pack = load("packed").read(packed_project / "faces.zip")
    assert pack.classes == CLASSES
    for split in SPLITS:
        images = np.load(project.faces(split))
        found, wanted = pack.splits[split], images @ np.array([0.299, 0.587, 0.114])
        assert found.images.shape == (28, SIZE_PX, SIZE_PX)
        error = np.sqrt(np.square(found.images - wanted).mean(axis=(1, 2)))
        assert error.max() < 12  # grey levels of 255, where 96 px became 56
        assert error[14:].max() < 5  # photographs keep their pixels
        assert found.labels.tolist() == [index for _ in range(2) for index in range(7) for _ in range(2)]
        assert set(found.sources[:14]) == {"fer2013"}
        assert set(found.sources[14:]) == {"wild"}
        happy = CLASSES.index("happy")
        assert (found.votes[:, happy] == np.where(found.labels == happy, 8, 0)).all()
        copies = {"train": {2 * CLASSES.index("sad"): 2}}.get(split, {})
        assert {int(row): int(found.copies[row]) for row in found.copies.nonzero()[0]} == copies


def test_mosaics_of_any_number_of_faces_come_back_in_order(load, monkeypatch):
    mosaic = load("mosaic")
    monkeypatch.setattr(mosaic, "MAX_SIDE", 64)  # four faces of 32 px in a mosaic
    for count in (0, 1, 3, 4, 9):
        faces = np.repeat(np.arange(count, dtype=np.uint8) * 20, 32 * 32).reshape(-1, 32, 32)
        mosaics = mosaic.encode(faces, quality=90)
        assert len(mosaics) == -(-count // 4)
        found = mosaic.decode(mosaics, count=count, side=32)
        assert found.shape == (count, 32, 32)
        assert np.abs(found.mean(axis=(1, 2)) - 20 * np.arange(count)).max(initial=0) < 2


def test_the_three_questions(load):
    """Six classes are judged without neutral's logit; photographs of classes with 50 of them in all splits count."""
    judge, packed = load("judge"), load("packed")
    labels = np.array([0, 6, 3] + [3] * 30 + [6] * 30 + [1])
    sources = np.array(["fer2013"] * 3 + ["wild"] * 61)
    votes = np.zeros((64, 7), np.uint8)
    votes[0, 2], votes[1, 1], votes[2, 3] = 5, 6, 9
    split = packed.Split(np.empty((64, 1, 1), np.uint8), labels, votes, sources, np.zeros(64, np.uint8))
    pack = packed.Pack(dict.fromkeys(SPLITS, split), {"classes": CLASSES, "photographs": "wild"})
    logits = np.eye(7, dtype=np.float32)[labels]
    logits[1:3, 6] = 9.0
    logits[1, 1] = 1.0
    logits[3:18] = np.eye(7)[6]
    found = judge.judge(pack, "val", logits)
    assert found["labels"] == {"n": 2, "accuracy": 1.0, "macro_f1": pytest.approx(2 / 6)}
    assert found["votes"] == {"n": 2, "accuracy": 1.0, "macro_f1": pytest.approx(2 / 6)}
    assert found["photographs"]["recall"] == {"happy": 0.5, "neutral": 1.0}
    assert found["photographs"]["mean_recall"] == 0.75
    assert found["photographs"]["n"] == 61


def test_the_temperature_undoes_what_the_logits_were_multiplied_by(load):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (1500, 7)).astype(np.float32)
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)  # drawn by the softmax of the logits
    assert load("judge").temperature(logits, labels) == pytest.approx(1.0, rel=0.1)
    assert load("judge").temperature(3 * logits, labels) == pytest.approx(3.0, rel=0.1)


def test_the_random_split_shares_copies_and_the_other_does_not(load):
    reference, packed = load("reference"), load("packed")
    counts = np.array([3] * 20, np.uint8)

    def split(first: int) -> Any:
        images = np.arange(first, first + 20, dtype=np.uint8).reshape(20, 1, 1)
        names = np.array(["fer2013"] * 20)
        return packed.Split(images, np.arange(20) % 7, np.zeros((20, 7), np.uint8), names, counts)

    pack = packed.Pack({"train": split(0), "val": split(20)}, {"classes": CLASSES, "photographs": "wild"})
    six = reference.six_classes(pack)
    assert set(six.splits["train"].labels) == set(range(6))
    train, validation = reference.leaking(six)
    assert (len(train), len(validation)) == (len(six.splits["train"]), len(six.splits["val"]))
    assert set(train.images.ravel()) & set(validation.images.ravel())
    assert not set(six.splits["train"].images.ravel()) & set(six.splits["val"].images.ravel())


def test_what_there_is_no_time_for_is_skipped_and_the_figures_say_so(packed_project, load, monkeypatch, tmp_path):
    arguments = ["--rehearse", "--seconds", "20", "--pack", str(packed_project), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["session.py", *arguments])
    assert load("session").main() == 0
    jobs = json.loads((tmp_path / "out" / "figures.json").read_text())["jobs"]
    assert len(jobs) == 10
    assert all("s were left, and" in found["skipped"] for found in jobs.values())


def test_a_late_job_and_a_failing_one_leave_the_others_alone(load, monkeypatch, tmp_path):
    parts, packed = load("parts"), load("packed")
    monkeypatch.setattr(parts, "LATE_S", 0.1)

    def fails(_: Any) -> dict[str, Any]:
        print("about to fail", flush=True)
        raise ValueError("no luck")

    def ends(job: Any) -> dict[str, Any]:
        return {"faces": job.pack.about["faces"]}

    jobs = {"late": lambda _: time.sleep(60), "fails": fails, "ends": ends}
    (tmp_path / "scratch").mkdir()
    found = parts.run(
        parts.Part("some", jobs, seconds=1.0, least=0.0),
        packed.Pack({}, {"faces": 3}),
        tmp_path,
        context=multiprocessing.get_context("fork"),
        seconds=1.0,
        tiny=True,
        scratch=tmp_path / "scratch",
    )
    assert found["ends"] == {"faces": 3}
    assert found["fails"] == {"failed": "ValueError: no luck"}
    assert found["late"] == {"failed": "ended with -15 and no result: too late, or killed"}
    log = (tmp_path / "log.txt").read_text()
    assert "== fails\nabout to fail\nTraceback" in log


BLOCKER = """
import sys


class Bare:
    # Finds what a finder of Python's finds, but for what a bare GPU machine lacks

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        lacks = name.partition(".")[0] in {blocked!r}
        return None if lacks else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)


sys.meta_path[:] = [Bare(finder) for finder in sys.meta_path]
"""


def not_on_a_bare_machine(wheels: tuple[str, ...]) -> set[str]:
    """Return the installed modules that neither PyTorch, torchvision, safetensors and NumPy nor the wheels bring."""
    todo, known = ["torch", "torchvision", "safetensors", "numpy", *wheels], set()
    while todo:
        name = todo.pop().lower().replace("_", "-")
        if name in known:
            continue
        try:
            requirements = [Requirement(text) for text in distribution(name).requires or ()]
        except PackageNotFoundError:
            continue
        known.add(name)
        todo += [each.name for each in requirements if not each.marker or each.marker.evaluate({"extra": ""})]
    return {
        module
        for module, owners in packages_distributions().items()
        if not {owner.lower().replace("_", "-").replace(".", "-") for owner in owners} & {*known, "ferops"}
    }


@pytest.mark.slow
def test_a_rehearsal_on_a_bare_machine(packed_project, load, tmp_path):
    blocked = not_on_a_bare_machine(load("pack").WHEELS)
    assert {"pandas", "pyarrow", "psutil", "sklearn", "scipy", "cv2", "mlflow", "matplotlib"} <= blocked
    assert not {"torch", "timm", "pydantic", "pydantic_core", "ruamel", "yaml", "numpy", "PIL", "tqdm"} & blocked
    site, out = tmp_path / "site", tmp_path / "out"
    site.mkdir()
    (site / "sitecustomize.py").write_text(BLOCKER.format(blocked=blocked))
    environment = {"PYTHON": sys.executable, "PYTHONPATH": str(site), "PACKED": str(packed_project), "OUT": str(out)}
    command = ["bash", str(BENCHMARKS / "gpu" / "session.sh"), "--rehearse"]
    done = subprocess.run(
        command,
        env=os.environ | environment | {"CXX": "true"},  # torch.compile is not rehearsed, and needs no compiler
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    log = (out / "log.txt").read_text() if out.exists() else ""
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{log}"
    figures = json.loads((out / "figures.json").read_text())
    networks = ["mobilenet", "resnet", "efficientnet", "student"]
    others = ["speed", "resume", "amp", "reference_by_cluster", "reference_random", "compile"]
    assert sorted(figures["jobs"]) == sorted([*networks, *others])
    assert figures["jobs"]["resume"]["bit_for_bit"]
    assert figures["jobs"]["student"]["teachers"] == networks[:3]
    assert figures["jobs"]["reference_random"]["own_validation"]["n"] == 12
    assert len((out / "table.md").read_text().splitlines()) == 2 + len(networks) + 1
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["figures.json", "log.txt", "table.md", *(f"{name}.safetensors" for name in networks)]
    )
    adopt = load("adopt")
    for name in networks:
        assert (out / f"{name}.safetensors").stat().st_size < 16e6
        adopt.adopt(out / f"{name}.safetensors", tmp_path / "adopted" / name)
        net, config = model.load(tmp_path / "adopted" / name)
        assert config.classes == CLASSES
        assert config.grayscale
        assert (config.teacher is not None) == (name == "student")
        assert net.size_px == (48 if name == "resnet" else 128)
