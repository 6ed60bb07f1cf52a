"""The results that the repository keeps: a verdict for every claim, undamaged, and texts that agree."""

import json
import math
import re
from pathlib import Path

import pytest

from bnopt import artefacts, study

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "docs" / "results" / "cifar10-small"


@pytest.fixture(scope="module")
def verdicts():
    return artefacts.read_table(KEPT / "claims.csv")


def test_every_claim_has_a_verdict(config, verdicts):
    assert verdicts["claim"].tolist() == list(study.claims(config, "claims"))
    assert set(verdicts["verdict"]) <= {"supported", "contradicted", "inconclusive"}
    assert (verdicts["n"] == len(config["scales"]["cifar10-small"]["seeds"])).all()


def test_the_claims_are_those_that_are_configured(config, verdicts):
    for name, claim in study.claims(config, "claims").items():
        (row,) = verdicts[verdicts["claim"] == name].to_dict("records")
        for key in ("place", "statement", "quantity", "condition_a", "expected"):
            assert row[key] == claim[key], name
        margin = math.log(claim["margin"]) if row["compare"] == "log_ratio" else claim["margin"]
        assert row["margin"] == pytest.approx(margin)


def test_every_kept_table_is_the_one_its_record_tells_of():
    tables = [file for file in KEPT.iterdir() if file.suffix == ".csv" or file.name == "images.json"]
    assert len(tables) >= 10
    for file in tables:
        artefacts.read_recorded(file)


def test_the_runs_were_made_with_the_configured_settings(config):
    provenance = json.loads((KEPT / "provenance.json").read_text(encoding="utf-8"))
    for name in config["conditions"]:
        for seed in config["scales"]["cifar10-small"]["seeds"]:
            found = provenance[f"runs/{name}/seed{seed}/training.csv"]
            assert found["settings"] == study.train_settings(config, "cifar10-small", name)
    for probe, conditions in study.tables(config).items():
        if probe in config["probes"]:
            for name in conditions:
                found = provenance[f"probes/{probe}/{name}/seed0.csv"]["settings"]
                assert found == study.probe_settings(config, "cifar10-small", name, probe)


def test_every_figure_is_kept(config):
    assert {file.stem for file in KEPT.glob("*.png")} == {*config["figures"], "claims"}


@pytest.mark.parametrize("page", ["README.md", "docs/cifar10-small.md"])
def test_the_texts_count_as_the_verdicts_do(verdicts, page):
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    counts = {
        verdict: int((verdicts["verdict"] == verdict).sum()) for verdict in verdicts["verdict"].unique()
    }
    said = re.search(r"CIFAR-10 .{0,200}?(\d+) supported, (\d+) contradicted, (\d+) inconclusive", text)
    assert said, f"{page} does not say how the claims came out"
    assert [int(number) for number in said.groups()] == [
        counts.get(verdict, 0) for verdict in ("supported", "contradicted", "inconclusive")
    ]
