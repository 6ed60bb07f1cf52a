"""The files by which others find, cite and check the project: they name what exists, and agree."""

import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CODECHECK = yaml.safe_load((ROOT / "codecheck.yml").read_text(encoding="utf-8"))
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
ZENODO = json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))


def test_title_authors_and_licence_are_the_same_everywhere():
    assert CITATION["title"] == ZENODO["title"] == CODECHECK["paper"]["title"]
    authors = [author["name"] for author in CITATION["authors"]]
    assert authors == [creator["name"] for creator in ZENODO["creators"]]
    assert authors == [author["name"] for author in CODECHECK["paper"]["authors"]]
    assert CITATION["license"] == ZENODO["license"] == "MIT"
    assert "MIT License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_a_codechecker_finds_every_figure_of_the_paper():
    figures = {Path(entry["file"]).stem for entry in CODECHECK["manifest"] if "/figures/" in entry["file"]}
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    papers = {name for name in config["figures"] if re.fullmatch(r"fig\d+", name)}
    assert figures == papers


def test_what_a_codechecker_looks_for_is_made(finished):
    for entry in CODECHECK["manifest"]:
        file = finished.results / Path(entry["file"]).relative_to("results/digits")
        known = {*finished.config["figures"], "claims"}
        if file.parent.name == "figures" and file.stem not in known:
            continue  # the tiny study draws fewer figures
        if file.suffix != ".pdf":
            assert file.exists(), entry["file"]


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target
