"""The fork server: a job behaves as with `python -m`, and no process outlives snakemake."""

import json
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

import fork_server
from bnopt.files import records

ROOT = Path(__file__).parents[2]
SOURCE = str(ROOT / "src")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no server")
PATIENCE = 60
ABOUT = """
import json, os, sys, torch
umask = os.umask(0)
print("words", sys.argv, file=sys.stderr)
print(json.dumps({
    "main": [__name__, __spec__.name, sys.modules["__main__"].__dict__ is globals()],
    "argv": sys.argv, "path": sys.path, "flags": list(sys.flags), "folder": os.getcwd(), "umask": umask,
    "environment": dict(os.environ), "threads": torch.get_num_threads(), "stdin": sys.stdin.read(),
    "project": [m for m in sys.modules if m.startswith("bnopt")],
    "cuda": torch.cuda.is_initialized(),
}))
"""
# Says its process, its parent and its parent's parent, then works until it is told to stop.
WORK = """
import os, signal, sys, time
from parent import parents
def stop(number, _):
    # `print` fails if the signal comes while the one below is under way.
    os.write(1, f"stopped by {number}\\n".encode())
    sys.exit(5)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
print(os.getpid(), *parents(), flush=True)
while True:
    time.sleep(0.01)
"""
WATCH_KILLED = "error: the process that watches this job was killed; call snakemake again to resume\n"
PARENT = """
import os
from pathlib import Path
def parents():
    stat = Path(f"/proc/{os.getppid()}/stat").read_text()
    return os.getppid(), int(stat.rpartition(")")[2].split()[1])
if __name__ == "__main__":
    print(*parents())
"""
# Stands in for snakemake: starts a server, says its address and process, and waits.
SNAKEMAKE = """
import os, subprocess, sys
from types import SimpleNamespace
import fork_server
pids = []
class Noted(subprocess.Popen):
    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        pids.append(self.pid)
subprocess.Popen = Noted
workflow = SimpleNamespace(is_main_process=True, local_exec=True, touch=False)
workflow.deployment_settings = SimpleNamespace(deployment_method=set())
fork_server.start(workflow, "python=python; ", "cpu")
print(os.environ["BNOPT_FORK_SERVER"], *pids, flush=True)
sys.stdin.read()
"""


def wait_for(condition):
    """Wait until a condition holds; return its value."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return found


def gone(pid):
    """Return whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


class Called:
    """A stand-in for a call of snakemake in a folder, with its server, and the commands of its jobs."""

    def __init__(self, folder, source=SOURCE):
        self.folder = folder
        (folder / "work.py").write_text(WORK)
        (folder / "parent.py").write_text(PARENT)
        paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
        self.environment = os.environ | {"PATH": os.pathsep.join(paths), "PYTHONPATH": source}
        self.environment |= dict.fromkeys(fork_server.THREADS, "1")
        piped = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        command = [sys.executable, "-c", SNAKEMAKE]
        self.process = subprocess.Popen(command, cwd=folder, env=self.environment, **piped)
        self.address, *servers = self.process.stdout.readline().split()
        self.server_of_nets, self.server = map(int, servers)
        self.environment["BNOPT_FORK_SERVER"] = self.address

    def start(self, *words, prepare="exec", **surroundings):
        """Start a job as Snakemake does, through bash; `prepare` comes before its command."""
        command = ["bash", "-c", f'{prepare} python -m fork_server "$@"', "bash", *words]
        surroundings = {"cwd": self.folder, "env": self.environment} | surroundings
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(command, **pipes, text=True, **surroundings)

    def run(self, *words, given="", **surroundings):
        """Run a job; return its exit status, output and errors."""
        process = self.start(*words, **surroundings)
        said = process.communicate(given, timeout=PATIENCE)
        return process.returncode, *said

    def forks(self, **surroundings):
        """Return whether a job is forked: the server's child is its parent."""
        status, said, errors = self.run("parent", **surroundings)
        assert status == 0, errors
        return int(said.split()[1]) == self.server

    def working(self):
        """Start the job that works until it is told to stop; return its command, its process, its parent."""
        command = self.start("work")
        job, attendant, server = map(int, command.stdout.readline().split())
        assert server == self.server
        return command, job, attendant

    def end(self):
        with suppress(OSError):
            self.process.stdin.close()
        self.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def called(tmp_path_factory):
    """A call of snakemake whose server no test ends."""
    called = Called(tmp_path_factory.mktemp("called"))
    yield called
    called.end()
    assert gone(called.server)
    assert gone(called.server_of_nets)


