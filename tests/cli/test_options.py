"""What holds for every verb: help, version, completion."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from ferops import __version__, cli, presets
from ferops.cli.base import VERBOSE
from ferops.orchestration.child import child_environment

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


def test_the_help_says_of_each_verb_what_it_does_in_a_whole_sentence() -> None:
    said = RUN.invoke(cli.app, ["-h"]).stdout
    assert "..." not in said.partition("Options:")[2]
    listed = re.findall(r"^  (\S+)  +[A-Z]", said.partition("From images to a model:\n")[2], re.MULTILINE)
    verbs = [name for name, verb in get_command(cli.app).commands.items() if not verb.hidden]  # type: ignore[attr-defined]
    assert sorted(listed) == sorted(verbs)
    assert "With --data" not in said  # of compare, the second paragraph


@pytest.mark.parametrize("words", [["--verbose", "predict", "none.jpg"], ["predict", "none.jpg", "--verbose"]])
def test_a_verbose_error_says_where_it_arose(words: list[str], tmp_path: Path) -> None:
    environment = {name: value for name, value in child_environment().items() if name != VERBOSE}
    said = [
        subprocess.run(
            [sys.executable, "-m", "ferops", *some],
            cwd=tmp_path,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        ).stderr
        for some in (words, [word for word in words if word != "--verbose"])
    ]
    assert said[1].startswith("ferops: none.jpg does not exist.")
    assert said[0].startswith("Traceback")
    assert said[0].endswith(said[1])


def test_a_file_may_be_named_as_the_option() -> None:
    assert "--verbose does not exist" in str(RUN.invoke(cli.app, ["predict", "--", "--verbose"]).exception)


def test_the_help_of_preset_names_all_of_them() -> None:
    said = RUN.invoke(cli.app, ["preset", "-h"], env={"COLUMNS": "200"}).stdout
    assert all(name in said for name in presets.names())


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("ferops pred", ["predict"]),
        ("ferops preset fer", ["fer2013-cpu", "fer2013-gpu"]),
        ("ferops init --preset ow", ["own"]),
    ],
)
def test_shells_complete_verbs_and_presets(typed: str, offered: list[str]) -> None:
    words = str(len(typed.split()) - 1)
    asked = {"_FEROPS_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": words}
    assert RUN.invoke(cli.app, [], prog_name="ferops", env=asked).stdout.split() == offered
