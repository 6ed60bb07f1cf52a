"""Stage 7: numbers, tables and figures for the LaTeX report; no number in it is typed by hand."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from bnopt import runtime
from bnopt.files import artefacts
from bnopt.verdicts import SIDES, VERDICTS

RATIO, DIFFERENCE = "log_ratio", "difference"


def numbers(claims, study, images):
    """Return LaTeX definitions, key -> text, of every number in the prose.

    For each claim its statement, effect, interval, n, p, verdict; counts of verdicts; sizes.
    """
    found = {
        "claims": len(claims),
        "seeds": len(study["seeds"]),
        "scale": study["scale"],
        "p.floor": number(0.5 ** len(study["seeds"])),
        **{f"count.{verdict}": int((claims["verdict"] == verdict).sum()) for verdict in VERDICTS},
        "diverged": len(study["diverged"]),
        "flipped": int((claims["flips_under"] != "").sum()),
        **dict.fromkeys((f"task.{task}" for task in study["tasks"]), ""),
        **{f"images.{key}": escape(images[key]) for key in ("source", "train", "test")},
        **{f"caption.{name}": escape(text) for name, text in study["captions"].items()},
    }
    for claim in claims.to_dict("records"):
        found |= {
            f"{claim['claim']}.estimate": estimate(claim),
            f"{claim['claim']}.n": claim["n"],
            f"{claim['claim']}.p": number(claim["p_holm"]),
            f"{claim['claim']}.verdict": claim["verdict"],
        }
    return found


def sigma_numbers(activations):
    """Return the median and the extremes of σ of the plain deep linear network's units, steps and seeds."""
    # Where every run diverged at once the table lacks what is measured.
    activations = activations.reindex(columns=["condition", "sigma", "sigma_min", "sigma_max"])
    rows = activations[activations["condition"] == "deep_linear_none"]
    return {
        "sigma.median": number(rows["sigma"].median()),
        "sigma.min": number(rows["sigma_min"].min()),
        "sigma.max": number(rows["sigma_max"].max()),
    }


def verdict_table(claims):
    """Return the table of all verdicts: claim, place, effect with its interval, verdict."""
    return pd.DataFrame(
        {
            "Claim": claims["claim"].map(identifier),
            "Place": claims["place"].map(escape),
            "Effect": [estimate(claim) for claim in claims.to_dict("records")],
            "Verdict": [verdict(claim) for claim in claims.to_dict("records")],
        }
    )


def family_table(claims):
    """Return the table of one family of claims: what the paper says and shows, and what was found."""
    rows = claims.to_dict("records")
    return pd.DataFrame(
        {
            "Statement": [escape(row["statement"]) for row in rows],
            "In the paper": [escape(row["paper_value"]) for row in rows],
            "Expected": [expectation(row) for row in rows],
            "Here": [estimate(row) for row in rows],
            "$n$": [row["n"] for row in rows],
            "$p$": [number(row["p_sign_flip"]) for row in rows],
            "Holm": [number(row["p_holm"]) for row in rows],
            "Verdict": [
                verdict(row) if row["verdict"] != "not run" else escape(row["reason"]) for row in rows
            ],
        }
    )


def sensitivity_table(sensitivity, claims):
    """Return effect and verdict of each claim under the other summaries; those that flip are starred."""
    kind = claims.set_index("claim")["compare"]
    primary = claims.set_index("claim")["verdict"]
    rows = sensitivity[sensitivity.duplicated("claim", keep="first")]
    return pd.DataFrame(
        {
            "Claim": rows["claim"].map(identifier),
            "Summary": rows["summary"].map(escape),
            "Effect": [estimate(row | {"compare": kind[row["claim"]]}) for row in rows.to_dict("records")],
            "Verdict": [
                row["verdict"] + ("*" if row["verdict"] != primary[row["claim"]] else "")
                for row in rows.to_dict("records")
            ],
        }
    )


