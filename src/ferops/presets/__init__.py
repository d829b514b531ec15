"""Presets: quick.yaml is complete, every other file holds only what differs from it.

`ferops preset NAME` writes the combination to params.yaml, comments and all, and params.yaml stays the single source.
"""

from __future__ import annotations

import difflib
import io
from importlib import resources
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ferops import config
from ferops.config import flatten
from ferops.errors import FeropsError
from ferops.files import write_text
from ferops.layout import Layout


def names() -> list[str]:
    """Return the names of the presets, quick first."""
    files = [entry.name for entry in resources.files(__package__).iterdir() if entry.name.endswith(".yaml")]
    return sorted((name.removesuffix(".yaml") for name in files), key=lambda name: (name != "quick", name))


def render(name: str) -> str:
    """Return the text of params.yaml for preset `name`. Raises FeropsError for an unknown name."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise FeropsError(f"there is no preset named {name!r}.{hint} Known presets: {', '.join(names())}")
    base = _text("quick")
    if name == "quick":
        return base
    yaml = YAML()  # the round-trip kind keeps comments
    yaml.width = 120
    tree = yaml.load(base)
    _overlay(tree, yaml.load(_text(name)))
    rendered = io.StringIO()
    yaml.dump(tree, rendered)
    return rendered.getvalue()


def apply_preset(layout: Layout, name: str, *, overwrite: bool = False) -> list[str]:
    """Write preset `name` to params.yaml and return the settings that changed, as `key: old -> new`.

    Raises:
        FeropsError: the preset is unknown, or params.yaml holds edits of its own, or no YAML, and `overwrite` is false.
    """
    text = render(name)
    wanted = parse(text)
    config.parse(wanted, origin=f"preset {name}")
    current = _current(layout.params_file, overwrite=overwrite)
    edits = _edits(current)
    if edits and not overwrite:
        raise FeropsError(
            f"{layout.params_file} has edits that switching would lose:\n"
            + "\n".join(f"  {edit}" for edit in edits)
            + f"\nCommit or copy the file, then: ferops preset {name} --overwrite"
        )
    write_text(layout.params_file, text)
    return _differences(current, wanted)


def change(layout: Layout, changes: dict[str, Any]) -> None:
    """Change settings in params.yaml, by block; comments and all else stay.

    Raises:
        FeropsError: the settings would not be usable; the file is then as before.
    """
    yaml = YAML()
    yaml.width = 120
    tree = yaml.load(layout.params_file.read_text(encoding="utf-8"))
    _overlay(tree, changes)
    rendered = io.StringIO()
    yaml.dump(tree, rendered)
    config.parse(parse(rendered.getvalue()), origin=str(layout.params_file))
    write_text(layout.params_file, rendered.getvalue())


def _current(path: Path, *, overwrite: bool) -> dict[str, Any]:
    try:
        return config.read_yaml(path) if path.exists() else {}
    except FeropsError:
        if overwrite:
            return {}
        raise


def _edits(current: dict[str, Any]) -> list[str]:
    """What `current` changes against the preset that it names; nothing when there is no file."""
    if not current:
        return []
    origin = str(current.get("preset"))
    if origin not in names():
        return [f"preset: {origin} is not one of {', '.join(names())}"]
    return _differences(parse(render(origin)), current)


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    before, after = flatten(old), flatten(new)
    # An empty mapping that gets entries, or loses its last one, is described by those
    gone = [key for key in before if key not in after and not any(name.startswith(f"{key}.") for name in after)]
    keys = [key for key in after if not any(name.startswith(f"{key}.") for name in before)] + gone
    return [f"{key}: {before.get(key)} -> {after.get(key)}" for key in keys if before.get(key) != after.get(key)]


def _overlay(tree: Any, changes: Any) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and value and tree.get(key):  # an empty mapping has no entries to change
            _overlay(tree[key], value)
        else:
            tree[key] = value


def parse(text: str) -> dict[str, Any]:
    """Return the settings in the text of a params.yaml, unchecked."""
    tree = YAML(typ="safe").load(text)
    return tree if isinstance(tree, dict) else {}


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
