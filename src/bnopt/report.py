"""Stage 7: generate all numbers, tables and figures of the LaTeX report; none is typed by hand."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bnopt import comparison, findings, part_texts, runtime
from bnopt.files import artefacts
from bnopt.judged import read_claims, read_json, read_stored
from bnopt.latex import as_latex, escape, estimate, expectation, identifier, number, verdict
from bnopt.verdicts import VERDICTS, support


def numbers(results, study):
    r"""Return key -> LaTeX text of every value that the text of the report names by \result{key}.

    claims, seeds, scale, diverged          sizes of the study, and the number of diverged runs
    count.<verdict>, flipped                numbers of verdicts, and of those that another summary changes
    count.confirmed, count.refuted          numbers of grades
    count.gradable                          number of claims with enough seeds for a grade
    seeds.to_confirm                        the number of seeds from which on every claim can be confirmed
    registration.hash                       the hash of what decides the verdicts
    registration.registered                 the registered one, of the scale paper
    registration.differs                    the parts in which they differ, or "nothing"
    p.floor                                 the smallest p value that so many seeds can give
    images.<key>                            source of the images, numbers for training and testing
    task.<task>                             empty; defined for each task of the study
    caption.<figure>                        caption of a figure of the study
    <claim>.estimate, <claim>.verdict       effect with its interval, and verdict
    sigma.<statistic>                       see `sigma_numbers`
    compute.<quantity>                      see `compute_numbers`
    """
    claims, images = results.claims, results.images
    found = {
        "claims": len(claims),
        "seeds": len(study["seeds"]),
        "scale": escape(study["scale"]),
        "p.floor": number(0.5 ** len(study["seeds"])),
        **{f"count.{word}": int((claims["verdict"] == word).sum()) for word in VERDICTS},
        **{f"count.{word}": int((claims["grade"] == word).sum()) for word in ("confirmed", "refuted")},
        "count.gradable": int((claims["n"] >= claims["seeds_to_confirm"]).sum()),
        "seeds.to_confirm": int(claims["seeds_to_confirm"].max()) if len(claims) else 0,
        **{f"registration.{key}": study["registration"][key] or "none" for key in ("hash", "registered")},
        "registration.differs": escape(", ".join(study["registration"]["differs"]) or "nothing"),
        "diverged": len(study["diverged"]),
        "flipped": int((claims["flips_under"] != "").sum()),
        **dict.fromkeys((f"task.{task}" for task in study["tasks"]), ""),
        **{f"images.{key}": escape(images[key]) for key in ("source", "train", "test")},
        **{f"caption.{name}": escape(text) for name, text in study["captions"].items()},
        **compute_numbers(results.provenance),
    }
    for claim in claims.to_dict("records"):
        found |= {
            f"{claim['claim']}.estimate": estimate(claim),
            f"{claim['claim']}.verdict": claim["verdict"],
        }
    return found if results.activations is None else found | sigma_numbers(results.activations, claims)


def sigma_numbers(activations, claims):
    """Return the median and extremes of σ over units, steps and seeds.

    Only conditions that are judged by a claim about σ count.
    """
    # The table lacks these columns if every run diverged at once.
    activations = activations.reindex(columns=["condition", "sigma", "sigma_min", "sigma_max"])
    judged = claims.loc[claims["quantity"] == "sigma", "condition_a"]
    rows = activations[activations["condition"].isin(judged)]
    return {
        "sigma.median": number(rows["sigma"].median()),
        "sigma.min": number(rows["sigma_min"].min()),
        "sigma.max": number(rows["sigma_max"].max()),
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
        "Seeds needed": "seeds_needed",
        "Share": "share_agreeing_at_least",
    }
    return pd.DataFrame(
        {
            "Claim": [escape(row["label"]) for row in rows],
            "Effect and interval": [estimate(row) for row in rows],
            "Verdict": [
                escape(row["reason"]) if row["verdict"] == "not run" else verdict(row) for row in rows
            ],
            "Grade": [row["grade"] for row in rows],
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
    kind, primary = named["compare"], named["verdict"]
    rows = sensitivity[sensitivity.duplicated("claim", keep="first")]
    return pd.DataFrame(
        {
            "Claim": rows["claim"].map(named["label"]).map(escape),
            "Summary": rows["summary"].map(escape),
            "Effect": [estimate(row | {"compare": kind[row["claim"]]}) for row in rows.to_dict("records")],
            "Verdict": [
                row["verdict"] + ("*" if row["verdict"] != primary[row["claim"]] else "")
                for row in rows.to_dict("records")
            ],
        }
    )


def alternatives_table(alternatives, claims):
    """Return effect and verdict of each alternative beside the verdict on the claim that it varies."""
    original = claims.set_index("claim")
    rows = alternatives.to_dict("records")
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
    names = ["Statement", "Where", "$n$", "Median error", "Largest", "Violated", "Holds", "Share"]
    return shown.set_axis(names, axis="columns")


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


def specification_numbers(specifications):
    """Return key -> LaTeX text of how often each headline claim is supported (`specifications.specify`).

    The keys are specification.<claim> and, if there is such a claim, specifications: their number.
    """
    found = {}
    for claim, rows in specifications.groupby("claim", sort=False):
        supported, judged = support(rows["verdict"])
        missing = len(rows) - judged
        not_run = f" ({missing} not run)" if missing else ""
        found[f"specification.{claim}"] = f"supported in {supported} of {judged}{not_run}"
    return found | ({"specifications": len(found)} if found else {})


def findings_texts(claims, stored, study):
    """Return key -> LaTeX text of sentences that follow from verdicts (`findings`).

    findings.<family>                  the sentences about each family of claims
    headline, headline.others          the verdicts on the headline claims, and what else is said of them
    """
    found = {
        f"findings.{family}": findings.sentences(rows, stored)
        for family, rows in claims.groupby("family", sort=False)
    }
    headline = claims[claims["claim"].isin(study["headline"])]
    if len(headline):
        found["headline"] = findings.counted(headline, "headline statements")
        found["headline.others"] = findings.others(headline, stored)
    return found


def stored_numbers(stored):
    """Return key -> LaTeX text of the values of each scale with stored results.

    The keys are stored.<scale>.count.<verdict>, .claims, .seeds and .source, the source of the images.
    """
    return {
        f"stored.{scale}.{key}": value
        for scale, of_scale in stored.items()
        for key, value in {
            **{f"count.{word}": int((of_scale.claims["verdict"] == word).sum()) for word in VERDICTS},
            "claims": len(of_scale.claims),
            "seeds": int(of_scale.claims["n"].max()),
            "source": escape(of_scale.images["source"]),
        }.items()
    }


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
                "Task": escape(condition["task"]),
                "Norm": _norm(condition),
                "Learning rate": number(condition["lr"]),
                "Runs": len(study["seeds"]),
                "Diverged": len(lost[name]),
                "From step": min(lost[name], default=""),
            }
            for name, condition in study["conditions"].items()
        ]
    )


def _norm(condition):
    """Return the norm of a condition, with the settings that few conditions have in brackets."""
    more = [
        f"{key.replace('_', ' ')} {number(condition[key])}"
        for key in ("warmup", "initial_scale")
        if key in condition
    ]
    return escape(condition["norm"]) + (f" ({', '.join(more)})" if more else "")


def compute_numbers(provenance):
    """Return key -> LaTeX text of jobs, hours on CPUs and largest memory (GiB) of all jobs with a record."""
    jobs = _jobs(provenance)
    return {
        "compute.jobs": len(jobs),
        "compute.hours": number(jobs["cpu_seconds"].sum(min_count=1) / 3600),
        "compute.memory": number(jobs["memory_mib"].max() / 1024),
    }


def compute_table(provenance):
    """Return jobs, CPU seconds, wall seconds and largest memory of each stage and of each probe.

    provenance: path -> record. A dash stands for numbers that older records lack.
    """
    stages = _jobs(provenance).groupby("Stage")
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


def _jobs(provenance):
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


@dataclass(frozen=True)
class Results:
    """The tables and descriptions that a report shows; activations: None if the study measures none."""

    claims: pd.DataFrame
    sensitivity: pd.DataFrame
    specifications: pd.DataFrame
    alternatives: pd.DataFrame
    theorems: pd.DataFrame
    activations: pd.DataFrame | None
    images: dict
    provenance: dict


def write(folder, results, stored, *, study, figures):
    """Write numbers.tex, the tables, the sections of the parts beyond the paper, and the figures.

    results: `Results` of this scale
    stored: scale -> `Stored`
    study: the settings of the job and, as `diverged`, the diverged runs; as `registration`, its registration
    figures: files to copy
    """
    folder = Path(folder)
    definitions = numbers(results, study) | stored_numbers(stored)
    definitions |= specification_numbers(results.specifications)
    definitions |= findings_texts(results.claims, stored, study)
    lines = [rf"\setresult{{{key}}}{{{value}}}" for key, value in definitions.items()]
    (folder / "numbers.tex").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, text in tables(results, stored, study).items():
        (folder / f"{name}.tex").write_text(text, encoding="utf-8")
    for part, text in part_texts.sections(results.claims, study).items():
        (folder / f"part_{part}.tex").write_text(text, encoding="utf-8")
    for figure in figures:
        shutil.copy(figure, folder)
    for scale, of_scale in stored.items():
        for figure in of_scale.figures:
            shutil.copy(figure, folder / f"{scale}_{figure.name}")


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
            r"@{}L{4.3cm}L{6.1cm}L{3.2cm}ll@{}",
        )
    }
    if len(headline):
        columns = (
            rf"@{{}}L{{{7.4 - 1.9 * len(stored):.1f}cm}}lL{{3.3cm}}l*{{{len(stored)}}}{{L{{1.7cm}}}}l@{{}}"
        )
        found["headline"] = (findings.headline_table(headline, stored, results.specifications), columns)
    return found | {
        f"family_{family}": (findings.compact_table(rows), r"@{}L{8.4cm}L{5.8cm}l@{}")
        for family, rows in claims.groupby("family", sort=False)
    }


def full_tables(results, stored, study):
    """Return name -> (table of LaTeX texts, column specification) of the tables in the appendices."""
    claims = results.claims
    found = {
        "statements": (statements_table(claims), r"@{}L{5cm}L{8.4cm}L{3cm}L{6cm}L{2cm}@{}"),
        "evidence": (evidence_table(claims), r"@{}L{4.6cm}L{3.6cm}L{2.2cm}lrrrrrrrrL{4.4cm}@{}"),
        "sensitivity": (sensitivity_table(results.sensitivity, claims), r"@{}L{7.4cm}lL{4.6cm}l@{}"),
        "theorems": (theorems_table(results.theorems), r"@{}L{5.2cm}L{3.2cm}rrrrrr@{}"),
        "sizes": (sizes_table(study), r"@{}lL{10cm}@{}"),
        "conditions": (conditions_table(study), r"@{}L{4.2cm}llrrrr@{}"),
        "compute": (compute_table(results.provenance), r"@{}lrrrr@{}"),
        "software": (software_table(results.provenance), r"@{}lL{12cm}@{}"),
    }
    if stored:
        width = (11.8 - 0.4 * len(stored)) / (1 + len(stored))
        columns = rf"@{{}}L{{5.2cm}}*{{{1 + len(stored)}}}{{L{{{width:.1f}cm}}}}@{{}}"
        found["scales"] = (scales_table(claims, stored), columns)
    return found


def _diverged(training):
    """Return condition, seed and first step of every diverged run, from the training table."""
    lost = training[training["diverged"] == 1]
    return lost.groupby(["condition", "seed"])["step"].min().reset_index().to_dict("records")


def main(argv=None):
    """Write the LaTeX bundle from the command line: the text, and beside it the generated files."""
    parser = runtime.parser(__spec__.name, __doc__)
    recorded = ("claims", "sensitivity", "specifications", "alternatives", "theorems", "training")
    for name in ("text", *recorded, "images", "provenance"):
        parser.add_argument(f"--{name}", required=True, help="file to read")
    parser.add_argument("--activations", nargs="?", help="file to read, if the study measures activations")
    parser.add_argument("--figures", nargs="+", required=True, help="files to copy (.pdf)")
    parser.add_argument("--stored", nargs="*", default=[], help="<scale>/claims.csv of other scales")
    parser.add_argument("--generated", required=True, help="folder to write")
    parser.add_argument(
        "--registration", type=json.loads, required=True, help="see `study.registration.compared` (JSON)"
    )
    parser.add_argument("--report", required=True, help="file to write (.tex)")
    options = parser.parse_args(argv)
    results = Results(
        claims=read_claims(options.claims),
        sensitivity=artefacts.read_table(options.sensitivity),
        specifications=artefacts.read_table(options.specifications),
        alternatives=artefacts.read_table(options.alternatives),
        theorems=artefacts.read_table(options.theorems),
        activations=artefacts.read_table(options.activations) if options.activations else None,
        images=read_json(options.images),
        provenance=read_json(options.provenance),
    )
    diverged = _diverged(artefacts.read_table(options.training))
    folders = [Path(file).parent for file in options.stored]
    with artefacts.atomic_folder(options.generated) as folder:
        write(
            folder,
            results,
            {stored.name: read_stored(stored) for stored in folders},
            study=options.settings | {"diverged": diverged, "registration": options.registration},
            figures=options.figures,
        )
    text = Path(options.text).read_text(encoding="utf-8")
    artefacts.write_recorded(text, options.report, job=runtime.job_of(options))


if __name__ == "__main__":
    runtime.run(main)
