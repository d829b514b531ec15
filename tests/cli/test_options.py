"""What holds for every verb: help, version, completion."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from ferops import __version__, cli, presets

RUN = CliRunner()


def test_the_version() -> None:
    found = RUN.invoke(cli.app, ["--version"])
    assert (found.exit_code, found.stdout) == (0, f"ferops {__version__}\n")


@pytest.mark.parametrize("verb", [[], ["preset"]])
def test_help_has_a_short_option(verb: list[str]) -> None:
    short, long = (RUN.invoke(cli.app, [*verb, option]) for option in ("-h", "--help"))
    assert short.exit_code == 0
    assert short.stdout == long.stdout
    assert "Usage:" in short.stdout


def test_the_help_of_preset_names_all_of_them() -> None:
    said = RUN.invoke(cli.app, ["preset", "-h"], env={"COLUMNS": "200"}).stdout
    assert all(name in said for name in presets.names())


def test_shells_complete_the_verbs() -> None:
    found = RUN.invoke(
        cli.app,
        [],
        prog_name="ferops",
        env={"_FEROPS_COMPLETE": "complete_bash", "COMP_WORDS": "ferops pred", "COMP_CWORD": "1"},
    )
    assert found.stdout.split() == ["predict"]
