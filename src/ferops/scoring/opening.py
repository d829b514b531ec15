"""What `--model` may name, opened: the starter, trained weights, an exported file, or a version of the registry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir

from ferops.config import Tta, load_params
from ferops.errors import FeropsError
from ferops.escape import inline
from ferops.inference.predictor import Predictor, Runtime
from ferops.layout import Layout
from ferops.model_config import WEIGHTS_FILE, ExportConfig
from ferops.scratch import scratch_folder

STARTER = "starter"
_SCHEME = "models:"  # as ferops.registry.versions has it, whose import takes a moment


@dataclass(frozen=True)
class Opened:
    """A model that is ready to answer.

    Attributes:
        file: what runs.
        tta: the test-time augmentation in use.
        name: which model it is, in a few words: `starter-1a2b3c4d`, `models:/ferops/3`, or what was given.
        version: `models:/NAME/VERSION`, or None.
    """

    predictor: Predictor
    file: Path
    tta: Tta
    name: str
    version: str | None = None

    @property
    def config(self) -> ExportConfig:
        return self.predictor.config

    @property
    def is_weights(self) -> bool:
        return self.file.name == WEIGHTS_FILE


@contextmanager
def opened(layout: Layout, given: str | None, *, tta: Tta | None = None) -> Iterator[Opened]:
    """Yield the model that `given` names; what had to be fetched is gone afterwards.

    Args:
        given: `starter`; a folder with weights.safetensors or exported files and config.json; one such file;
            `models:/NAME@ALIAS` or `models:/NAME/VERSION`; None for what `ferops serve` takes: the champion, or the
            starter until there is one.
        tta: test-time augmentation; by default what its config.json says.

    Raises:
        FeropsError: there is no such model, a file is damaged, or the files do not fit each other.
    """
    given = given or _champion(layout) or STARTER
    if given.startswith(_SCHEME):
        from ferops.registry.versions import fetch

        with scratch_folder(Path(gettempdir()), "ferops-model") as scratch:
            version, folder = fetch(layout, given, scratch)
            yield _open(folder, tta=tta, name=version, version=version)
    elif given == STARTER and layout.starter_dvc.exists():
        from ferops.starter.folder import bring

        yield _open(layout.starter, tta=tta, name=f"{STARTER}-{bring(layout)[:8]}")
    elif given == STARTER and not layout.params_file.exists() and not Path(STARTER).exists():  # outside any project
        from ferops.starter.shipped import unpack_starter

        with scratch_folder(Path(gettempdir()), "ferops-starter") as scratch:
            version = unpack_starter(scratch)
            yield _open(scratch, tta=tta, name=f"{STARTER}-{version[:8]}")
    else:
        yield _open(_find(Path(given)), tta=tta, name=inline(given))


def opened_again(file: Path, tta: Tta) -> Predictor:
    """Return the Predictor of the `file` of an Opened once more, with one thread: for another process."""
    return _open(file, tta=tta, name="", threads=1).predictor


def _champion(layout: Layout) -> str | None:
    """Return the address of the champion, or None where there is none yet."""
    if not layout.params_file.exists():
        return None
    from ferops.registry.store import has_store

    if not has_store(layout):
        return None
    from ferops.registry.connection import connected
    from ferops.registry.versions import champion_version

    name = load_params(layout.params_file).registry.model_name
    with connected(layout) as client:
        found = champion_version(client, name)
    return f"models:/{name}/{found.version}" if found else None


def _find(path: Path) -> Path:
    """Return the file or folder of an exported model, or the file of trained weights."""
    if not path.exists():
        raise FeropsError(
            f"{path} does not exist. --model is starter (unless a project removed its starter.dvc), a folder that "
            "`ferops train NAME` or `ferops export` made, one exported file, or a version of the registry such as "
            "models:/ferops@champion"
        )
    if path.is_file():
        if path.suffix != ".onnx" and path.name != WEIGHTS_FILE:
            raise FeropsError(
                f"{path} is not a model file. Supported: {WEIGHTS_FILE} and exported .onnx files, with their "
                "config.json in the same folder"
            )
        return path
    if any(path.glob("*.onnx")):
        return path  # models that come with ferops have their weights, too
    if not (path / WEIGHTS_FILE).exists():
        raise FeropsError(
            f"{path} holds neither {WEIGHTS_FILE} nor an exported .onnx file. Model folders are made by "
            "`ferops train NAME` (artifacts/train/NAME) and `ferops export` (artifacts/export)"
        )
    return path / WEIGHTS_FILE


def _open(path: Path, *, tta: Tta | None, name: str, version: str | None = None, threads: int | None = None) -> Opened:
    from ferops.export.runtime import Classifier

    classifier: Runtime
    if path.name == WEIGHTS_FILE:
        from ferops.scoring.weights import TrainedWeights

        folder, classifier = path.parent, TrainedWeights(path.parent, tta=tta)
    else:
        folder, file = (path, None) if path.is_dir() else (path.parent, path.name)
        classifier = Classifier(folder, served=file, tta=tta, threads=threads)
        path = folder / (file or classifier.config.served)
    return Opened(Predictor(folder, classifier=classifier, threads=threads), path, classifier.tta, name, version)