@pytest.fixture
def own_called(tmp_path):
    """A call of snakemake for one test."""
    called = Called(tmp_path)
    yield called
    called.end()


# -- a job is as with `python -m` -------------------------------------------------------------------


def test_a_child_is_what_python_m_is(called):
    (called.folder / "about.py").write_text(ABOUT)
    words = ["about", "--settings", '{"ü": "a b"}', ""]
    forked = called.run(*words, given="input")
    plain = subprocess.run(
        ["bash", "-c", 'exec python -m "$@"', "bash", *words],
        cwd=called.folder, env=called.environment, input="input", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(forked[1]) == json.loads(plain.stdout)
    assert forked == (0, plain.stdout, plain.stderr)
    about = json.loads(plain.stdout)
    assert about["project"] == []
    assert not about["cuda"]
    assert called.forks()


@pytest.mark.parametrize(
    ("number", "body", "status", "error"),
    [
        (1, "", 0, ""),
        (2, "raise SystemExit", 0, ""),
        (3, "raise SystemExit(3)", 3, ""),
        (4, "raise SystemExit('error: a sentence')", 1, "error: a sentence\n"),
        (5, "raise ValueError('a bug')", 1, "ValueError: a bug\n"),
        (6, "import atexit; atexit.register(print, 'last', file=__import__('sys').stderr)", 0, "last\n"),
        (7, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 128 + 9, ""),
        (8, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 128 + 11, ""),
        (9, "import no_such_module", 1, "ModuleNotFoundError: No module named 'no_such_module'\n"),
    ],
)
def test_the_command_ends_as_its_child(called, number, body, status, error):
    # A name of its own: Python would take another file of one length, written in one second, for the same.
    module = f"ending_{number}"
    (called.folder / f"{module}.py").write_text(body)
    found, _, errors = called.run(module)
    assert (found, errors.splitlines()[-1:]) == (status, error.splitlines())


def test_a_child_ends_only_once_all_is_said(called):
    """It skips the end of the interpreter, but waits for threads, calls exit functions, and flushes."""
    late = "threading.Thread(target=lambda: (time.sleep(0.3), print('thread'))).start()"
    body = f"import atexit, threading, time; atexit.register(print, 'exit'); {late}; print('main')"
    (called.folder / "saying.py").write_text(body)
    assert called.run("saying") == (0, "main\nthread\nexit\n", "")


def test_a_missing_module_is_an_error(called):
    status, _, errors = called.run("no_such_module")
    assert status == 1
    assert "No module named" in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_child_once(called, number):
    command, job, attendant = called.working()
    command.send_signal(number)
    said, _ = command.communicate(timeout=PATIENCE)
    assert said == f"stopped by {int(number)}\n"
    assert command.returncode == 5
    assert gone(job)
    wait_for(lambda: gone(attendant))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_not_lost_while_a_job_starts(called, number):
    """It comes before the server answers. The job gets it, at the latest when it can handle it."""
    os.kill(called.server, signal.SIGSTOP)
    commands = [called.start("work") for _ in range(8)]
    for command in commands:
        wait_for(lambda command=command: waits_for_an_answer(command.pid, number))
        command.send_signal(number)
    os.kill(called.server, signal.SIGCONT)
    for command in commands:
        command.communicate(timeout=PATIENCE)
        assert command.returncode in (5, 128 + number)


def waits_for_an_answer(pid, number):
    """Return whether a command has no answer of the server yet: until then, it blocks signals."""
    if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"bash"):
        return False
    (mask,) = re.findall(r"SigBlk:\t(\w+)", Path(f"/proc/{pid}/status").read_text())
    return int(mask, 16) >> (number - 1) & 1


def test_a_signal_after_the_end_of_a_job_changes_nothing(called):
    body = "import os; from parent import parents; print(os.getpid(), *parents(), flush=True); input()"
    (called.folder / "short.py").write_text(body)
    command = called.start("short")
    job, attendant, _ = map(int, command.stdout.readline().split())
    wait_for(lambda: not waits_for_an_answer(command.pid, signal.SIGTERM))
    os.kill(command.pid, signal.SIGSTOP)
    command.stdin.write("\n")
    command.stdin.flush()
    wait_for(lambda: gone(job) and gone(attendant))
    command.terminate()
    os.kill(command.pid, signal.SIGCONT)
    assert command.communicate(timeout=PATIENCE) == ("", "")
    assert command.returncode == 0


