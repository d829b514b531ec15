"""The DAG run twice, in two folders, with other hash seeds and other numbers of threads: the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ferops.orchestration.child import child_environment

TESTS = Path(__file__).parents[1]

MEASURED = {
    "artifacts/evaluate/metrics.json": "cost: how long a face takes on this machine",
    "artifacts/train/baseline/history.json": "seconds, images per second and peak memory of each epoch",
    "artifacts/train/candidate/history.json": "the same",
    "reports/evaluate/model_card.md": "cost, as in metrics.json",
    "reports/evaluate/report.html": "cost, as in metrics.json",
    "reports/evaluate/summary.json": "latency_ms_p50, as in metrics.json",
    "reports/explain/summary.json": "seconds",
    "reports/export/summary.json": "latency of each file",
    "reports/preprocess/summary.json": "milliseconds per image",
    "reports/fairness/summary.json": "seconds",
    "reports/robustness/summary.json": "seconds",
    "reports/train/baseline/summary.json": "seconds, images per second, peak memory",
    "reports/train/candidate/summary.json": "the same",
}
"""Files that differ, and in what: measured times and memory. All else in their JSON is compared as well."""

TIMES = re.compile(r"seconds|_per_s|memory|latency|_ms|^p50$|^p95$|^process$|threads|cpu_cores")


def _run(folder: Path, *, hash_seed: int, threads: int) -> subprocess.Popen[bytes]:
    environment = child_environment() | {
        "PYTHONHASHSEED": str(hash_seed),
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
    }
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, str(TESTS / "whole_dag.py"), str(folder)], env=environment, stdout=log, stderr=log
        )


def _hashes(root: Path) -> dict[str, str]:
    files = [path for top in ("artifacts", "reports") for path in (root / top).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _without_times(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_times(each) for key, each in value.items() if not TIMES.search(key)}
    return [_without_times(each) for each in value] if isinstance(value, list) else value


@pytest.mark.slow
def test_every_file_of_every_stage_is_the_same(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "deeper" / "two"
    second.parent.mkdir()
    runs = [_run(first, hash_seed=1, threads=1), _run(second, hash_seed=2, threads=2)]
    for run, root in zip(runs, (first, second), strict=True):
        assert run.wait(timeout=900) == 0, (root.parent / f"{root.name}.log").read_text()[-3000:]
    hashes = _hashes(first), _hashes(second)
    assert len(hashes[0]) > 40
    assert set(hashes[0]) == set(hashes[1])
    differ = {name for name, found in hashes[0].items() if hashes[1][name] != found}
    assert differ <= set(MEASURED)
    for name in differ:
        if name.endswith(".json"):
            one, two = (json.loads((root / name).read_text(encoding="utf-8")) for root in (first, second))
            assert _without_times(one) == _without_times(two), name
