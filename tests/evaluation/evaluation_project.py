"""A small project on disk as the earlier stages leave it: random logits with a signal, people as clusters."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params, load
from ferops.layout import Layout
from ferops.model_config import ExportConfig

SIZE_PX = 32
PARAMS_FILE = Path(__file__).parents[2] / "params.yaml"


@dataclass(frozen=True)
class Project:
    layout: Layout
    params: Params
    labels: NDArray[np.intp]  # of the test faces
    index: pd.DataFrame  # faces.parquet, all splits


class FixedAnswers:
    """A classifier that knows each face by the number written into its first two pixels."""

    def __init__(self, folder: Path) -> None:
        self.answers = np.load(folder / "answers.npy")

    def logits(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        numbers = faces[:, 0, 0, 0].astype(int) * 256 + faces[:, 0, 0, 1]
        return np.asarray(self.answers[numbers % len(self.answers)])


def build(root: Path, *, n_test: int = 240, no_face: int = 12, seed: int = 3, synthetic: bool = True) -> Project:
    """Write data.dvc, artifacts/{split,preprocess,train,export} below `root`; people are known by name."""
    rng = np.random.default_rng(seed)
    tree = json.loads(load(PARAMS_FILE).model_dump_json(by_alias=True))
    tree["data"]["sources"] = ["synthetic"] if synthetic else ["fer2013", "ckplus"]
    tree["evaluate"]["bootstrap_samples"] = 400
    params = Params.model_validate(tree)
    layout = Layout(root)
    root.mkdir(parents=True, exist_ok=True)
    layout.data_dvc.write_text("outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  path: data\n")

    index = _index(rng, tree["data"]["sources"], {"train": 2 * n_test, "val": n_test // 2, "test": n_test}, no_face)
    layout.artifacts("preprocess").mkdir(parents=True)
    index.to_parquet(layout.face_index)
    layout.artifacts("split").mkdir(parents=True)
    index[["image_id", "split", "group"]].to_parquet(layout.assignment)
    test = index[(index["split"] == "test") & (index["row"] >= 0)].sort_values("row")
    labels = test["label_index"].to_numpy()
    np.save(layout.faces("test"), _faces(rng, labels))

    hard = (test["group_skin_tone"] == "dark").to_numpy() | (test["brightness"] < 70).to_numpy()
    _train(layout, "baseline", _logits(rng, labels, 1.3, hard=hard), "resnet18", epochs=8)
    _train(layout, "candidate", _logits(rng, labels, 2.0, hard=hard), "resnet50", epochs=12)
    export(layout.exported, 3.0 * _logits(rng, labels, 2.0, hard=hard), temperature=2.6)
    return Project(layout=layout, params=params, labels=labels, index=index)


def change_index(project: Project, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Rewrite faces.parquet as `change` returns it."""
    change(pd.read_parquet(project.layout.face_index)).to_parquet(project.layout.face_index)


def export(folder: Path, logits: NDArray[np.float64], *, temperature: float = 1.0, **changes: Any) -> Path:
    """Write a folder with the layout of artifacts/export whose classifier answers `logits`."""
    folder.mkdir(parents=True)
    write_onnx(folder / "model-int8.onnx")
    np.save(folder / "answers.npy", logits.astype(np.float32))
    config = {
        "architecture": "resnet50",
        "classes": list(DEFAULT_CLASSES),
        "size_px": SIZE_PX,
        "temperature": temperature,
        "served": "model-int8.onnx",
        "licence": "Apache-2.0",
        "provenance": {"split_hash": None},
    }
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


