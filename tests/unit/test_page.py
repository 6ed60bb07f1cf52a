"""The page of all claims, parsed and compared with the tables from which it is made."""

import base64
import csv
import io
import json
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from bnopt import evidence, page, verdicts
from bnopt.files import artefacts
from bnopt.study import study

ROOT = Path(__file__).parents[2]
STORED = ROOT / "docs" / "results"
DEFINED_BY = ("quantity", "compare", "condition_a", "condition_b", "expected", "margin")
VOID = {"meta", "link", "br", "img", "input", "line", "circle"}


class Node:
    """An element: its tag, attributes, children, and parent."""

    def __init__(self, tag, attributes, parent):
        self.tag, self.attributes, self.parent, self.children = tag, attributes, parent, []

    def all(self, tag, **wanted):
        """Return all elements below this one with a tag and with these classes or attributes."""
        found = [node for node in self.below() if node.tag == tag]
        for key, value in wanted.items():
            key = key.rstrip("_").replace("_", "-")
            found = [node for node in found if value in (node.attributes.get(key) or "").split()]
        return found

    def below(self):
        for child in self.children:
            if isinstance(child, Node):
                yield child
                yield from child.below()

    @property
    def text(self):
        return " ".join("".join(c if isinstance(c, str) else f" {c.text} " for c in self.children).split())


class Document(HTMLParser):
    """A parser that refuses elements that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.root = self.at = Node("", {}, None)
        self.feed(text)
        self.close()
        assert self.at is self.root, f"<{self.at.tag}> is not closed"

    def handle_starttag(self, tag, attrs):
        node = Node(tag, dict(attrs), self.at)
        self.at.children.append(node)
        if tag not in VOID:
            self.at = node

    def handle_startendtag(self, tag, attrs):
        self.at.children.append(Node(tag, dict(attrs), self.at))

    def handle_endtag(self, tag):
        assert tag == self.at.tag, f"</{tag}> closes <{self.at.tag}>"
        self.at = self.at.parent

    def handle_data(self, data):
        self.at.children.append(data)


def read(scale, name):
    """Return the rows of a stored table as texts."""
    with (STORED / scale / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


NAMES = {
    "vgg_none_lr0.5": "VGG, no norm, rate 0.5",
    "vgg_frozen": "VGG, Frozen BatchNorm, rate 0.1",
    "vgg_none_x2": "VGG, no norm, rate 0.1, weights × 2",
    "deep_linear_none": "deep linear network, no norm, rate 1e-6",
}


@pytest.fixture(scope="module", params=["digits", "deep-linear"])
def made(request, page_of, stored_study):
    """The page of a scale with stored results, made by the command; deep-linear has infinite effects."""
    text = page_of(request.param).read_text(encoding="utf-8")
    root = Document(text).root
    return SimpleNamespace(
        scale=request.param,
        text=text,
        root=root,
        study=stored_study(request.param),
        rows={row["claim"]: row for row in read(request.param, "claims")},
        bodies={node.attributes["id"]: node for node in root.all("tbody", class_="claim")},
    )


# -- a second implementation of texts: decimal digits by rounding, and units by the table's words ------


def digits(value):
    """Return a number as the page shows it, computed from its decimal exponent."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    mantissa = round(value / 10.0**exponent, 2)
    if abs(mantissa) == 10:
        mantissa, exponent = mantissa / 10, exponent + 1
    if -4 <= exponent < 3:
        shown = f"{value:.{max(0, 2 - exponent)}f}"
        shown = shown.rstrip("0").rstrip(".") if "." in shown else shown
    else:
        raised = "".join("⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".index(c)] for c in str(exponent))
        shown = f"{mantissa:.2f}".rstrip("0").rstrip(".") + f"·10{raised}"
    return shown.replace("-", "−")


def in_words(summary):
    return "at equal loss" if summary == "equal_loss" else summary.replace("_", " ")


def in_units(text, row):
    """Return an effect of a table as the page shows it, and without its unit."""
    if text == "":
        return "–", "–"
    value = float(text)
    if row["compare"] == "log_ratio":
        bare = digits(math.inf if value > 700 else math.exp(value))
        return f"×{bare}", bare
    if row["quantity"] in ("training_accuracy", "final_accuracy", "test_accuracy"):
        bare = digits(value * 100)
        return f"{'+' if value > 0 else ''}{bare} pp", bare
    return f"{'+' if value > 0 else ''}{digits(value)}", digits(value)


