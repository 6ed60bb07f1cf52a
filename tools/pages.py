"""Write what README.md and docs/ say about stored results and the study's size: python tools/pages.py

A page names a text between two comments; the command replaces what stands between them:

    <!-- results: counts digits -->
    Of 85 claims, ...
    <!-- end -->

answer               table of the paper's argument: how the headline claims of each step came out
headlines            table of the headline claims: the verdict at each scale
choices              list of the headline claims whose verdict one other choice changes
counts SCALE         how many claims are supported, contradicted and inconclusive
verdicts SCALE       every claim with its effect, by figure
made SCALE           commit, machine and time of the results
gallery              every figure: what it shows, what the paper says, what came out, and our images
runs SCALE           how many runs, tables of probes and steps each choice of parts has
snapshots SCALE      how many runs have snapshots, and their size, for each choice of parts
"""

import argparse
import collections
import functools
import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from bnopt import changes, runtime  # noqa: E402
from bnopt.files.artefacts import read_table  # noqa: E402
from bnopt.judged import BEYOND, counting, natural, read_claims, unit  # noqa: E402
from bnopt.page import figures_of  # noqa: E402
from bnopt.part_texts import standing  # noqa: E402
from bnopt.report_tables import jobs  # noqa: E402
from bnopt.runtime import StudyError  # noqa: E402
from bnopt.study import checks, names, schema, study  # noqa: E402
from bnopt.verdicts import VERDICTS  # noqa: E402

STORED = ROOT / "docs" / "results"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BEGIN = re.compile(r"<!-- results:.*")
# A text ends before the next one begins: else a missing end would swallow what follows.
BLOCK = re.compile(r"(<!-- results: ([\w -]+?) -->\n)(?:(?!<!-- results:).)*?(<!-- end -->)", re.DOTALL)
# The titles of figures that the paper does not have; `claims` is made of all results.
TITLES = {
    "theorems": "The theorems as numbers",
    "edge": "Beyond the paper: the edge of stability",
    "shift": "Beyond the paper: covariate shift is curvature",
    "norms": "Beyond the paper: norms by smoothness",
    "claims": "All claims",
}
# What a reader of the verdicts about a figure should know.
NOTES = {
    "fig1": (
        "Where BatchNorm's output enters the non-linearity, BatchNorm's own shift and scale set its mean and "
        "variance over a batch, whatever the inputs do: they move only as these two are trained, as the "
        "paper's own Figure 8 shows. Two more claims judge the activations after the ReLU, where the next "
        "layer sees them."
    )
}
ALL_CLAIMS = (
    "Effect, interval and verdict of every claim, by figure. Shaded: the effects that support a claim. "
    "Dotted: its margins. Filled: confirmed or refuted."
)
GRADES = {"supported": "confirmed", "contradicted": "refuted"}
# The size of one snapshot of a VGG of the scale, in MB: that of a file. Norms differ by less than 0.1 %.
MEGABYTES = {"paper": 63.1}
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")


@functools.cache
def configuration():
    """Return config.yaml and claims.yaml, with defaults filled in; raise StudyError if they are wrong."""
    config = schema.read(ROOT / "config.yaml", ROOT / "claims.yaml")
    checks.check(config)
    return schema.with_defaults(config)


def scales():
    """Return the scales with stored results, in the order of config.yaml."""
    return [name for name in configuration()["scales"] if (STORED / name / "claims.csv").exists()]


def claims_of(scale):
    """Return the stored claims of a scale that count (`judged.counting`), with the labels of today."""
    claims = counting(read_claims(STORED / scale / "claims.csv"), scale)
    labels = {name: claim["label"] for name, claim in study.claims(configuration(), "claims").items()}
    return claims.assign(label=claims["claim"].map(labels).fillna(claims["label"]))


def of_figure(claims, figure):
    """Return the claims about a figure: of the paper's, fig5, by source or family; of another by family."""
    if figure in TITLES:
        return claims[claims["family"].str.startswith(figure)]
    number = int(figure.removeprefix("fig"))
    about = [number in figures_of(claim) for claim in claims.to_dict("records")]
    return claims[np.array(about, dtype=bool) & ~claims["source"].str.startswith(BEYOND)]


