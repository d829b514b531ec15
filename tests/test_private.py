"""Passwords and keys: made once, the same for two that start at once, and for nobody else to read."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.private import password, private_folder


def test_a_password_is_drawn_once_for_each_name_and_project(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "one")
    first = password(layout, "prefect")
    assert len(first) == 43
    assert password(layout, "prefect") == first
    assert password(layout, "mlflow") != first
    assert password(Layout(tmp_path / "other"), "prefect") != first


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    password(layout, "prefect")
    assert stat.S_IMODE(private_folder(layout).stat().st_mode) == 0o700
    file = private_folder(layout) / "prefect"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    with pytest.raises(FeropsError, match="other users may read"):
        password(layout, "prefect")


def test_a_folder_that_was_opened_is_closed_again(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    private_folder(layout).chmod(0o755)
    assert stat.S_IMODE(private_folder(layout).stat().st_mode) == 0o700


def test_of_many_that_start_at_once_all_get_the_same(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: password(layout, "prefect"), range(32)))) == 1
