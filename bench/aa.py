"""What does the procedure say about two conditions that are one and the same?

    PYTHONPATH=src python bench/aa.py

Trains and probes `vgg_batch` of the scale `digits` at eight seeds, with snakemake; what exists already is
not made again. Then compares four of the seeds with the other four. Writes bench/aa.csv and a table of
docs/calibration.md.

Seeds are exchangeable, not paired, between the two halves. So the study takes every way to pair them: 70
choices of the first four, 24 pairings with the others, 1,680 in all.
"""

import itertools
import subprocess
import sys

import numpy as np
import pandas as pd
from _page import ROOT, replace, table

from bnopt import claims, effects, statistics, verdicts
from bnopt.files import artefacts
from bnopt.study import schema, study

TABLE = ROOT / "bench" / "aa.csv"
SCALE, CONDITION, SEEDS = "digits", "vgg_batch", list(range(8))
# The families of the paper's main statements about the VGG.
FAMILIES = ("fig1", "fig2", "fig3a", "fig4", "random_directions")
SIDES = ("first", "second")
DIRECTIONS = ("greater", "less")
VERDICTS = ("supported", "contradicted", "inconclusive")


def main():
    """Run what is needed, judge, and write the table and the page."""
    config = schema.read(ROOT / "config.yaml", ROOT / "claims.yaml")
    asked, quantities = comparisons(study.written_out(config | {"scale": SCALE}))
    patterns = paths(quantities[claim["quantity"]]["table"] for claim in asked.values())
    run(patterns)
    tables = {
        name: statistics.per_seed(
            artefacts.read_runs(str(ROOT / pattern), conditions=[CONDITION], seeds=SEEDS), table=name
        )
        for name, pattern in patterns.items()
    }
    shares(tables, asked=asked, quantities=quantities).to_csv(TABLE, index=False, lineterminator="\n")
    replace("A/A", page(read()))


def comparisons(of_study):
    """Return the claims to judge, whose conditions are `first` and `second`, and the quantities.

    They are the distinct claims of FAMILIES that compare two conditions of this task: quantity, layers,
    expected and margin. For every quantity and layers, both directions without a margin are added.
    """
    task = of_study["conditions"][CONDITION]["task"]
    conditions = {name for name, of in of_study["conditions"].items() if of["task"] == task}
    asked = {}
    for claim in of_study["claims"].values():
        if claim["family"] not in FAMILIES or not {claim["condition_a"], claim["condition_b"]} <= conditions:
            continue
        none = 1 if _is_ratio(claim, of_study["quantities"]) else 0
        for expected, margin in [*((d, none) for d in DIRECTIONS), (claim["expected"], claim["margin"])]:
            name = " ".join(map(str, (claim["quantity"], *claim["layers"], expected, margin)))
            sides = {"condition_a": SIDES[0], "condition_b": SIDES[1]}
            asked[name] = claim | sides | {"expected": expected, "margin": margin}
    # Without sensitivity: only the summary that decides the verdict.
    return asked, {name: of | {"sensitivity": []} for name, of in of_study["quantities"].items()}


def paths(tables):
    """Return table -> path, with {condition} and {seed}, of the raw tables and of the training curves."""
    curves = f"results/{SCALE}/runs/{{condition}}/seed{{seed}}/training.csv"
    probes = sorted(set(tables) - {effects.TRAINING})
    pattern = f"results/{SCALE}/probes/{{table}}/{{{{condition}}}}/seed{{{{seed}}}}.csv"
    return {name: pattern.format(table=name) for name in probes} | {effects.TRAINING: curves}


def run(patterns):
    """Make the raw tables."""
    targets = [of.format(condition=CONDITION, seed=seed) for of in patterns.values() for seed in SEEDS]
    choice = ["--config", f"scale={SCALE}", f"seeds={SEEDS}".replace(" ", "")]
    command = [sys.executable, "-P", "-m", "snakemake", "--cores", "1", *choice, "--", *targets]
    subprocess.run(command, cwd=ROOT, check=True)


