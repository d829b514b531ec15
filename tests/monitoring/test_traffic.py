"""The log of the service: whole files, bounded, and nothing in them but what is promised."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from answers import face, prediction, release
from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params
from ferops.errors import FeropsError
from ferops.inference.answer import answer
from ferops.inference.measures import MEASURES, measures
from ferops.monitoring import traffic
from ferops.monitoring.recorder import Recorder, recorder
from ferops.monitoring.traffic import PATTERN, TrafficLog, TrafficRow, keyed_hash


def row(number: int = 1) -> TrafficRow:
    probabilities = dict.fromkeys(DEFAULT_CLASSES, 0.1) | {"anger": 0.5}
    return TrafficRow(
        datetime.now(UTC), "3", "champion", "/predict", "ok", 1, number, "anger", 0.5, 0.99, 80, 9, 120, -3, 55, None,
        None, probabilities,
    )  # fmt: skip


def noted(folder: Path) -> list[dict[str, object]]:
    return [line for file in sorted(folder.glob(PATTERN)) for line in pq.read_table(file).to_pylist()]


@pytest.mark.parametrize("hashes", [True, False])
def test_an_answer_is_noted_without_its_image(tmp_path: Path, quick_params: Params, hashes: bool) -> None:
    key = b"k" * 32 if hashes else None
    writer = Recorder(TrafficLog(tmp_path, max_mb=1), key=key)
    for seen in (prediction(face("sad"), face("happy", confidence=0.4)), prediction()):
        said = answer(seen, release=release(quick_params.serve), first_frame_only=False, timing_ms={})
        measured = [measures(each) for each in seen.faces]
        writer.note(said, measured, path="/predict", latency_ms=50, encoded=b"private", client="10.0.0.7")
    writer.close()
    first, second, third = noted(tmp_path)
    assert (first["label"], first["status"], first["face"], first["faces_found"]) == ("sad", "ok", 1, 2)
    assert (second["status"], second["confidence"], second["p_happy"]) == ("low_confidence", *[pytest.approx(0.4)] * 2)
    assert (third["status"], third["face"], third["label"], third["p_happy"]) == ("no_face", 0, None, None)
    assert first["face_px"] == pytest.approx(30)
    assert first["model_version"] == "3"
    id_of_private = "715dc8493c36579a5b116995100f635e3572fdf8703e708ef1a08d943b36774e"
    assert first["image_hash"] == (keyed_hash(key, id_of_private) if key else None)
    content = b"".join(file.read_bytes() for file in tmp_path.glob(PATTERN))
    assert b"10.0.0.7" not in content
    columns = [name for name in TrafficRow._fields if name != "probabilities"]
    assert list(first) == [*columns, *(f"p_{name}" for name in DEFAULT_CLASSES)]
    assert set(MEASURES) < set(columns)


def test_files_are_finished_and_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "MAX_ROWS", 10)
    size_mb = 0.02  # some two files: each has a footer
    log = TrafficLog(tmp_path, max_mb=size_mb, flush_s=60)
    for number in range(10):
        log.add([row(number)] * 10)
        log.flush()
    log.close()
    kept = noted(tmp_path)
    assert 10 <= len(kept) < 100
    assert kept[-1]["face"] == 9
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= size_mb * 1e6


def test_rows_wait_while_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = TrafficLog(tmp_path, max_mb=1, flush_s=60)
    monkeypatch.setattr(traffic, "MAX_WAITING", 15)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(log._parquet, "write_table", full)
        log.add([row(1)] * 10)
        with pytest.raises(OSError, match="No space"):
            log.flush()
    log.add([row(2)] * 10)
    log.close()
    assert [line["face"] for line in noted(tmp_path)] == [1] * 5 + [2] * 10


_WRITER = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_traffic import TrafficLog, row
log = TrafficLog(Path(sys.argv[1]), max_mb=10, flush_s=0.05)
number = 0
while True:
    number += 1
    log.add([row(number)])
    print(number, flush=True)
    time.sleep(0.002)
"""


@pytest.mark.slow
def test_a_kill_loses_the_buffer_at_most_and_breaks_no_file(tmp_path: Path) -> None:
    folder = Path(__file__).parent
    command = [sys.executable, "-c", _WRITER.format(tests=str(folder)), str(tmp_path)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder.parent), *sys.path])}
    for kill in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
            assert process.stdout
            last = 0
            until = time.monotonic() + 1 + 0.1 * kill
            for line in process.stdout:
                last = int(line)
                if time.monotonic() > until and last > 100:
                    break
            process.send_signal(signal.SIGKILL)
            last = max([last, *map(int, process.stdout.read().split())])
        newest = sorted(tmp_path.glob(PATTERN))[-1]
        faces = [line["face"] for line in pq.read_table(newest).to_pylist()]
        assert faces == list(range(1, len(faces) + 1))
        assert last - len(faces) < 2000  # 0.05 s at 2 ms is 25 rows; a busy machine has slept
    TrafficLog(tmp_path, max_mb=10).close()
    assert all(file.match(PATTERN) for file in tmp_path.iterdir())  # nothing half-written stays


def test_what_the_settings_ask_for(tmp_path: Path, quick_params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    serve = quick_params.serve
    assert recorder(serve) is None
    (tmp_path / "file").touch()
    with pytest.raises(FeropsError, match="cannot be written"):
        recorder(serve.model_copy(update={"log_dir": str(tmp_path / "file" / "log")}))
    hashed = serve.model_copy(update={"log_dir": str(tmp_path / "log"), "log_hashes": True})
    with pytest.raises(FeropsError, match="needs a key of 16 bytes"):
        recorder(hashed)
    (tmp_path / "key").write_bytes(b"k" * 32)
    monkeypatch.setenv("FEROPS_LOG_KEY_FILE", str(tmp_path / "key"))
    found = recorder(hashed)
    assert found
    found.close()
    assert (tmp_path / "log").stat().st_mode & 0o077 == 0
