"""docs/measured.py keeps the tables that a command printed, and pages hold no figures of unknown origin."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from docs import measured
from docs.figures import BLOCK, PAGES
from docs.measured import Measured, measure, tables_in

PRINTED = """2 scenes

| scene | ms |
| --- | ---: |
| one face | 12.5 |
| six | 20.1 |

done
"""
RUN = Measured(
    command="python benchmarks/search.py starter",
    commit="0123456",
    date="2026-11-09",
    cpu="A CPU",
    cores=2,
    others_busy=1.26,
    minutes=3.0,
    tables=tuple(tables_in(PRINTED + PRINTED)),
)


def test_the_tables_that_a_command_printed_are_shown_with_where_they_are_from() -> None:
    table = "| scene | ms |\n| --- | ---: |\n| one face | 12.5 |\n| six | 20.1 |\n"
    source = (
        "By `python benchmarks/search.py starter`; commit `0123456`, 9 November 2026, A CPU, 2 cores, 1.3 of them kept"
    )
    assert RUN.markdown(2).startswith(f"{table}\n{source}")
    assert RUN.markdown().startswith(f"{table}\n{table}\n{source}")
    assert max(map(len, RUN.markdown().splitlines())) <= measured.WIDTH


def test_lines_that_are_no_table_are_left_out() -> None:
    assert list(tables_in("| a | b |\n\n| a |\n| --- |\n")) == []
    with pytest.raises(ValueError, match="rows differ in length"):
        RUN.model_validate(RUN.model_dump() | {"tables": [[["a", "b"], ["1"]]]})


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "a.py").write_text("", encoding="utf-8")
    (tmp_path / "printed.txt").write_text(PRINTED, encoding="utf-8")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(tmp_path)]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *arguments], check=True)
    monkeypatch.setattr(measured, "ROOT", tmp_path)
    monkeypatch.setattr(measured, "CODE", ("benchmarks",))
    return tmp_path


def test_a_command_is_run_in_the_repository_and_its_commit_kept(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = measure("NAME=printed; cat $NAME.txt")
    assert capsys.readouterr().out == PRINTED
    assert found.tables == RUN.tables[:1]
    head = subprocess.run(["git", "-C", clone, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    assert head.stdout.startswith(found.commit)
    assert Measured.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("command", "said"),
    [("false", "exit status 1: false"), ("echo 3 ms", "no Markdown table"), ("cat x.txt", "status 1")],
)
@pytest.mark.usefixtures("clone")
def test_a_command_that_shows_nothing_is_not_kept(command: str, said: str) -> None:
    with pytest.raises(SystemExit, match=said):
        measure(command)


def test_figures_of_changed_code_are_not_kept(clone: Path) -> None:
    (clone / "benchmarks" / "a.py").write_text("changed", encoding="utf-8")
    with pytest.raises(SystemExit, match="commit first"):
        measure("cat printed.txt")


DATED = re.compile(r"commit `[0-9a-f]{7,40}`")
NOT_MEASURED = {
    "detectors.md": ("`preprocess.detector` |",),  # a setting's values
    "duplicates.md": ("| groups |",),  # counts of copies in FER2013
    "export.md": ("`tta` |",),
    "own-data.md": ("reason |",),  # how a score is computed
    "rollout.md": ("`canary.` |",),
    "sizing.md": ("image |", "images | cores"),  # a calculation; each of its figures has a link
    "sources.md": ("| anger", "anger |", "train |"),  # counts of published data sets
    "training.md": ("| anger",),  # weights of classes, computed from counts
    "validation.md": ("| test |",),  # thresholds
}
"""Heads of the tables of numbers that no run of ours gave, by page."""


def undated(text: str) -> list[str]:
    """Return the heads of the tables with figures that no file gives, in sections that name no commit either."""
    wrong = []
    for section in re.split(r"^#+ ", BLOCK.sub("", text), flags=re.MULTILINE):
        for head, _, *rows in [] if DATED.search(section) else tables_in(section):
            cells = [cell for row in rows for cell in row[1:]]
            figures = [
                cell for cell in cells if re.match(r"\W*\d[\d.,]*(?: ?(%|[GMk]B|m?s|min|h|points?)\b|[^\w.]|$)", cell)
            ]
            if "setting" not in head[0] and len(figures) * 3 >= len(cells):
                wrong.append(" | ".join(head))
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_table_of_figures_is_of_a_file_or_names_its_commit(page: Path) -> None:
    found = undated(page.read_text(encoding="utf-8"))
    known = NOT_MEASURED.get(page.name, ())
    assert [head for head in found if not head.strip().startswith(known)] == [], (
        'keep them: python docs/measured.py NAME "COMMAND", and quote them: <!-- figures: NAME -->'
    )
    assert all(any(head.strip().startswith(each) for head in found) for each in known), "a table that is gone"


def test_a_table_of_figures_from_nowhere_is_noticed() -> None:
    table = "| | ms |\n|---|---|\n| one | 12.5 ms |\n| two | 3 |\n"
    assert undated(f"# A\n{table}") == [" | ms"]
    assert undated(f"# A\n{table}\nBy hand, commit `0123456`.") == []
    assert undated(f"# A\n<!-- figures: a -->\n\n{table}\n<!-- end of figures -->\n") == []
    assert undated("# A\n| setting | default |\n|---|---|\n| one | 12 |\n| | |\n|---|---|\n| one | a dozen |\n") == []