# -- words ------------------------------------------------------------------------------------------


def effect(claim):
    """Return an effect with its interval: in points for accuracies, as a factor for log ratios."""
    if np.isnan(claim["effect"]):
        return "not run"
    kind = unit(claim, study.accuracies(configuration()))
    values = natural([claim[key] for key in ("effect", "ci_low", "ci_high")], kind)
    if kind == "ratio":
        shown = [f"{value:.2g}" if value < 100 else f"{value:.1e}" for value in values]
        return "× {} [{}, {}]".format(*shown)
    if kind == "points":
        return "{} points [{}, {}]".format(
            *(_signed(value, ".1f" if abs(values[0]) < 1 else ".0f") for value in values)
        )
    return "{} [{}, {}]".format(*(_signed(value, ".2f") for value in values))


def _signed(value, form):
    """Return a number with its sign; zero, also after rounding, has none."""
    text = f"{value:+{form}}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def verdict(claim):
    """Return a verdict as a word, with its grade if it has one, and what would change it."""
    marks = []
    if claim["flips_under"]:
        marks.append(f"not under: {', '.join(map(names.words, claim['flips_under'].split(';')))}")
    if claim["n_diverged"]:
        marks.append(f"diverged runs: {claim['n_diverged']}")
    return (claim["grade"] or claim["verdict"]) + (f" ({'; '.join(marks)})" if marks else "")


def diverged(claims):
    """Return in a sentence of which conditions runs diverged; an empty text if none did."""
    conditions = configuration()["conditions"]
    lost = dict.fromkeys(name for of in claims["diverged"] for name in of.split(";") if name)
    named = "; ".join(names.run(conditions[name]) if name in conditions else name for name in lost)
    return f"The diverged runs are of: {named}." if named else ""


def counted(claims):
    """Return how many claims have which verdict: "5 supported (4 confirmed), 1 contradicted, 3 inconclusive".

    The brackets say how many of these have the grade.
    """
    texts = []
    for word in VERDICTS[:3]:
        grade = GRADES.get(word)
        graded = int((claims["grade"] == grade).sum())
        more = f" ({graded} {grade})" if graded else ""
        texts.append(f"{int((claims['verdict'] == word).sum())} {word}{more}")
    return ", ".join(texts)


# -- texts ------------------------------------------------------------------------------------------


def headline():
    """Return headline claim -> step of the paper's argument."""
    claims = study.claims(configuration(), "claims")
    return {name: claim["headline"] for name, claim in claims.items() if claim["headline"]}


def answer():
    """Return the table of the paper's argument: how the headline claims of each step came out."""
    step_of = headline()
    about = {step: [name for name in step_of if step_of[name] == step] for step in step_of.values()}
    return _by_scale("the paper's argument", about)


def headlines():
    """Return the table of headline claims: a row per claim, a column per scale."""
    claims = study.claims(configuration(), "claims")
    rows = {f"{claims[name]['label']} ({claims[name]['source']})": [name] for name in headline()}
    return _by_scale("claim", rows)


def _by_scale(first, about):
    """Return a table with a column per scale: how claims came out; a star: one other choice changes it.

    first: title of the first column
    about: title of a row -> names of its claims; a row or a column of claims that are nowhere is left out
    """
    of_rows = {claim for claims in about.values() for claim in claims}
    tables = {scale: claims_of(scale) for scale in scales()}
    tables = {scale: table for scale, table in tables.items() if table["claim"].isin(of_rows).any()}
    lines = [
        f"| {first} | {' | '.join(f'`{scale}`' for scale in tables)} |",
        "|---" * (1 + len(tables)) + "|",
    ]
    for title, claims in about.items():
        cells = [_cell(scale, table[table["claim"].isin(claims)]) for scale, table in tables.items()]
        lines += [f"| {title} | {' | '.join(cells)} |"] if any(cells) else []
    return "\n".join(lines)