def alternatives_table(alternatives, claims):
    """Return what other readings and definitions give, beside the verdict of the claim they vary."""
    original = claims.set_index("claim")
    rows = alternatives.to_dict("records")
    return pd.DataFrame(
        {
            "Claim": [identifier(row["place"]) for row in rows],
            "Other reading": [escape(row["statement"]) for row in rows],
            "Effect": [estimate(row) for row in rows],
            "Verdict": [row["verdict"] for row in rows],
            "As specified": [estimate(original.loc[row["place"]].to_dict()) for row in rows],
            "Verdict as specified": [original.loc[row["place"], "verdict"] for row in rows],
        }
    )


def theorems_table(theorems):
    """Return what was found of each statement and where."""
    shown = theorems.copy()
    for column in ("median_error", "max_error", "violated", "holds", "median_share"):
        shown[column] = [number(value) if value == value else "" for value in shown[column]]
    shown["statement"] = shown["statement"].map(escape)
    shown["where"] = shown["where"].map(escape)
    repeated = shown["statement"].duplicated()
    shown["statement"] = shown["statement"].where(~repeated, "")
    names = ["Statement", "Where", "$n$", "Median error", "Largest", "Violated", "Holds", "Share"]
    return shown.set_axis(names, axis="columns")


def scales_table(claims, kept):
    """Return effect and verdict of every claim here and at the scales whose results are kept."""
    table = pd.DataFrame({"Claim": claims["claim"].map(identifier)})
    for heading, found in {"Here": claims, **{escape(name): rows for name, rows in kept.items()}}.items():
        shown = {
            row["claim"]: row["verdict"] if np.isnan(row["effect"]) else f"{estimate(row)} {verdict(row)}"
            for row in found.to_dict("records")
        }
        table[heading] = [shown.get(claim, "--") for claim in claims["claim"]]
    return table


def kept_numbers(kept, images):
    """Return how the claims came out at each scale whose results are kept, and on which images."""
    return {
        f"kept.{scale}.{key}": value
        for scale, claims in kept.items()
        for key, value in {
            **{f"count.{verdict}": int((claims["verdict"] == verdict).sum()) for verdict in VERDICTS},
            "claims": len(claims),
            "seeds": int(claims["n"].max()),
            "source": escape(images[scale]["source"]),
        }.items()
    }


def sizes_table(study):
    """Return the sizes of the scale, a row each."""
    rows = [("images", study["images"])] if "vgg" in study["tasks"] else []
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
    """Return the conditions with their settings, how many runs diverged, and from which step the first."""
    lost = {
        name: [run["step"] for run in study["diverged"] if run["condition"] == name]
        for name in study["conditions"]
    }
    return pd.DataFrame(
        [
            {
                "Condition": identifier(name),
                "Task": escape(condition["task"]),
                "Norm": escape(condition["norm"]),
                "Learning rate": number(condition["lr"]),
                "Runs": len(study["seeds"]),
                "Diverged": len(lost[name]),
                "From step": min(lost[name], default=""),
            }
            for name, condition in study["conditions"].items()
        ]
    )


def compute_table(benchmarks):
    """Return per stage the number of jobs, their seconds and largest memory, from Snakemake's records."""
    rows = []
    for file in sorted(Path(benchmarks).rglob("*.tsv")):
        record = pd.read_csv(file, sep="\t").iloc[-1]
        stage = file.relative_to(benchmarks).parts[0].removesuffix(".tsv")
        rows.append({"Stage": stage, "seconds": record["s"], "memory": record["max_rss"]})
    if not rows:
        return pd.DataFrame({"Stage": ["not recorded"]})
    stages = pd.DataFrame(rows).groupby("Stage")
    table = pd.DataFrame(
        {
            "Jobs": stages.size(),
            "Seconds in all": stages["seconds"].sum().map(lambda s: f"{s:.0f}"),
            "Largest memory (MiB)": pd.to_numeric(stages["memory"].max(), errors="coerce").map(
                lambda m: f"{m:.0f}" if m == m else "--"
            ),
        }
    ).reset_index()
    table["Stage"] = table["Stage"].map(escape)
    return table


