from __future__ import annotations

import os
import resource
import signal

import numpy as np
import pytest
import torch
from fits import STILL, KilledError, before_steps, changed, cut_off, hurried, weights

from ferops import threads
from ferops.errors import FeropsError
from ferops.training import precision
from ferops.training.evaluator import confusion, scores
from ferops.training.faces import Faces
from ferops.training.precision import Precision
from ferops.training.resident import copied
from ferops.training.state import Header


def timeless(fit):
    return [row.model_dump(exclude={"seconds", "images_per_s", "peak_memory_mb"}) for row in fit.progress.history]


@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("sgd", marks=pytest.mark.slow)])
def test_resumes_to_the_same_bits(make_fit, capsys, optimizer):
    """Everything random is on, with accumulation; the second of three epochs is cut off in its middle."""
    settings = {"epochs": 3, "optimizer": optimizer, "accumulate": 2, "mixup_alpha": 0.2, "batch_size": 16}
    whole = make_fit(**settings)
    whole.run()
    whole.checkpoint.remove()

    cut_off(make_fit(**settings), epoch=1, step=1)

    again = make_fit(**settings)
    again.run()
    assert "resuming after epoch 1, step 0" in capsys.readouterr().err
    assert not changed(weights(whole.state.net), weights(again.state.net))
    assert timeless(whole) == timeless(again)


def test_sigterm_saves_inside_an_epoch(make_fit):
    whole = hurried(make_fit())
    whole.run()
    whole.checkpoint.remove()

    cut = hurried(make_fit())
    before_steps(cut, lambda *place: place == (1, 2) and os.kill(os.getpid(), signal.SIGTERM))
    former = signal.getsignal(signal.SIGTERM)
    with pytest.raises(FeropsError, match="stopped as asked in epoch 2, step 3 of 6"):
        cut.run()
    assert signal.getsignal(signal.SIGTERM) is former

    again = hurried(make_fit())
    again.run()
    assert not changed(weights(whole.state.net), weights(again.state.net))


def test_a_training_gives_way_to_other_work_and_says_so(make_fit, capsys, monkeypatch):
    count = [1]  # of threads; more than the cores of a busy machine would take seconds
    monkeypatch.setattr(torch, "get_num_threads", lambda: count[0])

    def give_way():
        count[0] = 2
        return "goes on with 2 threads"

    monkeypatch.setattr(threads, "choose_again", give_way)
    fit = hurried(make_fit(epochs=2))

    def kill(epoch, step):
        assert torch.get_num_threads() == epoch + 1
        if (epoch, step) == (1, 4):
            os.kill(os.getpid(), signal.SIGTERM)

    before_steps(fit, kill)
    with pytest.raises(FeropsError, match="stopped as asked"):
        fit.run()
    assert fit.progress.threads == (1, 2)
    assert "train: goes on with 2 threads\n" in capsys.readouterr().err

    count[0] = 1
    again = hurried(make_fit(epochs=2))
    again.run()
    assert "threads so far: 1, 2; now 1. This changes the last bits of the weights" in capsys.readouterr().err
    assert again.progress.threads == (1, 2), "each number once"


def test_a_damaged_checkpoint_is_not_used(make_fit, capsys):
    first = hurried(make_fit(epochs=1))
    first.run()
    first.checkpoint.path.write_bytes(first.checkpoint.path.read_bytes()[:5000])
    hurried(make_fit(epochs=1)).run()
    assert "damaged" in capsys.readouterr().err


def test_a_failed_write_keeps_the_former_checkpoint(make_fit, monkeypatch):
    fit = hurried(make_fit(epochs=1))
    fit.run()
    before = fit.checkpoint.path.read_bytes()

    def half(_tensors, path, **_):
        path.write_bytes(b"half")
        raise KilledError

    monkeypatch.setattr("ferops.training.checkpoint.save_file", half)
    with pytest.raises(KilledError):
        fit.save()
    assert fit.checkpoint.path.read_bytes() == before


def test_divergence_keeps_the_last_checkpoint(make_fit):
    fit = hurried(make_fit())

    def spoil(epoch, _step):
        if epoch == 1:
            with torch.no_grad():
                fit.state.net.backbone.fc.bias.fill_(float("nan"))

    before_steps(fit, spoil)
    with pytest.raises(FeropsError, match=r"training loss is nan in epoch 2.*Lower train\.max_lr"):
        fit.run()
    assert fit.checkpoint.load(Header)[1].progress.epoch == 1