def linear_export(folder: Path) -> NDArray[np.float32]:
    """Replace `folder` by an export that the real runtime opens: logits = pixels @ weights; return the weights."""
    shutil.rmtree(folder)
    folder.mkdir()
    weights = np.random.default_rng(1).normal(scale=1e-4, size=(SIZE_PX**2 * 3, 6)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["faces"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("faces", TensorProto.UINT8, ["n", SIZE_PX, SIZE_PX, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 6])],
        [numpy_helper.from_array(weights, "weights")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "model.onnx")
    config = ExportConfig(
        architecture="resnet50",
        classes=DEFAULT_CLASSES,
        size_px=SIZE_PX,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        temperature=1.7,
        parameters=weights.size,
        provenance={"split_hash": None},
        licence="Apache-2.0",
        served="model.onnx",
        min_confidence=0.9,
        margin=0.1,
        choose="largest",
        low_confidence=0.5,
    )
    (folder / "config.json").write_text(config.model_dump_json())
    return weights


def write_onnx(path: Path) -> int:
    """Write a graph with one float and one quantised layer, and return how many weights and biases it holds."""
    rng = np.random.default_rng(0)
    layers = {
        "conv_w": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "conv_b": np.zeros(4, np.float32),
        "fc_q": rng.integers(-9, 9, size=(4, 6)).astype(np.int8),
    }
    extra = {"scale": np.float32(0.1), "zero": np.int8(0)}
    nodes = [
        helper.make_node("Identity", ["conv_b"], ["same"]),  # how exporters share one tensor between layers
        helper.make_node("Conv", ["x", "conv_w", "same"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("DequantizeLinear", ["fc_q", "scale", "zero"], ["fc"]),
        helper.make_node("MatMul", ["f", "fc"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 6])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (layers | extra).items()],
    )
    onnx.save(helper.make_model(graph), path)
    return sum(value.size for value in layers.values())


def _index(rng: np.random.Generator, sources: list[str], sizes: dict[str, int], no_face: int) -> pd.DataFrame:
    parts = []
    for split, n in sizes.items():
        person = rng.integers(n // 5, size=n)
        tone = rng.choice(["light", "medium", "dark"], p=[0.45, 0.35, 0.2], size=n // 5)
        age = rng.choice(["18-39", "40-64", "65+"], p=[0.6, 0.37, 0.03], size=n // 5)
        status = np.where(rng.permutation(n) < (no_face if split == "test" else 0), "no_face", "ok")
        parts.append(
            pd.DataFrame(
                {
                    "image_id": [f"{split}-{number:06d}" for number in range(n)],
                    "label_index": rng.choice(6, p=[0.2, 0.05, 0.15, 0.3, 0.18, 0.12], size=n),
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
    index = pd.concat(parts, ignore_index=True)
    index["row"] = -1
    for split in sizes:
        seen = index.index[(index["split"] == split) & (index["status"] != "no_face")]
        index.loc[seen, "row"] = rng.permutation(len(seen))  # the order of faces.parquet is not that of the arrays
    return index


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
        faces[number, 0, 0, :2] = divmod(number, 256)
    return faces


def _logits(rng: np.random.Generator, labels: NDArray[np.intp], signal: float, *, hard: Any) -> NDArray[np.float64]:
    logits = rng.normal(size=(len(labels), 6))
    logits[np.arange(len(labels)), labels] += np.where(hard, 0.5 * signal, signal)
    return logits


def _train(layout: Layout, name: str, logits: NDArray[np.float64], architecture: str, *, epochs: int) -> None:
    folder = layout.model(name)
    folder.mkdir(parents=True)
    np.save(folder / "test_logits.npy", logits.astype(np.float32))
    (folder / "config.json").write_text(json.dumps({"architecture": architecture, "temperature": 1.0}))
    history = [
        {
            "epoch": epoch,
            "train_loss": 0.3 + 1.5 * 0.75**epoch,
            "val_loss": 0.7 + 1.2 * 0.7**epoch,
            "val_accuracy": 0.75 - 0.55 * 0.7**epoch,
            "val_macro_f1": 0.7 - 0.6 * 0.7**epoch,
            "learning_rate": 0.001,
            "images_per_s": 80.0,
            "seconds": 6.0,
        }
        for epoch in range(1, epochs + 1)
    ]
    (folder / "history.json").write_text(json.dumps(history))
