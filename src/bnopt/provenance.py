"""Explains fingerprints: what a stage's results depend on, and in what two results differ.

python -m bnopt.provenance train                    the modules and settings that are covered
python -m bnopt.provenance train RESULT             how a table came about, and what changed since
python -m bnopt.provenance train RESULT RESULT      in what two tables differ
"""

import argparse
import ast
import subprocess
from pathlib import Path

import yaml

from bnopt import checks, fingerprints, plugins, records, runtime, study
from bnopt.runtime import StudyError

CONFIG = Path(__file__).parents[2] / "config.yaml"
# What a job of each stage is given, for the first condition, probe or figure that there is.
SETTINGS = {
    "data": study.images_settings,
    "train": lambda config, scale: study.train_settings(config, scale, next(iter(config["conditions"]))),
    "probe": lambda config, scale: study.probe_settings(config, scale, *_first_probed(config)),
    "rate_spread": lambda config, scale: {},
    "random_layers": lambda config, scale: config["random_layers"],
    "theorem_table": lambda config, scale: study.runs_settings(config, scale, "theorems"),
    "statistics": lambda config, scale: (
        {"table": study.TRAINING} | study.runs_settings(config, scale, study.TRAINING)
    ),
    "claims": lambda config, scale: study.claims_settings(config, "claims"),
    "figure": lambda config, scale: study.figure_settings(config, scale, next(iter(config["figures"]))),
    "gather": study.gather_settings,
    "report": study.report_settings,
}


def _first_probed(config):
    probe, tasks = next(iter(config["probes"].items()))
    return next(name for name, entry in config["conditions"].items() if entry["task"] in tasks), probe


def covered(stage, config):
    """Return lines that say what the fingerprint of a stage covers."""
    module = f"bnopt.{stage}"
    own = fingerprints.reached(module)
    lines = [f"A result of {stage} is made anew when one of these changes.", "", "Code, but for comments:"]
    lines += [f"  {fingerprints.module_hash(name)}  {name}" for name in own]
    for kind in loaded_kinds(own):
        lines += ["", f"and of {kind} what the job loads, with what that imports:"]
        for name in plugins.names(kind):
            more = [m for m in fingerprints.reached(f"bnopt.{kind}.{name}") if m not in own]
            lines += [f"  {fingerprints.code_hash(f'bnopt.{kind}.{name}')}  {', '.join(more)}"]
    settings = SETTINGS[stage](config, config["scale"])
    lines += ["", "Settings of the job:", f"  {', '.join(settings) or 'none'}"]
    return [*lines, "", "and its input files."]


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


def _study(configfile):
    """Return the study of a file, as Snakemake runs it."""
    try:
        config = yaml.safe_load(Path(configfile).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        found = " ".join(str(error).split())
        raise StudyError(
            f"{configfile}: expected the configuration of a study, found {found}; name it with --configfile"
        ) from error
    checks.check(config)
    return study.restricted(config, config["scale"])


def main(argv=None):
    """Explain a fingerprint from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bnopt.provenance", description=__doc__)
    parser.add_argument("stage", help=f"what its fingerprint covers; one of {', '.join(SETTINGS)}")
    parser.add_argument(
        "results",
        nargs="*",
        help="of one table: how it came about, and which code changed since; of two: in what they differ",
    )
    parser.add_argument("--configfile", default=CONFIG, help="config.yaml of the study")
    options = parser.parse_args(argv)
    if options.stage not in SETTINGS:
        raise StudyError(f"expected a stage, one of {', '.join(SETTINGS)}; found {options.stage}")
    if len(options.results) > 2:
        raise StudyError(f"expected at most two results to compare, found {len(options.results)}")
    for result in options.results:
        made_by = records.read(result).get("stage")
        if made_by != f"bnopt.{options.stage}":
            raise StudyError(f"{result}: expected a result of {options.stage}, found one of {made_by}")
    if not options.results:
        print("\n".join(covered(options.stage, _study(options.configfile))))
    elif len(options.results) == 1:
        print("\n".join(history(*options.results)))
    else:
        print("\n".join(["Differences:", *compared(*options.results)]))


if __name__ == "__main__":
    runtime.run(main)
