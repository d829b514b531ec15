"""`python docs/reference.py`: write docs/cli.md from the verbs, docs/params.md from types and presets, docs/http.md."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import typer
from ruamel.yaml import YAML
from typer.cli import get_docs_for_click
from typer.main import get_command

from ferops import presets
from ferops.cli import app
from ferops.config import Params, flatten

DOCS = Path(__file__).parent
COMMAND = "python docs/reference.py"
BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}

CLI_HEAD = """# Command line

Every verb of `ferops`, as `ferops VERB --help` prints it. It works in the nearest folder, from the working folder
upwards, that holds a project. Exit status 0: done; 1: one message on standard error says what was found, what is
supported and what to do; 2: the command itself was not understood. [`predict`](predict.md) and
[`learn`](own-data.md#what-learn-says) have further ones. With `--verbose`, before the verb or behind it, a run also
prints what the libraries log, and where in the code an error arose. `ferops --install-completion` lets bash, zsh, fish
and PowerShell complete verbs, options and the names of presets.
"""
PARAMS_HEAD = """# Settings

Every setting of `params.yaml`, with its value and comment in the preset `quick`, and the presets that have another
value. There are no hidden defaults: the file is complete, and an unknown or missing key is an error that names the
nearest known one. `ferops preset NAME` writes a preset to it. A comment covers the settings below it that have none.
[Training](training.md), [faces](faces.md), [duplicates](duplicates.md) and [serving](serving.md) say when to use which.
"""
FOOT = f"\nThis page is written by `{COMMAND}`; a test compares it with the code.\n"


def pages() -> dict[str, str]:
    """Return the text of the generated pages by their names in docs/."""
    from docs import http_reference

    return {
        "cli.md": CLI_HEAD + FOOT + verbs(),
        "params.md": PARAMS_HEAD + FOOT + settings(),
        "http.md": http_reference.HEAD + FOOT + http_reference.page() + "\n",
    }


def verbs() -> str:
    """Return Typer's Markdown for each verb."""
    command = get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="ferops"), name="ferops")
    return "\n" + text[text.index("## ") :].rstrip().replace("<br>", " ") + "\n"


def settings() -> str:
    """Return a table for each block of params.yaml."""
    comments = _comments(presets.render("quick"))
    values = {name: _leaves(YAML(typ="safe").load(presets.render(name))) for name in presets.names()}
    schema = Params.model_json_schema(by_alias=True)
    text = ""
    for block, part in schema["properties"].items():
        keys, prefix = {block: part}, ""
        if block == "models":  # an entry for each model, all of one kind
            keys, prefix = schema["$defs"]["Model"]["properties"], "models.candidate."
        elif "$ref" in part:
            keys, prefix = _with_gates(_resolve(part, schema)["properties"], values["quick"]), f"{block}."
        if prefix or not text:
            text += f"\n## {block if prefix else 'At the top'}\n\n"
            text += "One entry for each model; the values are those of `candidate`.\n\n" if block == "models" else ""
            text += "| setting | kind | `quick` | other presets | meaning |\n|---|---|---|---|---|\n"
        for key, kind in keys.items():
            path = f"{prefix}{key}"
            said = comments.get(path) or comments.get(path.replace("candidate", "baseline"), "")
            said = said.replace("<", "&lt;")
            cells = [f"`{key}`", _kind(kind, schema), _value(values["quick"][path]), _others(path, values), said]
            text += "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
    return text


def _leaves(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the settings by their dotted names; a gate is one."""
    rules = tree["register"].pop("gates")
    return flatten(tree) | {f"register.gates.{name}": rule for name, rule in rules.items()}


def _with_gates(keys: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Put a key for each gate in the place of `gates`."""
    names = [path.removeprefix("register.") for path in values if path.startswith("register.gates.")]
    return {each: kind for key, kind in keys.items() for each in (names if key == "gates" else [key])}


def _comments(text: str) -> dict[str, str]:
    """Return the comment right above each key of params.yaml, by its dotted name."""
    found: dict[str, str] = {}
    above: list[str] = []
    parents: list[str] = []
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith("#"):
            above.append(bare.lstrip("# "))
            continue
        if match := re.match(r"(\w+):", bare):
            parents[(len(line) - len(line.lstrip())) // 2 :] = [match[1]]
            found[".".join(parents)] = " ".join(above)
        above = []
    return found


def _others(path: str, values: dict[str, dict[str, Any]]) -> str:
    """Return the values that other presets have, and in which ones."""
    quick = values["quick"][path]
    names: dict[str, list[str]] = {}
    for name, tree in values.items():
        if path in tree and tree[path] != quick:
            names.setdefault(_value(tree[path]), []).append(name)
    return "; ".join(f"{value} in {', '.join(found)}" for value, found in names.items())


def _value(value: Any) -> str:
    """Return a value as params.yaml has it."""
    words = {None: "null", True: "true", False: "false"}
    if isinstance(value, dict) and value:
        return f"`{{{', '.join(f'{key}: {each}' for key, each in value.items())}}}`"
    if isinstance(value, list):
        return f"`[{', '.join(str(each) for each in value)}]`"
    return f"`{words.get(value, value) if isinstance(value, bool | None) else value}`"


def _kind(part: dict[str, Any], schema: dict[str, Any]) -> str:
    """Return in words what a JSON Schema allows."""
    part = _resolve(part, schema)
    if "anyOf" in part:
        return " or ".join(_kind(each, schema) for each in part["anyOf"])
    if "const" in part or "enum" in part:
        return ", ".join(f"`{each}`" for each in part.get("enum", [part.get("const")]))
    if part["type"] == "array":
        return f"list of {_kind(part['items'], schema)}"
    if part["type"] == "object":
        return "mapping"
    if {"minimum", "maximum"} <= part.keys():
        return f"{KINDS[part['type']]}, {part['minimum']} to {part['maximum']}"
    bounds = [f"{word} {part[bound]:,}" for bound, word in BOUNDS.items() if bound in part]
    return ", ".join([KINDS[part["type"]], *bounds])


def _resolve(part: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
    return found


if __name__ == "__main__":
    sys.path.insert(0, str(DOCS.parent))  # `docs` and `service` are no installed packages
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
