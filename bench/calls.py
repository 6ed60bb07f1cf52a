"""Whole calls: start of a job, reading a snapshot, planning, and the study from nothing.

Seconds of whole processes depend on the load of the machine; processor seconds depend less on it.
"""

import json
import os
import shlex
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import yaml
from _timing import ROOT, Row, command, side_by_side, times
from probes import point_of

import fork_server
from bnopt.run import snapshots

SEEDS = 20
CONDITIONS = (1, 10, 100)
SOURCE = str(ROOT / "src")


def snakemake(folder, *arguments):
    """Run snakemake in a folder; return its seconds, its processor seconds, and what it printed."""
    whole = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", *arguments]
    return command(*whole, cwd=folder)


def write(folder, config, claims):
    """Write the two files of a study."""
    for name, content in (("config.yaml", config), ("claims.yaml", claims)):
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        Path(folder, name).write_text(text, encoding="utf-8")


def both_files():
    """Return the contents of config.yaml and claims.yaml."""
    return [
        yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) for name in ("config.yaml", "claims.yaml")
    ]


# -- single jobs ----------------------------------------------------------------------------------


def job_rows(of_scale, prepared):
    """Yield the rows of a job's start and of reading a snapshot."""
    job = partial(command, sys.executable, "-m", "bnopt.train", "--help", PYTHONPATH=SOURCE)
    torch = partial(command, sys.executable, "-c", "import torch")
    pairs = [(job()[1], torch()[1]) for _ in range(5)]
    own, other = (sorted(column)[2] for column in zip(*pairs, strict=True))
    yield Row("start of an empty job", "`import torch` alone", f"{own:.1f} CPU s, {times(own / other)}")
    yield _forking()
    for condition in ("vgg_batch", "deep_linear_batch"):
        if condition in of_scale["conditions"]:
            yield _reading(of_scale, condition, prepared if condition.startswith("vgg") else None)


def _forking():
    """Return the row of an empty job that the fork server starts, in seconds of the clock."""
    workflow = SimpleNamespace(is_main_process=True, local_exec=True, touch=False)
    workflow.deployment_settings = SimpleNamespace(deployment_method=set())
    exports = f"python={shlex.quote(sys.executable)}; export PYTHONPATH={shlex.quote(SOURCE)}; "
    fork_server.start(workflow, exports, "cpu")
    words = ("bash", "-c", f'{exports} exec "$python" -m fork_server bnopt.train --help')
    threads, name = dict.fromkeys(fork_server.THREADS, "1"), fork_server.ADDRESS
    forked, alone = (
        partial(command, *words, cwd=".", **threads, **{name: address}) for address in (os.environ[name], "")
    )
    forked()  # the server imports PyTorch at the first job
    pairs = [(forked()[0], alone()[0]) for _ in range(5)]
    own, other = (sorted(column)[2] for column in zip(*pairs, strict=True))
    return Row("start of an empty job by the fork server", "without it", f"{own:.1f} s, {times(own / other)}")


def _reading(of_scale, condition, images):
    """Return the row of reading a snapshot: one tensor per dtype, against one per parameter."""
    state = point_of(of_scale, condition, images).run.model.state_dict()
    each = bytes(snapshots.dump(state))
    with tempfile.TemporaryDirectory() as folder:
        snapshots.write(state, folder, 0)
        own, other = side_by_side(
            lambda: snapshots.read(folder, 0, "cpu"), lambda: snapshots.parse(each, "cpu"), repeats=20
        )
    return Row(f"reading a snapshot, {condition}", "torch.load of a state dict", times(own / other))


# -- planning -------------------------------------------------------------------------------------


def many_conditions(number):
    """Return a configuration with this many conditions, 20 seeds, and all probes on all conditions."""
    config, claims = both_files()
    config["conditions"] = {
        f"{task}_{n}": {"task": task, "norm": "batch", "lr": 1.0e-6}
        for n in range((number + 1) // 2)
        for task in ("vgg", "deep_linear")[: number - 2 * n]
    }
    config["rate_spread"] = {}
    del config["tau"]
    config["scales"] = {"digits": config["scales"]["digits"] | {"seeds": list(range(SEEDS))}}
    measured = {
        probe: [name for name, entry in config["conditions"].items() if entry["task"] in tasks]
        for probe, tasks in config["probes"].items()
    }
    config["figures"] = {"fig4": config["figures"]["fig4"] | {"tables": measured}}
    return config, claims | {"quantities": {}, "claims": {}, "alternatives": {}}


def planning_rows():
    """Yield the seconds of a dry run for 1, 10 and 100 conditions."""
    for number in CONDITIONS:
        with tempfile.TemporaryDirectory() as folder:
            write(folder, *many_conditions(number))
            seconds, _, said = snakemake(folder, "--dry-run", "--quiet")
        jobs = next(int(line.split()[1]) for line in said.splitlines() if line.strip().startswith("total"))
        conditions = "1 condition" if number == 1 else f"{number} conditions"
        yield Row(f"planning {conditions}", "jobs", f"{seconds:.1f} s, {1000 * seconds / jobs:.1f} ms a job")


# -- the whole study ------------------------------------------------------------------------------


def study_rows():
    """Yield the rows of the default study from nothing: in all, by stage, and of two calls after it.

    The calls run in a clone, so that a file of code can be edited in it: what is measured is the last commit.
    """
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder, "bnopt")
        command("git", "clone", "--quiet", ROOT, checkout)
        run = partial(command, sys.executable, "-m", "snakemake", "--cores", "2", cwd=checkout)
        seconds, cpu, _ = run()
        yield Row("the whole study, 2 cores", "", f"{seconds:.0f} s, {cpu:.0f} CPU s")
        for stage, (jobs, of_stage) in stages(checkout / "results").items():
            yield Row(f"of it {stage}", "", f"{of_stage:.0f} CPU s, {jobs} jobs")
        seconds, _, _ = run()
        yield Row("a call with nothing to do", "", f"{seconds:.1f} s")
        figure = checkout / "src" / "bnopt" / "figures" / "fig4.py"
        figure.write_text(figure.read_text(encoding="utf-8") + "\nEDITED = True\n", encoding="utf-8")
        seconds, _, _ = run("results/digits/figures/fig4.pdf")
        yield Row("a figure drawn again after its code changed", "", f"{seconds:.1f} s")


def stages(results):
    """Return stage -> number of jobs and their processor seconds, the most expensive stage first."""
    jobs = {}
    for file in results.rglob("*.provenance.json"):
        record = json.loads(file.read_text(encoding="utf-8"))
        name = f"{record['stage'].removeprefix('bnopt.')} {record['settings'].get('probe', '')}".strip()
        job = name, record["started"]
        jobs[job] = max(jobs.get(job, 0), record["cpu_seconds"])
    total, number = Counter(), Counter(name for name, _ in jobs)
    for (name, _), seconds in jobs.items():
        total[name] += seconds
    return {name: (number[name], seconds) for name, seconds in total.most_common()}
