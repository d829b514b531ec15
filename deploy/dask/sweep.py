"""A sweep on a Dask cluster: each set of settings is a DVC experiment that a worker runs in a clone of its own.

    python deploy/dask/sweep.py tcp://head:8786 -S train.max_lr=0.0003,0.001,0.003 -S seed=7,8
    dvc exp pull origin --rev HEAD && dvc exp show

Run it in the project's folder, with the commit pushed and the data in the default DVC remote. Every worker reaches
both, Git with the right to push: an experiment comes back as a ref of DVC's in Git and as its outputs in the remote.
Give each worker one thread (dask worker tcp://head:8786 --nthreads 1): it runs one experiment at a time. See
docs/sweeps.md.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scheduler", help="address of the Dask scheduler")
    parser.add_argument("-S", action="append", required=True, dest="grid", metavar="NAME=VALUE,...", help="may repeat")
    parser.add_argument("--stage", default="train@candidate", help="is run with what comes before it")
    parser.add_argument("--data", nargs="*", default=["data.dvc"], help="what to pull first")
    parser.add_argument("--remote", default="origin", help="of Git, that the workers reach")
    options = parser.parse_args()
    try:
        from distributed import Client, as_completed
    except ImportError:
        sys.exit("Dask is not installed here and on every worker: pip install 'ferops[dask]'")
    commit, url = _git("rev-parse", "HEAD"), _git("remote", "get-url", options.remote)
    if _git("status", "--porcelain", "--untracked-files=no"):
        sys.exit("commit or undo your changes first: the workers clone what is committed")
    if not _git("branch", "--remotes", "--contains", commit):
        sys.exit(f"push your commit first, the workers clone it from {options.remote}: git push")
    failed = 0
    with Client(options.scheduler) as client:
        client.upload_file(__file__)
        # Not pure: the same settings may be asked for again
        futures = {
            client.submit(
                experiment, url, commit, settings, options.stage, options.data, pure=False, retries=0
            ): settings
            for settings in grid(options.grid)
        }
        for future in as_completed(futures):
            name = " ".join(futures[future])
            if future.status == "finished":
                print(f"{name}: {future.result()}", flush=True)
            else:
                failed += 1
                print(f"{name}: failed: {future.exception()}", file=sys.stderr, flush=True)
    if failed:
        sys.exit(f"{failed} of {len(futures)} experiments failed")


def grid(lists: Sequence[str]) -> list[list[str]]:
    """Return all combinations of `NAME=VALUE,VALUE` lists, each as `NAME=VALUE` settings."""
    axes = []
    for each in lists:
        name, equals, values = each.partition("=")
        if not equals or not values:
            sys.exit(f"-S {each}: write NAME=VALUE or NAME=VALUE,VALUE")
        axes.append([f"{name}={value}" for value in values.split(",")])
    return [list(settings) for settings in itertools.product(*axes)]


def experiment(url: str, commit: str, settings: Sequence[str], stage: str, data: Sequence[str]) -> str:
    """Run on a worker: return the experiment's name once Git and the DVC remote have it.

    Raises:
        RuntimeError: a command failed; the message has its last lines.
    """
    name = "-".join(setting.rpartition(".")[2].replace("=", "-") for setting in settings)
    with tempfile.TemporaryDirectory(prefix="ferops-sweep-") as folder:
        root = Path(folder) / "project"
        _run(Path(folder), "git", "clone", "--quiet", url, str(root))
        _run(root, "git", "checkout", "--quiet", commit)
        if data:
            _run(root, sys.executable, "-m", "dvc", "pull", "--quiet", *data)
        changes = [part for setting in settings for part in ("-S", setting)]
        _run(root, sys.executable, "-m", "dvc", "exp", "run", "--quiet", "--name", name, *changes, stage)
        _run(root, sys.executable, "-m", "dvc", "exp", "push", "--quiet", "origin", name)
    return name


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def _run(folder: Path, *command: str) -> None:
    # The interpreter's own programs first: a stage's `ferops` is the worker's
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise RuntimeError("\n".join([f"`{' '.join(command)}` failed:", *lines]))


if __name__ == "__main__":
    main()
