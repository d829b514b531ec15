"""A soup: one network whose weights are the mean of several trainings' weights."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from blobs import make_project
from exports import change
from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.model_config import ModelConfig, read_model_config
from ferops.records.train import TrainSummary, read_history
from ferops.training import data, model, norms
from ferops.training.evaluator import predict
from ferops.training.precision import Precision
from ferops.training.soup import soup
from taught import write_taught

PLAIN = Precision(torch.device("cpu"), None)
START = {"source": "faces", "sha256": "a" * 64, "licence": "MIT"}
TEACHER = {"source": "artifacts/train/large", "sha256": "b" * 64, "licence": "CC0"}


@pytest.fixture(scope="module")
def made(tmp_path_factory, params) -> Layout:
    """A project with two models near each other, their soup `both`, and one from another start."""
    layout = make_project(tmp_path_factory.mktemp("soup"))
    write_taught(layout, "one", pretrained=START)
    write_taught(layout, "two", noise=0.02, pretrained=START, teacher=TEACHER)
    write_taught(layout, "stranger", seed=5)
    write_taught(layout, "other", "test_efficientnet")
    soup(layout, params, "both", ["one", "two"])
    return layout


@pytest.fixture
def copy(made, tmp_path) -> Layout:
    shutil.copytree(made.root, tmp_path / "copy")
    return Layout(tmp_path / "copy")


def tensors(layout: Layout, name: str) -> dict[str, torch.Tensor]:
    return model.load(layout.model(name))[0].state_dict()


def test_its_weights_are_the_mean(made):
    both, one, two = (tensors(made, name) for name in ("both", "one", "two"))
    learnt = [key for key, value in both.items() if value.is_floating_point() and "running" not in key]
    for key in learnt:
        assert_allclose(both[key], (one[key] + two[key]) / 2, atol=1e-6)
    assert any(not torch.equal(one[key], two[key]) for key in learnt)


def test_its_norms_have_the_statistics_of_training_faces(made):
    """The mean of the ingredients' statistics, of which there are none here, would be 0."""
    net, _ = model.load(made.model("both"))
    norm = next(module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d))
    seen = []
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        net(torch.from_numpy(np.array(data.read_faces(made, "train").images)))
    assert_allclose(norm.running_mean, seen[0].mean(dim=(0, 2, 3)), atol=1e-4)
    assert norm.running_mean.abs().max() > 0.01


def test_statistics_that_do_harm_are_not_taken(copy, params, monkeypatch):
    def spoil(net, *_, **__):
        for key, value in net.state_dict().items():
            if "running_mean" in key:
                value.add_(50.0)

    monkeypatch.setattr(norms, "measure_again", spoil)
    soup(copy, params, "spared", ["one", "two"])
    found, one, two = (tensors(copy, name) for name in ("spared", "one", "two"))
    for key in (key for key in found if "running" in key):
        assert_allclose(found[key], (one[key] + two[key]) / 2, atol=1e-6)


@pytest.mark.parametrize("split", ["val", "test"])
def test_it_leaves_what_a_training_leaves(made, split):
    net, _ = model.load(made.model("both"))
    faces = data.read_faces(made, split)
    logits = np.load(made.model("both") / f"{split}_logits.npy")
    assert_allclose(logits, predict(net, faces.images, precision=PLAIN), atol=1e-4)
    assert read_history(made.model("both") / "history.json", made_by="ferops soup") == ()
    summary = TrainSummary.read(made.reports("train") / "both" / "summary.json", made_by="ferops soup")
    assert (summary.model, summary.epochs, summary.architecture) == ("both", 0, "test_resnet")
    if split == "val":
        assert summary.val_accuracy == pytest.approx((logits.argmax(axis=1) == faces.labels).mean())


