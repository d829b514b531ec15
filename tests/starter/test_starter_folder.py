"""starter/: fetching it, what is said of it, and that a user's model never gets into the repository."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from embedded import contents, objects

from exports import export_config, provenance
from ferops.datasets import versioning
from ferops.datasets.catalogue import SOURCES
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.orchestration import run
from ferops.records.metrics import Interval
from ferops.records.starter import StarterMetrics
from ferops.starter.adopt import MAX_MB, OTHERS_MAX_MB
from ferops.starter.folder import fetch, summary, terms
from repositories import dvc

JudgedMaker = Callable[..., Path]
METRICS = StarterMetrics(
    test_images=2706,
    confidence_level=0.95,
    accuracy=Interval(value=0.68123, low=0.662, high=0.6991),
    macro_f1=Interval(value=0.6312, low=None, high=None),
    chance_accuracy=0.3202,
)


def test_without_starter_dvc_there_is_none(tmp_path: Path) -> None:
    assert fetch(Layout(tmp_path)) is None


def test_what_is_here_already_is_not_fetched_again(clone: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fetch(clone)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("a command was run"))
    assert fetch(clone) == first


def test_files_that_somebody_changed_are_kept_and_named(clone: Layout) -> None:
    fetch(clone)
    (clone.starter / "NOTICE").write_text("my own words")
    with pytest.raises(FeropsError, match=r"(?s)could not be fetched.*ERROR: \S.*move that folder away"):
        fetch(clone)
    assert (clone.starter / "NOTICE").read_text() == "my own words"


def test_a_clone_that_lost_the_files_says_so(clone: Layout) -> None:
    shutil.rmtree(clone.root / ".dvc" / "embedded")
    clone.root.joinpath(".dvc", "embedded").mkdir()
    with pytest.raises(FeropsError, match=r"Delete the line `remote: embedded` from starter\.dvc|could not be fetched"):
        fetch(clone)


def test_a_users_model_in_its_place_is_stopped_before_it_can_reach_the_repository(
    clone: Layout, make_judged: JudgedMaker, tmp_path: Path
) -> None:
    dvc(clone.root, "pull")
    before = objects(clone.root)
    own = make_judged(favours="fear") / "artifacts" / "export"
    for name in ("config.json", "model.onnx"):
        shutil.copy(own / name, clone.starter)
    dvc(clone.root, "add", "starter")
    line = "  remote: embedded\n"
    text = clone.starter_dvc.read_text()
    assert line in text  # DVC keeps it: this is the danger
    for check in (fetch, versioning.require_current):  # what `serve` and `validate` do first
        with pytest.raises(FeropsError, match=r"Delete the line `remote: embedded` from starter\.dvc"):
            check(clone)
    clone.starter_dvc.write_text(text.replace(line, ""))
    versioning.require_current(clone)
    starter = fetch(clone)
    assert starter is not None
    dvc(clone.root, "remote", "add", "-d", "store", str(tmp_path / "store"))
    dvc(clone.root, "push")
    assert objects(clone.root) == before
    pushed = set(contents(tmp_path / "store").values())
    assert (own / "model.onnx").read_bytes() in pushed


@pytest.mark.slow
def test_pushing_what_was_cloned_sends_the_starter_nowhere(clone: Layout, tmp_path: Path) -> None:
    before = objects(clone.root)
    dvc(clone.root, "remote", "add", "-d", "store", str(tmp_path / "store"))
    dvc(clone.root, "push")  # neither pulled nor in the cache
    fetch(clone)
    dvc(clone.root, "push")
    assert objects(clone.root) == before
    assert contents(tmp_path / "store") == {}


@pytest.mark.slow
def test_after_make_run_dvc_checks_out_everything(clone: Layout, capfd: pytest.CaptureFixture[str]) -> None:
    """`dvc checkout`, which docs/versions.md tells people to run, fails while anything that a .dvc file names is
    missing: so `make run` pulls the starter, too."""
    (clone.root / "dvc.yaml").write_text("stages: {one: {cmd: 'true', deps: [data]}}\n")
    with pytest.raises(FeropsError, match="does not exist"):  # the stages of this project write nothing
        run.run(clone)
    assert clone.starter.is_dir()
    assert "No remote" not in "".join(capfd.readouterr())  # the files name one
    dvc(clone.root, "checkout")


def test_what_is_said_of_it() -> None:
    trained = provenance(data_version="7c1865526e" + "0" * 22, synthetic=False, sources=("fer2013",))
    config = export_config(provenance=trained)
    assert summary(config, METRICS) == (
        "This is the starter model that comes with ferops: resnet18 at 32 px, trained on FER2013 (data version "
        "7c1865526e). On the 2,706 faces of its test split: accuracy 68.1 (66.2 to 69.9) %, macro-F1 0.631 "
        "(no interval); 95 % intervals in brackets. The most frequent answer alone: 32.0 %."
    )
    assert terms(config) == (
        "Licence note: the weights were trained on FER2013 (Facial Expression Recognition challenge, ICML 2013): "
        f"{SOURCES['fer2013'].licence}."
    )
    assert "research only" in terms(config)
    started = config.model_copy(update={"pretrained": {"source": "hub", "sha256": None, "licence": "Apache-2.0"}})
    assert "trained from pretrained weights on FER2013" in summary(started, METRICS)
    assert terms(started) == f"{terms(config)} They started from weights under Apache-2.0."


def test_a_starter_of_rendered_faces_says_so() -> None:
    assert "nothing about photographs" in summary(export_config(provenance=provenance(synthetic=True)), METRICS)


ROOT = Path(__file__).parents[2]


STORE = ROOT / ".dvc" / "embedded" / "files" / "md5"


def listed(dvc_file: Path) -> dict[str, str]:
    """Return the md5 of each object that `dvc_file` names in the embedded remote, by path; its listing is ``."""
    [folder] = re.findall(r"md5: ([0-9a-f]{32})\.dir", dvc_file.read_text())
    listing = json.loads((STORE / folder[:2] / f"{folder[2:]}.dir").read_text())
    return {"": f"{folder}.dir", **{each["relpath"]: each["md5"] for each in listing}}


@pytest.mark.parametrize("dvc_file", Layout(ROOT).shipped_dvc, ids=lambda path: path.stem)
def test_a_model_that_this_repository_comes_with(dvc_file: Path) -> None:
    """Read from the embedded remote itself, so that nothing is pulled: small, complete, with its terms."""
    assert "remote: embedded" in dvc_file.read_text()
    names = {name: md5 for name, md5 in listed(dvc_file).items() if name}
    files = {name: (STORE / md5[:2] / md5[2:]).read_bytes() for name, md5 in names.items()}
    config = json.loads(files["config.json"])
    assert set(files) == {
        "MODEL_CARD.md",
        "NOTICE",
        "config.json",
        "metrics.json",
        "weights.safetensors",
        config["served"],
    }
    assert sum(map(len, files.values())) <= 1e6 * MAX_MB.get(dvc_file.stem, OTHERS_MAX_MB)
    said = " ".join(files["NOTICE"].decode().split())
    for name in config["provenance"]["sources"]:  # in the words of the day when it was adopted
        about = SOURCES.get(name)
        own = (
            rf"{re.escape(about.title)}\. Terms: .* Cite: {re.escape(about.citation)}"
            if about
            else f"{name}: .* Terms: "
        )
        assert re.search(own, said)


def test_nothing_else_lies_in_the_embedded_remote() -> None:
    """What is no longer named would stay in every clone."""
    data = ROOT / "data.dvc"
    [version] = re.findall(r"md5: ([0-9a-f]{32})\.dir", data.read_text())
    if not (STORE / version[:2] / f"{version[2:]}.dir").exists():
        pytest.skip("data.dvc names a user's own data, which are elsewhere")
    shipped = [data, *Layout(ROOT).shipped_dvc]
    assert objects(ROOT) == {md5 for dvc_file in shipped for md5 in listed(dvc_file).values()}
