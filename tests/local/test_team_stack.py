"""The team stack for real: PostgreSQL of its own, S3 by moto's server; register, promote, package, serve, push data."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from PIL import Image

from ferops import config
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.local import postgres, stack, team
from ferops.private import password
from ferops.registry import stage
from ferops.registry.promotion import aliases
from registry_project import make_project, params_tree
from served import served
from stacks import ROOT, Running, free_ports, run_deployment, small_project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ("boto3", "moto", "psycopg"))),
        reason="needs the extras team and dev: make install",
    ),
]


def _programs() -> Path | None:
    try:
        return postgres.programs()
    except FeropsError:
        return None


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """A team stack over a project that is ready to register its candidate."""
    if _programs() is None:
        pytest.skip("needs PostgreSQL's programs (Debian: apt-get install postgresql)")
    # PostgreSQL's user must reach it, and pytest's own folders are closed to others
    folder = Path(tempfile.mkdtemp(prefix="ferops-team-"))
    folder.chmod(0o711)
    layout, ports = Layout(small_project(folder)), free_ports()
    make_project(Layout(folder / "made"))
    shutil.copytree(folder / "made", layout.root, dirs_exist_ok=True)
    shutil.copytree(ROOT / "service", layout.root / "service", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.lock", layout.root)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_", "AWS_", "DVC_EXP"))]:
            patch.delenv(name)
        patch.chdir(layout.root)
        try:
            stack.up(layout, ports, kind="team", try_s3=True)
            yield Running(layout, ports)
        finally:
            stack.down(layout)
            shutil.rmtree(folder)


def ferops(running: Running, *arguments: str) -> str:
    """Run a verb as a person does: nothing in its environment names the stack."""
    command = [sys.executable, "-m", "ferops", *arguments]
    done = subprocess.run(command, cwd=running.layout.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def bucket(running: Running) -> Any:
    return team.s3_client(team.driver("boto3"), team.trial(running.ports))


def keys(running: Running, prefix: str) -> list[str]:
    found = bucket(running).list_objects_v2(Bucket="ferops", Prefix=prefix)
    return [each["Key"] for each in found.get("Contents", [])]


@pytest.fixture(scope="module")
def promoted(running: Running) -> Running:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.environment(running.layout).items():
            patch.setenv(name, value)
        stage.register(running.layout, config.parse(params_tree()))
    assert "champion" in ferops(running, "promote", "1")
    return running


def test_what_is_registered_lies_in_the_bucket_and_in_postgresql(promoted: Running) -> None:
    stored = keys(promoted, "mlflow/")
    assert any(key.endswith("/artifacts/export/model-int8.onnx") for key in stored)
    assert not (promoted.layout.root / "mlflow.db").exists()
    assert not list((promoted.layout.root / "mlruns").iterdir())
    with team.connect(team.database_url("mlflow", postgres.addresses(promoted.layout, promoted.ports)["mlflow"])) as db:
        assert db.execute("SELECT alias, version FROM registered_model_aliases ORDER BY 1").fetchall() == [
            ("challenger", 1),
            ("champion", 1),
        ]


def test_the_champion_is_packaged_by_the_stack_and_answers(promoted: Running, tmp_path: Path) -> None:
    done = run_deployment(promoted.layout, promoted.ports, "package/local")
    # The promotion may have started one already
    assert done["state_type"] in ("COMPLETED", "CANCELLED"), done["state"]["message"]
    ferops(promoted, "package")
    from ferops.packaging.serve import Place, serve_command

    command, variables = serve_command(promoted.layout, config.parse(params_tree()), Place(1))
    with served(command, variables, folder=promoted.layout.root, log=tmp_path / "service.log") as client:
        picture = tmp_path / "picture.png"
        Image.new("RGB", (64, 64)).save(picture)
        answer = client.post("/predict", files={"image": picture.read_bytes()})
    assert answer.status_code == 200, answer.text
    assert answer.json()["model_version"] == "1"


def test_the_data_are_pushed_to_the_same_store(running: Running) -> None:
    root, stores = running.layout.root, team.trial(running.ports)
    (root / "faces.bin").write_bytes(b"faces")

    def dvc(*arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=root, check=True, capture_output=True)

    dvc("remote", "add", "--default", "store", "s3://ferops/dvc")
    dvc("remote", "modify", "store", "endpointurl", stores.s3["AWS_ENDPOINT_URL"])
    dvc("remote", "modify", "--local", "store", "access_key_id", stores.s3["AWS_ACCESS_KEY_ID"])
    dvc("remote", "modify", "--local", "store", "secret_access_key", stores.s3["AWS_SECRET_ACCESS_KEY"])
    dvc("add", "faces.bin")
    dvc("push", "faces.bin.dvc")
    assert len(keys(running, "dvc/")) == 1
    (root / "faces.bin").unlink()
    shutil.rmtree(root / ".dvc" / "cache")
    dvc("pull", "faces.bin.dvc")
    assert (root / "faces.bin").read_bytes() == b"faces"


def test_no_password_is_seen_where_it_is_not_needed(promoted: Running) -> None:
    layout = promoted.layout
    secrets = {name: password(layout, name) for name in ("postgres", "postgres-prefect", "postgres-mlflow")}
    environments = {each.name: psutil.Process(each.pid).environ() for each in stack.status(layout)}
    for name, secret in secrets.items():
        server = f"{name.removeprefix('postgres-')}-server"
        holders = {each for each, environment in environments.items() if secret in str(environment)}
        assert holders == ({server} & set(environments))
        for process in psutil.process_iter(["cmdline"]):
            assert secret not in " ".join(process.info["cmdline"] or [])
        for folder in (".ferops/logs", "bentoml", "reports", "artifacts"):
            for file in (each for each in (layout.root / folder).rglob("*") if each.is_file()):
                assert secret.encode() not in file.read_bytes(), file
        login = httpx.get(f"{promoted.ports.mlflow_url}/api/2.0/mlflow/experiments/search")
        assert login.status_code == 401
    assert stat.S_IMODE(postgres.folder(layout).stat().st_mode) == 0o700


def test_postgresql_asks_for_a_password(running: Running) -> None:
    psycopg = team.driver("psycopg")
    for name in team.DATABASES:
        wrong = f"postgresql://{name}:{name}@127.0.0.1:{running.ports.postgres}/{name}"
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            team.connect(team.database_url(name, wrong))
    of_prefect = postgres.addresses(running.layout, running.ports)["prefect"]
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        team.connect(team.database_url("mlflow", of_prefect.removesuffix("prefect") + "mlflow"))


def test_what_was_registered_outlives_the_stack(promoted: Running) -> None:
    """All but the artifacts: moto's server forgets them."""
    stack.down(promoted.layout)
    assert not [each for each in psutil.process_iter(["name"]) if each.info["name"] == "postgres" and _ours(each)]
    stack.up(promoted.layout, promoted.ports, kind="team", try_s3=True)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.environment(promoted.layout).items():
            patch.setenv(name, value)
        assert aliases(promoted.layout, config.parse(params_tree()))["champion"] == "1"


def _ours(process: psutil.Process) -> bool:
    return "ferops-team-" in " ".join(process.cmdline())
