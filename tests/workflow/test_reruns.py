"""A change reruns exactly the jobs that it can affect. Tests follow the table in docs/reruns.md, row by row.

Most tests are dry runs of a finished study. `Account` derives the expected jobs independently.
"""

import os
import re
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from bnopt.study import study as configuration

ROOT = Path(__file__).parents[2]

JUDGED = {"judge", "judge_alternatives", "draw_claims"}
REPORTED = {"gather", "bundle", "compile", "page", "web", "all"}


def names(jobs):
    """Return the jobs as texts such as "train condition=vgg_none seed=0"."""
    found = set()
    for rule, wildcards in jobs:
        shown = [f"{key}={wildcards[key]}" for key in sorted(wildcards) if key != "scale"]
        found.add(" ".join([rule, *shown]))
    return found


class Account:
    """The jobs of a study and their dependencies, derived from its configuration."""

    def __init__(self, config, *, latex):
        self.config, self.latex = config, latex
        self.study = configuration.written_out(config)
        self.tables = self.study["tables"]
        self.seeds = config["scales"]["tiny"]["seeds"]

    def training(self, conditions, seeds=None):
        """Return the runs of some conditions and all jobs that depend on them."""
        runs = [(c, s) for c in conditions for s in seeds or self.seeds]
        jobs = {f"train condition={c} seed={s}" for c, s in runs}
        jobs |= {
            f"spread_rates seed={s} spread={spread}"
            for spread, members in self.config["rate_spread"].items()
            for c, s in runs
            if c in members
        }
        spreads = {job.split("spread=")[1] for job in jobs if job.startswith("spread_rates")}
        changed = {table for table, needs in self.tables.items() if set(needs) & {*conditions, *spreads}}
        for probe in self.config["probes"]:
            jobs |= self._probes(probe, conditions, seeds)
        return jobs | self.summaries(changed)

    def probing(self, probe, conditions=None):
        """Return the measurements of one probe and all jobs that depend on them."""
        return self._probes(probe, conditions or self.tables[probe]) | self.summaries({probe})

    def _probes(self, probe, conditions, seeds=None):
        measured = [c for c in self.tables.get(probe, []) if c in conditions]
        return {f"probe condition={c} probe={probe} seed={s}" for c in measured for s in seeds or self.seeds}

    def summaries(self, tables):
        """Return the summaries of some tables and all jobs that depend on them."""
        jobs = {f"summarise table={table}" for table in tables}
        if "theorems" in tables:
            jobs.add("summarise_theorems")
        figures = self.config["figures"].items()
        drawn = [name for name, entry in figures if set(entry["tables"]) & set(tables)]
        quantities = [self.study["claims"][name]["quantity"] for name in self.study["headline"]]
        varied = {"training", *(self.study["quantities"][name]["table"] for name in quantities)}
        return (
            jobs
            | self.figures(drawn)
            | self.judging()
            | (self.specifying() if varied & set(tables) else set())
        )

    def judging(self):
        return JUDGED | self.reports() | {"gather"}

    def specifying(self):
        """Return the judging of the headline claims under other choices, and all jobs that depend on it."""
        return {"specify", "gather"} | self.curves()

    def curves(self):
        """Return the specification curves and what shows them: not the page of claims."""
        curves = {f"draw_specification claim={name}" for name in self.study["headline"]}
        return curves | self.latex_report()

    def figures(self, figures):
        return {f"draw figure={figure}" for figure in figures} | self.reports()

    def reports(self):
        return {"page"} | self.latex_report()

    def latex_report(self):
        """Return the jobs that follow from the text of the report and from figures of other scales."""
        return {"bundle", "web", "all"} | ({"compile"} if self.latex else set())


@pytest.fixture(scope="module")
def account(finished):
    """The expected jobs of the finished study."""
    return Account(finished.config, latex=(finished.results / "report" / "report.pdf").exists())


def with_norm(config, *norms):
    return [name for name, entry in config["conditions"].items() if entry["norm"] in norms]


def of_task(config, task):
    return [name for name, entry in config["conditions"].items() if entry["task"] == task]


def showing(config, *conditions):
    """Return the figures that show at least one of these conditions."""
    figures = config["figures"].items()
    return [f for f, e in figures if {c for cs in e["tables"].values() for c in cs} & set(conditions)]


