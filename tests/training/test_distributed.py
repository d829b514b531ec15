"""Several processes train what one process trains."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from blobs import SIZE_PX, make_project, params_tree
from ferops import config
from ferops.config import Params
from ferops.errors import FeropsError, StoppedError
from ferops.layout import Layout
from ferops.records.train import TrainSummary, read_history
from ferops.training import distributed, model
from ferops.training.distributed import World
from ferops.training.prepare import prepare
from ferops.training.stage import run

SCRIPT = """
import json, os, sys, time
from pathlib import Path
import torch
from ferops import config
from ferops.errors import FeropsError, StoppedError
from ferops.layout import Layout
from ferops.training import fit as fits
from ferops.training.prepare import prepare
from ferops.training.stage import run
from ferops.training.step import StepRunner
torch.set_num_threads(1)
fits.SAVE_EVERY_S = 0.0
pause_s = float(sys.argv[3])
step = StepRunner.run
def slowly(self, *arguments, **place):
    time.sleep(pause_s)
    return step(self, *arguments, **place)
StepRunner.run = slowly
def on_epoch(row, counts):
    print("epoch", row.epoch, "of rank", os.environ["RANK"], flush=True)
print("process", os.environ["RANK"], os.getpid(), flush=True)
try:
    run(prepare(Layout(Path(sys.argv[1])), config.parse(json.loads(sys.argv[2])), "baseline"), on_epoch=on_epoch)
except StoppedError as error:
    sys.exit(None if os.environ["RANK"] != "0" else f"ferops: {error}")
except FeropsError as error:
    sys.exit(f"ferops: {error}")
"""


def settings(root: Path) -> Params:
    """No random draws but the order of the faces: those of several processes are not those of one.

    The head learns alone for an epoch, and the start, like the average, must be the same in all processes.
    """
    start = root / "start.pth"
    torch.save(model.build("test_resnet", num_classes=6, size_px=SIZE_PX, seed=5).backbone.state_dict(), start)
    tree = params_tree()
    still = ("flip_probability", "rotation_degrees", "crop_share", "brightness", "contrast", "saturation")
    tree["train"] |= dict.fromkeys((*still, "erase_probability", "mixup_alpha", "cutmix_alpha"), 0.0)
    tree["train"] |= {"batch_size": 8, "accumulate": 4, "max_lr": 0.002, "ema_decay": 0.5, "freeze_epochs": 1}
    tree["models"]["baseline"] |= {"architecture": "test_resnet", "epochs": 4, "pretrained": str(start)}
    return config.parse(tree)


def torchrun(folder: Path, params: Params, *, pause_s: float = 0.0) -> subprocess.Popen[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    arguments = [str(folder), params.model_dump_json(by_alias=True), str(pause_s)]
    return subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A project that two processes have trained."""
    layout = make_project(tmp_path_factory.mktemp("apart"))
    process = torchrun(layout.root, settings(layout.root))
    out, err = process.communicate(timeout=170)
    assert process.returncode == 0, err
    epochs = [line for line in out.splitlines() if line.startswith("epoch")]
    assert epochs == [f"epoch {number} of rank 0" for number in (1, 2, 3, 4)]
    return layout


@pytest.mark.slow
def test_two_processes_train_what_one_trains(tmp_path: Path, apart: Layout) -> None:
    """With an even number of micro-batches each norm sees the very faces that it sees in a lone process."""
    alone = make_project(tmp_path)
    expected = run(prepare(alone, settings(tmp_path), "baseline"))
    assert expected
    found = TrainSummary.read(apart.reports("train") / "baseline" / "summary.json", made_by="the fixture")
    assert found.val_macro_f1 == pytest.approx(expected.val_macro_f1, abs=0.02)
    histories = (
        read_history(each.model("baseline") / "history.json", made_by="the fixture") for each in (alone, apart)
    )
    for one, two in zip(*histories, strict=True):
        assert two.train_loss == pytest.approx(one.train_loss, rel=1e-3)
        assert two.val_loss == pytest.approx(one.val_loss, rel=1e-3)
        assert two.learning_rate == one.learning_rate
    first, second = (load_file(layout.model("baseline") / "weights.safetensors") for layout in (alone, apart))
    for name in (name for name in first if "num_batches_tracked" not in name):  # counts micro-batches, unused
        assert np.allclose(first[name], second[name], rtol=0.02, atol=0.002), name


def may_make_namespaces() -> bool:
    made = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0
    return made and shutil.which("ip") is not None