def test_if_all_processes_get_a_signal_a_job_still_writes_its_checkpoint(own_called):
    command, job, attendant = own_called.working()
    for process in (own_called.server, attendant, job):
        os.kill(process, signal.SIGTERM)
    assert command.communicate(timeout=PATIENCE)[0] == "stopped by 15\n"
    assert command.returncode == 5
    wait_for(lambda: gone(attendant) and gone(own_called.server))


def test_code_edited_meanwhile_counts(called):
    for text in ("first", "other"):  # of one length, within the same second
        (called.folder / "edited_module.py").write_text(f"TEXT = {text!r}")
        (called.folder / "edited.py").write_text("import edited_module; print(edited_module.TEXT)")
        os.utime(called.folder / "edited_module.py", (time.time(), time.time() + len(text) + ord(text[0])))
        assert called.run("edited")[1] == f"{text}\n"


def test_time_and_memory_are_the_childs_own(called):
    program = "from bnopt.files import records; import json; print(json.dumps(records.used()))"
    (called.folder / "usage.py").write_text(f"import sys; sys.path.insert(0, {SOURCE!r}); {program}")
    used = json.loads(called.run("usage")[1])
    assert used["cpu_seconds"] < 1
    assert used["seconds"] < 1
    assert 50 < used["memory_mib"] < 2000


def test_the_time_of_jobs_counts_as_that_of_snakemakes_children(own_called):
    """`time snakemake` shows it."""
    work = "import time\nwhile time.process_time() < 2: pass"
    (own_called.folder / "burn.py").write_text(work)
    before = seconds_of_children()
    for _ in range(3):
        assert own_called.run("burn")[0] == 0
    commands = seconds_of_children()
    assert commands - before < 3
    own_called.end()
    assert seconds_of_children() - commands > 6


def seconds_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_children_draw_their_own_random_numbers(called):
    program = "import random, torch, numpy; print(random.random(), torch.rand(1).item(), numpy.random.rand())"
    (called.folder / "draw.py").write_text(program)
    drawn = [called.run("draw")[1].split() for _ in range(2)]
    assert not set(drawn[0]) & set(drawn[1])


# -- whatever is unusual falls back -----------------------------------------------------------------


def test_other_surroundings_fall_back(called, tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    assert called.forks()
    assert called.forks(env=called.environment | {"TMPDIR": str(tmp_path)})
    assert not called.forks(cwd=tmp_path)
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "MKL_CBWR"):
        assert not called.forks(env=called.environment | {name: "2"}), name
    assert not called.forks(prepare="umask 077; exec")
    assert os.nice(0) == 19 or not called.forks(prepare="exec nice -n 1")
    assert not called.forks(prepare="ulimit -Sn 200; exec")
    assert not called.forks(env={n: v for n, v in called.environment.items() if n != "BNOPT_FORK_SERVER"})
    assert not called.forks(env=called.environment | {"BNOPT_FORK_SERVER": str(tmp_path / "none")})
    assert called.forks()


def test_another_python_falls_back(called, tmp_path):
    (tmp_path / "python").symlink_to(sys.executable)
    assert not called.forks(prepare=f"PATH={tmp_path}:$PATH; exec")


def test_a_command_killed_before_it_asks_harms_nobody(called):
    with fork_server.socket.socket(fork_server.socket.AF_UNIX, fork_server.socket.SOCK_SEQPACKET) as other:
        other.connect(f"{called.address}/tables")
    assert called.forks()


def usual(**changed):
    workflow = {"is_main_process": True, "local_exec": True, "touch": False, "methods": set()} | changed
    workflow["deployment_settings"] = SimpleNamespace(deployment_method=workflow.pop("methods"))
    return SimpleNamespace(**workflow)


@pytest.fixture
def started(monkeypatch, tmp_path):
    """Function: what `start` is given -> whether it starts a server; nothing is started."""
    calls = []
    monkeypatch.setattr(
        fork_server.subprocess, "Popen", lambda *a, **k: calls.append(a) or SimpleNamespace(communicate=print)
    )
    monkeypatch.setattr(fork_server.atexit, "register", lambda *call, **how: None)
    monkeypatch.setattr(fork_server.tempfile, "mkdtemp", lambda prefix: str(tmp_path))

    def started(workflow, device="cpu"):
        calls.clear()
        for kind in fork_server.IMPORTS:
            (tmp_path / kind).unlink(missing_ok=True)
        monkeypatch.setenv("BNOPT_FORK_SERVER", "of an outer call")
        fork_server.start(workflow, "", device)
        assert ("BNOPT_FORK_SERVER" in os.environ) == bool(calls)
        assert len(calls) in (0, len(fork_server.IMPORTS))
        return bool(calls)

    return started


