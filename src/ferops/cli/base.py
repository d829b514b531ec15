"""What the verbs share: the application, the project they work in, and how a result is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ferops.layout import Layout

if TYPE_CHECKING:
    from ferops.config import Params
    from ferops.records import Record

app = typer.Typer(
    help="An MLOps pipeline for facial-expression recognition.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def project() -> tuple[Layout, Params]:
    """Return the project around the working folder and its settings. Raises FeropsError: there is none."""
    from ferops.config import load_params

    layout = Layout.find()
    return layout, load_params(layout.params_file)


def say(*lines: str) -> None:
    print("\n".join(lines), flush=True)


def say_record(title: str, record: Record) -> None:
    """Print one aligned line per figure; tables and long lists are for the reports."""
    from ferops.orchestration.summary import shown

    values = record.as_json().items()
    rows = {key: shown(value) for key, value in values if key not in ("stage", "provenance") and _fits(value)}
    width = max((len(key) for key in rows), default=0)
    say(f"{title}:", *(f"  {key:<{width}}  {text}" for key, text in rows.items()))


def _fits(value: object) -> bool:
    """Whether a value fits on a line: a scalar, or a short mapping of scalars."""
    if isinstance(value, dict):
        return 0 < len(value) <= 8 and not any(isinstance(each, list | dict) for each in value.values())
    return not isinstance(value, list)
