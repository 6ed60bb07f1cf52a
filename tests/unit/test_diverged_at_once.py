"""Runs that diverged at step 0: the tables of their probes have no rows and no columns."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bnopt import claims, figure, probe, report, report_tables, statistics, theorem_table
from bnopt.files import artefacts
from bnopt.random_layers import random_layers
from bnopt.run import device
from bnopt.run.run import Run, split
from bnopt.study import study
from bnopt.train import train

SEEDS = (0, 1)
PAIR = ("vgg_none", "vgg_batch")
TABLES = ("training", "along_gradient", "activations", "theorems")
LOST = {"one": PAIR[:1], "both": PAIR}


@pytest.fixture(scope="module", params=LOST)
def lost(request):
    """The conditions all of whose runs diverged at step 0."""
    return LOST[request.param]


@pytest.fixture(scope="module")
def small_study(small_config):
    """The small study, written out."""
    return study.written_out(small_config)


@pytest.fixture(scope="module")
def run_tables(lost, small_study, prepared, tmp_path_factory):
    """Table -> files of all runs, as the stages `train` and `probe` write them."""
    folder = tmp_path_factory.mktemp("runs")
    files = {table: [] for table in TABLES}
    for condition in PAIR:
        for seed in SEEDS:
            snapshots = folder / f"{condition}{seed}"
            snapshots.mkdir()
            of_run, settings = split(study.train_settings(small_study, condition))
            run = Run(prepared, **of_run, seed=seed, device=device.choose(tf32=settings.pop("tf32")))
            rate = np.nan if condition in lost else settings["lr"]
            curve = train(run, folder=snapshots, **settings | {"lr": rate})
            if condition in lost:
                curve[["loss", "accuracy", "test_accuracy", "diverged"]] = [np.inf, np.nan, np.nan, 1]
                for file in snapshots.iterdir():
                    file.unlink()
            found = {"training": curve}
            for table in TABLES[1:]:
                of_run, settings = split(study.probe_settings(small_study, condition, table))
                run = Run(prepared, **of_run, seed=seed, device=device.choose())
                found[table] = probe.probe(run, snapshots, **settings)
            for table, rows in found.items():
                rows.insert(0, "condition", condition)
                rows.insert(1, "seed", seed)
                files[table].append(folder / table / f"{condition}-{seed}.csv")
                artefacts.write_table(rows, files[table][-1])
    return files


def pattern_of(files):
    """Return the path of a run's table in the form that a stage takes."""
    return str(files[0].with_name("{condition}-{seed}.csv"))


@pytest.fixture(scope="module")
def summarised(run_tables, tmp_path_factory):
    """The folder with the statistics of all tables, written by the stage itself."""
    folder = tmp_path_factory.mktemp("statistics")
    for table, files in run_tables.items():
        out = [
            "--per-seed",
            f"{folder}/{table}_per_seed.csv",
            "--over-seeds",
            f"{folder}/{table}_over_seeds.csv",
        ]
        settings = json.dumps({"table": table, "conditions": PAIR, "seeds": SEEDS})
        statistics.main(["--settings", settings, "--tables", pattern_of(files), *out])
    return folder


def test_statistics_have_the_runs_that_have_rows(lost, summarised):
    for table in TABLES[1:]:
        for kind in ("per_seed", "over_seeds"):
            found = artefacts.read_table(summarised / f"{table}_{kind}.csv")
            assert {"condition", "layer", "step"} <= set(found)
            assert set(found["condition"]) == set(PAIR) - set(lost)


