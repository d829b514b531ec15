from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from answers import face, result
from ferops.classes import DEFAULT_CLASSES
from ferops.errors import FeropsError
from ferops.inference.sinks import CsvSink, JsonSink, ParquetSink, PredictedImage, Sink, columns
from ferops.inference.stream import Result

RESULTS = [
    result("one.jpg", face(confidence=0.75)),
    result("crowd.jpg", face("sad", confidence=0.4, x=-3), face("fear"), face("happy", confidence=1.0)),
    result("nobody, really.jpg"),
    Result("bad\n\u202egpj.exe", reason="The image is damaged\nor incomplete."),
    result("=1+1.jpg", face("anger")),
]
NAMES = [
    "one.jpg",
    "crowd.jpg",
    "crowd.jpg",
    "crowd.jpg",
    "nobody, really.jpg",
    r"bad\u000a\u202egpj.exe",
    "./=1+1.jpg",
]

SINKS: dict[str, Callable[..., Sink]] = {
    "csv": lambda path, model="m", *, resume=False: CsvSink(path, DEFAULT_CLASSES, model, resume=resume),
    "json": lambda path, model="m", *, resume=False: JsonSink(path, model, resume=resume),
    "parquet": lambda path, model="m", *, resume=False: ParquetSink(path, DEFAULT_CLASSES, model, resume=resume),
}


def fill(sink: Sink, results: list[Result]) -> None:
    """Write what the sink lacks, image by image, and close it."""
    for each in results:
        if not sink.holds(each.source):
            sink.write([each])
    sink.close()


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_a_row_for_each_face_and_one_for_each_image_without(tmp_path: Path) -> None:
    fill(SINKS["csv"](tmp_path / "a.csv"), RESULTS)
    rows = table(tmp_path / "a.csv")
    assert list(rows[0]) == list(columns(DEFAULT_CLASSES))
    assert [row["source"] for row in rows] == NAMES
    assert [row["face"] for row in rows] == ["1", "1", "2", "3", "", "", "1"]
    assert [row["faces"] for row in rows] == ["1", "3", "3", "3", "0", "", "1"]
    assert [row["status"] for row in rows] == ["ok", "low_confidence", "ok", "ok", "no_face", "unreadable", "ok"]
    assert [row["reason"] for row in rows] == [""] * 5 + [r"The image is damaged\u000aor incomplete.", ""]
    first, second = rows[:2]
    assert (first["label"], first["confidence"], first["detection_score"], first["model"]) == (
        "happy",
        "0.75",
        "0.99",
        "m",
    )
    assert [first[name] for name in ("x1", "y1", "x2", "y2", "width", "height")] == [
        *("10.0", "20.0", "40.0", "50.0"),
        *("100", "80"),
    ]
    assert [first[f"{name}_{axis}"] for name in ("left_eye", "right_mouth") for axis in "xy"] == [
        "0.2",
        "1.2",
        "8.2",
        "9.2",
    ]
    assert second["x1"] == "-3.0"
    assert (second["p_sad"], second["p_happy"]) == ("0.4", "0.12")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + len(rows), "a row is a line"


def test_json_has_a_line_for_each_image(tmp_path: Path) -> None:
    fill(SINKS["json"](tmp_path / "a.jsonl"), RESULTS)
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    found = [PredictedImage.model_validate_json(line) for line in lines]
    assert [len(image.faces) for image in found] == [1, 3, 0, 0, 1]
    assert [image.status for image in found] == ["ok", "low_confidence", "no_face", "unreadable", "ok"]
    assert found[1].faces[0].probabilities["sad"] == pytest.approx(0.4)
    assert (found[3].width, found[3].reason) == (None, r"The image is damaged\u000aor incomplete.")
    assert json.loads(lines[0])["faces"][0]["box"] == {"x1": 10.0, "y1": 20.0, "x2": 40.0, "y2": 50.0}


def test_parquet_has_the_rows_of_csv(tmp_path: Path) -> None:
    for kind in ("csv", "parquet"):
        fill(SINKS[kind](tmp_path / f"a.{kind}"), RESULTS)
    found = pd.read_parquet(tmp_path / "a.parquet")
    wanted = pd.read_csv(tmp_path / "a.csv")
    pd.testing.assert_frame_equal(found, wanted, check_dtype=False)
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "a.parquet"}


