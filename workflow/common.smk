"""What the rules share: the checked configuration, and what each job's results depend on.

A job carries two params, functions of its wildcards alone: `settings`, its slice of the configuration
as one JSON text, and `code`, a fingerprint of the code it runs. Snakemake reruns it when either changes.
"""

import re
import shlex
import shutil
import sys
from functools import partial
from pathlib import Path

STYLE = f"{workflow.basedir}/paper/figures.mplstyle"
TEXT = f"{workflow.basedir}/paper/main.tex"
# What the page says beside each thing it shows.
CAPTIONS = sorted(map(str, Path(workflow.basedir, "workflow/report").glob("*.rst")))
# Results that the repository keeps, a folder per scale.
KEPT = Path(workflow.basedir, "docs/results")
# Without LaTeX the report is left ready to be compiled elsewhere.
REPORT_FORMATS = ["tex", "pdf"] if shutil.which("latexmk") else ["tex"]
# A job that is told to compute on the processor need not wait for a GPU.
GPUS_OF_A_JOB = 0 if config.get("device") == "cpu" else 1
SOURCE = str(Path(workflow.basedir, "src"))
sys.path.insert(0, SOURCE)

from bnopt import checks, fingerprints, plugins, provenance, study
from bnopt.runtime import StudyError

# Numbers in a list arrive as texts where they are said on the command line: --config seeds=[0,1].
if isinstance(config.get("seeds"), list):
    config["seeds"] = [int(seed) if str(seed).isdecimal() else seed for seed in config["seeds"]]

# Every job finds the package beside this workflow, installed or not. The commit is noted with each
# result, what --config says with each command that a message names, and a device may be wished for; in
# the environment, not among the params, they rerun nothing.
ENVIRONMENT = {
    "BNOPT_COMMIT": provenance.commit(),
    "BNOPT_CONFIG": shlex.join(f"{key}={config[key]}" for key in workflow.config_settings.config),
} | ({"BNOPT_DEVICE": str(config["device"])} if "device" in config else {})
exports = "".join(f"export {name}={shlex.quote(value)}; " for name, value in ENVIRONMENT.items())
exports += f'export PYTHONPATH={shlex.quote(SOURCE)}"${{PYTHONPATH:+:$PYTHONPATH}}"; '
# Braces would be filled in.
shell.prefix(exports.replace("{", "{{").replace("}", "}}"))

try:
    for file in workflow.configfiles:
        checks.check_keys(file)
    checks.check(config)
except StudyError as error:
    sys.exit(f"error: {error}")


# Of a scale with sizes for one task, what that task allows.
config |= study.restricted(config, config["scale"])


def one_of(names):
    """Return a regular expression that matches these names.

    Without names it is one that matches nothing (an empty one would match anything).
    """
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    scale=one_of([config["scale"]]),
    another=one_of(config["scales"].keys() - {config["scale"]}),
    condition=one_of(config["conditions"]),
    seed=r"\d+",
    probe=one_of(config["probes"]),
    spread=one_of(config["rate_spread"]),
    table=one_of(study.tables(config)),
    figure=one_of(config["figures"]),


def refused(wildcards):
    """End in a sentence: what a scale has of conditions, figures and claims is known of the chosen one."""
    sys.exit(
        f"error: results/{wildcards.another}/{wildcards.file}: expected a file of the scale "
        f"{config['scale']}, found one of {wildcards.another}; add --config scale={wildcards.another}"
    )


def images_settings(wildcards):
    return study.as_json(study.images_settings(config, wildcards.scale), ordered=False)


def images_content(wildcards):
    return study.images_content(config, wildcards.scale)


def train_settings(wildcards):
    settings = study.train_settings(config, wildcards.scale, wildcards.condition)
    return study.as_json(settings, ordered=False)


def probe_settings(wildcards):
    settings = study.probe_settings(config, wildcards.scale, wildcards.condition, wildcards.probe)
    return study.as_json(settings, ordered=False)


def figure_settings(wildcards):
    settings = study.figure_settings(config, wildcards.scale, wildcards.figure)
    return study.as_json(settings, ordered=True)


def train_code(wildcards):
    return fingerprints.code_hash("bnopt.train", *run_modules(wildcards))


def probe_code(wildcards):
    probe = f"bnopt.probes.{wildcards.probe}"
    return fingerprints.code_hash("bnopt.probe", probe, *run_modules(wildcards))


def task_data(wildcards):
    """Return the prepared data of a task; deep_linear draws its own from the seed."""
    task = config["conditions"][wildcards.condition]["task"]
    return {"vgg": "results/{scale}/data/images.npz", "deep_linear": []}[task]


def snapshots_folder(path):
    """Return the folder as an output that stays, or that goes once every probe has read it."""
    kept = config["scales"][config["scale"]]["keep_snapshots"]
    return directory(path) if kept else temp(directory(path))


def run_modules(wildcards):
    condition = config["conditions"][wildcards.condition]
    return f"bnopt.tasks.{condition['task']}", f"bnopt.norms.{condition['norm']}"


def run_pattern(scale, table):
    """Return the path of a table, `training` or a probe's, of any run."""
    if table == study.TRAINING:
        return f"results/{scale}/runs/{{condition}}/seed{{seed}}/training.csv"
    return f"results/{scale}/probes/{table}/{{condition}}/seed{{seed}}.csv"


