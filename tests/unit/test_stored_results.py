"""The stored results: every claim has a verdict, and no file is damaged."""

import json
import math
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from bnopt import claims, evidence, judged
from bnopt.files import artefacts
from bnopt.runtime import StudyError
from bnopt.study import study

ROOT = Path(__file__).parents[2]
STORED = ROOT / "docs" / "results"
SCALES = ["cifar10-small", "deep-linear", "digits"]
# These were made before intervals became odd, as their pages say: scale -> task -> interval.
EVEN = {"cifar10-small": {"vgg": 30, "deep_linear": 100}}


@pytest.fixture(params=SCALES)
def scale(request):
    return request.param


@pytest.fixture
def stored(scale):
    return STORED / scale


@pytest.fixture
def asked(stored_config, scale):
    """The study of the scale, written out."""
    config = stored_config(scale)
    for task, interval in EVEN.get(scale, {}).items():
        config["scales"][scale][task]["snapshot_every"] = interval
        config["probes"]["theorems"][task]["every"] = 20
    return study.written_out(config)


@pytest.fixture
def verdicts(stored):
    return artefacts.read_table(stored / "claims.csv")


def test_every_stored_scale_is_tested():
    assert {folder.name for folder in STORED.iterdir()} == set(SCALES)


def test_every_claim_has_a_verdict(asked, verdicts):
    assert verdicts["claim"].tolist() == list(asked["claims"])
    assert set(verdicts["verdict"]) <= {"supported", "contradicted", "inconclusive"}
    # A seed whose run diverged has no value at later steps.
    missing = len(asked["seeds"]) - verdicts["n"]
    assert ((missing == 0) | ((missing > 0) & (missing <= verdicts["n_diverged"]))).all()


def test_the_claims_are_those_that_are_configured(asked, verdicts, scale):
    # Those of earlier results were judged before labels and statements named conditions in words.
    texts = () if scale in EVEN else ("label", "statement")
    for name, claim in asked["claims"].items():
        (row,) = verdicts[verdicts["claim"] == name].to_dict("records")
        for key in (*texts, "source", "quantity", "condition_a", "expected"):
            assert row[key] == claim[key], name
        margin = math.log(claim["margin"]) if row["compare"] == "log_ratio" else claim["margin"]
        assert row["margin"] == pytest.approx(margin)


def test_the_evidence_is_that_of_the_stored_effects(stored, verdicts):
    effects = artefacts.read_table(stored / "claims_per_seed.csv").groupby("claim")["effect"]
    found = [
        evidence.of_claim(
            effects.get_group(row["claim"]).dropna().to_numpy(),
            row["verdict"],
            expected=row["expected"],
            margin=row["margin"],
        )
        for row in verdicts.to_dict("records")
    ]
    again = evidence.of_families(verdicts.assign(**pd.DataFrame(found)))
    columns = [*evidence.COLUMNS, "p_holm", "p_opposite_holm", "seeds_to_confirm"]
    pd.testing.assert_frame_equal(again[columns], verdicts[columns], check_dtype=False)
    assert again["grade"].tolist() == verdicts["grade"].astype(object).fillna("").tolist()


def test_the_columns_are_those_that_a_page_describes(verdicts):
    section = (ROOT / "docs" / "running.md").read_text(encoding="utf-8").partition("## The columns of cl")[2]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    described = re.findall("`([a-z_]+)`", " ".join(rows))
    assert len(described) == len(set(described))
    assert set(verdicts) <= set(described)
    assert set(described) == {*claims.COLUMNS, "registration"}


def test_every_stored_table_matches_its_record(stored):
    tables = [file for file in stored.iterdir() if file.suffix == ".csv" or file.name == "images.json"]
    assert len(tables) >= 6
    for file in tables:
        artefacts.read_recorded(file)


