"""Explains fingerprints: what a stage's results depend on, and in what two results differ.

python -m bnopt.provenance train                    the modules and settings that are covered
python -m bnopt.provenance train RESULT             how a table came about, and what changed since
python -m bnopt.provenance train RESULT RESULT      in what two tables differ
"""

import argparse
import ast
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

from bnopt import plugins, runtime
from bnopt.files import fingerprints, records
from bnopt.runtime import StudyError
from bnopt.study import checks, schema, study
from bnopt.study.jobs import Jobs

CHECKOUT = Path(__file__).parents[2]
CONFIG = (CHECKOUT / "config.yaml", CHECKOUT / "claims.yaml")
# The settings of verdicts under other definitions and of the forest plot belong to no stage of their own.
STAGES = tuple(
    name.removesuffix("_settings")
    for name in vars(Jobs)
    if name.endswith("_settings") and name not in ("alternatives_settings", "forest_plot_settings")
)


def covered(stage, of_study):
    """Return lines that list the code and the settings that the fingerprint of a stage covers."""
    module = f"bnopt.{stage}"
    own = fingerprints.reached(module)
    lines = [f"A result of {stage} is made anew when one of these changes.", "", "Code, but for comments:"]
    lines += [f"  {fingerprints.module_hash(name)}  {name}" for name in own]
    for kind in loaded_kinds(own):
        lines += ["", f"and of {kind} what the job loads, with what that imports:"]
        for name in plugins.names(kind):
            more = [m for m in fingerprints.reached(f"bnopt.{kind}.{name}") if m not in own]
            lines += [f"  {fingerprints.code_hash(f'bnopt.{kind}.{name}')}  {', '.join(more)}"]
    settings = json.loads(getattr(Jobs(of_study), f"{stage}_settings")(_first_job(of_study)))
    lines += ["", "Settings of the job:", f"  {', '.join(settings) or 'none'}"]
    return [*lines, "", "and its input files."]


def _first_job(of_study):
    """Return the wildcards of the first condition, probe, table and figure of a study."""
    probe, tasks = next(iter(of_study["probes"].items()))
    probed = (name for name, entry in of_study["conditions"].items() if entry["task"] in tasks)
    return SimpleNamespace(
        condition=next(probed),
        probe=probe,
        table=next(iter(of_study["tables"])),
        figure=next(iter(of_study["figures"])),
    )


def loaded_kinds(modules):
    """Return the open folders from which some modules load by name: plugins.load("norms", ...)."""
    calls = [
        node
        for module in modules
        for node in ast.walk(fingerprints.tree(module))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "plugins.load"
    ]
    return sorted({call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)})


def history(result):
    """Return lines that say how a result came about and which of its modules changed since."""
    record = records.read(result)
    modules = record.pop("modules", {})
    lines = [f"{key}: {value}" for key, value in flat(record).items()]
    changed = differences(modules, {module: _hash_now(module) for module in modules})
    return [*lines, "", "Code since:", *(changed or ["  unchanged"])]


def _hash_now(module):
    try:
        return fingerprints.module_hash(module)
    except FileNotFoundError:
        return "no such module"


def compared(first, second):
    """Return lines that say in what two results differ, but for when and how long."""
    pair = [flat(records.read(result)) for result in (first, second)]
    for record in pair:
        for key in ("started", "seconds", "code"):
            record.pop(key, None)
    return differences(*pair) or ["  nothing but when they were made"]


def differences(first, second):
    """Return a line for every key of two flat dictionaries whose values differ."""
    keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    return [f"  {key}: {first.get(key, 'none')} -> {second.get(key, 'none')}" for key in keys]


def flat(nested, *, prefix=""):
    """Return nested dictionaries as one, with keys such as net.hidden."""
    found = {}
    for key, value in nested.items():
        if isinstance(value, dict) and value:
            found |= flat(value, prefix=f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def commit():
    """Return the commit of the working copy, with "+ changes" if it has any; "unknown" without git."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        done = subprocess.run(
            [*git, "describe", "--always", "--abbrev=40", "--dirty= + changes", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def main(argv=None):
    """Explain a fingerprint from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bnopt.provenance", description=__doc__)
    parser.add_argument("stage", help=f"what its fingerprint covers; one of {', '.join(STAGES)}")
    parser.add_argument(
        "results",
        nargs="*",
        help="of one table: how it came about, and which code changed since; of two: in what they differ",
    )
    parser.add_argument("--configfile", nargs="+", default=CONFIG, help="the study: config.yaml claims.yaml")
    options = parser.parse_args(argv)
    if options.stage not in STAGES:
        raise StudyError(f"expected a stage, one of {', '.join(STAGES)}; found {options.stage}")
    if len(options.results) > 2:
        raise StudyError(f"expected at most two results to compare, found {len(options.results)}")
    for result in options.results:
        made_by = records.read(result).get("stage")
        if made_by != f"bnopt.{options.stage}":
            raise StudyError(f"{result}: expected a result of {options.stage}, found one of {made_by}")
    if not options.results:
        config = schema.read(*options.configfile)
        checks.check(config)
        print("\n".join(covered(options.stage, study.written_out(config))))
    elif len(options.results) == 1:
        print("\n".join(history(*options.results)))
    else:
        print("\n".join(["Differences:", *compared(*options.results)]))


if __name__ == "__main__":
    runtime.run(main)
