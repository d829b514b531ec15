"""Train one network on packed faces with the project's own training, in the seconds that there are."""

from __future__ import annotations

import copy
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from packed import Split
from parts import Together
from ruamel.yaml import YAML

from ferops import config, presets
from ferops.config import Model, Params, Train
from ferops.errors import StoppedError
from ferops.model_config import Channels
from ferops.training import precision
from ferops.training.checkpoint import Checkpoint
from ferops.training.distributed import World
from ferops.training.evaluator import predict
from ferops.training.faces import Faces, drawing_weights
from ferops.training.fit import Fit
from ferops.training.model import ExpressionNet
from ferops.training.pretrained import Pretrained
from ferops.training.start import fit_to_faces, network
from ferops.training.step import plan_steps
from ferops.training.teacher import Teacher

WARM_UP, MEASURED = 10, 20
"""Steps before the speed is measured, and in which it is."""

ON_GPU = {
    "device": "auto",
    "amp": "auto",
    "accumulate": 1,
    "early_stopping": 0,
    "freeze_epochs": 0,
    "freeze_layers": 0,
    "small_px": 0,
    "jpeg_probability": 0.0,
}
"""Settings of `train` that a preset may have to spare a CPU; JPEG is made on the CPU, for which a GPU would wait."""

MOST_EPOCHS = 300

STATISTICS_FACES = 4096
"""About so many faces give the mean and standard deviation of all: at 224 px each thousand takes a second."""

SPARED = 0.85
"""Share of the time that the plan fills: the speed is an estimate."""


def params_of(preset: str) -> Params:
    return config.parse(YAML(typ="safe").load(presets.render(preset)), origin=f"preset {preset}")


@dataclass(frozen=True)
class Recipe:
    """A network and how it learns: `changes` are to the block `train` of `preset`, `seed` draws all that is random."""

    architecture: str
    pretrained: str | None
    size_px: int
    preset: str
    seed: int
    changes: dict[str, Any] = field(default_factory=dict)
    drop_rate: float = 0.0
    drop_path_rate: float = 0.0

    @property
    def train(self) -> Train:
        """A setting that a random start has no use for is off, as in `ferops.training.prepare`."""
        spared = {} if self.pretrained else {"layer_decay": 1.0}
        block = params_of(self.preset).train
        return Train.model_validate({**block.model_dump(), **ON_GPU, **self.changes, **spared})

    @property
    def model(self) -> Model:
        return (
            params_of(self.preset)
            .models["candidate"]
            .model_copy(
                update={
                    "architecture": self.architecture,
                    "pretrained": self.pretrained,
                    "drop_rate": self.drop_rate,
                    "drop_path_rate": self.drop_path_rate,
                }
            )
        )


@dataclass
class Trained:
    """What `train` made: the network on its device, how it normalises, and the figures of its training."""

    net: ExpressionNet
    start: Pretrained | None
    mean: Channels
    std: Channels
    figures: dict[str, Any]


class Trainer:
    """Trains a recipe on `train`, and chooses the epoch on `validation`."""

    def __init__(
        self,
        recipe: Recipe,
        train: Split,
        validation: Split,
        *,
        classes: Sequence[str],
        teacher: Teacher | None = None,
    ) -> None:
        self.recipe, self.settings, self.teacher = recipe, recipe.train, teacher
        self.scratch = Path(tempfile.mkdtemp())
        self.faces, self.validation = train.faces(recipe.size_px), validation.faces(recipe.size_px)
        self.targets = train.targets(len(classes), votes=self.settings.votes)
        sampling = {name: each for name, each in self.settings.sampling.items() if name in set(train.sources)}
        self.weights = drawing_weights(train.labels, train.sources, sampling) if sampling else None
        self.precision = precision.choose(self.settings)
        self.net, self.start = network(recipe.model, classes=classes, size_px=recipe.size_px, seed=recipe.seed)
        step = max(1, len(self.faces) // STATISTICS_FACES)
        some = Faces(self.faces.images[::step], self.faces.labels[::step])
        self.mean, self.std = fit_to_faces(self.net, some, self.start, train=self.settings, seed=recipe.seed)
        self.net.to(self.precision.device)

    def fit(self, net: ExpressionNet, *, epochs: int, name: str = "fit") -> Fit:
        world = World()
        return Fit(
            net,
            plan_steps(net, self.settings, faces=len(self.faces), precision=self.precision, world=world),
            train=self.settings,
            epochs=epochs,
            seed=self.recipe.seed,
            faces=self.faces,
            targets=self.targets,
            weights=self.weights,
            validation=self.validation,
            precision=self.precision,
            checkpoint=Checkpoint(self.scratch, name),
            world=world,
            teacher=self.teacher,
        )

    def epoch_s(self, *, warm_up: int = WARM_UP, measured: int = MEASURED) -> float:
        """Measure on a copy of the network how long an epoch takes, its validation included."""
        trial = self.fit(copy.deepcopy(self.net), epochs=1000, name="trial")
        trial.stepper.set_trainable(head_only=False)
        order = trial.stepper.order(0)

        def steps(first: int, count: int) -> float:
            self.wait()
            started = time.perf_counter()
            for step in range(first, first + count):
                rows = order[: trial.plan.images]
                trial.stepper.run(rows, epoch=0, step=step)
            self.wait()
            return time.perf_counter() - started

        steps(0, warm_up)
        training = steps(warm_up, measured) / measured * trial.plan.per_epoch
        started = time.perf_counter()
        trial.evaluator.run(trial.state.eval_model)
        return training + time.perf_counter() - started

    def wait(self) -> None:
        if self.precision.device.type == "cuda":
            torch.cuda.synchronize(self.precision.device)

    def train(self, *, until: float, together: Together, epochs: int | None = None) -> Trained:
        """Train for `epochs`, else for as many as end before `until` (time.monotonic).

        SIGTERM ends it with the best epoch so far.
        """
        started = time.perf_counter()
        planned = epochs
        if planned is None:
            together.wait()
            each = self.epoch_s()
            planned = min(MOST_EPOCHS, max(1, int(SPARED * (until - time.monotonic()) / each)))
        fit = self.fit(self.net, epochs=planned)
        stopped = ""
        try:
            fit.run(lambda row, _: _say(self.recipe.architecture, row))
        except StoppedError as error:
            stopped = str(error)
            if fit.state.best:
                self.net.load_state_dict(fit.state.best)
        history = fit.progress.history
        fit.checkpoint.remove()
        figures = {
            "recipe": {**vars(self.recipe)},
            "precision": self.precision.name,
            "epochs": planned,
            "best_epoch": fit.progress.best_epoch,
            "stopped": stopped,
            "images_per_s": float(np.median([row.images_per_s for row in history])) if history else None,
            "seconds": time.perf_counter() - started,
            "history": [row.as_json() for row in history],
        }
        return Trained(self.net.eval(), self.start, self.mean, self.std, figures)


def plain_logits(net: ExpressionNet, faces: Faces, device: torch.device) -> NDArray[np.float32]:
    """Return FP32 logits `(N, K)`, whatever the training ran in."""
    return predict(net, faces.images, precision=precision.Precision(device, None), batch_size=512)


def _say(name: str, row: Any) -> None:
    line = f"{name}: epoch {row.epoch}, loss {row.train_loss:.3f}, val {row.val_accuracy:.3f}, {row.val_macro_f1:.3f}"
    print(f"{line}, {row.images_per_s:,.0f} images/s", file=sys.stderr, flush=True)
