"""Stage 6: draw one figure from the statistics, and from the first seed's tables where it shows a run."""

import matplotlib.style
import pandas as pd

from bnopt import drawing, plugins, runtime
from bnopt.files import artefacts


def main(argv=None):
    """Draw a figure from the command line.

    Its settings hold `tables`, name -> conditions; files are given in that order, those of the first
    seed one per table and condition; `seeds` are those of all runs. The rest goes to the figure's own
    `draw`.
    """
    parser = runtime.parser(__spec__.name, __doc__)
    parser.add_argument("--figure", required=True)
    parser.add_argument("--style", required=True, help="matplotlib style sheet")
    parser.add_argument("--over-seeds", nargs="+", required=True, help="statistics (.csv)")
    parser.add_argument("--first-seed", nargs="*", default=[], help="tables of runs (.csv)")
    parser.add_argument("--curves", help="training tables of the runs shown, see artefacts.read_runs")
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
    matplotlib.style.use(options.style)
    figure = plugins.load("figures", options.figure).draw(over_seeds, first_seed, **settings)
    if options.curves:
        curves = artefacts.read_runs(options.curves, conditions=settings["conditions"], seeds=seeds)
        drawing.say_what_diverged(figure, pd.concat(curves))
    # Without dates two drawings of the same numbers are the same bytes.
    for file, metadata in ((options.pdf, {"CreationDate": None}), (options.png, {})):
        with artefacts.atomic(file) as partial:
            figure.savefig(partial, metadata=metadata)


if __name__ == "__main__":
    runtime.run(main)