# -- four against four -----------------------------------------------------------------------------


def shares(tables, *, asked, quantities):
    """Return quantity, layers, expected, margin, and in what shares of the pairings each verdict is given.

    tables: table -> numbers per seed and step of one condition (`statistics.per_seed`).
    """
    effects = effects_of_couples(tables, asked=asked, quantities=quantities)
    rows = []
    for name, claim in asked.items():
        margin = np.log(claim["margin"]) if _is_ratio(claim, quantities) else claim["margin"]
        found = pd.Series(
            verdicts.assess(effects[name][first, second], expected=claim["expected"], margin=margin)[
                "verdict"
            ]
            for first, second in pairings(len(effects[name]))
        )
        row = {key: claim[key] for key in ("quantity", "expected", "margin")}
        row["layers"] = " ".join(claim["layers"])
        rows.append(row | {verdict: (found == verdict).mean() for verdict in VERDICTS})
    return pd.DataFrame(rows)


def _is_ratio(claim, quantities):
    return quantities[claim["quantity"]]["compare"] == "log_ratio"


def effects_of_couples(tables, *, asked, quantities):
    """Return claim -> effects of every run against every other, by `claims.judge`; NaN on the diagonal.

    A call judges as many couples as there are runs: the exact p values of more take too long.
    """
    seeds = sorted(tables[effects.TRAINING]["seed"].unique())
    count = len(seeds)
    found = {name: np.full((count, count), np.nan) for name in asked}
    first = np.arange(count)
    for shift in range(1, count):
        second = (first + shift) % count
        couples = [(seeds[i], seeds[j]) for i, j in zip(first, second, strict=True)]
        copies = {name: coupled(of, couples) for name, of in tables.items()}
        _, _, numbers = claims.judge(copies, claims=asked, quantities=quantities)
        for name, of_claim in numbers.groupby("claim"):
            found[name][first[of_claim["seed"]], second[of_claim["seed"]]] = of_claim["effect"]
    return found


def coupled(table, couples):
    """Return a table in which `first` and `second` at seed k are the two runs of the k-th couple of seeds."""
    of_seed = dict(list(table.groupby("seed")))
    return pd.concat(
        [
            of_seed[couple[side]].assign(condition=name, seed=k)
            for k, couple in enumerate(couples)
            for side, name in enumerate(SIDES)
        ],
        ignore_index=True,
    )


def pairings(count):
    """Yield every way to pair half of the runs with the other half: indices of the first, of the second."""
    for first in itertools.combinations(range(count), count // 2):
        others = [index for index in range(count) if index not in first]
        for second in itertools.permutations(others):
            yield list(first), list(second)


# -- the page --------------------------------------------------------------------------------------


def page(rows):
    """Return the tables of the page: errors of directions; verdicts where the claim is true."""
    directions = rows["expected"].isin(DIRECTIONS)
    wide = rows[directions].pivot(index=["quantity", "layers"], columns="expected", values="supported")
    errors = [
        [*_named(row), *(_percent(row[d]) for d in DIRECTIONS)] for _, row in wide.reset_index().iterrows()
    ]
    mean = [_percent(wide[direction].mean()) for direction in DIRECTIONS]
    powers = [
        [*_named(row), row["expected"], f"{row['margin']:g}", _percent(row["supported"])]
        for _, row in rows[~directions].iterrows()
    ]
    return "\n\n".join(
        [
            "**Table 4.** Directions: *supported*, each time an error, in % of the pairings; nominal: 2.5.",
            table(["quantity", "layers", *DIRECTIONS], [*errors, ["mean", "", *mean]]),
            "**Table 5.** Claims with a margin, here true: *supported* in % of the pairings. This is power.",
            table(["quantity", "layers", "expected", "margin", "supported"], powers),
        ]
    )


def _named(row):
    return [f"`{row['quantity']}`", row["layers"]]


def _percent(share):
    return f"{100 * share:.1f}"


def read():
    """Return the stored table."""
    return pd.read_csv(TABLE, keep_default_na=False)


if __name__ == "__main__":
    main()
