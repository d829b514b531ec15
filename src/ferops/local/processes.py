"""Long-running processes that outlive the command which started them: start, recognise again, stop."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from ferops.errors import FeropsError

STOP_WITHIN_S = 12.0
"""Between SIGTERM and SIGKILL. A Prefect worker that has a flow running needs a few seconds to end it."""

LOG_LINES = 15


@dataclass(frozen=True)
class Process:
    """A started process, the leader of its own session.

    Attributes:
        created_s: seconds since the epoch, as psutil says; tells it from a later process with the same `pid`.
        log: path of the file that its output goes to.
    """

    name: str
    pid: int
    created_s: float
    log: str


def start(
    name: str,
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: Path,
    keep: Sequence[int] = (),
    umask: int = -1,
) -> Process:
    """Start `command` in a session of its own (a closing terminal does not reach it), output appended to `log`.

    Args:
        keep: open file descriptors that the process gets under the same numbers.
        umask: permissions that files made by it do not get; -1 for those of this process.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            list(command),
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=keep,
            umask=umask,
        )
    child.returncode = 0  # it outlives this object on purpose; Popen would warn of that
    # A child that ends at once stays a zombie until it is waited for, so psutil still knows it here
    return Process(name, child.pid, psutil.Process(child.pid).create_time(), str(log))


def find(process: Process) -> psutil.Process | None:
    """Return the running process, or None if it has ended, even if its number is in use again."""
    try:
        found = psutil.Process(process.pid)
        same = abs(found.create_time() - process.created_s) < 0.01
        return found if same and found.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def stop(processes: Sequence[Process], *, within_s: float = STOP_WITHIN_S) -> None:
    """End the processes and everything they started: SIGTERM in the order given, after `within_s` SIGKILL.

    Of a process that has ended, what is left in its session is ended all the same.
    """
    family = {member for process in processes for member in _family(process)}
    for process in processes:
        leader = find(process)
        if leader is not None:
            _quietly(leader.terminate)
            _quietly(leader.resume)  # one that was stopped (SIGSTOP) gets the word, too
    leaders = [leader for process in processes if (leader := find(process)) is not None]
    _wait(leaders, within_s=within_s)
    # The leaders have had their chance to end their children in order; now the rest, and what came up meanwhile
    family |= {member for process in processes for member in _family(process)}
    left = [member for member in family if member.is_running()]
    for member in left:
        _quietly(member.terminate)
    for member in _wait(left, within_s=within_s / 4):
        _quietly(member.kill)
    _wait(left, within_s=within_s / 4)


def wait_until(ready: Callable[[], bool], process: Process, *, within_s: float, every_s: float = 0.2) -> None:
    """Return when `ready()` holds.

    Raises:
        FeropsError: the process ended first, or `within_s` passed; the message holds the log's last lines.
    """
    deadline_s = time.monotonic() + within_s
    while not ready():
        if find(process) is None:
            raise FeropsError(f"{process.name} ended while starting. {log_tail(process)}")
        if time.monotonic() > deadline_s:
            raise FeropsError(f"{process.name} was not ready within {within_s:g} s. {log_tail(process)}")
        time.sleep(every_s)


def answers(url: str, *, timeout_s: float = 2.0) -> bool:
    """Whether a GET of `url` on this machine gives a 2xx; proxies of the environment are not asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_s) as reply:
            return 200 <= int(reply.status) < 300
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except OSError:
        return False


def log_tail(process: Process, *, lines: int = LOG_LINES) -> str:
    """Return a sentence with the log's name and its last lines, indented."""
    path = Path(process.log)
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    last = [line for line in text.splitlines() if line.strip()][-lines:]
    return f"The end of its log, {path}:\n" + "\n".join(f"  {line}" for line in last or ["(empty)"])


def _family(process: Process) -> set[psutil.Process]:
    """The process, its descendants, and all in its session with theirs."""
    leader = find(process)
    if leader is None and psutil.pid_exists(process.pid) and not _is_zombie(process.pid):
        return set()  # the number belongs to somebody else now, and so does a session of that number
    roots = {leader} if leader is not None else set()
    for candidate in psutil.process_iter():
        try:
            if os.getsid(candidate.pid) == process.pid:
                roots.add(candidate)
        except (ProcessLookupError, PermissionError):
            continue
    family = set(roots)
    for root in roots:
        with suppress(psutil.NoSuchProcess):
            family.update(root.children(recursive=True))
    return family


def _is_zombie(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _wait(processes: Sequence[psutil.Process], *, within_s: float) -> list[psutil.Process]:
    """Wait for all; return those that still run."""
    _, alive = psutil.wait_procs(processes, timeout=within_s)
    return [process for process in alive if process.is_running() and not _is_zombie(process.pid)]


def _quietly(action: Callable[[], object]) -> None:
    with suppress(psutil.NoSuchProcess):
        action()
