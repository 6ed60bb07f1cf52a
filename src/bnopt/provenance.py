"""Explains fingerprints: what the results of a stage depend on, and how two results differ.

python -m bnopt.provenance train                    the code and settings that its fingerprint covers
python -m bnopt.provenance train RESULT             how a table was made, and which code changed since
python -m bnopt.provenance train RESULT RESULT      how two tables differ
"""

import argparse
import ast
import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

from bnopt import plugins, runtime
from bnopt.files import fingerprints, records
from bnopt.runtime import StudyError
from bnopt.study import checks, schema, study
from bnopt.study.jobs import Jobs

CHECKOUT = Path(__file__).parents[2]
# Where files lie that jobs may read.
CODE = ("Snakefile", "*.yaml", "src/**.py", "workflow", "paper", "profiles")
CONFIG = (CHECKOUT / "config.yaml", CHECKOUT / "claims.yaml")
# The stage claims also makes the alternatives, and the stage figure the forest plot and the specification
# curves.
STAGES = tuple(
    name.removesuffix("_settings")
    for name in vars(Jobs)
    if name.endswith("_settings")
    and name not in ("alternatives_settings", "forest_plot_settings", "specification_settings")
)


def covered(stage, of_study):
    """Return lines that list the code and the settings on which the results of a stage depend."""
    module = f"bnopt.{stage}"
    own = fingerprints.reached(module)
    lines = [f"A result of {stage} is made again when one of these changes.", "", "Code, without comments:"]
    lines += [f"  {fingerprints.module_hash(name)}  {name}" for name in own]
    for kind in loaded_kinds(own):
        lines += ["", f"The file in {kind}/ that the job loads, and the modules that it imports:"]
        for name in plugins.names(kind):
            more = [m for m in fingerprints.reached(f"bnopt.{kind}.{name}") if m not in own]
            lines += [f"  {fingerprints.code_hash(f'bnopt.{kind}.{name}')}  {', '.join(more)}"]
    settings = json.loads(getattr(Jobs(of_study), f"{stage}_settings")(_first_job(stage, of_study)))
    lines += ["", "Settings of the job:", f"  {', '.join(settings) or 'none'}"]
    return [*lines, "", "The input files of the job."]


def _first_job(stage, of_study):
    """Return the wildcards of the first job of a stage; raise StudyError if the study has no such job."""
    conditions, probes = of_study["conditions"], of_study["probes"]
    probed = [
        (name, probe)
        for probe, tasks in probes.items()
        for name in conditions
        if conditions[name]["task"] in tasks
    ]
    first = {
        "condition": next(iter(conditions)),
        "table": next(iter(of_study["tables"])),
        "figure": next(iter(of_study["figures"]), None),
        "probe": None,
    }
    if stage == "probe" and probed:
        first["condition"], first["probe"] = probed[0]
    absent = stage in (study.TAU, study.RATE_SPREAD) and not of_study[stage]
    if absent or first.get(stage, stage) is None:
        raise StudyError(f"{stage}: expected a study with a job of this stage, found none")
    return SimpleNamespace(**first)


def loaded_kinds(modules):
    """Return the open folders from which these modules load files: plugins.load("norms", ...)."""
    calls = [
        node
        for module in modules
        for node in ast.walk(fingerprints.tree(module))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "plugins.load"
    ]
    return sorted({call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)})


def history(result):
    """Return lines that say how a result was made and which of its modules have changed since."""
    record = records.read(result)
    modules = record.pop("modules", {})
    lines = [f"{key}: {value}" for key, value in records.flat(record).items()]
    changed = differences(modules, {module: _hash_now(module) for module in modules})
    return [*lines, "", "Code since:", *(changed or ["  unchanged"])]


def _hash_now(module):
    try:
        return fingerprints.module_hash(module)
    except FileNotFoundError:
        return "no such module"


def compared(first, second):
    """Return lines that say how two results differ, apart from when they were made and how long it took."""
    pair = [records.flat(records.read(result)) for result in (first, second)]
    for record in pair:
        for key in ("started", "seconds", "cpu_seconds", "memory_mib", "code"):
            record.pop(key, None)
    return differences(*pair) or ["  none, except when they were made"]


def differences(first, second):
    """Return a line for every key whose values in two flat dictionaries differ."""
    keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    return [f"  {key}: {first.get(key, 'none')} -> {second.get(key, 'none')}" for key in keys]


def commit(checkout=CHECKOUT):
    """Return the commit of a checkout, with "+ changes" if files differ from it; else "unknown" and why.

    Untracked files count if jobs may read them (`CODE`). A repository around the checkout does not: its
    commit says nothing about this code.
    """
    try:
        if not Path(_git(checkout, "rev-parse", "--show-toplevel")).samefile(checkout):
            return "unknown (the checkout is not a repository of its own, it lies in another)"
        found = _git(checkout, "rev-parse", "--verify", "HEAD")
        tracked = _git(checkout, "status", "--porcelain", "--untracked-files=no")
        untracked = _git(checkout, "ls-files", "--others", "--exclude-standard", "--", *CODE)
    except OSError:
        return "unknown (git is not installed)"
    except subprocess.CalledProcessError as error:
        return f"unknown ({_reason(error.stderr)})"
    return f"{found} + changes" if tracked or untracked else found


def _git(checkout, *words):
    """Return what git prints about a checkout; its own variables, as in a hook, do not reach it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(checkout), *words]
    environment |= {"LC_ALL": "C"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _reason(said):
    """Return why git knows no commit; its own words may name folders of this machine."""
    known = {
        "not a git repository": "the checkout is no git repository",
        "dubious ownership": "git refuses a repository of another user, see safe.directory",
        "Needed a single revision": "the repository has no commit yet",
    }
    return next((why for words, why in known.items() if words in said), "git failed")


def main(argv=None):
    """Explain a fingerprint from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bnopt.provenance", description=__doc__)
    parser.add_argument("stage", help=f"one of {', '.join(STAGES)}")
    parser.add_argument(
        "results",
        nargs="*",
        help="one table: how it was made, and which code changed since; two tables: how they differ",
    )
    parser.add_argument("--configfile", nargs="+", default=CONFIG, help="default: config.yaml claims.yaml")
    options = parser.parse_args(argv)
    if options.stage not in STAGES:
        raise StudyError(f"expected a stage, one of {', '.join(STAGES)}; found {options.stage}")
    if len(options.results) > 2:
        raise StudyError(f"expected at most two results to compare, found {len(options.results)}")
    for result in options.results:
        if not Path(result).exists():
            raise StudyError(f"{result}: expected a table with its record, found no such file")
        made_by = records.read(result).get("stage")
        if made_by != f"bnopt.{options.stage}":
            raise StudyError(f"{result}: expected a result of {options.stage}, found one of {made_by}")
    if not options.results:
        config = schema.read(*options.configfile)
        checks.check(config)
        # A stage may belong to a part that a plain call of snakemake leaves out.
        print("\n".join(covered(options.stage, study.written_out(config | {"parts": "all"}))))
    elif len(options.results) == 1:
        print("\n".join(history(*options.results)))
    else:
        print("\n".join(["Differences:", *compared(*options.results)]))


if __name__ == "__main__":
    runtime.run(main)
