"""Every number and every cell of the report, read back from LaTeX and computed by another way.

The command writes the report of a study that never ran: claims of every kind, with no two numbers alike.
"""

import decimal
import itertools
import json
import math
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from figures import tables as raw_tables

from bnopt import claims as claims_stage
from bnopt import judged as judged_claims
from bnopt import report, report_tables, statistics
from bnopt.files import artefacts
from bnopt.study import names, study

VERDICTS = ("supported", "contradicted", "inconclusive", "not run")
EXPECTED = ("greater", "less", "not_less", "not_greater", "equivalent")
GRADES = {"supported": "confirmed", "contradicted": "refuted"}
REGISTRATION = {
    "paper": {"hash": "1a2b", "registered": "3c4d", "differs": ["seeds", "stopping rule"]},
    "norms": {"hash": "5e6f", "registered": "5e6f", "differs": []},
}
SOURCE = "50 % of A_B & C"
SEEDS = list(raw_tables.SEEDS)
TASKS = ("vgg", "deep_linear")
MEASURED = ("vgg_none", "vgg_batch", "vgg_batch_lr0.5", "vgg_l1", "deep_linear_none", "deep_linear_batch")


# -- a reader of LaTeX --------------------------------------------------------------------------------


def plain(text):
    """Return a LaTeX text as a reader sees it; numbers without exponent and trailing zeros."""
    text = re.sub(r"\\num\{([^}]+)\}", lambda found: shown(decimal.Decimal(found[1])), text.strip())
    text = re.sub(r"\\texttt\{(.*?)\}", r"\1", text.replace(r"\allowbreak ", ""))
    while (bold := re.sub(r"\\textbf\{([^{}]*)\}", r"<\1>", text)) != text:
        text = bold
    signs = {
        "~": " ", r"$\times$\,": "×", r"$-\infty$": "-∞", r"$\infty$": "∞", r"\textdagger": "†", r"$<$": "<",
        r"$>$": ">",
        r"\_": "_", r"\%": "%", r"\&": "&",
    }  # fmt: skip
    for latex, sign in signs.items():
        text = text.replace(latex, sign)
    return text


def read(folder, name):
    """Return the header of a table, and its rows, each a dict from the header to a cell."""
    text = (folder / f"{name}.tex").read_text(encoding="utf-8")
    # Long tables repeat their head; the tables of the body have it once.
    long = r"\endfirsthead" in text
    head, body = text.split(r"\endfirsthead" if long else r"\midrule", 1)
    body = body.split(r"\endlastfoot")[1] if long else body
    (header,) = ([plain(cell) for cell in line] for line in cells(head))
    rows = [[plain(cell) for cell in line] for line in cells(body)]
    return header, [dict(zip(header, row, strict=True)) for row in rows]


def cells(text):
    """Return the cells of every row."""
    # A star keeps a row of a long table on the page of the next one.
    lines = [re.sub(r"\\\\\*$", r"\\\\", line) for line in text.splitlines()]
    lines = [line.removesuffix(r"\\") for line in lines if line.endswith(r"\\")]
    return [re.split(r"(?<!\\)&", line) for line in lines]


# -- the same texts by hand -----------------------------------------------------------------------------


def shown(value):
    """Return a decimal number without exponent and trailing zeros."""
    return format(value, "f").rstrip("0").rstrip(".") if value % 1 else format(value.quantize(1), "f")


def three_digits(value):
    """Return a number with three significant digits."""
    if math.isnan(value):
        return "--"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return shown(decimal.Context(prec=3).create_decimal_from_float(float(value)))


def unit(claim):
    """Return what stands before an effect and after it, and a function that computes its number."""
    if claim["compare"] == "log_ratio":
        return "×", "", lambda x: math.e**x
    # The quantity of the test study whose differences are in points of a per cent.
    points = claim["quantity"] == "final_accuracy"
    return ("", " points", lambda x: x / 0.01) if points else ("", "", float)


def effect(claim):
    """Return effect and interval; ratios have a sign before them, differences of accuracies are points."""
    if math.isnan(claim["effect"]):
        return "--"
    sign, name, number = unit(claim)
    one, low, high = (three_digits(number(claim[key])) for key in ("effect", "ci_low", "ci_high"))
    return f"{sign}{one}{name} [{low}, {high}]"


