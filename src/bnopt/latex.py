"""Turns numbers, names and tables into LaTeX."""

import unicodedata

import numpy as np

from bnopt.verdicts import boundaries

RATIO = "log_ratio"


def escape(text):
    """Return a plain text as LaTeX; straight double quotes become opening and closing ones."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {character: "\\" + character for character in "&%$#_{}"}
    text = "".join(special.get(character) or _symbol(character) for character in str(text))
    while '"' in text:
        text = text.replace('"', "``", 1).replace('"', "''", 1)
    return text


def _symbol(character):
    """Return a small Greek letter as a formula, any other character as it is."""
    name = unicodedata.name(character, "")
    greek = name.startswith("GREEK SMALL LETTER ") and name.count(" ") == 3
    return rf"$\{name.split()[-1].lower()}$" if greek else character


def identifier(name):
    """Return a name from the configuration in typewriter type; lines may break after its underscores."""
    return r"\texttt{" + escape(name).replace(r"\_", r"\_\allowbreak ") + "}"


def number(value):
    """Return a number with three significant digits, for siunitx; a dash if it is missing."""
    if np.isnan(value):
        return "--"
    if np.isinf(value):
        return r"$\infty$" if value > 0 else r"$-\infty$"
    return rf"\num{{{value:.3g}}}"


def interval(claim):
    """Return the interval of a claim as [low, high], in differences or ratios."""
    low, high = (number(_shown(claim[bound], claim["compare"])) for bound in ("ci_low", "ci_high"))
    return f"[{low}, {high}]"


def expectation(claim):
    """Return the effects that support a claim, in differences or ratios: > 0.1, < 1, 0.5 to 2."""
    # Adding 0.0 turns -0.0 into 0.0.
    low, high = (bound + 0.0 for bound in boundaries(claim["expected"], claim["margin"]))
    shown_low, shown_high = (number(_shown(bound, claim["compare"])) for bound in (low, high))
    if np.isneginf(low):
        return f"$<$ {shown_high}"
    if np.isposinf(high):
        return f"$>$ {shown_low}"
    return f"{shown_low} to {shown_high}"


def verdict(claim):
    """Return a verdict with its marks: a star if another summary changes it, a dagger if a run diverged."""
    marks = ("*" if claim["flips_under"] else "") + (r"\textdagger" if claim["n_diverged"] else "")
    return claim["verdict"] + marks


def estimate(claim):
    """Return effect and interval of a claim, with a multiplication sign before a ratio; a dash if not run."""
    if np.isnan(claim["effect"]):
        return "--"
    sign = r"$\times$\," if claim["compare"] == RATIO else ""
    return f"{sign}{number(_shown(claim['effect'], claim['compare']))} {interval(claim)}"


def _shown(value, compare):
    """Return an effect as readers see it: a log ratio as a ratio."""
    with np.errstate(over="ignore"):
        return np.exp(value) if compare == RATIO else value


def as_latex(table, columns):
    """Return a table of LaTeX texts as a longtable with booktabs rules."""
    style = table.style.hide(axis="index")
    return style.to_latex(hrules=True, column_format=columns, environment="longtable")
