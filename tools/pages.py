"""Write what README.md and docs/ say about stored results: python tools/pages.py

A page names a text between two comments; the command replaces what stands between them:

    <!-- results: counts digits -->
    Of 85 claims, ...
    <!-- end -->

headlines            table of the headline claims: the verdict at each scale with stored results
counts SCALE         how many claims are supported, contradicted and inconclusive
verdicts SCALE       every claim with its effect, by figure
made SCALE           commit, machine and time of the results
figure NUMBER        what a figure shows, what the paper says about it, and what came out
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from bnopt.judged import RATIO, natural, read_claims  # noqa: E402
from bnopt.study import schema, study  # noqa: E402
from bnopt.verdicts import VERDICTS  # noqa: E402

STORED = ROOT / "docs" / "results"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(<!-- results: ([\w -]+?) -->\n).*?(<!-- end -->)", re.DOTALL)
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")


def configuration():
    """Return config.yaml and claims.yaml, with defaults filled in."""
    return schema.with_defaults(schema.read(ROOT / "config.yaml", ROOT / "claims.yaml"))


def scales():
    """Return the scales with stored results, in the order of config.yaml."""
    return [name for name in configuration()["scales"] if (STORED / name / "claims.csv").exists()]


def claims_of(scale):
    """Return the table of judged claims of a scale with stored results."""
    return read_claims(STORED / scale / "claims.csv")


def caption_of(number):
    """Return the caption of a figure of the paper."""
    return " ".join(configuration()["figures"][f"fig{number}"]["caption"].split())


def of_figure(claims, number):
    """Return the claims about a figure of the paper, found in texts such as "Figures 5 and 12(a)"."""
    sources = claims["source"].str.replace(r"Section [\d.]+", "", regex=True)
    return claims[sources.str.findall(r"\d+").map(lambda numbers: str(number) in numbers)]


# -- words ------------------------------------------------------------------------------------------


def effect(claim):
    """Return an effect with its interval: in points for accuracies, as a factor for log ratios."""
    if np.isnan(claim["effect"]):
        return "not run"
    values = [natural(claim[key], claim["compare"]) for key in ("effect", "ci_low", "ci_high")]
    if claim["compare"] == RATIO:
        shown = [f"{value:.2g}" if value < 100 else f"{value:.1e}" for value in values]
        return "× {} [{}, {}]".format(*shown)
    if "accuracy" in claim["quantity"]:
        return "{} points [{}, {}]".format(*(_signed(100 * value, ".0f") for value in values))
    return "{} [{}, {}]".format(*(_signed(value, ".2f") for value in values))


def _signed(value, form):
    return f"{value:+{form}}".replace("-", "−")


def verdict(claim):
    """Return a verdict as a word, with its grade if it has one, and what would change it."""
    word = claim.get("grade") or claim["verdict"]
    marks = []
    if claim["flips_under"]:
        marks.append(f"not under: {claim['flips_under'].replace('_', ' ').replace(';', ', ')}")
    if claim["n_diverged"]:
        marks.append(f"diverged runs: {claim['n_diverged']}")
    return word + (f" ({'; '.join(marks)})" if marks else "")


def counted(claims):
    """Return how many claims came out how, in words: "55 supported, 11 contradicted, 19 inconclusive"."""
    return ", ".join(f"{int((claims['verdict'] == word).sum())} {word}" for word in VERDICTS[:3])


# -- texts ------------------------------------------------------------------------------------------


def headlines():
    """Return the table of headline claims: a row per claim, a column per scale."""
    claims = study.claims(configuration(), "claims")
    chosen = [name for name, claim in claims.items() if claim["headline"]]
    tables = {scale: claims_of(scale).set_index("claim") for scale in scales()}
    lines = [f"| claim | {' | '.join(f'`{scale}`' for scale in tables)} |", "|---" * (1 + len(tables)) + "|"]
    for name in chosen:
        found = [table.loc[name] if name in table.index else None for table in tables.values()]
        label = next(row["label"] for row in found if row is not None)
        source = next(row["source"] for row in found if row is not None)
        lines.append(f"| {label} ({source}) | {' | '.join(_cell(row) for row in found)} |")
    return "\n".join(lines)


def _cell(row):
    return "" if row is None else f"{row.get('grade') or row['verdict']}{'*' if row['flips_under'] else ''}"


def counts(scale):
    """Return one sentence: how many claims came out how."""
    claims = claims_of(scale)
    seeds = int(claims["n"].max())
    number = NUMBERS[seeds] if seeds < len(NUMBERS) else seeds
    return f"Of {len(claims)} claims, with {number} seeds: {counted(claims)}."


def verdicts(scale):
    """Return a list of all claims of a scale with verdict and effect, by where the paper states them."""
    lines = []
    for source, rows in claims_of(scale).groupby("source", sort=False):
        lines.append(f"- {source}")
        lines += [f"  - {row['label']}: **{verdict(row)}**, {effect(row)}" for row in rows.to_dict("records")]
    return "\n".join(lines)


def made(scale):
    """Return how the results of a scale were made, and a table of the time of each stage."""
    provenance = json.loads((STORED / scale / "provenance.json").read_text(encoding="utf-8"))
    jobs = pd.DataFrame(
        {"stage": _stage(record), "started": record["started"], "minutes": record.get("seconds", np.nan) / 60}
        for record in provenance.values()
    )
    jobs = jobs.groupby(["stage", "started"])["minutes"].max()
    stages = jobs.groupby("stage").agg(["size", "sum"]).sort_values("sum", ascending=False)
    lines = ["| stage | jobs | minutes of all jobs together |", "|---|---|---|"]
    lines += [
        f"| {stage} | {int(row['size'])} | {row['sum']:.1f} |"
        for stage, row in stages.iterrows()
        if row["sum"] >= 0.05
    ]
    found = {
        "Commit": {record["commit"][:7] for record in provenance.values()},
        "Processor": {record["hardware"]["processor"] for record in provenance.values()},
        "GPU": {record["hardware"]["gpu"] or "none" for record in provenance.values()},
        "PyTorch": {record["versions"].get("torch") for record in provenance.values()} - {None},
    }
    about = ". ".join(f"{key}: {', '.join(sorted(values))}" for key, values in found.items() if values)
    return f"{about}.\n\n" + "\n".join(lines)


def _stage(record):
    return f"{record['stage'].removeprefix('bnopt.')} {record['settings'].get('probe', '')}".rstrip()


def figure(number):
    """Return the paper's statements about one of its figures, and what came out at each scale."""
    about = {scale: of_figure(claims_of(scale), number) for scale in scales()}
    statements = dict.fromkeys(pd.concat(about.values())["statement"])
    outcomes = [f"`{scale}`: {counted(rows)}" for scale, rows in about.items() if len(rows)]
    return (
        f"{caption_of(number)}\n\n*The paper says:* {' '.join(statements)}\n\n"
        f"*Here*, of the claims about this figure: {'; '.join(outcomes)}."
    )


TEXTS = {text.__name__: text for text in (headlines, counts, verdicts, made, figure)}


def filled(page):
    """Return the text of a page with everything between the comments as the stored results say it.

    SystemExit: the page names a text that does not exist.
    """

    def text_of(block):
        name, *arguments = block[2].split()
        if name not in TEXTS:
            sys.exit(f"error: expected one of {', '.join(TEXTS)} after 'results:', found {name}")
        return f"{block[1]}{TEXTS[name](*arguments)}\n{block[3]}"

    return BLOCK.sub(text_of, page)


def main():
    """Fill every page."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (new := filled(text)) != text:
            page.write_text(new, encoding="utf-8", newline="\n")
            print(f"{page.relative_to(ROOT)}: written")


if __name__ == "__main__":
    main()
