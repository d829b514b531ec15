from __future__ import annotations

import pytest
from mlflow import MlflowClient

from ferops.errors import FeropsError
from ferops.registry.connection import experiment_id
from ferops.registry.lookup import find_runs, latest
from ferops.registry.tracking import all_runs


def add(client: MlflowClient, name: str, start_s: int) -> str:
    return str(client.create_run(experiment_id(client), run_name=name, start_time=start_s * 1000).info.run_id)


def ids(client: MlflowClient, *wanted: str) -> list[str]:
    return [found.run.info.run_id for found in find_runs(client, wanted, model_name="ferops")]


def add_version(client: MlflowClient, name: str, run_id: str) -> str:
    source = client.get_run(run_id).info.artifact_uri
    return str(client.create_model_version(name, f"{source}/model", run_id=run_id).version)


def test_by_id_prefix_and_newest_name(client: MlflowClient) -> None:
    old, new = add(client, "candidate", 1_000), add(client, "candidate", 2_000)
    base = add(client, "baseline", 1_500)
    assert ids(client, old, new, base) == [old, new, base]
    assert ids(client, "candidate", "baseline") == [new, base]
    unique = next(length for length in range(1, 33) if sum(i.startswith(old[:length]) for i in (old, new, base)) == 1)
    assert ids(client, old[:unique], old[:unique].upper()) == [old, old]
    with pytest.raises(FeropsError, match="there is no run ''"):
        ids(client, "")


def test_an_ambiguous_prefix_lists_what_it_fits(client: MlflowClient) -> None:
    names = {add(client, f"run-{n}", n): f"run-{n}" for n in range(10, 27)}
    assert len(all_runs(client)) == 17
    # 17 ids of hex digits: two at least begin alike. A name of one letter would be taken for the name that it is
    first = [run_id[0] for run_id in names]
    shared = next(digit for digit in first if first.count(digit) > 1)
    with pytest.raises(FeropsError, match=f"'{shared}' is the beginning of {first.count(shared)} run ids") as error:
        ids(client, shared)
    for run_id, name in names.items():
        assert (f"{run_id[:8]}  {name} " in str(error.value)) == (run_id[0] == shared)


def test_by_version_and_alias(client: MlflowClient) -> None:
    run = add(client, "candidate", 1_000)
    other = add(client, "candidate", 2_000)
    client.create_registered_model("ferops")
    client.create_registered_model("edge")
    assert [add_version(client, "ferops", run), add_version(client, "ferops", other)] == ["1", "2"]
    add_version(client, "edge", other)
    client.set_registered_model_alias("ferops", "champion", "1")
    wanted = ("1", "v2", "models:/ferops/1", "models:/ferops@champion", "models:/edge/1")
    found = find_runs(client, wanted, model_name="ferops")
    assert [each.run.info.run_id for each in found] == [run, other, run, run, other]
    assert [each.version for each in found] == [
        ("ferops", "1 champion"),
        ("ferops", "2"),
        ("ferops", "1 champion"),
        ("ferops", "1 champion"),
        ("edge", "1"),
    ]
    with pytest.raises(
        FeropsError, match=r"no models:/ferops@champoin\. The model ferops has: 2 \(no alias\), 1 \(champion\)"
    ):
        ids(client, "models:/ferops@champoin")
    with pytest.raises(FeropsError, match="no models:/ferops/7"):
        ids(client, "models:/ferops/7")
    with pytest.raises(FeropsError, match=r"no models:/nobody@champion\. Its models are: edge, ferops"):
        ids(client, "models:/nobody@champion")
    with pytest.raises(FeropsError, match="names no version"):
        ids(client, "models:/ferops")


def test_a_number_that_is_no_version_may_begin_an_id(client: MlflowClient) -> None:
    for start in range(1, 60):
        run_id = add(client, "run", start)
        if run_id[:2].isdigit():
            break
    others = [run.info.run_id for run in all_runs(client) if run.info.run_id != run_id]
    length = next(n for n in range(1, 33) if not any(other.startswith(run_id[:n]) for other in others))
    assert ids(client, run_id[: max(length, 2)]) == [run_id]


def test_an_unknown_run_is_told_what_is_near_and_new(client: MlflowClient) -> None:
    with pytest.raises(FeropsError, match="There is no run yet; a training makes one"):
        ids(client, "candidate")
    for start, name in enumerate(("baseline", "candidate", *(f"other-{number}" for number in range(8))), 1):
        add(client, name, start)
    with pytest.raises(FeropsError, match=r"there is no run 'candidat'\. Did you mean candidate\?") as error:
        ids(client, "candidat")
    listed = str(error.value).splitlines()[1:]
    assert len(listed) == 7  # six runs, newest first, and how many more
    assert "other-7" in listed[0]
    assert listed[-1] == "  and 4 older ones"
    gone = all_runs(client)[0].info.run_id
    client.delete_run(gone)
    with pytest.raises(FeropsError, match=f"there is no run '{gone}'"):
        ids(client, gone)


def test_a_version_whose_run_was_purged_says_so(client: MlflowClient) -> None:
    run = add(client, "candidate", 1_000)
    client.create_registered_model("ferops")
    client.create_model_version("ferops", f"{client.get_run(run).info.artifact_uri}/model", run_id="f" * 32)
    with pytest.raises(FeropsError, match="ferops version 1 is no longer in this store"):
        ids(client, "models:/ferops/1")


def test_the_latest_are_listed_in_utc(client: MlflowClient) -> None:
    run_id = add(client, "candidate", 1_700_000_000)
    assert f"  {run_id[:8]}  candidate         2023-11-14 22:13  running" in latest(all_runs(client))
