"""Numbers, tables and files of the report; texts as LaTeX are tested in test_latex.py."""

import json
import math
import re
from pathlib import Path

import pandas as pd
import pytest

from bnopt import judged as judged_claims
from bnopt import part_texts, report, report_tables, verdicts
from bnopt.files import artefacts
from bnopt.study import study

TEXT = Path(__file__).parents[2] / "paper" / "main.tex"
TIMES = r"$\times$\,"


def claims(**rows):
    """Return judged claims: name -> verdict, effect, kind of comparison."""
    return pd.DataFrame(
        [
            {"claim": name, "label": f"Claim {name}", "source": "Figure 1 & 2", "family": "fig1"}
            | {"statement": f"It holds ({name}).", "paper_value": "83 %", "quantity": "sigma"}
            | {"condition_a": "deep_linear_none", "condition_b": "chance", "expected": "less", "margin": 0.0}
            | {"verdict": verdict, "effect": effect, "compare": compare}
            | {"ci_low": effect - math.log(2), "ci_high": effect + math.log(2), "n": 3}
            | {"p_sign_flip": 0.125, "p_holm": 0.25, "reason": "too few" if verdict == "not run" else ""}
            | {"flips_under": "median" if name == "d" else "", "n_diverged": int(name in "ad")}
            | {"diverged": "vgg_none" if name in "ad" else ""}
            | {"grade": "", "seeds_agreeing": "" if verdict == "not run" else "2 of 3", "seeds_to_confirm": 6}
            | {"p_opposite": 0.5, "p_opposite_holm": 1.0, "e_value": 1.5, "seeds_needed": math.nan}
            | {"share_agreeing_at_least": 0.25, "unit": "ratio" if compare == "log_ratio" else compare}
            for name, (verdict, effect, compare) in rows.items()
        ]
    )


HERE = claims(
    a=("supported", math.log(6), "log_ratio"),
    b_c=("not run", math.nan, "log_ratio"),
    d=("contradicted", math.log(8), "log_ratio"),
)
THERE = claims(
    d=("inconclusive", math.log(4), "log_ratio"),
    b_c=("supported", math.log(10), "log_ratio"),
    old=("supported", 0.0, "log_ratio"),
)
STUDY = {
    "scale": "a_scale",
    "images": "digits",
    "seeds": [0, 1, 2],
    "tasks": {"vgg": {"steps": 8, "net": {"hidden": [4, 5]}}},
    "conditions": {"vgg_none": {"task": "vgg", "norm": "none", "lr": 0.1}},
    "captions": {"fig1": "100 % of it"},
    "headline": ["a", "d"],
    "accuracies": ["accuracy"],
    "registration": {"paper": {"hash": "a1", "registered": "b2", "differs": ["sizes", "stopping rule"]}},
    "diverged": [{"condition": "vgg_none", "seed": 1, "step": 5}],
}


SPECIFICATIONS = pd.DataFrame(
    [("a", "supported"), ("a", "inconclusive"), ("b", "supported"), ("b", "not run"), ("b", "supported")],
    columns=["claim", "verdict"],
)


def stored(table, source="50 % of A_B", figures=()):
    return judged_claims.Stored(claims=table, images={"source": source}, figures=list(figures))


def results(judged=HERE, activations=None, along_gradient=None, curvature=None):
    """Return results of a scale whose claims were judged so."""
    statistics = ["effect", "ci_low", "ci_high", "n", "verdict"]
    of_claims = judged[["claim", *statistics]]
    others = of_claims.assign(summary="median", verdict="supported")
    alternative = {
        "claim": "d_again", "source": "d", "statement": "Read otherwise.", "compare": "difference",
        "effect": 0.5, "ci_low": 0.25, "ci_high": 0.75, "verdict": "supported", "quantity": "accuracy",
    }  # fmt: skip
    found = {"n": 5, "median_error": 0.0, "max_error": 1e-15, "violated": 0.0}
    found |= {"holds": math.nan, "median_share": math.nan}
    wheres = ("random layers", "vgg_none")
    return report.Results(
        claims=judged,
        specifications=SPECIFICATIONS,
        sensitivity=pd.concat([of_claims.assign(summary="mean"), others], ignore_index=True),
        alternatives=judged_claims.with_units(pd.DataFrame([alternative]), STUDY["accuracies"]),
        theorems=pd.DataFrame([{"statement": "Theorem 4.1", "where": where} | found for where in wheres]),
        activations=activations,
        along_gradient=along_gradient,
        curvature=curvature,
        images={"source": "a_b", "train": 10, "test": 5},
        provenance={
            name: record("train", name, 1.0, 1.0, 100)
            | {"versions": {"torch": "2"}, "hardware": {"cpu": cpu, "gpu": None}, "commit": "c0"}
            for name, cpu in (("x", "one"), ("y", "another"), ("z", "one"))
        },
    )


