"""Files are written whole, or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ferops.errors import FeropsError
from ferops.files import atomic_file, atomic_folder, read_json, write_json


def test_a_file_appears_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    with atomic_file(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
    assert target.read_text() == "half"
    assert list(target.parent.iterdir()) == [target]


def test_a_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")

    def fail() -> None:
        with atomic_file(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_one_message_and_leaves_nothing(tmp_path: Path) -> None:
    def fill() -> None:
        with atomic_folder(tmp_path / "out") as folder:
            (folder / "part").write_text("x")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(FeropsError, match="no space left on the disk"):
        fill()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError("512 requested and 0 written"),  # numpy.save
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),  # safetensors
    ],
)
def test_a_full_disk_is_known_through_the_libraries_that_hide_it(tmp_path: Path, error: Exception) -> None:
    def fill() -> None:
        with atomic_file(tmp_path / "out"):
            raise error

    with pytest.raises(FeropsError, match="no space left on the disk"):
        fill()


def test_other_errors_pass_as_they_are(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_file(tmp_path / "out"):
            raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        fail()


def test_a_really_full_device_is_one_message() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")

    def fill() -> None:
        with atomic_file(Path("/dev/shm/ferops-test-full")):
            Path("/dev/full").write_text("x")

    with pytest.raises(FeropsError, match="no space left"):
        fill()


def test_a_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "stale").write_text("x")
    with atomic_folder(target) as folder:
        (folder / "fresh").write_text("y")
    assert [path.name for path in target.iterdir()] == ["fresh"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_json_round_trip_refuses_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json", made_by="a test") == {"b": [1, 2.5, None]}
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", {"b": float("nan")})
    assert read_json(tmp_path / "a.json", made_by="a test") == {"b": [1, 2.5, None]}


def test_a_missing_input_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match="ferops split"):
        read_json(tmp_path / "none.json", made_by="ferops split")
