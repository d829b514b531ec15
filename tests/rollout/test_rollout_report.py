"""What `ferops rollout` says, of logs whose figures are known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.monitoring.monitor import monitor
from ferops.monitoring.traffic import RowLog, TrafficLog, TrafficRow
from ferops.rollout.report import lines, rollout
from ferops.rollout.shadow import PREFIX, PairRow

START = datetime(2026, 11, 29, 12, tzinfo=UTC)


def pair(number: int, mine: str | None, theirs: str | None, *, face: int = 1, **other: object) -> PairRow:
    known = {
        "time": START + timedelta(seconds=number),
        "champion_version": "2",
        "shadow_version": "3",
        "path": "/predict",
        "outcome": "compared",
        "champion_status": "ok" if mine else "no_face",
        "shadow_status": "ok" if theirs else "no_face",
        "face": face if mine else 0,
        "champion_label": mine,
        "champion_confidence": 0.9 if mine else None,
        "shadow_label": theirs,
        "shadow_confidence": 0.8 if theirs else None,
        "champion_ms": 20.0,
        "shadow_ms": 30.0,
    }
    return PairRow(**known | other)  # type: ignore[arg-type] # a value of each kind


def write(folder: Path, rows: list[PairRow]) -> None:
    log = RowLog(PairRow, PREFIX, folder, max_mb=10, flush_s=60)
    log.add(rows)
    log.close()


def answered(number: int, *, role: str, confidence: float, client: str = "c") -> TrafficRow:
    return TrafficRow(
        time=START + timedelta(seconds=number),
        model_version="4" if role == "canary" else "2",
        role=role,
        path="/predict",
        status="ok",
        faces_found=1,
        face=1,
        label="happy",
        confidence=confidence,
        detection_score=0.9,
        face_px=100,
        sharpness=100,
        brightness=100,
        yaw_degrees=0,
        latency_ms=50,
        image_hash=None,
        client_hash=client,
        probabilities={"happy": 1.0},
    )


def test_agreement_is_of_the_preferred_faces(tmp_path: Path, quick_params: Params) -> None:
    rows = [pair(n, "happy", "happy") for n in range(60)] + [pair(n, "sad", "sad") for n in range(60, 90)]
    rows += [pair(n, "sad", "angry") for n in range(90, 100)]
    rows += [pair(5, "sad", "happy", face=2)]  # a second face of an image counts for nothing
    rows += [pair(100, None, None), pair(101, None, "happy"), pair(101, None, "sad")]
    rows += [pair(102, "happy", None)]
    rows += [pair(103, "happy", None, outcome="dropped", shadow_status=None, shadow_ms=None)]
    rows += [pair(n, "happy", "fearful", shadow_version="1") for n in (-3, -2)]  # an earlier shadow
    write(tmp_path, sorted(rows, key=lambda row: row.time))
    report = rollout(Layout(tmp_path), quick_params, window=60, traffic=tmp_path)
    found = report.shadow
    assert found is not None
    assert found.whole is not None
    assert (found.champion, found.shadow) == ("2", "3")
    assert (found.whole.images, found.whole.faces) == (103, 101)
    assert (found.dropped, found.failed, found.missed, found.extra) == (1, 0, 1, 1)
    agreement = found.whole.agreement
    assert agreement is not None
    assert agreement.value == pytest.approx(90 / 101)
    # Wilson's interval, by its formula
    p, n, z = 90 / 101, 101, 1.959964
    middle, half = (p + z * z / (2 * n)), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    low, high = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    assert (agreement.low, agreement.high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))
    assert found.whole.confidence_difference == pytest.approx(0.1, abs=1e-6)
    assert found.whole.status_agreement == pytest.approx(101 / 103)
    assert [each.images for each in found.windows] == [60, 43]
    worst = found.by_label[0]
    assert (worst.label, worst.faces, worst.agreement, worst.mostly) == ("sad", 40, 0.75, "angry")
    said = "\n".join(lines(report))
    assert f"the shadow agrees in 89.1 % ({100 * low:.1f} to {100 * high:.1f}) of 101 faces" in said
    assert "it differs most in sad: 75.0 % of 40 agree, which it calls angry instead" in said
    assert "103 images compared, 1 dropped" in said


def test_the_canary_is_set_beside_the_champion_of_the_same_time(tmp_path: Path, quick_params: Params) -> None:
    log = TrafficLog(tmp_path, max_mb=10, flush_s=60)
    log.add(answered(n, role="champion", confidence=0.5) for n in range(10))  # before the canary
    log.add(answered(n, role="champion", confidence=0.9, client=f"c{n}") for n in range(10, 20))
    log.add(answered(n, role="canary", confidence=0.8) for n in (10, 15, 20))
    log.close()
    report = rollout(Layout(tmp_path), quick_params, traffic=tmp_path)
    assert report.shadow is None
    assert report.canary is not None
    assert report.champion is not None
    assert (report.canary.version, report.canary.images, report.canary.clients) == ("4", 3, 1)
    assert (report.champion.version, report.champion.images, report.champion.clients) == ("2", 10, 10)
    assert report.champion.confidence is not None
    assert report.champion.confidence.value == pytest.approx(0.9)
    assert "canary: version 4 beside version 2" in "\n".join(lines(report))

    summary = monitor(
        Layout(tmp_path), quick_params, window=50, traffic=tmp_path, reference=_reference(tmp_path / "reference")
    )
    assert (summary.version, summary.waiting) == ("2", 20)  # the canary's answers are no traffic of the champion


def _reference(folder: Path) -> Path:
    log = TrafficLog(folder, max_mb=10, flush_s=60)
    log.add(answered(n, role="champion", confidence=0.9) for n in range(60))
    log.close()
    return folder


def test_without_a_log_it_says_what_to_do(tmp_path: Path, quick_params: Params) -> None:
    with pytest.raises(FeropsError, match=r"serve\.log_dir is null"):
        rollout(Layout(tmp_path), quick_params)
    with pytest.raises(FeropsError, match="holds no traffic"):
        rollout(Layout(tmp_path), quick_params, traffic=tmp_path)
    (tmp_path / "shadow-1.parquet").write_bytes(b"PAR1 half a file")
    with pytest.raises(FeropsError, match="is damaged"):
        rollout(Layout(tmp_path), quick_params, traffic=tmp_path)