def effect_and_interval(row, like):
    if row["effect"] == "":
        return "–"
    low, high = (in_units(row[bound], like)[1] for bound in ("ci_low", "ci_high"))
    return f"{in_units(row['effect'], like)[0]} [{low}, {high}]"


def inner(body, caption):
    """Return the texts of the cells of a table that opens below a claim; None if it has none."""
    for table in body.all("table", class_="inner"):
        if table.all("caption")[0].text.startswith(caption):
            return [
                [cell.text for cell in row.children if isinstance(cell, Node)]
                for row in table.all("tbody")[0].all("tr")
            ]
    return None


# -- the rows ---------------------------------------------------------------------------------------


def cells(body):
    return [cell for cell in body.all("tr")[0].children if isinstance(cell, Node)]


def test_every_claim_has_a_row_in_the_order_of_the_study(made):
    assert list(made.bodies) == list(made.rows)
    for name, row in made.rows.items():
        claim, source, paper, *_ = cells(made.bodies[name])
        assert claim.all("h3")[0].text == row["label"]
        step = made.study["headline"].get(name)
        argument = f"Step of the argument: {step}" if step else ""
        assert claim.text == " ".join(f"{row['label']} {row['statement']} {argument}".split())
        assert source.text == row["source"]
        assert paper.text == (" ".join(row["paper_value"].split()) or "–")


def test_effects_and_intervals_are_those_of_the_table_in_natural_units(made):
    for name, row in made.rows.items():
        shown = cells(made.bodies[name])[3]
        expected = [node.text for node in shown.all("small")]
        assert shown.text == f"{effect_and_interval(row, row)} {expected[0]}"
        low, high = verdicts.boundaries(row["expected"], float(row["margin"]))
        shown_low, shown_high = (in_units(b + 0.0, row)[0].removeprefix("+") for b in (low, high))
        words = {
            "greater": f"> {shown_low}", "not_less": f"> {shown_low}", "less": f"< {shown_high}",
            "not_greater": f"< {shown_high}",
            "equivalent": f"{shown_low.removesuffix(' pp')} to {shown_high}",
        }  # fmt: skip
        said = f"expected: {words[row['expected']]}"
        if row["compare"] == "difference" and re.fullmatch(r"-?[\d.e+]+", row["condition_b"]):
            said += f"; the effect is the difference from {digits(float(row['condition_b']))}"
        assert expected == [said.removesuffix("; the effect is the difference from 0")]


CHOICES = {
    "mean": "the mean over steps", "median": "the median over steps", "equal_loss": "at equal loss",
    "geometric_mean": "the geometric mean over steps",
    "until_converged": "only the steps until either net has converged",
    "first_half": "only the first half of the run", "second_half": "only the second half of the run",
    "up_to_lr": "only step sizes up to the learning rate", "lr": "only the learning rate as step size",
}  # fmt: skip


def combinations(specification):
    """Return the combinations of choices of a row of specifications.csv: its own, and its twins."""
    own = "/".join(specification[key] for key in ("summary", "steps", "grid"))
    return [tuple(text.split("/")) for text in [own, *specification["coincides"].split(";")] if text]


def what_changes(scale, claim):
    """Return [in words, effect and interval, verdict] per change of a verdict, from the stored tables."""
    file = STORED / scale / "specifications.csv"
    rows = read(scale, "specifications") if file.exists() else []
    rows = [row for row in rows if row["claim"] == claim["claim"]]
    found = []
    if rows:
        (registered,) = (combinations(row)[0] for row in rows if row["registered"] == "1")
        for row in rows:
            for other in combinations(row):
                differing = [n for n in range(3) if other[n] != registered[n]]
                if len(differing) == 1:
                    value = other[differing[0]]
                    words = ("", "all steps", "all step sizes")[differing[0]]
                    found.append((words if value == "all" else CHOICES[value], row))
    else:
        summaries = [row for row in read(scale, "claims_sensitivity") if row["claim"] == claim["claim"]]
        found += [(CHOICES.get(row["summary"], in_words(row["summary"])), row) for row in summaries]
    like = claim if rows or found else None
    found = [(words, effect_and_interval(row, like), row["verdict"]) for words, row in found]
    readings = [row for row in read(scale, "alternatives") if row["source"] == claim["claim"]]
    found += [(row["label"], effect_and_interval(row, row), row["verdict"]) for row in readings]
    return [list(one) for one in found if one[2] not in (claim["verdict"], "not run")]


