"""Numbers, names and tables as LaTeX."""

import math
import re

import numpy as np
import pandas as pd
import pytest

from bnopt import latex, verdicts
from bnopt.study import study

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("50 % of A_B & C#1 $ {x}", r"50 \% of A\_B \& C\#1 \$ \{x\}"),
        ("a\\b~c^d", r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d"),
        ("effective β", r"effective $\beta$"),
        ("σ or σ²", r"$\sigma$ or $\sigma$\textsuperscript{2}"),
        ("λ ≤ Ω", r"$\lambda$ $\leq$ $\Omega$"),
        ("Mądry, Müller", r"M\k{a}dry, M\"{u}ller"),
        ("u\N{COMBINING DIAERESIS}", r"\"{u}"),
        ("ế ½ 𝛽 ŀ", r"\'{\^{e}} 1/2 $\beta$ l$\cdot$"),
        ("画像", r"[U+753B]\allowbreak{}[U+50CF]\allowbreak{}"),
        ("a\tb\n\nc\N{ZERO WIDTH SPACE}d\N{NO-BREAK SPACE}e", "a b  cd~e"),
        ("--config <<x>> ``y''", r"-{}-config <{}<x>{}> `{}`y'{}'"),
        ("“x” – ‘y’", "``x'' -- `y'"),
        ("", ""),
        ('"one" and "two"', "``one'' and ``two''"),
        (0.1, "0.1"),
        (
            "rate 1e-7, 2.5e06",
            r"rate 10\textsuperscript{$-$}\textsuperscript{7}, "
            r"2.5$\cdot$10\textsuperscript{6}",
        ),
        ("x_lr1e-7, a1e7b, 1e", r"x\_lr1e-7, a1e7b, 1e"),
    ],
)
def test_plain_text_is_escaped(text, expected):
    assert latex.escape(text) == expected


def test_every_text_of_the_study_has_only_letters_that_the_fonts_have(config):
    whole = study.written_out(config)
    claims = [claim for section in ("claims", "alternatives") for claim in whole[section].values()]
    texts = [claim[key] for claim in claims for key in ("label", "source", "statement", "paper_value")]
    texts += [figure["caption"] for figure in whole["figures"].values()]
    assert len(texts) > 300
    assert [text for text in texts if "[U+" in latex.escape(text)] == []


def test_an_identifier_may_break_after_its_underscores():
    assert latex.identifier("vgg_batch") == r"\texttt{vgg\_\allowbreak batch}"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, r"\num{0}"),
        (1234.5, r"\num{1.23e+03}"),
        (-0.00012345, r"\num{-0.000123}"),
        (INF, r"$\infty$"),
        (-INF, r"$-\infty$"),
        (NAN, "--"),
    ],
)
def test_numbers_have_three_digits(value, expected):
    assert latex.number(value) == expected


@pytest.mark.parametrize(
    ("expected", "margin", "unit", "text"),
    [
        ("greater", 0.0, "difference", r"$>$ \num{0}"),
        ("greater", 0.0, "points", r"$>$ \num{0}~points"),
        ("not_less", 0.05, "points", r"$>$ \num{-5}~points"),
        ("not_greater", 0.125, "points", r"$<$ \num{12.5}~points"),
        ("equivalent", 0.05, "points", r"\num{-5} to \num{5}~points"),
        ("less", 0.0, "difference", r"$<$ \num{0}"),
        ("not_less", 0.05, "difference", r"$>$ \num{-0.05}"),
        ("not_greater", 0.1, "difference", r"$<$ \num{0.1}"),
        ("equivalent", 0.05, "difference", r"\num{-0.05} to \num{0.05}"),
        ("greater", 0.0, "ratio", r"$>$ $\times$\,\num{1}"),
        ("not_less", math.log(2), "ratio", r"$>$ $\times$\,\num{0.5}"),
        ("not_greater", math.log(3), "ratio", r"$<$ $\times$\,\num{3}"),
        ("less", math.log(2), "ratio", r"$<$ $\times$\,\num{0.5}"),
        ("equivalent", math.log(2), "ratio", r"$\times$\,\num{0.5} to $\times$\,\num{2}"),
    ],
)
def test_the_expected_effects_are_those_that_support_the_claim(expected, margin, unit, text):
    assert latex.expectation({"expected": expected, "margin": margin, "unit": unit}) == text
    low, high = verdicts.boundaries(expected, margin)
    inside = {
        "greater": low + 10, "not_less": low + 10,
        "less": high - 10, "not_greater": high - 10,
        "equivalent": margin / 2,
    }[expected]  # fmt: skip
    assert verdicts.assess([inside] * 9, expected=expected, margin=margin)["verdict"] == "supported"