def test_too_few_faces_for_one_step(make_fit):
    with pytest.raises(FeropsError, match=r"96 faces.*= 128"):
        make_fit(batch_size=64, accumulate=2)


def test_an_epoch_shows_each_face_once_in_an_order_of_its_own(make_fit):
    fit = make_fit()
    first, second = fit.stepper.order(0), fit.stepper.order(1)
    assert fit.plan.per_epoch * fit.plan.images == 96
    assert np.array_equal(np.sort(first), np.arange(96))
    assert np.array_equal(np.sort(second), np.arange(96))
    assert not np.array_equal(first, second)


def test_grey_faces_make_the_same_batch_by_one_channel(make_fit):
    fit = make_fit(mixup_alpha=0.2, rotation_degrees=10.0, brightness=0.2, contrast=0.2, erase_probability=0.5)
    stepper, net = fit.stepper, fit.state.net
    stepper.faces = Faces(np.repeat(stepper.faces.images[..., :1], 3, axis=3), stepper.faces.labels)
    batches = []
    for net.grayscale in (False, True):
        batches.append(stepper.batch(np.arange(16), np.random.default_rng(3)))
    (three, targets), (one, same_targets) = batches
    assert one.shape == three.shape == (16, 3, 32, 32)
    assert torch.allclose(one, three, atol=1e-5)
    assert torch.equal(targets, same_targets)


def test_faces_in_the_devices_memory_make_the_same_batch(make_fit):
    fit = make_fit(mixup_alpha=0.2, rotation_degrees=10.0)
    rows, stepper = np.array([90, 3, 3, 41]), fit.stepper
    assert stepper.resident is None  # a CPU reads them where they are
    read = stepper.batch(rows, np.random.default_rng(3))
    stepper.resident = copied(stepper.faces.images, torch.device("cpu"))
    kept = stepper.batch(rows, np.random.default_rng(3))
    assert torch.equal(read[0], kept[0])
    assert torch.equal(read[1], kept[1])


def test_accumulation_averages_the_gradients(make_fit):
    """Four micro-batches of 4 with the norms' statistics frozen give the gradients of one batch of 16."""

    def gradients(**settings):
        fit = make_fit(**STILL, **settings)
        net, kept = fit.state.net.eval(), {}
        fit.state.apply_gradients = lambda **_: kept.update({n: p.grad.clone() for n, p in net.named_parameters()})
        fit.stepper.run(np.arange(16), epoch=0, step=0)
        return kept

    whole, divided = gradients(batch_size=16), gradients(batch_size=4, accumulate=4)
    for name, gradient in whole.items():
        assert torch.allclose(gradient, divided[name], rtol=1e-3, atol=1e-5), name


def test_learning_rate_warms_up_and_goes_down(make_fit):
    fit = hurried(make_fit(epochs=4, warmup_share=0.25, max_lr=0.01))
    rates = []
    before_steps(fit, lambda *_: rates.append(fit.state.optimizer.param_groups[0]["lr"]))
    fit.run()
    assert len(rates) == 24
    assert np.argmax(rates) == pytest.approx(0.25 * len(rates), abs=1)
    assert max(rates) == pytest.approx(0.01, rel=0.05)
    assert rates[-1] < 1e-4
    assert fit.progress.history[-1].learning_rate == fit.state.scheduler.get_last_lr()[-1]


def test_scores_by_hand():
    logits = np.eye(6, dtype=np.float32)[[0, 0, 1, 2]]
    # class 0: precision 1/2, recall 1, F1 2/3; class 1: 1, 1/2, 2/3; class 2: 1; the others 0
    assert scores(np.array([0, 1, 1, 2]), logits) == (0.75, pytest.approx((2 / 3 + 2 / 3 + 1) / 6))


@pytest.mark.parametrize("num_classes", [6, 8])
def test_confusion_counts_labels_as_rows(num_classes):
    labels = np.array([0, 0, 1, 3, 3, 3, 5])
    predicted = np.array([0, 2, 1, 3, 3, 5, 3])
    counts = confusion(labels, np.eye(num_classes, dtype=np.float32)[predicted])
    expected = np.zeros((num_classes, num_classes), dtype=np.int64)
    for label, guess in zip(labels, predicted, strict=True):
        expected[label, guess] += 1
    np.testing.assert_array_equal(counts, expected)
    assert counts.dtype == np.int64


