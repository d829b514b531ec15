"""The DAG seen from outside: order, output and failures; a real, trivial DVC project stands in."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ferops.errors import FeropsError
from ferops.orchestration import dag
from ferops.orchestration.child import child_environment
from repositories import make_repository

DVC_YAML = """
stages:
  last:
    cmd: cat middle@a middle@b > last
    deps: [middle@a, middle@b]
    outs: [last]
  middle:
    foreach: [a, b]
    do:
      cmd: echo making ${item} && cp first "middle@${item}"
      deps: [first]
      outs: ["middle@${item}"]
  first:
    cmd: printf 'one\\n10%%\\r55%%\\r100%%\\ntwo\\n' && echo x > first
    outs: [first]
  broken:
    cmd: "echo begins && echo 'ferops: found 3 rows, wanted 20' >&2 && exit 1"
  needs_data:
    cmd: echo never
    deps: [data]
  slow:
    cmd: echo started && exec sleep 60
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    make_repository(root, scm=False)
    (root / "dvc.yaml").write_text(DVC_YAML, encoding="utf-8")
    return root


def test_stages_come_in_an_order_that_can_run(project: Path) -> None:
    names = dag.stages(project)
    assert sorted(names) == ["broken", "first", "last", "middle@a", "middle@b", "needs_data", "slow"]
    assert names.index("first") < names.index("middle@a") < names.index("last")
    assert names.index("first") < names.index("middle@b") < names.index("last")


def test_no_project_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match="DVC cannot read the pipeline"):
        dag.stages(tmp_path)


def test_a_broken_dvc_yaml_is_said_plainly(tmp_path: Path) -> None:
    make_repository(tmp_path, scm=False)
    (tmp_path / "dvc.yaml").write_text("stages: [", encoding="utf-8")
    with pytest.raises(FeropsError, match=r"dvc\.yaml"):
        dag.stages(tmp_path)


@pytest.mark.parametrize(
    ("only", "until", "expected"),
    [("", "", ["a", "b", "c"]), ("b", "", ["b"]), ("", "b", ["a", "b"]), ("", "c", ["a", "b", "c"])],
)
def test_select(only: str, until: str, expected: list[str]) -> None:
    assert dag.select(["a", "b", "c"], only=only, until=until) == expected


@pytest.mark.parametrize(("only", "until", "message"), [("x", "", "no stage 'x'.*a, b"), ("a", "b", "exclude")])
def test_select_refuses(only: str, until: str, message: str) -> None:
    with pytest.raises(FeropsError, match=message):
        dag.select(["a", "b"], only=only, until=until)


def test_reproduce_passes_the_output_on_and_runs_only_what_changed(project: Path) -> None:
    lines: list[str] = []
    dag.reproduce(project, "first", on_line=lines.append)
    start = lines.index("one")
    assert lines[start : start + 3] == ["one", "100%", "two"]
    assert not any(line.startswith("Use `dvc push`") for line in lines)
    again: list[str] = []
    dag.reproduce(project, "first", on_line=again.append)
    assert "one" not in again
    forced: list[str] = []
    dag.reproduce(project, "first", on_line=forced.append, force=True)
    assert "one" in forced


def test_a_failing_stage_speaks_for_itself(project: Path) -> None:
    with pytest.raises(FeropsError) as caught:
        dag.reproduce(project, "broken", on_line=lambda _: None)
    assert str(caught.value) == "broken failed: found 3 rows, wanted 20"


def test_missing_data_names_the_way_to_get_it(project: Path) -> None:
    with pytest.raises(FeropsError, match="dvc pull"):
        dag.reproduce(project, "needs_data", on_line=lambda _: None)


def test_an_interrupted_caller_leaves_no_stage_behind(project: Path) -> None:
    def interrupt(line: str) -> None:
        if line == "started":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dag.reproduce(project, "slow", on_line=interrupt)
    assert not _working_in(project)


@pytest.mark.slow
def test_a_second_caller_hears_who_is_at_work(project: Path) -> None:
    code = "import sys; from dvc.repo import Repo\nwith Repo('.').lock: print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(FeropsError, match="another DVC command is running"):
            dag.reproduce(project, "first", on_line=lambda _: None)
        holder.communicate()


def test_explain_names_the_process_that_blocks(tmp_path: Path) -> None:
    lines = [
        "ERROR: failed to reproduce 'split': '/p/reports/split' is busy, it is being blocked by:",
        "  (PID 8483): /p/.venv/bin/dvc repro",
        "  (PID 8483): /p/.venv/bin/dvc repro",
    ]
    text = dag.explain("split", lines, root=tmp_path)
    assert text.count("PID 8483") == 1
    assert "split did not start" in text


def test_explain_shows_a_traceback_from_its_start_and_ends_with_the_error(tmp_path: Path) -> None:
    lines = ["> ferops split", "noise", "Traceback (most recent call last):"]
    lines += [f"  frame {i}" for i in range(50)] + ["ValueError: no rows", "ERROR: failed to reproduce 'split': ..."]
    told = dag.explain("split", lines, root=tmp_path).splitlines()
    assert told[0] == "split failed: Traceback (most recent call last):"
    assert told[-1] == "ValueError: no rows"
    assert len(told) <= 16


def test_explain_says_that_a_stage_was_killed(tmp_path: Path) -> None:
    lines = [
        "> ferops train x",
        "epoch 1",
        "ERROR: failed to reproduce 'x': failed to run: ferops train x, exited with -9",
    ]
    text = dag.explain("x", lines, root=tmp_path)
    assert "epoch 1" in text
    assert "memory" in text


def test_condensed_shows_a_bar_now_and_then_and_at_its_end() -> None:
    seconds = 0.0

    def chunks() -> Iterator[str]:
        nonlocal seconds
        yield "start\n"
        for percent in range(0, 100, 4):  # one redraw a second, 25 in all
            yield f"\r{percent}%"
            seconds += 1.0
        yield "\r100%\n\x1b[31mend\x1b[0m\n"
        yield "\ntail"

    lines = list(dag.condensed(chunks(), progress_every_s=10.0, clock=lambda: seconds))
    assert lines == ["start", "36%", "76%", "100%", "end", "tail"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_condensed_does_not_depend_on_where_the_chunks_break(size: int) -> None:
    text = "a\r\nb\rc\rdone\nAnger, 3\n"
    chunks = [text[i : i + size] for i in range(0, len(text), size)]
    assert list(dag.condensed(chunks, progress_every_s=float("inf"))) == ["a", "done", "Anger, 3"]


def test_a_quick_bar_leaves_one_line() -> None:
    chunks = [f"\r{i / 100:.0f}%|##" for i in range(10_000)] + ["\r100%|##\n"]
    assert list(dag.condensed(chunks)) == ["100%|##"]


def test_the_environment_finds_the_commands_of_this_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    assert child_environment()["PATH"].split(":") == [str(Path(sys.executable).parent), "/usr/bin"]


def _working_in(folder: Path) -> list[psutil.Process]:
    """Processes of this test's project; a process that is just ending gets a second."""
    found: list[psutil.Process] = []
    for _ in range(10):
        found = []
        for process in psutil.process_iter():
            try:
                if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        if not found:
            break
        time.sleep(0.1)
    return found
