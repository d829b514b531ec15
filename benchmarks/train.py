"""How fast a training is, as three ratios, each measured in one run on one machine over the same packed faces.

    python benchmarks/train.py                                       # ResNet-18 and -50, some minutes
    python benchmarks/train.py --architectures efficientnet_lite0 --batch-size 128 --out speed.json
    python benchmarks/train.py --size 224 --batch-size 64            # the faces enlarged: how it is on a GPU

- `over recipe`: images a second of the training's own step (`StepRunner.run`: read, augment, mix, forward, backward,
  clip, update, average) over those of torchvision's reference training at its defaults (torchvision_recipe.py says what
  it does), with the same network, batch, device, and faces; as that recipe reads them, they are JPEG files.
- `input rate`: the training's step over the same step on tensors that lie ready on the device: 100 % is an input that
  costs nothing.
- `what each buys`: the step on such tensors, with everything on, over the step with that one feature off.

The contenders take turns of --steps steps, and a ratio is the median over --rounds pairs of turns; the numbers in
brackets are its quartiles. Peak memory is that of processes which do nothing else: of this side's resident set, and of
the recipe's without its workers, or of the tensors on a GPU.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from measure import Turn, alone, cores, images_per_s, interleave, times_as_fast
from ruamel.yaml import YAML
from stepper import Stepper, network
from tables import markdown
from torchvision_recipe import TorchvisionRecipe, write_folder

from ferops import config, presets
from ferops.config import Train
from ferops.errors import FeropsError
from ferops.files import write_json
from ferops.layout import Layout
from ferops.machine import cpu_name
from ferops.training import data, precision
from ferops.training.faces import Faces
from ferops.training.memory import peak_memory_mb

FEATURES = ("bf16", "channels_last", "depthwise", "fused", "compile")


def main() -> None:
    options = _arguments()
    train = settings(options)
    device = precision.choose(train).device
    machine = cpu_name() if device.type == "cpu" else torch.cuda.get_device_name(device)
    print(f"torch {torch.__version__}, {machine}, {cores()} cores, recipe {options.preset}, batch {train.batch_size}")
    results = []
    for architecture in options.architectures:
        try:
            results.append(measure(architecture, options))
        except (FeropsError, RuntimeError, BrokenProcessPool) as error:  # the other architectures may work
            print(f"{architecture}: {type(error).__name__}: {error}", flush=True)
            continue
        show(results[-1])
        # After each, so that a benchmark which is cut off leaves what it has
        if options.out:
            about = {"machine": machine, "cores": cores(), "torch": torch.__version__}
            write_json(options.out, {**about, "results": results})
    if results:
        print(f"\n{tables(results)}")


def settings(options: argparse.Namespace) -> Train:
    """Return the preset's block `train` for one whole batch a step."""
    params = config.parse(YAML(typ="safe").load(presets.render(options.preset)), origin=f"preset {options.preset}")
    changes = {"device": options.device, "amp": options.amp, "batch_size": options.batch_size, "accumulate": 1}
    return params.train.model_copy(update={**changes, "votes": 0.0, "sampling": {}})


