"""The whole study from the beginning: every result exists, every claim has a row, a second call is idle."""

import io
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from bnopt.files import records
from bnopt.files.artefacts import read_table
from bnopt.study import study

SECTIONS = ("claims", "alternatives")
VERDICTS = {"supported", "contradicted", "inconclusive"}
COLUMNS = [
    *(
        "claim",
        "label",
        "source",
        "statement",
        "quantity",
        "condition_a",
        "condition_b",
        "expected",
        "margin",
    ),
    *("effect", "ci_low", "ci_high", "n", "n_diverged", "p_sign_flip", "p_holm", "verdict"),
    *("flips_under", "paper_value"),
]
NEEDS_LATEX = pytest.mark.skipif(not shutil.which("latexmk"), reason="needs latexmk, of the package latexmk")


@pytest.fixture(scope="module")
def verdicts(finished):
    return read_table(finished.results / "statistics" / "claims.csv")


def test_a_call_without_targets_makes_everything_and_says_where_it_is(first_run):
    finished, said = first_run
    assert str(finished.results) in said
    assert "claims.csv" in said
    assert "report" in said


def test_with_several_workers_one_of_them_runs_the_study(finished, request):
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("there is one worker")
    assert request.node.nodeid.endswith("@finished")


def test_every_figure_is_there_as_pdf_and_png(finished):
    curves = {f"specification_{name}" for name in finished.written_out["headline"]}
    assert len(curves) == 4
    figures = {*finished.written_out["figures"], "claims", *curves}
    assert {"fig1", "fig2", "fig4", "fig8", "claims"} <= figures
    folder = finished.results / "figures"
    files = {f"{name}.{ending}" for name in figures for ending in ("pdf", "png", f"pdf{records.SUFFIX}")}
    assert {file.name for file in folder.iterdir()} == files
    for name in figures:
        pdf = (folder / f"{name}.pdf").read_bytes()
        assert pdf.startswith(b"%PDF-")
        assert b"%%EOF" in pdf[-32:]
        with Image.open(io.BytesIO((folder / f"{name}.png").read_bytes())) as image:
            pixels = np.asarray(image.convert("L"))
        assert min(pixels.shape) > 150
        assert len(np.unique(pixels)) > 20, f"{name}.png is blank"
        assert 0.002 < (pixels < 250).mean() < 0.9


def test_every_claim_has_a_row_with_the_promised_columns(finished, verdicts):
    assert list(verdicts.columns[: len(COLUMNS)]) == COLUMNS
    claims = finished.written_out["claims"]
    assert verdicts["claim"].tolist() == list(claims)
    for key in ("label", "source", "statement", "quantity", "condition_a", "expected", "margin_from"):
        assert verdicts[key].fillna("").tolist() == [claim[key] for claim in claims.values()]


def test_every_headline_claim_has_its_specifications(finished):
    found = read_table(finished.results / "statistics" / "specifications.csv")
    assert found["claim"].drop_duplicates().tolist() == list(finished.written_out["headline"])
    assert set(found["verdict"]) == {"not run"}
    assert (found.groupby("claim")["registered"].sum() == 1).all()


def test_with_one_seed_no_claim_is_judged_and_the_reason_is_said(verdicts):
    assert set(verdicts["verdict"]) == {"not run"}
    assert verdicts["reason"].str.contains("at least 2 seeds").all()


@pytest.mark.parametrize("section", SECTIONS)
def test_every_claim_has_its_sensitivity_and_its_numbers(finished, section):
    folder, config = finished.results / "statistics", finished.written_out
    claims = config[section]
    sensitivity = read_table(folder / f"{section}_sensitivity.csv")
    found = sensitivity.groupby("claim")["summary"].agg(set).to_dict()
    for name, claim in claims.items():
        quantity = config["quantities"][claim["quantity"]]
        assert {quantity["summary"], *quantity.get("sensitivity", [])} <= found[name]
    numbers = read_table(folder / f"{section}_per_seed.csv")
    assert set(numbers["claim"]) == set(claims)
    assert set(numbers["seed"]) == {0}


