"""The stored results: every claim has a verdict, and no file is damaged."""

import json
import math
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from scipy import special

from bnopt import claims, evidence, judged
from bnopt.files import artefacts
from bnopt.runtime import StudyError
from bnopt.study import study

ROOT = Path(__file__).parents[2]
STORED = ROOT / "docs" / "results"
# Where the claims of the paper count; cifar10-vgg has those beyond it.
OF_THE_PAPER = ["cifar10-small", "deep-linear", "digits"]
SCALES = [*OF_THE_PAPER, "cifar10-vgg"]


@pytest.fixture(params=SCALES)
def scale(request):
    return request.param


@pytest.fixture
def stored(scale):
    return STORED / scale


@pytest.fixture
def asked(stored_config, scale):
    """The study of the scale, written out."""
    return study.written_out(stored_config(scale))


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


def test_the_claims_are_those_that_are_configured(asked, verdicts):
    for name, claim in asked["claims"].items():
        (row,) = verdicts[verdicts["claim"] == name].to_dict("records")
        for key in ("label", "statement", "source", "quantity", "condition_a", "expected"):
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


def text_of(*place):
    """Return the text of a file with one space between words."""
    return " ".join((ROOT.joinpath(*place)).read_text(encoding="utf-8").split())


def test_what_is_said_of_the_landscape_at_cifar10_small():
    """The list of claims is generated; these sentences of its page and of the report sum it up."""
    stored = STORED / "cifar10-small"
    verdicts = artefacts.read_table(stored / "claims.csv").set_index("claim")
    effects = artefacts.read_table(stored / "claims_per_seed.csv").set_index(["claim", "seed"])["effect"]
    smooths = [name for name in verdicts.index if "smooths" in name and "dln" not in name]
    assert len(smooths) == 13
    said = verdicts.loc[smooths, "verdict"].value_counts().to_dict()
    assert said == {"supported": 2, "inconclusive": 11}
    assert (verdicts.loc[smooths, "effect"] < 0).sum() == 12
    assert effects["bn_trains_faster"].idxmax() == 6
    loss = effects["bn_smooths_loss"]
    assert list(loss[loss > 0].index) == [6]
    for name in smooths:
        without = effects[name].drop(6)
        half = special.stdtrit(6, 0.975) * without.std() / math.sqrt(7)
        assert without.mean() + half < 0, name
    summaries = artefacts.read_table(stored / "claims_sensitivity.csv").set_index(["summary", "claim"])
    headline = ["bn_smooths_loss", "bn_smooths_gradients", "bn_smooths_beta"]
    assert set(summaries.loc["equal_loss"].loc[headline, "verdict"]) == {"supported"}
    assert set(summaries.loc["equal_loss"].loc[headline, "n"]) == {7}
    for summary in ("geometric_mean", "median"):
        assert "supported" not in set(summaries.loc[summary].loc[smooths, "verdict"])
    choices = artefacts.read_table(stored / "specifications.csv")
    small = choices[choices["grid"] == "up_to_lr"].groupby("claim")
    assert "supported" not in set(small.get_group("bn_smooths_gradients")["verdict"])
    loss = small.get_group("bn_smooths_loss").groupby(choices["summary"] == "equal_loss")["verdict"]
    assert {at_equal: set(verdicts) for at_equal, verdicts in loss} == {
        False: {"contradicted"},
        True: {"inconclusive"},
    }
    raw = artefacts.read_table(stored / "claims_per_seed.csv")
    assert sorted(raw.loc[raw["claim"] == "bn_smooths_loss", "seed"]) == list(range(8))
    page, report = text_of("docs", "cifar10-small.md"), text_of("paper", "main.tex")
    assert "one plain net [hardly trains](docs/cifar10-small.md#what-came-out)" in text_of("README.md")
    assert "two claims about smoothness are inconclusive" in text_of("README.md")
    assert list(verdicts.loc[headline, "verdict"]) == ["supported", "inconclusive", "inconclusive"]
    assert "Without this seed all 13 would be supported" in page
    assert "the loss varies *more* with BatchNorm, under every summary but *at equal loss*" in page
    assert "no choice of summary and steps supports that gradients change less" in page
    assert "the loss varies more with BatchNorm under every summary but at equal loss" in report
    assert "Without it, all 13~claims about this would be supported; with it, all but two" in report
    assert "No claim of the 13 is supported under the geometric mean or the median" in report


