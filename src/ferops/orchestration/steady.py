"""What a stage reads must be at its end what it was at its start.

DVC hashes a stage's inputs when the stage has ended. If one of them changes while the stage runs (an import, an edit
of params.yaml or of the code, another stage), dvc.lock would name what the results were not made from.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ferops.errors import FeropsError
from ferops.layout import Layout


@contextmanager
def steady(layout: Layout, stage: str) -> Iterator[None]:
    """Run a stage in the block; its inputs are those of the stage of this name in dvc.yaml (none without one).

    Raises:
        FeropsError: an input changed meanwhile. If it was data/, the outputs, perhaps of two versions, are removed.
    """
    if not (layout.root / "dvc.yaml").exists():
        yield
        return
    before = _inputs(layout, stage)
    yield
    after = _inputs(layout, stage)
    changed = [name for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name)]
    if not changed:
        return
    what = f"{', '.join(changed)} changed while {stage} ran"
    if layout.data.name in changed:
        for output in (layout.artifacts(stage), layout.reports(stage)):
            shutil.rmtree(output, ignore_errors=True)
        raise FeropsError(f"{what}: its results were of no one version of the data and are removed. Run it again")
    raise FeropsError(
        f"{what}, so DVC does not record its results: they were made from what was there before. Run it again; or, if "
        f"you know that the change makes no difference, record them as they are: dvc commit {stage}"
    )


def _inputs(layout: Layout, stage: str) -> dict[str, Any]:
    """Return DVC's hash of each file and folder, and the value of each setting, that `stage` depends on."""
    from dvc.dependency import ParamsDependency
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.stage.exceptions import StageNotFound

    found: dict[str, Any] = {}
    try:
        with Repo(str(layout.root)) as repo:
            for dependency in repo.stage.load_one(str(Path(repo.root_dir) / "dvc.yaml"), stage).deps:
                if isinstance(dependency, ParamsDependency):
                    found |= {f"{Path(dependency.fs_path).name}: {k}": v for k, v in dependency.read_params().items()}
                else:
                    found[dependency.def_path] = dependency.get_hash() if dependency.exists else None
    except StageNotFound:
        return {}
    except (DvcException, OSError) as error:
        raise FeropsError(f"DVC cannot read the inputs of {stage} in {layout.root.resolve()}: {error}") from error
    return found
