"""The parts of the recipe that are more than a setting of torch or timm: freezing, averaging, stopping, reproducing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from fits import STILL, changed, hurried, weights

from blobs import blobs, write_faces
from ferops.config import Sampling
from ferops.errors import FeropsError
from ferops.training.evaluator import Validation, predict
from ferops.training.faces import logit_offsets
from ferops.training.prepare import prepare, training_settings
from ferops.training.step import draw


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_only_the_head_learns_while_the_rest_is_frozen(make_fit, optimizer):
    """Not the weights, not the norms' running statistics, and no weight decay either; then everything learns."""
    fit = make_fit(freeze_epochs=1, optimizer=optimizer, max_lr=0.05)
    start, seen = weights(fit.state.net), []
    fit.run(lambda *_: seen.append(weights(fit.state.net)))
    assert changed(start, seen[0]) == {"backbone.fc.weight", "backbone.fc.bias"}
    # The last norm of each residual branch starts at zero, so what SGD changes in the norms before it can round to none
    assert set(start) - changed(seen[0], seen[1]) <= {name for name in start if name.endswith("bn1.weight")}


def test_freezing_survives_an_interruption(make_fit):
    """Stopped between the frozen epoch and the next, the training goes on to the same bits."""
    whole = hurried(make_fit(freeze_epochs=1, epochs=2))
    whole.run()
    whole.checkpoint.remove()

    class StopError(Exception):
        pass

    def stop(row, _):
        if row.epoch == 1:
            raise StopError

    with pytest.raises(StopError):
        hurried(make_fit(freeze_epochs=1, epochs=2)).run(stop)
    again = hurried(make_fit(freeze_epochs=1, epochs=2))
    again.run()
    assert not changed(weights(whole.state.net), weights(again.state.net))


def test_frozen_layers_keep_their_weights_and_statistics(make_fit):
    fit = hurried(make_fit(freeze_layers=2, max_lr=0.05))  # the stem and the first block
    start = weights(fit.state.net)
    fit.run()
    frozen = {name for name in start if name not in changed(start, weights(fit.state.net))}
    stem = ("backbone.conv1.", "backbone.bn1.", "backbone.layer1.")
    assert frozen == {name for name in start if name.startswith(stem)}


def test_some_layer_must_learn(make_fit):
    with pytest.raises(FeropsError, match=r"freeze_layers 99 leaves no layer to train: the network has \d+ before"):
        make_fit(freeze_layers=99)


def test_small_faces_come_first(make_fit):
    """Two of three epochs see 16 px, validation and the last epoch all of them."""
    fit = hurried(make_fit(epochs=3, small_px=16, small_share=0.6))
    seen, classify = [], fit.stepper.classify
    fit.stepper.classify = lambda pixels: (seen.append(pixels.shape[-1]), classify(pixels))[1]
    fit.run()
    steps = fit.plan.per_epoch
    assert seen == [16] * (2 * steps) + [fit.state.net.size_px] * steps


