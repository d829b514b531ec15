"""The parts of the recipe that are more than a setting of torch or timm: freezing, averaging, stopping, reproducing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ferops.training import data, model
from ferops.training.checkpoint import Checkpoint
from ferops.training.fit import Fit
from ferops.training.precision import Precision
from ferops.training.stage import _settings

STILL = dict.fromkeys(
    ("flip_probability", "rotation_degrees", "crop_share", "brightness", "contrast", "saturation", "erase_probability"),
    0.0,
)


@pytest.fixture
def make_fit(layout, make_params):
    """Fit a tiny ResNet (BatchNorm, 0.5 million weights) to the blobs; `network` are arguments of `model.build`."""

    def make(*, architecture="test_resnet", network=None, run="a", **settings):
        # The settings' checks across blocks (freezing random weights) are tested with the settings
        train = make_params().train.model_copy(
            update={k: v for k, v in settings.items() if k not in ("epochs", "seed")}
        )
        return Fit(
            model.build(architecture, size_px=32, seed=1, **(network or {})),
            train=train,
            epochs=settings.get("epochs", 2),
            seed=settings.get("seed", 7),
            faces=data.read(layout, "train"),
            validation=data.read(layout, "val"),
            precision=Precision(torch.device("cpu"), None),
            checkpoint=Checkpoint(layout.state / "checkpoints" / "baseline", run),
        )

    return make


def snapshot(net):
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def changed(before, after):
    return {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_only_the_head_learns_while_the_rest_is_frozen(make_fit, optimizer):
    """Not the weights, not the norms' running statistics, and no weight decay either; then everything learns."""
    fit = make_fit(freeze_epochs=1, epochs=2, optimizer=optimizer, max_lr=0.05)
    start, seen = snapshot(fit.net), []
    fit.run(lambda *_: seen.append(snapshot(fit.net)))
    assert changed(start, seen[0]) == {"backbone.fc.weight", "backbone.fc.bias"}
    # The last norm of each residual branch starts at zero, so what SGD changes in the norms before it can round to none
    assert set(start) - changed(seen[0], seen[1]) <= {name for name in start if name.endswith("bn1.weight")}


def test_freezing_survives_an_interruption(make_fit):
    """Stopped between the frozen epoch and the next, the run goes on to the same bits."""
    whole = make_fit(freeze_epochs=1, epochs=3)
    whole.run()
    whole.checkpoint.remove()

    class StopError(Exception):
        pass

    def stop(epoch, *_):
        if epoch == 1:
            raise StopError

    with pytest.raises(StopError):
        make_fit(freeze_epochs=1, epochs=3).run(stop)
    again = make_fit(freeze_epochs=1, epochs=3)
    again.run()
    assert not changed(snapshot(whole.net), snapshot(again.net))


def test_the_average_is_that_of_a_loop_by_hand(make_fit):
    """Decay warms up as 1 - (1 + t)^(-2/3), t from 0, to `ema_decay`; norms' statistics are averaged too."""
    fit = make_fit(ema_decay=0.6, epochs=1)
    names = [name for name, tensor in fit.net.state_dict().items() if tensor.is_floating_point()]
    mean = {name: tensor.double() for name, tensor in snapshot(fit.net).items() if name in names}
    taken, decays = fit._step, []

    def step(chosen, number):
        loss = taken(chosen, number)
        decay = min(0.6, 1.0 - (1.0 + number) ** (-2.0 / 3.0))
        decays.append(decay)
        for name, tensor in fit.net.state_dict().items():
            if name in names:
                mean[name] = decay * mean[name] + (1.0 - decay) * tensor.double()
        return loss

    fit._step = step
    fit.run()
    assert decays[0] == 0.0  # the random start is forgotten at once
    assert decays[-1] == 0.6
    average = fit.judged.state_dict()
    for name in names:
        torch.testing.assert_close(average[name].double(), mean[name], rtol=1e-4, atol=1e-5)
    assert fit.judged is not fit.net
    assert not changed(fit.best, snapshot(fit.net))  # what is kept is the average


def test_without_decay_the_network_itself_is_judged(make_fit):
    fit = make_fit(ema_decay=0.0)
    assert fit.average is None
    assert fit.judged is fit.net


@pytest.mark.parametrize(
    ("f1s", "patience", "epochs"),
    [
        ([0.1, 0.5, 0.4, 0.3, 0.9, 0.9], 2, 4),  # best in the second, two more
        ([0.1, 0.5, 0.4, 0.6, 0.5, 0.5], 2, 6),
        ([0.5, 0.5, 0.5, 0.5, 0.5, 0.5], 3, 4),  # a tie is not better
        ([0.5, 0.4, 0.3, 0.2, 0.1, 0.0], 0, 6),
    ],
)
def test_stops_after_so_many_epochs_without_a_better_one(make_fit, f1s, patience, epochs):
    fit = make_fit(early_stopping=patience, epochs=6, checkpoint_every=100)
    fit._step = lambda *_: (fit.optimizer.step(), torch.zeros((), dtype=torch.float64))[1]
    fit._score = lambda _: {"val_loss": 1.0, "val_accuracy": 0.0, "val_macro_f1": f1s[fit.progress.epoch]}
    fit.run()
    assert [row["val_macro_f1"] for row in fit.progress.history] == f1s[:epochs]
    assert fit.progress.best_epoch == int(np.argmax(f1s[:epochs])) + 1