TABLES = ("claims", "sensitivity", "specifications", "alternatives", "theorems")


# -- numbers ----------------------------------------------------------------------------------------


def test_numbers_are_counted_from_the_claims_and_the_study():
    assert report.numbers(results(), STUDY) == {
        "claims": 3,
        "seeds": 3,
        "scale": r"a\_scale",
        "p.floor": r"\num{0.125}",
        "count.supported": 1,
        "count.contradicted": 1,
        "count.inconclusive": 0,
        "count.not run": 1,
        "count.confirmed": 0,
        "count.refuted": 0,
        "count.gradable": 0,
        "seeds.to_confirm": 6,
        "registration": (
            r"The part \texttt{paper} was judged by \texttt{a1}, while \texttt{b2} is registered; "
            "they differ in: sizes, stopping rule."
        ),
        "diverged": 1,
        "flipped": 1,
        "task.vgg": "",
        "images.source": r"a\_b",
        "images.train": "10",
        "images.test": "5",
        "caption.fig1": r"100 \% of it",
        "compute.jobs": 3,
        "compute.hours": r"\num{0.000833}",
        "compute.memory": r"\num{0.0977}",
        "growth.wide": r"\num{1.21}",
        "a.label": "Claim a",
        "a.estimate": rf"{TIMES}\num{{6}} [\num{{3}}, \num{{12}}]",
        "a.verdict": "supported",
        "b_c.label": r"Claim b\_c",
        "b_c.estimate": "--",
        "b_c.verdict": "not run",
        "d.label": "Claim d",
        "d.estimate": rf"{TIMES}\num{{8}} [\num{{4}}, \num{{16}}]",
        "d.verdict": "contradicted",
    }


def test_a_sentence_per_part_says_by_which_hash_it_was_judged_and_which_is_registered():
    same = {"hash": "a1", "registered": "a1", "differs": []}
    none = {"hash": "c3", "registered": "", "differs": ["claims", "seeds"]}
    assert report.registration_text({"paper": same, "mechanism": none}) == (
        r"The part \texttt{paper} was judged by \texttt{a1}, the registered hash. "
        r"The part \texttt{mechanism} was judged by \texttt{c3}, while nothing is registered; "
        "they differ in: claims, seeds."
    )
    assert report.registration_text({}) == ""


def test_grades_are_counted_and_so_are_the_claims_with_enough_seeds_for_one():
    judged = HERE.assign(n=[6, 5, 8], seeds_to_confirm=[6, 6, 7], grade=["confirmed", "", "refuted"])
    found = report.numbers(results(judged), STUDY)
    keys = ("count.confirmed", "count.refuted", "count.gradable", "seeds.to_confirm")
    assert [found[key] for key in keys] == [1, 1, 2, 7]


def test_sigma_is_summarised_over_the_conditions_that_a_claim_about_it_judges():
    activations = pd.DataFrame(
        {
            "condition": ["deep_linear_none"] * 3 + ["deep_linear_batch"],
            "sigma": [1.0, 2.0, 4.0, 99.0],
            "sigma_min": [0.5, 0.25, 3.0, 0.0],
            "sigma_max": [5.0, 8.0, 7.0, 100.0],
        }
    )
    expected = {"sigma.median": r"\num{2}", "sigma.min": r"\num{0.25}", "sigma.max": r"\num{8}"}
    assert report.sigma_numbers(activations, HERE) == expected
    assert expected.items() <= report.numbers(results(activations=activations), STUDY).items()
    others = HERE.assign(quantity="effective_beta")
    assert set(report.sigma_numbers(activations, others).values()) == {"--"}


def test_specifications_are_counted_by_claim_and_those_not_run_apart():
    assert report.specification_numbers(SPECIFICATIONS) == {
        "specification.a": "supported in 1 of 2",
        "specification.b": "supported in 2 of 2 (1 not run)",
        "specifications": 2,
    }
    assert report.specification_numbers(SPECIFICATIONS.iloc[:0]) == {}


def test_the_numbers_of_another_scale_are_counted_from_its_own_claims():
    assert report.stored_numbers({"paper": stored(THERE)}) == {
        "stored.paper.count.supported": 2,
        "stored.paper.count.contradicted": 0,
        "stored.paper.count.inconclusive": 1,
        "stored.paper.count.not run": 0,
        "stored.paper.claims": 3,
        "stored.paper.seeds": 3,
        "stored.paper.source": r"50 \% of A\_B",
    }
    assert report.stored_numbers({}) == {}


