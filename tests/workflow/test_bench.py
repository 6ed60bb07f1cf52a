"""The bench: the studies that it plans are accepted, and have as many jobs as their conditions need."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def calls(monkeypatch):
    """The module of the bench that calls snakemake."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    import calls

    yield calls
    del sys.modules["calls"]


def test_studies_of_many_conditions_are_planned(calls, monkeypatch):
    plan, said = calls.snakemake, []
    monkeypatch.setattr(calls, "CONDITIONS", (1, 4))
    monkeypatch.setattr(calls, "snakemake", lambda *words: said.append(plan(*words)) or said[-1])
    measured = [row.what for row in calls.planning_rows()]
    assert measured == ["planning 1 condition", "planning 4 conditions"]
    runs = [int(re.search(r"^ *train +(\d+)", text, re.MULTILINE)[1]) for _, _, text in said]
    assert runs == [calls.SEEDS, 4 * calls.SEEDS]