def measure(architecture: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure each question in a process of its own: this one stays small, since processes inherit its peak memory."""
    memory = {who: alone(peak_mb, architecture, options, who) for who in ("product", "recipe")}
    speed = alone(race, architecture, options)
    bought: dict[str, Any] = {}
    for feature in options.features:
        try:
            bought[feature] = alone(buys, architecture, options, feature)
        except Exception as error:  # a compiler, say, has a hundred ways to fail; the other features may work
            bought[feature] = f"failed: {type(error).__name__}: {str(error).splitlines()[0]}"
    return {"architecture": architecture, **speed, "peak_memory_mb": memory, "what_each_buys": bought}


def peak_mb(architecture: str, options: argparse.Namespace, who: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        make_turn(who, architecture, Path(folder), options)()
    return list(peak_memory_mb(precision.choose(settings(options)).device).values())[-1]  # the GPU's if there is one


def race(architecture: str, options: argparse.Namespace) -> dict[str, Any]:
    faces, train = read(options), settings(options)
    with tempfile.TemporaryDirectory() as folder:
        seconds = interleave(
            {who: make_turn(who, architecture, Path(folder), options) for who in ("product", "synthetic", "recipe")},
            rounds=options.rounds,
        )
    return {
        "size_px": faces.size_px,
        "batch_size": train.batch_size,
        "precision": precision.choose(train).name,
        "images_per_s": {who: images_per_s(values) for who, values in seconds.items()},
        "over_recipe": times_as_fast(seconds["product"], seconds["recipe"]),
        "input_rate": times_as_fast(seconds["product"], seconds["synthetic"]),
    }


def buys(architecture: str, options: argparse.Namespace, feature: str) -> dict[str, float] | None:
    """Return how many times as fast a step is with `feature` as without, None where it plays no role."""
    faces, train = read(options), settings(options)
    having = Stepper(architecture, faces, train, synthetic=True, compiled=feature == "compile")
    if not having.uses(feature):
        return None
    lacking = Stepper(architecture, faces, train, synthetic=True, without=feature)
    turns: dict[str, Turn] = {
        "with": lambda: having.turn(options.steps),
        "without": lambda: lacking.turn(options.steps),
    }
    seconds = interleave(turns, rounds=options.rounds)
    return times_as_fast(seconds["with"], seconds["without"])


def make_turn(who: str, architecture: str, folder: Path, options: argparse.Namespace) -> Turn:
    faces, train = read(options), settings(options)
    if who != "recipe":
        stepper = Stepper(architecture, faces, train, synthetic=who == "synthetic")
        return lambda: stepper.turn(options.steps)
    write_folder(folder / "jpegs", faces.images, faces.labels)
    recipe = TorchvisionRecipe(
        network(architecture, faces).backbone,
        folder / "jpegs",
        size_px=faces.size_px,
        batch_size=train.batch_size,
        workers=cores() if options.workers is None else options.workers,
        device=precision.choose(train).device,
    )
    return lambda: recipe.turn(options.steps)


def read(options: argparse.Namespace) -> Faces:
    """Return the first --faces training faces, enlarged (or made smaller) to --size."""
    faces = data.read_faces(Layout(options.project), "train")
    images, labels = faces.images[: options.faces], faces.labels[: options.faces]
    if options.size and options.size != faces.size_px:
        images = np.stack([cv2.resize(image, (options.size, options.size)) for image in images])
    return Faces(images, labels)


def show(result: dict[str, Any]) -> None:
    speed, memory = result["images_per_s"], result["peak_memory_mb"]
    print(f"\n{result['architecture']}, {result['size_px']} px, {result['precision']}")
    print(
        f"  images/s: {speed['product']:.1f}, on ready tensors {speed['synthetic']:.1f}, recipe {speed['recipe']:.1f}; "
        f"peak memory: {memory['product']:.0f} MB, recipe {memory['recipe']:.0f} MB"
    )
    print(f"  over recipe {_shown(result['over_recipe'])} (wanted: 1.5 at least)")
    rate = {key: 100 * value for key, value in result["input_rate"].items()}
    print(f"  input rate  {_shown(rate, digits=1)} % (wanted: 95 at least)")
    for feature, gain in result["what_each_buys"].items():
        print(f"  {feature:<14}{_gain(gain)}")
    sys.stdout.flush()


def tables(results: list[dict[str, Any]]) -> str:
    """Return two Markdown tables: the ratios, and what each feature buys."""
    names = [f"`{result['architecture']}`, {result['size_px']} px, {result['precision']}" for result in results]
    speed, memory = ([result[key] for result in results] for key in ("images_per_s", "peak_memory_mb"))
    ratios = [
        [
            name,
            *(f"{rates[who]:.0f}" for who in ("product", "synthetic", "recipe")),
            _shown(result["over_recipe"]),
            _shown(result["input_rate"]),
            *(f"{peak[who]:.0f}" for who in ("product", "recipe")),
        ]
        for name, result, rates, peak in zip(names, results, speed, memory, strict=True)
    ]
    head = ["faces/s", "ferops", "on ready tensors", "torchvision's recipe", "ferops / recipe", "input rate"]
    first = markdown([*head, "peak memory, MB", "recipe's"], ratios)
    features = list(results[0]["what_each_buys"])
    bought = [
        [name, *(_gain(result["what_each_buys"][feature]) for feature in features)]
        for name, result in zip(names, results, strict=True)
    ]
    return f"{first}\n{markdown(['times as fast with', *features], bought)}" if features else first


def _gain(gain: dict[str, float] | str | None) -> str:
    return "no role" if gain is None else gain if isinstance(gain, str) else _shown(gain)


def _shown(value: dict[str, float], *, digits: int = 2) -> str:
    return f"{value['ratio']:.{digits}f} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=Path(), help="folder with artifacts/preprocess (default: here)")
    parser.add_argument("--architectures", nargs="+", default=["resnet18", "resnet50"], metavar="NAME")
    parser.add_argument("--preset", default="fer2013-cpu", help="whose block `train` is measured")
    parser.add_argument("--size", type=int, metavar="PX", help="resize the faces, by default as they were packed")
    parser.add_argument("--faces", type=int, default=2048, help="of the training split, at most")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, help="of the recipe's DataLoader (default: one per core; its own is 16)")
    parser.add_argument("--steps", type=int, default=4, help="in a turn; on a GPU take 30 or more")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--features", nargs="*", default=FEATURES[:-1], choices=FEATURES, help="measure what they buy")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--amp", default="auto", choices=["auto", "bf16", "fp16", "off"])
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