def test_verdicts_are_words_with_a_colour_and_say_what_changes_them(made):
    changed = 0
    for name, row in made.rows.items():
        cell = cells(made.bodies[name])[5]
        (word,) = cell.all("span", class_="word")
        assert word.text == row["verdict"]
        assert row["verdict"].replace(" ", "-") in word.attributes["class"].split()
        more = []
        if row["n"] < row.get("seeds_to_confirm", "") and not row["grade"]:
            more.append(f"{row['n']} seeds cannot confirm it, {row['seeds_to_confirm']} can")
        if made.study["part_of"].get(name) in ("mechanism", "norms"):
            # Prototypes had shown the VGGs of the scale digits, and deep linear networks at seeds 0 to 2.
            seeds = len(made.study["seeds"])
            of_vgg = not row["condition_a"].startswith("deep_linear")
            standing = "exploratory" if of_vgg or seeds == 3 else f"exploratory at 3 of {seeds} seeds"
            more.append(f"{standing}: prototypes had shown such data")
        if name in made.study["headline"] and (STORED / made.scale / "specifications.csv").exists():
            found = [one["verdict"] for one in read(made.scale, "specifications") if one["claim"] == name]
            judged = [verdict for verdict in found if verdict != "not run"]
            more.append(f"supported under {judged.count('supported')} of {len(judged)} choices")
        if changes := what_changes(made.scale, row):
            changed += 1
            more.append(f"changes under: {'; '.join(f'{words} ({to})' for words, _, to in changes)}")
        if row["n_diverged"] != "0":
            # Tables of older code do not name them.
            named = "; ".join(NAMES[name] for name in row.get("diverged", "").split(";") if name)
            more.append(f"diverged runs: {row['n_diverged']}" + (f" ({named})" if named else ""))
        assert [node.text for node in cell.all("small")] == more
        assert inner(made.bodies[name], "What changes the verdict") == (changes or None)
        says_none = "No single other choice or reading that was tried." in made.bodies[name].text
        assert says_none == (not changes and row["verdict"] != "not run")
    assert changed > 3


def test_the_answer_is_that_of_the_headline_claims_of_each_step_of_the_argument(made):
    (table,) = made.root.all("table", class_="answer")
    steps = {}
    for name, step in made.study["headline"].items():
        steps.setdefault(step, []).append(made.rows[name])
    lines = [line for line in table.all("tbody")[0].children if isinstance(line, Node)]
    shown = [[cell for cell in line.children if isinstance(cell, Node)] for line in lines]
    assert [line[0].all("strong")[0].text for line in shown] == list(steps)
    for line, claims in zip(shown, steps.values(), strict=True):
        links = [(node.attributes["href"], node.text) for node in line[0].all("a")]
        assert links == [(f"#{claim['claim']}", claim["label"]) for claim in claims]
        found = [claim["verdict"] for claim in claims]
        counts = {verdict: f"{verdict} {found.count(verdict)} of {len(found)}" for verdict in found}
        assert [node.text for node in line[1].all("span", class_="held")] == list(counts.values())
        grades = [claim["grade"] for claim in claims if claim["grade"]]
        if grades:
            assert {node.text for node in line[2].all("span", class_="held")} == {
                f"{grade} {grades.count(grade)} of {len(claims)}" for grade in grades
            }
        else:
            most = max((claim.get("seeds_to_confirm", "") for claim in claims), key=lambda text: text or "0")
            later = most and int(most) > len(made.study["seeds"])
            assert line[2].text == "not confirmed" + (f": that takes {most} seeds" if later else "")
        agreeing = dict.fromkeys(text for claim in claims if (text := claim.get("seeds_agreeing")))
        assert line[3].text == (", ".join(agreeing) or "–")
        changes = {}
        for claim in claims:
            for words, _, verdict in what_changes(made.scale, claim):
                changes.setdefault(words, {})[verdict] = None
        said = "; ".join(f"{words} ({' or '.join(to)})" for words, to in changes.items())
        assert line[4].text == (said or "no other single choice")


