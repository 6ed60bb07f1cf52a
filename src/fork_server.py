"""Starts jobs fast: a server that has imported PyTorch, or pandas and matplotlib, forks a child for each.

    python -m fork_server bnopt.train ...    the same as `python -m bnopt.train ...`

Importing them takes 1 to 3 s, longer than many jobs of small nets. Each call of snakemake has servers of its
own (`start`). They import at their first job, and never anything of this project: a child reads the project's
code from the disk. The command above asks a server for a child, hands over its files, passes on signals, and
ends as the child ends. Whenever anything is unusual, it becomes `python -m` itself.
"""

import atexit
import ctypes
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import chdir, suppress
from pathlib import Path

ADDRESS = "BNOPT_FORK_SERVER"
# Snakemake sets these for the jobs, which have one thread.
THREADS = [f"{name}_NUM_THREADS" for name in ("OMP", "GOTO", "OPENBLAS", "MKL", "NUMEXPR")]
THREADS += ["VECLIB_MAXIMUM_THREADS"]
# It sets these too, and bash the last one. No import reads them, so here server and job may differ.
FREE = ("TMPDIR", "TMP", "TEMPDIR", "TEMP", "_")
# What takes long to import, per server. A job finds only what it uses, or its record would name the rest too.
IMPORTS = {
    "nets": ("pandas", "torch.optim.sgd", "tqdm"),
    "tables": ("pandas", "matplotlib.figure", "matplotlib.backends.backend_pdf"),
}
NETS = ("bnopt.train", "bnopt.probe", "bnopt.random_layers")
# As in `figure.py`: nothing of the user reaches matplotlib, whose import fails if that is damaged.
OF_MATPLOTLIB = {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}
PASSED_ON = (signal.SIGTERM, signal.SIGINT)
# If snakemake alone is killed, its jobs have this many seconds to write a checkpoint.
GRACE = 60


