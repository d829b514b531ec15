"""Windows of traffic against a reference: found, not found, estimated, labelled, and said once."""

from __future__ import annotations

import hashlib
import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.monitoring.accuracy import Estimator
from ferops.monitoring.alert import VARIABLE, alert
from ferops.monitoring.key import log_key
from ferops.monitoring.monitor import monitor
from ferops.monitoring.read import read_reference
from ferops.monitoring.report import lines
from ferops.monitoring.traffic import TrafficLog, TrafficRow, keyed_hash
from ferops.monitoring.windows import compare
from ferops.records.monitor import MonitorSummary

START = datetime(2026, 11, 1, tzinfo=UTC)


def answered(n: int, *, seed: int, dim: float = 0.0, other: float = 0.0) -> pd.DataFrame:
    """Answers of a calibrated model to `n` images: `dim` is taken off their brightness, `other` answered happy."""
    draw = np.random.default_rng(seed)
    confidence = draw.uniform(0.3, 1.0, n)
    answers = draw.choice(DEFAULT_CLASSES, n)
    answers[draw.uniform(size=n) < other] = "happy"
    frame = pd.DataFrame(
        {
            "status": "ok",
            "answer": answers,
            "label": np.where(draw.uniform(size=n) < confidence, answers, "unlike"),
            "confidence": confidence,
            "detection_score": draw.uniform(0.9, 1, n),
            "face_px": draw.normal(100, 10, n),
            "sharpness": draw.normal(300, 30, n),
            "brightness": draw.normal(120, 20, n) - dim,
            "yaw_degrees": draw.normal(0, 10, n),
            "wrong_face": False,
        }
    )
    missed = draw.uniform(size=n) < 0.05
    frame.loc[missed, "status"] = "no_face"
    frame.loc[missed, frame.columns[[1, 3, 4, 5, 6, 7, 8]]] = None
    return frame


