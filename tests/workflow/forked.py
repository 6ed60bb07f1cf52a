"""Calls of snakemake that share one import of it, which takes over a third of a short call.

`run` is `subprocess.run` for a command `python -P -m snakemake ...`. A process that has imported snakemake,
and nothing else, forks a child for each call. It is a plain call if Python itself would start differently.
"""

import atexit
import functools
import importlib
import json
import os
import resource
import runpy
import select
import subprocess
import sys
import tempfile
from pathlib import Path

# Python reads these when it starts: a child of a running Python would not notice them.
READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MKL_", "OMP_", "OPENBLAS_")
IMPORTED_BY_A_PLAN = ["docutils.core", "jinja2", "jsonschema", "PIL.Image", "requests", "rich.markdown"]
IMPORTED_BY_A_PLAN += ["smart_open", "yte"]


def run(command, *, cwd, env, timeout, **plain):
    """Return the finished process of a call, with its output as one text."""
    words = command[command.index("snakemake") + 1 :]
    if inherited(env) != server().inherited:
        return subprocess.run(command, cwd=cwd, env=env, timeout=timeout, **plain)
    with tempfile.NamedTemporaryFile() as said:
        call = {"words": words, "cwd": str(cwd), "env": env, "said": said.name}
        server().stdin.write(json.dumps(call) + "\n")
        server().stdin.flush()
        if not select.select([server().stdout], [], [], timeout)[0]:
            server().kill()
            server.cache_clear()
            raise subprocess.TimeoutExpired(command, timeout, Path(said.name).read_bytes())
        status = int(server().stdout.readline())
        text = Path(said.name).read_text(encoding="utf-8", errors=plain["errors"])
    return subprocess.CompletedProcess(command, status, text)


def inherited(environment):
    """Return what a process inherits and keeps: variables that Python reads at its start, and limits."""
    variables = {name: value for name, value in environment.items() if name.startswith(READ_AT_START)}
    return variables, [resource.getrlimit(kind) for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE)]


@functools.cache
def server():
    """Return the process that has imported snakemake; it ends with this one."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-P", __file__], env=os.environ | {"COLUMNS": "500"}, **pipes)
    process.inherited = inherited(os.environ)
    atexit.register(process.communicate)
    return process


def serve():
    """Answer each call with the exit status of a child; return the call in the child, None at the end."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            return json.loads(line)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    return None


def become(call):
    """Give this process the folder, variables, arguments and files of a call."""
    os.chdir(call["cwd"])
    os.environ.clear()
    os.environ.update(call["env"])
    nothing, said = os.open(os.devnull, os.O_RDONLY), os.open(call["said"], os.O_WRONLY | os.O_APPEND)
    for source, target in ((nothing, 0), (said, 1), (said, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(said)
    sys.argv[1:] = call["words"]
    # Its messages name the folder in which it was imported.
    snakemake.workflow.Workflow._rundir = call["cwd"]


if __name__ == "__main__":
    import snakemake.cli
    import snakemake.workflow

    # The plug-ins, and what a call that plans the study imports from others.
    snakemake.cli.get_argument_parser()
    for module in IMPORTED_BY_A_PLAN:
        importlib.import_module(module)
    if call := serve():
        become(call)
        # It ends as any Python does: exit functions run, and threads are waited for.
        runpy.run_module("snakemake", run_name="__main__", alter_sys=True)