def _cell(scale, claims):
    """Return how many of the claims came out how, or of one claim how: "1 confirmed, 2 inconclusive*"."""
    star = "*" if any(_changes(scale, claim) for claim in claims.to_dict("records")) else ""
    found = collections.Counter(claims["grade"].where(claims["grade"] != "", claims["verdict"]))
    words = [word for verdict in VERDICTS for word in (GRADES.get(verdict), verdict) if word in found]
    texts = [word if len(claims) == 1 else f"{found[word]} {word}" for word in words]
    return ", ".join(texts) + star


def choices():
    """Return a list of the headline claims whose verdict one other choice changes, and to what."""
    lines = []
    for name in headline():
        found = {
            scale: claims[claims["claim"] == name] for scale in scales() for claims in [claims_of(scale)]
        }
        rows = [(scale, row) for scale, claims in found.items() for row in claims.to_dict("records")]
        texts = [text for scale, row in rows for text in _changed(scale, row)]
        lines += [f"- {rows[0][1]['label']}", *texts] if texts else []
    return "\n".join(lines)


def _changed(scale, claim):
    """Return a line of a list for each verdict that one other choice gives a claim at a scale."""
    led_to = {}
    for words, verdict in _changes(scale, claim):
        led_to.setdefault(verdict, []).append(words)
    usual = claim["grade"] or claim["verdict"]
    return [
        f"  - `{scale}`: {usual}, but {verdict} with: {'; '.join(led_to[verdict])}"
        for verdict in VERDICTS
        if verdict in led_to
    ]


def _changes(scale, claim):
    """Return (in words, verdict) for each single other choice that gives a claim another verdict."""
    tables = {
        "specifications": _by(scale, "specifications", "claim"),
        "summaries": _by(scale, "claims_sensitivity", "claim"),
        "readings": _by(scale, "alternatives", "source"),
    }
    own = {key: table.get(claim["claim"], []) for key, table in tables.items()}
    found = changes.of_claim(claim, **own)
    return [(f"“{words}”" if row in own["readings"] else words, row["verdict"]) for words, row in found]


@functools.cache
def _by(scale, name, column):
    """Return the rows of a stored table, grouped by a column; none if the table is not stored."""
    file = STORED / scale / f"{name}.csv"
    groups = read_table(file).groupby(column, sort=False) if file.exists() else []
    return {key: rows.to_dict("records") for key, rows in groups}


def counts(scale):
    """Return one sentence: how many claims came out how."""
    claims = claims_of(scale)
    seeds = int(claims["n"].max())
    number = NUMBERS[seeds] if seeds < len(NUMBERS) else seeds
    return f"Of {len(claims)} claims, with {number} seeds: {counted(claims)}."


def verdicts(scale):
    """Return a list of all claims of a scale with verdict and effect, by where the paper states them."""
    claims, lines = claims_of(scale), []
    seeds = range(int(claims["n"].max()))
    for source, table in claims.groupby("source", sort=False):
        rows = table.to_dict("records")
        standings = [_standing(row, scale, seeds) for row in rows]
        same = len(set(standings)) == 1
        lines.append(f"- {source}{standings[0] if same else ''}")
        lines += [
            f"  - {row['label']}: **{verdict(row)}**, {effect(row)}{'' if same else of_row}"
            for row, of_row in zip(rows, standings, strict=True)
        ]
    return "\n".join([*lines, *(["", lost] if (lost := diverged(claims)) else [])])


def _standing(claim, scale, seeds):
    """Return in brackets whether a claim beyond the paper is exploratory there; an empty text of others."""
    if not claim["source"].startswith(BEYOND):
        return ""
    tasks = {name: condition["task"] for name, condition in configuration()["conditions"].items()}
    return f" ({standing(claim, tasks, scale, seeds)})"


def made(scale):
    """Return how the results of a scale were made, and a table of the processor time of each stage."""
    provenance = json.loads((STORED / scale / "provenance.json").read_text(encoding="utf-8"))
    of_jobs = jobs(provenance)["cpu_seconds"] / 60
    stages = of_jobs.groupby("Stage").agg(["size", "sum"]).sort_values("sum", ascending=False)
    lines = ["| stage | jobs | processor minutes of all jobs together |", "|---|---|---|"]
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