def test_a_server_starts_only_for_plain_local_jobs_on_the_cpu(started, monkeypatch):
    assert started(usual())
    assert not started(usual(is_main_process=False))
    assert not started(usual(local_exec=False))
    assert not started(usual(touch=True))
    assert not started(usual(methods={"conda"}))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not started(usual())
    monkeypatch.undo()


def test_no_server_starts_where_a_gpu_would_be_used(started, monkeypatch):
    exists = Path.exists
    for has_gpu in (False, True):
        monkeypatch.setattr(
            Path, "exists", lambda path, has=has_gpu: has if path.parent == Path("/dev") else exists(path)
        )
        assert started(usual(), "cpu")
        assert started(usual(), None) is not has_gpu
        assert started(usual(), "auto") is not has_gpu


def test_a_server_can_be_forbidden(started, monkeypatch):
    monkeypatch.setenv("BNOPT_FORK", "0")
    assert not started(usual())


def test_without_room_for_a_socket_snakemake_goes_on(monkeypatch):
    def full(prefix):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fork_server.tempfile, "mkdtemp", full)
    monkeypatch.setenv("BNOPT_FORK_SERVER", "of an outer call")
    fork_server.start(usual(), "", "cpu")
    assert "BNOPT_FORK_SERVER" not in os.environ


# -- no process is left -------------------------------------------------------------------------------


def test_only_the_user_may_enter_the_folder_of_the_socket(called):
    folder = Path(called.address)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert folder.stat().st_uid == os.getuid()


def test_a_killed_command_takes_its_child_along(called):
    command, job, attendant = called.working()
    command.kill()
    wait_for(lambda: gone(job) and gone(attendant))
    assert called.forks()


def test_the_server_ends_with_snakemake(own_called):
    own_called.end()
    assert gone(own_called.server)
    assert gone(own_called.server_of_nets)
    assert not Path(own_called.address).exists()


def test_if_snakemake_alone_is_killed_its_jobs_may_write_a_checkpoint_and_end(own_called):
    command, job, attendant = own_called.working()
    own_called.process.kill()
    assert command.communicate(timeout=PATIENCE)[0] == "stopped by 15\n"
    assert command.returncode == 5
    wait_for(lambda: gone(job) and gone(attendant) and gone(own_called.server))
    assert not Path(own_called.address).exists()


def test_if_snakemake_alone_is_killed_a_job_that_goes_on_is_killed_too(tmp_path):
    (tmp_path / "src").mkdir()
    hasty = Path(fork_server.__file__).read_text().replace("GRACE = 60", "GRACE = 1")
    (tmp_path / "src/fork_server.py").write_text(hasty)
    called = Called(tmp_path, str(tmp_path / "src"))
    (tmp_path / "deaf.py").write_text(WORK.replace("sys.exit(5)", "pass"))
    command = called.start("deaf")
    job, attendant, server = map(int, command.stdout.readline().split())
    assert server == called.server
    called.process.kill()
    said, errors = command.communicate(timeout=PATIENCE)
    assert said == "stopped by 15\n"
    assert (command.returncode, errors) == (1, WATCH_KILLED)
    wait_for(lambda: gone(job) and gone(attendant) and gone(server))
    called.end()


def test_if_the_server_is_killed_its_jobs_go_on_and_later_ones_fall_back(own_called):
    command, _, _ = own_called.working()
    os.kill(own_called.server, signal.SIGKILL)
    wait_for(lambda: gone(own_called.server))
    assert not own_called.forks()
    assert command.poll() is None
    command.terminate()
    assert command.communicate(timeout=PATIENCE)[0] == "stopped by 15\n"
    assert command.returncode == 5
    own_called.end()
    assert not Path(own_called.address).exists()


def test_a_job_ends_if_the_process_that_watches_it_is_killed(called):
    command, job, attendant = called.working()
    os.kill(attendant, signal.SIGKILL)
    _, errors = command.communicate(timeout=PATIENCE)
    assert (command.returncode, errors) == (1, WATCH_KILLED)
    wait_for(lambda: gone(job))
    assert called.forks()


# -- the study ------------------------------------------------------------------------------------------


