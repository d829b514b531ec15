"""From the aliases to beside.json; the registry and BentoML are played, their own tests are theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferops.config import Params
from ferops.errors import FeropsError, RegistryAwayError
from ferops.layout import Layout
from ferops.packaging import beside
from ferops.packaging.bento import PackageResult, beside_file
from ferops.packaging.beside import is_current, read_beside, reconcile_beside, wanted


@pytest.mark.parametrize(
    ("held", "roles"),
    [
        ({"champion": "2", "shadow": "3", "canary": "4"}, {"shadow": "3", "canary": "4"}),
        ({"champion": "4", "shadow": "3", "canary": "4"}, {"shadow": "3"}),  # the canary has been promoted
        ({"shadow": "3"}, {}),
        ({"champion": "2", "challenger": "3"}, {}),
    ],
)
def test_what_runs_beside_the_champion(held: dict[str, str], roles: dict[str, str]) -> None:
    assert wanted(held) == roles


def test_beside_json_follows_aliases_and_settings(
    tmp_path: Path, quick_params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, held = Layout(tmp_path), {"champion": "2"}

    def files_of(_layout: Layout, _params: Params, version: str, destination: Path) -> Path:
        if version == "5":
            raise FeropsError("nobody trusted vouches for it")
        return destination

    def build(layout: Layout, _params: Params, *, model_folder: Path, version: str) -> PackageResult:
        assert model_folder.is_relative_to(layout.state)
        layout.root.joinpath("bentoml").mkdir(exist_ok=True)
        return PackageResult(f"ferops:v{version}", layout.root, created=True, message=f"built ferops:v{version}")

    monkeypatch.setattr(beside, "aliases", lambda *_: held)
    monkeypatch.setattr(beside, "files_of", files_of)
    monkeypatch.setattr(beside, "build", build)
    assert reconcile_beside(layout, quick_params) == []
    assert is_current(layout, quick_params, held)
    assert not beside_file(layout).exists()  # who tries no version has no such file

    held |= {"shadow": "3", "canary": "5"}
    assert not is_current(layout, quick_params, held)
    said = reconcile_beside(layout, quick_params)
    assert said == [
        "shadow: built ferops:v3",
        "canary: version 5 does not run: nobody trusted vouches for it",
    ]
    found = read_beside(layout)
    assert found is not None
    assert found.shadow is not None
    assert found.canary is not None
    assert (found.shadow.tag, found.canary.tag, found.rules) == ("ferops:v3", None, quick_params.canary)
    assert is_current(layout, quick_params, held)  # what cannot be packaged is not tried again all the time
    more = quick_params.model_copy(update={"canary": quick_params.canary.model_copy(update={"share": 0.3})})
    assert not is_current(layout, more, held)

    del held["shadow"], held["canary"]
    assert not is_current(layout, quick_params, held)
    assert reconcile_beside(layout, quick_params) == []
    found = read_beside(layout)
    assert found is not None
    assert (found.shadow, found.canary) == (None, None)


def test_a_registry_that_is_away_changes_nothing(
    tmp_path: Path, quick_params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> Path:
        raise RegistryAwayError("no answer")

    monkeypatch.setattr(beside, "aliases", lambda *_: {"champion": "2", "canary": "3"})
    monkeypatch.setattr(beside, "files_of", away)
    with pytest.raises(RegistryAwayError):
        reconcile_beside(Layout(tmp_path), quick_params)
    assert not beside_file(Layout(tmp_path)).exists()
