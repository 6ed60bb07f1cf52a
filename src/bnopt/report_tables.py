"""The tables of the report, as LaTeX: compact ones for its body, and full ones for its appendices."""

import numpy as np
import pandas as pd

from bnopt import comparison, findings, part_texts
from bnopt.latex import as_latex, escape, estimate, expectation, identifier, number, verdict
from bnopt.study import names

# The columns of `smoothness_table` -> their heads.
SMOOTHNESS = {
    "beta_at_lr_in_edges": r"$\beta$",
    "hessian_gradient_in_edges": r"$\lVert Hg\rVert/\lVert g\rVert$",
    "gradient_curvature_in_edges": r"$\kappa$",
    "sharpness_in_edges": r"$\lambda_{\max}$",
}


def tables(results, stored, study):
    """Return name -> LaTeX text of every table; those of the body are not broken over pages."""
    short, long = body_tables(results, stored, study), full_tables(results, stored, study)
    return {name: as_latex(*found, long=False) for name, found in short.items()} | {
        name: as_latex(*found, long=True) for name, found in long.items()
    }


def body_tables(results, stored, study):
    """Return name -> (table of LaTeX texts, column specification) of the tables in the body of the report."""
    claims = results.claims
    headline = claims[claims["claim"].isin(study["headline"])]
    found = {
        "alternatives": (
            alternatives_table(results.alternatives, claims),
            r"@{}L{4.1cm}L{5.5cm}L{3.4cm}ll@{}",
        )
    }
    if results.along_gradient is not None and results.curvature is not None:
        found["smoothness"] = (smoothness_table(results, study), r"@{}L{4.8cm}l*{4}{L{2.6cm}}@{}")
    if len(headline):
        others = _judging(stored, headline)
        columns = (
            rf"@{{}}L{{{8.3 - 1.95 * len(others):.2f}cm}}lL{{3.75cm}}l*{{{len(others)}}}{{L{{1.8cm}}}}l@{{}}"
        )
        found["headline"] = (findings.headline_table(headline, others, results.specifications), columns)
    return found | {
        f"family_{family}": (findings.compact_table(rows), r"@{}L{9.5cm}L{5.1cm}l@{}")
        for family, rows in claims.groupby("family", sort=False)
    }


def full_tables(results, stored, study):
    """Return name -> (table of LaTeX texts, column specification) of the tables in the appendices."""
    claims = results.claims
    found = {
        "statements": (statements_table(claims), r"@{}L{5.4cm}L{8.4cm}L{3cm}L{6cm}L{2.4cm}@{}"),
        "evidence": (evidence_table(claims), r"@{}L{5.6cm}L{4.6cm}L{2.2cm}rrrrrrrrL{4.4cm}@{}"),
        "sensitivity": (sensitivity_table(results.sensitivity, claims), r"@{}L{8.2cm}lL{4.6cm}l@{}"),
        "theorems": (theorems_table(results.theorems), r"@{}L{6.3cm}L{2.6cm}rrrrrr@{}"),
        "sizes": (sizes_table(study), r"@{}lL{10cm}@{}"),
        "conditions": (conditions_table(study), r"@{}L{4.2cm}llrrrr@{}"),
        "compute": (compute_table(results.provenance), r"@{}lrrrr@{}"),
        "software": (software_table(results.provenance), r"@{}lL{12cm}@{}"),
    }
    if others := _judging(stored, claims):
        width = (18.5 - 0.2 * len(others)) / (1 + len(others))
        columns = rf"@{{}}L{{7.2cm}}*{{{1 + len(others)}}}{{L{{{width:.1f}cm}}}}@{{}}"
        found["scales"] = (scales_table(claims, others), columns)
    return found


def _judging(stored, claims):
    """Return the scales with stored results that judge one of these claims."""
    return {
        scale: of_scale
        for scale, of_scale in stored.items()
        if of_scale.claims["claim"].isin(claims["claim"]).any()
    }


def statements_table(claims):
    """Return what each claim says: the paper's statement, source and value, and what would support it."""
    rows = claims.to_dict("records")
    return pd.DataFrame(
        {
            "Claim": [escape(row["label"]) for row in rows],
            "Statement": [escape(row["statement"]) for row in rows],
            "Source": [escape(row["source"]) for row in rows],
            "In the paper": [escape(row["paper_value"]) for row in rows],
            "Supported by": [expectation(row) for row in rows],
        }
    )


