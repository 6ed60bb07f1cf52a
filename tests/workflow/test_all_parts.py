"""`snakemake --config parts=all` makes every result of every part, and changes no result of the paper.

The study has no norm and BatchNorm in both tasks, and one more norm: the fewest conditions with which every
part has claims and a figure, and norms can be ranked.
"""

import copy
import csv
import re
import shutil
import subprocess
import sys
from collections import Counter

import pytest

from bnopt.files.artefacts import read_table
from bnopt.study import schema, study
from workflow.conftest import shrink

ALL = ("--config", "parts=all")
CONDITIONS = ["vgg_none", "vgg_batch", "vgg_layer", "deep_linear_none", "deep_linear_batch"]
TABLES = [
    *("training", "along_gradient", "curvature", "shift_is_curvature", "weight_length", "propagation"),
    study.TAU,
]
FIGURES = {"fig4": "paper", "edge": "mechanism", "shift": "mechanism", "norms": "norms"}
HEADLINE = "bn_smooths_loss"
TITLES = {"mechanism": "What the two measures measure", "norms": "The norms since"}
JUDGED = {"supported", "contradicted", "inconclusive"}
NEEDS_LATEX = pytest.mark.skipif(
    not (shutil.which("latexmk") and shutil.which("pdftotext")),
    reason="needs latexmk, and pdftotext of the package poppler-utils",
)


@pytest.fixture(scope="module")
def all_config(config, pruned):
    """A study with claims and a figure of every part."""
    whole = copy.deepcopy(config)
    for figure in whole["figures"].values():
        shown = figure["tables"].items()
        figure["tables"] = {table: [c for c in names if c in CONDITIONS] for table, names in shown}
    small = pruned(shrink(whole), conditions=CONDITIONS, tables=TABLES)
    small["figures"] = {name: small["figures"][name] for name in FIGURES}
    # One specification curve is enough: other studies have more.
    del small["claims"]["fig1"]["bn_trains_faster"]["headline"]
    small["scales"]["tiny"]["seeds"] = [0, 1]
    small["scales"]["paper"] = config["scales"]["paper"]  # docs/disk.md has its snapshots
    assert small["parts"] == [study.PAPER]
    return small


@pytest.fixture(scope="module")
def whole(tmp_path_factory, checkout, new_study, all_config):
    """The study with all its parts, run from the beginning in a repository of its own."""
    folder = tmp_path_factory.mktemp("all") / "repository"
    shutil.copytree(checkout, folder)
    new = new_study(folder, all_config, checkout=folder)
    new.run(*ALL)
    return new


@pytest.fixture(scope="module")
def paper(tmp_path_factory, new_study, all_config):
    """The verdicts of the same study without other parts, run from the beginning."""
    new = new_study(tmp_path_factory.mktemp("paper") / "study", all_config)
    new.run("results/tiny/statistics/claims.csv")
    return new


def test_every_part_has_its_figures(whole, all_config):
    assert {figure["part"] for figure in schema.with_defaults(all_config)["figures"].values()} == set(
        schema.parts()
    )
    files = {file.name for file in (whole.results / "figures").glob("*.p*[fg]")}
    drawn = {*FIGURES, "claims", f"specification_{HEADLINE}"}
    assert files == {f"{name}.{ending}" for name in drawn for ending in ("pdf", "png")}


def test_the_claims_of_every_part_are_judged(whole, all_config):
    written_out = study.written_out(all_config | {"parts": "all"})
    verdicts = read_table(whole.results / "statistics" / "claims.csv")
    assert verdicts["claim"].tolist() == list(written_out["claims"])
    parts = verdicts["claim"].map(written_out["part_of"])
    assert min(Counter(parts)[part] for part in schema.parts()) >= 8
    judged = verdicts["verdict"].isin(JUDGED)
    # After so few steps some values are missing: few nets exceed chance, and runs share no loss.
    assert verdicts.loc[~judged, "reason"].str.contains("at least 2 seeds").all()
    for part in schema.parts():
        assert judged[parts == part].sum() >= 4, part
    alternatives = read_table(whole.results / "statistics" / "alternatives.csv")
    assert len(alternatives) == 3
    assert set(alternatives["verdict"]) <= JUDGED


