"""The page of all claims: one HTML file that needs no network, no server and no other file."""

import base64
import io
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from bnopt import changes, evidence, part_texts, runtime
from bnopt.files import artefacts
from bnopt.judged import (
    RATIO,
    defined_alike,
    natural,
    read_claims,
    read_json,
    read_stored,
    strip,
    supporting,
    unit,
)
from bnopt.study import names
from bnopt.verdicts import VERDICTS, support

# Snakemake's page shows this one as a data URI in a frame, and Chromium opens none above 2 MiB there.
MOST_BYTES = 2**21 * 3 // 4 - 1000
# Width in pixels and quality of the figures; the first with which all fit into the page is taken.
FIGURE_SIZES = ((1600, 80), (1400, 65), (1200, 50), (1000, 40), (800, 30), (500, 20))
MISSING = "–"
# The source of a claim that the paper makes.
OF_PAPER = r"(Figure|Section|Appendix|Table|Theorem)(?!.*our extension)"
# Begins the name of the figure with the specification curve of a claim.
CURVE = "specification_"


@dataclass(frozen=True)
class Results:
    """The tables of a scale that the page shows; `stored`: another scale -> its `judged.Stored`."""

    claims: pd.DataFrame
    sensitivity: pd.DataFrame
    per_seed: pd.DataFrame
    alternatives: pd.DataFrame
    specifications: pd.DataFrame
    images: dict
    stored: dict


# -- texts ------------------------------------------------------------------------------------------


def number(value):
    """Return a number with three significant digits, as text; a dash if it is missing."""
    if np.isnan(value):
        return MISSING
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    digits, _, exponent = f"{value:.3g}".partition("e")
    power = f"·10{str(int(exponent)).translate(names.SUPERSCRIPTS)}" if exponent else ""
    return digits.replace("-", "−") + power


class Units:
    """Texts of effects: factors for log ratios, percentage points (pp) for accuracies, else plain numbers."""

    def __init__(self, accuracies):
        self.accuracies = accuracies

    def value(self, effect, claim):
        """Return an effect with its unit: ×3.2, +34.5 pp, +0.12; a dash if it is missing."""
        if np.isnan(effect):
            return MISSING
        kind = unit(claim, self.accuracies)
        text = number(natural(effect, kind))
        if kind == "ratio":
            return f"×{text}"
        return ("+" if effect > 0 else "") + text + (" pp" if kind == "points" else "")

    def interval(self, row, claim):
        """Return [low, high] in the unit of the effect; an empty text if there is no interval."""
        if np.isnan(row["effect"]):
            return ""
        bounds = natural([row["ci_low"], row["ci_high"]], unit(claim, self.accuracies))
        return f"[{', '.join(map(number, bounds))}]"

    def expected(self, claim):
        """Return the effects that support a claim: > ×1, < 0 pp, ×0.5 to ×2."""
        kind = unit(claim, self.accuracies)
        sign, name = ("×" if kind == "ratio" else ""), (" pp" if kind == "points" else "")
        low, high = (None if bound is None else sign + number(bound) for bound in supporting(claim, kind))
        if low is None:
            return f"< {high}{name}"
        return f"> {low}{name}" if high is None else f"{low} to {high}{name}"


def can_show(seeds, families):
    """Return what so many seeds can confirm; families: the number of claims of each."""
    if not families:
        return "No claim is judged"
    least, most = map(evidence.seeds_to_confirm, (min(families), max(families)))
    if seeds < least:
        confirms = "nothing"
    elif seeds < most:
        largest = max(m for m in range(1, max(families)) if evidence.seeds_to_confirm(m) <= seeds)
        confirms = f"claims of families of at most {largest} claims"
    else:
        confirms = "claims of every family"
    who = "1 seed can" if seeds == 1 else f"{seeds} seeds can"
    larger = f", from {most} on in the largest ({max(families)})" if most > least else ""
    return (
        f"{who} confirm {confirms}: the smallest p of so many is {number(0.5**seeds)}, and a claim can be "
        f"confirmed (p ≤ 0.05 after Holm’s adjustment) from {least} seeds on in the smallest family "
        f"({min(families)} {'claim' if min(families) == 1 else 'claims'}){larger}"
    )