# -- tables -----------------------------------------------------------------------------------------


def test_every_claim_stands_beside_itself_at_other_scales_whatever_their_order():
    table = report_tables.scales_table(HERE, {"cifar10_small": stored(THERE)})
    assert list(table) == ["Claim", "Here", r"cifar10\_small"]
    assert table["Claim"].tolist() == ["Claim a", r"Claim b\_c", "Claim d"]
    assert table["Here"].tolist() == [
        rf"{TIMES}\num{{6}} [\num{{3}}, \num{{12}}] supported\textdagger",
        "not run",
        rf"{TIMES}\num{{8}} [\num{{4}}, \num{{16}}] contradicted*\textdagger",
    ]
    assert table[r"cifar10\_small"].tolist() == [
        "--",
        rf"{TIMES}\num{{10}} [\num{{5}}, \num{{20}}] supported",
        rf"{TIMES}\num{{4}} [\num{{2}}, \num{{8}}] inconclusive*\textdagger",
    ]


def test_a_scale_that_judges_none_of_the_claims_has_no_column():
    elsewhere = THERE.assign(claim=[f"other_{name}" for name in THERE["claim"]])
    others = {"there": stored(THERE), "elsewhere": stored(elsewhere)}
    study = STUDY | {"headline": dict.fromkeys(HERE["claim"], "A step.")}
    tables = report_tables.tables(results(), others, study)
    for name in ("headline", "scales"):
        assert "there" in tables[name]
        assert "elsewhere" not in tables[name]
    assert "scales" not in report_tables.tables(results(), {"elsewhere": stored(elsewhere)}, study)


def test_a_verdict_at_another_scale_is_bold_only_if_it_contradicts_the_one_here():
    kinds = {"a": "contradicted", "b_c": "contradicted", "d": "supported"}
    there = claims(**{name: (verdict, math.log(2), "log_ratio") for name, verdict in kinds.items()})
    shown = report_tables.scales_table(HERE, {"there": stored(there)})["there"].tolist()
    effect = rf"{TIMES}\num{{2}} [\num{{1}}, \num{{4}}]"
    assert shown == [
        rf"{effect} \textbf{{contradicted\textdagger}}",
        f"{effect} contradicted",
        rf"{effect} \textbf{{supported*\textdagger}}",
    ]
    alike = report_tables.scales_table(HERE, {"there": stored(HERE)})
    assert alike["there"].tolist() == alike["Here"].tolist()


def test_alternatives_of_the_parts_stand_in_their_sections_alone(config):
    of_study = study.written_out(config | {"parts": "all"})["alternatives"]
    of_paper = study.written_out(config)["alternatives"]
    common = {"statement": "s", "effect": 0.5, "ci_low": 0.2, "ci_high": 0.7, "unit": "difference"}
    rows = [common | {"claim": name, "source": "a", "verdict": name} for name in of_study]
    table = report_tables.alternatives_table(pd.DataFrame(rows), HERE)
    assert table["Verdict"].tolist() == list(of_paper)
    assert len(of_study) > len(of_paper) > 5


@pytest.mark.parametrize(
    ("column", "value"),
    [("margin", 0.1), ("quantity", "other"), ("expected", "greater"), ("condition_b", "x")],
)
def test_a_stored_verdict_on_a_claim_that_was_defined_otherwise_is_not_shown(column, value):
    other = THERE.assign(**{column: value})
    shown = report_tables.scales_table(HERE, {"there": stored(other)})["there"].tolist()
    assert shown == ["--", "defined otherwise", "defined otherwise"]


def test_the_table_of_sizes_has_images_only_if_a_task_needs_them():
    table = report_tables.sizes_table(STUDY)
    assert dict(table.to_numpy().tolist()) == {
        "images": "digits", "seeds": "0, 1, 2", "vgg: steps": "8", "vgg: net": "hidden: 4 5",
    }  # fmt: skip
    assert "images" not in set(report_tables.sizes_table(STUDY | {"images": ""})["Size"])


def record(stage, started, seconds, cpu_seconds, memory, **settings):
    return {"stage": f"bnopt.{stage}", "settings": settings, "started": started} | {
        "seconds": seconds, "cpu_seconds": cpu_seconds, "memory_mib": memory
    }  # fmt: skip


def test_records_of_older_code_have_a_dash_in_the_table_of_compute():
    """Results that were accepted with --touch keep the records of the code that made them."""
    older = {"stage": "bnopt.train", "settings": {}, "started": "09:00", "seconds": 3.0}
    assert report_tables.compute_table({"a.csv": older}).to_numpy().tolist() == [
        ["train", 1, "--", "3", "--"]
    ]


