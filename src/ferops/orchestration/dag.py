"""The DAG of dvc.yaml, one stage at a time: for callers that show each stage, such as the Prefect flow.

DVC stays the only authority on what exists, in which order, and whether it has to run again.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from ferops import escape
from ferops.errors import FeropsError
from ferops.orchestration.child import child_environment

PROGRESS_EVERY_S = 10.0
"""A progress bar redraws itself many times a second; a log needs it this often."""

KILL_AFTER_S = 10.0
"""What a stopped stage gets to end by itself. Prefect kills a cancelled flow after 30 s: stay below."""

KEPT_LINES = 200
SHOWN_LINES = 15

_ADVICE = ("To track the changes with git", "\tgit add", "To enable auto staging", "\tdvc config", "Use `dvc push`")
"""DVC ends every stage with these; repeated for each stage, they drown its own output."""

NOT_STORED = (
    "DVC could not store {} in its cache; the usual cause is a full disk (docs/versions.md). The results are in their "
    "place and good, but a `dvc checkout` or `dvc push` would miss them. Make room, then store them: dvc commit"
)
_TRANSFER_FAILED = "failed to transfer"
"""What DVC logs, and then reports success."""

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def stages(root: Path) -> list[str]:
    """Return the names of the stages as `dvc repro` takes them (`train@baseline`), each after those it needs.

    Raises:
        FeropsError: `root` is not a DVC project, or dvc.yaml cannot be read.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.repo.reproduce import plan_repro

    try:
        with Repo(str(root)) as repo:
            ordered = plan_repro(repo.index.graph)  # the order of a `dvc repro` of everything
    except DvcException as error:
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        raise FeropsError(f"DVC cannot read the pipeline in {root.resolve()}: {error}{cause}") from error
    return [stage.name for stage in ordered if stage.cmd]  # data.dvc is a stage, too, but has no command


def select(names: Sequence[str], *, only: str = "", until: str = "") -> list[str]:
    """Return those of `names` (in DAG order) that a caller asked for: `only` one, or all up to `until`.

    Raises:
        FeropsError: a name is not among `names`, or both are given.
    """
    if only and until:
        raise FeropsError(f"only ({only}) and until ({until}) exclude each other: give one of them")
    for wanted in (only, until):
        if wanted and wanted not in names:
            raise FeropsError(f"dvc.yaml has no stage {wanted!r}. Its stages are: {', '.join(names)}")
    if only:
        return [only]
    return list(names[: names.index(until) + 1]) if until else list(names)


def reproduce(root: Path, stage: str, *, on_line: Callable[[str], None], force: bool = False) -> None:
    """Run `dvc repro --single-item STAGE` and pass on each line of its output as it comes.

    `dvc` and `ferops` are the ones beside this interpreter, whatever PATH says. If the caller is interrupted, the
    stage's whole process group is stopped.

    Raises:
        FeropsError: the stage failed; the message is the stage's own.
    """
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", stage, *(["--force"] if force else [])]
    kept: deque[str] = deque(maxlen=KEPT_LINES)
    stored = True
    process = subprocess.Popen(
        command,
        cwd=root,
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        for line in condensed(_chunks(process.stdout)):
            if not line.startswith(_ADVICE):
                kept.append(line)
                on_line(line)
                stored = stored and _TRANSFER_FAILED not in line
        status = process.wait()
    except BaseException:
        _stop(process)
        raise
    finally:
        if process.stdout:
            process.stdout.close()
    if status != 0:
        raise FeropsError(explain(stage, list(kept), root=root))
    if not stored:
        raise FeropsError(NOT_STORED.format(f"all outputs of {stage}"))


def condensed(
    chunks: Iterable[str], *, progress_every_s: float = PROGRESS_EVERY_S, clock: Callable[[], float] = time.monotonic
) -> Iterator[str]:
    """Turn terminal output into log lines: no colours, no empty lines, and of a line that redraws itself with
    carriage returns (a progress bar) one state every `progress_every_s` and the last one."""
    shown_s = clock()
    line = ""
    for chunk in chunks:
        *complete, line = (line + chunk).split("\n")
        for text in complete:
            yield from _visible(text)
        # Keep only the state that is being drawn; the one before it is complete and may be shown
        *states, line = line.split("\r")
        if states and clock() - shown_s >= progress_every_s:
            shown = list(_visible(states[-1]))
            shown_s = clock() if shown else shown_s
            yield from shown
        if states and not line:  # "12%|#\r": a bar that ends with the return instead of starting with it
            line = states[-1] + "\r"
    yield from _visible(line)


def explain(stage: str, lines: Sequence[str], *, root: Path) -> str:
    """Return why a `dvc repro --single-item` failed, given the last lines of its output."""
    text = "\n".join(lines)
    if "Unable to acquire lock" in text or "it is being blocked by" in text:
        holders = sorted(set(re.findall(r"\(PID \d+\): .*", text)))
        who = f": {'; '.join(holders)}" if holders else ""
        return (
            f"{stage} did not start: another DVC command is running in this project{who}. Wait for it to end and try "
            "again. If none is running, a killed one left its lock: delete .dvc/tmp/lock and .dvc/tmp/rwlock"
        )
    no_data = r"dependency '([^']*/)?data' does not exist|No such file or directory: '([^']*/)?data'"
    if not (root / "data").exists() and re.search(no_data, text):
        return f"{stage} needs data/, which is missing. Fetch it: dvc pull data.dvc, or import your own: ferops import"
    own = [line for line in lines if not line.startswith("ERROR: failed to reproduce")]
    starts = [i for i, line in enumerate(own) if line.startswith("> ")]  # DVC echoes the stage's command so
    own = own[starts[-1] + 1 :] if starts else own
    marks = [i for i, line in enumerate(own) if re.match(r"(ferops|error): |traceback ", line, re.IGNORECASE)]
    shown = own[marks[-1] :] if marks else own[-SHOWN_LINES:]
    if len(shown) > SHOWN_LINES:
        shown = [shown[0], "...", *shown[-SHOWN_LINES + 2 :]]
    killed = re.search(r"exited with (-9|137)\b", text)
    hint = ["it was killed (SIGKILL); the usual cause is too little memory: lower the batch size"] if killed else []
    message = "\n".join([*shown, *hint] or list(lines[-1:]) or ["it printed nothing"])
    return f"{stage} failed: " + re.sub(r"^(ferops|error): ", "", message, flags=re.IGNORECASE)


def _chunks(stream: IO[bytes]) -> Iterator[str]:
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    while data := os.read(stream.fileno(), 65536):
        yield decoder.decode(data)


def _visible(text: str) -> Iterator[str]:
    states = [_ANSI.sub("", state).rstrip() for state in text.split("\r")]
    last = next((state for state in reversed(states) if state), "")
    if last:
        yield escape.lines(last)


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=KILL_AFTER_S)
        except ProcessLookupError:
            process.wait()
            return
        except subprocess.TimeoutExpired:
            continue
