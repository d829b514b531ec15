from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for evaluation_project, which is no test

import pytest
from evaluation_project import answers, build, export

from ferops.provenance import provenance


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A project whose evaluation has run, without a champion; never change its files."""
    made = build(tmp_path_factory.mktemp("project"))
    made.evaluate()
    return made


@pytest.fixture(scope="session")
def challenged(tmp_path_factory):
    """The same on photographed sources, with a champion that answers as the candidate does, but for 20 faces."""
    made = build(tmp_path_factory.mktemp("challenged"), synthetic=False)
    logits = answers(made.layout.exported).copy()
    logits[:20] = -logits[:20]
    origin = provenance(made.layout, made.params).model_copy(update={"split_hash": "another"})
    made.evaluate(champion=export(made.layout.root / "champion", logits, origin=origin))
    return made