def figures_of(claim):
    """Return the numbers of the paper's figures that a claim is about, by its source, else by its family."""
    named = re.findall(r"Figures? (\d+(?:\([a-z]\))?(?:(?:, | and )\d+(?:\([a-z]\))?)*)", claim["source"])
    found = [int(digits) for text in named for digits in re.findall(r"\d+", text)]
    family = re.match(r"fig(\d+)", claim["family"])
    return sorted(set(found or ([int(family[1])] if family else [])))


# -- rows -------------------------------------------------------------------------------------------


def rows(results, study):
    """Return a dict per claim with all that its row and what opens below it show, as texts."""
    units = Units(study["accuracies"])
    tables = {
        "seeds": dict(list(results.per_seed.groupby("claim"))),
        "summaries": dict(list(results.sensitivity.groupby("claim"))),
        "readings": dict(list(results.alternatives.groupby("source"))),
        "specifications": dict(list(results.specifications.groupby("claim"))),
    }
    scales = {scale: _of_scale(found.claims, results.claims) for scale, found in results.stored.items()}
    found = []
    for claim in results.claims.to_dict("records"):
        own = {name: _records(of.get(claim["claim"])) for name, of in tables.items()}
        found.append(
            {
                **{key: claim[key] for key in ("claim", "label", "statement", "source", "paper_value")},
                **{key: claim[key] for key in ("verdict", "reason", "quantity", "condition_a", "n")},
                "against": str(claim["condition_b"]),
                "argument": study["headline"].get(claim["claim"], ""),
                "test": _test(claim, study["conditions"]),
                "grade": _text(claim.get("grade")),
                "figures": [f"fig{number}" for number in figures_of(claim)],
                "curve": f"{CURVE}{claim['claim']}",
                "task": study["tasks"].get(claim["condition_a"], ""),
                "part": study["parts"].get(claim["claim"], ""),
                "standing": _standing(claim, study),
                "effect": units.value(claim["effect"], claim),
                "interval": units.interval(claim, claim),
                "beyond": _beyond(claim),
                "expected": units.expected(claim),
                "changes": _changes(claim, own, units),
                "choices": _support(own["specifications"]),
                "agreeing": _text(claim.get("seeds_agreeing")),
                "confirming": claim.get("seeds_to_confirm", np.nan),
                "diverged": _diverged(claim, study["conditions"]),
                "p": number(claim["p_sign_flip"]),
                "holm": number(claim["p_holm"]),
                "evidence": _evidence(claim),
                "sort": {"effect": claim["effect"], "spread": claim["ci_high"] - claim["ci_low"]},
                "strip": strip([row["effect"] for row in own["seeds"]], claim),
                "seeds": [(row["seed"], units.value(row["effect"], claim)) for row in own["seeds"]],
                "summaries": [_summary(row, claim, units) for row in own["summaries"]],
                "readings": [
                    _outcome(row, row, units) | {"name": row["statement"]} for row in own["readings"]
                ],
                "scales": [
                    _at_scale(scale, of[claim["claim"]], units)
                    for scale, of in scales.items()
                    if claim["claim"] in of
                ],
            }
        )
    return found


def _test(claim, conditions):
    """Return in words what a claim compares."""
    a, b = (
        conditions.get(claim[key], names.words(str(claim[key]))) for key in ("condition_a", "condition_b")
    )
    return f"{names.words(claim['quantity'])} of {a} (a) against {b} (b)"


def _standing(claim, study):
    """Return whether prototypes had shown the data of a claim beyond the paper; else an empty text."""
    if study["parts"].get(claim["claim"]) not in part_texts.TITLES:
        return ""
    return part_texts.standing(claim, study["tasks"], study["scale"], study["seeds"])


def _beyond(claim):
    """Return the number from which an effect is the difference; an empty text if it is none, or 0."""
    number_of = pd.to_numeric(claim["condition_b"], errors="coerce")
    return "" if claim["compare"] == RATIO or np.isnan(number_of) or number_of == 0 else number(number_of)


def _changes(claim, own, units):
    """Return the outcome of every single other choice or reading that gives a claim another verdict."""
    tables = {name: own[name] for name in ("specifications", "summaries", "readings")}
    found = changes.of_claim(claim, **tables)
    # A reading may be of a quantity with another unit.
    return [_outcome(row, {**claim, **row}, units) | {"name": words} for words, row in found]


