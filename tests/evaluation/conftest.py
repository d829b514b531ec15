from __future__ import annotations

import pytest

from evaluation_project import Project, answers, build, evaluated, export
from ferops.provenance import provenance


@pytest.fixture(scope="session")
def project() -> Project:
    return evaluated()


@pytest.fixture(scope="session")
def challenged(tmp_path_factory):
    """The same on photographed sources, with a champion that answers as the candidate does, but for 20 faces."""
    made = build(tmp_path_factory.mktemp("challenged"), synthetic=False)
    logits = answers(made.layout.exported).copy()
    logits[:20] = -logits[:20]
    origin = provenance(made.layout, made.params).model_copy(update={"split_hash": "another"})
    made.evaluate(champion=export(made.layout.root / "champion", logits, origin=origin))
    return made
