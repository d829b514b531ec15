"""API keys: drawn once, kept as hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ferops.api_keys import add_key, owner, read_keys
from ferops.errors import FeropsError


def test_a_key_opens_and_its_file_does_not_hold_it(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    keys = {name: add_key(file, name) for name in ("clinic", "a.b@c-1")}
    assert {name: owner(read_keys(file), key) for name, key in keys.items()} == {name: name for name in keys}
    assert all(len(key) == 43 and key not in file.read_text() for key in keys.values())
    assert read_keys(file)["clinic"] == hashlib.sha256(keys["clinic"].encode()).hexdigest()
    for wrong in ("", "clinic", keys["clinic"][:-1], read_keys(file)["clinic"], "\udcff"):
        assert owner(read_keys(file), wrong) is None


def test_a_name_has_one_key(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    add_key(file, "clinic")
    before = file.read_text()
    for name, words in (
        ("clinic", "has a key already"),
        ("two words", "no name"),
        ("a\nb", "no name"),
        ("", "no name"),
    ):
        with pytest.raises(FeropsError, match=words):
            add_key(file, name)
    assert file.read_text() == before


@pytest.mark.parametrize("line", ["clinic", "clinic abc", f"clinic {'A' * 64}", f"x {'a' * 64}\nx {'b' * 64}", "\xff"])
def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "keys.txt"
    file.write_text(f"# comment\n\n{line}\n")
    with pytest.raises(FeropsError, match=r"line [34] is no key"):
        read_keys(file)
    with pytest.raises(FeropsError, match="cannot be read"):
        read_keys(tmp_path / "missing.txt")