def test_a_strip_has_a_dot_for_each_seed_and_all_its_marks_on_one_axis(made):
    """Positions are linear in the effects: the two outermost marks give the scale, the others follow."""
    effects = {}
    for row in read(made.scale, "claims_per_seed"):
        if row["effect"]:
            effects.setdefault(row["claim"], []).append(float(row["effect"]))
    for name, row in made.rows.items():
        (drawing,) = made.bodies[name].all("svg")
        where = [float(dot.attributes["cx"]) for dot in drawing.all("circle")]
        assert len(where) == len(effects[name]) == int(row["n"])
        marks = list(zip(effects[name], where, strict=True))
        lines = {kind: drawing.all("line", class_=kind) for kind in ("zero", "margin", "span", "centre")}
        assert [len(lines[kind]) for kind in ("zero", "span", "centre")] == [1, 1, 1]
        marks.append((0.0, float(lines["zero"][0].attributes["x1"])))
        marks.append((float(row["effect"]), float(lines["centre"][0].attributes["x1"])))
        marks += [
            (float(row[bound]), float(lines["span"][0].attributes[end]))
            for bound, end in (("ci_low", "x1"), ("ci_high", "x2"))
        ]
        margin = float(row["margin"])
        sides = {"greater": [1], "not_greater": [1], "less": [-1], "not_less": [-1], "equivalent": [-1, 1]}
        boundaries = [side * margin for side in sides[row["expected"]]] if margin else []
        assert len(lines["margin"]) == len(boundaries)
        marks += [
            (b, float(line.attributes["x1"])) for b, line in zip(boundaries, lines["margin"], strict=True)
        ]
        finite = sorted(mark for mark in marks if math.isfinite(mark[0]))
        (least, left), (most, right) = finite[0], finite[-1]
        assert 0 < left < right < 200
        for value, x in finite:
            assert x == pytest.approx(left + (value - least) / (most - least) * (right - left), abs=0.15)
        for value, x in marks:
            if math.isinf(value):
                assert x == (200 if value > 0 else 0)


def test_a_row_opens_to_seeds_sensitivity_alternatives_and_other_scales(made):
    seeds, summaries, readings = (
        read(made.scale, name) for name in ("claims_per_seed", "claims_sensitivity", "alternatives")
    )
    others = sorted(folder.name for folder in STORED.iterdir() if folder.name != made.scale)
    tables = {scale: {row["claim"]: row for row in read(scale, "claims")} for scale in others}
    for name, row in made.rows.items():
        body = made.bodies[name]
        assert [node.text for node in body.all("span", class_="seed")] == [
            f"seed {one['seed']}: {in_units(one['effect'], row)[0]}" for one in seeds if one["claim"] == name
        ]
        expected = [
            [
                in_words(one["summary"]),
                effect_and_interval(one, row),
                one["verdict"] + (" (changed)" if one["verdict"] not in (row["verdict"], "not run") else ""),
            ]
            for one in summaries
            if one["claim"] == name
        ]
        assert inner(body, "Sensitivity") == expected
        expected = [
            [" ".join(one["statement"].split()), effect_and_interval(one, one), one["verdict"]]
            for one in readings
            if one["source"] == name
        ]
        assert inner(body, "Alternatives") == (expected or None)
        expected = [[f"{made.scale} (here)", effect_and_interval(row, row), row["verdict"]]]
        for scale in others:
            there = tables[scale].get(name)
            if there is None or (scale == "cifar10-vgg" and not there["source"].startswith("beyond")):
                continue
            if any(
                there[k] != row[k] for k in ("quantity", "compare", "condition_a", "condition_b", "expected")
            ):
                expected.append([scale, "–", "defined otherwise"])
            else:
                expected.append([scale, effect_and_interval(there, there), there["verdict"]])
        assert inner(body, "Other scales") == (expected if len(expected) > 1 else None)


