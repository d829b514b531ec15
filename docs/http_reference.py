"""docs/http.md from the service's own OpenAPI document (GET /docs.json); `python docs/reference.py` writes it."""

from __future__ import annotations

import inspect
import re
from typing import Any

from service.openapi import document

from ferops import presets
from ferops.config import parse
from ferops.records.release import Release

HEAD = """# HTTP

Every path of the service. [Serving](serving.md) says how it behaves: limits, queue, keys, the live camera, proxies.
The service itself answers `GET /docs.json` with the same as OpenAPI 3.1, from which client generators work:

```sh
curl -s http://127.0.0.1:3000/docs.json
```

With API keys each path but `/`, `/info`, `/docs.json` and the probes wants `Authorization: Bearer KEY`.
A refusal is always `{"error": "what to do, for people", "code": "the reason, for programs"}`.
"""
NAMES = {"string": "text", "integer": "whole number", "boolean": "true or false", "object": "object"}


def page() -> str:
    """Return the text of docs/http.md, without its foot."""
    # The document depends on no value of it
    release = Release(
        tag="ferops:any",
        bento_name="ferops",
        model_version="1",
        model_sha256="0" * 64,
        data_version="0" * 12,
        purpose="research",
        limits=parse(presets.parse(presets.render("quick"))).serve,
    )
    api = document(release)
    paths = [_path(path, *item) for path, methods in api["paths"].items() for item in methods.items()]
    schemas = [item for item in api["components"]["schemas"].items() if item[0] != "Serve"]  # docs/params.md has it
    return "\n".join([*paths, "\n## Answers", *(_schema(*item) for item in schemas)])


def _path(path: str, method: str, what: dict[str, Any]) -> str:
    lines = [f"\n## {method.upper()} {path}\n", what["summary"][0].upper() + what["summary"][1:] + "."]
    if description := what.get("description"):
        lines += ["", description]
    for each in what.get("parameters", []):
        lines += ["", f"With `?{each['name']}={each.get('example', 1)}`: {each['description']}."]
    for media, content in what.get("requestBody", {}).get("content", {}).items():
        if "schema" not in content:
            lines += ["", f"The body is `{media}`: the file itself."]
            continue
        for name, field in content["schema"]["properties"].items():
            lines += ["", f"The body is `{media}` with the field `{name}`: {field['description']}."]
    lines += ["", "| status | answer |", "|---|---|"]
    for status, answer in what["responses"].items():
        said = answer["description"] if status != "200" else ""
        retry = "; `Retry-After` says when to try again" if "Retry-After" in answer.get("headers", {}) else ""
        schemas = [
            _kind(each["schema"]) if "schema" in each else f"`{media}`"
            for media, each in answer.get("content", {}).items()
        ]
        lines.append(f"| {status} | {' '.join([*schemas, _codes(said)]).strip() or 'empty'}{retry} |")
    return "\n".join(lines)


def _codes(text: str) -> str:
    """Return a description with its codes as code."""
    head, found, codes = text.partition(": ")
    return f"{head}: {', '.join(f'`{code}`' for code in codes.split(', '))}" if found and "ode" in head else text


def _schema(name: str, schema: dict[str, Any]) -> str:
    text = inspect.cleandoc(schema.get("description", ""))
    about, _, attributes = text.partition("\nAttributes:\n")
    meanings = _meanings(inspect.cleandoc(attributes))
    lines = [f"\n### {name}\n"]
    lines += [about.strip(), ""] if about else []
    lines += ["| field | kind | meaning |", "|---|---|---|"]
    for field, kind in schema.get("properties", {}).items():
        said = meanings.get(field, kind.get("description", ""))
        lines.append(f"| `{field}` | {_kind(kind)} | {said} |")
    return "\n".join(lines)


def _meanings(attributes: str) -> dict[str, str]:
    """Return what the docstring of a record says of each field."""
    found = {}
    for entry in re.split(r"\n(?=\S)", attributes):
        names, _, said = entry.partition(": ")
        found |= dict.fromkeys(names.split(", "), " ".join(said.split()))
    return found


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return "[settings](params.md#serve)" if name == "Serve" else f"[{name}](#{name.lower()})"
    if parts := [_kind(each) for each in schema.get("anyOf", schema.get("prefixItems", []))]:
        return " or ".join(parts) if "anyOf" in schema else f"({', '.join(parts)})"
    if codes := schema.get("enum", []):
        return f"one of {len(codes)}, by path above" if len(codes) > 5 else ", ".join(f"`{each}`" for each in codes)
    if inner := schema.get("items") or schema.get("additionalProperties"):
        return f"{'list of' if 'items' in schema else 'by name:'} {_kind(inner)}"
    return NAMES.get(schema["type"], schema["type"])