@contextmanager
def two_machines() -> Iterator[list[tuple[str, str, str]]]:
    """Make two network namespaces that reach each other alone; yield name, interface and address of each."""
    machines = [(f"fer{os.getpid()}{end}", f"veth{os.getpid()}{end}", f"10.77.0.{end}") for end in (1, 2)]

    def ip(*arguments: str, check: bool = True) -> None:
        subprocess.run(["ip", *arguments], check=check, capture_output=not check)

    try:
        for name, _, _ in machines:
            ip("netns", "add", name)
        (first, one, _), (second, other, _) = machines
        ip("link", "add", one, "netns", first, "type", "veth", "peer", "name", other, "netns", second)
        for name, interface, address in machines:
            ip("-n", name, "address", "add", f"{address}/24", "dev", interface)
            ip("-n", name, "link", "set", interface, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield machines
    finally:
        for name, _, _ in machines:
            ip("netns", "delete", name, check=False)


@pytest.mark.slow
@pytest.mark.skipif(not may_make_namespaces(), reason="needs the right to make network namespaces, and ip (iproute2)")
def test_two_machines_train_what_two_processes_of_one_train(tmp_path: Path, apart: Layout) -> None:
    """Each has a network, and a project folder, of its own; the second one's stays as it was."""
    layouts = [make_project(tmp_path / name) for name in ("first", "second")]
    params = settings(tmp_path)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    before = {path for path in layouts[1].root.rglob("*") if path.is_file()}
    with two_machines() as machines:
        inside, rest = ["ip", "netns", "exec"], [params.model_dump_json(by_alias=True), "0"]
        place = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
        place += ["--master-addr", machines[0][2], "--master-port", "29500"]
        processes = [
            subprocess.Popen(
                [*inside, name, sys.executable, *place, "--node-rank", str(rank), str(script), str(layout.root), *rest],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": interface},
            )
            for rank, ((name, interface, _), layout) in enumerate(zip(machines, layouts, strict=True))
        ]
        try:
            said = [process.communicate(timeout=240) for process in processes]
        finally:
            for process in processes:
                process.kill()
    assert [process.returncode for process in processes] == [0, 0], said
    epochs = [[line for line in out.splitlines() if line.startswith("epoch")] for out, _ in said]
    assert epochs == [[f"epoch {number} of rank 0" for number in (1, 2, 3, 4)], []]
    files = [each.model("baseline") / "weights.safetensors" for each in (layouts[0], apart)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert {path for path in layouts[1].root.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_lost_process_and_a_stop_change_no_bit(tmp_path: Path, apart: Layout) -> None:
    layout = make_project(tmp_path)
    process = torchrun(layout.root, settings(layout.root), pause_s=0.3)
    assert process.stdout
    ids = {}
    for line in process.stdout:
        if line.startswith("process"):
            _, rank, number = line.split()
            ids[rank] = int(number)
        if line.startswith("epoch 1"):
            os.kill(ids["1"], signal.SIGKILL)
            break
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "process 0 of 2 has lost the others" in err
    assert "process 1 of 2" not in err

    process = torchrun(layout.root, settings(layout.root), pause_s=0.3)
    assert process.stdout
    for line in process.stdout:
        if line.startswith("epoch 2"):
            process.terminate()
            break
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert err.count("resuming after epoch") == 1
    assert err.count("stopped as asked in epoch 3") == 1

    process = torchrun(layout.root, settings(layout.root))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err.count("resuming after epoch 2") == 1
    first, second = ((each.model("baseline") / "weights.safetensors").read_bytes() for each in (layout, apart))
    assert first == second


@pytest.mark.parametrize(
    ("size", "images", "alone", "expected"),
    [(1, 32, 4, 4), (2, 32, 4, 2), (2, 32, 1, 1), (4, 32, 6, 2), (3, 48, 2, 1), (2, 30, 4, 3), (8, 8, 8, 1)],
)
def test_micro_batches_of_a_process(size: int, images: int, alone: int, expected: int) -> None:
    """As few as possible, of equal size, none larger than those of a lone process."""
    assert World(size=size).micro_batches(images=images, alone=alone) == expected
    share = images // size
    assert share % expected == 0
    assert share // expected <= images / alone


def test_shares_are_all_of_a_step() -> None:
    rows = np.random.default_rng(0).permutation(32)
    shares = [World(rank=rank, size=4).shard(rows) for rank in range(4)]
    assert [len(share) for share in shares] == [8] * 4
    np.testing.assert_array_equal(np.concatenate(shares), rows)


def test_a_step_that_cannot_be_shared() -> None:
    with pytest.raises(FeropsError, match=r"takes 32 images .*3 processes.*multiple of 3"):
        World(size=3).micro_batches(images=32, alone=1)


def test_only_process_0_reports() -> None:
    error = FeropsError("the reason")
    assert World(rank=0, size=2).once(error) is error
    assert isinstance(World(rank=1, size=2).once(error), StoppedError)


def test_the_place_comes_from_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert distributed.from_environment() == World(rank=0, size=1, local_rank=0)
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert distributed.from_environment() == World(rank=5, size=8, local_rank=1)


def test_the_command_starts_itself_through_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr(os, "execv", lambda *command: started.append(command))
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv(distributed.LAUNCH, raising=False)
    distributed.relaunch("train", "candidate")
    assert not started
    monkeypatch.setenv(distributed.LAUNCH, "--nnodes 2 --rdzv-endpoint 'a host:29500'")
    distributed.relaunch("train", "candidate")
    torchrun_command = ["-m", "torch.distributed.run", "--nnodes", "2", "--rdzv-endpoint", "a host:29500"]
    assert started == [(sys.executable, [sys.executable, *torchrun_command, "-m", "ferops", "train", "candidate"])]
    monkeypatch.setenv("RANK", "0")  # this is what torchrun started
    distributed.relaunch("train", "candidate")
    assert len(started) == 1


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(FeropsError, match=r"has 2 GPUs.*at least 3 processes"):
        distributed.select_gpu(World(rank=2, size=4, local_rank=2), torch.device("cuda"))