def test_everything_there_is_to_run(finished, account):
    """`Account` and Snakemake list the same jobs for the whole study."""
    every = account.training(account.config["conditions"]) | {
        "prepare",
        "random_layers",
        "summarise_theorems",
    }
    assert names(finished.planned("--forceall")) == every | account.figures(account.config["figures"])
    assert finished.planned() == []


# -- the configuration: row of the table -> key, value, expected jobs -----------------------------

CONFIGURATION = {
    "a claim's margin": (
        ("claims", "fig1", "bn_allows_larger_lr", "margin", 0.01),
        lambda a: {"judge", "draw_claims", "gather"} | a.reports(),
    ),
    "a claim's label": (
        ("claims", "fig1", "bn_allows_larger_lr", "label", "Another label"),
        lambda a: {"judge", "draw_claims", "gather"} | a.reports(),
    ),
    "the same of a claim with a specification curve": (
        ("claims", "fig1", "bn_trains_faster", "margin", 0.01),
        lambda a: {"judge", "draw_claims"} | a.specifying() | a.reports(),
    ),
    "whether a claim has a specification curve": (
        ("claims", "fig1", "bn_trains_faster", "headline", ...),
        lambda a: {"page"} | a.specifying() - {"draw_specification claim=bn_trains_faster"},
    ),
    "an alternative's margin": (
        ("alternatives", "noise_variance_beats_plain", "margin", 0.01),
        lambda a: {"judge_alternatives", "gather"} | a.reports(),
    ),
    "a caption": (("figures", "fig4", "caption", "Another."), lambda a: a.reports()),
    "which conditions a figure shows": (
        ("figures", "fig4", "tables", {"along_gradient": ["vgg_batch", "vgg_none"]}),
        lambda a: a.figures(["fig4"]),
    ),
    "one more seed": (
        ("scales", "tiny", "seeds", [0, 1]),
        lambda a: a.training(a.config["conditions"], seeds=[1]) | {"summarise_theorems"},
    ),
    "one condition's learning rate": (
        ("conditions", "vgg_noisy_batch", "lr", 0.2),
        lambda a: a.training(["vgg_noisy_batch"]) | a.figures(showing(a.config, "vgg_noisy_batch")),
    ),
    "a probe's settings": (
        ("probes", "activations", "vgg", "bins", 41),
        lambda a: a.probing("activations", [c for c in a.tables["activations"] if c.startswith("vgg")]),
    ),
    "another scale": (("scales", "other", None), lambda a: set()),
    "`keep_snapshots`": (("scales", "tiny", "keep_snapshots", False), lambda a: set()),
}


@pytest.mark.parametrize("row", CONFIGURATION)
def test_a_change_of_the_configuration_reruns_exactly(copy_of_finished, account, row):
    change, expected = CONFIGURATION[row]
    if row == "another scale":
        change = ("scales", "other", copy_of_finished.config["scales"]["tiny"])
    jobs = names(copy_of_finished.change(*change).planned())
    assert jobs == expected(account)


# -- the code and other files: row of the table -> file, change, expected jobs --------------------


def a_statement(text):
    return f"{text}\nCHANGED = 1\n"


