"""Stage 6: draw one figure from the statistics and, if it shows single runs, the first seed's tables."""

import contextlib
import io
import os
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd

from bnopt import plugins, runtime
from bnopt.files import artefacts
from bnopt.study import names

# Characters that fit in an inch of the note on diverged runs.
CHARACTERS_PER_INCH = 13
# The text in a panel without a finite value.
NOTHING = "nothing finite"
# The marker of divergence in curves; `figures/_drawing.py` draws it.
DIVERGED = "x"


def note_divergence(figure, curves, conditions):
    """Write the diverged runs and their first step above a figure; mark panels without a finite value.

    curves: the training tables of all runs that the figure shows. If no run diverged, nothing is written.
    conditions: name -> settings
    """
    groups = curves.groupby("condition", sort=False)
    fates = [fate for name, runs in groups if (fate := _fate(names.run(conditions[name]), runs))]
    if not fates:
        return
    width = int(CHARACTERS_PER_INCH * figure.get_figwidth())
    crossed = any(line.get_marker() == DIVERGED for ax in figure.axes for line in ax.lines)
    note = ("× " if crossed else "") + "Diverged: " + "; ".join(fates)
    note = textwrap.fill(note, width, break_on_hyphens=False)
    # A dollar sign in a name is a dollar sign.
    figure.suptitle(note, fontsize="medium", parse_math=False)
    for ax in figure.axes:
        if ax.get_label() != "<colorbar>" and not _shows_something(ax):
            ax.text(0.5, 0.5, NOTHING, ha="center", va="center", transform=ax.transAxes)


def _fate(condition, runs):
    """Return the note on one condition; an empty text if none of its runs diverged."""
    lost = runs[runs["diverged"] == 1]
    if lost.empty:
        return ""
    seeds, of = sorted(lost["seed"].unique()), runs["seed"].nunique()
    of_seeds = "" if len(seeds) == of else f", seed {', '.join(map(str, seeds))}"
    return f"{condition} ({len(seeds)} of {of} runs{of_seeds}, from step {lost['step'].min()})"


def _shows_something(ax):
    """Return whether a line has a finite point; a line across the whole panel (`axhline`) does not count."""
    lines = [line.get_xydata() for line in ax.lines if line.get_transform() is ax.transData]
    return any(np.isfinite(points).all(axis=1).any() for points in lines)


def use_style(file):
    """Draw with matplotlib's own defaults and this style sheet; no file or variable of the user counts."""
    os.environ |= {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.path.abspath(file)}
    # Matplotlib reads the matplotlibrc of the current folder before any other, and fails if it is damaged.
    with contextlib.chdir(Path(__file__).parent):
        import matplotlib
    # This includes the defaults, so nothing stays of a matplotlib that was imported earlier.
    matplotlib.rcParams.update(matplotlib.rc_params_from_file(file))


def save(pages, pdf, png):
    """Write a figure in both formats, which have the same layout: it is solved once.

    pages: several have the same width; in the image they stand below each other.
    """
    from matplotlib.backends.backend_pdf import PdfPages

    # Without a date, equal numbers give equal bytes.
    with artefacts.atomic(pdf) as partial, PdfPages(partial, metadata={"CreationDate": None}) as file:
        for page in pages:
            page.savefig(file, format="pdf")
            page.set_layout_engine("none")
    with artefacts.atomic(png) as partial:
        if len(pages) == 1:
            pages[0].savefig(partial)
        else:
            _save_below_each_other(pages, partial)


def _save_below_each_other(pages, png):
    """Write several pages of the same width as one image."""
    from matplotlib import image

    parts = []
    for page in pages:
        file = io.BytesIO()
        page.savefig(file, format="png")
        file.seek(0)
        parts.append(image.imread(file))
    image.imsave(png, np.concatenate(parts), format="png")


def main(argv=None):
    """Draw a figure from the command line.

    The settings are:
    tables    name -> conditions; --over-seeds has one file per table, --first-seed one per table and
              condition, both in this order
    seeds     the seeds of all runs
    and the keyword arguments of the figure's `draw`.
    """
    parser = runtime.parser(__spec__.name, __doc__)
    parser.add_argument("--figure", required=True)
    parser.add_argument("--style", required=True, help="matplotlib style sheet")
    parser.add_argument("--over-seeds", nargs="+", required=True, help="statistics (.csv)")
    parser.add_argument("--first-seed", nargs="*", default=[], help="tables of runs (.csv)")
    parser.add_argument("--curves", help="training tables of the runs shown; see artefacts.read_runs")
    parser.add_argument("--pdf", required=True, help="file to write")
    parser.add_argument("--png", required=True, help="file to write")
    options = parser.parse_args(argv)
    settings = dict(options.settings)
    tables, seeds = settings.pop("tables"), settings.pop("seeds", [])
    over_seeds = {
        name: artefacts.read_table(file) for name, file in zip(tables, options.over_seeds, strict=True)
    }
    files = iter(options.first_seed)
    first_seed = {
        name: pd.concat([artefacts.read_table(next(files)) for _ in conditions])
        for name, conditions in tables.items()
        if conditions
    }
    use_style(options.style)
    drawn = plugins.load("figures", options.figure).draw(over_seeds, first_seed, **settings)
    pages = drawn if isinstance(drawn, list) else [drawn]
    if options.curves:
        curves = artefacts.read_runs(options.curves, conditions=settings["conditions"], seeds=seeds)
        note_divergence(drawn, pd.concat(curves), settings["conditions"])
    save(pages, options.pdf, options.png)
    artefacts.write_record(options.pdf, Path(options.pdf).read_bytes(), job=runtime.job_of(options))


if __name__ == "__main__":
    runtime.run(main)