def processes_in(folder):
    """Return the processes that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink() == folder and not gone(process.name):
                found.append(process.name)
    return found


TARGETS = [
    "results/tiny/probes/along_gradient/vgg_none/seed0.csv",
    "results/tiny/probes/activations/vgg_noisy_batch/seed0.csv",
    "results/tiny/probes/theorems/vgg_batch/seed0.csv",
    "results/tiny/probes/covariate_shift/deep_linear_batch/seed0.csv",
]


def test_with_and_without_it_a_study_has_the_same_bytes(finished, tmp_path, new_study, monkeypatch):
    monkeypatch.setenv("BNOPT_FORK", "0")
    plain = new_study(tmp_path / "plain", finished.config)
    plain.run(*TARGETS)
    tables = plain.tables()
    assert len(tables) == 8
    snapshots = sorted((plain.results / "runs").rglob("step*.pt"))
    assert snapshots
    for name in [*tables, *(file.relative_to(plain.results) for file in snapshots)]:
        assert (plain.results / name).read_bytes() == (finished.results / name).read_bytes(), name
    for name in tables:
        assert_same_record(plain, finished, name)


def assert_same_record(plain, forked, name):
    """Assert that two studies have the same record of a file, apart from its time, shorter in one."""
    found = [records.read(study.results / name) for study in (plain, forked)]
    # The child did not spend the time in which the server imported PyTorch or matplotlib.
    assert found[1]["cpu_seconds"] < found[0]["cpu_seconds"]
    for record in found:
        for key in ("started", "seconds", "cpu_seconds", "memory_mib", "commit"):
            del record[key]
    assert found[0] == found[1]


def test_with_and_without_it_a_figure_has_the_same_bytes(finished, copy_of_finished, monkeypatch):
    """A file of the user for matplotlib reaches neither; a damaged one does not end the server."""
    monkeypatch.setenv("BNOPT_FORK", "0")
    names = ("figures/fig1.pdf", "statistics/training_per_seed.csv")
    plain = copy_of_finished
    (plain.folder / "matplotlibrc").write_text("font.size: damaged\nno line")
    monkeypatch.setenv("MPLBACKEND", "no_such_backend")
    plain.run("--force", *(f"results/tiny/{name}" for name in names))
    assert_same_record(plain, finished, names[0])
    assert_same_record(plain, finished, names[1])
    monkeypatch.delenv("BNOPT_FORK")
    before = {name: records.read(plain.results / name) for name in names}
    plain.run("--force", *(f"results/tiny/{name}" for name in names))
    for name in ("figures/fig1.png", *names):
        assert (plain.results / name).read_bytes() == (finished.results / name).read_bytes(), name
    for name in names:
        assert records.read(plain.results / name)["cpu_seconds"] < before[name]["cpu_seconds"]


def test_two_calls_at_once_have_their_own_servers_and_leave_nothing(tmp_path, new_study, pair_config):
    studies = [new_study(tmp_path / name, pair_config) for name in ("first", "second")]
    target = "results/tiny/probes/along_gradient/vgg_batch/seed0.csv"
    calls = [study.start(target) for study in studies]
    for study, call in zip(studies, calls, strict=True):
        assert call.wait(timeout=10 * PATIENCE) == 0, (study.folder / "said.txt").read_text()
        assert processes_in(study.folder) == []
    assert studies[0].tables() == studies[1].tables()
    for study in studies:
        assert all(record["seconds"] < 2 for record in map(records.read, study.results.rglob("seed0*.csv")))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("to_group", [True, False])
def test_however_snakemake_ends_it_leaves_no_process(tmp_path, new_study, pair_config, number, to_group):
    pair_config = json.loads(json.dumps(pair_config))
    pair_config["scales"]["tiny"]["vgg"] |= {"steps": 1000, "snapshot_every": 501}
    study = new_study(tmp_path / "study", pair_config)
    call = study.start("results/tiny/runs/vgg_batch/seed0/training.csv")
    log = study.folder / "logs/tiny/train/vgg_batch/seed0.log"
    wait_for(lambda: log.exists() and re.search(r"\| +\d+/\d+ \[", log.read_text()))
    # snakemake, its two servers, a command, the job and the process that watches it
    assert len(processes_in(study.folder)) == 6
    (os.killpg if to_group else os.kill)(call.pid, number)
    call.wait(timeout=PATIENCE)
    wait_for(lambda: processes_in(study.folder) == [])
    if number == signal.SIGTERM and to_group:
        assert "stopped: its state is in" in log.read_text()
