from __future__ import annotations

import pytest
import torch

from ferops.errors import FeropsError
from ferops.training import precision

CPU = torch.device("cpu")


@pytest.fixture
def with_bf16(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})


@pytest.fixture
def without_bf16(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})


@pytest.mark.usefixtures("with_bf16")
def test_auto_takes_bf16_where_it_is(make_params):
    assert precision.choose(make_params(amp="auto").train) == precision.Precision(CPU, torch.bfloat16)
    assert precision.choose(make_params(amp="off").train) == precision.Precision(CPU, None)


@pytest.mark.usefixtures("without_bf16")
def test_auto_stays_fp32_where_it_is_not(make_params):
    assert precision.choose(make_params(amp="auto").train).name == "fp32"
    with pytest.raises(FeropsError, match="no bf16 arithmetic"):
        precision.choose(make_params(amp="bf16").train)


def test_fp16_needs_a_gpu(make_params):
    with pytest.raises(FeropsError, match="fp16, which needs a GPU"):
        precision.choose(make_params(amp="fp16").train)


def test_cuda_without_a_gpu(make_params, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(FeropsError, match="torch sees no GPU"):
        precision.choose(make_params(device="cuda").train)


def test_capabilities_are_those_of_the_kernel():
    """The names that `native_bf16` asks for exist in this torch, and agree with what Linux says of the CPU."""
    with open("/proc/cpuinfo", encoding="ascii") as file:  # noqa: PTH123, not a file of ours
        flags = next((line for line in file if line.startswith("flags")), "").split()
    assert precision.native_bf16(CPU) == ("avx512_bf16" in flags or "amx_bf16" in flags)


def test_compile_without_a_compiler(make_params, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(
        FeropsError, match=r"train\.compile is on, and no compiler was found for it: g\+\+\. Install one"
    ):
        precision.choose(make_params(compile=True).train)
    monkeypatch.setenv("CXX", "/nowhere/clang++")
    with pytest.raises(FeropsError, match=r"no compiler was found for it: /nowhere/clang\+\+\..*CXX"):
        precision.choose(make_params(compile=True).train)
    precision.choose(make_params(compile=False).train)  # needs none

    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    monkeypatch.delenv("CXX")
    precision.choose(make_params(compile=True).train)
