"""A study small enough for a test: the real snakemake runs it once; tests copy and change it.

Its configuration is the real one with small sizes and one seed, so it cannot become outdated.
The study has its own folder with its own config.yaml and claims.yaml. These replace the real files and
are never merged with them.
"""

import copy
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from bnopt.study import schema, study
from workflow import forked

ROOT = Path(__file__).parents[2]
CORES = max(2, os.cpu_count() or 1)
# Generated files and folders of a checkout.
GENERATED = (
    *(".git", ".snakemake", "results", "logs", "resources"),
    *(".venv", "*.egg-info", ".*_cache"),
)
# Longest time of a call in seconds. A call that hangs fails after it.
LONGEST_CALL = 900
SCALE = "tiny"
# Claims with a specification curve: about training, layers and step sizes. To draw the curves of all takes
# longer than to train; tests/unit/test_specifications.py judges claims of every kind.
HEADLINE = ("bn_trains_faster", "bn_does_not_stabilise_{moment}", "bn_smooths_loss")


def shrink(config):
    """Return the study at one tiny scale with one seed: all its conditions, figures and claims."""
    small = copy.deepcopy(config)
    sizes = small["scales"]["digits"]
    for of_task in (sizes["vgg"], sizes["deep_linear"]):
        of_task["layers"] = {name: number for number, name in enumerate(of_task["layers"], start=1)}
    more = len(sizes["vgg"]["layers"]) - 4
    sizes["vgg"]["net"] = {"convolutions": [4, 4, "M", 4, "M", *[4] * more], "hidden": [8]}
    sizes["deep_linear"] |= {"net": {"depth": len(sizes["deep_linear"]["layers"]) + 1}, "batch_size": 50}
    for task in ("vgg", "deep_linear"):
        sizes[task] |= {"steps": 12, "test_every": 4, "snapshot_every": 3}
    sizes["vgg"]["batch_size"] = 32
    for of_task in small["probes"].values():
        for settings in of_task.values():
            fewer = {"units": 3, "every": 1, "samples": 32, "products": 4}
            settings |= {key: value for key, value in fewer.items() if key in settings}
    small["random_layers"]["draws"] = 3
    sizes["seeds"] = [0]
    small["scale"], small["scales"] = SCALE, {SCALE: sizes}
    for claims in small["claims"].values():
        for name in claims.keys() - HEADLINE:
            claims[name].pop("headline", None)
    return small


def of_paper(config):
    """Return the study without the entries of other parts."""
    small = copy.deepcopy(config)
    sections = [small[section] for section in ("conditions", "figures", "alternatives")]
    for section in (*sections, *small["claims"].values()):
        for name in [name for name, entry in section.items() if entry.get("part", "paper") != "paper"]:
            del section[name]
    small["claims"] = {family: claims for family, claims in small["claims"].items() if claims}
    small.pop("tau")
    small["quantities"] = {n: entry for n, entry in small["quantities"].items() if entry["table"] != "tau"}
    return small


def prune(config, *, conditions, tables):
    """Return the study with only these conditions and tables, and the figures and claims they allow."""
    small = copy.deepcopy(config)
    small["conditions"] = {name: config["conditions"][name] for name in conditions}
    small["probes"] = {name: entry for name, entry in config["probes"].items() if name in tables}
    small["rate_spread"] = {}
    if study.TAU in tables:
        small["tau"]["conditions"] = [name for name in small["tau"]["conditions"] if name in conditions]
    else:
        small.pop("tau", None)
    small["quantities"] = {
        name: quantity
        for name, quantity in config["quantities"].items()
        if {quantity["table"], quantity.get("times", quantity)["table"]} <= set(tables)
    }
    small |= {"claims": {}, "alternatives": {}}
    filled = schema.with_defaults(config)
    for section in ("claims", "alternatives"):
        for name, claim in study.claims(filled, section).items():
            pair = {claim["condition_a"], claim["condition_b"]} & set(config["conditions"])
            if claim["quantity"] in small["quantities"] and pair <= set(conditions):
                family = claim.pop("family")
                # A condition may be compared with the number 0.
                entry = {key: value for key, value in claim.items() if value or key == "condition_b"}
                if section == "claims":
                    small["claims"].setdefault(family, {})[name] = entry
                else:
                    del entry["source"]
                    small["alternatives"][name] = entry
    small["figures"] = {
        name: figure
        for name, figure in config["figures"].items()
        if set(figure["tables"]) <= set(tables)
        and {condition for shown in figure["tables"].values() for condition in shown} <= set(conditions)
    }
    return small


