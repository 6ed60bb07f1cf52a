"""After snakemake died on SLURM: deal with the jobs it left, unlock the folder, and go on.

    python tools/recover.py wait   [arguments of snakemake]     wait until the jobs left have ended
    python tools/recover.py cancel [arguments of snakemake]     cancel them; they go on from checkpoints

To be called where snakemake was, once no snakemake runs there any more. Without arguments it goes on
with `--workflow-profile profiles/slurm`.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

POLL_SECONDS = 5


def last_run():
    """Return SLURM's name of the jobs of the last run in this folder, or None if it ran no such."""
    logs = sorted(Path(".snakemake/log").glob("*.snakemake.log"), key=lambda file: file.stat().st_mtime)
    for log in reversed(logs):
        found = re.findall(r"SLURM run ID: (\S+)", log.read_text(encoding="utf-8", errors="replace"))
        if found:
            return found[-1]
    return None


def left(run):
    """Return the numbers of the jobs of a run that have not ended; ask SLURM until it answers."""
    command = ["squeue", "--noheader", "--format=%A", f"--name={run}", "--states=PD,R,CG,S,CF"]
    while (asked := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
        print(f"{asked.stderr.strip() or 'squeue failed'}; asking again", flush=True)
        time.sleep(POLL_SECONDS)
    return asked.stdout.split()


def main():
    """Clean up, then go on."""
    how, *arguments = sys.argv[1:] or [""]
    if how not in ("wait", "cancel"):
        sys.exit(f"error: expected wait or cancel, found {how or 'nothing'}\n\n{__doc__}")
    run = last_run()
    if run is None:
        sys.exit(
            "error: .snakemake/log: expected the log of a run on SLURM, found none; call this where it ran"
        )
    jobs = left(run)
    print(f"run {run}: {len(jobs)} job(s) left")
    if jobs and how == "cancel":
        subprocess.run(["scancel", f"--name={run}"], check=True)
    while jobs := left(run):
        print(f"waiting for {' '.join(jobs)}", flush=True)
        time.sleep(POLL_SECONDS)
    snakemake = [sys.executable, "-m", "snakemake"]
    arguments = arguments or ["--workflow-profile", "profiles/slurm"]
    subprocess.run([*snakemake, *arguments, "--unlock"], check=True)
    sys.exit(subprocess.run([*snakemake, *arguments], check=False).returncode)


if __name__ == "__main__":
    main()
