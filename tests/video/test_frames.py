from __future__ import annotations

import functools
import threading
from collections.abc import Generator
from fractions import Fraction
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from ferops.errors import FeropsError
from ferops.video.frame import Frame
from ferops.video.frames import Video, newest
from ferops.video.source import is_video, shown
from videos import counted, number_of, write_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 frames of 25 a second, a key frame every fifth."""
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", map(counted, range(20)), gop_size=5)


def frames(source: Path | str, **how: object) -> list[Frame]:
    with Video(source, **how) as video:  # type: ignore[arg-type]
        return list(video)


def test_every_frame_comes_in_order_with_its_time(clip: Path) -> None:
    found = frames(clip)
    assert [frame.number for frame in found] == list(range(20))
    assert [number_of(frame.pixels) for frame in found if frame.pixels is not None] == list(range(20))
    np.testing.assert_allclose([frame.time_s for frame in found], np.arange(20) / 25, atol=1e-3)
    with Video(clip) as video:
        assert (video.fps, video.live) == (pytest.approx(25, rel=0.06), False)
        assert video.seconds == pytest.approx(0.8, abs=0.05)


def test_irregular_times_are_the_containers(tmp_path: Path) -> None:
    times_ms = [0, 40, 500, 530, 2000, 2033]
    found = frames(write_video(tmp_path / "a.mkv", map(counted, range(6)), times_ms=times_ms))
    np.testing.assert_allclose([1000 * frame.time_s for frame in found], times_ms, atol=1)


def test_frames_are_dropped_by_their_times(clip: Path) -> None:
    found = frames(clip, max_fps=5.0)  # of 25: the first of each fifth of a second
    assert [frame.number for frame in found] == [0, 5, 10, 15]
    assert [number_of(frame.pixels) for frame in found if frame.pixels is not None] == [0, 5, 10, 15]
    assert len(frames(clip, max_fps=1000.0)) == 20


def test_reading_goes_on_behind_a_frame(clip: Path) -> None:
    all_of_them = frames(clip)
    rest = frames(clip, after=(11, all_of_them[11].time_s))
    assert [(frame.number, round(frame.time_s, 3)) for frame in rest] == [
        (frame.number, round(frame.time_s, 3)) for frame in all_of_them[12:]
    ]
    assert [number_of(frame.pixels) for frame in rest if frame.pixels is not None] == list(range(12, 20))


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_a_phone_that_was_held_on_its_side(tmp_path: Path, degrees: int) -> None:
    path = write_video(tmp_path / "a.mp4", [counted(9)] * 2, rotation=degrees)
    found = frames(path)[0].pixels
    by_opencv = cv2.cvtColor(cv2.VideoCapture(str(path)).read()[1], cv2.COLOR_BGR2RGB)  # which turns it, too
    assert found is not None
    assert found.shape == by_opencv.shape
    assert np.abs(found.astype(int) - by_opencv).max() <= 12
    assert found.shape != (64, 96, 3) or degrees == 180


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    wide = write_video(tmp_path / "a.mkv", [counted(9)] * 2, sample_aspect_ratio=Fraction(2))
    with Video(wide) as video:
        assert next(iter(video)).pixels.shape == (64, 192, 3)  # type: ignore[union-attr]


def test_a_damaged_frame_has_a_reason_and_the_rest_goes_on(clip: Path, tmp_path: Path) -> None:
    with av.open(str(clip)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(clip.read_bytes())
    start, size = packets[10]  # a key frame; those up to the next one build on it
    content[start : start + size] = bytes(255 for _ in range(size))
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    found = frames(damaged)
    bad = [frame for frame in found if frame.pixels is None]
    assert bad
    assert all("damaged frame" in (frame.reason or "") for frame in bad)
    good = [number_of(frame.pixels) for frame in found if frame.pixels is not None]
    assert good[:8] == list(range(8))
    assert good[-5:] == list(range(15, 20))
    assert [frame.number for frame in found] == list(range(len(found)))
    assert np.all(np.diff([frame.time_s for frame in found]) >= 0)


def test_a_file_that_was_cut_off_gives_what_it_holds(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.ts", map(counted, range(20)), gop_size=5)
    cut = tmp_path / "cut.ts"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    found = frames(cut)
    assert 3 <= len([frame for frame in found if frame.pixels is not None]) < 20


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.mp4", "No such file"),
        ("text.mp4", "not a video"),
        ("camera:99", "camera"),
        ("sound.wav", "no video in it"),
    ],
)
def test_what_is_no_video_is_said(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "text.mp4").write_text("this is no video\n" * 100)
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(FeropsError, match=message):
        Video(name if ":" in name else str(tmp_path / name))


def test_a_playlist_opens_no_file_of_this_machine(tmp_path: Path, clip: Path) -> None:
    """An address that answers with a list of local files: their frames would go to whoever reads the results."""
    (tmp_path / "list.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.8,\nfile://{clip}\n#EXT-X-ENDLIST\n"
    )
    (tmp_path / "clip.mp4").write_bytes(clip.read_bytes())
    serve = functools.partial(_Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        try:
            assert len(frames(f"{address}/clip.mp4")) == 20
            with pytest.raises(FeropsError):
                frames(f"{address}/list.m3u8")
            with pytest.raises(FeropsError, match=r"Not Found|404"):
                frames(f"http://someone:secret@127.0.0.1:{server.server_port}/none.mp4?token=secret")
        finally:
            server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_passwords_are_not_shown() -> None:
    assert shown("rtsp://someone:secret@camera.example:554/live?token=secret") == "rtsp://camera.example:554/live"
    assert shown("a?b@c.mp4") == shown(Path("a?b@c.mp4")) == "a?b@c.mp4"


def test_what_counts_as_a_video() -> None:
    for name in ("a.mp4", "A.MOV", "camera:0", "rtsp://a/b", "https://a/b.m3u8", "x/y.webm"):
        assert is_video(name), name
    for name in ("a.jpg", "-", "folder", "camera.png", "a.gif", "camera:x", "photos/*.jpg"):
        assert not is_video(name), name


def test_a_late_reader_of_a_live_source_gets_the_newest_frame() -> None:
    go, read = threading.Event(), threading.Event()

    def live() -> Generator[Frame]:
        yield Frame(0, 0.0, None)
        go.wait(5)
        for number in range(1, 10):
            yield Frame(number, float(number), None)
        read.set()

    found = newest(live())
    assert next(found).number == 0
    go.set()
    assert read.wait(5)
    assert [frame.number for frame in found] == [9]


def test_an_error_of_a_live_source_reaches_the_reader() -> None:
    def live() -> Generator[Frame]:
        yield Frame(0, 0.0, None)
        raise OSError("unplugged")

    found = newest(live())
    with pytest.raises(OSError, match="unplugged"):
        list(found)
    assert not [thread for thread in threading.enumerate() if thread.name == "frames"]