@dataclass
class Study:
    """A folder with config.yaml and claims.yaml, and the checkout whose Snakefile runs in it."""

    folder: Path
    checkout: Path

    @property
    def config(self):
        files = [self.folder / name for name in ("config.yaml", "claims.yaml")]
        return {
            key: of_key for file in files for key, of_key in yaml.safe_load(file.read_text("utf-8")).items()
        }

    @config.setter
    def config(self, config):
        judged = {key: config[key] for key in schema.CLAIMS_SECTIONS if key in config}
        runs = {key: of_key for key, of_key in config.items() if key not in judged}
        for name, part in (("config.yaml", runs), ("claims.yaml", judged)):
            text = yaml.safe_dump(part, sort_keys=False, allow_unicode=True)
            (self.folder / name).write_text(text, encoding="utf-8")

    def change(self, *path_and_value):
        """Give the key at the end of a path of keys another value, or remove it (...); return the study."""
        *parents, key, value = path_and_value
        config = self.config
        entry = config
        for parent in parents:
            entry = entry[parent]
        if value is ...:
            del entry[key]
        else:
            entry[key] = value
        self.config = config
        return self

    @property
    def written_out(self):
        """The study of its scale, written out."""
        return study.written_out(self.config)

    @property
    def results(self):
        return self.folder / "results" / SCALE

    def snakemake(self, *arguments, profile="profiles/default"):
        """Run snakemake as a user does; return the finished process with its output as one text."""
        return forked.run(self._command(*arguments, profile=profile), **self.surroundings())

    def run(self, *arguments):
        """Run snakemake, which must succeed; return its output."""
        done = self.snakemake(*arguments)
        assert done.returncode == 0, done.stdout
        assert "Traceback" not in done.stdout, done.stdout
        return done.stdout

    def refused(self, *arguments):
        """Run snakemake, which must fail without a traceback; return its output."""
        done = self.snakemake(*arguments)
        assert done.returncode != 0, done.stdout
        assert "Traceback" not in done.stdout, done.stdout
        return done.stdout

    def start(self, *arguments):
        """Start snakemake in its own process group, with its output in said.txt; return the process."""
        surroundings = self.surroundings()
        for of_a_whole_call in ("check", "timeout"):
            del surroundings[of_a_whole_call]
        with (self.folder / "said.txt").open("w", encoding="utf-8") as said:
            surroundings |= {"stdout": said, "start_new_session": True}
            return subprocess.Popen(self._command(*arguments), **surroundings)

    def _command(self, *arguments, profile="profiles/default"):
        options = {
            "--snakefile": self.checkout / "Snakefile",
            "--directory": self.folder,
            "--workflow-profile": self.checkout / profile if profile else "none",
            "--cores": CORES,
        }
        words = [str(word) for pair in options.items() for word in pair]
        return [sys.executable, "-P", "-m", "snakemake", *words, *map(str, arguments)]

    def surroundings(self):
        """Return the keyword arguments of a snakemake process: folder, environment, output as one text."""
        environment = os.environ | {
            "BNOPT_DEVICE": "cpu",
            # Wide enough that no line break splits a text that a test searches.
            "COLUMNS": "500",
        }
        return {
            "cwd": self.folder,
            "env": environment,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "text": True,
            # Snakemake prints names of files as they are, in any encoding.
            "errors": "backslashreplace",
            "check": False,
            "timeout": LONGEST_CALL,
        }

    def planned(self, *arguments):
        """Return the jobs a call would run, as (rule, wildcards); [] only for "Nothing to be done"."""
        done = self.snakemake("--dry-run", *arguments, profile=None)
        assert done.returncode == 0, done.stdout
        jobs = []
        for block in re.split(r"^(?=(?:local)?rule \w+:$)", done.stdout, flags=re.MULTILINE)[1:]:
            rule = re.match(r"(?:local)?rule (\w+):", block)[1]
            wildcards = re.search(r"^    wildcards: (.*)$", block, flags=re.MULTILINE)
            pairs = (pair.split("=", 1) for pair in wildcards[1].split(", ")) if wildcards else ()
            jobs.append((rule, dict(pairs)))
        assert jobs or "Nothing to be done" in done.stdout, done.stdout
        return jobs

    def tables(self):
        """Return relative path -> bytes for every table of the results."""
        return {str(f.relative_to(self.results)): f.read_bytes() for f in sorted(self.results.rglob("*.csv"))}

    def copy_to(self, folder):
        """Return a copy of this study with all results, their file times and Snakemake's metadata."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Study(Path(folder), self.checkout)


@contextmanager
def _edited(file, change):
    """Apply `change` to the text of a file; restore the text and the file times afterwards."""
    before, times = file.read_bytes(), file.stat()
    after = change(before.decode("utf-8"))
    assert after != before.decode("utf-8")
    file.write_text(after, encoding="utf-8")
    try:
        yield
    finally:
        file.write_bytes(before)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A copy of the repository without generated files. Tests use it alone and may change it."""
    folder = tmp_path_factory.mktemp("checkout") / "bnopt"
    shutil.copytree(ROOT, folder, ignore=_generated)
    return folder


