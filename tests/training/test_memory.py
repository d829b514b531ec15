from __future__ import annotations

import pytest
import torch
from torch import nn

from ferops.errors import FeropsError
from ferops.training import memory, model
from ferops.training.precision import Precision

CPU = Precision(torch.device("cpu"), None)


def net_of(*layers, size_px=32):
    return model.ExpressionNet(nn.Sequential(*layers), size_px=size_px, mean=model.HALF, std=model.HALF)


def test_saved_bytes_by_hand():
    """A convolution keeps what comes in, ReLU what goes out; the next layer, which keeps it too, adds nothing."""
    net = net_of(nn.Conv2d(3, 4, 2, stride=2), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.Flatten(), nn.LazyLinear(6))
    net.classify(torch.zeros(1, 3, 32, 32))
    into_first, after_relu, into_linear = 3 * 32 * 32 * 4, 4 * 16 * 16 * 4, 5 * 16 * 16 * 4
    assert memory.saved_bytes(net, CPU) == (into_first + after_relu + into_linear, 0)


@pytest.mark.skipif(not torch.cpu.get_capabilities().get("avx512_bf16"), reason="this CPU has no bf16")
def test_saved_bytes_of_bf16_by_hand():
    """Two bytes a number; and a bf16 copy of the weights, whatever the number of images."""
    net = net_of(
        nn.Conv2d(3, 4, 2, stride=2, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16 * 16, 6, bias=False)
    )
    per_image, copies = memory.saved_bytes(net, Precision(torch.device("cpu"), torch.bfloat16))
    faces, after_relu, flattened = 3 * 32 * 32 * 2, 4 * 16 * 16 * 2, 4 * 16 * 16 * 2
    assert per_image == faces + after_relu + flattened
    assert copies == 2 * sum(parameter.numel() for parameter in net.parameters())


def test_saved_bytes_leaves_everything_as_it_was():
    net = net_of(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 30 * 30, 6)).eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    generator = torch.random.get_rng_state()
    memory.saved_bytes(net, CPU)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert not net.training
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.fixture
def sizes():
    """A network, what it needs however many images, and what it needs for one, in bytes."""
    net = net_of(nn.Conv2d(3, 64, 1, bias=False), nn.ReLU(), nn.Conv2d(64, 6, 32))
    fixed = 6 * 4 * sum(parameter.numel() for parameter in net.parameters())
    return net, fixed, (3 + 64) * 32 * 32 * 4


def test_auto_takes_the_fewest_equal_micro_batches_that_fit(sizes, make_params):
    net, fixed, per_image = sizes
    counts = []
    for images in range(1, 17):  # a budget for exactly so many images, with the fifth that is left free
        train = make_params(
            accumulate="auto", batch_size=12, memory_gb=1.25 * (fixed + images * per_image) / 1e9 + 1e-9
        )
        counts.append(memory.micro_batches(net, train.train, CPU))
    assert counts == [12, 6, 4, 3, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1]
    assert all(12 % count == 0 for count in counts)


def test_auto_where_nothing_fits(sizes, make_params):
    net, fixed, per_image = sizes
    train = make_params(accumulate="auto", batch_size=12, memory_gb=1.2 * (fixed + per_image) / 1e9)
    with pytest.raises(
        FeropsError, match=r"memory_gb is .*, and this network needs [\d.]+ GB for the smallest micro-batch\. Raise it"
    ):
        memory.micro_batches(net, train.train, CPU)


def test_norms_over_the_batch_never_see_one_image(make_params):
    net = net_of(nn.Conv2d(3, 64, 1), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 6, 32))
    per_image, copies = memory.saved_bytes(net, CPU)
    fixed = copies + 6 * 4 * sum(parameter.numel() for parameter in net.parameters())
    for images, expected in ((3, 4), (2, 6), (1, None)):
        budget = 1.25 * (fixed + images * per_image) / 1e9 + 1e-9
        train = make_params(accumulate="auto", batch_size=12, memory_gb=budget).train
        if expected:
            assert memory.micro_batches(net, train, CPU) == expected
        else:
            with pytest.raises(FeropsError, match="for the smallest micro-batch"):
                memory.micro_batches(net, train, CPU)
    for accumulate in (1, "auto"):
        with pytest.raises(FeropsError, match=r"batch_size is 1, and this network has batch normalisation"):
            memory.micro_batches(net, make_params(batch_size=1, accumulate=accumulate).train, CPU)


def test_a_number_is_taken_as_it_is(sizes, make_params):
    assert memory.micro_batches(sizes[0], make_params(accumulate=5, memory_gb=0.001).train, CPU) == 5


def test_peak_memory_counts_this_process():
    before = memory.peak_memory_mb(torch.device("cpu"))["process"]
    held = torch.ones(200_000_000, dtype=torch.uint8)
    after = memory.peak_memory_mb(torch.device("cpu"))
    assert set(after) == {"process"}
    assert after["process"] >= max(before, 200)
    del held
