"""SIGKILL at random moments of all verbs: the same command again succeeds, with the result of an undisturbed run.

`pytest -m soak -s tests/faults/test_kills.py` prints a table; FEROPS_KILLS and FEROPS_KILLS_SEED: how many, which.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ferops import presets
from ferops.classes import DEFAULT_CLASSES
from ferops.datasets.synthetic.generate import rows
from ferops.files import sha256, write_json
from ferops.orchestration.child import child_environment
from registry_project import GATES
from shell import run as shell
from sockets import free_port

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("FEROPS_KILLS", "20"))
SEED = int(os.environ.get("FEROPS_KILLS_SEED", "20261128"))
WITHIN_S = 600.0

STAGES = (
    ("validate",),
    ("split",),
    ("preprocess",),
    ("train", "baseline"),
    ("train", "candidate"),
    ("export",),
    ("evaluate",),
    ("register",),
)
VERBS = (*STAGES, ("import", "folder", "../images", "--name", "ours"), ("promote", "1"), ("package",), ("serve",))
STACK = (("up",), ("down",))

pytestmark = pytest.mark.soak


@dataclass(frozen=True)
class Project:
    """A project on which each verb has run, in a folder with its own temporary folder and ports.

    Attributes:
        seconds: how long each verb took undisturbed.
        same: the files of artifacts/ and data/ that two undisturbed runs wrote byte for byte alike -> SHA-256.
        usual: what libraries leave in the temporary folder undisturbed (torch keeps a cache there).
    """

    root: Path
    environment: dict[str, str]
    port: int
    seconds: dict[tuple[str, ...], float]
    same: dict[str, str]
    usual: set[Path]

    def start(self, verb: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.root.parent / "log.txt").open("ab") as log:
            log.write(f"\n$ ferops {' '.join(verb)}\n".encode())
            log.flush()
            return subprocess.Popen(
                [sys.executable, "-m", "ferops", *verb],
                cwd=self.root,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def run(self, verb: Sequence[str]) -> float:
        """Run a verb to its end, `serve` until it answers and then SIGTERM; return the seconds. It must succeed."""
        begun = time.monotonic()
        process = self.start(verb)
        if verb[0] == "serve":
            self.wait_for_answer(process)
            took = time.monotonic() - begun
            process.terminate()
            process.wait(timeout=60)
            return took
        assert process.wait(timeout=WITHIN_S) == 0, self.log()
        return time.monotonic() - begun

    def prepare(self, verb: Sequence[str]) -> None:
        """Give `package` and `serve` something to do."""
        if verb[0] in ("package", "serve"):
            shutil.rmtree(self.root / "bentoml" / "bentos")

    def kill(self, verb: Sequence[str], after_s: float) -> bool:
        """SIGKILL the verb's process `after_s` seconds after its start; return whether it was still running."""
        self.prepare(verb)
        process = self.start(verb)
        try:
            process.wait(timeout=after_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=30)
            return True
        return False

    def wait_for_answer(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            assert process.poll() is None, self.log()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2).close()
            except OSError:
                time.sleep(0.3)
            else:
                return
        pytest.fail(f"serve did not answer: {self.log()}")

    def log(self) -> str:
        return "\n".join((self.root.parent / "log.txt").read_text(errors="replace").splitlines()[-40:])

    def faults(self) -> list[str]:
        """What a kill may have left, in words."""
        temporary = set(Path(self.environment["TMPDIR"]).iterdir()) - self.usual
        found = [f"left: {path}" for path in (*self.root.rglob("*.tmp"), *sorted(temporary))]
        found += [
            f"{name} is another one"
            for name, digest in hashes(self.root).items()
            if self.same.get(name, digest) != digest
        ]
        found += [f"{name} is gone" for name in self.same if not (self.root / name).exists()]
        with closing(sqlite3.connect(self.root / "mlflow.db")) as store:
            for what, query in {
                "runs RUNNING": "SELECT count(*) FROM runs WHERE status = 'RUNNING' AND lifecycle_stage = 'active'",
                "versions beside the first": "SELECT count(*) - 1 FROM model_versions",
                "stray models": "SELECT count(*) - 1 FROM logged_models WHERE lifecycle_stage = 'active'",
            }.items():
                (number,) = store.execute(query).fetchone()
                found += [f"{number} {what}"] if number else []
        return found


