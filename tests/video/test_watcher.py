"""Rendered faces that move over a grey ground: found, followed, numbered, written down."""

from __future__ import annotations

import csv
import functools
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import ferops.cli
from ferops.errors import FeropsError
from ferops.faces.detection import Detection
from ferops.inference.predictor import Predictor
from ferops.video.frame import Frame
from ferops.video.frames import Video
from ferops.video.watch import Seen, Watcher
from rendered import portraits
from videos import Image, write_video

WIDTH, HEIGHT, FRAMES = 400, 200, 12


def scene(number: int) -> Image:
    """One face goes right, 6 px a frame; one stands still at the right."""
    pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for portrait, x, side in ((portraits()[0][0], 20 + 6 * number, 130), (portraits()[3][0], 260, 120)):
        pixels[40 : 40 + side, x : x + side] = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
    return pixels


@pytest.fixture(scope="module")
def scenes() -> list[Image]:
    return [scene(number) for number in range(FRAMES)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, scenes: list[Image]) -> Path:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", scenes)


@pytest.fixture(scope="module")
def export(make_export: Any) -> Path:
    folder: Path = make_export(favours="happy", low_confidence=0.3)
    return folder


@pytest.fixture(scope="module")
def predictor(export: Path) -> Predictor:
    return Predictor(export)


def watched(predictor: Predictor, images: list[Image], **how: Any) -> list[Seen]:
    frames = (Frame(number, number / 25, pixels) for number, pixels in enumerate(images))
    return list(Watcher(predictor, **how).watch(frames))


def test_following_finds_what_searching_finds(predictor: Predictor, scenes: list[Image]) -> None:
    searched, followed = (watched(predictor, scenes, detect_every=every) for every in (1, 100))
    for one, other in zip(searched, followed, strict=True):
        assert [face.track for face in one.faces] == [face.track for face in other.faces] == [1, 2]
        for mine, theirs in zip(one.faces, other.faces, strict=True):
            eyes = float(np.hypot(*(mine.face.landmarks[1] - mine.face.landmarks[0])))
            off = np.hypot(*(mine.face.landmarks - theirs.face.landmarks).T).mean() / eyes
            assert off < 0.06  # shares of the eye distance; the detectors differ from the truth by as much


def test_the_whole_picture_is_searched_now_and_then_and_when_a_face_gets_lost(
    predictor: Predictor, scenes: list[Image]
) -> None:
    searches: list[int] = []

    class Spy:
        def detect(self, images: Any) -> list[list[Detection]]:
            searches.append(number)
            return predictor._detector.detect(images)

    watcher = Watcher(predictor, detect_every=4, detector=Spy())
    empty = np.full_like(scenes[0], 90)
    for number, pixels in enumerate([*scenes[:6], *[empty] * 7]):
        seen = watcher.look(Frame(number, number / 25, pixels))
        assert len(seen.faces) == (2 if number < 6 else 0)
        assert len(seen.lost) == (0 if number < 6 else 2)
    assert searches == [0, 4, 6, 10]  # at 6, both are gone


def test_a_face_that_comes_later_is_numbered_though_following_scores_it_low(
    predictor: Predictor, scenes: list[Image]
) -> None:
    watcher = Watcher(predictor, detect_every=4)
    follower = watcher._follower
    assert follower is not None

    class Faint:
        def detect(self, *where: Any) -> list[Detection]:
            return [replace(each, score=0.6) for each in follower.detect(*where)]

    watcher._follower = Faint()  # type: ignore[assignment]
    alone = scenes[0].copy()
    alone[:, 250:] = 90
    for number, pixels in enumerate([alone, *scenes[:7]]):
        seen = watcher.look(Frame(number, number / 25, pixels))
    assert [face.track for face in seen.faces] == [1, 2]


def test_a_frame_that_is_damaged_is_passed_on(predictor: Predictor) -> None:
    (seen,) = Watcher(predictor).watch([Frame(3, 0.1, None, "damaged frame")])
    assert (seen.status, seen.faces, seen.frame.reason) == ("unreadable", (), "damaged frame")