FILES = {
    "a figure's code": ("src/bnopt/figures/fig4.py", a_statement, lambda a: a.figures(["fig4"])),
    "the style of figures": (
        "paper/figures.mplstyle",
        lambda text: f"{text}\nlines.linewidth: 3\n",
        lambda a: a.figures(a.config["figures"]) | {"draw_claims"} | a.curves(),
    ),
    "the text of the report": (
        "paper/main.tex",
        lambda text: f"{text}\n% more\n",
        lambda a: a.latex_report(),
    ),
    "one norm's code": (
        "src/bnopt/norms/l1.py",
        a_statement,
        lambda a: a.training(with_norm(a.config, "l1")),
    ),
    "a norm that others build on": (
        "src/bnopt/norms/batch.py",
        a_statement,
        lambda a: a.training(with_norm(a.config, "batch", "noisy_batch", "noisy_batch_variance")),
    ),
    "one probe's code": (
        "src/bnopt/probes/activations.py",
        a_statement,
        lambda a: a.probing("activations"),
    ),
    "the code of the data set in use": (
        "src/bnopt/datasets/digits.py",
        a_statement,
        lambda a: {"prepare"} | a.training(of_task(a.config, "vgg")),
    ),
    "the training loop": (
        "src/bnopt/train.py",
        a_statement,
        lambda a: a.training(a.config["conditions"]),
    ),
    "how verdicts are made": (
        "src/bnopt/claims.py",
        a_statement,
        lambda a: a.judging(),
    ),
    "how verdicts under other choices are made": (
        "src/bnopt/specifications.py",
        a_statement,
        lambda a: {"page"} | a.specifying(),
    ),
    "how effects are computed": (
        "src/bnopt/effects.py",
        a_statement,
        lambda a: a.judging() | a.specifying(),
    ),
    "how a table is summarised": (
        "src/bnopt/quantities/covariate_shift.py",
        a_statement,
        lambda a: a.summaries({"covariate_shift"}) - {"summarise_theorems"},
    ),
    "code that all stages share (`artefacts`, `records`, `runtime`, `plugins`, `fingerprints`)": (
        "src/bnopt/runtime.py",
        a_statement,
        lambda a: {"prepare", "random_layers"} | a.training(a.config["conditions"]),
    ),
    "`docs/results/` of another scale": (
        "docs/results/cifar10-small/claims.csv",
        lambda text: text.replace("inconclusive", "not run", 1),
        lambda a: a.reports(),
    ),
    "`docs/registration.md`": (
        "docs/registration.md",
        lambda text: text.replace("| seeds ", "| other ", 1),
        lambda a: a.latex_report(),
    ),
    "the captions of the HTML page": (
        "workflow/report/claims.rst",
        lambda text: f"{text}\nMore.\n",
        lambda a: {"web", "all"},
    ),
    "template, style or script of the page of claims": (
        "workflow/page/claims.css",
        lambda text: f"{text}\np {{ margin: 0; }}\n",
        lambda a: {"page", "web", "all"},
    ),
    "threads": (
        "workflow/train.smk",
        lambda text: text.replace("threads: 1", "threads: 2"),
        lambda a: set(),
    ),
    "a profile": (
        "profiles/default/config.yaml",
        lambda text: text.replace("cores: all", "cores: 1"),
        lambda a: set(),
    ),
    "how the workflow splits the configuration into jobs": (
        "src/bnopt/study/study.py",
        a_statement,
        lambda a: set(),
    ),
}


@pytest.mark.parametrize("row", FILES)
def test_a_change_of_a_file_reruns_exactly(finished, checkout, edited, account, row):
    file, change, expected = FILES[row]
    # All other rows are planned without a profile, so a change of the profile would have no effect there.
    profile = ["--workflow-profile", checkout / "profiles/default"] if row == "a profile" else []
    with edited(checkout / file, change):
        assert names(finished.planned(*profile)) == expected(account)


@pytest.mark.parametrize("name", ["images.json", "fig1.png"])
def test_all_that_the_report_shows_of_another_scale_is_noticed(finished, checkout, account, name):
    file = checkout / "docs/results/cifar10-small" / name
    before, times = file.read_bytes(), file.stat()
    file.write_bytes(before + b"\n")
    try:
        shown_by = account.reports() if name == "images.json" else account.latex_report()
        assert names(finished.planned()) == shown_by
    finally:
        file.write_bytes(before)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_stored_scale_is_not_shown_beside_itself(finished, checkout):
    own = checkout / "docs/results/tiny"
    shutil.copytree(checkout / "docs/results/cifar10-small", own)
    try:
        assert finished.planned() == []
    finally:
        shutil.rmtree(own)


def test_comments_docstrings_and_layout_anywhere_rerun_nothing(finished, checkout, edited):
    """The test changes every file of the code and of the workflow."""
    code = sorted((checkout / "src").rglob("*.py"))
    workflow = [checkout / "Snakefile", *sorted((checkout / "workflow").glob("*.smk"))]
    assert len(code) > 40
    with ExitStack() as stack:
        for file in code:
            stack.enter_context(edited(file, reworded))
        for file in workflow:
            stack.enter_context(edited(file, lambda text: f"# A comment.\n{text}\n# Another.\n"))
        assert finished.planned() == []