def test_every_run_has_its_curve_under_its_own_name(finished):
    config = finished.config
    for condition, entry in config["conditions"].items():
        sizes = config["scales"]["tiny"][entry["task"]]
        table = read_table(finished.results / "runs" / condition / "seed0" / "training.csv")
        assert table["step"].tolist() == list(range(sizes["steps"] + 1))
        assert set(table["condition"]) == {condition}
        assert set(table["seed"]) == {0}
    curve = read_table(finished.results / "runs" / "vgg_batch" / "seed0" / "training.csv")
    assert np.isfinite(curve["loss"][:-1]).all()
    assert curve["accuracy"][:-1].between(0, 1).all()
    assert curve["test_accuracy"].iloc[-1] <= 1


def test_runs_that_are_probed_keep_their_snapshots_and_no_others_do(finished):
    config = finished.config
    probed = {
        name
        for table, names in finished.written_out["tables"].items()
        if table in config["probes"]
        for name in names
    }
    for condition in config["conditions"]:
        folder = finished.results / "runs" / condition / "seed0" / "snapshots"
        files = {file.name for file in folder.glob("*.pt")}
        expected = {f"step{step:06d}.pt" for step in (0, 3, 6, 9)} if condition in probed else set()
        assert files <= expected
        assert files == expected or read_table(folder.parent / "training.csv")["diverged"].any()


def test_every_probe_has_a_table_for_every_condition_that_is_named(finished):
    for table, conditions in finished.written_out["tables"].items():
        if table == study.TRAINING:
            continue
        folder = finished.results / "probes" / table
        assert {file.name for file in folder.iterdir()} == set(conditions)
        for condition in conditions:
            rows = read_table(folder / condition / "seed0.csv")
            assert len(rows) > 0
            assert set(rows["condition"]) == {condition}
            assert set(rows["seed"]) == {0}


def test_provenance_lists_every_table_that_has_a_record(finished):
    found = json.loads((finished.results / "provenance.json").read_text(encoding="utf-8"))
    recorded = {
        str(file.relative_to(finished.results)).removesuffix(records.SUFFIX)
        for file in finished.results.rglob(f"*.*{records.SUFFIX}")
    }
    # Figures and the report have records too, but they are no tables.
    recorded = {path for path in recorded if path.endswith((".csv", ".json"))}
    assert {"probes/rate_spread/vgg_none/seed0.csv", "theorems/random_layers.csv"} <= recorded
    assert set(found) == recorded - {"provenance.json"}


def test_the_log_of_a_run_shows_its_loss_and_its_accuracy(finished):
    log = (finished.folder / "logs" / "tiny" / "train" / "vgg_batch" / "seed0.log").read_text()
    assert re.search(r"loss=\d", log)
    assert re.search(r"accuracy=\d", log)
    assert "12/12" in log


def test_every_job_has_a_log(finished):
    logs = finished.folder / "logs" / "tiny"
    config = finished.config
    expected = {f"train/{condition}/seed0.log" for condition in config["conditions"]}
    expected |= {"prepare.log", "judge.log", "judge_alternatives.log", "specify.log", "page.log", "web.log"}
    expected |= {f"draw/{figure}.log" for figure in (*finished.written_out["figures"], "claims")}
    assert expected <= {str(file.relative_to(logs)) for file in logs.rglob("*.log")}


def test_what_training_used_is_recorded_and_every_job_counts_once_in_the_report(finished):
    for condition in finished.config["conditions"]:
        used = records.read(finished.results / "runs" / condition / "seed0" / "training.csv")
        # The package and twelve steps take this long even if PyTorch was imported before (the fork server).
        assert used["cpu_seconds"] > 0.05
        assert used["seconds"] > 0.05
        assert used["memory_mib"] > 50
    table = (finished.results / "report" / "generated" / "compute.tex").read_text(encoding="utf-8")
    jobs = dict(re.findall(r"^([\w\\ ]+) & (\d+) &", table, re.MULTILINE))
    assert int(jobs["train"]) == len(list(finished.results.glob("runs/*/*/training.csv")))
    assert int(jobs["claims"]) == 2
    assert {r"probe along\_gradient", "statistics", "data"} <= set(jobs)