def test_its_config_names_starts_and_teachers(made):
    found = read_model_config(made.model("both"), ModelConfig)
    assert [(one.name, one.pretrained, one.teacher) for one in found.ingredients] == [
        ("one", START, None),
        ("two", START, TEACHER),
    ]
    assert found.ingredients[0].sha256 != found.ingredients[1].sha256
    assert (found.members, found.pretrained, found.teacher) == ((), None, None)
    assert found.parameters == read_model_config(made.model("one"), ModelConfig).parameters
    assert found.licence == "Apache-2.0; weights of test_resnet"


def test_a_soup_of_a_soup_names_its_trainings(copy, params):
    write_taught(copy, "three", noise=0.01, pretrained=START)
    soup(copy, params, "more", ["both", "three", "one"])
    found = read_model_config(copy.model("more"), ModelConfig).ingredients
    assert [one.name for one in found] == ["one", "two", "three"]
    assert all(one.pretrained == START for one in found)


def test_networks_that_began_elsewhere_are_refused(made, params):
    with pytest.raises(
        FeropsError, match=r"right on \d of 30 .* each: one \d+, stranger \d+\..*ferops ensemble far one stranger"
    ):
        soup(made, params, "far", ["one", "stranger"])
    assert not made.model("far").exists()


@pytest.mark.parametrize(
    ("name", "parts", "message"),
    [
        ("candidate", ["one", "two"], "candidate is an entry of `models`"),
        ("../both", ["one", "two"], r"a soup cannot be called '\.\./both'"),
        ("mean", ["one"], "a soup needs two different models or more, found one"),
        ("mean", ["one", "gone"], r"train/gone/config\.json does not exist"),
        ("mean", ["one", "other"], "other and one differ in architecture: test_efficientnet and test_resnet"),
    ],
)
def test_what_cannot_be_one(made, params, name, parts, message):
    with pytest.raises(FeropsError, match=message):
        soup(made, params, name, parts)
    assert not (made.artifacts("train") / "mean").exists()


def test_pixels_are_read_alike(copy, params):
    change(copy.model("two"), grayscale=True)
    with pytest.raises(FeropsError, match="two and one differ in grayscale: True and False"):
        soup(copy, params, "mean", ["one", "two"])


def two_as_it_is(params: Params) -> Params:
    """Settings in which `two` is an entry that was not trained here."""
    taken = params.models["candidate"].model_copy(
        update={"epochs": 0, "pretrained": None, "learns_from": "artifacts/train/elsewhere"}
    )
    return params.model_copy(update={"models": {**params.models, "two": taken}})


def test_a_model_taken_as_it_is_may_come_from_other_data(copy, params):
    """A soup of the starter and what was trained from it, on images of one's own."""
    change(copy.model("two"), provenance={"data_version": "e" * 32})
    with pytest.raises(FeropsError, match="two has another data version than the project"):
        soup(copy, params, "mean", ["one", "two"])
    assert soup(copy, two_as_it_is(params), "mean", ["one", "two"]).val_macro_f1 > 0.3


def test_classes_that_the_project_lacks_are_cut_off_what_is_taken_as_it_is(copy, params):
    """`ferops learn` with images of four classes: the starter has seven."""
    order = (*reversed(params.data.classes), "neutral")
    net, found = model.load(copy.model("two"))
    head = net.backbone.get_classifier()
    head.weight = torch.nn.Parameter(torch.cat([head.weight.flip(0), 9.0 * torch.ones(1, head.weight.shape[1])]))
    head.bias = torch.nn.Parameter(torch.cat([head.bias.flip(0), torch.tensor([9.0])]))
    shutil.rmtree(copy.model("two"))
    copy.model("two").mkdir()
    model.save(copy.model("two"), net, found.model_copy(update={"classes": order}))
    with pytest.raises(FeropsError, match="two has other classes than the project: surprised, sad"):
        soup(copy, params, "mean", ["one", "two"])
    soup(copy, two_as_it_is(params), "mean", ["one", "two"])
    both, mean = tensors(copy, "both"), tensors(copy, "mean")
    assert all(torch.allclose(both[key], mean[key], atol=1e-5) for key in both)
    assert read_model_config(copy.model("mean"), ModelConfig).classes == params.data.classes
