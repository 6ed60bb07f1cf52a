"""Time the planning of a study: `snakemake --dry-run` for 1, 10 and 100 conditions, 20 seeds, all probes.

    python bench/planning.py [CONDITIONS ...]

The script prints seconds, and milliseconds per job; if these are constant, the time grows linearly with
the number of jobs.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
SEEDS = 20


def study(conditions):
    """Return the content of config.yaml for this many conditions, with all probes on all of them."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    config["conditions"] = {
        f"{task}_{n}": {"task": task, "norm": "batch", "lr": 1.0e-6}
        for n in range((conditions + 1) // 2)
        for task in ("vgg", "deep_linear")[: conditions - 2 * n]
    }
    config["rate_spread"] = {}
    config["scales"] = {"digits": config["scales"]["digits"] | {"seeds": list(range(SEEDS))}}
    measured = {
        probe: [name for name, entry in config["conditions"].items() if entry["task"] in tasks]
        for probe, tasks in config["probes"].items()
    }
    config["figures"] = {"fig4": config["figures"]["fig4"] | {"tables": measured}}
    return config


def no_claims():
    """Return the content of claims.yaml with all quantities and without claims."""
    config = yaml.safe_load((ROOT / "claims.yaml").read_text(encoding="utf-8"))
    return config | {"claims": {}, "alternatives": {}}


def plan(config):
    """Return the seconds that planning takes, and the number of jobs."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in (("config.yaml", config), ("claims.yaml", no_claims())):
            text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
            Path(folder, name).write_text(text, encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            ROOT / "Snakefile",
            "--dry-run",
            "--quiet",
        ]
        start = time.monotonic()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        seconds = time.monotonic() - start
    return seconds, int(re.findall(r"^ ?total +(\d+)", done.stdout + done.stderr, re.MULTILINE)[-1])


def main():
    """Print one row per number of conditions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("conditions", nargs="*", type=int, default=[1, 10, 100], help="numbers of conditions")
    print("conditions  jobs  seconds  ms/job")
    for conditions in parser.parse_args().conditions:
        seconds, jobs = plan(study(conditions))
        print(f"{conditions:10}{jobs:6}{seconds:9.1f}{1000 * seconds / jobs:10.2f}", flush=True)


if __name__ == "__main__":
    main()
