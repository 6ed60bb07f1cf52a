"""What README.md and docs/ say about stored results: written from them, and as the tables say."""

import csv
import functools
import importlib.util
import json
import math
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from bnopt.runtime import StudyError

ROOT = Path(__file__).parents[2]
WORDS = ("supported", "contradicted", "inconclusive")


def load(name):
    """Import a file of tools/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages = load("pages")
CONFIG = pages.configuration()


# The scale cifar10-vgg shows the claims beyond the paper only: cifar10-small has the others with more seeds.
OF_THE_PAPER = [scale for scale in pages.scales() if scale != "cifar10-vgg"]


def rows_of(scale, table="claims"):
    with open(ROOT / "docs" / "results" / scale / f"{table}.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if table == "claims" and scale not in OF_THE_PAPER:
        return [row for row in rows if row["source"].startswith("beyond the paper")]
    return rows


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_pages_say_what_the_stored_results_say(page):
    text = page.read_text(encoding="utf-8")
    assert text == pages.filled(text), "run python tools/pages.py"


def test_readme_and_the_pages_of_all_scales_have_texts():
    named = {page.name: pages.BLOCK.findall(page.read_text(encoding="utf-8")) for page in pages.PAGES}
    found = {(name, text) for name, blocks in named.items() for _, text, _ in blocks}
    assert {("README.md", "answer"), ("results.md", "headlines"), ("results.md", "choices")} <= found
    for scale, page in (
        ("digits", "results"),
        ("cifar10-small", "cifar10-small"),
        ("cifar10-vgg", "cifar10-small"),
        ("deep-linear", "deep_linear"),
    ):
        assert {(f"{page}.md", f"{text} {scale}") for text in ("counts", "verdicts", "made")} <= found


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 90


def counted(rows):
    """Count verdicts and, in brackets, grades: a second implementation of `pages.counted`."""
    texts = []
    for word in WORDS:
        grades = [row["grade"] for row in rows if row["verdict"] == word and row["grade"]]
        of_grade = f" ({len(grades)} {grades[0]})" if grades else ""
        texts.append(f"{sum(row['verdict'] == word for row in rows)} {word}{of_grade}")
    return ", ".join(texts)


@pytest.mark.parametrize("scale", pages.scales())
def test_counts_are_those_of_the_table(scale):
    rows = rows_of(scale)
    said = re.fullmatch(r"Of (\d+) claims, with (\w+) seeds: (.*)\.", pages.counts(scale))
    assert int(said[1]) == len(rows)
    assert pages.NUMBERS.index(said[2]) == int(rows[0]["n"])
    assert said[3] == counted(rows)


@pytest.mark.parametrize("scale", pages.scales())
def test_every_claim_is_listed_once_with_its_verdict_and_effect(scale):
    lines = [line for line in pages.verdicts(scale).splitlines() if line.startswith("  - ")]
    rows = rows_of(scale)
    assert len(lines) == len(rows)
    labels = {name: claim["label"] for name, claim in pages.study.claims(CONFIG, "claims").items()}
    by_label = {labels[row["claim"]]: row for row in rows}
    assert len(by_label) == len(rows)
    for line in lines:
        label, word, numbers = re.fullmatch(r"  - (.*): \*\*(\w+).*\*\*, (.*?)(?: \(exp.*)?", line).groups()
        row = by_label[label]
        assert word in (row["verdict"], row.get("grade"))
        shown = [float(text) for text in re.findall(r"-?(?:\d[\d.e+-]*|inf)", numbers.replace("−", "-"))]
        for value, key in zip(shown, ("effect", "ci_low", "ci_high"), strict=True):
            expected = float(row[key])
            if row["compare"] == "log_ratio":
                expected = math.exp(expected) if expected < 700 else math.inf
            elif "accuracy" in row["quantity"]:
                expected *= 100
            assert value == pytest.approx(expected, rel=0.06, abs=0.6 if "points" in numbers else 0.006)


def test_a_verdict_says_how_many_runs_diverged():
    row = {"verdict": "supported", "grade": "", "flips_under": "median", "n_diverged": 4}
    assert pages.verdict(row) == "supported (not under: median; diverged runs: 4)"
    assert pages.verdict(row | {"grade": "confirmed", "flips_under": "", "n_diverged": 0}) == "confirmed"


def test_a_list_of_verdicts_names_the_conditions_with_diverged_runs():
    claims = pd.DataFrame({"diverged": ["", "vgg_frozen", "vgg_frozen;vgg_of_old"]})
    expected = "The diverged runs are of: VGG, Frozen BatchNorm, rate 0.1; vgg_of_old."
    assert pages.diverged(claims) == expected
    assert pages.diverged(claims.iloc[:1]) == ""


def test_a_list_of_verdicts_says_which_claims_are_exploratory():
    """Prototypes had shown VGGs at the scale digits, and deep linear networks at seeds 0 to 2."""
    for scale, standings in {
        "digits": {"exploratory", "exploratory at 3 of 8 seeds"},
        "deep-linear": {"exploratory at 3 of 8 seeds"},
    }.items():
        of_paper, _, beyond = pages.verdicts(scale).partition("\n- beyond the paper")
        assert "exploratory" not in of_paper
        assert set(re.findall(r" \((exploratory.*?)\)", beyond)) == standings
        for source in f"- beyond the paper{beyond}".split("\n- "):
            head, *rows = source.splitlines()
            said = [line.endswith("exploratory)") or "(exploratory at" in line for line in rows]
            assert all(said) != ("(exploratory" in head), head
    heads = [line for line in pages.verdicts("cifar10-vgg").splitlines() if line.startswith("- ")]
    assert heads
    assert all(head.endswith(" (confirmatory)") for head in heads)


@pytest.mark.parametrize(
    ("source", "family", "numbers"),
    [
        ("Figure 1(b), Appendix A", "fig1", {1}),
        ("Figures 5 and 12(a)", "fig5", {5, 12}),
        ("Section 4.2, Figure 9", "fig9", {9}),
        ("Section 3.2", "random_directions", set()),
        ("Section 2.1", "fig2", {2}),
        ("Figure 10, our extension", "fig10", {10}),
        ("beyond the paper, Figure 4(c)", "edge_start", set()),
        ("beyond the paper, Definition 2.1", "shift_is_curvature", set()),
    ],
)
def test_a_claim_belongs_to_the_figures_of_its_source_or_family(source, family, numbers):
    claims = pages.pd.DataFrame([{"source": source, "family": family}])
    assert {number for number in range(1, 14) if len(pages.of_figure(claims, f"fig{number}"))} == numbers
    others = {name for name in ("edge", "shift", "norms") if len(pages.of_figure(claims, name))}
    assert others == {name for name in ("edge", "shift", "norms") if family.startswith(name)}


@functools.cache
def stored_gallery():
    """Return the gallery of the stored results, which takes seconds to write."""
    return pages.gallery()


def sections(gallery=None):
    """Return title -> text of the sections of a gallery, by default that of the stored results."""
    _, *found = re.split(r"^## (.*)\n", gallery or stored_gallery(), flags=re.MULTILINE)
    return dict(zip(found[::2], found[1::2], strict=True))


def test_the_gallery_has_every_figure_of_the_paper_and_stands_in_the_page_of_results():
    known = [1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13]
    assert [int(title[7:]) for title in sections() if title.startswith("Figure ")] == known
    assert stored_gallery() in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def test_the_gallery_shows_every_stored_image_once_and_no_other():
    stored = {
        f"results/{file.parent.name}/{file.name}" for file in (ROOT / "docs" / "results").glob("*/*.png")
    }
    shown = re.findall(r"!\[.*?\]\((.*?)\)", stored_gallery())
    assert len(shown) == len(set(shown))
    assert set(shown) == stored
    for title, text in sections().items():
        for name in re.findall(r"results/[^/]+/(\w+)\.png", text):
            assert title in (f"Figure {name.removeprefix('fig')}", pages.TITLES.get(name))


def test_images_of_figures_that_other_parts_draw_are_shown_where_they_are_stored(tmp_path, monkeypatch):
    for scale in ("digits", "deep-linear"):
        shutil.copytree(ROOT / "docs" / "results" / scale, tmp_path / scale)
    for name in ("edge", "theorems", "claims", "specification_x"):
        (tmp_path / "digits" / f"{name}.png").write_bytes(b"")
    for name in ("shift", "norms"):
        for stored in tmp_path.glob(f"*/{name}.png"):
            stored.unlink()
    monkeypatch.setattr(pages, "STORED", tmp_path)
    gallery = pages.gallery()
    found = sections(gallery)
    assert set(found) >= {pages.TITLES[name] for name in ("edge", "theorems", "claims")}
    for name in ("shift", "norms"):
        assert f"{name}.png" not in found.get(pages.TITLES[name], "")
    edge = found[pages.TITLES["edge"]]
    assert "results/digits/edge.png" in edge
    assert "*Beyond the paper:* In the deep linear network, in the second half of training the curv" in edge
    assert "(no norm, BatchNorm, L₁, L₂ or L∞)" in edge
    assert "specification_x" not in gallery


@pytest.mark.parametrize(("number", "families"), [(4, {"fig4"}), (10, {"fig10"}), (2, {"fig2"})])
def test_the_text_about_a_figure_counts_its_claims_and_shows_the_leading_one(number, families):
    text = sections()[f"Figure {number}"]
    (here,) = re.findall(r"^\*Here\* .*$", text, re.MULTILINE)
    for scale in pages.scales():
        rows = [row for row in rows_of(scale) if row["family"] in families]
        assert (f"{counted(rows)} at `{scale}`" in here) == bool(rows)
        if rows:  # the first claim of these families is a headline claim
            effect = pages.effect(pages.claims_of(scale).set_index("claim").loc[rows[0]["claim"]])
            assert f"at `{scale}` {effect}, " in here
    label = {4: "Loss varies less along the gradient", 2: "Noisy BN trains better than plain"}.get(
        number, "DLN"
    )
    assert f". {label}" in here


def test_statements_of_one_entry_are_said_once_with_all_its_values():
    assert "With L₁, L₂ or L∞ normalisation the VGG trains" in sections()["Figure 5"]
    said = sections()["Figure 3"]
    assert said.count("With BatchNorm gradients of layer #5 or 10") == 2
    assert "(rate 0.1 or 0.01)" in said
    assert "(rate 1e-6 or 1e-7)" in said
    assert "relative to their length" not in said  # our extension: the paper does not say it


def test_the_time_of_all_jobs_is_that_of_their_records():
    provenance = json.loads((ROOT / "docs/results/digits/provenance.json").read_text(encoding="utf-8"))
    jobs = {
        (r["stage"], r["settings"].get("probe"), r["started"]): r["cpu_seconds"] for r in provenance.values()
    }
    training = [seconds for (stage, *_), seconds in jobs.items() if stage == "bnopt.train"]
    assert f"| train | {len(training)} | {sum(training) / 60:.1f} |" in pages.made("digits")
    assert "| processor minutes of all jobs together |" in pages.made("digits")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("  ", "expected one of answer, .* after 'results:', found nothing"),
        ("nonsense", "expected one of answer, .* after 'results:', found nonsense"),
        ("counts", r"expected a scale \(.*digits.*\) after 'results: counts', found nothing"),
        ("counts paper", r"expected a scale \(cifar10-small, .*\) after 'results: counts', found paper"),
        ("counts digits digits", "expected a scale .*, found digits digits"),
        ("made nope", "expected a scale .* after 'results: made', found nope"),
        ("runs nope", r"expected a scale \(.*paper.*\) after 'results: runs', found nope"),
        ("snapshots digits", r"expected a scale \(paper\) after 'results: snapshots', found digits"),
        ("answer digits", "expected nothing after 'results: answer', found digits"),
    ],
)
def test_a_text_or_scale_that_does_not_exist_is_refused_with_the_page(said, words):
    with pytest.raises(StudyError, match=f"^docs/page.md: {words}"):
        pages.filled(f"<!-- results: {said} -->\n<!-- end -->", "docs/page.md")


@pytest.mark.parametrize("after", ["", "<!-- results: counts digits -->\n...\n<!-- end -->\n"])
def test_a_text_that_does_not_end_is_refused_with_the_page(after):
    first = "<!-- results: answer -->\nThe answer.\n\nMore of the page.\n"
    with pytest.raises(
        StudyError, match=r"^docs/page.md: .* <!-- end --> .* found <!-- results: answer -->$"
    ):
        pages.filled(first + after, "docs/page.md")


def table_of(text):
    """Return the body of a table in Markdown: first cell -> column title -> cell."""
    head, _, *body = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    return {first: dict(zip(head[1:], cells, strict=True)) for first, *cells in body}


def test_a_table_has_a_column_for_each_scale_with_one_of_its_claims():
    assert len(OF_THE_PAPER) == len(pages.scales()) - 1
    for text in (pages.answer(), pages.headlines()):
        columns = {tuple(row) for row in table_of(text).values()}
        assert columns == {tuple(f"`{scale}`" for scale in OF_THE_PAPER)}


@pytest.mark.parametrize("scale", OF_THE_PAPER)
def test_the_answer_counts_every_headline_claim_in_one_step_of_the_argument(scale):
    steps = {}
    for row in rows_of(scale):
        if row["claim"] in pages.headline():
            steps.setdefault(pages.headline()[row["claim"]], []).append(row["grade"] or row["verdict"])
    shown = {step: cells[f"`{scale}`"] for step, cells in table_of(pages.answer()).items()}
    assert {step for step, cell in shown.items() if cell} == set(steps)
    for step, expected in steps.items():
        texts = shown[step].removesuffix("*").split(", ")
        if len(expected) == 1:
            assert texts == expected
        else:
            assert sorted(texts) == sorted(f"{expected.count(word)} {word}" for word in set(expected))


def single_choices(scale):
    """Return claim -> set of (in words, verdict): specifications with one other choice, and readings."""
    verdict = {row["claim"]: row["verdict"] for row in rows_of(scale)}
    usual, found = {}, {}
    for row in rows_of(scale, "specifications"):
        own = {key: row[key] for key in ("summary", "steps", "grid")}
        registered = usual.setdefault(row["claim"], own)  # the first of a claim
        combinations = [
            list(own.values()),
            *(twin.split("/") for twin in row["coincides"].split(";") if twin),
        ]
        for combination in combinations:
            other = [
                (key, value) for key, value in zip(own, combination, strict=True) if value != registered[key]
            ]
            if len(other) == 1 and row["verdict"] not in ("not run", verdict[row["claim"]]):
                words = pages.changes.WORDS.get(other[0], other[0][1].replace("_", " "))
                found.setdefault(row["claim"], set()).add(
                    (words.replace("equal loss", "at equal loss"), row["verdict"])
                )
    for row in rows_of(scale, "alternatives"):
        if row["source"] in verdict and row["verdict"] not in ("not run", verdict[row["source"]]):
            found.setdefault(row["source"], set()).add((f"“{row['label']}”", row["verdict"]))
    return {claim: changes for claim, changes in found.items() if claim in pages.headline()}


@pytest.mark.parametrize("scale", OF_THE_PAPER)
def test_the_choices_are_all_single_ones_that_change_a_verdict_of_a_headline_claim(scale):
    expected = single_choices(scale)
    assert len(expected) > 2
    labels = {row["claim"]: row["label"] for row in rows_of(scale)}
    verdicts = {row["label"]: row["grade"] or row["verdict"] for row in rows_of(scale)}
    found, label = {}, None
    for line in pages.choices().splitlines():
        if said := re.fullmatch(rf"  - `{scale}`: (\w+), but (\w+) with: (.+)", line):
            assert said[1] == verdicts[label]
            found.setdefault(label, set()).update((words, said[2]) for words in said[3].split("; "))
        elif line.startswith("- "):
            label = line.removeprefix("- ")
    assert found == {labels[claim]: changes for claim, changes in expected.items()}


@pytest.mark.parametrize("scale", OF_THE_PAPER)
def test_a_star_says_that_one_other_choice_changes_a_verdict(scale):
    judged = {row["claim"]: row for row in rows_of(scale)}
    starred = set(single_choices(scale))
    cells = {label: cells[f"`{scale}`"] for label, cells in table_of(pages.headlines()).items()}
    for name in pages.headline():
        if name in judged:
            row = judged[name]
            star = "*" if name in starred else ""
            assert cells[f"{row['label']} ({row['source']})"] == (row["grade"] or row["verdict"]) + star
    steps = {pages.headline()[name] for name in starred}
    found = {step for step, cells in table_of(pages.answer()).items() if cells[f"`{scale}`"].endswith("*")}
    assert found == steps


def test_a_headline_claim_that_no_stored_results_have_is_left_out(monkeypatch):
    table, lines = pages.headlines(), pages.answer()
    claims = pages.study.claims(CONFIG, "claims")
    claims["newer"] = claims["bn_trains_faster"] | {
        "headline": "A step that nobody has judged",
        "label": "newer",
    }
    monkeypatch.setattr(pages.study, "claims", lambda config, key: claims)
    assert pages.headlines() == table
    assert pages.answer() == lines


@pytest.mark.parametrize(
    ("texts", "as_one"),
    [
        (["5", "10"], "5 or 10"),
        (["a", "b", "a", "c"], "a, b or c"),
        (["no norm, rate 0.1", "no norm, rate 0.5"], "no norm, rate 0.1; or no norm, rate 0.5"),
        (["", " at equal loss"], ", also at equal loss"),
        (["alone"], "alone"),
        (["", ""], ""),
    ],
)
def test_values_of_one_placeholder_become_one_text(texts, as_one):
    assert pages._either(texts) == as_one


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [(0.26, ".1f", "+0.3"), (-0.04, ".1f", "0.0"), (-3.2, ".0f", "−3"), (0.4, ".0f", "0")],
)
def test_a_number_has_its_sign_but_zero_has_none(value, form, text):
    assert pages._signed(value, form) == text


# -- the size of the study --------------------------------------------------------------------------

CHOICES = {"paper": {"paper"}, "paper, mechanism": {"paper", "mechanism"}, "paper, norms": {"paper", "norms"}}
CHOICES["all"] = {"paper", "mechanism", "norms"}


def conditions_of(parts, task):
    return {n for n, c in CONFIG["conditions"].items() if c["part"] in parts and c["task"] == task}


def measured(parts):
    """Return the pairs of a probe and a condition, collected from figures, claims, alternatives and ranks."""
    found = set()
    for figure in CONFIG["figures"].values():
        if figure["part"] in parts:
            found |= {(table, name) for table, names in figure["tables"].items() for name in names}
    for section in ("claims", "alternatives"):
        for claim in pages.study.claims(CONFIG, section).values():
            if claim["part"] in parts:
                quantity = CONFIG["quantities"][claim["quantity"]]
                tables = [quantity["table"]] + ([quantity["times"]["table"]] if "times" in quantity else [])
                found |= {(t, claim[side]) for t in tables for side in ("condition_a", "condition_b")}
    if CONFIG["tau"]["part"] in parts:
        found |= {(t, name) for t in CONFIG["tau"]["measures"] for name in CONFIG["tau"]["conditions"]}
    return {(t, name) for t, name in found if t in CONFIG["probes"] and name in CONFIG["conditions"]}


def cells(table):
    header, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert [row[0] for row in rows] == list(CHOICES)
    return [dict(zip(header, row, strict=True)) for row in rows]


@pytest.mark.parametrize("scale", ["paper", "digits"])
def test_the_numbers_of_runs_and_of_tables_of_probes_are_those_of_the_configuration(scale):
    sizes = CONFIG["scales"][scale]
    seeds = len(sizes["seeds"])
    for row, parts in zip(cells(pages.runs(scale)), CHOICES.values(), strict=True):
        vgg = len(conditions_of(parts, "vgg")) * seeds
        assert row["runs of the VGG"] == str(vgg)
        assert row["of the deep linear network"] == str(len(conditions_of(parts, "deep_linear")) * seeds)
        assert row["tables of probes"] == str(len(measured(parts)) * seeds)
        assert row["steps of the VGG"] == f"{vgg * sizes['vgg']['steps'] / 1e6:.2f} million"


def test_runs_with_snapshots_and_their_sizes_are_those_of_the_configuration():
    sizes = CONFIG["scales"]["paper"]
    seeds, steps = len(sizes["seeds"]), sizes["vgg"]["steps"]
    snapshots = 0
    for step in range(steps):
        snapshots += step % sizes["vgg"]["snapshot_every"] == 0
    of_paper = conditions_of({"paper"}, "vgg") | conditions_of({"paper"}, "deep_linear")
    for row, parts in zip(cells(pages.snapshots("paper")), CHOICES.values(), strict=True):
        kept = {name for _, name in measured(parts)} & conditions_of(parts, "vgg")
        assert row["VGG runs with snapshots"] == f"{len(kept)} × {seeds}"
        total = float(row["total"].removesuffix(" GB").replace(",", ""))
        assert total == pytest.approx(len(kept) * seeds * snapshots * 0.0631, abs=0.51)
        again = {name for _, name in measured(parts) - measured({"paper"})} & of_paper
        assert row["runs that train again if added later"] == str(len(again) * seeds)
    page = (ROOT / "docs" / "disk.md").read_text(encoding="utf-8")
    row = re.search(r"\| paper \| 63 MB \| (\d+) \| ([\d.]+) GB \| (\d+) × (\d+) \| (\d+) GB \|", page)
    kept = len({name for _, name in measured({"paper"})} & conditions_of({"paper"}, "vgg"))
    assert row.groups()[:1] + row.groups()[2:4] == (str(snapshots), str(kept), str(seeds))
    assert float(row[2]) == pytest.approx(snapshots * 0.0631, abs=0.05)
    assert float(row[5]) == pytest.approx(kept * seeds * snapshots * 0.0631, abs=0.51)


@pytest.mark.parametrize("norm", ["none", "batch", "weight_norm", "frozen"])
def test_a_snapshot_at_the_paper_has_the_size_that_the_page_says(norm):
    """Sizes of parameters and buffers alone; a file has names beside them."""
    extra = {"none": 0, "batch": 4, "weight_norm": 1, "frozen": 4}[norm]  # numbers per unit beside the bias
    net = CONFIG["scales"]["paper"]["vgg"]["net"]
    inputs, side, counted = 3, 32, 0
    for size in net["convolutions"]:
        if size == "M":
            side //= 2
        else:
            counted += 9 * inputs * size + size * (1 + extra)
            inputs = size
    inputs *= side**2
    for size in net["hidden"]:
        counted += inputs * size + size * (1 + extra)
        inputs = size
    counted += 10 * inputs + 10
    assert 4 * counted / 1e6 == pytest.approx(pages.MEGABYTES["paper"], rel=0.002)


def passes(parts):
    """Return the least and the most passes of the VGG that the probes take, as gpu.md lists them."""
    sizes, probes = CONFIG["scales"]["paper"]["vgg"], CONFIG["probes"]
    seeds, snapshots = len(CONFIG["scales"]["paper"]["seeds"]), -(-sizes["steps"] // sizes["snapshot_every"])
    k = len(probes["along_gradient"]["vgg"]["step_sizes"])
    layers = {name: len(of["vgg"]["layers"]) for name, of in probes.items() if "layers" in of["vgg"]}
    curvature, law = probes["curvature"]["vgg"], probes["shift_is_curvature"]["vgg"]
    hessians = curvature["products"] + curvature["draws"] + 2
    found = []
    for of_hessian in (2, 4):
        shift = law["phases"] * (2 + of_hessian + layers["shift_is_curvature"] * (of_hessian + 0.5))
        per_snapshot = {
            "along_gradient": k + 1,
            "random_directions": 2 * probes["random_directions"]["vgg"]["directions"] * k + 1,
            "covariate_shift": 1 + layers["covariate_shift"] / 2,
            "activations": 1 + 3 / 3,  # a forward pass is a third of a pass
            "other_definitions": k + 3,
            "curvature": 1 + hessians * of_hessian,
            "shift_is_curvature": shift + law["phases"] - 1,
            "weight_length": 1,
            "propagation": 1,
            "theorems": 0,
        }
        total = 0
        for probe, name in measured(parts):
            if CONFIG["conditions"][name]["task"] == "vgg":
                number = -(-snapshots // probes[probe]["vgg"].get("every", 1))
                total += seeds * number * per_snapshot[probe]
        found.append((per_snapshot, total))
    return found


@pytest.mark.parametrize("parts", ["paper", "all"])
def test_the_cost_on_gpus_is_computed_from_passes(parts):
    page = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
    (least, low), (most, high) = passes(CHOICES[parts])
    row = re.search(rf"^\| {parts} \| (\S+) million \| (.*) million \| (.*) \| (.*) \|$", page, re.MULTILINE)
    seeds, steps = len(CONFIG["scales"]["paper"]["seeds"]), CONFIG["scales"]["paper"]["vgg"]["steps"]
    training = len(conditions_of(CHOICES[parts], "vgg")) * seeds * steps

    def shown(form, *values):
        return " to ".join(dict.fromkeys(form.format(value) for value in values))

    totals = [(training + probing) * 0.24e12 for probing in (low, high)]
    assert row[1] == f"{training / 1e6:.2f}"
    assert row[2] == shown("{:.2f}", low / 1e6, high / 1e6)
    assert row[3] == shown("{:.2f}", *(total / 1e18 for total in totals))
    assert row[4] == shown("{:.0f} / R", *(total / 1e12 / 3600 for total in totals))
    hours = shown("{:.1f}", *(total / 30e12 / 3600 for total in totals))
    assert (f"takes {hours} hours" if parts == "paper" else f"take {hours}.") in " ".join(page.split())
    assert f"33 to {most['curvature']}" in page
    assert least["curvature"] == 33
    assert f"{least['shift_is_curvature']:.0f} to {most['shift_is_curvature']:.0f}" in page
