"""Package a registered version, or the starter model, as a Bento.

A Bento holds the service, the modules of ferops that serving imports, the exported model and `release.json`, which
names the exact version. The service looks up no alias and no "latest" when it starts, so the Bento of v1 always serves
v1. Bentos are kept in <root>/bentoml, never in the home folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.files import read_json, require, sha256, write_json, write_text
from ferops.layout import Layout
from ferops.model_config import ExportConfig, read_model_config
from ferops.packaging.contents import copy_ferops, copy_model, pinned_requirements, required_contents
from ferops.records.release import Release
from ferops.records.starter import AboutStarter
from ferops.scratch import remove_leftovers, scratch_folder
from ferops.threads import NO_SPINNING

SERVICE = "service.service:Ferops"

_RELEASE = "src/service/release.json"
_BUILDING = "building"

MAX_FORMER = 20
"""Tags that are remembered for `ferops rollback`."""


@dataclass(frozen=True)
class PackageResult:
    """`tag` is exact, as in `ferops:v3`; `folder` is the Bento; `created` is false when it was there already."""

    tag: str
    folder: Path
    created: bool
    message: str


def package(layout: Layout, params: Params, *, model_folder: Path, version: str) -> PackageResult:
    """Make sure that the Bento `<bento_name>:v<version>` exists and is the one that `serve` starts.

    Callers take turns, so the schedule and a person may call it at the same time. What killed builds left is removed.

    Args:
        layout: the project's folders.
        params: `package` and `serve` go into the Bento.
        model_folder: the export folder of exactly that version (docs/files.md, artifacts/export).
        version: of the registered model, such as "3".

    Raises:
        FeropsError: as `build`.
    """
    release = _release_of(params, model_folder, version)
    with _lock(layout):
        result = _ensure(layout, release, model_folder)
        write_json(pointer(layout), {"tag": result.tag, "former": _former(layout, result.tag)})
    return result


def build(layout: Layout, params: Params, *, model_folder: Path, version: str) -> PackageResult:
    """Make sure that the Bento `<bento_name>:v<version>` exists; `serve` starts the one that it started before.

    Arguments as `package`.

    Raises:
        FeropsError: `model_folder` holds no exported model, a Bento of this tag holds another model, or BentoML
            fails.
    """
    release = _release_of(params, model_folder, version)
    with _lock(layout):
        return _ensure(layout, release, model_folder)


def _release_of(params: Params, model_folder: Path, version: str) -> Release:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", version):
        raise FeropsError(f"{version!r} cannot be used in a tag. Use the version's number, such as 3")
    return _release(params, model_folder, tag=f"v{version}", version=version)


def package_starter(
    layout: Layout, params: Params, *, starter_folder: Path, starter_version: str, about: AboutStarter
) -> PackageResult:
    """Make sure that the Bento `<bento_name>:starter-<8 hex digits>` of the starter model exists.

    `serve` starts it only by this tag, so it never replaces a champion.

    Args:
        layout: the project's folders.
        params: `package` and `serve` go into the Bento.
        starter_folder: an export folder (docs/files.md, starter/).
        starter_version: hex digits that name its content; the first 8 go into the tag.
        about: shown in /info as `starter`; the page shows its `summary` and `terms`.

    Raises:
        FeropsError: as `package`.
    """
    tag = f"starter-{starter_version[:8]}"
    release = _release(params, starter_folder, tag=tag, version="starter", starter=about)
    with _lock(layout):
        return _ensure(layout, release, starter_folder)


def former_tags(layout: Layout) -> list[str]:
    """Return the tags that were packaged before the one that is served now, the latest last."""
    file = pointer(layout)
    found = read_json(file, made_by="ferops package").get("former", []) if file.exists() else []
    return [str(tag) for tag in found]


def _former(layout: Layout, tag: str) -> list[str]:
    """Return what `former_tags` is once `tag` is served: going back to one forgets those after it."""
    former, now = former_tags(layout), packaged(layout)
    if tag in former:
        return former[: former.index(tag)]
    return [*former, *([now] if now not in (None, tag) else [])][-MAX_FORMER:]


def forget(layout: Layout) -> None:
    """Make `serve` start no Bento, because no version is champion. The Bentos stay."""
    pointer(layout).unlink(missing_ok=True)
    beside_file(layout).unlink(missing_ok=True)


def beside_file(layout: Layout) -> Path:
    """Return the file that names the Bentos which run beside that one (`ferops.records.rollout.Beside`)."""
    return _home(layout) / "beside.json"


def pointer(layout: Layout) -> Path:
    """Return the file that names the Bento which `package` made last."""
    return _home(layout) / "serving.json"


def bento_folder(layout: Layout, tag: str) -> Path:
    """Return the folder of the Bento with exactly this tag (`name:version`), whether it exists or not."""
    name, _, version = tag.partition(":")
    return _home(layout) / "bentos" / name / version


def packaged(layout: Layout) -> str | None:
    """Return the exact tag of the Bento that `package` made, or found, last; None before that."""
    file = pointer(layout)
    if not file.exists():
        return None
    tag = str(read_json(file, made_by="ferops package")["tag"])
    return tag if _is_whole(bento_folder(layout, tag)) else None


def bentoml_environment(layout: Layout) -> dict[str, str]:
    """Return this process's environment, with BentoML's store in the project and its usage tracking off."""
    return {
        **NO_SPINNING,
        **os.environ,
        "BENTOML_HOME": str(_home(layout)),
        "BENTOML_DO_NOT_TRACK": "True",
        # A checkout in the working folder must not shadow the Bento's own copy
        "PYTHONSAFEPATH": "1",
    }


@contextmanager
def _lock(layout: Layout) -> Iterator[None]:
    """Wait for the other callers on this machine, and remove what killed builds left."""
    _home(layout).mkdir(parents=True, exist_ok=True)
    with FileLock(_home(layout) / "package.lock"):
        remove_leftovers(_home(layout), _BUILDING)
        for left in _home(layout).glob("building-*"):  # of ferops 0.1
            shutil.rmtree(left, ignore_errors=True)
        yield


def _ensure(layout: Layout, release: Release, model_folder: Path) -> PackageResult:
    """Build the Bento that `release` describes, unless it exists. The caller holds the lock."""
    folder = bento_folder(layout, release.tag)
    created = not _is_whole(folder)
    if created:
        _build(layout, release, model_folder)
        message = f"built the Bento {release.tag} from {_origin(release)}"
    else:
        message = _compare(folder, release)
    return PackageResult(tag=release.tag, folder=folder, created=created, message=message)


def _origin(release: Release) -> str:
    return "the starter model" if release.starter else f"version {release.model_version}"


def _release(
    params: Params, model_folder: Path, *, tag: str, version: str, starter: AboutStarter | None = None
) -> Release:
    config = read_model_config(model_folder, ExportConfig)
    served = require(model_folder / config.served, made_by="dvc repro export")
    return Release(
        tag=f"{params.package.bento_name}:{tag}",
        bento_name=params.package.bento_name,
        model_version=version,
        model_sha256=sha256(served),
        data_version=config.provenance.data_version,
        purpose=params.package.purpose,
        limits=params.serve,
        starter=starter,
    )


def _compare(folder: Path, release: Release) -> str:
    """Return a message: the Bento exists, and whether it still matches params.yaml."""
    remedy = f"To rebuild it: rm -r {folder}, then ferops {'serve' if release.starter else 'package'}"
    there = read_json(folder / _RELEASE, made_by="ferops package")  # of any version of ferops
    if there.get("model_sha256") != release.model_sha256:
        raise FeropsError(
            f"the Bento {release.tag} exists, but its model is not that of {_origin(release)} (was the registry "
            f"emptied?). {remedy}"
        )
    changed = sorted(key for key, value in release.as_json().items() if value != there.get(key))
    if changed:
        return f"the Bento {release.tag} exists; it keeps its own {', '.join(changed)}. {remedy}"
    return f"the Bento {release.tag} exists; nothing to do"


def _is_whole(folder: Path) -> bool:
    return all((folder / path).exists() for path in ("bento.yaml", _RELEASE))


def _build(layout: Layout, release: Release, model_folder: Path) -> None:
    """Build the Bento in a temporary store, then move it to its place in one step.

    BentoML makes the folder under its final name and then copies files in no fixed order: a killed build would leave
    an incomplete folder that looks like a Bento. The caller holds the lock.
    """
    target = bento_folder(layout, release.tag)
    with scratch_folder(_home(layout), _BUILDING) as scratch:
        store, staging = scratch / "store", scratch / "staging"
        _run_bentoml(layout, release, model_folder, store=store, staging=staging)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rename(scratch / "old")
        (store / target.relative_to(_home(layout))).rename(target)
    # BentoML's note of the newest version, which it rewrites when it is missing
    (target.parent / "latest").unlink(missing_ok=True)


def _run_bentoml(layout: Layout, release: Release, model_folder: Path, *, store: Path, staging: Path) -> None:
    """Assemble the Bento's sources in the new folder `staging` and let BentoML build it into the new folder `store`.

    BentoML imports the service while it builds. A separate process keeps that copy of `ferops` and `service` apart from
    the one that runs here, so that two versions can be built one after the other.
    """
    service = require(layout.root / "service", made_by="git checkout (the service's source)")
    config = read_model_config(model_folder, ExportConfig)
    contents = required_contents(service, detector=config.detector)
    store.mkdir()
    shutil.copytree(service, staging / "service", ignore=shutil.ignore_patterns("__pycache__", "release.json"))
    release.write(staging / "service" / "release.json")
    copy_model(model_folder, staging / "model", config)
    copy_ferops(contents.files, staging / "ferops")
    # A log is opt-in, and pyarrow is a quarter of what a Bento needs
    imported = contents.imported | ({"pyarrow"} if release.limits.log_dir else set())
    pins = pinned_requirements(imported, layout.root / "requirements.lock")
    write_text(staging / "requirements.txt", "\n".join(pins) + "\n")
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, str(staging), str(os.getpid())],
        input=json.dumps(_build_arguments(release, pins)),  # too long for an argument: the hashes
        cwd=staging,
        env=bentoml_environment(layout) | {"BENTOML_HOME": str(store), "TMPDIR": str(store.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    built = store / bento_folder(layout, release.tag).relative_to(_home(layout))
    if done.returncode != 0 or not _is_whole(built):
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise FeropsError(f"BentoML could not build {release.tag}:\n{tail}")


# PYTHONSAFEPATH keeps the working folder off sys.path; BentoML adds the build context itself. The kernel ends this
# process with its parent (PR_SET_PDEATHSIG, SIGKILL): what it went on writing after a kill would stay
_BUILD = (
    "import ctypes, json, os, sys; ctypes.CDLL(None).prctl(1, 9); os.getppid() == int(sys.argv[2]) or os._exit(1); "
    "import bentoml; "
    "bentoml.bentos.build(build_ctx=sys.argv[1], **json.load(sys.stdin))"
)


def _build_arguments(release: Release, pins: list[str]) -> dict[str, Any]:
    name, _, version = release.tag.partition(":")
    return {
        "service": SERVICE,
        "name": name,
        "version": version,
        "labels": {"model_version": release.model_version, "data_version": release.data_version},
        "include": ["service/**", "ferops/**", "model/**", "requirements.txt"],
        "exclude": ["**/__pycache__/**"],
        # Locking would query a package index; requirements.lock pins everything already. A list, not requirements_txt,
        # since BentoML reads no file below a folder that begins with a dot, as the one of this build does
        "python": {"packages": pins, "lock_packages": False},
    }


def _home(layout: Layout) -> Path:
    return (layout.root / "bentoml").resolve()