def run_files(scale, table, conditions, seeds):
    """Return the files of one table for some runs."""
    return expand(run_pattern(scale, table), condition=conditions, seed=seeds)


def run_tables(wildcards, table=None):
    """Return the files of a table, by default the wildcard's, for every run that needs it."""
    table = table or wildcards.table
    return run_files(wildcards.scale, table, **study.runs_settings(config, wildcards.scale, table))


def run_tables_pattern(wildcards, table=None):
    return run_pattern(wildcards.scale, table or wildcards.table)


def spread_curves(wildcards):
    """Return the training tables of the runs, at one seed, that a spread is taken over."""
    conditions = config["rate_spread"][wildcards.spread]
    return run_files(wildcards.scale, study.TRAINING, conditions, [wildcards.seed])


def statistics_settings(wildcards):
    runs = study.runs_settings(config, wildcards.scale, wildcards.table)
    return study.as_json({"table": wildcards.table} | runs, ordered=True)


def statistics_code(wildcards):
    own = [wildcards.table] if wildcards.table in plugins.names("quantities") else []
    return fingerprints.code_hash("bnopt.statistics", *(f"bnopt.quantities.{name}" for name in own))


def theorems_settings(wildcards):
    return study.as_json(study.runs_settings(config, wildcards.scale, "theorems"), ordered=True)


def figure_statistics(wildcards):
    """Return the statistics a figure draws, in the order of its configuration."""
    return [
        (
            f"results/{wildcards.scale}/theorems/random_layers.csv"
            if table == study.RANDOM_LAYERS
            else f"results/{wildcards.scale}/statistics/{table}_over_seeds.csv"
        )
        for table in config["figures"][wildcards.figure]["tables"]
    ]


def figure_runs(wildcards):
    """Return the tables of the first seed's runs, in the same order."""
    seed = study.scale_of(config, wildcards.scale)["seeds"][0]
    return [
        file
        for table, conditions in config["figures"][wildcards.figure]["tables"].items()
        for file in run_files(wildcards.scale, table, conditions, [seed])
    ]


def figure_curves(wildcards):
    """Return the training curves of all runs that a figure shows."""
    shown = study.figure_settings(config, wildcards.scale, wildcards.figure)
    return run_files(wildcards.scale, study.TRAINING, shown["conditions"], shown["seeds"])


def figure_labels(wildcards):
    """Return what the HTML page calls a figure; the page sorts by it, so numbers have two digits."""
    number = wildcards.figure.removeprefix("fig")
    return {"figure": f"Figure {number:0>2}" if number.isdecimal() else wildcards.figure}


def figure_code(wildcards):
    return fingerprints.code_hash("bnopt.figure", f"bnopt.figures.{wildcards.figure}")


def gather_settings(wildcards):
    return study.as_json(study.gather_settings(config, wildcards.scale), ordered=True)


def report_settings(wildcards):
    return study.as_json(study.report_settings(config, wildcards.scale), ordered=True)


def activations_table(wildcards):
    """Return the activations per seed, if the study measures them."""
    measured = "activations" in study.tables(config)
    return f"results/{wildcards.scale}/statistics/activations_per_seed.csv" if measured else []


def kept_of_others(name):
    """Return an input function: the files of a name that are kept of other scales, for the report to show."""

    def files(wildcards):
        return sorted(str(file) for file in KEPT.glob(f"*/{name}") if file.parent.name != wildcards.scale)

    return files


def config_overrides(wildcards):
    """Return what a nested call of Snakemake must be told of this one's --config."""
    chosen = {"scale": wildcards.scale} | {k: config[k] for k in study.REPLACEABLE if k in config}
    return [f"{key}={value}" for key, value in chosen.items()]


def figure_files(wildcards):
    """Return all figures as PDF."""
    figures = [*config["figures"], "claims"]
    return expand("results/{scale}/figures/{figure}.pdf", scale=wildcards.scale, figure=figures)


def study_files(wildcards):
    """Return everything the study makes of a scale but the HTML page about it."""
    return [
        *figure_files(wildcards),
        f"results/{wildcards.scale}/statistics/claims.csv",
        f"results/{wildcards.scale}/statistics/theorems.csv",
        *(f"results/{wildcards.scale}/report/report.{format}" for format in REPORT_FORMATS),
    ]


def where_results_are():
    """Return what to tell a person at the end: what there is by then."""
    results = Path("results", config["scale"]).resolve()
    about = {
        "report.html": "figures and verdicts in a browser",
        f"report/report.{REPORT_FORMATS[-1]}": "the report",
        "statistics/claims.csv": "every claim with its verdict",
        "figures/": "the paper's figures as PDF and PNG",
    }
    lines = [f"Results of the scale {config['scale']}: {results}"]
    lines += [f"  {name:24}{text}" for name, text in about.items() if (results / name).exists()]
    if "pdf" not in REPORT_FORMATS and (results / "report" / "report.tex").exists():
        lines.append(
            "LaTeX is not installed, so the report was not compiled: install latexmk with TeX Live and "
            f"call snakemake again, or run latexmk -pdf report.tex in {results / 'report'} elsewhere."
        )
    return "\n".join(lines)
