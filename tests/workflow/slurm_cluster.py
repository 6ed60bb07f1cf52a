"""A real SLURM on this machine: one controller, virtual nodes with placeholder GPUs, no systemd, no cgroups.

It needs munge, slurmctld, slurmd and slurm-client. It runs as the current user, in its own folder.
"""

import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, closing, suppress
from datetime import datetime
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "srun", "scancel", "scontrol", "sinfo")
SYSTEM_PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
# Longest time in seconds for a daemon to start and for a command to answer.
STARTING = 120

CONF = """\
ClusterName=test
SlurmctldHost={host}(localhost)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=bf_interval=2,sched_interval=5,sched_min_interval=0,batch_sched_delay=0
ReturnToService=2
InactiveLimit=0
KillWait=10
MinJobAge=3600
JobRequeue=1
GresTypes=gpu
{accounting}
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.txt
NodeName=DEFAULT CPUs=4 RealMemory=100000 Gres=gpu:1
NodeName=n[1-2] NodeHostname={host} NodeAddr=localhost Port=[{ports[1]}-{ports[2]}]
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=24:00:00 DefaultTime=10 State=UP
"""


ACCOUNTING_PROGRAMS = ("slurmdbd", "mariadbd", "mariadb", "mariadb-install-db", "sacctmgr")
ACCOUNT = "study"

NO_ACCOUNTING = "AccountingStorageType=accounting_storage/none"
ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={port}
AccountingStoragePass={folder}/munge.sock
AccountingStorageEnforce=associations"""

DATABASE_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
DbdHost={host}
DbdAddr=localhost
DbdPort={port}
SlurmUser={user}
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost={address}
StoragePort={sql_port}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
"""

SQL = """\
CREATE DATABASE slurm;
CREATE USER slurm@localhost IDENTIFIED BY 'slurm';
CREATE USER slurm@'%' IDENTIFIED BY 'slurm';
GRANT ALL ON slurm.* TO slurm@localhost;
GRANT ALL ON slurm.* TO slurm@'%';
"""


def missing(*, accounting=False):
    """Return the programs that are not installed."""
    programs = PROGRAMS + (ACCOUNTING_PROGRAMS if accounting else ())
    return [program for program in programs if not shutil.which(program, path=SYSTEM_PATH)]