def marked(claim):
    """Return the verdict, <bold> if graded, with * if another summary changes it and † if a run diverged."""
    star = "*" if claim["flips_under"] else ""
    word = f"<{claim['verdict']}>" if claim["grade"] else claim["verdict"]
    return word + star + ("†" if claim["n_diverged"] > 0 else "")


def expected_effects(claim):
    """Return the effects that support a claim."""
    margin, (sign, name, number) = claim["margin"], unit(claim)
    up, down = (sign + three_digits(number(x)) for x in (margin, -margin if margin else 0.0))
    text = {
        "greater": f"> {up}", "not_less": f"> {down}", "less": f"< {down}", "not_greater": f"< {up}",
        "equivalent": f"{down} to {up}",
    }  # fmt: skip
    return text[claim["expected"]] + name


# -- the study ------------------------------------------------------------------------------------------


def judged(random, names, *, margins):
    """Return claims of every kind; margins: name -> margin, the same wherever a claim is judged."""
    kinds = itertools.cycle(itertools.product(EXPECTED, ("difference", "log_ratio")))
    rows = []
    for number, (name, (expected, compare)) in enumerate(zip(names, kinds, strict=False)):
        drawn = VERDICTS[random.integers(0, 4)]
        verdict = {3: "inconclusive", 4: "contradicted"}.get(number, drawn)
        missing = verdict == "not run"
        one = math.nan if missing else random.normal(scale=3)
        rows.append(
            {
                "claim": name, "label": f"Label {number} & more", "source": f"Figure {number}_a",
                "statement": f"Statement {number}, 100 %.", "family": f"family{number % 3}",
                "quantity": {2: "sigma", 3: "final_accuracy", 5: "final_accuracy"}.get(
                    number % 7, "effective_beta"
                ),
                "condition_a": "deep_linear_none" if number % 2 else "deep_linear_batch",
                "condition_b": "vgg_none", "expected": expected, "margin": margins[name],
                "compare": compare, "effect": one, "ci_low": one - random.lognormal(),
                "ci_high": one + random.lognormal(), "n": int(random.integers(2, 9)),
                "n_diverged": int(random.integers(0, 2) * random.integers(1, 9)),
                "p_sign_flip": math.nan if missing else random.uniform(),
                "p_holm": math.nan if missing else random.uniform(), "verdict": verdict,
                "flips_under": "median;equal_loss" if random.integers(0, 3) == 0 and not missing else "",
                "paper_value": f"{number} % in the paper", "margin_from": "paper",
                "reason": f"too few: {number}" if missing else "",
                "grade": GRADES.get(verdict, "") if number % 3 else "",
                "seeds_agreeing": "" if missing else f"{number % 5} of {5 + number}",
                "seeds_to_confirm": 2 + number % 6,
                **{
                    column: math.nan if missing else random.uniform()
                    for column in ("p_opposite", "p_opposite_holm", "e_value", "share_agreeing_at_least")
                },
                "seeds_needed": int(random.integers(5, 5000)) if verdict == "inconclusive" else math.nan,
            }
        )  # fmt: skip
    # One effect is beyond all numbers, and one is exactly 0.
    rows[3] |= {"effect": math.inf, "ci_low": -math.inf, "ci_high": math.inf}
    rows[4] |= {"effect": 0.0, "ci_low": 0.0, "ci_high": 0.0}
    return pd.DataFrame(rows).reindex(columns=claims_stage.COLUMNS)


