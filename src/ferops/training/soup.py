"""`ferops soup`: trained models -> one model whose weights are the mean of theirs."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.files import sha256
from ferops.layout import Layout
from ferops.model_config import Ingredient, ModelConfig
from ferops.provenance import provenance
from ferops.records import Provenance
from ferops.records.train import TrainSummary
from ferops.training import data, members, norms, untrained
from ferops.training.evaluator import predict
from ferops.training.faces import Faces
from ferops.training.model import ExpressionNet
from ferops.training.precision import Precision

NORM_FACES = 2048


def soup(layout: Layout, params: Params, name: str, ingredients: Sequence[str]) -> TrainSummary:
    """Write artifacts/train/`name` and reports/train/`name` from artifacts/train of each of the `ingredients`.

    "Model soups": Wortsman et al. 2022. The statistics of the batch norms: `_settle_norms`.

    Raises:
        FeropsError: a name that cannot be used; ingredients that are missing, damaged, or do not fit each other or the
            faces of the project; or a mean that is clearly worse than each of them on the validation split.
    """
    started = time.perf_counter()
    members.require_names(params, name, ingredients, kind="soup")
    made_from = provenance(layout, params)
    faces = {split: data.read_faces(layout, split) for split in ("train", "val", "test")}
    loaded = [
        members.read_member(layout, one, params, made_from=made_from, size_px=faces["val"].size_px, cut=True)
        for one in ingredients
    ]
    configs = [config for _, config in loaded]
    for one in (config.adjusted for config in configs if config.adjusted):
        raise FeropsError(f"logits of {one.name} were adjusted: take {one.name} itself, and adjust the soup")
    _require_one_network(ingredients, configs)
    classes, train, plain = params.data.classes, params.train, Precision(torch.device("cpu"), None)
    labels = faces["val"].labels
    right = {
        one: _right(labels, predict(net, faces["val"].images, precision=plain))
        for one, (net, _) in zip(ingredients, loaded, strict=True)
    }
    net = _mean([net for net, _ in loaded])
    targets = data.read_targets(layout, "train", faces["train"], classes, votes=train.votes)
    weights, _ = data.read_sampling(layout, "train", faces["train"], targets, train.sampling)
    logits = {"val": _settle_norms(net, faces, weights, seed=params.seed, precision=plain)}
    logits["test"] = predict(net, faces["test"].images, precision=plain)
    fewest, of_mean = min(right.values()), _right(labels, logits["val"])
    if of_mean < fewest - 2.0 * math.sqrt(fewest):  # a handful of faces more or less is chance
        each = members.listed(f"{one} {count:,}" for one, count in right.items())
        raise FeropsError(
            f"the mean of the weights is right on {of_mean:,} of {len(labels):,} validation faces, far fewer than "
            f"each: {each}. Weights can be averaged only where the trainings began with the same pretrained weights "
            "and stayed near each other. To average the answers instead: ferops ensemble "
            f"{name} {' '.join(ingredients)}"
        )
    return untrained.write(
        layout,
        name,
        net,
        _config(layout, ingredients, configs, made_from),
        faces=faces,
        logits=logits,
        made_from=made_from,
        started=started,
        about=f"mean weights of {len(ingredients)} models",
    )


def _require_one_network(names: Sequence[str], configs: Sequence[ModelConfig]) -> None:
    first = configs[0]
    for name, config in zip(names, configs, strict=True):
        for what in ("architecture", "mean", "std", "grayscale"):
            found, wanted = getattr(config, what), getattr(first, what)
            if found != wanted:
                raise FeropsError(
                    f"{name} and {names[0]} differ in {what}: {found} and {wanted}. A soup takes one network, trained "
                    "several times from the same weights; `ferops ensemble` takes different ones"
                )


def _right(labels: NDArray[np.int64], logits: NDArray[np.float32]) -> int:
    return int((logits.argmax(axis=1) == labels).sum())


def _mean(nets: Sequence[ExpressionNet]) -> ExpressionNet:
    """Return the first network with the mean of all weights, in evaluation mode. Counters stay those of the first."""
    states = [net.state_dict() for net in nets]

    def over_all(key: str, first: Tensor) -> Tensor:
        if not first.is_floating_point():
            return first
        return torch.stack([state[key].double() for state in states]).mean(dim=0).to(first.dtype)

    nets[0].load_state_dict({key: over_all(key, value) for key, value in states[0].items()})
    return nets[0].eval()


def _settle_norms(
    net: ExpressionNet,
    faces: Mapping[str, Faces],
    weights: NDArray[np.float64] | None,
    *,
    seed: int,
    precision: Precision,
) -> NDArray[np.float32]:
    """Give the batch norms the mean of the ingredients' statistics or new ones, whichever suits the validation split,
    and return its logits `(N, K)`.

    The statistics of mean weights are not the mean of the statistics (Izmailov et al. 2018, "Averaging weights leads to
    wider optima and better generalization"), so they are measured on NORM_FACES training faces, drawn as in training.
    But where nearly all of these are of one class, the norms take away what tells it from the others.
    """
    means = {key: value.clone() for key, value in net.state_dict().items()}
    before = predict(net, faces["val"].images, precision=precision)
    norms.measure_again(net, faces["train"].images, weights, count=NORM_FACES, seed=seed, device=torch.device("cpu"))
    after = predict(net, faces["val"].images, precision=precision)
    labels = torch.from_numpy(faces["val"].labels)
    if cross_entropy(torch.from_numpy(before), labels) < cross_entropy(torch.from_numpy(after), labels):
        net.load_state_dict(means)
        return before
    return after


def _config(layout: Layout, names: Sequence[str], configs: Sequence[ModelConfig], made_from: Provenance) -> ModelConfig:
    """Return the config of the first, with the starts and teachers of all in `ingredients`; a soup's are its own."""
    ingredients = [
        one
        for name, config in zip(names, configs, strict=True)
        for one in config.ingredients or (_ingredient(layout, name, config),)
    ]
    first = configs[0]
    return ModelConfig(
        architecture=first.architecture,
        ingredients=tuple({one.sha256: one for one in ingredients}.values()),
        classes=first.classes,
        size_px=first.size_px,
        mean=first.mean,
        std=first.std,
        grayscale=first.grayscale,
        parameters=first.parameters,
        provenance=made_from,
        licence=members.joined_terms(configs),
    )


def _ingredient(layout: Layout, name: str, config: ModelConfig) -> Ingredient:
    digest = sha256(layout.model(name) / "weights.safetensors")
    return Ingredient(name=name, sha256=digest, pretrained=config.pretrained, teacher=config.teacher)