def evidence_table(claims):
    """Return the evidence on each claim (`evidence`), and its key in claims.csv; if not run, the reason."""
    rows = claims.to_dict("records")
    columns = {
        "$p$": "p_sign_flip",
        "Holm": "p_holm",
        "$p$ opp.": "p_opposite",
        "Holm opp.": "p_opposite_holm",
        "$e$": "e_value",
        "Needed": "seeds_needed",
        "Share": "share_agreeing_at_least",
    }
    return pd.DataFrame(
        {
            "Claim": [escape(row["label"]) for row in rows],
            "Effect and interval": [estimate(row) for row in rows],
            "Verdict": [
                escape(row["reason"]) if row["verdict"] == "not run" else verdict(row) for row in rows
            ],
            "Agree": [row["seeds_agreeing"] for row in rows],
            **{head: [_optional(row[column]) for row in rows] for head, column in columns.items()},
            "Key": [identifier(row["claim"]) for row in rows],
        }
    )


def _optional(value):
    """Return a number that may be missing, as integers of pandas too."""
    return number(np.nan if pd.isna(value) else float(value))


def sensitivity_table(sensitivity, claims):
    """Return effect and verdict of each claim under the other summaries; a star marks a changed verdict."""
    named = claims.set_index("claim")
    unit, primary = named["unit"], named["verdict"]
    rows = sensitivity[sensitivity.duplicated("claim", keep="first")]
    return pd.DataFrame(
        {
            "Claim": rows["claim"].map(named["label"]).map(escape),
            "Summary": rows["summary"].map(names.words).map(escape),
            "Effect": [estimate(row | {"unit": unit[row["claim"]]}) for row in rows.to_dict("records")],
            "Verdict": [
                row["verdict"] + ("*" if row["verdict"] != primary[row["claim"]] else "")
                for row in rows.to_dict("records")
            ],
        }
    )


def alternatives_table(alternatives, claims):
    """Return effect and verdict of each alternative beside the verdict on the claim that it varies.

    Those that the sections of the parts list (`part_texts`) are left out.
    """
    original = claims.set_index("claim")
    rows = alternatives[~alternatives["claim"].isin(part_texts.listed())].to_dict("records")
    return pd.DataFrame(
        {
            "Claim": [escape(original.loc[row["source"], "label"]) for row in rows],
            "Other reading": [escape(row["statement"]) for row in rows],
            "Effect": [estimate(row) for row in rows],
            "Verdict": [row["verdict"] for row in rows],
            "As specified": [original.loc[row["source"], "verdict"] for row in rows],
        }
    )


def theorems_table(theorems):
    """Return the numbers of each statement of a theorem, by condition; the statement itself only once."""
    shown = theorems.copy()
    for column in ("median_error", "max_error", "violated", "holds", "median_share"):
        shown[column] = [number(value) if value == value else "" for value in shown[column]]
    shown["statement"] = shown["statement"].map(escape)
    shown["where"] = shown["where"].map(escape)
    repeated = shown["statement"].duplicated()
    shown["statement"] = shown["statement"].where(~repeated, "")
    heads = ["Statement", "Where", "$n$", "Median error", "Largest", "Violated", "Holds", "Share"]
    return shown.set_axis(heads, axis="columns")


def scales_table(claims, stored):
    """Return effect and verdict of every claim at this scale and at those with stored results.

    A stored verdict on a claim that was defined otherwise is not shown; one that contradicts the verdict
    of this scale is bold.
    """
    here = [_effect_and_verdict(row) for row in claims.to_dict("records")]
    table = pd.DataFrame({"Claim": claims["label"].map(escape), "Here": here})
    for scale, of_scale in stored.items():
        kinds = comparison.compare(claims, of_scale.claims).set_index("claim")["kind"]
        shown = {
            row["claim"]: "defined otherwise"
            if kinds[row["claim"]] == "defined otherwise"
            else _effect_and_verdict(row, bold=kinds[row["claim"]] == "contradiction")
            for row in of_scale.claims.to_dict("records")
        }
        table[escape(scale)] = [shown.get(claim, "--") for claim in claims["claim"]]
    return table


def _effect_and_verdict(claim, *, bold=False):
    """Return effect, interval and verdict of a claim; the verdict alone if it is not run."""
    if np.isnan(claim["effect"]):
        return claim["verdict"]
    return f"{estimate(claim)} " + (rf"\textbf{{{verdict(claim)}}}" if bold else verdict(claim))