def test_nothing_half_written_is_left(finished):
    assert [str(file) for file in finished.results.rglob("*partial*")] == []


def test_the_images_are_described(finished):
    described = json.loads((finished.results / "data" / "images.json").read_text(encoding="utf-8"))
    assert described["train"] + described["test"] == 1797


def test_the_report_is_ready_for_latex_and_complete(finished):
    folder = finished.results / "report"
    text = (folder / "report.tex").read_text(encoding="utf-8")
    assert r"\begin{document}" in text
    assert r"\end{document}" in text
    # A section that only some studies have is guarded: \IfFileExists{file}{\input{file}}{}.
    text = re.sub(r"\\IfFileExists\{generated/part_.*", "", text)
    for name in re.findall(r"\\(?:input|includegraphics)(?:\[[^]]*\])?\{(generated/[^}#]*)\}", text):
        assert [file for file in folder.glob(f"{name}*") if file.stat().st_size > 0], name


@NEEDS_LATEX
def test_the_report_is_compiled_without_a_missing_reference(finished):
    folder = finished.results / "report"
    pdf = (folder / "report.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert len(pdf) > 50_000
    # LaTeX leaves only the report, no auxiliary files.
    assert {file.suffix for file in folder.iterdir() if file.is_file()} == {".tex", ".pdf", ".json"}
    log = (finished.folder / "logs" / "tiny" / "compile.log").read_text(errors="replace")
    assert "undefined" not in log.rsplit("Latexmk: applying rule", 1)[-1].lower()


@NEEDS_LATEX
def test_the_body_of_the_report_has_at_most_twelve_pages(finished):
    assert body_pages(finished) <= 12


@NEEDS_LATEX
@pytest.mark.skipif(not shutil.which("pdftotext"), reason="needs pdftotext, of the package poppler-utils")
def test_the_body_of_the_report_names_no_identifier(finished):
    """Conditions and claims have labels; their names stand in the appendices alone."""
    pdf = finished.results / "report" / "report.pdf"
    words = ("pdftotext", "-layout", "-l", str(body_pages(finished)), str(pdf), "-")
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    sections = ("conditions", "claims", "alternatives", "quantities")
    names = {name for section in sections for name in finished.written_out[section] if "_" in name}
    assert len(names) > 100
    assert [name for name in names if name in text] == []
    whole = subprocess.run(
        ("pdftotext", "-layout", str(pdf), "-"), capture_output=True, text=True, check=True
    )
    assert "vgg_none" in whole.stdout.replace("\n", "")


def body_pages(finished):
    """Return the number of pages before the appendices, which LaTeX writes into its log."""
    log = (finished.folder / "logs" / "tiny" / "compile.log").read_text(errors="replace")
    return int(re.findall(r"The body has (\d+) pages", log)[-1])


def test_the_html_page_is_self_contained_with_figures_and_verdicts(finished):
    page = (finished.folder / "results" / "tiny" / "report.html").read_text(encoding="utf-8")
    for name in (*finished.written_out["figures"], "claims"):
        assert re.search(rf"data:image/png;[^,\"]*filename={name}\.png;base64,", page)
    assert re.search(r"data:text/html;[^,\"]*filename=claims\.html;base64,", page)
    assert re.search(r"data:text/csv;[^,\"]*filename=claims\.csv;base64,", page)
    assert not re.search(r"""<(?:script|link|img)[^>]+(?:src|href)=["']https?:""", page)


def test_a_second_call_does_nothing(finished):
    before = {file: file.stat().st_mtime_ns for file in finished.results.rglob("*") if file.is_file()}
    assert "Nothing to be done" in finished.run()
    after = {file: file.stat().st_mtime_ns for file in finished.results.rglob("*") if file.is_file()}
    assert after == before