class Cluster:
    """Two nodes of four cores and one GPU each, all of them this machine."""

    gpus = 2

    def __init__(self, *, accounting=False):
        # Not in pytest's folders: the path of a socket may have about a hundred characters.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm"))
        # The database gives up its root rights, but must still enter this folder.
        self.folder.chmod(0o711)
        self.accounting = accounting
        self.user = self._answer_alone("id", "-un").strip()
        self.host = socket.gethostname().split(".")[0]
        self.environment = os.environ | {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{SYSTEM_PATH}",
            "SLURM_CONF": str(self.folder / "slurm.conf"),
        }

    def start(self):
        """Start munge, the controller and the nodes; return once both nodes are idle."""
        (self.folder / "state").mkdir()
        self._configure()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        names = {"key-file": key.name, "socket": "munge.sock", "pid-file": "munged.pid"}
        names |= {"log-file": "munged.log", "seed-file": "munge.seed"}
        self.run("munged", "--force", *(f"--{option}={self.folder / name}" for option, name in names.items()))
        if self.accounting:
            self._start_accounting()
        self.run("slurmctld", "-c")
        for node in ("n1", "n2"):
            self.run("slurmd", "-N", node)
        deadline = time.monotonic() + STARTING
        while self._answer("sinfo", "-h", "-N", "-t", "idle", "-o", "%N").split() != ["n1", "n2"]:
            assert time.monotonic() < deadline, (self.folder / "slurmctld.log").read_text()
            time.sleep(0.25)

    def stop(self):
        """Cancel all jobs; stop the daemons by the process ids in their pid files."""
        try:
            if jobs := self.running(states="PD,R,CG,S"):
                self.run("scancel", *jobs)
                time.sleep(1)
        finally:
            for name in ("slurmd-n1", "slurmd-n2", "slurmctld", "slurmdbd", "mariadbd", "munged"):
                file = self.folder / f"{name}.pid"
                if file.exists():
                    subprocess.run(["kill", file.read_text().strip()], check=False)
            time.sleep(1)
            shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *command):
        """Run a SLURM command, which must succeed; return its output."""
        done = self._call(*command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def running(self, comment="", *, states="R"):
        """Return the ids of jobs in these states; their comment (rule and wildcards) contains `comment`."""
        lines = self._answer("squeue", "-h", "-t", states, "-o", "%A %k").splitlines()
        return [line.split()[0] for line in lines if comment in line]

    def describe(self, number):
        """Return the controller's record of a job, as a dictionary."""
        return dict(re.findall(r"(\w+)=(\S*)", self.run("scontrol", "show", "job", number)))

    def jobs(self):
        """Return SLURM's own records of the jobs that have ended, as dictionaries."""
        file = self.folder / "jobs.txt"
        lines = file.read_text().splitlines() if file.exists() else []
        return [dict(re.findall(r"(\w+)=(\S*)", line)) for line in lines]

    def _answer(self, *command):
        return self._call(*command).stdout

    def _call(self, *command):
        told = {"env": self.environment, "cwd": self.folder, "timeout": STARTING}
        return subprocess.run(command, capture_output=True, text=True, check=False, **told)

    @staticmethod
    def _answer_alone(*command):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def _start_accounting(self):
        """Start a database and slurmdbd, and add an account for the user."""
        database = self.folder / "database"
        owner = "mysql" if self.user == "root" else self.user
        database.mkdir()
        shutil.chown(database, owner)
        self.run("mariadb-install-db", "--no-defaults", f"--user={owner}", f"--datadir={database}",
                 "--auth-root-authentication-method=normal")  # fmt: skip
        port, sql_port, _ = free_ports()
        with (self.folder / "mariadbd.log").open("w") as log:
            server = subprocess.Popen(
                [
                    *("mariadbd", "--no-defaults", f"--user={owner}", f"--datadir={database}"),
                    *(f"--socket={database}/s.sock", f"--port={sql_port}", "--bind-address=localhost"),
                ],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        (self.folder / "mariadbd.pid").write_text(str(server.pid))
        client = ("mariadb", "--no-defaults", f"--socket={database}/s.sock", "--user=root")
        deadline = time.monotonic() + STARTING
        while subprocess.run([*client, "--execute=SELECT 1"], capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, (self.folder / "mariadbd.log").read_text()
            time.sleep(0.25)
        self.run(*client, f"--execute={SQL}")
        # Given "localhost", the database's client would look for a socket at its default path.
        address = socket.gethostbyname("localhost")
        names = {"folder": self.folder, "host": self.host, "user": self.user, "address": address}
        conf = self.folder / "slurmdbd.conf"
        conf.write_text(DATABASE_CONF.format(**names, port=port, sql_port=sql_port))
        conf.chmod(0o600)
        text = (self.folder / "slurm.conf").read_text()
        accounting = ACCOUNTING.format(folder=self.folder, port=port)
        (self.folder / "slurm.conf").write_text(text.replace(NO_ACCOUNTING, accounting))
        self.run("slurmdbd")
        while not answers(port):
            assert time.monotonic() < deadline + STARTING, (self.folder / "slurmdbd.log").read_text()
            time.sleep(0.5)
        for what in (["cluster", "test"], ["account", ACCOUNT], ["user", self.user, f"Account={ACCOUNT}"]):
            self._answer("sacctmgr", "--immediate", "add", *what)

    def _configure(self):
        conf = CONF.format(
            folder=self.folder,
            host=self.host,
            user=self.user,
            ports=free_ports(),
            accounting=NO_ACCOUNTING,
        )
        (self.folder / "slurm.conf").write_text(conf)
        # The daemon needs a character device. Any one works, because no cgroup restricts devices.
        (self.folder / "gres.conf").write_text("AutoDetect=off\nNodeName=n[1-2] Name=gpu File=/dev/null\n")
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        # The executor removes every SLURM variable before its inner srun. The wrappers set SLURM_CONF again.
        (self.folder / "bin").mkdir()
        for program in ("sbatch", "squeue", "srun", "scancel", "scontrol", "sinfo", "sacct", "sacctmgr"):
            if real := shutil.which(program, path=SYSTEM_PATH):
                wrapper = self.folder / "bin" / program
                wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {real} "$@"\n')
                wrapper.chmod(0o755)


def answers(port):
    """Return whether a process listens on a port of this machine."""
    with closing(socket.socket()) as connection:
        return connection.connect_ex(("localhost", port)) == 0


def free_ports():
    """Return three consecutive free ports below the range that the system assigns to connections."""
    while True:
        ports = range(first := 20_000 + secrets.randbelow(10_000), first + 3)
        with ExitStack() as stack, suppress(OSError):
            for port in ports:
                stack.enter_context(closing(socket.socket())).bind(("", port))
            return tuple(ports)


def peak(jobs):
    """Return the largest number of jobs that ran at once. SLURM records times in whole seconds."""
    moments = []
    for job in jobs:
        start, end = (datetime.fromisoformat(job[key]) for key in ("StartTime", "EndTime"))
        moments += [(end, -1), (start, 1)] if end > start else []
    count = highest = 0
    for _, change in sorted(moments):
        count += change
        highest = max(highest, count)
    return highest