def smoothness_table(results, study):
    """Return β beside the Hessian, all in units of 2/lr, of the nets without a norm and with BatchNorm.

    β is ‖g(θ − lr g) − g‖ / (lr ‖g‖), the effective smoothness at the run's own step size. Only steps count
    at which both are measured: the first one (start), or those of the second half of the run (late), over
    which values are averaged. A cell has the mean over seeds, the smallest and the largest. Runs that
    diverged before such a step are left out.
    """
    keys = ["condition", "seed", "step"]
    rates = {name: condition["lr"] for name, condition in study["conditions"].items()}
    both = results.along_gradient.merge(results.curvature, on=keys)
    # The columns of a table whose runs all diverged at once are missing.
    values = both.reindex(columns=[*keys, "beta_at_lr", *SMOOTHNESS])
    values["beta_at_lr_in_edges"] = values["beta_at_lr"] * values["condition"].map(rates) / 2
    rows = []
    for name, condition in study["conditions"].items():
        own = values[values["condition"] == name]
        if len(own) and condition["norm"] in ("none", "batch") and not names.extras(condition):
            half = study["tasks"][condition["task"]]["steps"] / 2
            for when, steps in (("start", own["step"] == own["step"].min()), ("late", own["step"] >= half)):
                of_seeds = own[steps].groupby("seed")[[*SMOOTHNESS]].mean()
                cells = {head: _with_range(of_seeds[column]) for column, head in SMOOTHNESS.items()}
                rows.append({"Net": escape(names.run(condition)), "When": when, **cells})
    return pd.DataFrame(rows, columns=["Net", "When", *SMOOTHNESS.values()])


def _with_range(values):
    """Return the mean of values with the smallest and the largest; a dash without values."""
    low, high = number(values.min()), number(values.max())
    return f"{number(values.mean())} [{low}, {high}]" if values.notna().any() else "--"


def sizes_table(study):
    """Return the sizes of the scale, one in a row."""
    rows = [("images", study["images"])] if study["images"] else []
    rows.append(("seeds", ", ".join(map(str, study["seeds"]))))
    for task, sizes in study["tasks"].items():
        for key, value in sizes.items():
            shown = " ".join(map(str, value)) if isinstance(value, list) else value
            if isinstance(value, dict):
                shown = "; ".join(
                    f"{k}: {' '.join(map(str, v)) if isinstance(v, list) else v}" for k, v in value.items()
                )
            rows.append((f"{task}: {key.replace('_', ' ')}", shown))
    return pd.DataFrame(rows, columns=["Size", "Value"]).map(escape)


def conditions_table(study):
    """Return the conditions with their settings, number of diverged runs, and first step of divergence."""
    lost = {
        name: [run["step"] for run in study["diverged"] if run["condition"] == name]
        for name in study["conditions"]
    }
    return pd.DataFrame(
        [
            {
                "Condition": identifier(name),
                "Task": escape(names.words(condition["task"])),
                "Norm": escape(", ".join([names.words(condition["norm"]), *names.extras(condition)])),
                "Learning rate": number(condition["lr"]),
                "Runs": len(study["seeds"]),
                "Diverged": len(lost[name]),
                "From step": min(lost[name], default=""),
            }
            for name, condition in study["conditions"].items()
        ]
    )


def compute_table(provenance):
    """Return jobs, CPU seconds, wall seconds and largest memory of each stage and of each probe.

    provenance: path -> record. A dash stands for numbers that older records lack.
    """
    stages = jobs(provenance).groupby("Stage")
    table = pd.DataFrame(
        {
            "Jobs": stages.size(),
            "CPU seconds": stages["cpu_seconds"].sum(min_count=1).map(_whole),
            "Wall seconds": stages["seconds"].sum(min_count=1).map(_whole),
            "Largest memory (MiB)": stages["memory_mib"].max().map(_whole),
        }
    ).reset_index()
    table["Stage"] = table["Stage"].map(escape)
    return table


def jobs(provenance):
    """Return a row per job. The records of one job have the same stage and start; the last one counts."""
    columns = ["started", "seconds", "cpu_seconds", "memory_mib"]
    rows = [
        {"Stage": _stage(record)} | {c: record.get(c, np.nan) for c in columns}
        for record in provenance.values()
    ]
    return pd.DataFrame(rows).groupby(["Stage", "started"]).max()


def _whole(value):
    return "--" if np.isnan(value) else f"{value:.0f}"


def _stage(record):
    """Return the name of the stage that wrote a record; for a probe, with the name of the probe."""
    stage, probe = record["stage"].removeprefix("bnopt."), record["settings"].get("probe", "")
    return f"{stage} {probe}".rstrip()


def software_table(provenance):
    """Return the versions, machines and commits that made the tables: every value of each, in one row."""
    found = comparison.surroundings(provenance)
    rows = [(key, ", ".join(values)) for key, values in found.items()]
    return pd.DataFrame(rows, columns=["Item", "Value"]).map(escape)
