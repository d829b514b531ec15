"""JSON Schemas of all records that reach a file or standard output, and the page that lists them (docs/records.md)."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

import ferops
from ferops.files import write_text
from ferops.records.base import Record

COMMAND = "python -m ferops.records docs"


class _WithoutTitles(GenerateJsonSchema):
    """A field's title would repeat its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


def stored_records() -> list[type[Record]]:
    """Return the records that say where they are stored, by that place."""
    source = Path(ferops.__file__).parent
    for path in sorted(source.rglob("*.py")):
        if "stored_in: ClassVar" in path.read_text(encoding="utf-8"):
            importlib.import_module(".".join(("ferops", *path.relative_to(source).with_suffix("").parts)))
    stored = {record for record in all_records() if "stored_in" in vars(record)}
    return sorted(stored, key=lambda record: (record.stored_in, record.__name__))


def all_records(base: type[Record] = Record) -> Iterator[type[Record]]:
    """Yield all records that are defined in imported modules."""
    for record in base.__subclasses__():
        if record.__module__.startswith("ferops."):
            yield record
            yield from all_records(record)


def pages() -> dict[str, str]:
    """Return the text of docs/records.md and of each docs/schemas/*.json, by its path below docs/."""
    texts = {}
    rows = []
    for record in stored_records():
        name = f"schemas/{_kebab(record.__name__)}.json"
        texts[name] = json.dumps(schema(record), indent=2, ensure_ascii=False) + "\n"
        summary = _described(record)[0].split("\n\n")[0].replace("\n", " ")
        rows.append(f"| {record.stored_in} | [{record.__name__}]({name}) | `{record.made_by}` | {summary} |")
    page = f"""# Records

Every JSON file that ferops writes, and what its commands print as JSON, is a frozen pydantic model of `ferops.records`.
Files are read through the same models, so an unknown or missing field is an error. To read one in Python:

```python
from pathlib import Path

from ferops.records.metrics import Metrics

metrics = Metrics.read(Path("artifacts/evaluate/metrics.json"), made_by="ferops evaluate")
print(metrics.candidate.accuracy.value, metrics.classes)
```

This page and the JSON Schemas (draft 2020-12) are written by `{COMMAND}`; a test compares them with the code.

| where | schema | made by | what |
|---|---|---|---|
"""
    return {"records.md": page + "\n".join(rows) + "\n"} | texts


def schema(record: type[Record]) -> dict[str, Any]:
    """Return the JSON Schema of what `record.write` writes; the docstrings' `Attributes` describe the fields."""
    tree = record.model_json_schema(mode="serialization", by_alias=True, schema_generator=_WithoutTitles)
    by_name = {each.__name__: each for each in all_records()}
    for name, part in {record.__name__: tree, **tree.get("$defs", {})}.items():
        if name in by_name:
            text, fields = _described(by_name[name])
            part["description"] = text
            for field, meaning in fields.items():
                part["properties"].get(field, {})["description"] = meaning
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **tree}


def write(folder: Path) -> list[Path]:
    """Write `pages` below `folder` and return their paths; schemas of records that are gone are removed."""
    texts = pages()
    for old in folder.glob("schemas/*.json"):
        if f"schemas/{old.name}" not in texts:
            old.unlink()
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def _described(record: type[Record]) -> tuple[str, dict[str, str]]:
    """Return the docstring without its `Attributes`, and the meaning of each field described there."""
    text, _, attributes = (inspect.getdoc(record) or "").partition("\nAttributes:\n")
    fields: dict[str, str] = {}
    for names, meaning in re.findall(r"^ {4}(\w[\w, ]*): (.*(?:\n {5,}.*)*)", attributes, re.MULTILINE):
        fields |= dict.fromkeys(names.split(", "), re.sub(r"\s+", " ", meaning))
    return text.strip(), fields


def _kebab(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
