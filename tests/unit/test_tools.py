"""The tools: those that call snakemake survive failures of SLURM and leave no process behind.

Those that write pages refuse a configuration that snakemake refuses, and arguments that they do not have.
"""

import ast
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


SQUEUE = """#!/bin/sh
echo asked >> asked
case $(wc -l < asked) in
    1) echo 12 ;;
    2) echo "squeue: error: no controller" >&2; exit 1 ;;
esac
"""


def test_waiting_for_jobs_outlasts_a_controller_that_is_away(tmp_path):
    """SLURM lists a job, then does not answer, then lists none."""
    log = tmp_path / ".snakemake" / "log" / "1.snakemake.log"
    log.parent.mkdir(parents=True)
    log.write_text("SLURM run ID: abc\n")
    (tmp_path / "squeue").write_text(SQUEUE)
    (tmp_path / "squeue").chmod(0o755)
    program = f"""
import runpy, subprocess, sys, time
sys.argv = ["recover.py", "wait", "--version"]
time.sleep = lambda seconds: None
runpy.run_path({str(TOOLS / "recover.py")!r}, run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "squeue: error: no controller; asking again" in done.stdout
    assert (tmp_path / "asked").read_text().count("asked") == 3


SEED_BY_SEED = f"""
import importlib.util, sys, time
spec = importlib.util.spec_from_file_location("tool", {str(TOOLS / "seed_by_seed.py")!r})
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)
# Not `open(...).write(...)`: Python ignores an interrupt while it closes a file that nobody holds.
snakemake = "pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(600)"
snakemake = [sys.executable, "-c", f"import os, pathlib, sys, time; {{snakemake}}", sys.argv[1]]
run_until, tool.arguments = tool.run_until, lambda: ("small", [0], time.monotonic() + 600, [])
tool.run_until = lambda end, _command: run_until(end, snakemake)
tool.main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_scale_seed_by_seed_ends_after_its_snakemake(tmp_path, number):
    file = tmp_path / "process"
    tool = subprocess.Popen([sys.executable, "-c", SEED_BY_SEED, str(file)], stderr=subprocess.DEVNULL)
    wait_for(lambda: file.exists() and file.read_text())
    tool.send_signal(number)
    assert tool.wait(timeout=60) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(file.read_text()), 0)


@pytest.mark.parametrize(
    ("stored", "first"), [(None, "0"), (1, "0"), (3, "0,1,2"), (8, "0,1,2,3,4,5,6,7"), (9, "")]
)
def test_a_scale_seed_by_seed_never_replaces_results_by_those_of_fewer_seeds(
    tmp_path, monkeypatch, capsys, stored, first
):
    spec = importlib.util.spec_from_file_location("seed_by_seed", TOOLS / "seed_by_seed.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    if stored:
        file = tmp_path / "docs" / "results" / "small" / "claims_per_seed.csv"
        file.parent.mkdir(parents=True)
        rows = [f"{claim},{seed},0.5" for claim in "ab" for seed in range(stored)]
        file.write_text("\n".join(["claim,seed,effect", *rows]), encoding="utf-8")
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr(tool, "arguments", lambda: ("small", list(range(8)), 0, []))
    monkeypatch.setattr(tool, "run_until", lambda end, command: None)  # the hours are over
    monkeypatch.setattr(tool.signal, "signal", lambda *_: None)
    if not first:
        with pytest.raises(
            SystemExit, match=r"scales\.small\.seeds: expected the 9 seeds of .* found 8; add"
        ):
            tool.main()
        return
    tool.main()
    assert capsys.readouterr().out.splitlines()[0] == f"seeds {first} of small"


@pytest.fixture
def repository(tmp_path):
    """A copy of what the tools that write pages read and write."""
    root = tmp_path / "repository"
    (root / "docs").mkdir(parents=True)
    for folder in ("tools", "workflow", "src"):
        shutil.copytree(ROOT / folder, root / folder)
    for file in ("config.yaml", "claims.yaml", "requirements.txt", "environment.yml", "README.md"):
        shutil.copy(ROOT / file, root)
    shutil.copy(ROOT / "docs" / "registration.md", root / "docs")
    return root


def edit(file, pattern, new):
    """Replace the first match of a pattern in a file."""
    text, count = re.subn(pattern, new, file.read_text(encoding="utf-8"), count=1)
    assert count == 1
    file.write_text(text, encoding="utf-8")


def call(root, tool, *arguments):
    """Return the finished process of a tool, which has changed no page and installed nothing."""
    pages = [file for file in root.glob("**/*.*") if file.suffix in (".md", ".yml")]
    before = {file: file.read_bytes() for file in pages}
    done = subprocess.run(
        [sys.executable, root / "tools" / tool, *arguments],
        env=os.environ | {"PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert {file: file.read_bytes() for file in pages} == before
    assert not (root / ".venv").exists()
    return done


def refusal(root, *command):
    """Return the first line of the error with which a tool ends; it changes no page."""
    done = call(root, *command)
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("error: "), done.stderr
    return done.stderr.splitlines()[0]


NEGATIVE = ("config.yaml", r"lr: 0\.1", "lr: -0.1", r"lr: expected more than 0, found -0\.1")


@pytest.mark.parametrize(
    ("tool", "file", "pattern", "new", "words"),
    [
        ("register.py", *NEGATIVE),
        ("pages.py", *NEGATIVE),
        ("register.py", "claims.yaml", "expected: greater", "expected: gretaer", 'one of .* found "gretaer"'),
        (
            "register.py",
            "claims.yaml",
            r"quantity: \w+",
            "quantity: nope",
            "quantity: expected .* found nope",
        ),
        ("register.py", "config.yaml", "^", "scale: digits\n", "scale: expected this key once, found it in"),
    ],
)
def test_a_configuration_that_snakemake_refuses_is_refused_before_a_page_is_written(
    repository, tool, file, pattern, new, words
):
    edit(repository / file, pattern, new)
    said = refusal(repository, tool)
    assert said.startswith(f"error: {file}: ")
    assert re.search(words, said), said


OF_NO_ARGUMENTS = ("environment.py", "install.py", "pages.py")


@pytest.mark.parametrize("tool", [*OF_NO_ARGUMENTS, "register.py", "store.py"])
def test_a_tool_shows_its_help_and_does_nothing_else(repository, tool):
    done = call(repository, tool, "--help")
    text = ast.get_docstring(ast.parse((TOOLS / tool).read_text(encoding="utf-8")))
    assert (done.returncode, done.stderr) == (0, "")
    assert text in done.stdout


@pytest.mark.parametrize("tool", OF_NO_ARGUMENTS)
def test_an_argument_that_a_tool_does_not_have_is_refused(repository, tool):
    edit(repository / "requirements.txt", "^", "another==1\n")  # else nothing would be written anyway
    before = {file: file.read_bytes() for file in repository.rglob("*.*") if file.is_file()}
    done = call(repository, tool, "digits")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("error: unrecognized arguments: digits\n")
    assert {file: file.read_bytes() for file in before} == before