def claim(effect, low, high, *, unit="difference", flips_under="", n_diverged=0, grade=""):
    return {
        "effect": effect, "ci_low": low, "ci_high": high, "unit": unit,
        "verdict": "supported", "flips_under": flips_under, "n_diverged": n_diverged,
        "grade": grade,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("judged", "interval", "estimate"),
    [
        (claim(0.1, -0.2, 0.4), r"[\num{-0.2}, \num{0.4}]", r"\num{0.1} [\num{-0.2}, \num{0.4}]"),
        (
            claim(0.345, -0.2, 0.75, unit="points"),
            r"[\num{-20}, \num{75}]",
            r"\num{34.5}~points [\num{-20}, \num{75}]",
        ),
        (
            claim(math.log(2), 0.0, math.log(4), unit="ratio"),
            r"[\num{1}, \num{4}]",
            r"$\times$\,\num{2} [\num{1}, \num{4}]",
        ),
        (
            claim(-INF, -INF, INF, unit="ratio"),
            r"[\num{0}, $\infty$]",
            r"$\times$\,\num{0} [\num{0}, $\infty$]",
        ),
        # exp(1000) exceeds every float.
        (
            claim(0.0, -1000.0, 1000.0, unit="ratio"),
            r"[\num{0}, $\infty$]",
            r"$\times$\,\num{1} [\num{0}, $\infty$]",
        ),
        (claim(NAN, NAN, NAN, unit="ratio"), "[--, --]", "--"),
    ],
)
def test_an_effect_stands_before_its_interval_and_log_ratios_become_ratios(judged, interval, estimate):
    with np.errstate(over="raise"):
        assert latex.interval(judged) == interval
        assert latex.estimate(judged) == estimate


@pytest.mark.parametrize(
    ("flips_under", "n_diverged", "expected"),
    [
        ("", 0, "supported"),
        ("median;equal_loss", 0, "supported*"),
        ("", 2, r"supported\textdagger"),
        ("median", 1, r"supported*\textdagger"),
    ],
)
def test_a_verdict_has_a_star_if_it_flips_and_a_dagger_if_a_run_diverged(flips_under, n_diverged, expected):
    judged = claim(0.1, 0.0, 0.2, flips_under=flips_under, n_diverged=n_diverged)
    assert latex.verdict(judged) == expected


def test_a_verdict_with_a_grade_is_bold():
    assert latex.verdict(claim(0.1, 0.0, 0.2, grade="confirmed")) == r"\textbf{supported}"
    judged = claim(0.1, 0.0, 0.2, grade="confirmed", flips_under="median")
    assert latex.verdict(judged) == r"\textbf{supported}*"


def test_a_table_keeps_its_latex_and_repeats_its_header_on_every_page():
    table = pd.DataFrame({"Claim": [r"\texttt{a}", "b"], "$n$": [3, 4]})
    text = latex.as_latex(table, "@{}lr@{}", long=True)
    assert text.startswith(r"\begin{longtable}{@{}lr@{}}")
    assert r"Claim & $n$ \\" in text.partition(r"\endfirsthead")[0]
    assert r"Claim & $n$ \\" in text.partition(r"\endfirsthead")[2].partition(r"\endhead")[0]
    rows = text.partition(r"\endlastfoot")[2].splitlines()[1:-1]
    assert rows == [r"\texttt{a} & 3 \\*", r"b & 4 \\"]


@pytest.mark.parametrize(
    ("rows", "kept"), [(1, []), (3, [0, 1]), (9, [*range(8)]), (20, [0, 1, *range(12, 19)])]
)
def test_the_first_and_the_last_rows_of_a_long_table_stay_together(rows, kept):
    text = latex.as_latex(pd.DataFrame({"n": range(rows)}), "@{}r@{}", long=True)
    lines = text.partition(r"\endlastfoot")[2].splitlines()[1:-1]
    assert lines == [f"{n} " + (r"\\*" if n in kept else r"\\") for n in range(rows)]


def test_a_table_of_the_body_is_not_broken_over_pages():
    table = pd.DataFrame({"Claim": [r"\texttt{a}", "b"], "$n$": [3, 4]})
    lines = latex.as_latex(table, "@{}lr@{}", long=False).splitlines()
    assert lines[0] == r"\begin{tabular}{@{}lr@{}}"
    assert lines[-1] == r"\end{tabular}"
    assert [line for line in lines if line.endswith(r"\\")] == [
        r"Claim & $n$ \\", r"\texttt{a} & 3 \\", r"b & 4 \\",
    ]  # fmt: skip


def test_a_strip_is_drawn_to_scale():
    marks = {"zero": 0.5, "margins": [0.25, 0.75], "low": 0.1, "high": 0.9, "effect": 0.3, "dots": []}
    text = latex.picture(marks)
    width = float(re.match(r"\\begin\{picture\}\((\d+),\d+\)", text)[1])
    assert text.endswith(r"\end{picture}")
    assert re.findall(r"\\put\(([\d.]+),0\)\{\\line", text) == [f"{width / 2:.1f}"]
    assert re.findall(r"\\multiput\(([\d.]+),", text) == [f"{width / 4:.1f}", f"{3 * width / 4:.1f}"]
    ((start, length),) = re.findall(r"\\put\(([\d.]+),[\d.]+\)\{\\rule\{([\d.]+)pt\}", text)
    assert float(start) == pytest.approx(0.1 * width, abs=0.06)
    assert float(start) + float(length) == pytest.approx(0.9 * width, abs=0.11)
    assert re.findall(r"\\put\(([\d.]+),[\d.]+\)\{\\circle", text) == [f"{0.3 * width:.1f}"]
