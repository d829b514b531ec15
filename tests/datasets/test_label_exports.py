"""Exports in the layouts that the tools document (labelstud.io/guide/export, cocodataset.org, docs.cvat.ai)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ferops.datasets import folder
from ferops.datasets.label_exports import Answer, parse, read_export
from ferops.errors import FeropsError
from published import read_all
from releases import make_folder, make_zip
from sample_images import noise_png

UPLOADED = "/data/upload/1/0a1b2c3d-1.png"


def task(image: str, *labels: str, **more: Any) -> dict[str, Any]:
    """A task of Label Studio's JSON, with an annotation for each of `labels`."""
    annotations = [
        {
            "result": [{"type": "choices", "from_name": "x", "to_name": "y", "value": {"choices": [label]}}],
            "completed_by": {"id": 3, "email": "ann@example.org"},
            "updated_at": f"2026-11-2{i}T10:00:00Z",
            "was_cancelled": False,
        }
        for i, label in enumerate(labels)
    ]
    return {"id": 1, "data": {"image": image} | more, "annotations": annotations, "predictions": []}


MINIMAL = {"image": UPLOADED, "id": 1, "choice": "happy", "annotator": 1, "updated_at": "2026-11-20T10:00:00Z"}
COCO = {
    "images": [{"id": 7, "file_name": "a/1.png"}, {"id": 8, "file_name": "a/2.png"}],
    "categories": [{"id": 1, "name": "happy"}, {"id": 2, "name": "sad"}],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0, 9, 9]}],
}
CVAT = """<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>
<meta><task><assignee><username>bob</username></assignee></task><dumped>2026-11-20 10:00</dumped></meta>
<image id="0" name="1.png" width="9" height="9"><tag label="happy" source="manual"></tag></image>
<image id="1" name="2.png" width="9" height="9"></image></annotations>"""


@pytest.mark.parametrize(
    ("content", "answers"),
    [
        ([task(UPLOADED, "happy")], [Answer("1.png", "happy", "ann@example.org", "2026-11-20T10:00:00Z")]),
        ([task("/data/local-files/?d=my%20set/1.png", "happy", "happy")],
         [Answer("my set/1.png", "happy", "ann@example.org", "2026-11-21T10:00:00Z")]),
        ([task("data:image/jpeg;base64,AA", "sad", file="0001-ab.jpg")],
         [Answer("0001-ab.jpg", "sad", "ann@example.org", "2026-11-20T10:00:00Z")]),
        ([task("s3://bucket/b/1.png")], []),
        ([MINIMAL], [Answer("1.png", "happy", "1", "2026-11-20T10:00:00Z")]),
        (COCO, [Answer("a/1.png", "happy"), Answer("a/2.png", None)]),
        (CVAT, [Answer("1.png", "happy", "bob", "2026-11-20 10:00"), Answer("2.png", None, "bob", "2026-11-20 10:00")]),
    ],
    ids=["upload", "local file, two agree", "of ferops review", "not annotated", "JSON-MIN", "COCO", "CVAT"],
)  # fmt: skip
def test_what_the_tools_write(tmp_path: Path, content: Any, answers: list[Answer]) -> None:
    path = tmp_path / ("export.xml" if isinstance(content, str) else "export.json")
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    assert read_export(path) == answers


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (json.dumps([task("1.png", "happy", "sad")]), "1.png is happy and sad. Agree on one"),
        (json.dumps(COCO | {"annotations": [{"image_id": 7, "category_id": k} for k in (1, 2)]}), "has 2 labels"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>', "declares a document type"),
        ("<annotations><image></annotations>", "mismatched tag"),
        ("[1]", "neither a list of tasks"),
        ("{}", "categories"),
        ("[{", "is not an export of"),
    ],
)
def test_what_is_no_export_or_says_two_things(content: str, said: str) -> None:
    with pytest.raises(FeropsError, match=r"x\.json is not an export of Label Studio") as caught:
        parse(content.encode(), where="x.json")
    assert said in str(caught.value)


@pytest.mark.parametrize("classes", [(), "any"])
def test_an_archive_of_cvat_is_imported_by_the_labels_in_it(tmp_path: Path, classes: Any) -> None:
    files = {"annotations.xml": CVAT.encode(), "images/1.png": noise_png(1), "images/2.png": noise_png(2)}
    path = make_zip(tmp_path / "cvat.zip", files)
    rows, skipped = read_all(
        lambda path, *, skipped: folder.read_folder(path, skipped=skipped, name="mine", classes=classes), path
    )
    assert [(row["image"], row["label"]) for row in rows] == [(files["images/1.png"], "happy")]
    assert skipped["image without a label"] == 1


def test_roboflow_has_an_export_in_each_part(tmp_path: Path) -> None:
    files = {}
    for number, part in enumerate(("train", "valid")):
        coco = COCO | {"images": [{"id": 7, "file_name": "1.png"}]}
        files |= {f"{part}/1.png": noise_png(number), f"{part}/_annotations.coco.json": json.dumps(coco).encode()}
    path = make_folder(tmp_path / "set", files)
    rows, _ = read_all(lambda path, *, skipped: folder.read_folder(path, skipped=skipped), path)
    assert {(row["usage"], row["label"]) for row in rows} == {("train", "happy"), ("val", "happy")}