def test_a_claim_counts_the_diverged_runs(lost, summarised, small_study, tmp_path):
    settings = study.claims_settings(small_study, "claims")
    settings["claims"] = {
        name: claim
        for name, claim in settings["claims"].items()
        if settings["quantities"][claim["quantity"]]["table"] in TABLES
        and {claim["condition_a"], claim["condition_b"]} == set(PAIR)
    }
    settings["tables"] = TABLES
    out = [tmp_path / f"{kind}.csv" for kind in ("claims", "sensitivity", "numbers")]
    tables = [str(summarised / f"{table}_per_seed.csv") for table in TABLES]
    files = [word for file in out for word in (f"--{file.stem}", str(file))]
    claims.main(["--settings", json.dumps(settings), "--tables", *tables, *files])

    rows = artefacts.read_table(out[0])
    assert set(rows["claim"]) == set(settings["claims"])
    assert set(rows["n_diverged"]) == {len(lost) * len(SEEDS)}
    landscape = rows[rows["compare"] == "log_ratio"]
    assert len(landscape) > 3
    if lost == PAIR:  # there is nothing to compare
        assert set(landscape["verdict"]) == {"not run"}
        assert landscape["reason"].str.contains("value of both conditions, found 0").all()
    else:
        assert (landscape["effect"] == -np.inf).all()
        assert (landscape["n"] == len(SEEDS)).all()


@pytest.mark.parametrize("name", ["fig1", "fig4", "theorems"])
def test_a_figure_is_drawn(run_tables, summarised, small_study, tmp_path, name):
    settings = study.figure_settings(small_study, name)
    settings["tables"] = {t: list(PAIR) if of else [] for t, of in settings["tables"].items()}
    settings["conditions"] = {condition: settings["conditions"][condition] for condition in PAIR}
    settings["seeds"] = SEEDS
    random = tmp_path / "random_layers.csv"
    artefacts.write_table(random_layers(draws=4, seed=0), random)
    over_seeds = [
        str(summarised / f"{table}_over_seeds.csv") if of else str(random)
        for table, of in settings["tables"].items()
    ]
    first = [str(run_tables[table][i]) for table, of in settings["tables"].items() if of for i in (0, 2)]
    style = Path(__file__).parents[2] / "paper" / "figures.mplstyle"
    out = ["--pdf", str(tmp_path / "it.pdf"), "--png", str(tmp_path / "it.png")]
    curves = pattern_of(run_tables["training"])
    tables = ["--over-seeds", *over_seeds, "--first-seed", *first, "--curves", curves]
    chosen = ["--settings", json.dumps(settings), "--figure", name, "--style", style]
    figure.main([str(word) for word in (*chosen, *tables, *out)])
    assert (tmp_path / "it.pdf").stat().st_size > 0


def test_the_table_of_theorems_has_the_runs_that_have_rows(lost, run_tables):
    probes = [artefacts.read_table(file) for file in run_tables["theorems"]]
    found = theorem_table.summarise(random_layers(draws=4, seed=0), probes)
    assert set(found["where"]) == {"random layers", *PAIR} - set(lost)


def test_the_report_has_no_number_for_a_quantity_that_was_not_measured(lost, summarised):
    activations = artefacts.read_table(summarised / "activations_per_seed.csv")
    about_sigma = pd.DataFrame({"quantity": "sigma", "condition_a": list(PAIR)})
    assert set(report.sigma_numbers(activations, about_sigma[:1]).values()) == {"--"}
    both = report.sigma_numbers(activations, about_sigma)
    assert (set(both.values()) == {"--"}) == (lost == PAIR)


def test_the_report_has_the_number_of_diverged_runs_of_a_condition_and_the_first_step():
    conditions = {name: {"task": "vgg", "norm": "none", "lr": 1.0} for name in ("a", "b")}
    diverged = [{"condition": "b", "seed": seed, "step": step} for seed, step in ((0, 7), (1, 3))]
    table = report_tables.conditions_table(
        {"seeds": [0, 1, 2], "conditions": conditions, "diverged": diverged}
    )
    assert table["Runs"].tolist() == [3, 3]
    assert table["Diverged"].tolist() == [0, 2]
    assert table["From step"].tolist() == ["", 3]


def test_a_table_without_rows_has_names_and_numbers(tmp_path):
    artefacts.write_table(pd.DataFrame(columns=["condition", "quantity", "mean"]), tmp_path / "table.csv")
    table = artefacts.read_table(tmp_path / "table.csv")
    assert not np.isfinite(table["mean"]).any()
    assert not table["quantity"].str.startswith("x").any()
