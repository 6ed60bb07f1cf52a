"""Fixtures of the tests of figures: a study that never ran, its raw tables, and figures drawn from them."""

import itertools
from pathlib import Path

import matplotlib.style
import pandas as pd
import pytest

from bnopt import plugins, statistics
from bnopt.study import study
from figures import tables

STYLE = Path(__file__).parents[2] / "paper" / "figures.mplstyle"


@pytest.fixture(scope="session")
def whole(config):
    """The real study at its smallest scale, where layers have other numbers than in the paper."""
    return study.written_out(config | {"scale": "digits"})


@pytest.fixture(scope="session")
def raw(whole):
    """Function: table, condition, seed -> the raw table of that run."""
    found = {}

    def raw(table, condition, seed):
        key = (table, condition, seed)
        if key not in found:
            found[key] = tables.measured(whole, *key)
        return found[key]

    return raw


@pytest.fixture(scope="session")
def drawing(whole, raw):
    """Function: name of a figure -> over_seeds, first_seed and settings of `draw`, made of raw tables."""

    def drawing(name):
        settings = study.figure_settings(whole, name)
        shown = settings.pop("tables")
        del settings["seeds"]
        over_seeds = {
            table: statistics.over_seeds(
                statistics.per_seed(
                    [raw(table, *run) for run in itertools.product(conditions, tables.SEEDS)], table=table
                )
            )
            for table, conditions in shown.items()
            if conditions
        }
        if study.RANDOM_LAYERS in shown:
            over_seeds[study.RANDOM_LAYERS] = tables.random_layers()
        first_seed = {
            table: pd.concat([raw(table, condition, tables.SEEDS[0]) for condition in conditions])
            for table, conditions in shown.items()
            if conditions
        }
        return over_seeds, first_seed, settings

    return drawing


@pytest.fixture(scope="session")
def draw():
    """Function: name of a figure, its data and settings -> the figure in the style of the report."""

    def draw(name, over_seeds, first_seed, settings):
        with matplotlib.style.context(STYLE):
            return plugins.load("figures", name).draw(over_seeds, first_seed, **settings)

    return draw


@pytest.fixture(scope="session")
def drawn(drawing, draw):
    """Function: name of a figure -> the figure, drawn from what the stages before make of raw tables."""
    found = {}

    def drawn(name):
        if name not in found:
            found[name] = draw(name, *drawing(name))
        return found[name]

    return drawn
