"""What every probe guarantees: rows of plain numbers, the same columns everywhere, a file of quantities."""

import inspect
import math
import shutil

import numpy as np
import pandas as pd
import pytest

from bnopt import plugins, probe, statistics
from bnopt.files import artefacts
from bnopt.run import device
from bnopt.run.run import Run, split
from bnopt.study import study

NORMS = plugins.names("norms")
# The snapshots of a table; those of a short run between them would make it no other kind of table.
PROBED = (0, 3, 6, 9)


def test_every_probe_is_configured_with_exactly_its_keyword_arguments(config, small_config):
    probes = small_config["probes"]  # also those that no figure and no claim of the study asks for
    assert sorted(probes) == plugins.names("probes")
    for name, tasks in probes.items():
        signature = inspect.signature(plugins.load("probes", name).measure)
        positional = [p.name for p in signature.parameters.values() if p.kind is not p.KEYWORD_ONLY]
        keywords = [p.name for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY]
        assert positional == ["point"]
        assert all(signature.parameters[key].default is inspect.Parameter.empty for key in keywords)
        assert set(tasks) <= set(plugins.names("tasks"))
        for task, settings in tasks.items():
            assert set(settings) == set(keywords)
            sized = [scale for scale, sizes in config["scales"].items() if task in sizes]
            for scale in sized if name in config["probes"] else []:
                written_out = study.written_out(config | {"scale": scale})
                found = study.probe_settings(written_out, f"{task}_none", name)["settings"]
                assert set(found) == set(keywords)


@pytest.mark.parametrize("norm", NORMS)
def test_rows_are_plain_finite_numbers_or_names_under_equal_keys(point_of, probe_settings, measured, norm):
    name, task = measured
    measure = plugins.load("probes", name).measure
    # In the small net with `divide` all units of a layer die early: then there is nothing to measure.
    step = 0 if norm == "divide" else 3
    rows = measure(point_of(norm, step, task=task), **probe_settings(name, task))
    assert rows
    keys = list(rows[0])
    assert not {"condition", "seed", "step"} & set(keys)
    for row in rows:
        assert list(row) == keys
        for key, value in row.items():
            assert isinstance(value, str | int | float | np.integer | np.floating)
            assert isinstance(value, str) or math.isfinite(value), key


def test_steps_and_seeds_give_other_rows(point_of, probe_settings, measured):
    name, task = measured
    measure = plugins.load("probes", name).measure
    settings = probe_settings(name, task)
    rows = [measure(point_of("batch", *where, task=task), **settings) for where in ((3, 0), (9, 0), (3, 1))]
    assert rows[0] != rows[1]
    assert rows[0] != rows[2]


def test_the_quantities_of_a_probes_name_take_its_tables_through_files(
    small_config, prepared, run_of, tmp_path, measured
):
    name, task = measured
    small_study = study.written_out(small_config)
    tables = []
    for condition, norm, seed in [("a", "none", 0), ("a", "none", 1), ("b", "batch", 0), ("b", "batch", 1)]:
        of_run, arguments = split(study.probe_settings(small_study, f"{task}_{norm}", name))
        run = Run(prepared, **of_run, seed=seed, device=device.choose())
        folder = tmp_path / f"{condition}{seed}"
        folder.mkdir()
        for step in PROBED:
            shutil.copy(run_of(norm, seed, task=task).folder / f"step{step:06d}.pt", folder)
        table = probe.probe(run, folder, **arguments)
        table.insert(0, "condition", condition)
        table.insert(1, "seed", seed)
        file = tmp_path / f"{condition}{seed}.csv"
        artefacts.write_table(table, file)
        tables.append(artefacts.read_table(file))
        pd.testing.assert_frame_equal(tables[-1], table)

    values = statistics.per_seed(tables, table=name)
    keys = values[["condition", "seed", "layer", "step"]]
    assert not keys.duplicated().any()
    assert set(values["step"]) == set(PROBED)
    assert len(keys.drop_duplicates(["condition", "seed", "step"])) == 4 * len(PROBED)
    assert set(values["layer"]) == set(arguments["settings"].get("layers", [""]))
    assert values.drop(columns=["condition", "layer"]).map(np.isreal).all(axis=None)
    summary = statistics.over_seeds(values)
    assert set(summary["n"]) <= {1, 2}
    # A quantity may be missing in runs as short as these, but not one that the probe itself measures.
    found = set(values.dropna(axis="columns", how="all"))
    assert set(summary["quantity"]) == found - set(keys)
    assert found >= set(tables[0]) & set(values)


def test_every_column_of_a_probe_that_the_configuration_names_is_among_its_quantities(
    config, point_of, probe_settings
):
    for name, tasks in config["probes"].items():
        found = set()
        for task in tasks:
            measure = plugins.load("probes", name).measure
            rows = measure(point_of("batch", 3, task=task), **probe_settings(name, task))
            table = pd.DataFrame(rows).assign(condition=f"{task}_batch", seed=0, step=3)
            found |= set(statistics.per_seed([table], table=name))
        for quantity in config["quantities"].values():
            if quantity["table"] == name:
                column = quantity["column"]
                several = column.endswith("*") and any(c.startswith(column[:-1]) for c in found)
                assert several or column in found, (name, column)
