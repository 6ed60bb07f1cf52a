"""What README.md and docs/ say about stored results: written from them, and as the tables say."""

import csv
import importlib.util
import json
import math
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORDS = ("supported", "contradicted", "inconclusive")


def load(name):
    """Import a file of tools/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages = load("pages")


def rows_of(scale):
    with open(ROOT / "docs" / "results" / scale / "claims.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_pages_say_what_the_stored_results_say(page):
    text = page.read_text(encoding="utf-8")
    assert text == pages.filled(text), "run python tools/pages.py"


def test_readme_and_the_pages_of_all_scales_have_texts():
    named = {page.name: pages.BLOCK.findall(page.read_text(encoding="utf-8")) for page in pages.PAGES}
    found = {(name, text) for name, blocks in named.items() for _, text, _ in blocks}
    assert ("README.md", "headlines") in found
    for scale, page in (
        ("digits", "results"),
        ("cifar10-small", "cifar10-small"),
        ("deep-linear", "deep_linear"),
    ):
        assert {(f"{page}.md", f"{text} {scale}") for text in ("counts", "verdicts", "made")} <= found


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 90


@pytest.mark.parametrize("scale", pages.scales())
def test_counts_are_those_of_the_table(scale):
    rows = rows_of(scale)
    said = re.fullmatch(r"Of (\d+) claims, with (\w+) seeds: (.*)\.", pages.counts(scale))
    assert int(said[1]) == len(rows)
    assert pages.NUMBERS.index(said[2]) == int(rows[0]["n"])
    counted = [sum(row["verdict"] == word for row in rows) for word in WORDS]
    assert said[3] == ", ".join(f"{number} {word}" for number, word in zip(counted, WORDS, strict=True))


@pytest.mark.parametrize("scale", pages.scales())
def test_every_claim_is_listed_once_with_its_verdict_and_effect(scale):
    lines = [line for line in pages.verdicts(scale).splitlines() if line.startswith("  - ")]
    rows = rows_of(scale)
    assert len(lines) == len(rows)
    by_label = {row["label"]: row for row in rows}
    assert len(by_label) == len(rows)
    for line in lines:
        label, word, numbers = re.fullmatch(r"  - (.*): \*\*(\w+).*\*\*, (.*)", line).groups()
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


@pytest.mark.parametrize(
    ("source", "numbers"),
    [
        ("Figure 1(b), Appendix A", {1}),
        ("Figures 5 and 12(a)", {5, 12}),
        ("Section 4.2, Figure 9", {9}),
        ("Section 3.2", set()),
        ("Figure 10, our extension", {10}),
    ],
)
def test_a_claim_belongs_to_the_figures_that_its_source_names(source, numbers):
    claims = pages.pd.DataFrame({"source": [source]})
    assert {number for number in range(1, 14) if len(pages.of_figure(claims, number))} == numbers


def test_the_gallery_has_every_figure_of_the_paper():
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    known = [1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13]
    assert [int(number) for number in re.findall(r"^## Figure (\d+)$", text, re.MULTILINE)] == known
    assert [int(number) for number in re.findall(r"<!-- results: figure (\d+) -->", text)] == known


@pytest.mark.parametrize(("number", "family"), [(4, "fig4"), (10, "fig10"), (6, "fig6")])
def test_the_text_about_a_figure_counts_its_claims(number, family):
    for scale in pages.scales():
        rows = [row for row in rows_of(scale) if row["family"] == family]
        counted = ", ".join(f"{sum(row['verdict'] == word for row in rows)} {word}" for word in WORDS)
        assert (f"`{scale}`: {counted}" in pages.figure(number)) == bool(rows)


def test_the_time_of_all_jobs_is_that_of_their_records():
    provenance = json.loads((ROOT / "docs/results/digits/provenance.json").read_text(encoding="utf-8"))
    jobs = {(r["stage"], r["settings"].get("probe"), r["started"]): r["seconds"] for r in provenance.values()}
    training = [seconds for (stage, *_), seconds in jobs.items() if stage == "bnopt.train"]
    assert f"| train | {len(training)} | {sum(training) / 60:.1f} |" in pages.made("digits")


def test_an_unknown_text_is_refused():
    with pytest.raises(SystemExit, match=r"expected one of headlines, .*, found nonsense"):
        pages.filled("<!-- results: nonsense -->\n<!-- end -->")
