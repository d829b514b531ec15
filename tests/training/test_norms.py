from __future__ import annotations

import numpy as np
import torch
from fits import changed, weights

from ferops.training import norms
from ferops.training.identity import settings_of


def recorded(net, faces):
    """Return what reaches the first batch norm for these faces, `(N, C, H, W)`, and the norm."""
    norm = next(module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d))
    seen = []
    hook = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        net.eval()(torch.from_numpy(np.array(faces)))
    hook.remove()
    return seen[0], norm


def test_norms_are_measured_again_on_faces_as_they_are(make_fit):
    """Nothing that was learnt changes; the statistics of the first norm are those of its inputs."""
    plain, refreshed = make_fit(mixup_alpha=0.2), make_fit(mixup_alpha=0.2, norm_faces=10_000)
    plain.run()
    plain.checkpoint.remove()
    refreshed.run()
    learnt, kept = dict(plain.state.net.named_parameters()), dict(refreshed.state.net.named_parameters())
    assert not changed(learnt, kept)
    assert changed(weights(plain.state.net), weights(refreshed.state.net))
    faces = refreshed.stepper.faces.images
    inputs, norm = recorded(refreshed.state.net, faces)
    torch.testing.assert_close(norm.running_mean, inputs.mean(dim=(0, 2, 3)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(norm.running_var, inputs.var(dim=(0, 2, 3)), atol=0.0, rtol=0.02)  # mean of two batches
    assert norm.momentum == 0.1
    assert not any(module.training for module in refreshed.state.net.modules())


def test_faces_are_drawn_as_in_training(make_fit):
    fit = make_fit()
    faces, net = fit.stepper.faces.images, fit.state.net
    drawn = np.zeros(len(faces))
    drawn[:5] = 1.0
    norms.measure_again(net, faces, drawn, count=5, seed=1, device=fit.precision.device)
    inputs, norm = recorded(net, faces[:5])
    torch.testing.assert_close(norm.running_mean, inputs.mean(dim=(0, 2, 3)), atol=1e-5, rtol=1e-4)
    before = weights(net)
    norms.measure_again(net, faces, drawn, count=50, seed=2, device=fit.precision.device)
    assert not changed(before, weights(net))


def test_a_training_with_other_norms_is_another(make_params):
    """Its answers to a fold, which `ferops.training.folds` keeps by this, are others."""
    plain, refreshed = (settings_of(make_params(norm_faces=count), "baseline") for count in (0, 64))
    assert plain != refreshed