@pytest.mark.parametrize("kind", SINKS)
def test_without_any_image_the_file_is_whole(tmp_path: Path, kind: str) -> None:
    fill(SINKS[kind](tmp_path / "a"), [])
    if kind == "parquet":
        assert list(pd.read_parquet(tmp_path / "a")) == list(columns(DEFAULT_CLASSES))


@pytest.mark.parametrize("kind", SINKS)
def test_a_file_that_exists_is_never_overwritten(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    path.write_text("precious")
    with pytest.raises(FeropsError, match=r"a exists\. Name another file, remove it, or go on .* --resume"):
        SINKS[kind](path)
    with pytest.raises(FeropsError, match=r"Name another file"):
        SINKS[kind](path, resume=True)
    assert path.read_text() == "precious"
    with pytest.raises(FeropsError, match="is a folder"):
        SINKS[kind](tmp_path)


@pytest.mark.parametrize("kind", SINKS)
def test_going_on_leaves_the_file_of_one_run(tmp_path: Path, kind: str) -> None:
    fill(SINKS[kind](tmp_path / "whole"), RESULTS)
    for done in range(len(RESULTS) + 1):
        path = tmp_path / f"after {done}"
        fill(SINKS[kind](path), RESULTS[:done])
        again = SINKS[kind](path, resume=True)
        assert [again.holds(each.source) for each in RESULTS] == [i < done for i in range(len(RESULTS))]
        fill(again, RESULTS)
        if kind == "parquet":
            pd.testing.assert_frame_equal(pd.read_parquet(path), pd.read_parquet(tmp_path / "whole"))
        else:
            assert path.read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_file_cut_anywhere_is_gone_on_with(tmp_path: Path, kind: str) -> None:
    """As a kill in the middle of a write leaves it, or one between the faces of an image."""
    path = tmp_path / "a"
    fill(SINKS[kind](path), RESULTS)
    whole = path.read_bytes()
    for length in range(0, len(whole), 13):
        path.write_bytes(whole[:length])
        fill(SINKS[kind](path, resume=True), RESULTS)
        assert path.read_bytes() == whole, length


def test_after_a_kill_the_rows_for_parquet_are_not_lost(tmp_path: Path) -> None:
    killed = SINKS["parquet"](tmp_path / "a")
    killed.write(RESULTS[:2])  # and never closed
    assert [row["source"] for row in table(tmp_path / "a.part")] == NAMES[:4]
    with pytest.raises(FeropsError, match=r"a\.part exists"):
        SINKS["parquet"](tmp_path / "a")
    again = SINKS["parquet"](tmp_path / "a", resume=True)
    assert again.holds("crowd.jpg")
    fill(again, RESULTS)
    assert pd.read_parquet(tmp_path / "a")["source"].tolist() == NAMES


@pytest.mark.parametrize("kind", SINKS)
def test_answers_of_two_models_do_not_mix(tmp_path: Path, kind: str) -> None:
    fill(SINKS[kind](tmp_path / "a", "starter-1"), RESULTS)
    before = (tmp_path / "a").read_bytes()
    with pytest.raises(FeropsError, match="holds answers of the model starter-1; this is starter-2"):
        SINKS[kind](tmp_path / "a", "starter-2", resume=True)
    assert (tmp_path / "a").read_bytes() == before


def test_other_classes_are_another_table(tmp_path: Path) -> None:
    fill(SINKS["csv"](tmp_path / "a"), RESULTS)
    with pytest.raises(FeropsError, match="does not hold predictions of this model"):
        CsvSink(tmp_path / "a", (*DEFAULT_CLASSES, "neutral"), "m", resume=True)


def test_a_batch_that_finds_no_room_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = SINKS["csv"](tmp_path / "a")
    sink.write(RESULTS[:2])
    before = (tmp_path / "a").read_bytes()
    write = os.write

    def full(file: int, data: Any) -> int:
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return write(file, data[:100])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(FeropsError, match="no space left"):
        sink.write(RESULTS[2:])
    assert (tmp_path / "a").read_bytes() == before


def test_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    fill(SINKS["csv"](Path("-")), RESULTS[:1])
    fill(SINKS["json"](Path("-")), RESULTS[:1])
    header, row, line = capsys.readouterr().out.splitlines()
    assert header.startswith("source,width")
    assert row.startswith("one.jpg,100,80,0,1,1,happy,0.75")
    assert json.loads(line)["source"] == "one.jpg"
