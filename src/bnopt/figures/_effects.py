"""How effects of claims are drawn: the looks of verdicts, units, and the ticks and limits of an axis."""

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from bnopt.study import names
from bnopt.verdicts import boundaries

# The lightness differs too, for grey prints: 30, 54, 70 and 82 of 100.
VERDICTS = {
    "supported": {"color": "#00487A", "marker": "o"},
    "contradicted": {"color": "#D55E00", "marker": "X"},
    "inconclusive": {"color": "#ACACAC", "marker": "s"},
    "not run": {"color": "#CCCCCC", "marker": "|"},
}
# The colour behind the effects that support a claim.
EXPECTED = "#DDE7EF"
# Grades that hold beyond chance after Holm's adjustment; their markers are filled.
FIRM = ("confirmed", "refuted")
# The units of `study.unit`.
UNITS = {"ratio": "a / b, as a factor", "points": "a − b, percentage points", "difference": "a − b"}
# Share of the range of all effects by which an axis is longer on each side, and the least range.
BEYOND, LEAST_RANGE = 0.25, 0.05


def set_ticks(axis, kind, ends):
    """Give an axis of effects few ticks: factors (×2), or numbers with their sign; ends: its two ends."""
    if kind == "ratio":
        # Ticks of a logarithmic axis are powers of ten, and few panels reach that far.
        factor = ends[1] / ends[0]
        narrow, subs = MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]), (1, 3) if factor < 200 else (1,)
        axis.set_major_locator(narrow if factor < 6 else LogLocator(subs=subs, numticks=4))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(lambda x, _: "×" + names.with_powers(names.number(x)))
    else:
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(lambda x, _: f"{x:+g}".replace("-", "−") if x else "0")


def limits(claims):
    """Return the ends of an axis of effects: it holds 0, the boundaries, and all effects that are finite."""
    marks = [claims["effect"].to_numpy(dtype=float), *map(bounds, claims.to_dict("records"))]
    shown = np.concatenate([[0.0], *marks])
    shown = shown[np.isfinite(shown)]
    more = BEYOND * max(np.ptp(shown), LEAST_RANGE)
    return shown.min() - more, shown.max() + more


def bounds(claim):
    """Return the finite boundaries of a claim other than 0, where there is a line anyway."""
    both = boundaries(claim["expected"], claim["margin"])
    return [boundary for boundary in both if np.isfinite(boundary) and boundary]
