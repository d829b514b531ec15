"""A training that was killed ends with the same weights, bit for bit, as one that was not."""

from __future__ import annotations

import json
import pkgutil
import random
import resource
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from blobs import SIZE_PX, make_project, params_tree
from ferops import config
from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.training import model
from ferops.training.prepare import prepare
from ferops.training.stage import run
from killed import PLACES
from undrawn import undrawn

TESTS = Path(__file__).parents[1]
STEPS = 6  # in an epoch: 96 faces, 16 each


def settings(folder: Path, *, architecture: str = "test_efficientnet", epochs: int = 3, **changes: Any) -> Params:
    """Everything random is on, and everything that has a state."""
    start = folder / "start.pth"
    torch.save(model.build(architecture, num_classes=6, size_px=SIZE_PX, seed=5).backbone.state_dict(), start)
    tree = params_tree()
    tree["train"] |= {"batch_size": 8, "accumulate": 2, "freeze_epochs": 1, "layer_decay": 0.8, "ema_decay": 0.9}
    tree["train"] |= {"mixup_alpha": 0.2, "cutmix_alpha": 1.0, "erase_probability": 0.3, "early_stopping": 3}
    tree["train"] |= changes
    tree["models"]["baseline"] |= {
        "architecture": architecture,
        "epochs": epochs,
        "drop_rate": 0.2,
        "drop_path_rate": 0.1,
    }
    tree["models"]["baseline"]["pretrained"] = str(start)
    return config.parse(tree)


def draw(chosen: random.Random, *, kills: int) -> list[dict[str, Any]]:
    """Draw deaths that are near enough to each other that the last one comes before the end."""
    far = 3 * STEPS // kills
    places = [chosen.choice(PLACES) for _ in range(kills)]
    places[chosen.randrange(kills)] = "half-written"
    return [{"place": place, "count": chosen.randint(1, far), "signal": "SIGKILL"} for place in places]


def killed(root: Path, params: Params, plan: list[dict[str, Any]]) -> tuple[list[int], str]:
    command = [sys.executable, str(TESTS / "killed.py"), str(root), params.model_dump_json(by_alias=True)]
    done = subprocess.run([*command, json.dumps(plan)], capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def weights(layout: Layout) -> bytes:
    return (layout.model("baseline") / "weights.safetensors").read_bytes()


def history(layout: Layout) -> list[dict[str, float]]:
    rows = json.loads((layout.model("baseline") / "history.json").read_text())
    timing = ("seconds", "images_per_s", "peak_memory_mb")
    return [{key: value for key, value in row.items() if key not in timing} for row in rows]


def check(tmp_path: Path, params: Params, plan: list[dict[str, Any]]) -> None:
    layout, undisturbed = make_project(tmp_path / "killed"), make_project(tmp_path / "undisturbed")
    codes, said = killed(layout.root, params, plan)
    assert codes == [-9] * len(plan) + [0], said
    run(prepare(undisturbed, params, "baseline"))
    assert weights(layout) == weights(undisturbed)
    assert history(layout) == history(undisturbed)
    assert not (layout.state / "checkpoints" / "baseline").exists()


@pytest.mark.slow
def test_kills_at_random_places_change_no_bit(tmp_path: Path) -> None:
    seed = secrets.randbits(32)
    plan = draw(random.Random(seed), kills=2)
    print(f"seed {seed}: {plan}")  # shown where the test fails
    check(tmp_path, settings(tmp_path), plan)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("test_efficientnet", {}),
        ("test_resnet", {"optimizer": "sgd", "max_lr": 0.05, "ema_decay": 0.0}),
        ("test_vit", {"schedule": "cosine", "warmup_share": 0.2, "accumulate": "auto"}),
        ("test_convnext", {"freeze_epochs": 2, "loss": "focal", "focal_gamma": 2.0}),
    ],
)
def test_many_kills_change_no_bit(tmp_path: Path, architecture: str, changes: dict[str, Any]) -> None:
    seed = secrets.randbits(32)
    plan = draw(random.Random(seed), kills=5)
    print(f"seed {seed}: {plan}")
    check(tmp_path, settings(tmp_path, architecture=architecture, **changes), plan)


@pytest.mark.slow  # tests/training/test_fit.py does the same within one process
def test_sigterm_saves_and_leaves_and_the_checkpoint_is_sound(tmp_path: Path) -> None:
    layout, undisturbed = make_project(tmp_path / "stopped"), make_project(tmp_path / "undisturbed")
    params = settings(tmp_path)
    codes, said = killed(layout.root, params, [{"place": "step", "count": 9, "signal": "SIGTERM"}])
    assert codes == [1, 0]
    assert said.count("ferops: stopped as asked in epoch 2, step 3 of 6; run the same command again") == 1
    assert said.count("resuming after epoch 1, step 3") == 1
    run(prepare(undisturbed, params, "baseline"))
    assert weights(layout) == weights(undisturbed)


@pytest.mark.parametrize("folder", ["artifacts", "reports"])
def test_a_full_disk_at_the_end_costs_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """The system lets no file grow, as a full disk does, once the last epoch is over."""
    layout, params = make_project(tmp_path), settings(tmp_path, epochs=1, freeze_epochs=0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(*_: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))

    writer = "ferops.training.model.save_file" if folder == "artifacts" else "ferops.training.report.draw_curves"
    plain = pkgutil.resolve_name(writer)
    monkeypatch.setattr(writer, lambda *arguments, **options: (fill(), plain(*arguments, **options)))
    try:
        with undrawn(), pytest.raises(FeropsError) as caught:
            run(prepare(layout, params, "baseline"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    message = str(caught.value)
    assert message.startswith({"artifacts": "the model, 0.4 MB, could", "reports": "the report could"}[folder])
    assert f"a file may not grow so large here (ulimit -f) while writing {tmp_path / folder / 'train'}" in message
    assert "MB are free now" in message
    kept = next((layout.state / "checkpoints" / "baseline").rglob("checkpoint.safetensors"))
    assert f"The last complete checkpoint is kept in {kept}" in message
    assert not (tmp_path / folder / "train" / "baseline").exists()

    monkeypatch.undo()
    epochs: list[int] = []
    with undrawn():
        run(prepare(layout, params, "baseline"), on_epoch=lambda row, _: epochs.append(row.epoch))
    assert epochs == []  # all of them are in the checkpoint
    assert weights(layout)
