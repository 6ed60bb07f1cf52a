"""Who waits for a study sees how far it is; who stops it reads one sentence."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
LINE = re.compile(
    r"^(\d+) of (\d+) jobs done \(\d+ %\)(, about \d+(?:\.\d)? (?:s|min|h) left)?$", re.MULTILINE
)


def test_without_a_terminal_a_line_is_printed_at_every_tenth_of_the_jobs(first_run):
    """As with nohup, in continuous integration, or with the output in a file."""
    lines = LINE.findall(first_run[1])
    assert len(lines) >= 10
    done, totals = [int(line[0]) for line in lines], {int(line[1]) for line in lines}
    assert len(totals) == 1
    assert done == sorted(done)
    assert done[-1] == totals.pop()
    # From the end of the first run and the first probe on, each says how long it still takes.
    known = [bool(line[2]) for line in lines]
    assert sum(known) >= 5
    assert all(known[known.index(True) : -1])
    assert not known[-1]


def test_the_last_lines_say_how_the_claims_came_out_and_where_to_look(first_run):
    study, said = first_run
    counts = re.search(r"Of (\d+) claims: ((?:\d+ [a-z ]+(?:, )?)+)\.", said)
    assert int(counts[1]) == len(study.written_out["claims"])
    assert sum(map(int, re.findall(r"\d+", counts[2]))) == int(counts[1])
    assert f"Results of the scale tiny: {study.results}" in said


COUNTING = """
import atexit, runpy, threading

class Timer(threading.Timer):
    started = 0

    def start(self):
        Timer.started += 1
        super().start()

threading.Timer = Timer
atexit.register(lambda: print(Timer.started, "timers"))
runpy.run_module("snakemake", run_name="__main__", alter_sys=True)
"""


def test_jobs_that_have_ended_are_no_work_for_snakemake(copy_of_finished):
    """Without help, each adds a timer that starts again every second, and looks for jobs, until the end."""
    study = copy_of_finished
    targets = [f"results/tiny/statistics/{table}_per_seed.csv" for table in ("training", "activations")]
    words = study._command("--forcerun", "summarise", "--", *targets)
    words = words[words.index("snakemake") + 1 :]
    done = subprocess.run([sys.executable, "-P", "-c", COUNTING, *words], **study.surroundings())
    assert done.returncode == 0, done.stdout
    assert "2 of 2 jobs done" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 timers"


def test_in_a_terminal_the_bars_have_the_estimate(copy_of_finished):
    study = copy_of_finished
    master, slave = pty.openpty()
    surroundings = study.surroundings()
    for of_a_whole_call in ("check", "timeout", "text"):
        del surroundings[of_a_whole_call]
    surroundings |= {"stdout": slave, "stderr": slave, "stdin": slave}
    target = "results/tiny/statistics/theorems.csv"
    command = study._command("--forcerun", "random_layers", "--", target)
    with subprocess.Popen(command, **surroundings) as process:
        os.close(slave)
        said = b"".join(iter(lambda: _read(master), b"")).decode(errors="replace")
    assert process.returncode == 0, said
    assert "Workflow Progress: 1 of 2 jobs done (50 %), about" in said
    assert not LINE.search(said)


def _read(terminal):
    """Return what a terminal shows next; nothing when its last program has ended."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


SENTENCE = "stopped: jobs that run save their state first; call snakemake again to resume"


@pytest.mark.parametrize("moment", [".snakemake/expected", "logs/tiny/prepare.log", "logs/tiny/train"])
def test_ctrl_c_ends_in_one_sentence(tmp_path, new_study, pair_config, moment):
    """While jobs are planned; while the first job starts, in its imports; while runs are trained."""
    study = new_study(tmp_path / "study", pair_config)
    process = study.start()
    end = time.monotonic() + 120
    while not (study.folder / moment).exists() and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.3 if moment.startswith("logs") else 0)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(120) != 0
    said = (study.folder / "said.txt").read_text(encoding="utf-8")
    assert said.strip().splitlines()[-1] == SENTENCE, said
    assert said.count("stopped") == 1
    assert "Traceback" not in said
    assert "Error" not in said
    logs = [file.read_text(encoding="utf-8") for file in (study.folder / "logs").rglob("*.log")]
    assert "Traceback" not in "".join(logs)


@pytest.mark.parametrize("seconds", [0.2, 0.5, 0.8])
def test_ctrl_c_while_a_job_imports_is_no_traceback(seconds):
    command = [sys.executable, "-m", "bnopt.train", "--settings", "{}"]
    process = subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode != 0
    # A fast machine may have come as far as to miss the other options.
    assert said.startswith(("stopped: ", "usage: ")), said
    assert "Traceback" not in said