def test_norms_are_ranked(whole):
    ranks = read_table(whole.results / "statistics" / "tau_per_seed.csv")
    assert ranks["seed"].tolist() == [0, 1]
    for measure in ("loss_variation", "predictiveness", "beta", "sharpness"):
        assert ranks[measure].between(-1, 1).all()


def test_the_report_has_a_section_for_every_part(whole):
    generated = whole.results / "report" / "generated"
    for part, title in TITLES.items():
        text = (generated / f"part_{part}.tex").read_text(encoding="utf-8")
        assert rf"\section{{{title}}}" in text
        shown = {name for name, of in FIGURES.items() if of == part}
        assert set(re.findall(r"\\shown\{(\w+)\}", text)) == shown
        for name in re.findall(r"\\family\{(\w+)\}", text):
            assert (generated / f"family_{name}.tex").stat().st_size > 0


@NEEDS_LATEX
def test_the_report_is_compiled_with_these_sections(whole):
    pdf = whole.results / "report" / "report.pdf"
    text = subprocess.run(["pdftotext", pdf, "-"], capture_output=True, text=True, check=True).stdout
    for title in (*TITLES.values(), "Curvature and the edge of stability", "Covariate shift is curvature"):
        assert re.search(rf"^[\d.]*\s*{title}$", text, re.MULTILINE), title
    log = (whole.folder / "logs" / "tiny" / "compile.log").read_text(errors="replace")
    last = log.rsplit("Latexmk: applying rule", 1)[-1]
    # The only missing reference is to a figure of the paper that this study does not have.
    assert set(re.findall(r"Reference `(.*?)' on page", last)) == {"fig:theorems"}


def test_both_pages_show_every_part(whole):
    page = (whole.results / "claims.html").read_text(encoding="utf-8")
    for claim in read_table(whole.results / "statistics" / "claims.csv")["claim"]:
        assert f'id="{claim}"' in page
    shown = (whole.results / "report.html").read_text(encoding="utf-8")
    for name in FIGURES:
        assert re.search(rf"data:image/png;[^,\"]*filename={name}\.png;base64,", shown)


def test_stored_results_have_the_figures_of_every_part_in_the_gallery(whole):
    for words in (["store.py", "tiny"], ["pages.py"]):
        command = [sys.executable, f"tools/{words[0]}", *words[1:]]
        done = subprocess.run(command, cwd=whole.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    page = (whole.folder / "docs" / "results.md").read_text(encoding="utf-8")
    gallery = page.split("<!-- results: gallery -->")[1].split("<!-- end -->")[0]
    shown = re.findall(r"\]\(results/tiny/(\w+)\.png\)", gallery)
    assert sorted(shown) == sorted([*FIGURES, "claims"])


def test_a_second_call_does_nothing(whole):
    assert whole.planned(*ALL) == []


# -- what the parts do not change -------------------------------------------------------------------------


def test_runs_and_probes_of_the_paper_have_the_same_bytes(whole, paper):
    here, there = paper.tables(), whole.tables()
    of_runs = [name for name in here if name.startswith(("runs/", "probes/"))]
    assert len(of_runs) == 2 * 8  # training and along_gradient of four conditions and two seeds
    assert [name for name in of_runs if here[name] != there[name]] == []


def test_statistics_and_verdicts_of_the_paper_are_the_same_rows(whole, paper):
    """Also the column `registration`: each part has a hash of its own."""
    tables = sorted((paper.results / "statistics").glob("*.csv"))
    assert len(tables) == 7
    for file in tables:
        there = rows(whole.results / "statistics" / file.name)
        assert [row for row in rows(file) if row not in there] == [], file.name


def rows(file):
    """Return the rows of a table as texts."""
    with file.open(encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table))
