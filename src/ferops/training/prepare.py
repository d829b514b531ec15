"""Everything that a training starts from: faces, network, device, and the identity that they make together."""

from __future__ import annotations

import difflib
import sys
import time
from dataclasses import dataclass

from ferops.config import Params, Train
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.model_config import ModelConfig
from ferops.provenance import provenance
from ferops.records import Provenance
from ferops.training import data, model, precision
from ferops.training.checkpoint import Checkpoint
from ferops.training.distributed import World, from_environment, select_gpu
from ferops.training.faces import Faces, content_hash
from ferops.training.fit import Fit
from ferops.training.identity import Identity, settings_of, weights_hash
from ferops.training.losses import heavy_few
from ferops.training.pretrained import Pretrained
from ferops.training.start import fit_to_faces, network
from ferops.training.step import plan_steps
from ferops.training.teacher import Lesson, read_lesson

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Training:
    """A training of `models.<name>` that is ready to start; `faces` by split, `started` by time.perf_counter."""

    layout: Layout
    params: Params
    name: str
    faces: dict[str, Faces]
    config: ModelConfig
    identity: Identity
    fit: Fit
    started: float

    @property
    def world(self) -> World:
        return self.fit.world


def prepare(layout: Layout, params: Params, name: str, *, say: bool = True) -> Training:
    """Read the faces and make the network of the entry `name` of the block `models`.

    Args:
        say: tell on standard error what of a file of weights is taken, of few faces that count for many, and of a
            teacher that knows too much.

    Raises:
        FeropsError: unknown name, a network or weights that do not exist or fit (before any face is read), missing,
            empty or too few faces, or hardware that cannot do what the settings ask for.
    """
    if name not in params.models:
        near = difflib.get_close_matches(name, params.models, n=1)
        hint = f", did you mean {near[0]}?" if near else "."
        raise FeropsError(f"params.yaml has no model {name!r}{hint} Known: {', '.join(params.models)}")
    started = time.perf_counter()
    world, train, classes = from_environment(), training_settings(params, name), params.data.classes
    net, start = network(
        params.models[name],
        classes=classes,
        size_px=params.preprocess.size_px,
        small_px=train.small_px,
        seed=params.seed,
    )
    say = say and world.main
    if start and start.said and say:
        print(start.said, file=sys.stderr)
    lesson = read_lesson(layout, params, name)
    faces = {split: data.read_faces(layout, split) for split in SPLITS}
    if say and (remark := heavy_few(train, faces["train"].labels, classes)):
        print(remark, file=sys.stderr)
    targets = data.read_targets(layout, "train", faces["train"], classes, votes=train.votes)
    weights, offsets = data.read_sampling(layout, "train", faces["train"], targets, train.sampling)
    begun_with = weights_hash(net) if start else None  # before any statistics of the faces, whose last digits differ
    mean, std = fit_to_faces(net, faces["train"], start, train=train, seed=params.seed)
    chosen = precision.choose(train)
    select_gpu(world, chosen.device)
    if lesson:
        lesson.teacher.net.to(chosen.device)
    plan = plan_steps(net.to(chosen.device), train, faces=len(targets), precision=chosen, world=world)
    arrays = (array for split in faces.values() for array in (split.images, split.labels))
    identity = Identity(
        **settings_of(params, name),
        faces=content_hash(targets, *arrays, *(each for each in (weights, offsets) if each is not None)),
        pretrained=begun_with,
        teacher=lesson and lesson.digest,
        micro_batches=plan.micro_batches,
        processes=world.size,
        device=chosen.device.type,
        number_format=chosen.name,
    )
    fit = Fit(
        net,
        plan,
        train=train,
        epochs=params.models[name].epochs,
        seed=params.seed,
        faces=faces["train"],
        targets=targets,
        offsets=offsets,
        weights=weights,
        validation=faces["val"],
        precision=chosen,
        checkpoint=Checkpoint(layout.state / "checkpoints" / name, identity.digest),
        world=world,
        teacher=lesson.teacher if lesson else None,
    )
    made_from = provenance(layout, params)
    if lesson and say and lesson.config.provenance.split_hash != made_from.split_hash:
        print("the teacher was trained on another split: it may know validation and test faces", file=sys.stderr)
    config = ModelConfig(
        architecture=params.models[name].architecture,
        classes=classes,
        size_px=net.size_px,
        mean=mean,
        std=std,
        grayscale=net.grayscale,
        pretrained=start and {"source": start.source, "sha256": start.sha256, "licence": start.licence},
        teacher=lesson and lesson.origin,
        parameters=model.count_parameters(net),
        provenance=made_from,
        licence=_licence(made_from, start, lesson),
    )
    return Training(layout, params, name, faces, config, identity, fit, started)


def training_settings(params: Params, name: str) -> Train:
    """Return the block `train` as it applies to the model: random features are not worth freezing or sparing."""
    if params.models[name].pretrained:
        return params.train
    return params.train.model_copy(update={"freeze_epochs": 0, "freeze_layers": 0, "layer_decay": 1.0})


def _licence(made_from: Provenance, start: Pretrained | None, lesson: Lesson | None) -> str:
    """Weights carry the terms of the images they were learnt from; rendered images are the project's own."""
    own = "Apache-2.0" if made_from.synthetic else "the terms of the training data: " + ", ".join(made_from.sources)
    started = f"; pretrained weights: {start.licence}" if start else ""
    taught = f"; teacher: {lesson.config.licence}" if lesson and lesson.config.licence != own else ""
    return own + started + taught