def _studies(scale):
    """Return the words for a choice of parts -> the study: the part paper, with each other part, and all."""
    first, *others = schema.parts()
    choices = {first: [first]} | {f"{first}, {other}": [first, other] for other in others} | {"all": "all"}
    chosen = {words: configuration() | {"scale": scale, "parts": parts} for words, parts in choices.items()}
    return {words: study.written_out(config) for words, config in chosen.items()}


def _probed(of_study):
    """Return the pairs (probe, condition) that a study measures."""
    return {(probe, name) for probe in of_study["probes"] for name in of_study["tables"].get(probe, [])}


def runs(scale):
    """Return a table of the numbers of runs, tables of probes and steps of training, by choice of parts."""
    lines = ["| parts | runs of the VGG | of the deep linear network | tables of probes | steps of the VGG |"]
    lines.append("|---" * 5 + "|")
    for words, of_study in _studies(scale).items():
        seeds, sizes = len(of_study["seeds"]), of_study["sizes"]
        tasks = [condition["task"] for condition in of_study["conditions"].values()]
        vgg, deep_linear = (seeds * tasks.count(task) for task in ("vgg", "deep_linear"))
        millions = vgg * sizes["vgg"]["steps"] / 1e6
        lines.append(
            f"| {words} | {vgg} | {deep_linear} | {seeds * len(_probed(of_study))} | {millions:.2f} million |"
        )
    return "\n".join(lines)


def snapshots(scale):
    """Return a table of the runs of the VGG with snapshots, their size, and the runs that train again.

    A run trains again if its snapshots are gone when a part is added that measures it.
    """
    lines = ["| parts | VGG runs with snapshots | total | runs that train again if added later |"]
    lines.append("|---" * 4 + "|")
    studies = _studies(scale)
    done = _probed(studies[study.PAPER])
    trained = studies[study.PAPER]["conditions"]
    for words, of_study in studies.items():
        seeds, sizes = len(of_study["seeds"]), of_study["sizes"]["vgg"]
        kept = {name for _, name in _probed(of_study) if of_study["conditions"][name]["task"] == "vgg"}
        of_run = len(range(0, sizes["steps"], sizes["snapshot_every"])) * MEGABYTES[scale] / 1000
        again = {name for _, name in _probed(of_study) - done if name in trained}
        total = f"{len(kept) * seeds * of_run:,.0f} GB"
        lines.append(f"| {words} | {len(kept)} × {seeds} | {total} | {len(again) * seeds} |")
    return "\n".join(lines)


def gallery():
    """Return a section for each figure with a stored image or claims about it; then one for all claims."""
    captions = {name: entry["caption"] for name, entry in configuration()["figures"].items()}
    sections = [_section(name, caption) for name, caption in (captions | {"claims": ALL_CLAIMS}).items()]
    return "\n\n".join(filter(None, sections))


def _section(figure, caption):
    """Return the section of a figure; an empty text if no scale has anything to show."""
    tables = {scale: of_figure(claims_of(scale), figure) for scale in scales()}
    about = {scale: rows for scale, rows in tables.items() if len(rows)}
    title = TITLES.get(figure, f"Figure {figure.removeprefix('fig')}")
    images = [
        f"![{title}, at the scale {scale}](results/{scale}/{figure}.png)"
        for scale in tables
        if (STORED / scale / f"{figure}.png").exists()
    ]
    if not about and not images:
        return ""
    note = [NOTES[figure]] if figure in NOTES and about else []
    parts = [f"## {title}", " ".join(caption.split()), *_said(figure), *_came_out(about), *note, *images]
    return "\n\n".join(parts)