def test_small_faces_show_the_same(make_fit):
    fit = make_fit(small_px=16)
    still = fit.train.model_copy(update=STILL)
    fit.stepper.train = still
    rows = np.arange(4)
    small, _ = fit.stepper.batch(rows, np.random.default_rng(0), side=16)
    full, _ = fit.stepper.batch(rows, np.random.default_rng(0))
    averaged = torch.nn.functional.avg_pool2d(full, full.shape[-1] // 16)
    for one, other in zip(small, averaged, strict=True):  # a triangle weighs the pixels, not a box
        assert np.corrcoef(one.flatten(), other.flatten())[0, 1] > 0.9


def test_the_average_is_that_of_a_loop_by_hand(make_fit):
    """Decay warms up as 1 - (1 + t)^(-2/3), t from 0, to `ema_decay`; norms' statistics are averaged too."""
    fit = hurried(make_fit(ema_decay=0.6, epochs=1))
    state = fit.state
    names = [name for name, tensor in state.net.state_dict().items() if tensor.is_floating_point()]
    mean = {name: state.net.state_dict()[name].double() for name in names}
    decays = []
    apply = state.apply_gradients

    def applying(*, global_step, clip_norm):
        apply(global_step=global_step, clip_norm=clip_norm)
        decays.append(min(0.6, 1.0 - float(global_step) ** (-2.0 / 3.0)))
        for name in names:
            mean[name] = decays[-1] * mean[name] + (1.0 - decays[-1]) * state.net.state_dict()[name].double()

    state.apply_gradients = applying
    fit.run()
    assert decays[0] == 0.0  # the random start is forgotten at once
    assert decays[-1] == 0.6
    average = state.eval_model.state_dict()
    for name in names:
        torch.testing.assert_close(average[name].double(), mean[name], rtol=1e-4, atol=1e-5)
    assert state.eval_model is not state.net
    assert not changed(state.best, weights(state.net))  # what is kept is the average


def test_without_decay_the_network_itself_is_validated(make_fit):
    state = make_fit(ema_decay=0.0).state
    assert state.ema is None
    assert state.eval_model is state.net


@dataclass
class GivenScores:
    """An evaluator whose figures are (macro-F1, loss) of one epoch after the other."""

    scores: list[tuple[float, float]]

    def run(self, _net):
        macro_f1, loss = self.scores.pop(0)
        return Validation(loss, 0.5, macro_f1, np.zeros((6, 6), np.int64))


@pytest.mark.parametrize(
    ("scores", "patience", "epochs", "best"),
    [
        ([(0.1, 1.0), (0.5, 1.0), (0.4, 1.0), (0.3, 1.0), (0.9, 1.0)], 2, 4, 2),  # best in the second, two more
        ([(0.1, 1.0), (0.5, 1.0), (0.4, 1.0), (0.6, 1.0), (0.5, 1.0)], 2, 5, 4),
        ([(0.5, 1.0), (0.5, 1.0), (0.5, 1.0), (0.5, 1.0), (0.5, 1.0)], 3, 4, 1),  # a tie is not better
        ([(0.5, 0.9), (0.5, 0.7), (0.5, 0.8), (0.2, 0.1), (0.1, 0.1)], 0, 5, 2),  # of a tie, the lower loss
    ],
)
def test_the_best_epoch_is_kept_and_patience_ends(make_fit, scores, patience, epochs, best):
    fit = hurried(make_fit(early_stopping=patience, epochs=5, checkpoint_every=100))
    fit.evaluator = GivenScores(list(scores))
    seen = []
    fit.run(lambda *_: seen.append(weights(fit.state.eval_model)))
    assert [(row.val_macro_f1, row.val_loss) for row in fit.progress.history] == scores[:epochs]
    assert fit.progress.best_epoch == best
    assert not changed(seen[best - 1], weights(fit.state.net))


NOISY = {"network": {"drop_rate": 0.5, "drop_path_rate": 0.3}, "architecture": "test_efficientnet", "epochs": 1}


def test_dropout_and_everything_else_follow_the_seed(make_fit):
    """Two trainings agree bit for bit whatever torch's generator was before; another seed gives another network."""
    settings = NOISY | {"cutmix_alpha": 1.0, "mixup_alpha": 0.2, "erase_probability": 0.5}
    found = []
    for seed, noise in ((7, 0), (7, 1), (8, 0)):
        fit = make_fit(seed=seed, **settings)
        torch.manual_seed(noise)
        fit.run()
        fit.checkpoint.remove()
        found.append((weights(fit.state.net), fit.progress.history[0].train_loss))
    assert not changed(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
    assert found[0][1] != found[2][1]


def test_dropout_draws_anew_in_each_step(make_fit):
    """With a learning rate of 0 and the same faces, the loss differs from step to step by the draws alone."""
    fit = make_fit(**NOISY | STILL, class_weights="none", max_lr=1e-30)
    fit.stepper.set_trainable(head_only=False)
    losses = [float(fit.stepper.run(np.arange(16), epoch=0, step=step)) for step in (0, 1, 0)]
    assert losses[0] != pytest.approx(losses[1], rel=1e-4)
    assert losses[0] == pytest.approx(losses[2], rel=1e-2)  # the same place draws the same; the norms moved a little


def test_votes_are_what_the_loss_sees(make_fit, layout):
    """Everyone votes happy: with soft labels the network learns that, and not the labels."""
    votes = np.tile([0, 0, 0, 8, 0, 0], (96, 1))
    splits = {"train": blobs(16, seed=1), "val": blobs(5, seed=2), "test": blobs(5, seed=3)}
    write_faces(layout, splits, votes={"train": votes})
    for votes, share in ((1.0, 1.0), (0.0, 1 / 6)):
        fit = make_fit(votes=votes, class_weights="none", epochs=1)
        targets = fit.stepper.batch(np.arange(96), np.random.default_rng(0))[1]
        assert targets.mean(dim=0)[3] == pytest.approx(share)


def test_auto_takes_a_step_of_batch_size_in_micro_batches(make_fit):
    """The step holds batch_size faces whatever the budget; a small budget takes it in several micro-batches."""
    large = make_fit(accumulate="auto", batch_size=16, memory_gb=4.0)
    small = make_fit(accumulate="auto", batch_size=16, memory_gb=0.013, epochs=1)
    assert (large.plan.micro_batches, large.plan.images) == (1, 16)
    assert small.plan.images == 16
    assert small.plan.micro_batches in (2, 4, 8, 16)
    assert large.plan.per_epoch == small.plan.per_epoch == 6
    small.run()
    assert small.progress.history[-1].train_loss > 0


def test_freezing_and_sparing_are_for_pretrained_weights(make_params):
    """The baseline beside a pretrained candidate starts from random features: all of it learns, at one rate."""
    params = make_params(freeze_epochs=0, layer_decay=0.7)
    train = params.train.model_copy(update={"freeze_epochs": 1})
    models = {"baseline": params.models["baseline"], "candidate": params.models["candidate"]}
    models["candidate"] = models["candidate"].model_copy(update={"pretrained": "imagenet"})
    params = params.model_copy(update={"train": train, "models": models})
    assert training_settings(params, "candidate") is train
    assert training_settings(params, "baseline") == train.model_copy(update={"freeze_epochs": 0, "layer_decay": 1.0})


def test_each_face_is_drawn_its_expected_number_of_times():
    weights = np.repeat([0.25, 1.0, 3.5], [40, 20, 10])
    counts = np.zeros((200, 70))
    for seed in range(200):
        rng = np.random.default_rng(seed)
        rows = rng.permutation(70)
        drawn = draw(rows, weights[rows], rng)
        assert len(drawn) == 70
        counts[seed] = np.bincount(drawn, minlength=70)
    expected = 70 * weights / weights.sum()
    assert np.all((counts >= np.floor(expected)) & (counts <= np.ceil(expected)))
    for group in (slice(0, 40), slice(40, 60), slice(60, 70)):
        np.testing.assert_allclose(counts[:, group].mean(), expected[group].mean(), rtol=0.02)


def test_equal_weights_draw_every_face_once():
    rng = np.random.default_rng(0)
    assert sorted(draw(rng.permutation(1000), np.full(1000, 0.3), rng)) == list(range(1000))


def test_logits_are_adjusted_by_the_shares_of_the_drawn_classes_of_a_source():
    """The source `b` has three faces of class 0, one of class 1 that is drawn twice as often, and none of class 2."""
    targets = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 0, 0, 1]]
    sources, weights = np.array(list("aaabbbb")), np.array([1.0, 1, 1, 1, 1, 1, 2])
    assert logit_offsets(targets, sources, weights, {"b": Sampling(weight=1.0, balance=0.0)}) is None
    offsets = logit_offsets(targets, sources, weights, {"b": Sampling(weight=1.0, balance=0.0, adjust=0.5)})
    assert offsets is not None
    assert not offsets[:3].any()
    np.testing.assert_allclose(offsets[3:], np.tile(0.5 * np.log([3 / 5, 2 / 5, 0.5 / 4]), (4, 1)), rtol=1e-6)