def test_labels_are_of_the_smoothed_probabilities(make_export: Any, scenes: list[Image]) -> None:
    """The tiny model answers by colour: a flash of red is anger for one frame, and not enough to change the label."""
    predictor = Predictor(make_export(favours="sad", by=2.0, low_confidence=0.3))
    flash = scenes[2].copy()
    flash[..., 1:] //= 3
    images = [*[scenes[2]] * 5, flash, scenes[2]]
    smooth, plain = (watched(predictor, images, smooth_s=window, detect_every=1) for window in (0.5, 0.0))
    for one in (*smooth, *plain):
        for face in one.faces:
            assert face.face.probabilities.sum() == pytest.approx(1, abs=1e-5)
    for one, other in zip(smooth, plain, strict=True):
        np.testing.assert_allclose(one.faces[0].raw, other.faces[0].raw, atol=1e-6)
        np.testing.assert_array_equal(other.faces[0].raw, other.faces[0].face.probabilities)
    before, at, _ = ([seen[place].faces[0].face for seen in (smooth, plain)] for place in (4, 5, 6))
    assert before[0].label == before[1].label == at[0].label
    assert (
        np.abs(at[1].probabilities - before[1].probabilities).max()
        > 3 * np.abs(at[0].probabilities - before[0].probabilities).max()
    )


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(ferops.cli.app, ["predict", *map(str, arguments)])
    if isinstance(result.exception, FeropsError):
        return 1, result.stdout, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_predict_writes_tables_a_video_and_a_page(clip: Path, export: Path, tmp_path: Path) -> None:
    names = ("rows.csv", "rows.json", "rows.parquet", "out.mp4", "tracks.csv", "time.html")
    files = {name: tmp_path / name for name in names}
    options = zip(
        ("--csv", "--json", "--parquet", "--annotated", "--tracks", "--timeline"), files.values(), strict=True
    )
    status, out, err = run(clip, "--model", export, *(each for pair in options for each in pair))
    assert status == 0, err
    assert re.findall(r"face (\d)  .*happy 100%", out) == ["1", "2"]
    assert f"{FRAMES} frames, 2 faces followed; 0 frames without a face" in err

    rows = read(files["rows.csv"])
    assert [(row["frame"], row["face"], row["track"]) for row in rows] == [
        (str(frame), str(face), str(face)) for frame in range(FRAMES) for face in (1, 2)
    ]
    for row in rows:
        assert float(row["time_s"]) == pytest.approx(int(row["frame"]) / 25, abs=0.002)
        for kind in ("p_", "raw_"):
            shares = [float(value) for name, value in row.items() if name.startswith(kind)]
            assert len(shares) == 6
            assert sum(shares) == pytest.approx(1, abs=1e-4)
    lines = [json.loads(line) for line in files["rows.json"].read_text().splitlines()]
    assert [[face["track"] for face in line["faces"]] for line in lines] == [[1, 2]] * FRAMES
    assert lines[3]["faces"][0]["raw"].keys() == lines[3]["faces"][0]["face"]["probabilities"].keys()
    import pyarrow.parquet as pq

    table = pq.read_table(files["rows.parquet"])
    assert table.column("x1").to_pylist() == [float(row["x1"]) for row in rows]
    tracks = read(files["tracks.csv"])
    assert [(row["track"], row["frames"], row["label"]) for row in tracks] == [
        ("1", "12", "happy"),
        ("2", "12", "happy"),
    ]
    assert "face 2" in files["time.html"].read_text()
    with av.open(str(files["out.mp4"])) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        drawn = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]
    np.testing.assert_allclose([at for at, _ in drawn], np.arange(FRAMES) / 25, atol=0.002)
    assert drawn[0][1].shape == (HEIGHT, WIDTH, 3)