def test_what_the_report_says_of_the_rest_at_cifar10_small():
    verdicts = artefacts.read_table(STORED / "cifar10-small" / "claims.csv").set_index("claim")["verdict"]
    holds = ["bn_trains_faster", "bn_allows_larger_lr", "plain_fails_at_larger_lr", "noise_hurts_plain"]
    holds += ["noisy_bn_beats_plain", *verdicts.filter(regex=r"^lp_trains_like_bn_(?!dln)").index]
    holds += list(verdicts.filter(regex=r"^bn_does_not_reduce_ics_.+_(relative_)?difference$").index)
    assert len(holds) == 16
    assert set(verdicts[holds]) == {"supported"}
    cosines = verdicts.filter(regex=r"^bn_does_not_reduce_ics_.+_cosine$")
    assert sorted(cosines) == ["inconclusive", "supported", "supported", "supported"]
    summaries = artefacts.read_table(STORED / "cifar10-small" / "claims_sensitivity.csv")
    summaries = summaries[summaries["summary"] == "geometric_mean"].set_index("claim")["verdict"]
    lengths = summaries.filter(regex=r"^bn_does_not_reduce_ics_vgg_layer\d+_difference$")
    assert list(lengths) == ["supported"] * 2
    fails = verdicts.filter(regex=r"^(bn_does_not_stabilise|lp_destabilises)_")
    assert len(fails) == 10
    others = ["noisy_bn_matches_bn", "predictive_at_every_step_size_vgg", "random_directions_agree_vgg"]
    assert {*fails, *verdicts[others]} == {"contradicted"}


def test_the_deep_linear_networks_have_the_same_verdicts_at_both_scales_that_train_them_as_the_paper():
    at = {s: artefacts.read_table(STORED / s / "claims.csv").set_index("claim") for s in OF_THE_PAPER[:2]}
    small = at["cifar10-small"]
    of_both = small[small["condition_a"].str.startswith("deep_linear")].index
    assert len(of_both) == 32
    columns = ["verdict", "grade"]
    pd.testing.assert_frame_equal(small.loc[of_both, columns], at["deep-linear"].loc[of_both, columns])


def test_cifar10_vgg_has_the_nets_of_cifar10_small():
    """So each claim of the paper stands once, where it has more seeds."""
    small, vgg = (
        artefacts.read_table(STORED / scale / "claims_per_seed.csv").set_index(["claim", "seed"])["effect"]
        for scale in ("cifar10-small", "cifar10-vgg")
    )
    verdicts = artefacts.read_table(STORED / "cifar10-vgg" / "claims.csv")
    of_paper = verdicts.loc[~verdicts["source"].str.startswith("beyond the paper"), "claim"]
    assert len(of_paper) == 53
    of_both = vgg.loc[of_paper]
    assert len(of_both) == 3 * 53
    pd.testing.assert_series_equal(of_both, small.loc[of_both.index], check_exact=True)
    shown = judged.read_stored(STORED / "cifar10-vgg").claims["claim"]
    assert [*of_paper, *shown] == verdicts["claim"].tolist()