def reworded(text):
    """Return code with its first docstring reworded, and with more comments and blank lines."""
    text = re.sub(r'^(\s*)"""', r'\1"""So: ', text, count=1, flags=re.MULTILINE)
    text = re.sub(r"^def ", "# A comment.\n\n\ndef ", text, flags=re.MULTILINE)
    return f"{text}\n# The end.\n"


def test_a_commit_reruns_nothing(finished, monkeypatch, checkout):
    """Each result records the commit, but no job depends on it."""
    git = ["git", "-C", str(checkout), "-c", "user.name=x", "-c", "user.email=x"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    try:
        assert finished.planned() == []
    finally:
        shutil.rmtree(checkout / ".git")


def test_every_row_of_the_documented_table_is_tested_here():
    text = (ROOT / "docs" / "reruns.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+?) +\|", text.split("## What reruns")[1].split("##")[0], re.MULTILINE)
    others = {
        "comments, docstrings, layout, anywhere",
        "a commit",
        "one more norm and its condition",
        "a lost figure",
        "the folder is moved",
        "another version of Python",
        "`--sdm conda`, or another environment.yml",
        "the device (`--config device=...`)",
        "other images",
    }
    assert set(rows[1:]) == {*CONFIGURATION, *FILES, *others}


def test_where_jobs_compute_reruns_nothing_and_is_told_to_every_job(copy_of_finished):
    study, wish = copy_of_finished, ["--config", "device=cuda"]
    assert study.planned(*wish) == []
    if torch.cuda.is_available():
        pytest.skip("there is a GPU: that a wish for one is refused cannot be seen")
    said = study.refused("results/tiny/runs/vgg_none/seed0/training.csv", "--force", *wish)
    assert "expected a GPU for 'cuda', found none; use auto or cpu" in said


def test_a_lost_figure_is_drawn_again_and_no_other(copy_of_finished, account):
    (copy_of_finished.results / "figures" / "fig4.pdf").unlink()
    assert names(copy_of_finished.planned()) == account.figures(["fig4"])


def test_other_images_retrain_what_uses_them_alone(copy_of_finished, account, tmp_path):
    study = copy_of_finished
    vgg = of_task(study.config, "vgg")
    for part in ("train", "test"):
        (tmp_path / "images" / part).mkdir(parents=True)
    others = ["--config", f"images={tmp_path / 'images'}"]
    expected = {"prepare"} | account.training(vgg)
    for changes in [others, ["--forcerun", "prepare"]]:
        assert names(study.planned(*changes)) == expected
    # Other images do not hide a second change either.
    study = study.change("conditions", "deep_linear_l1", "lr", 2.0e-6)
    expected |= account.training(["deep_linear_l1"])
    assert names(study.planned(*others)) == expected


def test_what_config_yaml_says_may_be_said_again(finished):
    assert finished.planned("--config", "images=digits", "seeds=[0]", "scale=tiny") == []


def test_an_edit_can_be_accepted_as_harmless(copy_of_finished, checkout, edited, account):
    with edited(checkout / "src/bnopt/train.py", a_statement):
        assert names(copy_of_finished.planned()) == account.training(account.config["conditions"])
        copy_of_finished.run("--touch")
        assert copy_of_finished.planned() == []
    # The accepted code is the edited one, so the original code counts as a change.
    assert copy_of_finished.planned() != []


NORM = '''"""A norm of one's own."""

from torch import nn


def build(channels):
    """Return the identity."""
    return nn.Identity()
'''


def test_a_norm_is_one_file_and_one_line_and_trains_its_condition_alone(copy_of_finished, checkout):
    study = copy_of_finished.change("conditions", "vgg_mine", {"task": "vgg", "norm": "mine", "lr": 0.1})
    file = checkout / "src/bnopt/norms/mine.py"
    file.write_text(NORM, encoding="utf-8")
    try:
        account = Account(study.config, latex=(study.results / "report" / "report.pdf").exists())
        assert names(study.planned()) == account.training(["vgg_mine"])
        curve = study.results / "runs" / "vgg_mine" / "seed0" / "training.csv"
        study.run(curve.relative_to(study.folder))
    finally:
        file.unlink()
    plain = (study.results / "runs" / "vgg_none" / "seed0" / "training.csv").read_text()
    assert curve.read_text() == plain.replace("vgg_none", "vgg_mine")