@pytest.fixture(scope="module")
def made(config, tmp_path_factory):
    """The tables of a study and the folder of files that the command made of them."""
    folder = tmp_path_factory.mktemp("report")
    random = np.random.default_rng(1)
    names = [f"claim_{number}" for number in range(24)]
    margins = {name: random.uniform(0.1, 1) if i % 4 else 0.0 for i, name in enumerate(names)}
    whole = study.written_out(config | {"scale": "digits", "seeds": SEEDS})
    for sizes in whole["sizes"].values():
        sizes["steps"] = raw_tables.STEPS
    whole["conditions"]["vgg_none"] = whole["conditions"]["vgg_none"] | {"warmup": 0.125, "initial_scale": 3}

    claims = judged(random, names, margins=margins)
    sensitivity = pd.DataFrame(
        [
            {"claim": claim["claim"], "summary": summary, "n": 3, "reason": ""}
            | dict(zip(("effect", "ci_low", "ci_high"), random.normal(size=3), strict=True))
            | {"verdict": claim["verdict"] if summary == "mean" else VERDICTS[random.integers(0, 4)]}
            for number, claim in enumerate(claims.to_dict("records"))
            for summary in ("mean", "geometric_mean", "median")[: 1 + number % 3]
        ]
    )
    again = [f"again_{number}" for number in range(5)]
    alternatives = judged(random, again, margins=dict.fromkeys(again, 0.5))
    alternatives["source"] = names[5:10]
    specifications = pd.DataFrame(
        [
            {"claim": names[number], "verdict": verdict, "summary": f"s{place}"}
            for number in (7, 2, 11)
            for place, verdict in enumerate(random.permutation([*VERDICTS, *VERDICTS[:2]])[: 3 + number % 4])
        ]
    )
    columns = ["median_error", "max_error", "violated", "holds", "median_share"]
    theorems = pd.DataFrame(
        [
            {"statement": f"Theorem {number} & lemma", "where": where, "n": int(random.integers(1, 999))}
            | {
                column: 10 ** random.uniform(-18, 0) if (i + number) % 3 else math.nan
                for i, column in enumerate(columns)
            }
            for number in range(4)
            for where in ("random layers", "vgg_none")
        ]
    )
    training = pd.concat(
        [raw_tables.measured(whole, "training", c, seed) for c in whole["conditions"] for seed in SEEDS]
    )
    activations = [
        raw_tables.measured(whole, "activations", condition, seed)
        for condition in ("deep_linear_none", "deep_linear_batch", "vgg_none")
        for seed in SEEDS
    ]
    per_seed = statistics.per_seed(activations, table="activations")
    landscape = [raw_tables.measured(whole, "along_gradient", c, seed) for c in MEASURED for seed in SEEDS]
    # The Hessian is not measured at every step.
    hessian = [raw_tables.measured(whole, "curvature", c, seed) for c in MEASURED for seed in SEEDS]
    hessian = [of_run[of_run["step"] != 3] for of_run in hessian]
    stored = {
        scale: judged(random, order, margins=margins)
        for scale, order in (("cifar10-small", names[:20]), ("deep-linear", names[2:]))
    }
    # The same claims; one is defined otherwise.
    for table in stored.values():
        for column in judged_claims.DEFINITION:
            table[column] = table["claim"].map(claims.set_index("claim")[column])
    stored["deep-linear"].loc[5, "expected"] = "other"
    images = {"source": SOURCE, "train": 1234, "test": 567, "classes": 10}
    there = {"cifar10-small": "CIFAR_10", "deep-linear": "generated"}

    csv = {
        "claims": claims, "sensitivity": sensitivity, "alternatives": alternatives, "theorems": theorems,
        "training": training, "activations": per_seed, "specifications": specifications,
        "along_gradient": statistics.per_seed(landscape, table="along_gradient"),
        "curvature": statistics.per_seed(hessian, table="curvature"),
    }  # fmt: skip
    for name, table in csv.items():
        artefacts.write_table(table, folder / f"{name}.csv")
    provenance = records(random)
    for name, content in (("images", images), ("provenance", provenance)):
        artefacts.write_recorded(json.dumps(content), folder / f"{name}.json")
    for scale, table in stored.items():
        of_scale = folder / "stored" / scale
        artefacts.write_table(table, of_scale / "claims.csv")
        artefacts.write_recorded(json.dumps({"source": there[scale]}), of_scale / "images.json")
    (folder / "fig1.pdf").write_bytes(b"one")
    (folder / "text.tex").write_text("The text.\n", encoding="utf-8")
    settings = study.report_settings(whole) | {"headline": names[:14][::-1]}
    words = [f"--{name}={folder / f'{name}.csv'}" for name in csv]
    words += [f"--{name}={folder / f'{name}.json'}" for name in ("images", "provenance")]
    words += ["--stored", *(str(folder / "stored" / scale / "claims.csv") for scale in stored)]
    words += [f"--figures={folder / 'fig1.pdf'}", f"--text={folder / 'text.tex'}"]
    words += [f"--generated={folder / 'out'}", f"--report={folder / 'report.tex'}"]
    report.main([*words, "--settings", json.dumps(settings), "--registration", json.dumps(REGISTRATION)])
    return {
        "folder": folder / "out", "headline": settings["headline"], "whole": whole,
        "settings": settings, "training": training,
        "claims": claims.to_dict("records"), "sensitivity": sensitivity.to_dict("records"),
        "specifications": specifications.to_dict("records"),
        "alternatives": alternatives.to_dict("records"), "theorems": theorems.to_dict("records"),
        "activations": pd.concat(activations).to_dict("records"), "images": images,
        "landscape": pd.concat(landscape).to_dict("records"),
        "hessian": pd.concat(hessian).to_dict("records"),
        "stored": {scale: table.to_dict("records") for scale, table in stored.items()},
        "sources": there, "provenance": provenance,
    }  # fmt: skip