def test_what_filters_read_is_said_by_source_and_configuration(made):
    for name, row in made.rows.items():
        data = made.bodies[name].attributes
        if row["condition_a"] == "all_norms":
            assert data["data-task"] == "vgg"
        else:
            assert data["data-task"] == made.study["conditions"][row["condition_a"]]["task"]
        assert data["data-verdict"] == row["verdict"]
        # The family of a claim is named after the first figure that shows it.
        numbers = [f"fig{n}" for n in re.findall(r"\d+", row["source"].replace("Section 4.2", ""))]
        if not row["source"].startswith("Section") or "Figure" in row["source"]:
            assert {*filter(None, data["data-figure"].split("|"))} <= set(numbers)
            assert data["data-figure"] or row["source"].startswith("beyond the paper")


@pytest.mark.parametrize(
    ("source", "family", "figures"),
    [
        ("Figure 1(a)", "fig1", [1]),
        ("Figure 1(b), Appendix A", "fig1", [1]),
        ("Figures 2 and 8", "fig2", [2, 8]),
        ("Figures 5 and 12(a)", "fig5", [5, 12]),
        ("Section 3.3, Figure 6", "fig6", [6]),
        ("Figures 1, 2 and 10", "x", [1, 2, 10]),
        ("Section 3.3", "fig3a", [3]),
        ("Section 3.2, our extension", "random_directions", []),
    ],
)
def test_the_figures_of_a_claim_stand_in_its_source_or_its_family(source, family, figures):
    assert page.figures_of({"source": source, "family": family}) == figures


# -- the head ---------------------------------------------------------------------------------------


def test_the_head_counts_verdicts_and_says_what_the_seeds_can_show(made):
    words = [node.text for node in made.root.all("ul", class_="counts")[0].all("li")]
    judged = [row["verdict"] for row in made.rows.values()]
    assert words == [f"{v} {judged.count(v)}" for v in verdicts.VERDICTS if v in judged]
    (head,) = made.root.all("p", id="can-show")
    sources = [row["source"] for row in made.rows.values()]
    ours = sum(text.startswith("beyond the paper") or text.endswith("our extension") for text in sources)
    assert f"judges {len(sources)} claims: {len(sources) - ours} statements of Santurkar et al." in head.text
    assert ours > 0
    assert f"and {ours} of our own. Nets were trained" in head.text
    assert f"with {len(made.study['seeds'])} seeds each" in head.text
    assert head.text.count(". ") <= 3, "three sentences, with et al."
    confirms = {"digits": "can confirm claims of every family", "deep-linear": "can confirm claims of"}
    assert confirms[made.scale] in head.text


@pytest.mark.parametrize("claims", range(1, 60))
def test_the_seeds_needed_are_the_fewest_with_which_holm_can_reach_five_percent(claims):
    needed = evidence.seeds_to_confirm(claims)

    def smallest(n):
        """The smallest adjusted p of a family whose best claim has all seeds on its side."""
        return verdicts.holm([verdicts.sign_flip_p([1.0] * n)] + [1.0] * (claims - 1))[0]

    assert smallest(min(needed, 12)) <= 0.05 < smallest(needed - 1)


@pytest.mark.parametrize(
    ("seeds", "families", "words"),
    [
        (3, [2, 12], "3 seeds can confirm nothing: the smallest p of so many is 0.125"),
        (3, [2, 12], "from 6 seeds on in the smallest family (2 claims), from 8 on in the largest (12)"),
        (1, [4], "1 seed can confirm nothing: the smallest p of so many is 0.5"),
        (2, [1, 4], "from 5 seeds on in the smallest family (1 claim), from 7 on in the largest (4)"),
        (1, [4, 4], "from 7 seeds on in the smallest family (4 claims)"),
        (7, [2, 12], "families of at most 6"),
        (8, [2, 12], "claims of every family"),
        (3, [], "No claim is judged"),
    ],
)
def test_what_so_many_seeds_can_confirm(seeds, families, words):
    assert words in page.can_show(seeds, families)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.125, "0.125"), (-2.0, "−2"), (0.0, "0"), (123456.0, "1.23·10⁵"), (1.5e-7, "1.5·10⁻⁷"),
        (math.inf, "∞"), (-math.inf, "−∞"), (math.nan, "–"), (999.6, "1·10³"),
    ],
)  # fmt: skip
def test_numbers_have_three_significant_digits(value, text):
    assert page.number(value) == text


