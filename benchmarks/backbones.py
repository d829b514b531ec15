"""Backbones side by side, on the same faces, by the same recipe: the tables of docs/backbones.md.

    python benchmarks/backbones.py                                   # in a project folder, about ten minutes on 2 cores
    python benchmarks/backbones.py --names resnet18 convnext_atto efficientnet_lite0:imagenet --epochs 20
    python benchmarks/backbones.py --project ~/fer --epochs 60 --results fer.jsonl

A backbone is any name of timm's zoo; after a colon, the weights to start from, as `pretrained` names them. Each is
trained on the packed training faces of the project (artifacts/preprocess) and judged on its validation faces, never
on the test split, then exported and timed, in a process of its own. --results keeps one JSON line for each; started
again, the command goes on with those that have none under the same settings, faces and machine. One that fails is
listed with the reason, and tried again by the next run.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from backbones_table import tables
from measure import alone, cores, median_s
from numpy.typing import NDArray
from ruamel.yaml import YAML
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ferops import config, presets
from ferops.config import Params
from ferops.evaluation import metrics
from ferops.evaluation.bootstrap import Resampler
from ferops.export import files
from ferops.export.runtime import compile_onnx
from ferops.files import write_text
from ferops.layout import Layout
from ferops.machine import cpu_name
from ferops.model_config import FP32_FILE, INT8_FILE
from ferops.training import data, model, norms, precision, pretrained, zoo
from ferops.training.checkpoint import Checkpoint
from ferops.training.distributed import World
from ferops.training.evaluator import predict
from ferops.training.faces import Faces, channel_statistics, content_hash, is_grey
from ferops.training.fit import Fit
from ferops.training.memory import peak_memory_mb
from ferops.training.step import plan_steps

NAMES = (
    "resnet18",
    "resnet50",
    "vgg16_bn",
    "efficientnet_b0",
    "efficientnet_lite0",
    "efficientnet_lite0:imagenet",
    "mobilenetv3_large",
    "mobilenetv3_small",
    "vit_base_patch16_224",
)
BATCH = 16
"""Faces in one call where the throughput is measured."""


def main() -> None:
    options = _arguments()
    settings = common(options)
    results = options.results or Layout(options.project).state / "backbones.jsonl"
    lines = _kept(results)
    for name in options.names:
        if any(_done(line, name, settings) for line in lines):
            print(f"{name}: measured already", flush=True)
            continue
        found = attempt(name, options)
        print(f"{name}: {found.get('failed', 'measured')}", flush=True)
        lines = [line for line in lines if (line["backbone"], line["settings"]) != (name, settings)]
        lines.append({"backbone": name, "settings": settings, **found})
        write_text(results, "".join(json.dumps(line) + "\n" for line in lines))
    measured = {line["backbone"]: line for line in lines if line["settings"] == settings}
    print(tables([measured[name] for name in options.names], settings))


def common(options: argparse.Namespace) -> dict[str, Any]:
    """Return what all backbones of a table share; a line measured under anything else is another table's."""
    layout, params = Layout(options.project), recipe(options)
    train, validation = (data.read_faces(layout, split) for split in ("train", "val"))
    chosen = precision.choose(params.train)
    return {
        "cpu": cpu_name(),
        "device": "cpu" if chosen.device.type == "cpu" else torch.cuda.get_device_name(),
        "cores": cores(),
        "precision": chosen.name,
        "preset": options.preset,
        "epochs": options.epochs,
        "batch_size": params.train.batch_size * int(params.train.accumulate),
        "max_lr": params.train.max_lr,
        "size_px": train.size_px,
        "train_faces": len(train),
        "val_faces": len(validation),
        "faces": content_hash(train.images, train.labels, validation.images, validation.labels),
        "seed": params.seed,
    }


def recipe(options: argparse.Namespace) -> Params:
    tree = YAML(typ="safe").load(presets.render(options.preset))
    tree["train"] |= {"batch_size": options.batch_size, "accumulate": 1}
    return config.parse(tree, origin=f"preset {options.preset}")


