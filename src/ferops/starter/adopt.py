"""For maintainers: let ferops come with the judged export of a project. Whoever clones the repository gets it."""

from __future__ import annotations

import json
import re
import shutil
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file

from ferops import uses
from ferops.datasets import store
from ferops.datasets.catalogue import SOURCES
from ferops.datasets.versioning import EMBEDDED_REMOTE
from ferops.errors import FeropsError
from ferops.files import atomic_file, atomic_folder, require, write_json, write_text
from ferops.layout import Layout
from ferops.model_config import WEIGHTS_FILE, ExportConfig, export_digest
from ferops.records.metrics import Metrics
from ferops.records.starter import StarterMetrics
from ferops.starter.folder import (
    CARD_FILE,
    METRICS_FILE,
    NOTICE_FILE,
    OWN_TERMS,
    named_version,
    run_dvc,
    summary,
    terms,
)
from ferops.training.model import in_half_precision

MAX_MB = {"starter": 12.0}
OTHERS_MAX_MB = 25.0
"""Largest accepted folder, in 10^6 bytes: git keeps every version for good, and every clone downloads it."""


def adopt(
    layout: Layout, project: Path, name: str = "starter", *, terms_of: Mapping[str, str] | None = None
) -> list[str]:
    """Let ferops come with the model in `project`/artifacts/export: `name`/, `name`.dvc and the remote `embedded`.

    The folder has the trained weights too, for trainings that start from them: matrices in half precision, which halves
    the file. What the former model of that name alone held is removed from the remote. Adopting the same model again
    changes nothing.

    Args:
        project: the folder of the project (a clone, or this one) that trained, exported and evaluated the model.
        name: `starter`, which `ferops serve` takes, or `models/NAME`.
        terms_of: title, terms and citation of sources that the catalogue does not know, for NOTICE, by their names.

    Returns:
        What was done, and what is left to do, in lines.

    Raises:
        FeropsError: there is no judged export, the model card is another model's, the folder would be too large, or
            DVC failed; the .dvc file then is as before.
    """
    if name != "starter" and not re.fullmatch(r"models/[a-z0-9-]+", name):
        raise FeropsError(f"a model that comes with ferops is called starter or models/NAME, not {name!r}")
    target, most = layout.root / name, MAX_MB.get(name, OTHERS_MAX_MB)
    dvc_file = target.with_suffix(".dvc")
    source = Layout(project)
    config, metrics, trained_as = _evaluated(source)
    card = require(source.reports("evaluate") / "model_card.md", made_by="ferops evaluate")
    former = named_version(dvc_file)
    with atomic_folder(target) as folder:
        for file in ("config.json", config.served):
            shutil.copyfile(source.exported / file, folder / file)
        _write_weights(source.model(trained_as), folder)
        shutil.copyfile(card, folder / CARD_FILE)
        write_json(folder / METRICS_FILE, metrics.model_dump(mode="json", exclude_defaults=True))
        write_text(folder / NOTICE_FILE, notice(config, terms_of or {}))
        size_mb = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        if size_mb > most:
            raise FeropsError(
                f"the model in {source.exported} makes a folder of {size_mb:.1f} MB; at most {most:g} MB are "
                "accepted, since every clone carries it. Export a smaller architecture, or serve its INT8 file"
            )
    _publish(layout, target)
    dropped = _drop(layout, former) if former not in (None, named_version(dvc_file)) else 0
    listed = dvc_file.relative_to(layout.root).as_posix()
    return [
        *([summary(config, metrics)] if name == "starter" else []),
        terms(config),
        f"{target} ({size_mb:.1f} MB) is in the remote {EMBEDDED_REMOTE}; files of the former one removed from "
        f"it: {dropped}",
        *(f"warning: {remark}" for remark in remarks(target)),
        f"next: read {target / CARD_FILE}, then: git add {listed} .dvc/embedded && git commit",
    ]


def _write_weights(source: Path, folder: Path) -> None:
    trained = require(source / WEIGHTS_FILE, made_by=f"ferops train {source.name}")
    try:
        tensors = in_half_precision(load_file(trained))
    except FeropsError as error:
        raise FeropsError(f"{trained}: {error}") from error
    save_file(tensors, folder / WEIGHTS_FILE)