def test_what_is_said_of_the_parts_beyond_the_paper_at_cifar10_vgg():
    verdicts = artefacts.read_table(STORED / "cifar10-vgg" / "claims.csv").set_index("claim")
    page, report = text_of("docs", "cifar10-small.md"), text_of("paper", "main.tex")
    assert set(verdicts["n"]) == {3}
    assert verdicts["grade"].isna().all()
    assert "with seeds 0 to 2, which are too few to confirm a claim" in page
    ranks = verdicts.filter(like="smoother_trains_better_", axis=0)
    assert ranks["verdict"].value_counts().to_dict() == {"contradicted": 14, "inconclusive": 2}
    assert "No claim is supported, and 14 of 16 are contradicted" in page
    assert r"smoother norms train better ($\tau<-0.5$), 14 are contradicted and none is" in report
    assert "Of the 16~claims" in report
    assert "over norms, a smoother landscape hardly goes with better training" in text_of("README.md")
    at_equal = ranks.filter(regex="(predictiveness|beta|sharpness)_equal_loss$", axis=0)
    assert len(at_equal) == 3
    # An effect is the difference of τ from −0.5.
    assert set(ranks["condition_b"].astype(float)) == {-0.5}
    assert (at_equal["ci_low"] - 0.5 > 0).all()
    assert "the *rougher* ones, by gradient predictiveness, effective β and the largest eigenvalue" in page
    assert "the rougher norms train better, by three of the four measures" in report
    edge = verdicts.filter(regex="^vgg_.+_at_edge$", axis=0)
    normed = edge.drop("vgg_none_at_edge")
    assert len(normed) == 4
    assert set(normed["verdict"]) == {"contradicted"}
    shares = 1 + normed["effect"]
    assert (round(100 * shares.min()), round(100 * shares.max())) == (36, 45)
    assert "36 to 45 % of it over the second half of the run" in page
    assert "With every norm that is judged, the curvature along the gradient stays below half of" in report
    assert edge.loc["vgg_none_at_edge", "verdict"] == "inconclusive"
    assert "For the plain net the question is open" in page
    larger = verdicts.filter(like="larger_lr_is_flatter_", axis=0)
    assert set(larger["verdict"]) == {"supported"}
    factors = sorted(math.exp(-effect) for effect in larger["effect"])
    assert 4 < factors[0] < factors[1] < 5.5
    assert "four to five times smaller with BatchNorm at rate 0.5 than at 0.1" in page
    assert "At equal loss, a larger rate leads to flatter places with BatchNorm" in report
    assert verdicts.loc["bn_ends_flatter", "verdict"] == "inconclusive"
    assert "Whether it is smaller with BatchNorm than without is open" in page
    start = verdicts.filter(regex="^bn_starts_sharper", axis=0)["verdict"]
    assert list(start) == ["supported", "supported", "contradicted"]
    # Smaller, not only no larger: the whole interval lies below zero.
    assert verdicts.loc["bn_starts_sharper_x2", "ci_high"] < 0
    assert "also with weights × √2, but smaller with weights × 2" in page
    assert "larger than that of the plain net, and smaller if the plain net starts with twice" in report


def test_what_the_page_of_the_deep_linear_networks_says_of_the_edge():
    """Its list of claims is generated; these sentences sum it up."""
    page = text_of("docs", "deep_linear.md")
    at_edge = {}
    for scale in ("digits", "deep-linear"):
        verdicts = artefacts.read_table(STORED / scale / "claims.csv").set_index("claim")
        found = verdicts["verdict"].filter(regex=r"^dln_\w+_at_edge$")
        at_edge[scale] = {name.split("_")[1]: verdict for name, verdict in found.items()}
        first_order = verdicts["verdict"].filter(regex="^shift_is_first_order_")
        assert len(first_order) == 2
        assert set(first_order) == {"supported"}
    report = text_of("paper", "main.tex")
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


def test_what_readme_says_of_the_argument():
    """Its table is generated; these sentences say what lies behind the verdicts."""
    readme = text_of("README.md")
    for scale in ("digits", "cifar10-small"):
        effects = artefacts.read_table(STORED / scale / "claims.csv").set_index("claim")["ci_high"]
        stabilised = effects.filter(regex="^bn_does_not_stabilise_")
        assert len(stabilised) == 4
        assert stabilised.max() < math.log(1 / 3)
    assert "their moments change far less than in the plain net, after the ReLU, too" in readme
    choices = {scale: artefacts.read_table(STORED / scale / "specifications.csv") for scale in OF_THE_PAPER}
    at_digits = choices["digits"].set_index("claim")
    early = at_digits[at_digits["steps"] == "until_converged"]
    smooths = early.loc[["bn_smooths_loss", "bn_smooths_gradients", "bn_smooths_beta"]]
    assert set(smooths.loc[smooths["verdict"] != "not run", "verdict"]) == {"contradicted"}
    assert "but *rougher* until the first net converges" in readme
    whole = at_digits[at_digits["steps"] == "all"].filter(
        regex=r"^bn_does_not_reduce_ics_vgg_layer\d+_", axis=0
    )
    assert set(whole.index.str[-16:]) == {"ayer5_difference", "yer10_difference"}
    assert "supported" not in set(whole["verdict"])
    assert "with all steps and rate 0.1, they are no longer clearly as large" in readme
    for scale in OF_THE_PAPER:
        small = choices[scale].query("summary == 'mean' and steps == 'all' and grid == 'up_to_lr'")
        verdicts = small.set_index("claim")["verdict"].filter(regex=r"^bn_smooths_\w+_dln$")
        assert list(verdicts) == ["inconclusive"] * 3
    assert "Up to the learning rate, this is inconclusive" in readme


def test_readme_says_how_many_seeds_are_stored():
    seeds = {scale: artefacts.read_table(STORED / scale / "claims.csv")["n"].max() for scale in OF_THE_PAPER}
    assert set(seeds.values()) == {8}
    assert "with eight seeds each:" in text_of("README.md")


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
