"""Scratch folders: those of the dead are removed, those of the living never."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ferops.files import atomic_file, atomic_folder
from ferops.scratch import lent_folder, remove_leftovers, scratch_folder

HOLD = """
import sys, time
from pathlib import Path
from ferops.files import atomic_folder
with atomic_folder(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("x")
    print(folder, flush=True)
    time.sleep(60)
"""


def test_it_is_private_and_goes_with_its_block(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "deep", "name") as folder:
        (folder / "sub").mkdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert folder.parent == tmp_path / "deep"
    assert list((tmp_path / "deep").iterdir()) == []


def test_of_two_starts_at_once_neither_takes_the_others(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, "a[b]") as first, scratch_folder(tmp_path, "a[b]") as second:
        remove_leftovers(tmp_path, "a[b]")
        assert first != second
        assert first.is_dir()
        assert second.is_dir()


def test_a_killed_writers_folder_stays_while_it_lives_and_goes_at_the_next_start(tmp_path: Path) -> None:
    target = tmp_path / "out"
    command = [sys.executable, "-c", HOLD, str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        half = Path(writer.stdout.readline().strip())
        with atomic_folder(target) as folder:
            (folder / "whole").touch()
        assert (half / "half").exists()
        writer.send_signal(signal.SIGKILL)
    assert half.exists()
    with atomic_folder(target) as folder:
        (folder / "whole").touch()
    assert list(tmp_path.iterdir()) == [target]


def test_a_lent_folder_stays_as_long_as_the_process_that_inherited_it(tmp_path: Path) -> None:
    folder, lock = lent_folder(tmp_path, "name")
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(command, pass_fds=[lock]) as owner:
        os.close(lock)
        remove_leftovers(tmp_path, "name")
        assert folder.is_dir()
        owner.send_signal(signal.SIGKILL)
    remove_leftovers(tmp_path, "name")
    assert not folder.exists()


def test_only_this_users_folders_of_exactly_this_name_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [".out.0123abcd.tmp", ".out.mine.tmp", ".outer.0123abcd.tmp", ".other.0123abcd.tmp"]
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / ".out.fedcba98.tmp").symlink_to(tmp_path / names[1])
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: os.getuid() + 1)
        remove_leftovers(tmp_path, "out")
    assert len(list(tmp_path.iterdir())) == 5
    remove_leftovers(tmp_path, "out")
    assert {path.name for path in tmp_path.iterdir()} == {*names[1:], ".out.fedcba98.tmp"}


def test_starts_and_ends_at_once_never_lose_a_living_one(tmp_path: Path) -> None:
    """Every start sweeps: a folder that is made but not locked yet must not be taken for a dead one's."""
    lost = []

    def work() -> None:
        for number in range(100):
            try:
                with atomic_file(tmp_path / "out") as temporary:
                    temporary.write_text(str(number))
            except OSError as error:
                lost.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lost == []
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_what_could_not_be_replaced_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").touch()
    rename = Path.rename

    def fail(self: Path, to: Path) -> Path:
        if self.name == "new":
            raise RuntimeError
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(RuntimeError), atomic_folder(target):
        pass
    assert [path.name for path in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]