def attempt(name: str, options: argparse.Namespace) -> dict[str, Any]:
    try:
        return dict(alone(measure, name, options))
    except Exception as error:  # whatever is wrong with this one, the others go on and the table shows it
        return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train, judge, export and time one backbone; in a process of its own."""
    torch.set_num_threads(cores())
    layout, params = Layout(options.project), recipe(options)
    classes = len(params.data.classes)
    faces, validation = (data.read_faces(layout, split) for split in ("train", "val"))
    resampler = Resampler(
        _groups(layout),
        samples=params.evaluate.bootstrap_samples,
        seed=params.seed,
        level=params.evaluate.confidence_level,
    )
    net, licence = network(name, faces, params)
    flops = _flops(net)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        fit = _trained(net, faces, validation, params, epochs=options.epochs, folder=folder)
        memory = peak_memory_mb(fit.precision.device)
        net = net.cpu().eval()
        logits = {"fp32": predict(net, validation.images, precision=precision.Precision(torch.device("cpu"), None))}
        onnx = {"fp32": folder / FP32_FILE, "int8": folder / INT8_FILE}
        files.write_onnx(net, onnx["fp32"])
        files.write_int8(onnx["fp32"], onnx["int8"], _calibration(faces, params))
        speed = {}
        for kind, path in onnx.items():
            run = compile_onnx(path)
            speed[kind] = _speed(run, faces)
            if kind == "int8":
                logits[kind] = np.concatenate([run(batch)[0] for batch in _batches(validation.images)])
        size_mb = {kind: path.stat().st_size / 1e6 for kind, path in onnx.items()}
    return {
        "timm": zoo.resolve(name.partition(":")[0]),
        "licence": licence,
        "parameters": model.count_parameters(net),
        "flops": flops,
        "size_mb": size_mb,
        **{kind: _figures(found, validation, resampler, classes) | speed[kind] for kind, found in logits.items()},
        "changed_by_int8": float((logits["fp32"].argmax(1) != logits["int8"].argmax(1)).mean()),
        "best_epoch": fit.progress.best_epoch,
        "train_images_per_s": float(np.median([row.images_per_s for row in fit.progress.history])),
        "peak_memory_mb": memory,
    }


def network(name: str, faces: Faces, params: Params) -> tuple[model.ExpressionNet, str | None]:
    """Return the network of `name` or `name:weights` for these faces, and the licence of the weights."""
    architecture, _, source = name.partition(":")
    mean, std = channel_statistics(faces)
    net = model.build(
        architecture,
        num_classes=len(params.data.classes),
        size_px=faces.size_px,
        mean=mean,
        std=std,
        grayscale=is_grey(faces),
        seed=params.seed,
    )
    if not source:
        return net, None
    torch.manual_seed(params.seed)  # of the new head
    start = pretrained.pretrain(net.backbone, architecture, source)
    net.normalise(mean=start.mean, std=start.std)
    if start.folded:
        norms.restate(net, faces.images, seed=params.seed)
    return net, start.licence


def _trained(
    net: model.ExpressionNet, faces: Faces, validation: Faces, params: Params, *, epochs: int, folder: Path
) -> Fit:
    chosen, world = precision.choose(params.train), World()
    fit = Fit(
        net.to(chosen.device),
        plan_steps(net, params.train, faces=len(faces), precision=chosen, world=world),
        train=params.train.model_copy(update={"checkpoint_every": epochs + 1}),
        epochs=epochs,
        seed=params.seed,
        faces=faces,
        targets=np.eye(len(params.data.classes), dtype=np.float32)[faces.labels],
        validation=validation,
        precision=chosen,
        checkpoint=Checkpoint(folder / "checkpoint", "benchmark"),
        world=world,
    )
    fit.run()
    return fit


def _flops(net: model.ExpressionNet) -> int:
    """Return the floating-point operations of one face: 2 for each multiply-add of convolutions and matrix products."""
    pixels = torch.zeros(1, 3, net.size_px, net.size_px)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        net.eval().classify(pixels)
    return int(counter.get_total_flops())


def _calibration(faces: Faces, params: Params) -> NDArray[np.uint8]:
    count = min(params.export.calibration_images, len(faces))
    rows = np.random.default_rng(params.seed).choice(len(faces), size=count, replace=False)
    return np.asarray(faces.images[np.sort(rows)])


def _figures(
    logits: NDArray[np.float32], validation: Faces, resampler: Resampler, classes: int
) -> dict[str, dict[str, Any]]:
    features = metrics.confusion_features(validation.labels, logits.argmax(axis=1), classes)
    counts = resampler.totals(features, np.arange(len(features))).reshape(-1, classes, classes)
    figures = {"accuracy": metrics.accuracy(counts), "macro_f1": metrics.macro_f1(counts)}
    return {key: resampler.interval(values, clusters=resampler.count).as_json() for key, values in figures.items()}


def _groups(layout: Layout) -> list[str]:
    """Return what is drawn for each validation face: its group, the people and copies that the split kept together."""
    index = pd.read_parquet(layout.face_index, columns=["split", "row", "group"])
    return list(index[(index["split"] == "val") & (index["row"] >= 0)].sort_values("row")["group"])


def _speed(run: Any, faces: Faces, *, budget_s: float = 1.0) -> dict[str, float]:
    one, many = (np.ascontiguousarray(faces.images[:count]) for count in (1, BATCH))
    return {
        "latency_ms": 1000 * median_s(lambda: run(one), budget_s=budget_s),
        "images_per_s": BATCH / median_s(lambda: run(many), budget_s=budget_s),
    }


def _batches(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [np.ascontiguousarray(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]


def _kept(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _done(line: dict[str, Any], name: str, settings: dict[str, Any]) -> bool:
    return (line["backbone"], line["settings"]) == (name, settings) and "failed" not in line


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=Path(), help="folder with artifacts/preprocess (default: here)")
    parser.add_argument("--names", nargs="+", default=NAMES, metavar="NAME[:WEIGHTS]")
    parser.add_argument("--preset", default="quick", help="whose recipe they are trained by")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--results", type=Path, help="JSON lines (default: .ferops/backbones.jsonl of the project)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