def _support(specifications):
    """Return in how many specifications a claim is supported: "16 of 28"; an empty text without any."""
    supported, judged = support([row["verdict"] for row in specifications])
    return f"{supported} of {judged}" if judged else ""


def _diverged(claim, conditions):
    """Return the number of diverged runs, with their conditions in words if the table names them."""
    if not claim["n_diverged"]:
        return ""
    named = [conditions.get(name, name) for name in _text(claim.get("diverged")).split(";") if name]
    return str(int(claim["n_diverged"])) + (f" ({'; '.join(named)})" if named else "")


def _records(table):
    return [] if table is None else table.to_dict("records")


def _text(value):
    return value if isinstance(value, str) else ""


def _evidence(claim):
    """Return name -> text of what the table says besides p values, if it has these columns."""
    shown = {}
    for column, name in (("e_value", "e-value"), ("seeds_needed", "seeds that would decide it")):
        value = claim.get(column)
        shown[name] = "" if pd.isna(value) else number(float(value))
    return {name: text for name, text in shown.items() if text}


def _outcome(row, claim, units):
    """Return effect, interval and verdict of a row as texts; claim: what gives the unit."""
    shown = {"effect": units.value(row["effect"], claim), "interval": units.interval(row, claim)}
    return shown | {"verdict": row["verdict"], "changed": False}


def _summary(row, claim, units):
    changed = row["verdict"] not in (claim["verdict"], "not run")
    return _outcome(row, claim, units) | {"name": names.words(row["summary"]), "changed": changed}


def _of_scale(found, claims):
    """Return claim -> its row at another scale; None if the claim is defined otherwise there."""
    here = {row["claim"]: row for row in claims.to_dict("records")}
    there = {row["claim"]: row for row in found.to_dict("records") if row["claim"] in here}
    return {claim: row if defined_alike(row, here[claim]) else None for claim, row in there.items()}


def _at_scale(scale, row, units):
    """Return name, effect, interval and verdict of a claim at another scale; see `_of_scale`."""
    if row is None:
        shown = {"effect": MISSING, "interval": "", "verdict": "defined otherwise", "changed": False}
    else:
        shown = _outcome(row, row, units)
    return shown | {"name": scale}


# -- figures ----------------------------------------------------------------------------------------


def light(files, most_bytes):
    """Return name -> data URI of each figure, all of one width and quality, in at most so many characters.

    If not even the smallest size fits, the figures have the smallest size.
    """
    for width, quality in FIGURE_SIZES:
        found = {Path(file).stem: _as_uri(file, width, quality) for file in files}
        if sum(map(len, found.values())) <= most_bytes:
            break
    return found


def _as_uri(file, width, quality):
    """Return a figure as the data URI of a WebP image of at most this width."""
    from PIL import Image

    content = io.BytesIO()
    with Image.open(file) as image:
        height = round(image.height * width / image.width)
        smaller = image.convert("RGB")
        if image.width > width:
            smaller = smaller.resize((width, height), Image.Resampling.LANCZOS)
        smaller.save(content, "WEBP", quality=quality)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"


def title(figure):
    """Return the title of a figure: fig4 -> Figure 4, theorems -> Theorems; all curves have the same."""
    if figure.startswith(CURVE):
        return "Specification curve"
    number_of = figure.removeprefix("fig")
    return f"Figure {number_of}" if number_of.isdecimal() else figure.replace("_", " ").capitalize()


# -- the page ---------------------------------------------------------------------------------------


def render(results, study, *, figures, files):
    """Return the page as text. Figures are made so small that the page keeps to `MOST_BYTES`.

    figures: .png files; files: the paths of `template`, `style` and `script`
    """
    texts = {name: Path(file).read_text(encoding="utf-8") for name, file in files.items()}
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["title_of"] = title
    template = environment.from_string(texts["template"])
    facts = _facts(results, study) | {key: Markup(texts[key]) for key in ("style", "script")}
    order = sorted((Path(file).stem for file in figures), key=list(study["captions"]).index)
    without = template.render(facts, figures=dict.fromkeys(order, ""))
    uris = light(figures, MOST_BYTES - len(without.encode()))
    return template.render(facts, figures={name: Markup(uris[name]) for name in order})


