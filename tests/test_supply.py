"""What is installed is pinned by hash, a known vulnerability fails the audit, and the SBOM lists the weights."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
UNPINNED = ("maps", "executorch", "coreml", "tensorrt")
"""Extras that nothing of ferops but one page or `ferops convert` uses: docs/judging.md, docs/edge.md."""

AUDIT, SBOM = ROOT / ".ci" / "audit.py", ROOT / ".ci" / "sbom.py"


@pytest.fixture(scope="module")
def locked() -> dict[str, str]:
    return pins(ROOT / "requirements.lock")


def pins(lock: Path) -> dict[str, str]:
    """Return versions by name; every entry has been checked to consist of a pin and its hashes."""
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text  # no index
    entries = [entry for entry in re.split(r"\n(?=\S)", text.rstrip()) if not entry.startswith("#")]
    pin = re.compile(r"([a-z0-9-]+)==(\S+)( ; [^\n]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+")
    found = [(entry, pin.fullmatch(entry)) for entry in entries]
    assert [entry for entry, match in found if match is None] == []
    return {match[1]: match[2] for _, match in found if match}


def test_the_lock_pins_what_pyproject_asks_for(locked: dict[str, str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = project["project"]["dependencies"] + project["build-system"]["requires"]
    extras = project["project"]["optional-dependencies"]
    asked += [each for extra, wanted in extras.items() if extra not in UNPINNED for each in wanted]
    for requirement in map(Requirement, asked):
        if requirement.name != "ferops":
            version = locked.get(canonicalize_name(requirement.name))
            assert version, f"{requirement} is not pinned: make lock"
            assert version in requirement.specifier, f"{requirement}, but {version} is pinned: make lock"


def test_the_site_s_tools_are_pinned_in_a_lock_of_their_own(locked: dict[str, str]) -> None:
    assert len(locked) > 300
    asked = re.findall(r"^[a-z-]+", (ROOT / "docs" / "requirements.in").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"mkdocs-material", "mkdocstrings"} <= set(asked) <= pins(ROOT / "docs" / "requirements.lock").keys()
    assert "mkdocs" not in locked


class Osv(BaseHTTPRequestHandler):
    """Stands in for the database: it knows one vulnerability, of idna."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["package"]
        concerned = {"package": {"name": "idna", "ecosystem": "PyPI"}, "versions": ["3.20"]}
        known = {"id": "PYSEC-0", "summary": "", "published": "2026-01-01T00:00:00Z", "affected": [concerned]}
        answer = json.dumps({"vulns": [known]} if asked["name"] == "idna" else {}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def osv() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Osv) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


@pytest.mark.slow
def test_a_known_vulnerability_fails_the_audit(osv: str) -> None:
    done = subprocess.run([sys.executable, AUDIT, osv], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1, done.stderr
    assert re.search(r"^idna +\S+ +PYSEC-0", done.stdout, re.MULTILINE)


def test_an_audit_without_a_network_says_that_it_checked_nothing() -> None:
    nobody = "http://127.0.0.1:9/v1/query"
    done = subprocess.run([sys.executable, AUDIT, nobody], capture_output=True, text=True, check=True, timeout=60)
    assert (
        done.stdout
        == f"audit: skipped, nothing was checked: {nobody} cannot be reached ([Errno 111] Connection refused)\n"
    )


@pytest.mark.slow
def test_the_sbom_lists_packages_and_weights(tmp_path: Path) -> None:
    subprocess.run([sys.executable, SBOM, tmp_path / "sbom.json"], check=True, capture_output=True, timeout=120)
    bom = json.loads((tmp_path / "sbom.json").read_text(encoding="utf-8"))
    assert bom["bomFormat"] == "CycloneDX"
    names = {component["name"] for component in bom["components"]}
    assert {"torch", "mlflow", "bentoml", "dvc"} <= names
    weights = {each["name"]: each for each in bom["components"] if each["type"] == "machine-learning-model"}
    shipped = sorted((ROOT / "src").rglob("*.safetensors"))
    assert shipped
    for path in shipped:
        component = weights[str(path.relative_to(ROOT))]
        assert component["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}]
        assert component["licenses"][0]["license"]["id"] in ("MIT", "Apache-2.0", "BSD-3-Clause", "CC0-1.0")
        assert (ROOT / component["externalReferences"][0]["url"]).exists()
