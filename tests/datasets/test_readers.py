"""What every reader owes, whatever it reads: rows in the raw form, from any kind of release, and clear errors."""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import test_affectnet
import test_ckplus
import test_fairface
import test_fer2013
import test_folder
import test_jaffe
import test_rafdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferops.classes import KNOWN_LABELS
from ferops.datasets import catalogue, synthetic
from ferops.datasets.importer import READERS
from ferops.datasets.manifest import check_row
from ferops.errors import FeropsError
from published import read_all
from releases import KINDS, make_folder, make_release

Files = dict[str, bytes]

RELEASES: dict[str, tuple[str, Callable[[], Files]]] = {
    "affectnet lists": ("affectnet", test_affectnet.listed),
    "affectnet numbered": ("affectnet", test_affectnet.numbered),
    "affectnet json": ("affectnet", lambda: test_affectnet.numbered(kind="json", val="validation_set")),
    "affectnet class folders": ("affectnet", test_affectnet.class_folders),
    "ckplus": ("ckplus", test_ckplus.original),
    "ckplus 48": ("ckplus", test_ckplus.small),
    "fairface": ("fairface", test_fairface.release),
    "fer2013": ("fer2013", test_fer2013.members),
    "fer2013 csv": ("fer2013", lambda: {"fer2013.csv": test_fer2013.table()}),
    "fer2013 votes": (
        "fer2013",
        lambda: {"fer2013.csv": test_fer2013.table(), "fer2013new.csv": test_fer2013.votes()},
    ),
    "folder": ("folder", lambda: test_folder.image_files("train/angry/1.jpg", "train/joy/2.jpg", "test/sad/3.jpg")),
    "jaffe": ("jaffe", test_jaffe.files),
    "rafdb": ("rafdb", test_rafdb.aligned_release),
}
"""A miniature of every layout that is read, made by the tests of its reader."""


def facts(row: dict[str, Any]) -> tuple[Any, ...]:
    """What a row says, in a form that sorts."""
    return tuple((name, repr(row[name])) for name in sorted(row) if name != "image")


def check_form(rows: list[dict[str, Any]], *, source: str) -> None:
    for position, row in enumerate(rows):
        check_row(row, source=source, columns=set(rows[0]), position=position)
        assert all(isinstance(row[name], str | None) for name in row if name.startswith("group_"))
        assert row["label"] in (*KNOWN_LABELS, None)


def test_every_reader_is_here_and_in_the_catalogue() -> None:
    assert {source for source, _ in RELEASES.values()} == set(READERS)
    assert set(catalogue.SOURCES) >= {*READERS, "synthetic"}


@pytest.mark.parametrize("name", RELEASES)
def test_every_kind_of_release_gives_the_same_rows_in_the_raw_form(tmp_path: Path, name: str) -> None:
    source, make = RELEASES[name]
    files = make()
    expected: tuple[list[tuple[Any, ...]], dict[str, int]] | None = None
    for kind in KINDS:
        rows, skipped = read_all(READERS[source], make_release(tmp_path, kind, files))
        assert rows
        check_form(rows, source=source)
        found = sorted(map(facts, rows)), skipped
        expected = expected or found
        assert found == expected, kind


def test_the_synthetic_rows_have_the_raw_form() -> None:
    check_form(list(itertools.islice(synthetic.rows(seed=1), 3)), source="synthetic")


@pytest.mark.parametrize("source", READERS)
def test_what_is_no_release_is_an_error_that_says_what_is_wanted(tmp_path: Path, source: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("not a data set", encoding="utf-8")
    make_folder(tmp_path / "other", {"a/b/notes.md": b"x", "list.xyz": b"1"})
    for name, said in (
        ("empty", "holds 0 files"),
        ("notes.txt", "neither a folder nor a zip or tar"),
        ("other", "holds 2 files"),
        ("missing", "does not exist"),
    ):
        with pytest.raises(FeropsError, match=said) as caught:
            read_all(READERS[source], tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "anted" in str(caught.value)


@pytest.mark.parametrize("name", RELEASES)
@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_mutilated_release_gives_true_rows_or_an_error(name: str, data: st.DataObject) -> None:
    """Files that are lost, empty, cut short or foreign: what still comes in is well formed, nothing is made up, and
    nothing but a FeropsError is raised."""
    source, make = RELEASES[name]
    files = make()
    with tempfile.TemporaryDirectory() as folder:
        whole, _ = read_all(READERS[source], make_folder(Path(folder) / "whole", files))
        for file in data.draw(st.lists(st.sampled_from(sorted(files)), max_size=6, unique=True)):
            harm = data.draw(st.sampled_from(["lose", "empty", "cut", "replace"]))
            content = files.pop(file)
            if harm == "empty":
                files[file] = b""
            elif harm == "cut":
                files[file] = content[: data.draw(st.integers(0, len(content)))]
            elif harm == "replace":
                files[file] = data.draw(st.binary(max_size=300))
        try:
            _, found = READERS[source](make_folder(Path(folder) / "harmed", files), skipped=Counter())
            rows = list(found)
        except FeropsError:
            return
    check_form(rows, source=source)
    # An image whose bytes are as before has no other label than before
    before = {(row["image_id"], row["label"]) for row in whole}
    known = {image_id for image_id, _ in before}
    after = Counter((row["image_id"], row["label"]) for row in rows if row["image_id"] in known)
    assert set(after) <= before