def records(random):
    """Return provenance: jobs of three stages, one of which wrote two tables."""
    found = {}
    jobs = [
        ("train", "09:00", {}), ("train", "09:01", {}), ("train", "09:02", {}), ("claims", "10:00", {}),
        ("probe", "09:00", {"probe": "along_gradient"}), ("probe", "09:03", {"probe": "along_gradient"}),
        ("probe", "09:00", {"probe": "activations"}),
    ]  # fmt: skip
    for number, (stage, started, settings) in enumerate(jobs):
        found[f"{number}.csv"] = {
            "stage": f"bnopt.{stage}", "settings": settings, "started": started, "commit": f"c{number % 2}",
            "seconds": random.uniform(1, 900), "cpu_seconds": random.uniform(1, 900),
            "memory_mib": random.uniform(1, 9000), "versions": {"torch": "2.1", "numpy": f"2.{number % 3}"},
            "hardware": {"gpu": None, "processor": f"P_{number % 2}", "cores": 2},
        }  # fmt: skip
    # A second table of the job of claims, written later.
    last = found["3.csv"]
    found["again.csv"] = last | {key: 1.5 * last[key] for key in ("seconds", "cpu_seconds", "memory_mib")}
    return found


def table(made, name, header):
    """Return the rows of a table; check its header."""
    found, rows = read(made["folder"], name)
    assert found == header
    return rows


def by_name(made):
    return {claim["claim"]: claim for claim in made["claims"]}


# -- numbers --------------------------------------------------------------------------------------------


def test_every_number_of_the_text(made):
    claims, settings = made["claims"], made["settings"]
    flips = list(itertools.product((1, -1), repeat=len(SEEDS)))
    lost = {
        (row["condition"], row["seed"]) for row in made["training"].to_dict("records") if row["diverged"] == 1
    }
    expected = {
        "claims": 24,
        "seeds": 4,
        "scale": "digits",
        # The share of the sign flips whose mean is at least that of equal effects.
        "p.floor": three_digits(sum(sum(signs) >= len(signs) for signs in flips) / len(flips)),
        "diverged": len(lost),
        "flipped": len([claim for claim in claims if claim["flips_under"]]),
        "count.confirmed": len([claim for claim in claims if claim["grade"] == "confirmed"]),
        "count.refuted": len([claim for claim in claims if claim["grade"] == "refuted"]),
        "count.gradable": len([claim for claim in claims if claim["n"] >= claim["seeds_to_confirm"]]),
        "seeds.to_confirm": max(claim["seeds_to_confirm"] for claim in claims),
        "registration": (
            "The part paper was judged by 1a2b, while 3c4d is registered; they differ in: seeds, stopping "
            "rule. The part norms was judged by 5e6f, the registered hash."
        ),
        **curves(made),
        "images.source": SOURCE,
        "images.train": 1234,
        "images.test": 567,
        **{f"task.{task}": "" for task in TASKS},
        **{f"count.{word}": [claim["verdict"] for claim in claims].count(word) for word in VERDICTS},
        **{f"caption.{name}": of["caption"] for name, of in made["whole"]["figures"].items()},
        **{f"{claim['claim']}.label": claim["label"] for claim in claims},
        **{f"{claim['claim']}.estimate": effect(claim) for claim in claims},
        **{f"{claim['claim']}.verdict": claim["verdict"] for claim in claims},
        **sigmas(made),
        **compute(made),
        # The largest factor of a layer for squared lengths is 1 / (1 − 1/π).
        "growth.wide": three_digits((1 - 1 / math.pi) ** -0.5),
    }
    assert len(settings["captions"]) > 10
    for scale, found in made["stored"].items():
        of_scale = {
            "claims": len(found),
            "seeds": max(claim["n"] for claim in found),
            "source": made["sources"][scale],
            **{f"count.{word}": [claim["verdict"] for claim in found].count(word) for word in VERDICTS},
        }
        expected |= {f"stored.{scale}.{key}": value for key, value in of_scale.items()}
    text = (made["folder"] / "numbers.tex").read_text(encoding="utf-8")
    found = dict(re.findall(r"^\\setresult\{(.+?)\}\{(.*)\}$", text, flags=re.MULTILINE))
    # Sentences are tested in test_findings.py.
    sentences = {key for key in found if key.startswith(("findings.", "headline"))}
    families = {f"findings.{claim['family']}" for claim in claims}
    assert sentences == families | {"headline", "headline.others"}
    found = {key: value for key, value in found.items() if key not in sentences}
    captions = {key: value for key, value in found.items() if key.startswith("caption.")}
    assert {key: plain(value) for key, value in found.items() if key not in captions} == {
        key: str(value) for key, value in expected.items() if key not in captions
    }
    # Captions have signs of all kinds, which test_latex.py escapes: their plain words must agree.
    assert set(captions) == {key for key in expected if key.startswith("caption.")}
    for key, value in captions.items():
        assert re.findall(r"[a-z]{4,}", plain(value))[:5] == re.findall(r"[a-z]{4,}", expected[key])[:5]


