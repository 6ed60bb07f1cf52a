"""What each job is given: settings, a fingerprint of its code, input files, a Python and variables.

The rules and `python -m bnopt.provenance` use the same object. Snakemake runs a job again when the
value of `*_settings` or `*_code` changes.
"""

import functools
import itertools
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

from bnopt import plugins
from bnopt.files import fingerprints
from bnopt.study import image_sources, registration, schema, study
from bnopt.study.study import RANDOM_LAYERS, RATE_SPREAD, TAU, TRAINING, as_json

# Variables of Python that say where its packages lie and how it encodes text. Snakemake itself runs with
# them, so jobs do too. All other variables of Python are removed: they reach jobs by accident, and turn
# warnings into errors, strip code, or wait for input at the end.
OF_PYTHON = (
    *("PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONPLATLIBDIR", "PYTHONPYCACHEPREFIX"),
    *("PYTHONUTF8", "PYTHONCOERCECLOCALE", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"),
)
# A conda environment has its own Python and packages.
NOT_OF_CONDA = ("PYTHONHOME", "PYTHONUSERBASE", "PYTHONPLATLIBDIR")
# These lower the precision of matrix products without a trace in the settings.
PRECISION = (
    *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
)
# Copies that file managers and synchronisation leave, such as "digits (1)", have other names.
STORED_SCALE, STORED_FILE = re.compile(r"[\w.-]+"), re.compile(r"[a-z_]+\d*\.[a-z]+")
# Without these, stored results of a scale are not shown.
WHOLE = ("claims.csv", "images.json")


class Jobs:
    """The jobs of a study that is written out (`study.written_out`). Methods take the wildcards of a job."""

    def __init__(self, of_study):
        self.study = of_study

    # -- settings: one JSON text per job ----------------------------------------------------------

    def data_settings(self, _):
        settings = image_sources.settings(self.study["images"], self.study["sizes"])
        return as_json(settings, ordered=False)

    def data_folder(self, _, output):
        """Return the path of the folder of images, or an empty text for a named data set.

        Snakemake does not track a param whose function takes `output`. So one folder whose path is
        written in two ways is prepared once.
        """
        del output
        return image_sources.path(self.study["images"])

    def train_settings(self, wildcards):
        return as_json(study.train_settings(self.study, wildcards.condition), ordered=False)

    def probe_settings(self, wildcards):
        settings = study.probe_settings(self.study, wildcards.condition, wildcards.probe)
        return as_json(settings, ordered=False)

    def rate_spread_settings(self, _):
        return as_json({}, ordered=False)

    def tau_settings(self, _):
        return as_json(self.study[TAU], ordered=True)

    def random_layers_settings(self, _):
        return as_json(self.study["random_layers"], ordered=False)

    def statistics_settings(self, wildcards):
        settings = {"table": wildcards.table} | study.runs_settings(self.study, wildcards.table)
        return as_json(settings, ordered=True)

    def theorem_table_settings(self, _):
        return as_json(study.runs_settings(self.study, "theorems"), ordered=True)

    def claims_settings(self, _):
        return as_json(study.claims_settings(self.study, "claims"), ordered=True)

    def alternatives_settings(self, _):
        return as_json(study.claims_settings(self.study, "alternatives"), ordered=True)

    def specifications_settings(self, _):
        return as_json(study.specifications_settings(self.study), ordered=True)

    def figure_settings(self, wildcards):
        return as_json(study.figure_settings(self.study, wildcards.figure), ordered=True)

    def forest_plot_settings(self, _):
        settings = {"tables": {"claims": []}, "units": study.units(self.study)}
        return as_json(settings, ordered=True)

    def specification_settings(self, wildcards):
        unit = study.units(self.study)[wildcards.claim]
        settings = {"tables": {"specifications": []}, "claim": wildcards.claim, "unit": unit}
        return as_json(settings, ordered=True)

    def gather_settings(self, _):
        return as_json(study.gather_settings(self.study), ordered=True)

    def report_settings(self, _):
        return as_json(study.report_settings(self.study), ordered=True)

    def registration(self, _):
        """Return part -> hash of what decides its verdicts, the registered one, and the items that differ.

        No setting: it follows from the settings and the code of several jobs.
        """
        return as_json(registration.compared(self.study), ordered=True)

    def registration_hashes(self, _):
        """Return family -> hash of its part: verdicts do not depend on what is registered."""
        return as_json(registration.of_families(self.study), ordered=True)

    def page_settings(self, _):
        return as_json(study.page_settings(self.study), ordered=True)

    def compile_settings(self, _):
        return as_json({}, ordered=False)

    # -- code: a fingerprint of the stage and of the plug-ins that the job loads -------------------

    def data_code(self, _):
        source = self.study["images"]
        own = [f"bnopt.datasets.{source}"] if image_sources.is_named(source) else []
        return fingerprints.code_hash("bnopt.data", *own)

    def train_code(self, wildcards):
        return fingerprints.code_hash("bnopt.train", *self._run_modules(wildcards))

    def probe_code(self, wildcards):
        probe = f"bnopt.probes.{wildcards.probe}"
        return fingerprints.code_hash("bnopt.probe", probe, *self._run_modules(wildcards))

    def statistics_code(self, wildcards):
        own = [wildcards.table] if wildcards.table in plugins.names("quantities") else []
        return fingerprints.code_hash("bnopt.statistics", *(f"bnopt.quantities.{name}" for name in own))

    def figure_code(self, wildcards):
        return fingerprints.code_hash("bnopt.figure", f"bnopt.figures.{wildcards.figure}")

    def forest_plot_code(self, _):
        return fingerprints.code_hash("bnopt.figure", "bnopt.figures.claims")

    def specification_code(self, _):
        return fingerprints.code_hash("bnopt.figure", "bnopt.figures.specification")

    def specifications_code(self, _):
        of_tables = study.specifications_settings(self.study)["grids"]
        return fingerprints.code_hash("bnopt.specifications", *(f"bnopt.quantities.{t}" for t in of_tables))

    @staticmethod
    def stage_code(stage):
        """Return the fingerprint of a stage that loads no plug-in."""
        return fingerprints.code_hash(f"bnopt.{stage}")

    def _run_modules(self, wildcards):
        condition = self.study["conditions"][wildcards.condition]
        return f"bnopt.tasks.{condition['task']}", f"bnopt.norms.{condition['norm']}"

    # -- files that have a record -----------------------------------------------------------------

    def recorded(self):
        """Return path -> (settings, code) of every file with a record, as the jobs are now.

        A file whose record says something else was made with other settings or code.
        """
        folder = f"results/{self.study['scale']}"
        return {f"{folder}/{path}": made_by for path, made_by in self._recorded()}

    def _recorded(self):
        yield "data/images.json", (self.data_settings(None), self.data_code(None))
        for condition in self.study["conditions"]:
            job = SimpleNamespace(condition=condition)
            made_by = self.train_settings(job), self.train_code(job)
            yield from ((f"runs/{condition}/seed{s}/training.csv", made_by) for s in self.study["seeds"])
        for table, condition in self._probed():
            made_by = self._probe(table, condition)
            yield from ((f"probes/{table}/{condition}/seed{s}.csv", made_by) for s in self.study["seeds"])
        yield "theorems/random_layers.csv", self._plain("random_layers")
        yield "statistics/theorems.csv", self._plain("theorem_table")
        if TAU in self.study["tables"]:
            yield "statistics/tau_per_seed.csv", self._plain(TAU)
        for table in self.summarised():
            job = SimpleNamespace(table=table)
            made_by = self.statistics_settings(job), self.statistics_code(job)
            yield from ((f"statistics/{table}_{of}.csv", made_by) for of in ("per_seed", "over_seeds"))
        for section in ("claims", "alternatives"):
            made_by = self._plain(section, stage="claims")
            files = (section, f"{section}_sensitivity", f"{section}_per_seed")
            yield from ((f"statistics/{file}.csv", made_by) for file in files)
        made_by = self.specifications_settings(None), self.specifications_code(None)
        yield "statistics/specifications.csv", made_by
        yield from self._recorded_figures()
        yield "provenance.json", self._plain("gather")
        yield "report/report.tex", self._plain("report")
        yield "claims.html", self._plain("page")

    def summarised(self):
        """Return the tables of runs, which are summarised over seeds; `tau` is made of several of them."""
        return [table for table in self.study["tables"] if table != TAU]

    def _probed(self):
        """Yield every table that is not training's, with each condition for which it is needed."""
        for table in self.summarised():
            conditions = self.study["tables"][table]
            if table != TRAINING:
                yield from ((table, condition) for condition in conditions)

    def _probe(self, table, condition):
        job = SimpleNamespace(probe=table, condition=condition)
        if table == RATE_SPREAD:
            return self._plain(RATE_SPREAD)
        return self.probe_settings(job), self.probe_code(job)

    def _recorded_figures(self):
        for figure in self.study["figures"]:
            job = SimpleNamespace(figure=figure)
            yield f"figures/{figure}.pdf", (self.figure_settings(job), self.figure_code(job))
        yield "figures/claims.pdf", (self.forest_plot_settings(None), self.forest_plot_code(None))
        for claim in self.study["headline"]:
            job = SimpleNamespace(claim=claim)
            made_by = self.specification_settings(job), self.specification_code(job)
            yield f"figures/specification_{claim}.pdf", made_by

    def _plain(self, name, stage=None):
        """Return settings and code of a job without wildcards whose stage loads no plug-in."""
        return getattr(self, f"{name}_settings")(None), self.stage_code(stage or name)

    # -- files that a job reads -------------------------------------------------------------------

    def task_data(self, wildcards):
        """Return the prepared images if the task of the condition needs images."""
        task = self.study["conditions"][wildcards.condition]["task"]
        needed = image_sources.needs({task: self.study["sizes"][task]})
        return f"results/{wildcards.scale}/data/images.npz" if needed else []

    def table_pattern(self, wildcards, table=None):
        """Return the path of a table, by default the wildcard's, with {condition} and {seed} in it."""
        table = table or wildcards.table
        if table == TRAINING:
            return f"results/{wildcards.scale}/runs/{{condition}}/seed{{seed}}/training.csv"
        return f"results/{wildcards.scale}/probes/{table}/{{condition}}/seed{{seed}}.csv"

    def tables(self, wildcards, table=None):
        """Return the files of a table, by default the wildcard's, for every run for which it is needed."""
        table = table or wildcards.table
        return self._files(wildcards, table, **study.runs_settings(self.study, table))

    def statistics(self, wildcards):
        """Return the files with the numbers per seed of all tables."""
        return self._per_seed(wildcards, self.study["tables"])

    def specification_statistics(self, wildcards):
        """Return the files with the numbers per seed of the tables that the headline claims use."""
        return self._per_seed(wildcards, study.specifications_settings(self.study)["tables"])

    def specification_runs(self, wildcards):
        """Return the tables of runs, with a row per step size, that the headline claims use."""
        settings = study.specifications_settings(self.study)
        files = [self._files(wildcards, t, of, settings["seeds"]) for t, of in settings["grids"].items()]
        return list(itertools.chain(*files))

    def specification_patterns(self, wildcards):
        """Return the paths of these tables, with {condition} and {seed} in them."""
        return [self.table_pattern(wildcards, t) for t in study.specifications_settings(self.study)["grids"]]

    def ranked(self, wildcards):
        """Return the numbers per seed of the tables of which `tau` is made, training first."""
        folder = f"results/{wildcards.scale}/statistics"
        tables = [TRAINING, *self.study[TAU].get("measures", [])]
        return [f"{folder}/{table}_per_seed.csv" for table in tables]

    def spread_curves(self, wildcards):
        """Return the training tables of one seed over which a spread is computed."""
        return self._files(wildcards, TRAINING, self.study[RATE_SPREAD][wildcards.spread], [wildcards.seed])

    def figure_statistics(self, wildcards):
        """Return the statistics that a figure draws, in the order of its tables."""
        folder = f"results/{wildcards.scale}"
        return [
            f"{folder}/theorems/random_layers.csv"
            if table == RANDOM_LAYERS
            else f"{folder}/statistics/{table}_over_seeds.csv"
            for table in self.study["figures"][wildcards.figure]["tables"]
        ]

    def figure_runs(self, wildcards):
        """Return the first seed's tables that a figure shows, in the same order."""
        first = self.study["seeds"][:1]
        tables = self.study["figures"][wildcards.figure]["tables"]
        files = [self._files(wildcards, table, names, first) for table, names in tables.items()]
        return list(itertools.chain(*files))

    def figure_curves(self, wildcards):
        """Return the training tables of all runs that a figure shows."""
        shown = study.figure_settings(self.study, wildcards.figure)
        return self._files(wildcards, TRAINING, shown["conditions"], shown["seeds"])

    def figures(self, wildcards):
        """Return all figures as PDF."""
        return [f"results/{wildcards.scale}/figures/{name}.pdf" for name in self.figure_names]

    @property
    def figure_names(self):
        """Return the names of all figures: the paper's, the forest plot and the specification curves."""
        curves = [f"specification_{claim}" for claim in self.study["headline"]]
        return [*self.study["figures"], "claims", *curves]

    def curve_labels(self, wildcards):
        """Return the label of a specification curve on the HTML page."""
        return {"what": f"What changes it: {self.study['claims'][wildcards.claim]['label']}"}

    def figure_images(self, wildcards):
        """Return the paper's figures and the specification curves as PNG."""
        shown = [name for name in self.figure_names if name != "claims"]
        return [f"results/{wildcards.scale}/figures/{name}.png" for name in shown]

    def measured(self, wildcards, table):
        """Return the file with the numbers per seed of a table if the study measures it."""
        return self._per_seed(wildcards, [table]) if table in self.study["tables"] else []

    @staticmethod
    def _per_seed(wildcards, tables):
        folder = f"results/{wildcards.scale}/statistics"
        return [f"{folder}/{table}_per_seed.csv" for table in tables]

    def _files(self, wildcards, table, conditions, seeds):
        pattern = self.table_pattern(wildcards, table)
        return [pattern.format(condition=c, seed=s) for c, s in itertools.product(conditions, seeds)]


def of_other_parts(config):
    """Return part -> regular expression of the files below results/<scale>/ that the study lacks without it.

    config: a whole, valid configuration. The parts are those that it does not choose. A table of a probe
    that has settings can be made for any condition of the chosen parts, so it is not among the files.
    """
    here, found = Jobs(study.written_out(config)), {}
    for part in schema.parts():
        if part not in here.study["parts"]:
            there = Jobs(study.written_out(config | {"parts": [*here.study["parts"], part]}))
            conditions = there.study["conditions"].keys() - here.study["conditions"].keys()
            tables = there.study["tables"].keys() - here.study["tables"].keys()
            figures = set(there.figure_names) - set(here.figure_names)
            found[part] = "|".join(
                [
                    rf"(?:runs|probes/\w+)/(?:{one_of(conditions)})/.+",
                    rf"statistics/(?:{one_of(tables)})_(?:per_seed|over_seeds)\.csv",
                    rf"figures/(?:{one_of(figures)})\.(?:pdf|png)",
                ]
            )
    return found


def one_of(names):
    """Return a regular expression that matches exactly these names; without names it matches nothing."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


def figure_labels(wildcards):
    """Return the label of a figure on the HTML page. The page sorts by it, so numbers have two digits."""
    number = wildcards.figure.removeprefix("fig")
    return {"figure": f"Figure {number:0>2}" if number.isdecimal() else wildcards.figure}


def stored_of_others(folder, name):
    """Return an input function that lists the files of this name in the stored results of other scales.

    Copies that a file manager or a synchronisation leaves are left out, and a line says so.
    """

    def files(wildcards):
        found = sorted(Path(folder).glob(f"*/{name}"))
        found = [file for file in found if not _unlike_stored(file.parent) and not _unlike_stored(file)]
        return [str(file) for file in found if file.parent.name != wildcards.scale]

    return files


@functools.cache
def _unlike_stored(path):
    """Return why a folder or file is not one of stored results, or an empty text; print it once."""
    names = STORED_SCALE if path.is_dir() else STORED_FILE
    missing = [name for name in WHOLE if path.is_dir() and not (path / name).is_file()]
    why = f"{missing[0]} is missing" if missing else ""
    why = why if names.fullmatch(path.name) else "named as no stored results are"
    if why:
        print(f"{path}: ignored, {why}", file=sys.stderr)
    return why


def shell_prefix(given, own, *, conda):
    """Return shell commands that stop at the first error, and give a job its Python and its variables.

    given: the variables of the caller; own: name -> value of those that the job needs
    conda: Snakemake activates a conda environment, whose `python` then comes first in PATH

    The variable `python` is the Python that runs snakemake, whatever PATH names. No file of the current
    folder can be imported (PYTHONSAFEPATH), and nothing in the caller's PYTHONPATH hides an installed
    package, because it is not passed on. A nested Snakemake does not read the caller's profile.
    """
    own = {"PYTHONSAFEPATH": "1"} | ({"PYTHONNOUSERSITE": "1"} if conda else {}) | own
    removed = sorted(name for name in given if name not in own and _is_removed(name, conda))
    lines = ["set -eu", f"python={'python' if conda else shlex.quote(sys.executable)}"]
    lines += [f"unset {' '.join(removed)}"] if removed else []
    lines += [f"export {name}={shlex.quote(value)}" for name, value in own.items()]
    return "".join(f"{line}; " for line in lines)


def _is_removed(name, conda):
    """Return whether a variable of the caller must not reach jobs."""
    if not re.fullmatch(r"\w+", name):
        return False
    if name.startswith("PYTHON"):
        return name not in OF_PYTHON or (conda and name in NOT_OF_CONDA)
    return name.startswith("SNAKEMAKE_") or name in PRECISION