@pytest.mark.skipif(not precision.native_bf16(torch.device("cpu")), reason="this CPU has no bf16")
def test_bf16_trains(make_fit):
    fit = make_fit(epochs=1, precision=Precision(torch.device("cpu"), torch.bfloat16))
    fit.run()
    assert all(tensor.dtype == torch.float32 for tensor in fit.state.best.values() if tensor.is_floating_point())
    assert fit.progress.history[0].train_loss > 0


def spoil_gradients(fit):
    """The loss of the next step is finite, its gradients are not."""
    next(fit.state.net.parameters()).register_hook(lambda gradient: gradient * float("nan"))


def test_a_nan_gradient_under_a_finite_loss_is_never_saved(make_fit, monkeypatch):
    """A checkpoint is due just after the step that spoils the weights."""
    fit = hurried(make_fit())

    def spoil(*place):
        if place == (1, 2):
            monkeypatch.setattr("ferops.training.fit.SAVE_EVERY_S", 0.0)
            spoil_gradients(fit)

    before_steps(fit, spoil)
    with pytest.raises(FeropsError, match=r"not all weights are finite numbers in epoch 2.*Lower train\.max_lr"):
        fit.run()
    tensors, header = fit.checkpoint.load(Header)
    assert (header.progress.epoch, header.progress.step) == (1, 0)
    assert all(tensor.isfinite().all() for tensor in tensors.values() if tensor.is_floating_point())
    monkeypatch.undo()
    again = hurried(make_fit())
    again.run()  # from that checkpoint
    assert again.progress.epoch == 2


def test_a_nan_gradient_is_found_by_the_end_of_the_epoch(make_fit):
    fit = hurried(make_fit(epochs=1))
    before_steps(fit, lambda _, step: step == fit.plan.per_epoch - 1 and spoil_gradients(fit))
    with pytest.raises(FeropsError, match="validation loss is nan in epoch 1"):
        fit.run()
    assert not fit.checkpoint.path.exists()


def test_no_training_takes_the_checkpoint_of_another(make_fit, capsys):
    """A is left for B and gone on with; of several trainings left, the newest are kept."""
    first = make_fit()
    first.save()
    other = hurried(make_fit(digest="b", epochs=1))
    other.run()
    assert "other data, settings or hardware" in capsys.readouterr().err
    assert other.checkpoint.path != first.checkpoint.path
    other.checkpoint.remove()
    assert not other.checkpoint.path.parent.exists()
    assert first.checkpoint.load(Header) is not None

    for age, digest in enumerate("bcd"):
        left = make_fit(digest=digest)
        left.save()
        os.utime(left.checkpoint.path.parent, (1000 - age, 1000 - age))
    assert make_fit(digest="e").checkpoint.load(Header) is None
    assert capsys.readouterr().err.count("is removed") == 2
    kept = {path.name for path in first.checkpoint.folder.iterdir()}
    assert kept == {"a", "b"}


def test_what_a_kill_left_half_written_is_cleared_away(make_fit):
    fit = make_fit()
    fit.save()
    half = fit.checkpoint.path.with_name(f".{fit.checkpoint.path.name}.0123abcd.tmp")
    half.mkdir()
    (half / "new").write_bytes(b"half")
    assert fit.checkpoint.load(Header) is not None
    assert not half.exists()


def test_a_full_disk_keeps_the_last_checkpoint(make_fit):
    """The system refuses to let the file grow, as a full disk does."""
    fit = make_fit()
    fit.save()
    before = fit.checkpoint.path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(FeropsError) as caught:
            fit.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    message = str(caught.value)
    needed_mb = sum(tensor.nbytes for tensor in fit.checkpoint.load(Header)[0].values()) / 1e6
    assert f"it takes {needed_mb:,.1f} MB, beside the last one" in message
    assert "MB are free" in message
    assert f"The last complete checkpoint is kept in {fit.checkpoint.path}" in message
    assert fit.checkpoint.path.read_bytes() == before
    assert list(fit.checkpoint.path.parent.iterdir()) == [fit.checkpoint.path]
