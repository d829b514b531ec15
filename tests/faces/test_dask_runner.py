"""The stage on a Dask cluster through Prefect, as a user runs it: two worker processes, the same files."""

from __future__ import annotations

import functools
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from ferops.classes import DEFAULT_CLASSES
from ferops.errors import FeropsError
from ferops.faces.process_pool import Work
from ferops.faces.shard import Shard
from ferops.layout import Layout
from sample_images import quick_params

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
IMAGES = 160


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first images of the embedded data set, validated and split as if it were so small."""
    data = ROOT / "data" / "synthetic.parquet"
    if not data.exists():
        pytest.skip("data/synthetic.parquet is absent: dvc pull data.dvc")
    root = tmp_path_factory.mktemp("cluster")
    layout = Layout(root)
    layout.data.mkdir()
    shutil.copy(data, layout.data)
    shutil.copy(ROOT / "data.dvc", root)
    rows = pd.read_parquet(data).drop(columns="image").dropna(subset=["label"]).drop_duplicates("image_id")
    rows = rows[rows["label"].isin(DEFAULT_CLASSES)].iloc[::7].head(IMAGES)
    rows = rows.assign(cluster=rows["image_id"].str[:16], brightness=100.0, sharpness=100.0)
    for path in (layout.manifest, layout.assignment):
        path.parent.mkdir(parents=True)
    rows.to_parquet(layout.manifest, index=False)
    splits = [("train", "val", "test")[i % 3] for i in range(len(rows))]
    rows[["image_id"]].assign(split=splits, group=rows["cluster"]).to_parquet(layout.assignment, index=False)
    return root


@pytest.fixture(scope="module")
def local(project: Path) -> dict[str, bytes]:
    return preprocess(project, runner="local", workers=1)


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return kept | {"PREFECT_HOME": str(home / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


def preprocess(root: Path, **settings: Any) -> dict[str, bytes]:
    """Run the command line in `root` and return what it wrote to artifacts/preprocess."""
    yaml = YAML()
    tree = yaml.load((ROOT / "src/ferops/presets/quick.yaml").read_text())
    # Small batches, so that there are more tasks than workers
    tree["preprocess"] |= {"batch_size": 8, "min_face_px": 0, **settings}
    yaml.dump(tree, root / "params.yaml")
    done = subprocess.run(
        [BIN / "ferops", "preprocess"],
        cwd=root,
        env=environment(root),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {path.name: path.read_bytes() for path in sorted((root / "artifacts/preprocess").iterdir())}


@pytest.mark.slow
def test_two_local_workers_give_the_same_files(project: Path, local: dict[str, bytes]) -> None:
    assert len(local) == 6
    assert preprocess(project, runner="dask", workers=2) == local


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """A Dask scheduler and two workers of their own, as on other machines: they share no folder with the stage."""
    file = tmp_path / "scheduler.json"
    flags = ["--scheduler-file", str(file)]
    commands = [
        [BIN / "dask", "scheduler", *flags, "--port", "0", "--no-dashboard"],
        *([BIN / "dask", "worker", *flags, "--nthreads", "1", "--no-dashboard"] for _ in range(2)),
    ]
    log = (tmp_path / "log").open("w")
    running = [
        subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path), stdout=log, stderr=log)
        for command in commands
    ]
    try:
        deadline = time.monotonic() + 60
        while (tmp_path / "log").read_text().count("Registered to") < 2:
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.2)
        yield YAML(typ="safe").load(file.read_text())["address"]
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            process.wait(timeout=30)
        log.close()


@pytest.mark.slow
def test_workers_of_their_own_give_the_same_files(project: Path, local: dict[str, bytes], scheduler: str) -> None:
    port = scheduler.rpartition(":")[2]
    assert preprocess(project, runner="dask", dask_address=f"tcp://127.0.0.1:{port}") == local


def note_making(made: Path) -> None:
    """Stand in for making a detector, of which no image has need here."""
    with made.open("a") as file:
        file.write("once ")


@pytest.mark.slow
def test_a_worker_makes_its_detector_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("prefect_dask")
    from ferops.faces import dask_runner as cluster

    monkeypatch.setattr(cluster, "_of_thread", threading.local())
    made = tmp_path / "made"
    shards = [Shard((), tight=True, search=False)]
    for margin in (0.1, 0.1, 0.2):
        settings = quick_params(preprocess={"margin": margin}).preprocess
        cluster.extract_on_worker(pickle.dumps((shards, Work(settings, functools.partial(note_making, made)))))
    assert made.read_text() == "once once "


@pytest.mark.slow
def test_where_nobody_answers_it_says_what_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("prefect_dask")
    from ferops.faces import dask_runner as cluster

    monkeypatch.setattr(cluster, "_CONNECT_S", 0.5)
    with pytest.raises(FeropsError, match=r"no Dask scheduler answers.*tcp://127.0.0.1:9.*dask scheduler"):
        cluster._threads("tcp://127.0.0.1:9")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("url", "address", "told"),
    [
        ("http://127.0.0.1:9/api", "tcp://far:8786", r"far:8786 is on another machine.*PREFECT_API_URL=http://THIS"),
        ("http://localhost:9/api", None, r"no Prefect server answers at PREFECT_API_URL, http://localhost:9/api"),
    ],
)
def test_a_server_that_workers_cannot_reach(
    monkeypatch: pytest.MonkeyPatch, url: str, address: str | None, told: str
) -> None:
    pytest.importorskip("prefect_dask")
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from ferops.faces import dask_runner as cluster

    monkeypatch.setenv("PREFECT_API_URL", url)
    with (
        temporary_settings({PREFECT_API_URL: url}),
        pytest.raises(FeropsError, match=told),
        cluster._one_server(address),
    ):
        pass


def test_without_the_extra_it_says_how_to_install_it() -> None:
    hide = "import sys; sys.modules['distributed'] = None; import ferops.faces.dask_runner"
    done = subprocess.run([sys.executable, "-c", hide], capture_output=True, text=True, check=False)
    assert "FeropsError: preprocess.runner is dask, but distributed" in done.stderr
    assert "pip install 'ferops[dask]'" in done.stderr