def test_equal_scores_go_to_the_lower_loss(make_fit):
    losses = [0.9, 0.7, 0.8]
    fit = make_fit(epochs=3)
    fit._step = lambda *_: (fit.optimizer.step(), torch.zeros((), dtype=torch.float64))[1]
    fit._score = lambda _: {"val_loss": losses[fit.progress.epoch], "val_accuracy": 0.0, "val_macro_f1": 0.5}
    fit.run()
    assert fit.progress.best_epoch == 2


NOISY = {"network": {"drop_rate": 0.5, "drop_path_rate": 0.3}, "architecture": "test_efficientnet", "epochs": 1}


def test_dropout_and_everything_else_follow_the_seed(make_fit):
    """Two runs agree bit for bit whatever torch's generator was before; another seed gives another network."""
    settings = NOISY | {"cutmix_alpha": 1.0, "mixup_alpha": 0.2, "erase_probability": 0.5}
    found = []
    for seed, noise in ((7, 0), (7, 1), (8, 0)):
        fit = make_fit(seed=seed, **settings)
        torch.manual_seed(noise)
        fit.run()
        fit.checkpoint.remove()
        found.append((snapshot(fit.net), fit.progress.history[0]["train_loss"]))
    assert not changed(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
    assert found[0][1] != found[2][1]


def test_dropout_draws_anew_in_each_step(make_fit):
    """With the optimiser standing still and the same faces, the loss differs from step to step by the draws alone."""
    fit = make_fit(**NOISY | STILL, class_weights="none")
    fit.optimizer.step = fit.scheduler.step = lambda *_, **__: None
    fit.net.train()
    rows = np.arange(16)
    losses = [float(fit._step(rows, number)) for number in (0, 1, 0)]
    assert losses[0] != pytest.approx(losses[1], rel=1e-4)
    assert losses[0] == pytest.approx(losses[2], rel=1e-2)  # the same place draws the same; the norms moved a little


def test_votes_are_what_the_loss_sees(make_fit, layout):
    """Everyone votes happy: with soft labels the network learns that, and not the labels."""
    from blobs import blobs, write_faces

    votes = np.tile([0, 0, 0, 8, 0, 0], (96, 1))
    write_faces(
        layout, {"train": blobs(16, seed=1), "val": blobs(5, seed=2), "test": blobs(5, seed=3)}, votes={"train": votes}
    )
    for soft, share in ((True, 1.0), (False, 1 / 6)):
        fit = make_fit(soft_labels=soft, class_weights="none", epochs=1, run=str(soft))
        targets = fit._batch(np.arange(96), np.random.default_rng(0))[1]
        assert targets.mean(dim=0)[3] == pytest.approx(share)


@pytest.mark.parametrize("kind", ["inverse", "effective", "none"])
def test_class_weights_are_those_of_the_training_labels(make_fit, layout, kind):
    from blobs import blobs, write_faces

    images, labels = blobs(16, seed=1)
    kept = np.concatenate(
        [np.flatnonzero(labels == k)[: 16 if k else 4] for k in range(6)]
    )  # 4 of class 0, 16 of others
    write_faces(layout, {"train": (images[kept], labels[kept]), "val": blobs(1, seed=2)})
    weights = make_fit(class_weights=kind, effective_beta=0.9).weights
    if kind == "none":
        assert weights is None
        return
    count = {"inverse": lambda n: n, "effective": lambda n: sum(0.9**i for i in range(n))}[kind]
    assert float(weights[0] / weights[1]) == pytest.approx(count(16) / count(4), rel=1e-5)
    assert float(weights @ torch.tensor([4.0, 16, 16, 16, 16, 16])) == pytest.approx(84.0, rel=1e-5)


def test_auto_takes_a_step_of_batch_size_in_parts(make_fit):
    """The step holds batch_size faces whatever the budget; a small budget takes it in parts."""
    large = make_fit(accumulate="auto", batch_size=16, memory_gb=4.0)
    small = make_fit(accumulate="auto", batch_size=16, memory_gb=0.013)
    assert (large.parts, large.images_per_step) == (1, 16)
    assert small.images_per_step == 16
    assert small.parts in (2, 4, 8, 16)
    assert large.steps == small.steps == 6
    small.run()
    assert small.progress.history[-1]["train_loss"] > 0


def test_freezing_and_sparing_are_for_pretrained_weights(make_params):
    """The baseline beside a pretrained candidate starts from random features: all of it learns, at one rate."""
    params = make_params(freeze_epochs=0, layer_decay=0.7)
    train = params.train.model_copy(update={"freeze_epochs": 1})
    models = {"baseline": params.models["baseline"], "candidate": params.models["candidate"]}
    models["candidate"] = models["candidate"].model_copy(update={"pretrained": "package"})
    params = params.model_copy(update={"train": train, "models": models})
    assert _settings(params, "candidate") is train
    baseline = _settings(params, "baseline")
    assert (baseline.freeze_epochs, baseline.layer_decay) == (0, 1.0)
    assert baseline == train.model_copy(update={"freeze_epochs": 0, "layer_decay": 1.0})
