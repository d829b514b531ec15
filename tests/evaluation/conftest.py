from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for evaluation_project, which is no test

import pytest
from evaluation_project import FixedAnswers, build, export

from ferops.evaluation.stage import Champion, evaluate


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A project whose evaluation has run, without a champion; never change its files."""
    made = build(tmp_path_factory.mktemp("project"))
    evaluate(made.layout, made.params, load=FixedAnswers)
    return made


@pytest.fixture(scope="session")
def challenged(tmp_path_factory):
    """The same on photographed sources, with a champion that answers as the candidate does, but for 20 faces."""
    made = build(tmp_path_factory.mktemp("challenged"), synthetic=False)
    answers = FixedAnswers(made.layout.exported).answers.copy()
    answers[:20] = -answers[:20]
    folder = export(made.layout.root / "champion", answers)
    evaluate(made.layout, made.params, champion=Champion(version="7", folder=folder), load=FixedAnswers)
    return made
