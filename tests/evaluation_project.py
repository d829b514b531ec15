"""A small project on disk as the earlier stages leave it: random logits with a signal, people as clusters.

Every test image has a number, which its colour tells. The exported classifier answers by that number, so the packed
face and the whole image get the answers that were written down for them.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params, Tta
from ferops.datasets.manifest import make_row
from ferops.evaluation.stage import Champion, evaluate
from ferops.faces.align import TEMPLATE
from ferops.faces.detection import Detection
from ferops.layout import Layout
from ferops.model_config import ExportConfig, ModelConfig
from ferops.provenance import provenance
from ferops.records import Provenance
from ferops.records.metrics import Metrics
from ferops.records.train import write_history
from sample_images import encoded, quick_params, write_source
from trained import epoch
from undrawn import undrawn

SIZE_PX = 32  # of a packed face
IMAGE_PX = 64
LANDMARKS = (16 + 32 * TEMPLATE).astype(np.float32)  # a face in the middle of an image


class Detector:
    """Finds a face in the middle of every image, but in `missing` none, and in `elsewhere` one in a corner."""

    def __init__(self, *, missing: Iterable[int] = (), elsewhere: Iterable[int] = ()) -> None:
        self.missing, self.elsewhere = set(missing), set(elsewhere)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        return [self._faces(number_of(image), image.shape[0] / IMAGE_PX) for image in images]

    def _faces(self, number: int, scale: float) -> list[Detection]:
        if number in self.missing:
            return []
        box, landmarks = np.array([12, 12, 52, 52], np.float32), LANDMARKS
        if number in self.elsewhere:
            box, landmarks = np.array([0, 0, 12, 12], np.float32), (LANDMARKS - 16) * 12 / 32
        return [Detection(box * scale, landmarks.astype(np.float32) * scale, 0.99)]


@dataclass(frozen=True)
class Project:
    layout: Layout
    params: Params
    labels: NDArray[np.intp]  # of the test faces
    index: pd.DataFrame  # faces.parquet, all splits
    no_face: tuple[int, ...]  # numbers of the test images in which no face was found

    @property
    def metrics(self) -> Metrics:
        return Metrics.read(self.layout.artifacts("evaluate") / "metrics.json", made_by="evaluate")

    def evaluate(self, *, champion: Path | None = None, elsewhere: Iterable[int] = (), drawn: bool = False) -> None:
        """Run the stage; its PNG files are blank unless `drawn`."""
        detector = Detector(missing=self.no_face, elsewhere=elsewhere)
        reference = Champion(version="7", folder=champion) if champion else None
        with nullcontext() if drawn else undrawn():
            evaluate(self.layout, self.params, champion=reference, detector=detector)


def colour(number: int) -> list[int]:
    """The colour that says `number`, 0-255, far enough from the others to survive interpolation."""
    return [16 * (number // 16) + 8, 16 * (number % 16) + 8, 128]


def number_of(image: NDArray[np.uint8]) -> int:
    red, green, _ = image[image.shape[0] // 2, image.shape[1] // 2].tolist()
    return 16 * (red // 16) + green // 16


def answers(folder: Path) -> NDArray[np.float32]:
    """The logits `(N, K)` that the export in `folder` gives to the test faces."""
    return np.load(folder / "answers.npy")


def build(
    root: Path,
    *,
    n_test: int = 240,
    no_face: int = 12,
    seed: int = 3,
    synthetic: bool = True,
    classes: tuple[str, ...] = DEFAULT_CLASSES,
    **blocks: dict[str, Any],
) -> Project:
    """Write data/, data.dvc and artifacts/{split,preprocess,train,export} below `root`; people are known by name."""
    rng = np.random.default_rng(seed)
    sources = ("synthetic",) if synthetic else ("fer2013", "ckplus")
    more = {name: {**settings, **blocks.pop(name, {})} for name, settings in _SETTINGS.items()}
    params = quick_params(data={"sources": sources, "classes": classes}, **more, **blocks)
    layout = Layout(root)
    root.mkdir(parents=True, exist_ok=True)

    sizes = {"train": 2 * n_test, "val": n_test // 2, "test": n_test}
    index = _index(rng, sources, sizes, no_face=no_face, classes=classes)
    _write_images(layout, index)
    layout.artifacts("preprocess").mkdir(parents=True)
    index.drop(columns="number").to_parquet(layout.face_index)
    layout.artifacts("split").mkdir(parents=True)
    index[["image_id", "split", "group"]].to_parquet(layout.assignment)
    test = index[(index["split"] == "test") & (index["row"] >= 0)].sort_values("row")
    labels = test["label"].map(classes.index).to_numpy()
    np.save(layout.faces("test"), _faces(rng, labels))

    np.save(layout.faces("val"), _validation_faces(index, labels, classes))

    hard = (test["group_skin_tone"] == "dark").to_numpy() | (test["brightness"] < 70).to_numpy()
    origin = provenance(layout, params)
    weak, strong = (_logits(rng, labels, signal, hard=hard, k=len(classes)) for signal in (1.3, 2.0))
    _train(layout, "baseline", weak, epochs=8, architecture="resnet18", classes=classes, origin=origin)
    _train(layout, "candidate", strong, epochs=12, architecture="resnet50", classes=classes, origin=origin)
    export(layout.exported, 3.0 * strong, temperature=2.6, classes=classes, origin=origin)
    unseen = index[(index["split"] == "test") & (index["row"] < 0)]["number"]
    return Project(layout=layout, params=params, labels=labels, index=index, no_face=tuple(unseen))


@functools.cache
def evaluated() -> Project:
    """A project whose evaluation has run, without a champion; never change its files."""
    folder = Path(tempfile.mkdtemp(prefix="ferops-evaluated-"))
    atexit.register(shutil.rmtree, folder)
    made = build(folder)
    made.evaluate(drawn=True)
    return made


_SETTINGS = {"evaluate": {"bootstrap_samples": 400}, "preprocess": {"tight_sources": ()}}


def change_index(project: Project, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Rewrite faces.parquet as `change` returns it."""
    change(pd.read_parquet(project.layout.face_index)).to_parquet(project.layout.face_index)