def image_id(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def served(folder: Path, frame: pd.DataFrame, *, first: int = 0, key: bytes = b"k" * 32, version: str = "3") -> None:
    """Log the answers as a service would, an image a minute."""
    log = TrafficLog(folder, max_mb=10, flush_s=60)
    names = ["confidence", "detection_score", "face_px", "sharpness", "brightness", "yaw_degrees"]
    for number, row in enumerate(frame.to_dict("records"), start=first):
        found = row["status"] != "no_face"
        log.add(
            [
                TrafficRow(
                    time=START + timedelta(minutes=number),
                    model_version=version,
                    role="champion",
                    path="/predict",
                    status=str(row["status"]),
                    faces_found=int(found),
                    face=int(found),
                    label=row["answer"] if found else None,
                    **{name: row[name] if found else None for name in names},
                    latency_ms=50,
                    image_hash=keyed_hash(key, image_id(number)),
                    client_hash=None,
                    probabilities=dict.fromkeys(DEFAULT_CLASSES, 1 / 6) if found else None,
                )
            ]
        )
    log.close()


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    path = tmp_path / "end_to_end.parquet"
    answered(600, seed=1).to_parquet(path)
    return path


def test_drift_is_said_once_and_unchanged_traffic_is_none(
    tmp_path: Path, reference: Path, quick_params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, traffic = Layout(tmp_path), tmp_path / "traffic"
    served(traffic, answered(430, seed=2))
    (traffic / "traffic-20000101T000000Z-1.parquet").write_bytes(b"PAR1 half a file")
    first = monitor(layout, quick_params, window=200, reference=reference, traffic=traffic)
    assert [each.word for each in first.windows] == ["no", "no"]
    assert (first.waiting, first.version, first.reference_images) == (30, "3", 600)
    assert first.unreadable == ("traffic-20000101T000000Z-1.parquet",)
    assert alert(layout, first) is None

    served(traffic, answered(170, seed=3, dim=40, other=0.3), first=430)
    second = monitor(layout, quick_params, window=200, reference=reference, traffic=traffic)
    assert second.windows[:2] == first.windows
    (newest,) = second.windows[2:]
    assert newest.start == START + timedelta(minutes=400)
    assert newest.word == "large"
    assert set(newest.drifted) == {"brightness", "answers"}
    assert monitor(layout, quick_params, window=200, reference=reference, traffic=traffic) == second

    with receiver(status=500) as (address, _):
        monkeypatch.setenv(VARIABLE, address)
        with pytest.raises(FeropsError, match=r"did not take the alert \(status 500\)") as refused:
            alert(layout, second)
        assert "token" not in str(refused.value)
    with receiver(status=204) as (address, bodies):
        monkeypatch.setenv(VARIABLE, address)
        assert alert(layout, second) == "alert sent about 1 windows"
        (body,) = bodies
        assert "version 3, to 2026-11-01 09:59 UTC: " in body["text"]
        third = monitor(layout, quick_params, window=200, reference=reference, traffic=traffic)
        assert [each.alerted for each in third.windows] == [False, False, True]
        assert alert(layout, third) is None

    page = (layout.reports("monitor") / "index.html").read_text()
    assert "large shift</span> of " in page
    text = (layout.reports("monitor") / "ferops.prom").read_text()
    assert 'ferops_monitor_shift_q{kind="input",quantity="brightness"}' in text
    assert "ferops_monitor_drift 1.0" in text
    assert any("DRIFT of " in line for line in lines(third))


def test_accuracy_is_estimated_and_later_counted(tmp_path: Path, reference: Path, quick_params: Params) -> None:
    layout, traffic = Layout(tmp_path), tmp_path / "traffic"
    frame = answered(1000, seed=4)
    served(traffic, frame, key=log_key(layout))
    summary = monitor(layout, quick_params, window=500, reference=reference, traffic=traffic)
    right = (frame["answer"] == frame["label"])[frame["answer"].notna()]
    assert [each.realized_accuracy for each in summary.windows] == [None, None]
    for each in summary.windows:
        estimate = each.estimated_accuracy
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low < right.mean() < estimate.high

    labels = tmp_path / "labels.csv"
    lines_of = [f"{image_id(number)},{label}" for number, label in enumerate(frame["label"][:700])]
    labels.write_text("\n".join(["image_id,label", *lines_of]))
    summary = monitor(layout, quick_params, window=500, reference=reference, traffic=traffic, labels=labels)
    found = frame["answer"].notna()
    assert [each.labels for each in summary.windows] == [found[:500].sum(), found[500:700].sum()]
    first = summary.windows[0].realized_accuracy
    assert first is not None
    assert first.value == pytest.approx((frame["answer"] == frame["label"])[:500][found[:500]].mean())
    labels.write_text("file,label\na,b\n")
    with pytest.raises(FeropsError, match="lacks the columns"):
        monitor(layout, quick_params, reference=reference, traffic=traffic, labels=labels)


def test_a_surer_model_is_calibrated_on_the_reference(reference: Path) -> None:
    frame = read_reference(reference)
    boasting = frame.assign(confidence=np.sqrt(frame["confidence"]))
    faces = boasting["answer"].notna()
    found = Estimator(boasting).accuracy(boasting.loc[faces, "confidence"]).value
    assert found == pytest.approx(frame.loc[faces, "right"].mean(), abs=0.002)
    assert Estimator(boasting).accuracy(pd.Series([], dtype="float64")).reason == "no image has a face"


@pytest.mark.slow
def test_false_alarms_are_at_most_one_in_twenty() -> None:
    """The bound at three standard errors of 300 windows, each with a reference of its own."""
    alarms = sum(
        any(shift.word != "no" for shift in compare(answered(200, seed=2 * n), answered(100, seed=2 * n + 1)))
        for n in range(1000, 1300)
    )
    assert alarms / 300 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_what_cannot_be_compared(tmp_path: Path, reference: Path, quick_params: Params) -> None:
    layout, traffic = Layout(tmp_path), tmp_path / "traffic"
    with pytest.raises(FeropsError, match="the service keeps no log"):
        monitor(layout, quick_params)
    with pytest.raises(FeropsError, match="holds no traffic"):
        monitor(layout, quick_params, traffic=traffic)
    served(traffic, answered(60, seed=5), version="starter")
    with pytest.raises(FeropsError, match="the starter model has no evaluation"):
        monitor(layout, quick_params, traffic=traffic)
    answered(30, seed=6).to_parquet(reference)
    with pytest.raises(FeropsError, match="too few to compare with"):
        monitor(layout, quick_params, traffic=traffic, reference=reference)
    with pytest.raises(FeropsError, match="is no Parquet file"):
        monitor(layout, quick_params, traffic=traffic, reference=Path(__file__))
    by_traffic = monitor(layout, quick_params, traffic=traffic, reference=traffic, window=50)
    assert (by_traffic.reference_accuracy, by_traffic.windows[0].word) == (None, "no")
    assert MonitorSummary.read(layout.summary("monitor"), made_by="test") == by_traffic


class receiver:  # noqa: N801 # used as a function
    """A webhook's address, and the bodies that it gets."""

    def __init__(self, *, status: int) -> None:
        bodies: list[dict[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.bodies = bodies
        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> tuple[str, list[dict[str, str]]]:
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_port}/?token=secret", self.bodies

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