def start(workflow, exports, device):
    """Start the servers of this call of snakemake if its jobs run here, on the CPU, in this environment.

    exports: shell commands that set the environment of jobs.
    """
    os.environ.pop(ADDRESS, None)
    here = workflow.is_main_process and workflow.local_exec and not workflow.touch
    plain = sys.platform == "linux" and not workflow.deployment_settings.deployment_method
    gpu = device != "cpu" and any(Path("/dev", name).exists() for name in ("nvidiactl", "kfd", "dxg"))
    if gpu or not (here and plain) or os.environ.get("BNOPT_FORK") == "0":
        return
    with suppress(OSError):  # no room, no bash
        # Nobody else may enter the folder. The servers remove it too, in case snakemake is killed.
        folder = tempfile.mkdtemp(prefix="bnopt-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ[ADDRESS] = folder
        for kind in IMPORTS:
            atexit.register(_started(kind, folder, exports).communicate)


def _started(kind, folder, exports):
    """Return the process of a new server, whose socket in the folder has the name of its kind."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f"{folder}/{kind}")
        listener.listen(128)
        return subprocess.Popen(
            ["bash", "-c", f'{exports} exec "$python" "$0" --serve {kind} {listener.fileno()}', __file__],
            env=os.environ | dict.fromkeys(THREADS, "1"),
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,  # closes when snakemake ends, however it ends
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # otherwise Ctrl-C would reach children twice
        )


def surroundings():
    """Return what a process inherits: a job gets a child only if it would inherit the same as the server."""
    umask = os.umask(0o077)
    os.umask(umask)
    environment = {name: value for name, value in os.environ.items() if name not in FREE}
    limits = [umask, os.nice(0), sorted(os.sched_getaffinity(0)), Path("/proc/self/limits").read_text()]
    return [sys.executable, sys.version, os.getcwd(), *limits, environment]


def run(*words):
    """Run a module with its arguments in a child of the server or, if it has none for it, in this process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    forked = b""
    with suppress(AttributeError, KeyError, OSError):  # another system; no server; a server that ends
        server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        server.connect(f"{os.environ[ADDRESS]}/{'nets' if words[0] in NETS else 'tables'}")
        request = json.dumps([words, surroundings(), dict(os.environ)]).encode()
        socket.send_fds(server, [request], [0, 1, 2])
        forked = server.recv(1)
    for number in PASSED_ON if forked else ():
        signal.signal(number, lambda number, _: server.send(bytes([number])))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    if not forked:
        os.execv(sys.executable, [sys.executable, "-m", *words])
    if not (said := server.recv(8)):
        sys.exit("error: the fork server was killed; call snakemake again to resume")
    status = int(said)
    sys.exit(status if status >= 0 else 128 - status)  # a signal, as a shell reports it


def serve(kind, listener):
    """Fork a child per request until snakemake ends. Return in the child: its module and arguments.

    kind: key of IMPORTS
    """
    if not sys.flags.safe_path:
        sys.path[0] = os.getcwd()  # as with `python -m`
    # A kernel that does not know this call ends the server here, and nothing is forked.
    os.close(os.pidfd_open(os.getpid()))
    own, doors = surroundings(), [sys.stdin, listener]
    os.environ |= OF_MATPLOTLIB
    # A child is a file that can be read once it has ended. command: child; child: its pid, its command.
    commands, children = {}, {}
    while doors or children:
        ready = select.select([*doors, *children, *commands], (), ())[0][0]
        if ready is sys.stdin:  # snakemake has ended
            doors.clear()
            listener.close()
            shutil.rmtree(os.environ[ADDRESS], ignore_errors=True)
            for child in children:
                signal.pidfd_send_signal(child, signal.SIGTERM)
            signal.alarm(GRACE)
        elif ready is listener:
            command, pid, words = fork(listener, own, IMPORTS[kind])
            if words:
                return words
            if pid:
                child = os.pidfd_open(pid)
                commands[command], children[child] = child, (pid, command)
        elif ready in children:
            pid, command = children.pop(ready)
            commands.pop(command, None)
            os.close(ready)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with suppress(OSError):  # the command was killed
                command.send(str(status).encode())
            command.close()
        else:
            number = b""
            with suppress(OSError):
                number = ready.recv(1)
            # A killed command takes its child along.
            signal.pidfd_send_signal(commands[ready], number[0] if number else signal.SIGKILL)
            if not number:
                del commands[ready]
    sys.exit()


def fork(listener, own, imports):
    """Fork a child for the next request; return its command, its pid (0 in itself) and, in itself, its words.

    Without a pid, the connection closes, and the command runs the module itself.
    """
    server, pid, files = os.getpid(), None, []
    command, _ = listener.accept()
    command.settimeout(5)
    with suppress(OSError, ValueError):  # the command was killed, or there is no room for a process
        request, files, *_ = socket.recv_fds(command, 2**20, 3)
        words, theirs, environment = json.loads(request)
        few = command.fileno() < 900  # `select` takes 1024 files
        pid = os.fork() if theirs == own and few and can_fork(imports) else None
    if pid == 0:
        # Die when the server dies (PR_SET_PDEATHSIG). It may be dead already.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        if os.getppid() != server:
            os.kill(os.getpid(), signal.SIGKILL)
        os.environ.clear()
        os.environ.update(environment)
        for number, file in enumerate(files):
            os.dup2(file, number)
        # Otherwise all jobs would draw the same random numbers; the project's own ones have their seeds.
        if "torch" in sys.modules:
            sys.modules["torch"].default_generator.seed()
        sys.modules["numpy"].random.seed()
    elif pid:
        with suppress(OSError):
            command.send(b"+")
    else:
        command.close()
    for file in files:
        os.close(file)
    return command, pid, words if pid == 0 else None


def can_fork(imports):
    """Import what takes long. Return whether there is only one thread: the others would be missing."""
    with chdir("/"):  # matplotlib would read a file of the current folder
        for name in imports:
            importlib.import_module(name)
    return len(os.listdir("/proc/self/task")) == 1


def leave(succeeded):
    """End this process if its job succeeded: Python would first free all that was imported, in 0.6 s."""
    if succeeded:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] != "--serve":
        run(*sys.argv[1:])
    succeeded = []
    atexit.register(leave, succeeded)  # the first to be registered is called last
    try:
        sys.argv = serve(sys.argv[2], socket.socket(fileno=int(sys.argv[3])))
        importlib.invalidate_caches()
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except KeyboardInterrupt:  # before the job could handle it: no traceback
        sys.exit(128 + signal.SIGINT)
    except SystemExit as end:
        if end.code:
            raise
    succeeded.append(True)
