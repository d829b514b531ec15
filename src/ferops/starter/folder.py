"""The folder starter/: an export folder (docs/files.md) with a card, figures and terms.

It lies in the DVC remote `embedded`, inside the repository, so that a fresh clone has it without a network. starter.dvc
names its version.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ferops import formats
from ferops.datasets.catalogue import SOURCES
from ferops.datasets.versioning import folder_md5, require_own_remote
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.model_config import ExportConfig, ModelConfig, read_model_config
from ferops.provenance import read_dvc_file
from ferops.records.starter import AboutStarter, StarterMetrics

CARD_FILE, NOTICE_FILE, METRICS_FILE = "MODEL_CARD.md", "NOTICE", "metrics.json"

OWN_TERMS = "on its owner's terms"
"""What is said of a source that the catalogue does not know."""


@dataclass(frozen=True)
class Starter:
    """starter/, checked against starter.dvc; `version` is DVC's MD5 of the folder, 32 hex digits."""

    folder: Path
    version: str
    config: ExportConfig
    metrics: StarterMetrics

    @property
    def about(self) -> AboutStarter:
        return AboutStarter(summary=summary(self.config, self.metrics), terms=terms(self.config), metrics=self.metrics)


def fetch(layout: Layout) -> Starter | None:
    """Bring starter/ to the version that starter.dvc names (`bring`) and read it; None without starter.dvc.

    Raises:
        FeropsError: as `bring`, or the next `dvc push` would publish a model of the user's.
    """
    if not layout.starter_dvc.exists():
        return None
    require_own_remote(layout, layout.starter_dvc)
    return Starter(
        folder=layout.starter,
        version=bring(layout),
        config=read_model_config(layout.starter, ExportConfig),
        metrics=StarterMetrics.read(layout.starter / METRICS_FILE, made_by=f"dvc pull {layout.starter_dvc.name}"),
    )


def bring(layout: Layout) -> str:
    """Bring starter/ to the version that starter.dvc names, from the cache or by `dvc pull`, and return that version.

    Raises:
        FeropsError: files in starter/ were changed, or DVC cannot get the version.
    """
    version = named_version(layout.starter_dvc)
    if version is None:
        raise FeropsError(f"{layout.starter_dvc} does not exist: this project comes without a starter model")
    if not layout.starter.is_dir() or folder_md5(layout.starter) != version:
        _pull(layout)
    return version


def named_version(dvc_file: Path) -> str | None:
    """Return the version that `dvc_file` names, 32 hex digits, or None where it does not exist."""
    return str(read_dvc_file(dvc_file)["md5"]).removesuffix(".dir") if dvc_file.exists() else None


def run_dvc(layout: Layout, *arguments: str) -> None:
    """Run a DVC command in the project, quietly. Raises FeropsError: it failed; the message is DVC's."""
    command = [sys.executable, "-m", "dvc", *arguments]  # --quiet would keep the reason of a failure back
    done = subprocess.run(
        command, cwd=layout.root, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise FeropsError(f"dvc {' '.join(arguments)} failed: {(done.stderr or done.stdout).strip()}")


def _pull(layout: Layout) -> None:
    try:
        run_dvc(layout, "pull", layout.starter_dvc.name)
    except FeropsError as error:
        raise FeropsError(
            f"the starter model that {layout.starter_dvc.name} names could not be fetched: {error}\n"
            f"If files in {layout.starter} were changed, move that folder away and run the command again"
        ) from error


def summary(config: ExportConfig, metrics: StarterMetrics) -> str:
    """Return what the model is, what it was trained on and how well it did, in a few sentences."""
    origin = config.provenance
    sources = " + ".join(SOURCES[name].title.partition(" (")[0] if name in SOURCES else name for name in origin.sources)
    augmented = "" if config.tta == "off" else f" with test-time augmentation ({config.tta})"
    text = (
        f"This is the starter model that comes with ferops: {config.architecture} at {config.size_px} px, trained "
        f"{'from pretrained weights ' if config.pretrained else ''}on {sources} (data version "
        f"{origin.data_version[:10]}). On the {metrics.test_images:,} faces of its test split{augmented}: accuracy "
        f"{formats.interval(metrics.accuracy)} %, macro-F1 {formats.figure(metrics.macro_f1)}; "
        f"{100 * metrics.confidence_level:.0f} % intervals in brackets. The most frequent answer alone: "
        f"{100 * metrics.chance_accuracy:.1f} %."
    )
    return f"{text} The faces are rendered: this says nothing about photographs." if origin.synthetic else text


def terms(config: ModelConfig) -> str:
    """Return under which terms the weights may be used, by what they were trained on."""
    sources = "; ".join(
        f"{SOURCES[name].title}: {SOURCES[name].licence}" if name in SOURCES else f"{name}: {OWN_TERMS}"
        for name in config.provenance.sources
    )
    start = f" They started from weights under {config.pretrained['licence']}." if config.pretrained else ""
    return f"Licence note: the weights were trained on {sources}.{start}"
