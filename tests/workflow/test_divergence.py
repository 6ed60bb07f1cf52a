"""Divergence is data: a study whose nets diverge finishes, and all its results report the divergence."""

import copy
import re
import shutil
import zlib

import numpy as np
import pytest

from bnopt.files.artefacts import read_table
from bnopt.study import names, study

TOO_LARGE = 1.0e30
VERDICTS = {"supported", "contradicted", "inconclusive"}


def words_of(pdf):
    """Return the texts of a PDF figure, joined in order."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf.read_bytes(), flags=re.DOTALL)
    found = []
    for stream in streams:
        try:
            content = zlib.decompress(stream)
        except zlib.error:
            continue
        if b" Tf" in content:
            found += re.findall(rb"\(((?:\\.|[^\\()])*)\)", content)
    return b"".join(found).replace(b"\\", b"").replace(b"\0", b"").decode("latin-1")


FEW = ["vgg_none", "vgg_batch", "vgg_noisy_batch", "deep_linear_none", "deep_linear_batch"]


@pytest.fixture(scope="module", params=["few", pytest.param("whole", marks=pytest.mark.long)])
def all_diverged(request, tmp_path_factory, new_study, tiny_config, pruned):
    """The finished tiny study with a learning rate at which all runs diverge: some conditions, or all."""
    config = copy.deepcopy(tiny_config)
    if request.param == "few":
        tables = set(study.written_out(config)["tables"]) - {study.RATE_SPREAD}
        config = pruned(config, conditions=FEW, tables=tables)
    for condition in config["conditions"].values():
        condition["lr"] = TOO_LARGE
    new = new_study(tmp_path_factory.mktemp("diverged") / "study", config)
    new.run()
    return new


@pytest.fixture(scope="module")
def plain_diverged(tmp_path_factory, new_study, pair_config):
    """A finished study of two seeds. The plain net diverges; the net with BatchNorm does not."""
    config = copy.deepcopy(pair_config)
    config["conditions"]["vgg_none"]["lr"] = TOO_LARGE
    new = new_study(tmp_path_factory.mktemp("plain_diverged") / "study", config)
    new.run("results/tiny/statistics/claims.csv", "results/tiny/figures/fig4.pdf")
    return new


def curves(finished):
    """Return condition -> the training table of seed 0."""
    return {
        condition: read_table(finished.results / "runs" / condition / "seed0" / "training.csv")
        for condition in finished.config["conditions"]
    }


def test_every_table_says_from_which_step_on_its_run_is_lost(all_diverged):
    for condition, curve in curves(all_diverged).items():
        lost = curve["diverged"] == 1
        assert 0 < lost.sum() < len(curve)
        first = curve.loc[lost, "step"].min()
        assert (lost == (curve["step"] >= first)).all()
        assert np.isinf(curve.loc[lost, "loss"]).all()
        assert np.isfinite(curve.loc[~lost, "loss"]).all()
        folder = all_diverged.results / "runs" / condition / "seed0" / "snapshots"
        assert all(int(file.stem.removeprefix("step")) < first for file in folder.glob("*.pt"))


@pytest.mark.parametrize("section", ["claims", "alternatives"])
def test_every_claim_has_a_verdict_or_a_reason_and_counts_its_diverged_runs(all_diverged, section):
    rows = read_table(all_diverged.results / "statistics" / f"{section}.csv")
    config = all_diverged.config
    entries = study.written_out(config)[section]
    assert rows["claim"].tolist() == list(entries)
    for row, claim in zip(rows.itertuples(), entries.values(), strict=True):
        assert row.verdict in VERDICTS or (row.verdict == "not run" and "at least 2 seeds" in row.reason)
        runs = {claim["condition_a"], claim["condition_b"]} & set(config["conditions"])
        if runs:  # a spread summarises several runs and is not a run
            assert row.n_diverged == len(runs)


def test_every_figure_says_which_runs_diverged_and_when(all_diverged):
    config = all_diverged.config
    for name, entry in config["figures"].items():
        words = words_of(all_diverged.results / "figures" / f"{name}.pdf")
        assert "Diverged: " in words
        if name in ("fig4", "fig12"):  # only vgg nets, whose landscape has no finite value
            assert "nothing " in words  # the next word contains a ligature
        for condition in {condition for shown in entry["tables"].values() for condition in shown}:
            assert names.words(config["conditions"][condition]["norm"]).split()[0].strip("“”") in words
        assert (all_diverged.results / "figures" / f"{name}.png").stat().st_size > 0
    assert "(2 diverged)" in words_of(all_diverged.results / "figures" / "claims.pdf")


def test_the_report_counts_the_diverged_runs_and_names_the_step(all_diverged):
    folder = all_diverged.results / "report"
    found = curves(all_diverged)
    numbers = (folder / "generated" / "numbers.tex").read_text(encoding="utf-8")
    assert rf"\setresult{{diverged}}{{{len(found)}}}" in numbers
    table = (folder / "generated" / "conditions.tex").read_text(encoding="utf-8")
    ends = re.findall(r"^\\texttt.* & 1 & 1 & (\d+) \\\\\*?$", table, flags=re.MULTILINE)
    assert [int(end) for end in ends] == [c.loc[c["diverged"] == 1, "step"].min() for c in found.values()]
    assert (folder / "report.pdf").exists() == bool(shutil.which("latexmk"))
    assert (all_diverged.results / "report.html").stat().st_size > 0


def test_of_a_pair_the_side_that_diverged_is_infinitely_large(plain_diverged):
    rows = read_table(plain_diverged.results / "statistics" / "claims.csv")
    rows = rows[(rows["condition_a"] == "vgg_batch") & (rows["condition_b"] == "vgg_none")]
    landscape = rows[rows["compare"] == "log_ratio"]
    assert len(landscape) > 2
    assert (landscape["effect"] == -np.inf).all()
    assert (landscape["n"] == 2).all()
    less = landscape[landscape["expected"] == "less"]
    assert set(less["verdict"]) == {"supported"}
    assert (rows["n_diverged"] == 2).all()
    accuracies = rows[rows["compare"] == "difference"]
    assert len(accuracies)
    assert np.isfinite(accuracies["effect"]).all()


def test_a_figure_names_the_condition_that_diverged_and_no_other(plain_diverged):
    words = words_of(plain_diverged.results / "figures" / "fig4.pdf")
    assert "Diverged: VGG, no norm, rate 1e30 (2 of 2 runs, from step 1)" in words
    assert words.count(" runs, from step ") == 1
