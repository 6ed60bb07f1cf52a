"""Starts training and probing jobs fast: a server that has imported PyTorch forks a child for each.

    python -SE fork_server.py bnopt.train ...    the same as `python -m bnopt.train ...`

Importing PyTorch and pandas takes 2 s, longer than many jobs of small nets. A call of snakemake has its own
server (`start`). It imports them at the first job, and never anything of this project: a child reads the
project's code from the disk. The command above asks for a child, hands over its files, passes on signals,
and ends as the child ends. Whenever anything is unusual, it becomes `python -m`.
"""

import json
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

ADDRESS = "BNOPT_FORK_SERVER"
# Snakemake sets these for a job of one thread.
ONE_THREAD = [f"{name}_NUM_THREADS" for name in ("OMP", "GOTO", "OPENBLAS", "MKL", "NUMEXPR")]
ONE_THREAD += ["VECLIB_MAXIMUM_THREADS"]
# Server and job may differ in these: no import reads them.
FREE = ("TMPDIR", "TMP", "TEMPDIR", "TEMP")
PASSED_ON = (signal.SIGTERM, signal.SIGINT)
# If snakemake is killed alone, its jobs have this many seconds to write their checkpoints.
GRACE = 60


def start(workflow, exports, device):
    """Start the server of a call of snakemake, if its jobs run on this machine and on the CPU.

    exports: shell commands that set the environment of jobs.
    """
    import atexit
    import subprocess
    import tempfile

    os.environ.pop(ADDRESS, None)
    local = workflow.is_main_process and workflow.local_exec and not workflow.touch
    plain = sys.platform == "linux" and not workflow.deployment_settings.deployment_method
    gpu = device != "cpu" and any(Path("/dev", name).exists() for name in ("nvidiactl", "kfd", "dxg"))
    if gpu or not (local and plain) or os.environ.get("BNOPT_FORK") == "0":
        return
    # Only this user may enter the folder. The server removes it.
    os.environ[ADDRESS] = f"{tempfile.mkdtemp(prefix='bnopt-')}/socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(os.environ[ADDRESS])
        listener.listen(128)
        server = subprocess.Popen(
            ["bash", "-c", f'{exports} exec python "$0" --serve {listener.fileno()}', __file__],
            env=os.environ | dict.fromkeys(ONE_THREAD, "1"),
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,  # closes when snakemake ends, in whatever way
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # or Ctrl-C would reach children twice
        )
    atexit.register(server.communicate)


def surroundings():
    """Return what a process inherits: a job whose command has other surroundings is not forked."""
    umask = os.umask(0o077)
    os.umask(umask)
    environment = {name: value for name, value in os.environ.items() if name not in FREE}
    python = [sys.executable, sys.version]
    machine = [os.nice(0), sorted(os.sched_getaffinity(0)), Path("/proc/self/limits").read_text()]
    return [*python, os.getcwd(), umask, *machine, environment]


def run(words):
    """Run a module with its arguments in a child of the server; without one, in this process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    accepted = b""
    with suppress(AttributeError, KeyError, OSError):  # no server, or not Linux
        server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        server.connect(os.environ[ADDRESS])
        request = json.dumps([words, surroundings(), dict(os.environ)]).encode()
        socket.send_fds(server, [request], [0, 1, 2])
        accepted = server.recv(1)
    for number in PASSED_ON if accepted else ():
        signal.signal(number, lambda number, _: server.send(bytes([number])))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    if not accepted:
        os.execv(sys.executable, [sys.executable, "-m", *words])
    status = int(server.recv(8) or sys.exit("error: the fork server was killed; call snakemake again"))
    for number in PASSED_ON:
        signal.signal(number, signal.SIG_DFL)
    if status < 0:
        os.kill(os.getpid(), -status)
    sys.exit(status)


def serve(listener):
    """Fork a child for each request until snakemake ends. Return in a child: its module and arguments."""
    import select
    import shutil

    sys.path[0] = os.getcwd()  # as with `python -m`
    own, doors = surroundings(), [sys.stdin, listener]
    # Command of a job -> its child; child -> its pid and command. A child is a file: readable when it ends.
    commands, children = {}, {}
    while doors or children:
        ready = select.select([*doors, *children, *commands], (), ())[0][0]
        if ready is listener:
            command, pid, words = fork(listener, own)
            if words:
                return words
            if pid:
                child = os.pidfd_open(pid)
                commands[command], children[child] = child, (pid, command)
        elif ready is sys.stdin:  # snakemake has ended
            doors.clear()
            listener.close()
            shutil.rmtree(Path(os.environ[ADDRESS]).parent, ignore_errors=True)
            for child in children:
                signal.pidfd_send_signal(child, signal.SIGTERM)
            signal.alarm(GRACE)
        elif ready in children:
            pid, command = children.pop(ready)
            commands.pop(command, None)
            with suppress(OSError):  # the command was killed
                command.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            os.close(ready)
        else:
            number = b""
            with suppress(OSError):
                number = ready.recv(1)
            signal.pidfd_send_signal(commands[ready], number[0] if number else signal.SIGKILL)
            if not number:
                del commands[ready]
    sys.exit()


def fork(listener, own):
    """Fork a child for the next request; return the connection to its command, its pid, and in it its words.

    Without a child, the connection closes, and the command runs the module itself.
    """
    import ctypes

    server, pid, files = os.getpid(), None, []
    command, _ = listener.accept()
    command.settimeout(GRACE)
    with suppress(OSError, ValueError):  # the command was killed, or there is no room for a process
        request, files, *_ = socket.recv_fds(command, 2**20, 3)
        words, theirs, environment = json.loads(request)
        pid = os.fork() if theirs == own and can_fork() else None
    if pid == 0:
        # Die with the server, which may be dead already.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != server:
            os.kill(os.getpid(), signal.SIGKILL)
        os.environ.clear()
        os.environ.update(environment)
        for number, file in enumerate(files):
            os.dup2(file, number)
    for file in files:
        os.close(file)
    if pid:
        with suppress(OSError):
            command.send(b"+")
    return command, pid, words if pid == 0 else None


def can_fork():
    """Import what takes long; return whether there is a single thread, as a fork needs it."""
    import pandas  # noqa: F401
    import torch.optim.sgd
    import tqdm  # noqa: F401

    return len(os.listdir("/proc/self/task")) == 1


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        import importlib
        import runpy

        sys.argv = serve(socket.socket(fileno=int(sys.argv[2])))
        importlib.invalidate_caches()
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        run(sys.argv[1:])