def export(
    folder: Path,
    logits: NDArray[np.float64],
    *,
    origin: Provenance,
    temperature: float = 1.0,
    classes: tuple[str, ...] = DEFAULT_CLASSES,
    size_px: int = SIZE_PX,
    tta: Tta = "off",
) -> Path:
    """Write a folder as the stage `export` does, whose classifier answers `logits[n]` to the face of the number n."""
    folder.mkdir(parents=True)
    table = np.zeros((256, len(classes)), np.float32)
    table[: len(logits)] = logits
    np.save(folder / "answers.npy", table[: len(logits)])
    middle = size_px // 2
    constants = {
        "starts": np.array([middle, middle, 0]),
        "ends": np.array([middle + 1, middle + 1, 2]),
        "axes": np.array([1, 2, 3]),
        "sixteen": np.float32(16),
        "pairs": np.array([-1, 2]),
        "flat": np.array([-1]),
        "places": np.array([[16], [1]], np.float32),
        "table": table,
        "weights": np.eye(len(classes), dtype=np.float32),
    }
    nodes = [
        helper.make_node("Slice", ["faces", "starts", "ends", "axes"], ["middle"]),
        helper.make_node("Cast", ["middle"], ["colour"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["colour", "sixteen"], ["shares"]),
        helper.make_node("Floor", ["shares"], ["whole"]),
        helper.make_node("Reshape", ["whole", "pairs"], ["digits"]),
        helper.make_node("MatMul", ["digits", "places"], ["number"]),
        helper.make_node("Reshape", ["number", "flat"], ["numbers"]),
        helper.make_node("Cast", ["numbers"], ["rows"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "rows"], ["found"]),
        helper.make_node("MatMul", ["found", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "numbers",
        [helper.make_tensor_value_info("faces", TensorProto.UINT8, ["n", size_px, size_px, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", len(classes)])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model-int8.onnx")
    config = ExportConfig(
        **_config("resnet50", classes=classes, origin=origin, size_px=size_px, temperature=temperature),
        served="model-int8.onnx",
        tta=tta,
        min_confidence=0.9,
        margin=0.1,
        choose="largest",
        low_confidence=0.5,
    )
    (folder / "config.json").write_text(config.model_dump_json())
    return folder


def _config(
    architecture: str, *, classes: tuple[str, ...], origin: Provenance, size_px: int = SIZE_PX, temperature: float = 1.0
) -> dict[str, Any]:
    return {
        "architecture": architecture,
        "classes": classes,
        "size_px": size_px,
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "temperature": temperature,
        "parameters": 1,
        "provenance": origin,
        "licence": "Apache-2.0",
    }


def _index(
    rng: np.random.Generator, sources: tuple[str, ...], sizes: dict[str, int], *, no_face: int, classes: tuple[str, ...]
) -> pd.DataFrame:
    frames = []
    weights = np.array([0.2, 0.05, 0.15, 0.3, 0.18, 0.12, 0.1, 0.1])[: len(classes)]
    for split, n in sizes.items():
        person = rng.integers(n // 5, size=n)
        tone = rng.choice(["light", "medium", "dark"], p=[0.45, 0.35, 0.2], size=n // 5)
        age = rng.choice(["18-39", "40-64", "65+"], p=[0.6, 0.37, 0.03], size=n // 5)
        status = np.where(rng.permutation(n) < (no_face if split == "test" else 0), "no_face", "ok")
        frames.append(
            pd.DataFrame(
                {
                    "image_id": [f"{split}-{number:06d}" for number in range(n)],
                    "label": rng.choice(classes, p=weights / weights.sum(), size=n),
                    "subject": [f"{split}-person-{number}" for number in person],
                    "source": rng.choice(sources, size=n),
                    "split": split,
                    "group": [f"{split}-person-{number}" for number in person],
                    "group_skin_tone": tone[person],
                    "group_age": np.where(rng.random(n) < 0.1, None, age[person]),
                    "brightness": rng.normal(110, 35, size=n).clip(5, 250),
                    "sharpness": rng.gamma(2.0, 600.0, size=n),
                    "face_px": rng.normal(90, 25, size=n).clip(40),
                    "yaw_degrees": np.where(status == "no_face", np.nan, rng.normal(0, 12, size=n)),
                    "status": status,
                    "searched": True,
                }
            )
        )
    index = pd.concat(frames, ignore_index=True)
    index[["row", "number"]] = -1
    for split in sizes:
        seen = index.index[(index["split"] == split) & (index["status"] != "no_face")]
        index.loc[seen, "row"] = rng.permutation(len(seen))  # the order of faces.parquet is not that of the arrays
    test, missed = index["split"] == "test", index["row"] < 0
    index.loc[test, "number"] = index.loc[test, "row"]
    index.loc[test & missed, "number"] = np.arange((test & ~missed).sum(), test.sum())
    return index


def _write_images(layout: Layout, index: pd.DataFrame) -> None:
    """Write the test images as raw data, and name them in `index` by the digest of their bytes."""
    rows: dict[str, list[dict[str, Any]]] = {source: [] for source in index["source"].unique()}
    for place, row in index[index["split"] == "test"].iterrows():
        image = encoded(np.full((IMAGE_PX, IMAGE_PX, 3), colour(row["number"]), np.uint8))
        truth = {"truth_landmarks": LANDMARKS.ravel().tolist()} if row["source"] == "synthetic" else {}
        raw = make_row(image, source=row["source"], label=row["label"], subject=row["subject"], **truth)
        rows[row["source"]].append(raw)
        index.loc[place, "image_id"] = raw["image_id"]
    for source, images in rows.items():
        write_source(layout, source, images)


def _faces(rng: np.random.Generator, labels: NDArray[np.intp]) -> NDArray[np.uint8]:
    yy, xx = np.mgrid[-1:1:32j, -1:1:32j]
    faces = np.zeros((len(labels), SIZE_PX, SIZE_PX, 3), np.uint8)
    for number, label in enumerate(labels):
        skin = rng.uniform(0.3, 1.0) * np.array([235, 190, 160])
        head = (xx**2 + yy**2 < 0.9)[..., None] * skin
        mouth = np.abs(yy - 0.45 - (label - 2.5) * 0.12 * (xx**2 - 0.15)) < 0.06
        eyes = ((np.abs(xx) - 0.35) ** 2 + (yy + 0.2) ** 2) < 0.012
        head[(mouth & (np.abs(xx) < 0.5)) | eyes] = 30
        faces[number] = head
        faces[number, 14:19, 14:19] = colour(number)
    return faces


def _validation_faces(index: pd.DataFrame, labels: NDArray[np.intp], classes: tuple[str, ...]) -> NDArray[np.uint8]:
    """A face for each row of validation, which the export answers as a test face with the same label."""
    validation = index[(index["split"] == "val") & (index["row"] >= 0)].sort_values("row")
    faces = np.zeros((len(validation), SIZE_PX, SIZE_PX, 3), np.uint8)
    for row, label in enumerate(validation["label"].map(classes.index)):
        alike = np.flatnonzero(labels == label) if label in labels else np.arange(len(labels))
        faces[row] = colour(int(alike[row % len(alike)]))
    return faces


def _logits(
    rng: np.random.Generator, labels: NDArray[np.intp], signal: float, *, hard: Any, k: int
) -> NDArray[np.float64]:
    logits = rng.normal(size=(len(labels), k))
    logits[np.arange(len(labels)), labels] += np.where(hard, 0.5 * signal, signal)
    return logits


def _train(
    layout: Layout,
    name: str,
    logits: NDArray[np.float64],
    *,
    epochs: int,
    architecture: str,
    classes: tuple[str, ...],
    origin: Provenance,
) -> None:
    folder = layout.model(name)
    folder.mkdir(parents=True)
    np.save(folder / "test_logits.npy", logits.astype(np.float32))
    config = ModelConfig(**_config(architecture, classes=classes, origin=origin))
    (folder / "config.json").write_text(config.model_dump_json())
    write_history(folder / "history.json", [epoch(number) for number in range(1, epochs + 1)])
