"""What the verbs share: the application, the project they work in, and how a result is printed."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from ferops import __version__
from ferops.layout import Layout

if TYPE_CHECKING:
    from ferops.config import Params
    from ferops.records import Record
    from ferops.scoring.opening import Opened

SOME_UNREADABLE, NOT_BETTER, INTERRUPTED = 3, 4, 130
"""Exit statuses; 1 is an error that stops the run, 2 a wrong command line."""

LABEL_PATTERN = "labels in file names: '(?P<label>[A-Z]+)'; (?P<subject>...) for people"

VERBOSE = "FEROPS_VERBOSE"
"""The variable that --verbose sets: the stages of a run, processes of their own, say more, too."""

KINDS = {
    "start": "From images to a model",
    "data": "Data and settings",
    "stages": "Stages, which ferops run goes through",
    "predict": "Answers",
    "blur": "Answers",
    "models": "Models and services",
    "edge": "Models and services",
    "local": "The whole pipeline, and the servers of this machine",
}
"""Modules of verbs, and the headings of these verbs in `ferops -h`."""


class _Verbs(TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take --verbose behind a verb, too, where people add it when something has failed."""
        words = args[: args.index("--")] if "--" in args else args
        others = [word for word in words if word != "--verbose"]
        return super().parse_args(ctx, ["--verbose"] * (len(others) < len(words)) + others + args[len(words) :])

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the verbs under their headings, each with its whole first sentence: Typer cuts it off."""
        rows: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            verb = self.commands[name]
            if not verb.hidden:
                kind = KINDS[str(getattr(verb.callback, "__module__", "")).rpartition(".")[2]]
                begins = (verb.help or "").partition("\n\n")[0].partition(". ")[0]
                rows.setdefault(kind, []).append((name, begins.rstrip(".")))
        for kind, listed in rows.items():
            with formatter.section(kind):
                formatter.write_dl(listed)


app = typer.Typer(
    cls=_Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        say(f"ferops {__version__}")
        raise typer.Exit


@app.callback()
def ferops(
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="also print what the libraries log, and where in the code an error arose")
    ] = False,
) -> None:
    """An MLOps pipeline for facial-expression recognition."""
    if verbose:
        os.environ[VERBOSE] = "1"
    if os.environ.get(VERBOSE):
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")


def project() -> tuple[Layout, Params]:
    """Return the project around the working folder and its settings. Raises FeropsError: there is none."""
    from ferops.config import load_params

    layout = Layout.find()
    return layout, load_params(layout.params_file)


def presets_like(incomplete: str) -> list[str]:
    """Return the presets that a shell completes `incomplete` with."""
    from ferops import presets

    return [name for name in presets.names() if name.startswith(incomplete)]


def own_classes(given: str | None) -> tuple[str, ...] | Literal["any"]:
    """Return the classes that an option lists, separated by commas; none without it."""
    return "any" if given == "any" else tuple(filter(None, map(str.strip, (given or "").split(","))))


def say(*lines: str) -> None:
    print("\n".join(lines), flush=True)


def note(text: str) -> None:
    """Say something that is no result: standard output is for those."""
    print(text, file=sys.stderr, flush=True)


def introduction(ready: Opened) -> str:
    """Return which model answers, and what its answers mean."""
    return f"model: {ready.name}, which answers {', '.join(ready.config.classes)}: what a face shows, not what is felt"


def end(*, stopped: bool, unreadable: int) -> None:
    """End the run with the exit status that docs/predict.md names, if it is not 0."""
    if stopped:
        raise typer.Exit(INTERRUPTED)
    if unreadable:
        raise typer.Exit(SOME_UNREADABLE)


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
