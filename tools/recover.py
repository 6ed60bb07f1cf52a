"""Continue after snakemake died on SLURM: handle the jobs still running, unlock the folder, call it again.

    python tools/recover.py wait   [arguments of snakemake]     wait until these jobs have ended
    python tools/recover.py cancel [arguments of snakemake]     cancel them; they resume from checkpoints

Call this in the folder where snakemake was called, when no snakemake runs there any more. Arguments
after `wait` or `cancel` are passed to snakemake: give the same ones as in the original call. The
default is `--workflow-profile profiles/slurm`.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

POLL_SECONDS = 5


def last_run():
    """Return the name that SLURM gives the jobs of the last run in this folder, None without a run."""
    logs = sorted(Path(".snakemake/log").glob("*.snakemake.log"), key=lambda file: file.stat().st_mtime)
    for log in reversed(logs):
        found = re.findall(r"SLURM run ID: (\S+)", log.read_text(encoding="utf-8", errors="replace"))
        if found:
            return found[-1]
    return None


def left(run):
    """Return the numbers of the jobs of a run that have not ended; repeat until SLURM answers."""
    command = ["squeue", "--noheader", "--format=%A", f"--name={run}", "--states=PD,R,CG,S,CF"]
    while (asked := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
        print(f"{asked.stderr.strip() or 'squeue failed'}; asking again", flush=True)
        time.sleep(POLL_SECONDS)
    return asked.stdout.split()


def main():
    """Wait for the jobs or cancel them, then call snakemake again."""
    how, *arguments = sys.argv[1:] or [""]
    if how not in ("wait", "cancel"):
        sys.exit(f"error: expected wait or cancel, found {how or 'nothing'}\n\n{__doc__}")
    run = last_run()
    if run is None:
        sys.exit(
            "error: .snakemake/log: expected the log of a run on SLURM, found none; call this in the folder "
            "where snakemake was called"
        )
    jobs = left(run)
    print(f"run {run}: {len(jobs)} job(s) left")
    if jobs and how == "cancel":
        subprocess.run(["scancel", f"--name={run}"], check=True)
    while jobs := left(run):
        print(f"waiting for {' '.join(jobs)}", flush=True)
        time.sleep(POLL_SECONDS)
    snakemake = [sys.executable, "-P", "-m", "snakemake"]
    arguments = arguments or ["--workflow-profile", "profiles/slurm"]
    subprocess.run([*snakemake, *arguments, "--unlock"], check=True)
    sys.exit(subprocess.run([*snakemake, *arguments], check=False).returncode)


if __name__ == "__main__":
    main()
