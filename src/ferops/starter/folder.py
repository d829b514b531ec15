"""The folder starter/: what is in it, how it gets here, and what is said about it.

It has the shape of an export folder (docs/files.md) and lies in the DVC remote `embedded`, inside the repository, so a
fresh clone has it without a network. starter.dvc names its version.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ferops.datasets.catalogue import SOURCES
from ferops.datasets.versioning import folder_md5, require_own_remote
from ferops.errors import FeropsError
from ferops.files import read_json
from ferops.layout import Layout
from ferops.model_config import ExportConfig, ModelConfig
from ferops.model_config import read as read_config

CARD_FILE, NOTICE_FILE, METRICS_FILE = "MODEL_CARD.md", "NOTICE", "metrics.json"


@dataclass(frozen=True)
class Starter:
    """starter/, checked against starter.dvc.

    `version` is DVC's MD5 of the folder, 32 hex digits. `metrics` holds what its own evaluation found on the test
    split: `test_images`, `confidence_level`, `accuracy` and `macro_f1` (each with `value`, `low` and `high`, 0-1; the
    ends of the interval may be null) and `chance_accuracy`.
    """

    folder: Path
    version: str
    config: ExportConfig
    metrics: dict[str, Any]

    @property
    def about(self) -> dict[str, Any]:
        """What /info and the page say beside the config: `summary` and `terms`, a paragraph each, and `metrics`."""
        return {"summary": summary(self.config, self.metrics), "terms": terms(self.config), "metrics": self.metrics}


def fetch(layout: Layout) -> Starter | None:
    """Bring starter/ to the version that starter.dvc names, from the cache or by `dvc pull`; None without starter.dvc.

    Raises:
        FeropsError: the next `dvc push` would publish a model of the user's, files in starter/ were changed, or DVC
            cannot get the version.
    """
    version = named_version(layout)
    if version is None:
        return None
    require_own_remote(layout, layout.starter_dvc)
    if not layout.starter.is_dir() or folder_md5(layout.starter) != version:
        _pull(layout)
    return Starter(
        folder=layout.starter,
        version=version,
        config=read_config(layout.starter, ExportConfig),
        metrics=read_json(layout.starter / METRICS_FILE, made_by=f"dvc pull {layout.starter_dvc.name}"),
    )


def named_version(layout: Layout) -> str | None:
    """Return the version that starter.dvc names, 32 hex digits, or None where there is no starter.dvc."""
    if not layout.starter_dvc.exists():
        return None
    tree = YAML(typ="safe").load(layout.starter_dvc.read_text(encoding="utf-8"))
    return str(tree["outs"][0]["md5"]).removesuffix(".dir")


def run_dvc(layout: Layout, *arguments: str) -> None:
    """Run a DVC command in the project, without a word; FeropsError with DVC's own if it fails."""
    command = [sys.executable, "-m", "dvc", *arguments, "--quiet"]
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


def summary(config: ModelConfig, metrics: dict[str, Any]) -> str:
    """Return what the model is, what it learnt from and how it did, in a few sentences."""
    accuracy = _interval(metrics["accuracy"], scale=100.0, digits=1, unit=" %")
    macro_f1 = _interval(metrics["macro_f1"], scale=1.0, digits=3, unit="")
    said = (
        f"This is the starter model that comes with ferops: {config.architecture} at {config.size_px} px, trained "
        f"{'from pretrained weights ' if config.pretrained else ''}on "
        f"{' + '.join(map(_short_title, _sources(config)))} (data version {config.provenance.data_version[:10]}). "
        f"On the {metrics['test_images']:,} faces of its test split: accuracy {accuracy}, macro-F1 {macro_f1}; in "
        f"brackets {100 * metrics['confidence_level']:.0f} % intervals. Giving always the most frequent answer: "
        f"{100 * metrics['chance_accuracy']:.1f} %."
    )
    return f"{said} The faces are rendered: this says nothing about photographs." if _synthetic(config) else said


def terms(config: ModelConfig) -> str:
    """Return under which terms the weights may be used, by what they learnt from."""
    learnt = "; ".join(
        f"{SOURCES[name].title}: {SOURCES[name].licence}" if name in SOURCES else f"{name}: on its owner's terms"
        for name in _sources(config)
    )
    start = f" They started from weights under {config.pretrained['licence']}." if config.pretrained else ""
    return f"Licence note: the weights were learnt from {learnt}.{start}"


def _sources(config: ModelConfig) -> list[str]:
    return list(config.provenance.sources)


def _short_title(source: str) -> str:
    return SOURCES[source].title.partition(" (")[0] if source in SOURCES else source


def _synthetic(config: ModelConfig) -> bool:
    return config.provenance.synthetic


def _interval(metric: dict[str, float | None], *, scale: float, digits: int, unit: str) -> str:
    value, low, high = (metric[key] for key in ("value", "low", "high"))
    if value is None:
        return "undefined"
    ends = "" if low is None or high is None else f" ({scale * low:.{digits}f} to {scale * high:.{digits}f})"
    return f"{scale * value:.{digits}f}{unit}{ends}"