def software_table(provenance):
    """Return versions, machines and commits with which the tables were made: all there were of each."""
    found = {}
    for record in provenance.values():
        about = record["versions"] | record["hardware"] | {"commit": record["commit"]}
        for key, value in about.items():
            if value is not None:
                found.setdefault(key, {})[str(value)] = None
    rows = [(key, ", ".join(values)) for key, values in found.items()]
    return pd.DataFrame(rows, columns=["What", "Which"]).map(escape)


# -- texts ----------------------------------------------------------------------------------------


def escape(text):
    """Return plain text as LaTeX."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {character: "\\" + character for character in "&%$#_{}"}
    text = "".join(special.get(character, character) for character in str(text))
    while '"' in text:
        text = text.replace('"', "``", 1).replace('"', "''", 1)
    return text


def identifier(name):
    """Return a name from the configuration in a type that may break at underscores."""
    return r"\texttt{" + escape(name).replace(r"\_", r"\_\allowbreak ") + "}"


def number(value):
    """Return a number to three digits for siunitx; a dash for one that is missing."""
    if np.isnan(value):
        return "--"
    if np.isinf(value):
        return r"$\infty$" if value > 0 else r"$-\infty$"
    return rf"\num{{{value:.3g}}}"


def interval(claim):
    """Return the interval of a claim, as a difference or a ratio."""
    low, high = (number(_shown(claim[bound], claim["compare"])) for bound in ("ci_low", "ci_high"))
    return f"[{low}, {high}]"


def expectation(claim):
    """Return the effects that support a claim: beyond its margin, or within it for an equivalence."""

    def shown(boundary):
        # Without a minus before a zero.
        return number(_shown(boundary + 0.0, claim["compare"]))

    margin = claim["margin"]
    if claim["expected"] == "equivalent":
        return f"{shown(-margin)} to {shown(margin)}"
    side, sign = SIDES[claim["expected"]]
    return f"${'>' if side > 0 else '<'}$ {shown(sign * margin)}"


def verdict(claim):
    """Return a verdict, with a star if another summary would change it and a dagger if a run diverged."""
    marks = ("*" if claim["flips_under"] else "") + (r"\textdagger" if claim["n_diverged"] else "")
    return claim["verdict"] + marks


def estimate(claim):
    """Return effect and interval of a claim; a ratio has a multiplication sign before it."""
    if np.isnan(claim["effect"]):
        return "--"
    sign = r"$\times$\," if claim["compare"] == RATIO else ""
    return f"{sign}{number(_shown(claim['effect'], claim['compare']))} {interval(claim)}"


def _shown(value, compare):
    with np.errstate(over="ignore"):
        return np.exp(value) if compare == RATIO else value


def as_latex(table, columns):
    """Return a table of LaTeX texts as a longtable with booktabs rules."""
    style = table.style.hide(axis="index")
    return style.to_latex(hrules=True, column_format=columns, environment="longtable")


def write(
    folder,
    *,
    claims,
    sensitivity,
    alternatives,
    theorems,
    activations,
    images,
    provenance,
    study,
    benchmarks,
    figures,
    kept,
    kept_images,
    kept_figures,
):
    """Write numbers.tex, the tables and the figures into a folder.

    kept: scale -> the claims as they came out there once, of which the repository keeps the results;
    kept_images: scale -> what the images were; kept_figures: files, <scale>/<figure>.png.
    """
    folder = Path(folder)
    definitions = numbers(claims, study, images) | kept_numbers(kept, kept_images)
    if activations is not None:
        definitions |= sigma_numbers(activations)
    lines = [rf"\setresult{{{key}}}{{{value}}}" for key, value in definitions.items()]
    tables = {
        "verdicts": (verdict_table(claims), r"@{}L{6cm}L{2.6cm}L{4.6cm}l@{}"),
        "sensitivity": (sensitivity_table(sensitivity, claims), r"@{}L{6cm}lL{4.6cm}l@{}"),
        "alternatives": (
            alternatives_table(alternatives, claims),
            r"@{}L{3cm}L{3.2cm}L{2.5cm}L{1.8cm}L{2.5cm}L{1.8cm}@{}",
        ),
        "theorems": (theorems_table(theorems), r"@{}L{4.6cm}L{2.8cm}rrrrrr@{}"),
        "sizes": (sizes_table(study), r"@{}lL{9cm}@{}"),
        "conditions": (conditions_table(study), r"@{}L{4cm}llrrrr@{}"),
        "compute": (compute_table(benchmarks), r"@{}lrrr@{}"),
        "software": (software_table(provenance), r"@{}lL{9cm}@{}"),
    } | {
        f"family_{family}": (family_table(rows), r"@{}L{3.4cm}L{2.4cm}L{1.4cm}L{2.8cm}rrrl@{}")
        for family, rows in claims.groupby("family", sort=False)
    }
    if kept:
        width = (11.3 - 0.4 * len(kept)) / (1 + len(kept))
        columns = rf"@{{}}L{{5cm}}*{{{1 + len(kept)}}}{{L{{{width:.1f}cm}}}}@{{}}"
        tables["scales"] = (scales_table(claims, kept), columns)
    (folder / "numbers.tex").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, (table, columns) in tables.items():
        (folder / f"{name}.tex").write_text(as_latex(table, columns), encoding="utf-8")
    for figure in figures:
        shutil.copy(figure, folder)
    for figure in kept_figures:
        shutil.copy(figure, folder / f"{figure.parent.name}_{figure.name}")


def _read_claims(file):
    """Return a table of claims in which empty texts are texts."""
    claims = artefacts.read_table(file)
    texts = ["flips_under", "paper_value", "reason"]
    return claims.assign(**claims[texts].astype(object).fillna(""))


def main(argv=None):
    """Write the LaTeX bundle from the command line: the hand-written text beside what is generated."""
    parser = runtime.parser(__spec__.name, __doc__)
    for table in (
        "text",
        "claims",
        "sensitivity",
        "alternatives",
        "theorems",
        "training",
        "images",
        "provenance",
    ):
        parser.add_argument(f"--{table}", required=True, help="file to read")
    parser.add_argument("--activations", nargs="?", help="file to read, if the study has any")
    parser.add_argument("--figures", nargs="+", required=True, help="files to copy (.pdf)")
    parser.add_argument("--kept", nargs="*", default=[], help="<scale>/claims.csv among kept results")
    parser.add_argument("--benchmarks", required=True, help="folder of Snakemake's records")
    parser.add_argument("--generated", required=True, help="folder to write")
    parser.add_argument("--report", required=True, help="file to write (.tex)")
    options = parser.parse_args(argv)
    names = ("sensitivity", "alternatives", "theorems", "training")
    tables = {name: artefacts.read_table(getattr(options, name)) for name in names}
    tables["claims"], training = _read_claims(options.claims), tables.pop("training")
    lost = training[training["diverged"] == 1]
    diverged = lost.groupby(["condition", "seed"])["step"].min().reset_index().to_dict("records")
    kept = [Path(file).parent for file in options.kept]
    with artefacts.atomic_folder(options.generated) as folder:
        write(
            folder,
            **tables,
            activations=artefacts.read_table(options.activations) if options.activations else None,
            images=json.loads(artefacts.read_recorded(options.images)),
            provenance=json.loads(artefacts.read_recorded(options.provenance)),
            study=options.settings | {"diverged": diverged},
            benchmarks=options.benchmarks,
            figures=options.figures,
            kept={folder.name: _read_claims(folder / "claims.csv") for folder in kept},
            kept_images={
                folder.name: json.loads(artefacts.read_recorded(folder / "images.json")) for folder in kept
            },
            kept_figures=[file for folder in kept for file in sorted(folder.glob("fig*.png"))],
        )
    artefacts.write_text(Path(options.text).read_text(encoding="utf-8"), options.report)


if __name__ == "__main__":
    runtime.run(main)
