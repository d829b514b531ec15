from __future__ import annotations

import os
import resource
import signal

import numpy as np
import pytest
import torch
from torch import nn

from ferops.errors import FeropsError
from ferops.training import data, model, precision
from ferops.training.checkpoint import Checkpoint
from ferops.training.fit import Fit, scores
from ferops.training.precision import Precision


def small_net():
    """The parts of a ResNet that the fit cares about, without its 180 MB of checkpoint: 3x3 convolutions and norms."""
    torch.manual_seed(1)
    layers = [nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1)]
    layers += [nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 6)]
    net = model.ExpressionNet(nn.Sequential(*layers), size_px=32, mean=model.HALF, std=model.HALF)
    return net.to(memory_format=torch.channels_last)


@pytest.fixture
def make_fit(layout, make_params):
    def make(run="a", **settings):
        params = make_params(**settings)
        faces = data.read(layout, "train")
        return Fit(
            small_net(),
            train=params.train,
            epochs=params.models["baseline"].epochs,
            seed=params.seed,
            faces=faces,
            validation=data.read(layout, "val"),
            precision=Precision(torch.device("cpu"), None),
            checkpoint=Checkpoint(layout.state / "checkpoints" / "baseline", run),
        )

    return make


def weights(fit):
    return {name: tensor.clone() for name, tensor in fit.net.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


class KilledError(Exception):
    """Stands for SIGKILL: nothing in the library knows it."""


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_resumes_to_the_same_bits(make_fit, capsys, optimizer):
    """Everything random is on, with accumulation; the second of three epochs is cut off in its middle."""
    settings = {"epochs": 3, "optimizer": optimizer, "accumulate": 2, "mixup_alpha": 0.2, "batch_size": 16}
    whole = make_fit(**settings)
    whole.run()
    whole.checkpoint.remove()

    cut = make_fit(**settings)
    step = cut._step

    def killing(chosen, number):
        if (cut.progress.epoch, number) == (1, 1):
            raise KilledError
        return step(chosen, number)

    cut._step = killing
    with pytest.raises(KilledError):
        cut.run()

    again = make_fit(**settings)
    again.run()
    assert "resuming after epoch 1, step 0" in capsys.readouterr().err
    assert same(weights(whole), weights(again))
    timeless = [
        [
            {k: v for k, v in row.items() if k not in ("seconds", "images_per_s", "peak_memory_mb")}
            for row in fit.progress.history
        ]
        for fit in (whole, again)
    ]
    assert timeless[0] == timeless[1]


def test_sigterm_saves_inside_an_epoch(make_fit):
    whole = make_fit()
    whole.run()
    whole.checkpoint.remove()

    cut = make_fit()
    step = cut._step

    def terminating(chosen, number):
        if (cut.progress.epoch, number) == (1, 2):
            os.kill(os.getpid(), signal.SIGTERM)
        return step(chosen, number)

    cut._step = terminating
    former = signal.getsignal(signal.SIGTERM)
    with pytest.raises(FeropsError, match="stopped as asked in epoch 2, step 3 of 6"):
        cut.run()
    assert signal.getsignal(signal.SIGTERM) is former

    again = make_fit()
    again.run()
    assert same(weights(whole), weights(again))


def test_a_damaged_checkpoint_is_not_used(make_fit, capsys):
    first = make_fit(epochs=1)
    first.run()
    first.checkpoint.path.write_bytes(first.checkpoint.path.read_bytes()[:5000])
    make_fit(epochs=1).run()
    assert "damaged" in capsys.readouterr().err


def test_a_failed_write_keeps_the_former_checkpoint(make_fit, monkeypatch):
    fit = make_fit(epochs=1)
    fit.run()
    before = fit.checkpoint.path.read_bytes()

    def half(_tensors, path, **_):
        path.write_bytes(b"half")
        raise KilledError

    monkeypatch.setattr("ferops.training.checkpoint.save_file", half)
    with pytest.raises(KilledError):
        fit._save()
    assert fit.checkpoint.path.read_bytes() == before


def test_divergence_keeps_the_last_checkpoint(make_fit):
    fit = make_fit()
    step = fit._step

    def diverging(chosen, number):
        loss = step(chosen, number)
        return loss * float("nan") if fit.progress.epoch == 1 else loss

    fit._step = diverging
    with pytest.raises(FeropsError, match=r"training loss is nan in epoch 2.*Lower train\.max_lr"):
        fit.run()
    assert fit.checkpoint.load()[1]["progress"]["epoch"] == 1


def test_too_few_faces_for_one_step(make_fit):
    with pytest.raises(FeropsError, match=r"96 faces.*= 128"):
        make_fit(batch_size=64, accumulate=2)


def test_an_epoch_shows_each_face_once(make_fit):
    fit = make_fit(epochs=2)
    seen = []
    step = fit._step
    fit._step = lambda chosen, number: (seen.append(chosen), step(chosen, number))[1]
    fit.run()
    first, second = np.concatenate(seen[:6]), np.concatenate(seen[6:])
    assert np.array_equal(np.sort(first), np.arange(96))
    assert np.array_equal(np.sort(second), np.arange(96))
    assert not np.array_equal(first, second)


def test_grey_faces_make_the_same_batch_by_one_channel(make_fit):
    fit = make_fit(mixup_alpha=0.2, rotation_degrees=10.0, brightness=0.2, contrast=0.2, erase_probability=0.5)
    grey = np.repeat(fit.faces.images[..., :1], 3, axis=3)
    fit.faces = data.Faces(grey, fit.faces.labels)
    batches = []
    for fit.net.grayscale in (False, True):
        batches.append(fit._batch(np.arange(16), np.random.default_rng(3)))
    (three, targets), (one, same_targets) = batches
    assert one.shape == three.shape == (16, 3, 32, 32)
    assert torch.allclose(one, three, atol=1e-5)
    assert torch.equal(targets, same_targets)


def test_accumulation_averages_the_gradients(make_fit):
    """Four parts of 4 with the batch norm's statistics frozen give the step of one part of 16."""

    def gradients(**settings):
        fit = make_fit(clip_norm=1e9, mixup_alpha=0.0, **settings)
        for name in ("flip_probability", "rotation_degrees", "crop_share", "brightness", "contrast", "saturation"):
            assert getattr(fit.train, name) == 0.0
        fit.net.eval()
        kept = {}
        fit.optimizer.zero_grad = lambda **_: kept.update(
            {n: p.grad.clone() for n, p in fit.net.named_parameters() if p.grad is not None}
        )
        fit._step(np.arange(16), 0)
        return kept

    still = dict.fromkeys(
        ("flip_probability", "rotation_degrees", "crop_share", "brightness", "contrast", "saturation"), 0.0
    )
    whole, parts = gradients(batch_size=16, **still), gradients(batch_size=4, accumulate=4, **still)
    for name, gradient in whole.items():
        assert torch.allclose(gradient, parts[name], rtol=1e-3, atol=1e-5), name


def test_learning_rate_warms_up_and_goes_down(make_fit):
    fit = make_fit(epochs=4, warmup_share=0.25, max_lr=0.01)
    rates = []
    fit._step = lambda *_: (
        (rates.append(fit.scheduler.get_last_lr()[0]), fit.optimizer.step(), fit.scheduler.step())[0]
        or torch.zeros((), dtype=torch.float64)
    )
    total = fit.epochs * fit.steps
    fit.scheduler.total_steps = total + 1
    fit.run()
    assert np.argmax(rates) == pytest.approx(0.25 * total, abs=1)
    assert max(rates) == pytest.approx(0.01, rel=0.05)
    assert rates[-1] < 1e-4


def test_scores_by_hand():
    logits = np.eye(6, dtype=np.float32)[[0, 0, 1, 2]]
    # class 0: precision 1/2, recall 1, F1 2/3; class 1: 1, 1/2, 2/3; class 2: 1; the others 0
    assert scores(np.array([0, 1, 1, 2]), logits) == {
        "val_accuracy": 0.75,
        "val_macro_f1": pytest.approx((2 / 3 + 2 / 3 + 1) / 6),
    }


@pytest.mark.skipif(not precision.native_bf16(torch.device("cpu")), reason="this CPU has no bf16")
def test_bf16_trains(make_fit):
    fit = make_fit(epochs=1)
    fit.precision = Precision(torch.device("cpu"), torch.bfloat16)
    fit.run()
    assert all(tensor.dtype == torch.float32 for tensor in fit.best.values() if tensor.is_floating_point())
    assert fit.progress.history[0]["train_loss"] > 0


def test_a_nan_gradient_under_a_sound_loss_is_never_saved(make_fit, monkeypatch):
    """The loss of the step that spoils the weights is sound, and a checkpoint is due just then."""
    fit = make_fit()
    fit.run()
    fit.checkpoint.remove()

    fit = make_fit()
    step = fit._step

    def spoiling(chosen, number):
        late = fit.progress.epoch == 1 and number == 2
        if late:
            monkeypatch.setattr("ferops.training.fit.SAVE_EVERY_S", 0.0)
            next(fit.net.parameters()).register_hook(lambda gradient: gradient * float("nan"))
        return step(chosen, number)

    fit._step = spoiling
    with pytest.raises(FeropsError, match=r"not all weights are finite numbers in epoch 2.*Lower train\.max_lr"):
        fit.run()
    tensors, kept = fit.checkpoint.load()
    assert (kept["progress"]["epoch"], kept["progress"]["step"]) == (1, 0)
    assert all(tensor.isfinite().all() for tensor in tensors.values() if tensor.is_floating_point())
    monkeypatch.undo()
    again = make_fit()
    again.run()  # from that checkpoint
    assert again.progress.epoch == 2


def test_a_nan_gradient_is_found_by_the_end_of_the_epoch(make_fit):
    fit = make_fit(epochs=1)
    step = fit._step

    def spoiling(chosen, number):
        if number == fit.steps - 1:  # its loss is sound: no loss of a training step is not
            next(fit.net.parameters()).register_hook(lambda gradient: gradient * float("nan"))
        return step(chosen, number)

    fit._step = spoiling
    with pytest.raises(FeropsError, match="validation loss is nan in epoch 1"):
        fit.run()
    assert not fit.checkpoint.path.exists()


def test_no_run_takes_the_checkpoint_of_another(make_fit, capsys):
    """A is left for B and gone on with; of several runs left, the newest are kept."""
    first = make_fit(max_lr=0.001)
    first._save()
    other = make_fit(run="b", epochs=1)
    other.run()
    assert "other data, settings or seed" in capsys.readouterr().err
    assert other.checkpoint.path != first.checkpoint.path
    other.checkpoint.remove()
    assert not other.checkpoint.path.parent.exists()
    assert first.checkpoint.load() is not None

    for age, run in enumerate("bcd"):
        left = make_fit(run=run)
        left._save()
        os.utime(left.checkpoint.path.parent, (1000 - age, 1000 - age))
    assert make_fit(run="e").checkpoint.load() is None
    said = capsys.readouterr().err
    assert said.count("is removed") == 2
    assert first.checkpoint.path.exists()
    assert make_fit(run="b").checkpoint.path.exists()
    assert not make_fit(run="d").checkpoint.path.exists()


def test_what_a_kill_left_half_written_is_cleared_away(make_fit):
    fit = make_fit()
    fit._save()
    half = fit.checkpoint.path.with_name(f".{fit.checkpoint.path.name}.0123abcd.tmp")
    half.write_bytes(b"half")
    assert fit.checkpoint.load() is not None
    assert not half.exists()


def test_a_full_disk_keeps_the_last_checkpoint(make_fit):
    """The system refuses to let the file grow, as a full disk does."""
    fit = make_fit()
    fit._save()
    before = fit.checkpoint.path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(FeropsError) as caught:
            fit._save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    message = str(caught.value)
    needed_mb = sum(tensor.nbytes for tensor in fit.checkpoint.load()[0].values()) / 1e6
    assert f"it takes {needed_mb:,.1f} MB, beside the last one" in message
    assert "MB are free" in message
    assert f"The last whole checkpoint is kept in {fit.checkpoint.path}" in message
    assert fit.checkpoint.path.read_bytes() == before
    assert list(fit.checkpoint.path.parent.iterdir()) == [fit.checkpoint.path]


def test_what_changes_the_arithmetic_makes_another_run(make_fit):
    fit = make_fit(accumulate="auto", memory_gb=0.0003)
    assert fit.parts > 1
    assert fit.checkpoint.path != make_fit(accumulate="auto").checkpoint.path
    same = make_fit(accumulate="auto", memory_gb=0.0003)
    assert fit.checkpoint.path == same.checkpoint.path
    two = fit.checkpoint.of(processes=2)
    assert two.path != fit.checkpoint.path