# -- figures, and what the page needs ---------------------------------------------------------------


def test_each_figure_is_in_the_page_once_and_rows_refer_to_it(made):
    images = made.root.all("img")
    captions = {name: entry["caption"] for name, entry in made.study["figures"].items()}
    claims = made.study["claims"]
    captions |= {f"specification_{name}": claims[name]["label"] for name in made.study["headline"]}
    assert [node.parent.attributes["id"] for node in images] == list(captions)
    for node in images:
        name = node.parent.attributes["id"]
        head, _, content = node.attributes["src"].partition(",")
        assert head == "data:image/webp;base64"
        with Image.open(io.BytesIO(base64.b64decode(content))) as image:
            assert min(image.size) > 100
        assert " ".join(captions[name].split()) in " ".join(node.attributes["alt"].split())
    for name, body in made.bodies.items():
        links = [node.attributes["href"].removeprefix("#") for node in body.all("a")]
        expected = [f for f in body.attributes["data-figure"].split("|") if f in captions]
        curve = [f"specification_{name}"] if name in made.study["headline"] else []
        assert links == expected + curve
        assert [node.text for node in body.all("a")][len(expected) :] == ["Specification curve"] * len(curve)


def test_a_row_says_in_words_what_is_compared_and_names_it_as_the_configuration_does(made):
    conditions = made.study["conditions"]
    norms = {"none": "no norm", "batch": "BatchNorm", "l1": "L₁", "l2": "L₂", "linf": "L∞", "noise": "noise"}
    norms |= {"noisy_batch": "“Noisy” BatchNorm"}
    for name, row in made.rows.items():
        sides = []
        for key in ("condition_a", "condition_b"):
            of = conditions.get(row[key])
            if of:
                rate = {0.1: "0.1", 0.5: "0.5", 0.01: "0.01", 1e-6: "1e-6", 1e-7: "1e-7"}[of["lr"]]
                task = {"vgg": "VGG", "deep_linear": "deep linear network"}[of["task"]]
                scale = of.get("initial_scale")
                extra = f", weights × {scale:.3g}" if scale else ""
                sides.append(f"{task}, {norms[of['norm']]}, rate {rate}{extra}")
            else:
                sides.append(row[key].replace("_", " "))
        quantity = row["quantity"].replace("effective_beta", "effective β").replace("_", " ")
        test, *_ = made.bodies[name].all("dd")
        if "beta" not in row["quantity"] or row["quantity"] == "effective_beta":
            assert test.text.startswith(f"{quantity} of {sides[0]} (a) against {sides[1]} (b); n = ")
        codes = [node.text for node in made.bodies[name].all("code")]
        assert codes == [name, row["quantity"], row["condition_a"], row["condition_b"]]
        assert not made.bodies[name].all("dd")[0].all("code")


def test_the_page_asks_for_nothing_and_fits_into_a_frame_of_snakemakes_page(made):
    for node in made.root.below():
        for key in ("src", "href", "srcset", "action", "poster"):
            assert (node.attributes.get(key) or "data:").startswith(("data:", "#")), node.attributes
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|https?:", made.text.split("<body>")[0])
    uri = base64.b64encode(made.text.encode())
    assert len(uri) + 200 < 2 * 2**20


