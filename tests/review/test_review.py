"""From a source to a queue, through what Label Studio exports, to a new data version."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from exports import write_export
from ferops.classes import DEFAULT_CLASSES
from ferops.datasets import manifest, relabel
from ferops.datasets.importer import import_source
from ferops.datasets.raw import open_raw
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.provenance import data_version
from ferops.review.answers import take
from ferops.review.queue import Queue, review
from releases import make_folder
from repositories import make_repository
from sample_images import encoded
from scoring_files import ANSWERS, COLOURS, BrightFaces, dark, trained_on_wild


def drawn(colour: str, seed: int) -> bytes:
    """A coloured image with waves in a direction of its own, so that two of them do not look alike."""
    across, down = np.meshgrid(np.arange(72), np.arange(72))
    waves = 18 * np.sin((np.cos(seed) * across + np.sin(seed) * down) / 2)
    return encoded((np.array(COLOURS[colour]) + waves[..., None]).clip(0, 255).astype(np.uint8))


FILES = {
    "happy/right.png": drawn("red", 1),
    "sad/wrong.png": drawn("red", 2),  # the model says happy
    "sad/wrong too.png": drawn("red", 3),
    "happy/right too.png": drawn("red", 4),
    "fear/no face.png": dark(5, size_px=160),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, and a project that has imported them."""
    tmp_path = tmp_path_factory.mktemp("review")
    root = tmp_path / "project"
    make_repository(root)
    layout = Layout(root)
    import_source(layout, "folder", make_folder(tmp_path / "photos", FILES), seed=1, name="mine")
    write_export(root / "starter", **trained_on_wild(favours="happy"))
    return tmp_path


@pytest.fixture
def layout(template: Path, tmp_path: Path) -> Layout:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return Layout(tmp_path / "project")


def asked(layout: Layout, what: str, **more: Any) -> Queue:
    options: dict[str, Any] = {"model": str(layout.starter), "limit": 10, "detector": BrightFaces()} | more
    return review(layout, what, **options)


def export(queue: Queue, path: Path, *labels: str | None) -> Path:
    """Write what Label Studio exports after ann@example.org has chosen `labels`, in the order of the queue."""
    tasks = json.loads((queue.folder / "label-studio.json").read_text())
    for task, label in zip(tasks, labels, strict=True):
        result = [{"from_name": "expression", "to_name": "image", "type": "choices", "value": {"choices": [label]}}]
        task["annotations"] = [
            {"result": result, "completed_by": {"email": "ann@example.org"}, "updated_at": "2026-11-20T10:00:00Z"}
        ]
        del task["data"]["image"]
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return path


def labels_of(layout: Layout) -> dict[bytes, str | None]:
    table = open_raw(layout, "mine").table(["image", "label"]).to_pydict()
    return dict(zip(table["image"], table["label"], strict=True))


def test_answers_become_a_data_version_that_differs_in_labels_alone(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(layout.root)
    queue = asked(layout, "mine")
    tasks = [task["data"] for task in json.loads((queue.folder / "label-studio.json").read_text())]
    assert (queue.cases, queue.images, queue.without_face) == (2, 5, 1)
    assert {(task["label"], task["answer"]) for task in tasks} == {("sad", ANSWERS["red"])}
    assert sorted(path.name for path in (queue.folder / "images").iterdir()) == sorted(one["file"] for one in tasks)
    assert '<Choice value="unclear" />' in (queue.folder / "label-studio.xml").read_text()

    before, rows = data_version(layout), labels_of(layout)
    old = pq.read_table(layout.source("mine"))
    said = take(layout, "mine", export(queue, tmp_path / "export.json", "Happiness", "unclear"))
    assert said[:3] == [
        "mine: 2 labels changed, 0 confirmed, by ann@example.org", "      1 x sad -> happy", "      1 x sad -> no label"
    ]  # fmt: skip
    assert data_version(layout) != before
    new = pq.read_table(layout.source("mine"))
    assert new.drop_columns("label").equals(old.drop_columns("label"))
    ids = {manifest.make_row(image, source="mine", label=None)["image_id"]: image for image in rows}
    changed = {ids[image]: one for image, one in relabel.corrections(layout, "mine").items()}
    assert labels_of(layout) == rows | {image: one.label for image, one in changed.items()}
    assert {(one.was, one.label, one.who, one.when) for one in changed.values()} == {
        ("sad", "happy", "ann@example.org", "2026-11-20T10:00:00Z"),
        ("sad", None, "ann@example.org", "2026-11-20T10:00:00Z"),
    }
    # A second time nothing changes, nobody is asked again, and a new import keeps what the person said
    version = data_version(layout)
    assert "nothing changes" in take(layout, "mine", tmp_path / "export.json")[0]
    assert data_version(layout) == version
    with pytest.raises(FeropsError, match="no image of mine needs a person: of 3, 2 have a face"):
        asked(layout, "mine")
    again = import_source(layout, "folder", tmp_path / "photos", seed=1, name="mine")
    assert again.noticed == {"label that a person corrected (ferops review), kept": 2}
    assert labels_of(layout) == rows | {image: one.label for image, one in changed.items()}


def test_files_without_labels_get_a_table(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two that look alike one is asked about."""
    monkeypatch.chdir(layout.root)
    monkeypatch.setattr("ferops.review.rank.UNSURE", 2.0)  # the network of exports.py is always sure
    one = drawn("red", 7)
    nearly = encoded(np.minimum(np.array(Image.open(io.BytesIO(one))) + 1.0, 255).astype(np.uint8))
    photos = make_folder(tmp_path / "new", {"a/1.png": one, "b.png": nearly})
    queue = asked(layout, str(photos))
    assert queue.cases == 1
    said = take(layout, str(photos), export(queue, tmp_path / "export.json", "sad"))
    table = layout.reports("review") / "new" / "answers.csv"
    file = json.loads((queue.folder / "label-studio.json").read_text())[0]["data"]["place"]
    assert table.read_text().splitlines() == ["file,label", f"{file},sad"]
    assert f"--attributes {table}" in said[1]


def test_a_person_may_say_what_either_model_can(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(layout.root)
    write_export(layout.root / "starter", **trained_on_wild(favours="happy", classes=(*DEFAULT_CLASSES, "neutral")))
    six = write_export(layout.root / "six", **trained_on_wild(favours="happy"))
    queue = asked(layout, "mine", model=str(six))
    assert queue.models == (str(six), "starter")
    assert '<Choice value="neutral" />' in (queue.folder / "label-studio.xml").read_text()


def test_answers_that_are_not_of_this_queue_change_nothing(layout: Layout, tmp_path: Path) -> None:
    before = data_version(layout)
    refused: list[tuple[list[dict[str, str]], str]] = [
        ([{"image": "x.jpg", "choice": "sad"}], "'x.jpg', which is no image of a queue"),
        ([{"file": f"0001-{'0' * 20}.jpg", "choice": "sad"}], "none of the 1 images in .* is in mine"),
        ([{"file": f"0001-{'0' * 20}.jpg", "choice": "so sad!"}], "'so sad!'. A class has"),
        ([], "has no answer yet"),
    ]
    for content, said in refused:
        (tmp_path / "export.json").write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(FeropsError, match=said):
            take(layout, "mine", tmp_path / "export.json")
    assert data_version(layout) == before