def test_adjusted_logits_teach_what_equal_shares_would_say(make_fit):
    """Nine of ten labels, at random, are class 0: the network expects it, unless its logits are adjusted for that."""
    hard = np.eye(6, dtype=np.float32)[np.where(np.arange(96) % 10 == 0, 1, 0)]
    offsets = np.tile(np.log([0.9, 0.1, 0.01, 0.01, 0.01, 0.01]).astype(np.float32), (96, 1))
    leads = []
    for each in (None, offsets):
        fit = make_fit(epochs=8, targets=hard, offsets=each, class_weights="none", focal_gamma=0.0, mixup_alpha=0.2)
        fit.stepper.set_trainable(head_only=False)
        for epoch in range(8):
            for step, rows in enumerate(np.split(fit.stepper.order(epoch), fit.plan.per_epoch)):
                fit.stepper.run(rows, epoch=epoch, step=step)
        logits = predict(fit.state.net, blobs(5, seed=2)[0], precision=fit.precision)
        leads.append(float((logits[:, 0] - logits[:, 1]).mean()))
    assert leads[0] - leads[1] > 1.0
    assert abs(leads[1]) < abs(leads[0]) / 2


def test_an_epoch_draws_by_the_weights_and_is_the_same_when_it_comes_again(make_fit):
    stepper = make_fit().stepper
    plain = stepper.order(3)
    assert sorted(plain) == list(range(96))
    stepper.weights = np.where(np.arange(96) < 48, 3.0, 1.0)
    order = stepper.order(3)
    assert len(order) == 96
    assert 68 <= (order < 48).sum() <= 76  # three quarters
    np.testing.assert_array_equal(order, stepper.order(3))
    assert not np.array_equal(order, stepper.order(4))


def test_a_network_that_shall_see_no_colour_takes_it_out(layout, make_params):
    """Coloured faces, made grey in training: the network answers the same for a face and for its grey copy."""
    fit = prepare(layout, make_params(grey_probability=1.0, **STILL), "baseline").fit
    net = fit.state.net.eval()
    assert net.grayscale
    faces = torch.from_numpy(np.array(fit.stepper.faces.images[:4]))
    pixels, _ = fit.stepper.batch(np.arange(4), np.random.default_rng(0))
    grey = (net.pixels(faces) * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(dim=1)
    for channel in range(3):
        torch.testing.assert_close(pixels[:, channel], grey, rtol=0.0, atol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(net.classify(pixels), net(faces), rtol=1e-4, atol=1e-4)