def _said(figure):
    """Return what the paper says about its figure, or what is asked beyond the paper; [] if nothing."""
    found = []
    for family, entries in configuration()["claims"].items():
        for name, entry in entries.items():
            claim = pd.DataFrame([{"source": entry["source"], "family": family}])
            if len(of_figure(claim, figure)) and "our extension" not in entry["source"]:
                found.append(_statement(family, name, entry))
    says = "Beyond the paper" if figure in TITLES else "Claims, after the paper"
    return [f"*{says}:* {' '.join(found)}"] if found else []


def _statement(family, name, entry):
    """Return the statement of an entry once for all values under `for`: layer #5 or 10."""
    only = configuration() | {"claims": {family: {name: entry}}}
    words = {key: [names.words(value) for value in values] for key, values in entry["for"].items()}
    for claim in study.claims(only, "claims").values():
        for key, text in study.described(claim, configuration()["conditions"]).items():
            words.setdefault(key, []).append(text)
    return entry["statement"].format(**{key: _either(texts) for key, texts in words.items()})


def _either(texts):
    """Return different texts as one: a, b or c. One that may be missing: ", also" and the text."""
    *others, last = dict.fromkeys(text for text in texts if text) or [""]
    if "" in texts and last:
        return f", also{last}"
    if any("," in text for text in others):
        return f"{'; '.join(others)}; or {last}"
    return f"{', '.join(others)} or {last}" if others else last


def _came_out(about):
    """Return two sentences: how many claims came out how, and the effect of the leading claim; [] of none.

    about: scale -> the claims about a figure
    """
    if not about:
        return []
    outcomes = [f"{counted(rows)} at `{scale}`" for scale, rows in about.items()]
    known = [name for rows in about.values() for name in rows["claim"]]
    leading = next((name for name in headline() if name in known), known[0])
    found = {scale: rows[rows["claim"] == leading] for scale, rows in about.items()}
    effects = [
        f"at `{scale}` {effect(row)}, {verdict(row)}"
        for scale, rows in found.items()
        for row in rows.to_dict("records")
    ]
    label = next(rows["label"].iloc[0] for rows in found.values() if len(rows))
    return [f"*Here* the claims about it are: {'; '.join(outcomes)}. {label}: {'; '.join(effects)}."]


TEXTS = {
    text.__name__: text
    for text in (answer, headlines, choices, counts, verdicts, made, gallery, runs, snapshots)
}


def scales_of(name):
    """Return the scales that a text may be about; None for a text that is about all."""
    stored = sorted(file.parent.name for file in STORED.glob("*/claims.csv"))
    of_results = dict.fromkeys(("counts", "verdicts", "made"), stored)
    return (of_results | {"runs": list(configuration()["scales"]), "snapshots": list(MEGABYTES)}).get(name)


def filled(text, page="the page"):
    """Return the text of a page with everything between the comments as the results and the study say it.

    page: its name, for the StudyError if it names a text or a scale that does not exist, or a text has no end
    """
    for begin in BEGIN.finditer(text):
        if not BLOCK.match(text, begin.start()):
            expected = "<!-- results: TEXT --> as a line, and <!-- end --> before the next one"
            raise StudyError(f"{page}: expected {expected}; found {begin[0]}")
    return BLOCK.sub(lambda block: f"{block[1]}{_written(page, *block[2].split())}\n{block[3]}", text)


def _written(page, name="nothing", *arguments):
    """Return the text of this name, of the scale that it may need as an argument."""
    if name not in TEXTS:
        raise StudyError(f"{page}: expected one of {', '.join(TEXTS)} after 'results:', found {name}")
    known = scales_of(name)
    if list(arguments) not in ([[]] if known is None else [[scale] for scale in known]):
        expected = "nothing" if known is None else f"a scale ({', '.join(known)})"
        found = " ".join(arguments) or "nothing"
        raise StudyError(f"{page}: expected {expected} after 'results: {name}', found {found}")
    return TEXTS[name](*arguments)


def main():
    """Fill every page."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (new := filled(text, page.relative_to(ROOT))) != text:
            page.write_text(new, encoding="utf-8", newline="\n")
            print(f"{page.relative_to(ROOT)}: written")


if __name__ == "__main__":
    runtime.run(main)