def test_ids_are_unique_and_labels_and_headings_are_there(made):
    ids = [node.attributes["id"] for node in made.root.below() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    for node in made.root.below():
        if node.tag in ("input", "select"):
            assert node.parent.tag == "label"
            assert node.parent.text.strip()
    assert [node.tag for node in made.root.below() if node.tag == "h1"] == ["h1"]


def test_figures_become_smaller_until_they_fit(tmp_path):
    noise = Image.effect_noise((900, 600), 90)
    for name in ("fig1", "fig2"):
        noise.convert("RGB").save(tmp_path / f"{name}.png")
    files = sorted(tmp_path.glob("*.png"))
    large, small = page.light(files, 10**8), page.light(files, 150_000)
    assert list(large) == list(small) == ["fig1", "fig2"]
    assert sum(map(len, small.values())) <= 150_000 < sum(map(len, large.values()))
    sizes = [Image.open(io.BytesIO(base64.b64decode(of["fig1"].split(",")[1]))).size for of in (large, small)]
    assert sizes[0] == (900, 600)
    assert sizes[1][0] < 900
    assert sizes[1][0] / sizes[1][1] == pytest.approx(1.5, abs=0.01)
    # The smallest size if nothing fits.
    assert page.light(files, 10).keys() == large.keys()


# -- other tables -----------------------------------------------------------------------------------


@pytest.fixture
def page_with(page_of, tmp_path):
    """Function: a change of the table of claims, other settings -> the parsed page of digits."""

    def page_with(change, **settings):
        folder = shutil.copytree(STORED / "digits", tmp_path / "digits")
        table = artefacts.read_table(folder / "claims.csv")
        artefacts.write_table(change(table), folder / "claims.csv")
        text = page_of("digits", folder=folder, settings=settings).read_text(encoding="utf-8")
        return {n.attributes["id"]: n for n in Document(text).root.all("tbody", class_="claim")}, text

    return page_with


@pytest.mark.parametrize("without", [lambda t: t.drop(columns="grade"), lambda t: t.assign(grade="")])
def test_without_grades_there_is_no_column_of_grades_and_no_filter(page_with, without):
    bodies, text = page_with(without)
    assert 'name="grade"' not in text
    (table,) = Document(text).root.all("table", class_="claims")
    headings = [node.text for node in table.all("th", role="columnheader")]
    assert "Verdict" in headings
    assert "Grade" not in headings
    assert {len(cells(body)) for body in bodies.values()} == {len(headings)}


def test_grades_and_parts_are_shown_where_there_are_some(page_with):
    grades = {"bn_trains_faster": "confirmed", "bn_allows_larger_lr": "refuted"}
    parts = {"bn_trains_faster": "the paper", "bn_generalises_better": "our extension"}
    bodies, text = page_with(lambda table: table.assign(grade=table["claim"].map(grades)), parts=parts)
    for name, body in bodies.items():
        assert cells(body)[6].text == grades.get(name, "–")
        words = cells(body)[6].all("span", class_="word")
        assert [word.attributes["class"] for word in words] == [
            f"word {grade}" for grade in [grades.get(name)] if grade
        ]
        assert body.attributes["data-grade"] == grades.get(name, "")
        assert body.attributes["data-part"] == parts.get(name, "")
    options = {
        node.attributes["name"]: [option.attributes["value"] for option in node.all("option")]
        for node in Document(text).root.all("select", class_="filter")
    }
    assert options["grade"] == ["*", "confirmed", "refuted"]
    assert options["part"] == ["*", "our extension", "the paper"]
    assert options["verdict"] == ["*", "supported", "contradicted", "inconclusive"]


def test_more_evidence_is_shown_where_the_table_has_it(page_with):
    def change(table):
        numbers = {"bn_trains_faster": 4.0}
        return table.assign(seeds_agreeing="3 of 3", e_value=3.75, seeds_needed=table["claim"].map(numbers))

    bodies, _ = page_with(change)
    for body in (bodies["bn_trains_faster"], bodies["bn_allows_larger_lr"]):
        assert cells(body)[4].all("small")[0].text == "as expected in 3 of 3 seeds"
    first, second = (bodies[name].all("dd")[0].text for name in ("bn_trains_faster", "bn_allows_larger_lr"))
    assert first.endswith(", e-value 3.75, seeds that would decide it 4")
    assert second.endswith(", e-value 3.75")


def test_conditions_with_diverged_runs_are_named_in_words(page_with):
    lost = {
        "bn_trains_faster": "vgg_none_lr0.5;deep_linear_none",
        "bn_allows_larger_lr": "vgg_of_old",
        "bn_generalises_better": "",
    }
    bodies, _ = page_with(
        lambda table: table.assign(
            diverged=table["claim"].map(lost), n_diverged=2 * table["claim"].isin(lost)
        )
    )
    shown = {name: bodies[name].all("small")[-1].text for name in lost}
    assert shown == {
        "bn_trains_faster": f"diverged runs: 2 ({NAMES['vgg_none_lr0.5']}; {NAMES['deep_linear_none']})",
        "bn_allows_larger_lr": "diverged runs: 2 (vgg_of_old)",
        "bn_generalises_better": "diverged runs: 2",
    }
    others = [body for name, body in bodies.items() if name not in lost]
    assert not any("diverged runs" in node.text for body in others for node in body.all("small"))


def test_the_head_counts_no_claims_that_are_not_run(page_with):
    sizes = []

    def change(table):
        counts = table["family"].value_counts()
        sizes.extend(counts)
        table.loc[table["family"].isin(counts.index[counts == counts.max()]), "verdict"] = "not run"
        return table

    _, text = page_with(change)
    largest = int(re.search(r"in the largest \((\d+)\)", text)[1])
    assert largest == max(size for size in sizes if size < max(sizes))


def test_a_claim_that_is_not_run_says_why_and_text_is_never_markup(page_with):
    evil = '<script>alert("1")</script> & "quotes"'

    def change(table):
        row = table["claim"] == "bn_trains_faster"
        numbers = ["effect", "ci_low", "ci_high", "p_sign_flip", "p_holm"]
        table.loc[row, numbers] = math.nan
        table["reason"] = table["reason"].astype(object)
        table.loc[row, ["verdict", "reason", "n"]] = ["not run", "too few seeds", 1]
        table.loc[row, ["label", "statement"]] = evil
        return table

    bodies, text = page_with(change)
    claim, _, _, effect, drawing, verdict, _ = cells(bodies["bn_trains_faster"])
    assert claim.all("h3")[0].text == evil
    assert claim.all("script") == []
    assert text.count("<script>") == 1
    assert effect.all("span", class_="number")[0].text == "–"
    assert drawing.all("line", class_="span") == []
    assert verdict.text.startswith("not run")
    assert verdict.text.endswith("too few seeds")


def test_a_claim_defined_otherwise_at_another_scale_shows_no_verdict_of_it(page_with):
    def change(table):
        table.loc[table["claim"] == "bn_trains_faster", "margin"] = 0.01
        return table

    bodies, _ = page_with(change)
    shown = {row[0]: row[1:] for row in inner(bodies["bn_trains_faster"], "Other scales")}
    assert shown["cifar10-small"] == ["–", "defined otherwise"]


def test_a_study_without_claims_has_an_empty_page(page_with):
    bodies, text = page_with(lambda table: table.iloc[:0])
    assert bodies == {}
    assert "No claim is judged" in text


def test_the_page_has_the_record_of_how_it_was_made(page_of):
    file = page_of("digits")
    record = json.loads(file.with_name(f"{file.name}.provenance.json").read_text(encoding="utf-8"))
    assert record["stage"] == "bnopt.page"
    assert record["settings"]["scale"] == "digits"


def test_the_settings_name_accuracies_and_the_task_of_each_condition(config):
    settings = study.page_settings(study.written_out(config))
    assert set(settings["accuracies"]) == {"training_accuracy", "final_accuracy", "test_accuracy"}
    assert settings["tasks"]["vgg_none"] == "vgg"
    assert settings["tasks"]["deep_linear_none"] == "deep_linear"
    of_paper = [name for name, figure in config["figures"].items() if "part" not in figure]
    curves = [f"specification_{name}" for name in study.written_out(config)["headline"]]
    assert list(settings["captions"]) == [*of_paper, *curves]
    assert len(curves) == 15
    assert settings["conditions"]["vgg_batch_lr0.01"] == "VGG, BatchNorm, rate 0.01"
    assert settings["parts"] == {}


@pytest.mark.parametrize("parts", ["all", ["paper", "mechanism"]])
def test_the_settings_name_the_part_of_each_claim_if_there_are_several(config, parts):
    settings = study.page_settings(study.written_out(config | {"parts": parts}))
    assert settings["parts"]["bn_trains_faster"] == "paper"
    assert settings["parts"]["dln_batch_at_edge"] == "mechanism"
    of_norms = {name for name, part in settings["parts"].items() if part == "norms"}
    assert ("smoother_trains_better_beta" in of_norms) == bool(of_norms) == (parts == "all")
    assert set(settings["parts"]) == set(study.written_out(config | {"parts": parts})["claims"])