def hashes(root: Path) -> dict[str, str]:
    files = (path for name in ("artifacts", "data") for path in (root / name).rglob("*") if path.is_file())
    return {str(path.relative_to(root)): sha256(path) for path in files}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A tiny project: 60 rendered faces, three epochs each, all gates overridden; every verb has run."""
    base = tmp_path_factory.mktemp("kills")
    root = base / "project"
    root.mkdir()
    for name in ("service", "flows"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("requirements.lock", "dvc.yaml", "prefect.yaml", "prefect.toml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, root)
    shell(root, "git init -q -b main && git config user.email t@example.org && git config user.name t && dvc init -q")
    wanted = (row for row in rows(seed=7) if row["label"] in DEFAULT_CLASSES)
    for number, row in enumerate(islice(wanted, 60)):
        folder = base / "images" / str(row["label"])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.jpg").write_bytes(bytes(row["image"]))  # type: ignore[arg-type]
    write_json(root / "params.yaml", params())
    temporary = base / "tmp"
    temporary.mkdir()
    ports = {f"FEROPS_{name}_PORT": str(free_port()) for name in ("SERVICE", "PREFECT", "MLFLOW")}
    environment = child_environment() | ports | {"TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    made = Project(root, environment, int(ports["FEROPS_SERVICE_PORT"]), {}, {}, set())
    imported, *others = VERBS[len(STAGES) :]
    for verb in (imported, *STAGES, *others):
        made.seconds[verb] = made.run(verb)
    shell(root, "git add -A . && git commit -qm first")
    first = hashes(root)
    for verb in STAGES:  # the evaluation compares with the champion from now on
        made.seconds[verb] = made.run(verb)
    second = hashes(root)
    for verb in (("evaluate",), ("package",), ("serve",)):
        made.prepare(verb)
        made.seconds[verb] = made.run(verb)
    third = hashes(root)
    equal = {name for name, digest in third.items() if second.get(name) == digest}
    equal -= {name for name in equal if first.get(name) != third[name] and "artifacts/evaluate" not in name}
    made.usual.update(temporary.iterdir())
    made.same.update({name: third[name] for name in equal})
    print(f"\n{len(equal)} files are equal in two undisturbed runs, not so {sorted(set(third) - equal)}")
    assert made.faults() == []
    return made


def params() -> dict[str, object]:
    tree = YAML(typ="safe").load(presets.render("quick"))
    tree["data"]["sources"] = ["ours"]
    tree["validate"] |= {"min_rows_per_class": 1, "label_review_folds": 0, "max_quarantine_share": 0.9}
    tree["preprocess"] |= {"size_px": 32, "workers": 1}
    tree["train"] |= {"batch_size": 16, "checkpoint_every": 1}
    for model in tree["models"].values():
        model |= {"architecture": "resnet18", "pretrained": None, "epochs": 3}
    tree["export"] |= {"calibration_images": 16, "max_disagreement": 1.0}
    tree["evaluate"] |= {"bootstrap_samples": 100}
    tree["register"] |= {"overrides": dict.fromkeys(GATES, "a test")}
    plain: dict[str, object] = json.loads(json.dumps(tree))
    return plain


def test_random_kills_over_all_verbs(project: Project) -> None:
    draw = random.Random(SEED)
    # Each verb once before any twice
    verbs = [verb for _ in range(KILLS // len(VERBS) + 1) for verb in draw.sample(VERBS, len(VERBS))][:KILLS]
    tried, hit, failed = Counter[str](), Counter[str](), dict[str, list[str]]()
    slowest = 0.0
    for verb in verbs:
        after_s = draw.uniform(0, project.seconds[verb] + (2.0 if verb == ("serve",) else 0.0))
        name = " ".join(verb[:2])
        tried[name] += 1
        hit[name] += project.kill(verb, after_s)
        try:
            slowest = max(slowest, project.run(verb))
            faults = project.faults()
        except AssertionError as error:
            faults = [f"did not succeed: {str(error)[-1500:]}"]
        if faults:
            failed.setdefault(name, []).extend(f"killed after {after_s:.1f} s: {each}" for each in faults)
        print(f"ferops {name}: SIGKILL after {after_s:.1f} s; {'; '.join(faults) or 'whole'}", flush=True)
    print(f"\nseed {SEED}: {hit.total()} of {len(verbs)} kills met a running verb; {len(failed)} verbs failed")
    print("| verb | tried | still running | failed |\n|---|---|---|---|")
    for name in sorted(tried):
        print(f"| {name} | {tried[name]} | {hit[name]} | {len(failed.get(name, []))} |")
    print(f"slowest command after a kill: {slowest:.0f} s")
    assert failed == {}


def test_kills_of_up_and_down(project: Project) -> None:
    """The servers outlive `up`, so what a kill leaves is for the next `up`, or `down`, to take over."""
    draw = random.Random(SEED)
    try:
        took_s = project.run(("up",))
        project.run(("down",))
        for _ in range(2):
            project.kill(("up",), draw.uniform(1, took_s))
            project.run(("up",))
            project.kill(("down",), draw.uniform(0.5, 3))
            project.run(("down",))
            assert project.faults() == []
    finally:
        project.run(("down",))