def _facts(results, study):
    """Return what the template shows besides the figures."""
    found = rows(results, study)
    run = results.claims[results.claims["verdict"] != "not run"]
    families = run.groupby("family").size().tolist()
    judged = {row["verdict"] for row in found}
    return {
        "scale": study["scale"],
        "images": results.images["source"] if study["images"] else "",
        "seeds": study["seeds"],
        "conditions": len(study["tasks"]),
        "rows": found,
        "of_paper": sum(re.match(OF_PAPER, row["source"]) is not None for row in found),
        "captions": study["captions"],
        "can_show": can_show(len(study["seeds"]), families),
        "counts": {v: sum(row["verdict"] == v for row in found) for v in VERDICTS if v in judged},
        "verdicts": list(VERDICTS),
        "choices": _choices(found),
        "graded": any(row["grade"] for row in found),
        "answer": answer(found),
    }


def answer(found):
    """Return a dict per step of the paper's argument: how its headline claims came out, as texts.

    found: see `rows`
    verdicts     verdict -> how many of the claims have it
    grades       grade -> how many of the claims have it
    confirming   the number of seeds that can confirm all of them; missing in tables of older code
    agreeing     how many seeds fall on the side of each claim
    changes      what changes one of the verdicts -> the verdicts it leads to
    """
    steps = {}
    for row in found:
        if row["argument"]:
            steps.setdefault(row["argument"], []).append(row)
    return [
        {"statement": statement, "claims": of_step, **_step(of_step)} for statement, of_step in steps.items()
    ]


def _step(claims):
    changed = {}
    for change in (change for claim in claims for change in claim["changes"]):
        changed.setdefault(change["name"], {})[change["verdict"]] = None
    return {
        "verdicts": Counter(claim["verdict"] for claim in claims),
        "grades": Counter(claim["grade"] for claim in claims if claim["grade"]),
        "confirming": max(claim["confirming"] for claim in claims),
        "agreeing": dict.fromkeys(claim["agreeing"] for claim in claims if claim["agreeing"]),
        "changes": changed,
    }


def _choices(found):
    """Return the filters: key -> value -> text. A filter is left out if there is nothing to choose."""
    of_figures = sorted({name for row in found for name in row["figures"]}, key=_figure_number)
    choices = {"figure": {name: title(name) for name in of_figures}}
    if not all(row["figures"] for row in found):
        choices["figure"][""] = "no figure"
    for key in ("task", "part", "verdict", "grade"):
        values = dict.fromkeys(row[key] for row in found if row[key])
        order = [v for v in VERDICTS if v in values] if key == "verdict" else sorted(values)
        choices[key] = {value: names.words(value) for value in order}
    return {key: values for key, values in choices.items() if len(values) > 1}


def _figure_number(name):
    return int(name.removeprefix("fig"))


def main(argv=None):
    """Write the page from the command line."""
    parser = runtime.parser(__spec__.name, __doc__)
    for name in (
        "template",
        "style",
        "script",
        "claims",
        "sensitivity",
        "per-seed",
        "alternatives",
        "specifications",
        "images",
    ):
        parser.add_argument(f"--{name}", required=True, help="file to read")
    parser.add_argument("--stored", nargs="*", default=[], help="<scale>/claims.csv of other scales")
    parser.add_argument("--figures", nargs="*", default=[], help="figures to show (.png)")
    parser.add_argument("--page", required=True, help="file to write (.html)")
    options = parser.parse_args(argv)
    folders = [Path(file).parent for file in options.stored]
    results = Results(
        claims=read_claims(options.claims),
        sensitivity=artefacts.read_table(options.sensitivity),
        per_seed=artefacts.read_table(options.per_seed),
        alternatives=artefacts.read_table(options.alternatives),
        specifications=artefacts.read_table(options.specifications),
        images=read_json(options.images),
        stored={folder.name: read_stored(folder) for folder in folders},
    )
    files = {name: getattr(options, name) for name in ("template", "style", "script")}
    text = render(results, options.settings, figures=options.figures, files=files)
    artefacts.write_recorded(text, options.page, job=runtime.job_of(options))


if __name__ == "__main__":
    runtime.run(main)