def curves(made):
    """Return in how many specifications each headline claim is supported, and the number of such claims."""
    verdicts = {}
    for row in made["specifications"]:
        verdicts.setdefault(row["claim"], []).append(row["verdict"])
    texts = {}
    for claim, found in verdicts.items():
        missing = found.count("not run")
        more = f" ({missing} not run)" if missing else ""
        texts[f"specification.{claim}"] = (
            f"supported in {found.count('supported')} of {len(found) - missing}{more}"
        )
    return texts | {"specifications": len(verdicts)}


def compute(made):
    """Return jobs, hours and GiB; of the records of one job, the larger numbers count."""
    jobs = {}
    for record in made["provenance"].values():
        key = (record["stage"], record["settings"].get("probe"), record["started"])
        seconds, memory = jobs.get(key, (0, 0))
        jobs[key] = (max(seconds, record["cpu_seconds"]), max(memory, record["memory_mib"]))
    return {
        "compute.jobs": len(jobs),
        "compute.hours": three_digits(sum(seconds for seconds, _ in jobs.values()) / 3600),
        "compute.memory": three_digits(max(memory for _, memory in jobs.values()) / 1024),
    }


def sigmas(made):
    """Return the numbers of σ of the conditions that a claim about σ judges, from the raw activations."""
    conditions = {claim["condition_a"] for claim in made["claims"] if claim["quantity"] == "sigma"}
    units = {}
    for row in made["activations"]:
        if row["condition"] in conditions and row["site"] == "layer_output":
            key = (row["condition"], row["seed"], row["layer"], row["step"])
            units.setdefault(key, []).append(math.sqrt(row["variance"]))
    medians = [sorted(of_layer)[len(of_layer) // 2] for of_layer in units.values()]
    assert raw_tables.UNITS % 2 == 1
    everything = [sigma for of_layer in units.values() for sigma in of_layer]
    return {
        "sigma.median": three_digits(float(np.median(medians))),
        "sigma.min": three_digits(min(everything)),
        "sigma.max": three_digits(max(everything)),
    }


# -- tables ---------------------------------------------------------------------------------------------


def test_the_table_of_the_headline(made):
    header = ["Statement", "Interval", "Effect and interval", "Here", *made["stored"], "Choices"]
    rows = table(made, "headline", header)
    chosen = [by_name(made)[name] for name in made["headline"]]
    chosen.sort(key=lambda claim: int(claim["claim"].removeprefix("claim_")))
    assert len(rows) == len(chosen) > 10
    for claim, row in zip(chosen, rows, strict=True):
        shown = (row["Statement"], row["Effect and interval"], row["Here"])
        assert shown == (claim["label"], effect(claim), marked(claim))
        assert row["Interval"].startswith("\\begin{picture}") == (not math.isnan(claim["effect"]))
        for scale, found in made["stored"].items():
            there = {other["claim"]: other for other in found}.get(claim["claim"])
            if there is None:
                assert row[scale] == "--"
            elif there["expected"] != claim["expected"]:
                assert row[scale] == "defined otherwise"
            else:
                assert row[scale] == marked(there)
        of_claim = [r["verdict"] for r in made["specifications"] if r["claim"] == claim["claim"]]
        judged_ones = [verdict for verdict in of_claim if verdict != "not run"]
        choices = f"{judged_ones.count('supported')} of {len(judged_ones)}" if judged_ones else "--"
        assert row["Choices"] == choices
    assert {"--", "defined otherwise"} <= {row[scale] for row in rows for scale in made["stored"]}
    assert sum(row["Choices"] != "--" for row in rows) == 3


@pytest.mark.parametrize("family", range(3))
def test_the_table_of_a_family(made, family):
    rows = table(made, f"family_family{family}", ["Claim", "Effect and interval", "Verdict"])
    assert rows == [
        {"Claim": claim["label"], "Effect and interval": effect(claim), "Verdict": marked(claim)}
        for claim in made["claims"]
        if claim["family"] == f"family{family}"
    ]


def test_the_table_of_statements(made):
    header = ["Claim", "Statement", "Source", "In the paper", "Supported by"]
    assert table(made, "statements", header) == [
        dict(
            zip(
                header,
                (c["label"], c["statement"], c["source"], c["paper_value"], expected_effects(c)),
                strict=True,
            )
        )
        for c in made["claims"]
    ]


def test_the_table_of_evidence(made):
    columns = {
        "$p$": "p_sign_flip", "Holm": "p_holm", "$p$ opp.": "p_opposite", "Holm opp.": "p_opposite_holm",
        "$e$": "e_value", "Needed": "seeds_needed", "Share": "share_agreeing_at_least",
    }  # fmt: skip
    header = ["Claim", "Effect and interval", "Verdict", "Agree", *columns, "Key"]
    rows = table(made, "evidence", header)
    assert rows == [
        {
            "Claim": claim["label"],
            "Effect and interval": effect(claim),
            "Verdict": claim["reason"] or marked(claim),
            "Agree": claim["seeds_agreeing"],
            **{head: three_digits(claim[column]) for head, column in columns.items()},
            "Key": claim["claim"],
        }
        for claim in made["claims"]
    ]
    assert {re.sub("[a-z <>:0-9]", "", row["Verdict"]) for row in rows} == {"", "*", "†", "*†"}
    assert {row["Verdict"][0] == "<" for row in rows} == {True, False}
    missing = [row["Needed"] == "--" for row in rows]
    assert 0 < sum(missing) < len(rows)


def test_the_table_of_other_summaries(made):
    rows = table(made, "sensitivity", ["Claim", "Summary", "Effect", "Verdict"])
    expected = []
    for row in made["sensitivity"]:
        claim = by_name(made)[row["claim"]]
        if row["summary"] != "mean":
            expected.append(
                {
                    "Claim": claim["label"],
                    "Summary": row["summary"].replace("_", " "),
                    "Effect": effect(row | {key: claim[key] for key in ("compare", "quantity")}),
                    "Verdict": row["verdict"] + ("" if row["verdict"] == claim["verdict"] else "*"),
                }
            )
    assert rows == expected
    assert 0 < sum(row["Verdict"].endswith("*") for row in rows) < len(rows)


def test_the_table_of_alternatives(made):
    header = ["Claim", "Other reading", "Effect", "Verdict", "As specified"]
    rows = table(made, "alternatives", header)
    expected = []
    for other in made["alternatives"]:
        claim = by_name(made)[other["source"]]
        cells = (claim["label"], other["statement"], effect(other), other["verdict"], claim["verdict"])
        expected.append(dict(zip(header, cells, strict=True)))
    assert rows == expected


def test_the_table_of_theorems(made):
    header = ["Statement", "Where", "$n$", "Median error", "Largest", "Violated", "Holds", "Share"]
    rows = table(made, "theorems", header)
    for number, (row, found) in enumerate(zip(made["theorems"], rows, strict=True)):
        values = [row[key] for key in ("median_error", "max_error", "violated", "holds", "median_share")]
        shown = ["" if math.isnan(value) else three_digits(value) for value in values]
        statement = "" if number % 2 else row["statement"]
        assert list(found.values()) == [statement, row["where"], str(row["n"]), *shown]


def test_the_table_of_scales(made):
    here = by_name(made)
    rows = table(made, "scales", ["Claim", "Here", *made["stored"]])

    def cell(claim, *, contradicts=False):
        said = f"<{marked(claim)}>" if contradicts else marked(claim)
        return claim["verdict"] if math.isnan(claim["effect"]) else f"{effect(claim)} {said}"

    otherwise = contradictions = 0
    for claim, row in zip(made["claims"], rows, strict=True):
        assert (row["Claim"], row["Here"]) == (claim["label"], cell(claim))
        for scale, found in made["stored"].items():
            (there,) = [c for c in found if c["claim"] == claim["claim"]] or [None]
            if there is None:
                assert row[scale] == "--"
            elif there["expected"] != here[claim["claim"]]["expected"]:
                otherwise += 1
                assert row[scale] == "defined otherwise"
            else:
                contradicts = {there["verdict"], claim["verdict"]} == {"supported", "contradicted"}
                contradictions += contradicts
                assert row[scale] == cell(there, contradicts=contradicts)
    assert otherwise == 1
    assert contradictions > 1


def test_the_table_of_sizes(made):
    expected = {"images": made["settings"]["images"], "seeds": "3, 0, 7, 5"}
    for task in TASKS:
        for key, value in made["whole"]["sizes"][task].items():
            words = json.dumps(value) if isinstance(value, (dict, list)) else str(value)
            expected[f"{task}: {key.replace('_', ' ')}"] = words
    rows = table(made, "sizes", ["Size", "Value"])
    found = {row["Size"]: row["Value"] for row in rows}
    assert len(found) == len(rows)
    # The same words and numbers in the same order, whatever stands between them.
    assert {key: re.findall(r"[\w.]+", value) for key, value in found.items()} == {
        key: re.findall(r"[\w.]+", value) for key, value in expected.items()
    }


def test_the_table_of_conditions(made):
    header = ["Condition", "Task", "Norm", "Learning rate", "Runs", "Diverged", "From step"]
    expected = []
    for name, condition in made["whole"]["conditions"].items():
        lost = [
            min(run["step"][run["diverged"] == 1])
            for _, run in made["training"][made["training"]["condition"] == name].groupby("seed")
            if run["diverged"].any()
        ]
        more = ", warm-up, weights $\\times$ 3" if name == "vgg_none" else ""
        norm = names.NORMS[condition["norm"]]
        for sign, latex in {"“": "``", "”": "''", "₁": "$_1$", "₂": "$_2$", "α": r"$\\alpha$"}.items():
            norm = norm.replace(sign, latex)
        cells = (
            name, {"vgg": "VGG", "deep_linear": "deep linear network"}[condition["task"]],
            norm + more, three_digits(condition["lr"]), "4",
            str(len(lost)), str(min(lost)) if lost else "",
        )  # fmt: skip
        expected.append(dict(zip(header, cells, strict=True)))
    assert table(made, "conditions", header) == expected
    assert sum(int(row["Diverged"]) for row in expected) == len(raw_tables.DIVERGED)


def test_the_table_of_compute(made):
    header = ["Stage", "Jobs", "CPU seconds", "Wall seconds", "Largest memory (MiB)"]
    jobs = {}
    for record in made["provenance"].values():
        probe = record["settings"].get("probe")
        stage = record["stage"].split(".")[1] + (f" {probe}" if probe else "")
        jobs.setdefault(stage, {})[record["started"]] = record  # a later record of a job replaces its first
    expected = []
    for stage in sorted(jobs):
        of_stage = jobs[stage].values()
        sums = [sum(job[key] for job in of_stage) for key in ("cpu_seconds", "seconds")]
        largest = max(job["memory_mib"] for job in of_stage)
        expected.append([stage, str(len(of_stage)), *(str(round(value)) for value in (*sums, largest))])
    assert [list(row.values()) for row in table(made, "compute", header)] == expected
    assert [row[1] for row in expected] == ["1", "1", "2", "3"]


def test_the_table_of_software(made):
    rows = table(made, "software", ["Item", "Value"])
    found = {row["Item"]: row["Value"].split(", ") for row in rows}
    assert found == {
        "torch": ["2.1"],
        "numpy": ["2.0", "2.1", "2.2"],
        "processor": ["P_0", "P_1"],
        "cores": ["2"],
        "commit": ["c0", "c1"],
    }


def test_every_table_of_the_report_has_a_test_here(made):
    start = "test_the_table_of_"
    tested = {name.removeprefix(start) for name in globals() if name.startswith(start)}
    written = {file.stem for file in made["folder"].glob("*.tex")} - {"numbers"}
    named = {"other_summaries": "sensitivity", "a_family": "family", "the_headline": "headline"}
    assert {named.get(name, name) for name in tested} == {name.partition("_")[0] for name in written}


# -- β beside the Hessian ---------------------------------------------------------------------------------


def of_seed(rows, number):
    """Return the mean of a number over rows; nothing without rows."""
    return [sum(map(number, rows)) / len(rows)] if rows else []


def smoothness(made, condition, lr, *, late):
    """Return the cells of a net in units of 2/lr, from raw rows: mean over seeds, smallest and largest."""
    of_columns = {"$\\beta$": [], **{head: [] for head in HESSIAN}}
    for seed in SEEDS:
        mine = {"condition": condition, "seed": seed}
        hessian = [row for row in made["hessian"] if mine.items() <= row.items()]
        chosen = {row["step"] for row in hessian if not late or row["step"] >= raw_tables.STEPS / 2}
        chosen = chosen if late else {min(chosen)}
        betas = [
            row["gradient_change"] / row["gradient_length"] / lr
            for row in made["landscape"]
            if mine.items() <= row.items() and row["step"] in chosen and math.isclose(row["eta"], lr)
        ]
        of_columns["$\\beta$"] += of_seed(betas, lambda beta: beta / (2 / lr))
        for head, column in HESSIAN.items():
            rows = [row for row in hessian if row["step"] in chosen]
            of_columns[head] += of_seed(rows, lambda row, column=column: row[column] / (2 / lr))
    return {
        head: f"{three_digits(sum(of) / len(of))} [{three_digits(min(of))}, {three_digits(max(of))}]"
        for head, of in of_columns.items()
    }


HESSIAN = {
    r"$\lVert Hg\rVert/\lVert g\rVert$": "hessian_gradient",
    r"$\kappa$": "gradient_curvature",
    r"$\lambda_{\max}$": "sharpness",
}


def test_the_table_of_smoothness(made):
    rows = table(made, "smoothness", ["Net", "When", r"$\beta$", *HESSIAN])
    # The plain VGG has a warm-up here, and L₁ is another norm.
    millionth = r"10\textsuperscript{$-$}\textsuperscript{6}"
    nets = {
        "VGG, BatchNorm, rate 0.1": ("vgg_batch", 0.1),
        "VGG, BatchNorm, rate 0.5": ("vgg_batch_lr0.5", 0.5),
        f"deep linear network, no norm, rate {millionth}": ("deep_linear_none", 1e-6),
        f"deep linear network, BatchNorm, rate {millionth}": ("deep_linear_batch", 1e-6),
    }
    assert [(row.pop("Net"), row.pop("When")) for row in rows] == [
        (net, when) for net in nets for when in ("start", "late")
    ]
    for (condition, lr), *pair in zip(nets.values(), rows[::2], rows[1::2], strict=True):
        for late, row in enumerate(pair):
            assert row == smoothness(made, condition, lr, late=late)


def test_runs_that_diverged_at_once_have_no_cells():
    columns = ["condition", "seed", "step"]
    one = [{"condition": "vgg_none", "seed": 0, "step": 0, "beta_at_lr": 10.0}]
    hessian = [
        dict.fromkeys(report_tables.SMOOTHNESS, 0.25) | {"condition": "vgg_none", "seed": 0, "step": 0}
    ]
    settings = {
        "conditions": {"vgg_none": {"task": "vgg", "norm": "none", "lr": 0.1}},
        "tasks": {"vgg": {"steps": 8}},
    }

    def shown(landscape, hessian):
        found = SimpleNamespace(along_gradient=landscape, curvature=hessian)
        return report_tables.smoothness_table(found, settings)

    empty = pd.DataFrame(columns=columns)
    assert len(shown(pd.DataFrame(one), empty)) == len(shown(empty, empty)) == 0
    hessian = pd.DataFrame(hessian).drop(columns="beta_at_lr_in_edges")
    start, late = shown(pd.DataFrame(one), hessian).to_dict("records")
    assert plain(start[r"$\beta$"]) == "0.5 [0.5, 0.5]"
    assert {late[head] for head in (r"$\beta$", *HESSIAN)} == {"--"}