def test_nobody_is_recognised_in_a_blurred_video(clip: Path, export: Path, tmp_path: Path, scenes: list[Image]) -> None:
    target, page = tmp_path / "out.mp4", tmp_path / "time.html"
    status, _, err = run(clip, "--model", export, "--annotated", target, "--blur", "--timeline", page)
    assert status == 0, err
    assert "data:image" not in page.read_text()
    with Video(str(target)) as video:
        for frame in video:
            assert frame.pixels is not None
            eyes = frame.pixels[90:115, 300:340].astype(int)
            assert (
                np.abs(np.diff(eyes, axis=1)).mean()
                < 0.5 * np.abs(np.diff(scenes[frame.number][90:115, 300:340].astype(int), axis=1)).mean()
            )


def test_no_table_of_a_stream_has_its_password(clip: Path, export: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / f"out.{name}" for name in ("csv", "json")}
    serve = functools.partial(SimpleHTTPRequestHandler, directory=str(clip.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_port}"
        try:
            source = f"http://someone:secret@{host}/clip.mp4?token=secret"
            outputs = [word for name, path in files.items() for word in (f"--{name}", path)]
            status, _, err = run(source, "--model", export, *outputs)
        finally:
            server.shutdown()
    assert status == 0, err
    assert {row["source"] for row in read(files["csv"])} == {f"http://{host}/clip.mp4"}
    assert "secret" not in files["json"].read_text()


def test_an_interrupted_run_goes_on(clip: Path, export: Path, tmp_path: Path) -> None:
    whole, part, tracks = tmp_path / "whole.csv", tmp_path / "part.csv", tmp_path / "tracks.csv"
    assert run(clip, "--model", export, "--csv", whole)[0] == 0
    lines = whole.read_text().splitlines(keepends=True)
    part.write_text("".join(lines[: 1 + 2 * 7 + 1]))  # seven frames, and one face of the eighth
    status, _, err = run(clip, "--model", export, "--csv", part, "--tracks", tracks, "--resume")
    assert (status, "5 frames" in err) == (0, True)
    places = [[(row["frame"], row["face"], row["time_s"]) for row in read(path)] for path in (whole, part)]
    assert places[0] == places[1]
    assert [row["track"] for row in read(part)[14:]] == ["3", "4"] * 5  # who they are, the first run knew
    assert [row["frames"] for row in read(tracks)] == ["7", "7", "5", "5"]


def test_a_damaged_frame_is_a_row_with_a_reason(clip: Path, export: Path, tmp_path: Path) -> None:
    with av.open(str(clip)) as container:
        start, size = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size][5]
    content = bytearray(clip.read_bytes())
    content[start : start + size] = b"\xff" * size
    damaged, table = tmp_path / "damaged.mp4", tmp_path / "rows.csv"
    damaged.write_bytes(content)
    assert run(damaged, "--model", export, "--csv", table)[0] == 3
    reasons = {int(row["frame"]): row["reason"] for row in read(table)}
    assert sorted(reasons) == list(range(FRAMES))
    assert any("damaged frame" in reason for reason in reasons.values())
    assert not any(reasons[frame] for frame in (0, 1))


@pytest.fixture
def existing(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "rows.csv"
    path.write_text("mine\n")
    yield path
    assert path.read_text() == "mine\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--csv", "EXISTING"], "exists"),
        (["--csv", "a", "--tracks", "a"], "one name"),
        (["--json", "a.json", "--resume"], "--resume goes on with a video's table"),
        (["--annotated", "a.gif"], "no kind of video"),
        (["--timeline", "-"], "standard output"),
        (["other.mp4"], "one video"),
    ],
)
def test_wrong_outputs_are_said_before_work_begins(
    clip: Path, export: Path, existing: Path, options: list[str], message: str
) -> None:
    status, _, err = run(clip, "--model", export, *(each.replace("EXISTING", str(existing)) for each in options))
    assert (status, message in err) == (1, True), err