def notice(config: ExportConfig, terms_of: Mapping[str, str]) -> str:
    """Return the text of NOTICE: what the weights were trained on, their terms, and what they must not be used for."""
    paragraphs = [
        "A model that comes with ferops",
        "ferops itself, the program, is under the Apache License 2.0 (https://www.apache.org/licenses/LICENSE-2.0). "
        "These weights were trained on images; use them on the terms of those images, which follow. This folder holds "
        "none of the images.",
        f"Licence of the weights, as config.json has it: {config.licence}",
    ]
    for start in _each_once(one.pretrained for one in config.trainings):
        origin = f"{start['source']}, SHA-256 {start['sha256'] or 'unknown'}"
        paragraphs.append(f"The training started from pretrained weights ({origin}). Licence: {start['licence']}")
    for teacher in _each_once(one.teacher for one in config.trainings):
        origin = f"{teacher['source']}, SHA-256 {teacher['sha256']}"
        paragraphs.append(f"It was taught by another model ({origin}). Licence: {teacher['licence']}")
    for name in config.provenance.sources:
        about = SOURCES.get(name)
        paragraphs.append(
            f"{about.title}. Terms: {about.licence}. Cite: {about.citation}"
            if about
            else f"{name}: {terms_of.get(name, OWN_TERMS)}"
        )
    paragraphs += [uses.DISCLAIMER, "Not to be used for:", *uses.PROHIBITED]
    return "\n\n".join(textwrap.fill(each, 100, break_on_hyphens=False) for each in paragraphs) + "\n"


def _each_once(origins: Iterable[dict[str, Any] | None]) -> list[dict[str, Any]]:
    """Return the origins of weights, those with the same SHA-256 once."""
    return list({one["sha256"]: one for one in origins if one}.values())


def _evaluated(source: Layout) -> tuple[ExportConfig, StarterMetrics, str]:
    """Return the export's config, the figures of its own evaluation, and the name of the trained model."""
    from ferops.export.runtime import Classifier

    config = Classifier(source.exported).config  # loads the served file: a damaged one is found here
    metrics = Metrics.read(source.artifacts("evaluate") / "metrics.json", made_by="ferops evaluate")
    if metrics.export_digest != export_digest(source.exported):
        raise FeropsError(
            f"{source.artifacts('evaluate')} is about another model than {source.exported}. Evaluate this one: dvc "
            "repro evaluate"
        )
    candidate = metrics.candidate
    figures = StarterMetrics(
        test_images=metrics.n,
        confidence_level=metrics.confidence_level,
        accuracy=candidate.accuracy,
        macro_f1=candidate.macro_f1,
        chance_accuracy=metrics.chance.accuracy,
    )
    return config, figures, metrics.provenance.params.get("export", {}).get("model", "candidate")


def _publish(layout: Layout, folder: Path) -> None:
    """Version the folder and push it to the embedded remote; put its .dvc file back if that fails."""
    file, yaml = folder.with_suffix(".dvc"), YAML()  # round trip: comments stay
    before = file.read_text(encoding="utf-8") if file.exists() else None
    try:
        with store.locked(layout) as repo:
            store.add(repo, folder)
        tree = yaml.load(file.read_text(encoding="utf-8"))
        tree["outs"][0]["remote"] = EMBEDDED_REMOTE
        with atomic_file(file) as temporary:
            yaml.dump(tree, temporary)
        run_dvc(layout, "push", file.relative_to(layout.root).as_posix())
    except BaseException:
        if before is None:
            file.unlink(missing_ok=True)
        else:
            write_text(file, before)
        raise


def _drop(layout: Layout, former: str | None) -> int:
    """Remove from the embedded remote what only the folder version `former` refers to; return how many files."""
    from dvc.repo import Repo

    with Repo(str(layout.root)) as repo:
        remote = repo.cloud.get_remote_odb(name=EMBEDDED_REMOTE)

        def members(oid: str) -> set[str]:
            entries = json.loads(Path(remote.oid_to_path(oid)).read_text(encoding="utf-8"))
            return {oid, *(str(entry["md5"]) for entry in entries)}

        folders = {oid for oid in remote.all() if oid.endswith(".dir")}
        gone = f"{former}.dir"
        if gone not in folders:
            return 0
        kept: set[str] = set().union(*(members(oid) for oid in folders - {gone}))
        unused = members(gone) - kept
        for oid in unused:
            path = Path(remote.oid_to_path(oid))
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
    return len(unused)


def remarks(folder: Path) -> list[str]:
    """Return what should not be published with the folder: paths of this machine, a commit that nobody else has."""
    config, card = (
        (folder / name).read_text(encoding="utf-8", errors="replace") for name in ("config.json", CARD_FILE)
    )
    paths = sorted(set(re.findall(r"(?<=[\s\"'`(])/[\w.-]+/[^\s\"'`)]+", config + card)))
    found = [f"the folder names a path of this machine: {path}" for path in paths]
    commit = json.loads(config)["provenance"]["git_commit"]
    if commit is None or commit.endswith("-dirty"):
        found.append(f"its commit is {commit}: nobody else can look up the code that made it")
    return found
