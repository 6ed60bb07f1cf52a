"""The results that the repository keeps: a verdict for every claim, undamaged, and texts that agree."""

import json
import math
import re
from pathlib import Path

import pytest

from bnopt.files import artefacts
from bnopt.study import study

ROOT = Path(__file__).parents[2]
PAGES = {
    "cifar10-small": ["README.md", "docs/cifar10-small.md"],
    "deep-linear": ["README.md", "docs/deep_linear.md"],
}
# How a page introduces the counts of a scale.
TITLES = {"cifar10-small": "CIFAR-10", "deep-linear": "[Dd]eep linear networks"}


@pytest.fixture(params=sorted(PAGES))
def scale(request):
    return request.param


@pytest.fixture
def kept(scale):
    return ROOT / "docs" / "results" / scale


@pytest.fixture
def asked(config, scale):
    """What the configuration asks of the scale."""
    return study.restricted(config, scale)


@pytest.fixture
def verdicts(kept):
    return artefacts.read_table(kept / "claims.csv")


def test_every_scale_that_is_kept_is_looked_at():
    assert {folder.name for folder in (ROOT / "docs" / "results").iterdir()} == set(PAGES)


def test_every_claim_has_a_verdict(asked, scale, verdicts):
    assert verdicts["claim"].tolist() == list(study.claims(asked, "claims"))
    assert set(verdicts["verdict"]) <= {"supported", "contradicted", "inconclusive"}
    assert (verdicts["n"] == len(asked["scales"][scale]["seeds"])).all()


def test_the_claims_are_those_that_are_configured(asked, verdicts):
    for name, claim in study.claims(asked, "claims").items():
        (row,) = verdicts[verdicts["claim"] == name].to_dict("records")
        for key in ("place", "statement", "quantity", "condition_a", "expected"):
            assert row[key] == claim[key], name
        margin = math.log(claim["margin"]) if row["compare"] == "log_ratio" else claim["margin"]
        assert row["margin"] == pytest.approx(margin)


def test_every_kept_table_is_the_one_its_record_tells_of(kept):
    tables = [file for file in kept.iterdir() if file.suffix == ".csv" or file.name == "images.json"]
    assert len(tables) >= 10
    for file in tables:
        artefacts.read_recorded(file)


def test_the_runs_were_made_with_the_configured_settings(asked, scale, kept):
    provenance = json.loads((kept / "provenance.json").read_text(encoding="utf-8"))
    assert not any(record["commit"].endswith("changes") for record in provenance.values())
    for name in asked["conditions"]:
        for seed in asked["scales"][scale]["seeds"]:
            found = provenance[f"runs/{name}/seed{seed}/training.csv"]
            assert found["settings"] == study.train_settings(asked, scale, name)
    for probe, conditions in study.tables(asked).items():
        if probe in asked["probes"]:
            for name in conditions:
                found = provenance[f"probes/{probe}/{name}/seed0.csv"]["settings"]
                assert found == study.probe_settings(asked, scale, name, probe)


def test_every_figure_is_kept(asked, kept):
    assert {file.stem for file in kept.glob("*.png")} == {*asked["figures"], "claims"}


def test_the_texts_count_as_the_verdicts_do(scale, verdicts):
    counts = [int((verdicts["verdict"] == v).sum()) for v in ("supported", "contradicted", "inconclusive")]
    counted = rf"{TITLES[scale]}.{{0,200}}?(\d+) supported, (\d+) contradicted, (\d+) inconclusive"
    for page in PAGES[scale]:
        text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
        said = re.search(counted, text)
        assert said, f"{page} does not say how the claims came out"
        assert [int(number) for number in said.groups()] == counts, page