# -- files ------------------------------------------------------------------------------------------


def keys_of(text):
    """Return the keys that numbers.tex defines."""
    return re.findall(r"^\\setresult\{(.+?)\}\{", text, flags=re.MULTILINE)


@pytest.fixture
def written(tmp_path):
    """A folder with the generated files of a study and of one stored scale."""
    for name in ("fig1.pdf", "there/fig4.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    folder = tmp_path / "generated"
    folder.mkdir()
    report.write(
        folder,
        results(),
        {"there": stored(THERE, figures=[tmp_path / "there" / "fig4.png"])},
        study=STUDY,
        figures=[tmp_path / "fig1.pdf"],
    )
    return folder


def test_the_bundle_has_numbers_tables_and_figures(written):
    tables = "headline family_fig1 alternatives statements evidence sensitivity theorems sizes conditions"
    tables += " compute software scales"
    assert {file.name for file in written.iterdir()} == {
        "numbers.tex", "fig1.pdf", "there_fig4.png", *(f"{name}.tex" for name in tables.split()),
    }  # fmt: skip
    assert (written / "fig1.pdf").read_bytes() == b"fig1.pdf"
    assert (written / "there_fig4.png").read_bytes() == b"there/fig4.png"
    keys = keys_of((written / "numbers.tex").read_text(encoding="utf-8"))
    expected = [*report.numbers(results(), STUDY), *report.stored_numbers({"there": stored(THERE)})]
    expected += report.specification_numbers(SPECIFICATIONS)
    expected += report.findings_texts(HERE, {"there": stored(THERE)}, STUDY)
    assert keys == expected


def test_the_bundle_has_a_section_per_part_beyond_the_paper(tmp_path):
    judged = pd.concat([HERE, claims(e=("supported", 0.0, "log_ratio")).assign(family="norms")])
    report.write(tmp_path, results(judged), {}, study=STUDY, figures=[])
    assert (tmp_path / "part_norms.tex").read_text(encoding="utf-8") == part_texts.sections(judged, STUDY)[
        "norms"
    ]
    assert not (tmp_path / "part_mechanism.tex").exists()


def test_there_is_no_table_of_scales_without_stored_results():
    assert "scales" in report_tables.tables(results(), {"there": stored(THERE)}, STUDY)
    assert "scales" not in report_tables.tables(results(), {}, STUDY)


def matches(name, pattern):
    """Return whether a name fits a pattern in which #1, #2 stand for anything."""
    return re.fullmatch(re.sub(r"\\?#\d", ".+", re.escape(pattern)), name)


def test_the_text_uses_exactly_the_keys_and_files_that_are_written(config):
    """The study has every task and part. For a smaller one, passages that lack a key are left out."""
    text = re.sub(r"^%.*$", "", TEXT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    whole = study.written_out(config | {"scale": "paper", "parts": "all"})
    rows = [
        {"claim": name, "effect": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n": 3, "n_diverged": 0}
        | {"verdict": "supported", "flips_under": "", "p_sign_flip": 0.1, "p_holm": 0.1, "reason": ""}
        | {"diverged": ""}
        | {"grade": "", "seeds_agreeing": "3 of 3", "seeds_to_confirm": 8, "p_opposite": 1.0}
        | {"p_opposite_holm": 1.0, "e_value": 3.75, "seeds_needed": math.nan, "share_agreeing_at_least": 0.4}
        | claim
        | {"compare": whole["quantities"][claim["quantity"]]["compare"], "unit": "difference"}
        for name, claim in whole["claims"].items()
    ]
    empty = pd.DataFrame(columns=["condition", "seed", "step"])
    judged = results(pd.DataFrame(rows), activations=empty, along_gradient=empty, curvature=empty)
    judged.alternatives["source"] = whole["alternatives"]["noise_variance_beats_plain"]["source"]
    settings = study.report_settings(whole) | {"diverged": [], "registration": STUDY["registration"]}
    others = dict.fromkeys(("cifar10-small", "cifar10-vgg", "deep-linear"), stored(judged.claims))
    text += "".join(part_texts.sections(judged.claims, settings).values())

    keys = {*report.numbers(judged, settings), *report.stored_numbers(others)}
    keys |= {*report.specification_numbers(judged.specifications)}
    keys |= {*report.findings_texts(judged.claims, others, settings)}
    used = set(re.findall(r"\\(?:result|ofstudy)\{([^}]+)\}", text))
    used |= {f"findings.{name}" for name in re.findall(r"\\(?:judged|family)\{(\w+)\}", text)}
    used |= {f"{name}.verdict" for name in re.findall(r"\\(?:verdict|claim)\{([^}]+)\}", text)}
    named = {pattern for pattern in used if not re.search(r"#|^(key|name)", pattern)}
    assert named <= keys
    # The text chooses among claims and stored scales, and uses every other key.
    chosen = {f"{name}.{part}" for name in whole["claims"] for part in ("label", "estimate", "verdict")}
    rest = {key for key in keys - chosen if not key.startswith("stored.")}
    assert {key for key in rest if not any(matches(key, pattern) for pattern in used)} == set()

    sections = {f"part_{part}" for part in part_texts.TOPICS}
    files = {*report_tables.tables(judged, others, settings), "numbers", *sections}
    inputs = set(re.findall(r"\\(?:input\{generated/|fulltable(?:\[.*?\])?\{|tabled\{)([^}]+)\}", text))
    assert {pattern for pattern in inputs if "#" not in pattern} <= files
    families = {f"family_{name}" for name in re.findall(r"\\(?:judged|family)\{(\w+)\}", text)}
    assert families == {name for name in files if name.startswith("family_")}
    assert {name for name in files - families if name not in inputs} == set()
    shown = {f"fig{number}" for number in re.findall(r"\\paperfigure\{(\d+)\}", text)}
    shown |= set(re.findall(r"\\shown\{(\w+)\}", text))
    assert shown - {"file"} == set(whole["figures"])


def test_the_text_shows_the_curves_of_headline_claims(config):
    text = TEXT.read_text(encoding="utf-8")
    headline = study.written_out(config | {"scale": "paper"})["headline"]
    shown = re.findall(r"^\\specification\{(\w+)\}", text, flags=re.MULTILINE)
    assert len(shown) == len(set(shown)) == 5
    assert set(shown) <= set(headline)


# -- the command ------------------------------------------------------------------------------------


def test_the_command_reads_tables_and_stored_results_and_copies_the_text(tmp_path):
    here = results()
    there = tmp_path / "stored" / "deep-linear"
    training = pd.DataFrame(
        [
            {"condition": "vgg_none", "seed": seed, "layer": "", "step": step, "diverged": int(step >= first)}
            for seed, first in ((0, 9), (1, 5))
            for step in range(8)
        ]
    )
    tables = {name: getattr(here, name) for name in TABLES}
    for name, table in (tables | {"training": training}).items():
        artefacts.write_table(table, tmp_path / f"{name}.csv")
    artefacts.write_table(THERE, there / "claims.csv")
    (there / "fig10.png").write_bytes(b"ten")
    (there / "claims.png").write_bytes(b"not a figure of the paper")
    artefacts.write_recorded(json.dumps({"source": "generated"}), there / "images.json")
    artefacts.write_recorded(json.dumps(here.images), tmp_path / "images.json")
    artefacts.write_recorded(json.dumps(here.provenance), tmp_path / "provenance.json")
    (tmp_path / "fig1.pdf").write_bytes(b"one")
    (tmp_path / "text.tex").write_text("The text.\n", encoding="utf-8")
    settings = {key: value for key, value in STUDY.items() if key != "diverged"}
    files = {
        "text": "text.tex", "images": "images.json", "provenance": "provenance.json",
        "figures": "fig1.pdf", "generated": "out/generated",
        "report": "out/report.tex", "stored": "stored/deep-linear/claims.csv",
        **{name: f"{name}.csv" for name in (*tables, "training")},
    }  # fmt: skip
    words = [word for name, file in files.items() for word in (f"--{name}", str(tmp_path / file))]
    words += ["--registration", json.dumps(STUDY["registration"])]
    missing = ("--activations", "--along_gradient", "--curvature")
    report.main([*words, *missing, "--settings", json.dumps(settings)])

    generated = tmp_path / "out" / "generated"
    assert (tmp_path / "out" / "report.tex").read_text(encoding="utf-8") == "The text.\n"
    numbers = (generated / "numbers.tex").read_text(encoding="utf-8")
    assert r"\setresult{diverged}{1}" in numbers
    assert r"\setresult{stored.deep-linear.source}{generated}" in numbers
    assert sorted(file.name for file in generated.glob("*fig*.p*")) == ["deep-linear_fig10.png", "fig1.pdf"]
    assert r"& 3 & 1 & 5 \\" in (generated / "conditions.tex").read_text(encoding="utf-8")
    assert set(verdicts.VERDICTS) == {
        key.rpartition(".")[2] for key in keys_of(numbers) if key.startswith("stored.deep-linear.count")
    }