def _generated(folder, names):
    """Return the generated names in a folder; docs/results belongs to the repository."""
    found = shutil.ignore_patterns(*GENERATED, "__pycache__")(folder, names)
    return found - {"results"} if Path(folder) == ROOT / "docs" else found


@pytest.fixture(scope="session")
def edited():
    """Function: a file, a function of its text -> a context in which the file has the changed text."""
    return _edited


@pytest.fixture(scope="session")
def new_study(checkout):
    """Function: a folder, a configuration -> a study that has not run."""

    def new_study(folder, config, checkout=checkout):
        folder.mkdir(parents=True, exist_ok=True)
        study_there = Study(folder, checkout)
        study_there.config = config
        return study_there

    return new_study


@pytest.fixture(scope="session")
def tiny_config(config):
    """The part `paper` of the study with tiny sizes and one seed."""
    return shrink(of_paper(config))


@pytest.fixture(scope="session")
def pruned():
    """Function: a configuration, conditions, tables -> the study with only these (see `prune`)."""
    return prune


@pytest.fixture(scope="session")
def pair_config(tiny_config):
    """Two conditions of the study, with two seeds and one probe: the minimum for a verdict."""
    small = prune(tiny_config, conditions=["vgg_none", "vgg_batch"], tables=["training", "along_gradient"])
    small["scales"][SCALE]["seeds"] = [0, 1]
    return small


@pytest.fixture(scope="session")
def two_tasks_config(tiny_config):
    """One condition per task, with training tables only. One task needs the images, the other does not."""
    return prune(tiny_config, conditions=["vgg_none", "deep_linear_none"], tables=["training"])


@pytest.fixture(scope="session")
def first_run(tmp_path_factory, new_study, tiny_config):
    """The whole tiny study, run from the beginning: the study and the output of snakemake."""
    new = new_study(tmp_path_factory.mktemp("study"), tiny_config)
    return new, new.run()


@pytest.fixture(scope="session")
def finished(first_run):
    """The finished tiny study; tests must not change it."""
    return first_run[0]


@pytest.fixture
def copy_of_finished(finished, tmp_path):
    """A copy of the finished tiny study; tests may change it."""
    return finished.copy_to(tmp_path / "copy")
