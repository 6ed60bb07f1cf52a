"""The theorems of Section 4 and Appendix C as numbers. The paper has no such figure."""

import math

import numpy as np
from matplotlib.figure import Figure

from bnopt.figures import _drawing
from bnopt.verdicts import TOLERANCE

RANDOM = "random layers"
IDENTITIES = ("thm4.1_error", "thm4.2_error", "thm4.4_error", "thmC.1_error", "obs4.3_error", "lem4.5_error")
# Errors that float64 cannot tell from 0 are drawn here.
SMALLEST = 1e-17
# Shares below this are drawn here. If linear layers lead to another BN, the mean of g is 0 up to rounding.
SMALLEST_SHARE = 1e-6
OVER_TRAINING = {
    "thm4.1_mean_share": "Share of ‖g‖² taken\nby its mean (Thm 4.1)",
    "thm4.1_correlation_share": "Share of ‖g‖² taken\nby ⟨g, ŷ⟩ (Thm 4.1)",
    "thm4.2_premise": "dᵀHd ≤ gᵀHg\n(premise of Thm 4.2)",
    "thm4.2_positive_correlation": "⟨g, ŷ⟩ ≥ 0\n(Section 4)",
    "thm4.2_semidefinite": "H ⪰ 0\n(Section 4)",
}
TASKS = {"vgg": "VGG", "deep_linear": "DLN"}
# Kinds of losses of the rest of the net -> what readers call them, and their lines.
LOSSES = {
    "convex": ("convex", ":"),
    "nonconvex": ("non-convex", "--"),
    "relu_net": ("ReLU net", "-."),
    "bn_net": ("BN net", "-"),
}


def draw(over_seeds, first_seed, *, conditions):
    """Return distributions over cases in the top row, and below it a row per task over training.

    The top row shows:
    (a) relative errors of all identities at ε = 0;
    (b) the slack of Theorem 4.2's second part without its premise;
    (c) the slack of Theorem 4.4 as printed;
    (d) for random layers, the excess of the largest form over the form at the inputs that Theorem C.1
        takes as the maximisers.
    A slack below 0 violates the inequality. In (c), below −1 (dotted), the printed bound of a squared
    length is negative.

    The rows below show the share of ‖g‖² that a term takes away, and the share of units for which a premise
    holds. They are means over units and seeds: a thin line per layer, a thick line for the mean over layers.
    """
    tasks = list(dict.fromkeys(condition["task"] for condition in conditions.values()))
    lines = {
        name: _drawing.style(condition)
        | {"label": f"{_drawing.label(condition)}, {_in_words(condition['task'])}"}
        | {"alpha": 1 if condition["task"] == tasks[0] else 0.5}
        for name, condition in conditions.items()
    }
    figure = Figure(figsize=(_drawing.WIDTH, 2.3 + 1.35 * len(tasks)))
    parts = figure.subfigures(1 + len(tasks), 1, height_ratios=[1.5, *[1] * len(tasks)])
    axes = parts[0].subplots(1, 4)
    _distributions(axes, over_seeds["random_layers"], first_seed["theorems"], lines)
    parts[0].legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    for part, task in zip(parts[1:], tasks, strict=True):
        chosen = {name: lines[name] for name in conditions if conditions[name]["task"] == task}
        for ax, (quantity, title) in zip(part.subplots(1, 5), OVER_TRAINING.items(), strict=True):
            _over_training(ax, over_seeds["theorems"], quantity, chosen)
            ax.set_title(title, fontsize="small")
        part.supylabel(_in_words(task), fontsize="medium")
        part.supxlabel("Steps", fontsize="medium")
    return figure


def _in_words(task):
    """Return a task as figures name it."""
    return TASKS.get(task, task.replace("_", " "))