def test_the_runs_were_made_with_the_configured_settings(asked, stored):
    provenance = json.loads((stored / "provenance.json").read_text(encoding="utf-8"))
    assert not any(record["commit"].endswith("changes") for record in provenance.values())
    for name in asked["conditions"]:
        for seed in asked["seeds"]:
            found = provenance[f"runs/{name}/seed{seed}/training.csv"]
            assert found["settings"] == study.train_settings(asked, name)
    for probe, conditions in asked["tables"].items():
        if probe in asked["probes"]:
            for name in conditions:
                found = provenance[f"probes/{probe}/{name}/seed0.csv"]["settings"]
                assert found == study.probe_settings(asked, name, probe)


@pytest.mark.parametrize("scale", EVEN, indirect=True)
def test_the_page_of_results_at_even_intervals_says_so(scale):
    page = (ROOT / "docs" / f"{scale.replace('deep-linear', 'deep_linear')}.md").read_text(encoding="utf-8")
    assert "stored results were made before intervals became odd" in " ".join(page.split())


def test_what_the_page_of_the_deep_linear_networks_says_of_the_edge():
    """Its list of claims is generated; these sentences sum it up."""
    page = " ".join((ROOT / "docs" / "deep_linear.md").read_text(encoding="utf-8").split())
    at_edge = {}
    for scale in ("digits", "deep-linear"):
        verdicts = artefacts.read_table(STORED / scale / "claims.csv").set_index("claim")
        found = verdicts["verdict"].filter(regex=r"^dln_\w+_at_edge$")
        at_edge[scale] = {name.split("_")[1]: verdict for name, verdict in found.items()}
        first_order = verdicts["verdict"].filter(regex="^shift_is_first_order_")
        assert len(first_order) == 2
        assert set(first_order) == {"supported"}
    report = " ".join((ROOT / "paper" / "main.tex").read_text(encoding="utf-8").split())
    supported = {norm for norm, verdict in at_edge["deep-linear"].items() if verdict == "supported"}
    assert supported == {"linf"}
    assert r"contradicted with $\ell_1$ and $\ell_2$, and supported with $\ell_\infty$ only" in report
    contradicted = {norm for norm, verdict in at_edge["deep-linear"].items() if verdict == "contradicted"}
    assert contradicted == {"l1", "l2"}
    assert "claims about L₁ and L₂ are contradicted" in page
    assert at_edge["deep-linear"]["linf"] == "supported"
    assert "about L∞, which learns for longer, is" in page
    assert len(at_edge["digits"]) == 5
    assert "contradicted" not in at_edge["digits"].values()
    assert "five claims that it is 2/lr over the second half of a run none is contradicted there" in page
    assert "Here it changed no verdict" in page


def test_readme_says_how_many_seeds_are_stored():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    seeds = {scale: artefacts.read_table(STORED / scale / "claims.csv")["n"].max() for scale in SCALES}
    assert seeds == {"digits": 8, "deep-linear": 8, "cifar10-small": 3}
    assert "of `digits` and `deep-linear` have eight seeds, those of `cifar10-small` three." in text


def test_the_stored_figures_are_those_that_a_page_shows(scale, stored):
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = {
        name
        for page in pages
        for name in re.findall(rf"results/{scale}/(\w+\.png)", page.read_text(encoding="utf-8"))
    }
    assert {file.name for file in stored.glob("*.png")} == shown


def test_the_report_shows_stored_figures_only():
    text = (ROOT / "paper" / "main.tex").read_text(encoding="utf-8")
    shown = re.findall(r"\\storedfigure\{([\w-]+)\}\{(\d+)\}", text)
    assert shown
    for scale, number in shown:
        assert (STORED / scale / f"fig{number}.png").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content.replace(b"\n", b"\r\n"), "its lines end in CR LF"),
        (lambda content: content[:-5], "found it altered or truncated; to restore"),
    ],
)
def test_altered_stored_results_are_refused_with_a_remedy_that_fits_them(tmp_path, change, words):
    """No command of Snakemake makes them; git restores them, and `make store` makes and stores them."""
    folder = shutil.copytree(STORED / "digits", tmp_path / "digits")
    file = folder / "claims.csv"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(StudyError) as caught:
        judged.read_stored(folder)
    message = str(caught.value)
    assert words in message
    assert f"git checkout -- {folder}" in message
    assert "make store SCALE=digits" in message
    assert "snakemake" not in message
