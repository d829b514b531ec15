"""The records' JSON Schemas and their page are what the code says, and hold for files that the code writes."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from evaluation_project import evaluated
from ferops.errors import FeropsError
from ferops.records.metrics import Metrics
from ferops.records.schemas import COMMAND, pages, stored_records

DOCS = Path(__file__).parents[1] / "docs"


def test_the_committed_pages_are_current() -> None:
    made = pages()
    there = {"records.md", *(f"schemas/{path.name}" for path in (DOCS / "schemas").glob("*.json"))}
    assert there == set(made), f"write them again: {COMMAND}"
    for name, text in made.items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, f"{name} is old. Write it again: {COMMAND}"


def test_a_stage_leaves_no_summary_without_a_schema() -> None:
    stages = (
        "validate",
        "split",
        "preprocess",
        "train",
        "export",
        "evaluate",
        "explain",
        "robustness",
        "fairness",
        "register",
    )
    stored = {record.stored_in for record in stored_records()}
    assert [stage for stage in stages if not any(f"reports/{stage}/" in place for place in stored)] == []


def test_what_evaluate_writes_fits_its_schema() -> None:
    schema = json.loads((DOCS / "schemas" / "metrics.json").read_text(encoding="utf-8"))
    written = evaluated().metrics.as_json()
    jsonschema.validate(written, schema)
    assert schema["properties"]["clusters"]["description"] == "of the faces."
    with pytest.raises(jsonschema.ValidationError, match="'n' is a required property"):
        jsonschema.validate({key: value for key, value in written.items() if key != "n"}, schema)


def test_a_record_of_another_shape_is_refused_and_its_fields_are_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    evaluated().metrics.write(path)
    assert Metrics.read(path, made_by="ferops evaluate") == evaluated().metrics
    tree = json.loads(path.read_text())
    tree["chance"]["luck"] = tree["chance"].pop("answer")
    path.write_text(json.dumps(tree))
    with pytest.raises(FeropsError, match=r"chance\.answer: Field required; chance\.luck: .*again: ferops evaluate"):
        Metrics.read(path, made_by="ferops evaluate")
    path.write_text("{")
    with pytest.raises(FeropsError, match=r"metrics\.json cannot be used: .*JSON"):
        Metrics.read(path, made_by="ferops evaluate")