def _distributions(axes, random, probes, lines):
    """Draw the top row: cumulative shares of cases, a line for the random layers and one per condition.

    Panel (d) has a line per loss of the random layers.
    """
    errors, bound, printed, excess = axes
    black = {"color": "black", "label": RANDOM}
    exact = random[random["eps"] == 0]
    known = [name for name in IDENTITIES if name in probes]
    shown = [*known, "thm4.2_bound_slack", "thm4.4_printed_slack"]
    of = {name: probes[probes["condition"] == name].reindex(columns=shown) for name in lines}

    _cumulative(errors, np.maximum(exact["error"], SMALLEST), **black)
    _cumulative(bound, exact["bound_slack"], **black)
    _cumulative(printed, exact["printed_slack"], **black)
    for name, line in lines.items():
        _cumulative(errors, np.maximum(of[name][known].to_numpy().ravel(), SMALLEST), **line)
        _cumulative(bound, of[name]["thm4.2_bound_slack"], **line)
        _cumulative(printed, of[name]["thm4.4_printed_slack"], **line)
    for loss, (words, style) in LOSSES.items():
        of_loss = exact.loc[exact["loss"] == loss, "excess"]
        _cumulative(excess, of_loss, color="black", linestyle=style, label=words)

    errors.set(title="(a) Identities", xlabel="Relative error", ylabel="Share of cases", xscale="log")
    errors.set_xlim(SMALLEST, max(10 * TOLERANCE, errors.get_xlim()[1]))
    errors.axvline(TOLERANCE, color="black", linewidth=0.6, linestyle=":")
    bound.set(title="(b) Thm 4.2, 2nd part\nwithout its premise", xlabel="Relative slack", xlim=(-1, 1))
    printed.set(title="(c) Thm 4.4 as printed", xlabel="Relative slack")
    printed.set_xscale("symlog", linthresh=1)
    printed.set_xlim(min(-10, printed.get_xlim()[0]), max(1, printed.get_xlim()[1]))
    # Between -1 and 1 the axis is linear, and a panel has no room for more ticks.
    far = 10.0 ** math.floor(math.log10(-printed.get_xlim()[0]))
    printed.set_xticks([x for x in (-far, 0, far) if x <= printed.get_xlim()[1]])
    excess.set(title="(d) Thm C.1,\nits worst inputs", xlabel="Relative excess", xlim=(0, 1))
    excess.legend(fontsize="small", handlelength=1.8, loc="center left", bbox_to_anchor=(1, 0.5))
    for ax in (bound, printed):
        ax.axvspan(ax.get_xlim()[0], 0, color="black", alpha=0.06, linewidth=0)
        ax.text(0.02, 0.97, "violated", va="top", fontsize="small", transform=ax.transAxes)
    printed.axvline(-1, color="black", linewidth=0.6, linestyle=":")


def _cumulative(ax, values, **line):
    """Draw the share of cases that are at most x, over x. Infinite values count as larger than every x."""
    values = np.sort(np.asarray(values, dtype=float))
    values = values[~np.isnan(values)]
    shares = np.arange(1, len(values) + 1) / max(1, len(values))
    finite = np.isfinite(values)
    ax.step(values[finite], shares[finite], where="post", **line)
    ax.set_ylim(0, 1.02)


def _over_training(ax, table, quantity, lines):
    """Draw a quantity over steps: a thin line per layer, a thick line for the mean over layers."""
    rows = table[(table["quantity"] == quantity) & np.isfinite(table["mean"])]
    for name, line in lines.items():
        layers = rows[rows["condition"] == name].pivot(index="step", columns="layer", values="mean")
        layers = layers.clip(lower=SMALLEST_SHARE) if quantity.endswith("_share") else layers
        plain = {key: line[key] for key in ("color", "linestyle")}
        ax.plot(layers.index, layers, linewidth=0.5, alpha=0.4, **plain)
        mean = layers.mean(axis="columns")
        ax.plot(mean.index, mean, marker=_drawing.marker(mean), **plain)
    if quantity.endswith("_share"):
        ax.set(yscale="log", ylim=(SMALLEST_SHARE / 2, 2))
    else:
        ax.set(yticks=[0, 0.5, 1], ylim=(-0.03, 1.03))
