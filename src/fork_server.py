"""Starts jobs fast: a server that has imported PyTorch, or pandas and matplotlib, forks them.

    python -m fork_server bnopt.train ...    the same as `python -m bnopt.train ...`

Importing them takes 1 to 3 s, longer than many jobs of small nets. Each call of snakemake has servers of its
own (`start`). They import at their first job, and never anything of this project: a job reads the project's
code from the disk. The command above connects to a server (`run`). A child of the server (`attend`) forks the
job, and tells the command how it ended. The command passes its signals on. If anything is unusual, it becomes
`python -m` itself.
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
            start_new_session=True,  # otherwise Ctrl-C would reach jobs twice
        )


def surroundings():
    """Return what a process inherits: a job is forked only if it would inherit the same from its command."""
    umask = os.umask(0o077)
    os.umask(umask)
    environment = {name: value for name, value in os.environ.items() if name not in FREE}
    limits = [umask, os.nice(0), sorted(os.sched_getaffinity(0)), Path("/proc/self/limits").read_text()]
    return [sys.executable, sys.version, os.getcwd(), *limits, environment]


def run(*words):
    """Run a module with its arguments as a forked job or, if that cannot be, in this process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    job = []
    with suppress(AttributeError, KeyError, OSError):  # another system; no server; a server that ends
        watcher = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        watcher.connect(f"{os.environ[ADDRESS]}/{'nets' if words[0] in NETS else 'tables'}")
        request = json.dumps([words, surroundings(), dict(os.environ)]).encode()
        socket.send_fds(watcher, [request], [0, 1, 2])
        _, job, *_ = socket.recv_fds(watcher, 1, 1)
    for number in PASSED_ON if job else ():
        signal.signal(number, lambda number, _: pass_on(number, *job))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    if not job:
        os.execv(sys.executable, [sys.executable, "-m", *words])
    if not (said := watcher.recv(8)):
        sys.exit("error: the process that watches this job was killed; call snakemake again to resume")
    status = int(said)
    sys.exit(status if status >= 0 else 128 - status)  # a signal, as a shell reports it


def pass_on(number, job):
    """Send a signal to a job."""
    with suppress(OSError):  # it has ended
        signal.pidfd_send_signal(job, number)


def serve(kind, listener):
    """Fork a child per command until snakemake ends. Return in a job: its module and arguments.

    kind: key of IMPORTS
    """
    if not sys.flags.safe_path:
        sys.path[0] = os.getcwd()  # as with `python -m`
    # A kernel that does not know this call ends the server here, and nothing is forked.
    os.close(os.pidfd_open(os.getpid()))
    own, child = surroundings(), None
    os.environ |= OF_MATPLOTLIB
    while sys.stdin not in select.select([sys.stdin, listener], (), ())[0]:
        command, _ = listener.accept()
        with suppress(OSError):  # no room for a process
            child = os.fork() if can_fork(IMPORTS[kind]) else None
        if child == 0:
            listener.close()
            return attend(command, own)
        command.close()  # without an answer, the command runs the module itself
        reap(os.WNOHANG)
    shutil.rmtree(os.environ[ADDRESS], ignore_errors=True)
    reap(0)
    os._exit(0)


def reap(options):
    """Wait for children, so that their processor time counts as that of snakemake's children."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, options)[0]:
            pass


def attend(command, own):
    """Fork the job of a command, hand the job over, and tell how it ended. Return in the job what it runs."""
    # While it is forked, a job would lose a signal. If all processes get one, the job writes its checkpoint.
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    attendant, pid = os.getpid(), None
    with suppress(OSError, ValueError):  # no room for a process; the command was killed
        request, files, *_ = socket.recv_fds(command, 2**20, 3)
        words, theirs, environment = json.loads(request)
        pid = os.fork() if theirs == own else None
    if pid == 0:
        command.close()
        become_job(attendant, environment, files)
        return words
    with suppress(OSError):  # the command was killed: this process ends, and the job with it
        if pid:
            for file in files:
                os.close(file)
            watch(pid, command)
    os._exit(0)


def watch(pid, command):
    """Hand a job over to its command, and tell it how the job ended."""
    job = os.pidfd_open(pid)  # can be read once the job has ended
    socket.send_fds(command, [b"+"], [job])
    doors = [job, command, sys.stdin]
    while (ready := select.select(doors, (), ())[0][0]) is sys.stdin:  # snakemake has ended
        doors.remove(ready)
        pass_on(signal.SIGTERM, job)
        signal.alarm(GRACE)
    if ready is job:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        command.send(str(status).encode())


def become_job(attendant, environment, files):
    """Take on the environment and the files of a command, and die if the attendant dies."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != attendant:  # it is dead already
        os._exit(1)
    os.environ.clear()
    os.environ.update(environment)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    # Otherwise all jobs would draw the same random numbers; the project's own ones have their seeds.
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.seed()
    sys.modules["numpy"].random.seed()


def can_fork(imports):
    """Import what takes long. Return whether there is only one thread: the others would be missing."""
    with chdir("/"):  # matplotlib would read a file of the current folder
        for name in imports:
            importlib.import_module(name)
    return len(os.listdir("/proc/self/task")) == 1


def leave(succeeded):
    """End this process if its job succeeded: Python would first free all that was imported, in 0.2 s."""
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
        # Only here: the end of an object of the functions above would swallow a KeyboardInterrupt.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        importlib.invalidate_caches()
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except KeyboardInterrupt:  # before the job could handle it: no traceback
        sys.exit(128 + signal.SIGINT)
    except SystemExit as end:
        if end.code:
            raise
    succeeded.append(True)
