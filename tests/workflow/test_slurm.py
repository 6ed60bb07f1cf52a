"""The shipped profile on a real SLURM: jobs run there, and interruptions do not change the tables.

`pytest -m long -k slurm` runs the long tests. They cancel and requeue jobs, and they kill snakemake.
"""

import copy
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import yaml

from workflow import slurm_cluster as slurm

VERDICTS = "results/tiny/statistics/claims.csv"
PATIENCE = 400

pytestmark = [
    pytest.mark.skipif(bool(slurm.missing()), reason=f"SLURM: not installed: {', '.join(slurm.missing())}"),
]


@contextmanager
def running(**how):
    there = slurm.Cluster(**how)
    try:
        there.start()
        yield there
    finally:
        there.stop()


@pytest.fixture(scope="module")
def cluster():
    """A running cluster without accounting."""
    with running() as there:
        yield there


class Leader:
    """Snakemake on a cluster. The shipped profile is used with another account and more status checks."""

    def __init__(self, study, cluster, *, minutes=None, checkpoint_seconds="1"):
        self.study, self.cluster = study, cluster
        profile = yaml.safe_load((study.checkout / "profiles/slurm/config.yaml").read_text())
        assert profile["default-resources"].pop("slurm_account") == "CHANGE_ME"
        if cluster.accounting:
            profile["default-resources"]["slurm_account"] = slurm.ACCOUNT
        profile |= {"slurm-init-seconds-before-status-checks": 1, "max-status-checks-per-second": 2}
        if minutes:
            profile["set-resources"]["train"]["runtime"] = minutes
        folder = study.folder / "profile"
        folder.mkdir()
        (folder / "config.yaml").write_text(yaml.safe_dump(profile))
        self.arguments = [
            *("--snakefile", str(study.checkout / "Snakefile"), "--directory", str(study.folder)),
            *("--workflow-profile", str(folder), VERDICTS),
        ]
        self.environment = cluster.environment | {
            "BNOPT_DEVICE": "cpu",
            "BNOPT_CHECKPOINT_SECONDS": checkpoint_seconds,
        }
        self.said = study.folder / "said.txt"

    def start(self, *command):
        """Start snakemake or `command` in its own process group; return the leader."""
        command = command or [sys.executable, "-m", "snakemake"]
        with self.said.open("a") as said:
            self.process = subprocess.Popen(
                [*command, *self.arguments],
                env=self.environment,
                cwd=self.study.folder,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def finish(self):
        """Wait for the process, which must succeed; return its whole output."""
        try:
            code = self.process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            code = "still running"
        said = self.said.read_text()
        assert code == 0, said
        return said

    def wait_for(self, condition, what):
        """Wait until a condition holds while the process runs; return the condition's value."""
        deadline = time.monotonic() + PATIENCE
        while not (found := condition()):
            assert self.process.poll() is None, self.said.read_text()
            assert time.monotonic() < deadline, f"waited in vain for {what}:\n{self.said.read_text()}"
            time.sleep(0.2)
        return found

    def kill(self):
        """Kill the process group if it still runs; the jobs on the cluster continue."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def lead():
    """Function: arguments of `Leader` -> a started leader. All leaders are killed after the test."""
    leaders = []

    def lead(*arguments, **how):
        leaders.append(Leader(*arguments, **how).start())
        return leaders[-1]

    yield lead
    for leader in leaders:
        leader.kill()


def ended(cluster, study, *, completed=8):
    """Return SLURM's records of a study's jobs; wait for the last, which SLURM may write late."""
    deadline = time.monotonic() + PATIENCE
    while True:
        jobs = [job for job in cluster.jobs() if job["WorkDir"] == str(study.folder)]
        count = sum(job["JobState"] == "COMPLETED" for job in jobs)
        if count >= completed or time.monotonic() > deadline:
            return jobs
        time.sleep(0.2)


def test_every_training_and_probing_job_runs_on_slurm_within_the_gpus(
    tmp_path, new_study, pair_config, cluster, lead
):
    local = new_study(tmp_path / "local", pair_config)
    local.run(VERDICTS)
    study = new_study(tmp_path / "cluster", pair_config)
    lead(study, cluster).finish()
    assert study.tables() == local.tables()

    jobs = ended(cluster, study)
    assert [job["JobState"] for job in jobs] == ["COMPLETED"] * 8  # 4 runs and one probe per run
    assert all("gpu:1" in cluster.describe(job["JobId"])["TresPerJob"] for job in jobs)
    assert {job["NodeList"] for job in jobs} <= {"n1", "n2"}
    assert 1 <= slurm.peak(jobs) <= cluster.gpus
    logs = sorted(path.parent.name for path in (study.folder / "logs/slurm").rglob("*.log"))
    assert len(logs) == 8
    # All other jobs ran locally, next to snakemake.
    assert {path.parts[-3] for path in (study.folder / "logs/slurm").rglob("*.log")} <= {
        "rule_train",
        "rule_probe",
        "slurm",
    }


# -- the long tests -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_config(pair_config):
    """Runs of about a minute each: long enough to stop them."""
    config = copy.deepcopy(pair_config)
    config["scales"]["tiny"]["vgg"] |= {"steps": 6000, "snapshot_every": 501}
    return config


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, new_study, long_config):
    """The tables of the study, run locally without interruption."""
    study = new_study(tmp_path_factory.mktemp("local") / "study", long_config)
    study.run(VERDICTS)
    return study.tables()


def resumed(study):
    """Return the steps from which runs resumed, as their logs show."""
    logs = (study.folder / "logs/tiny/train").rglob("*.log")
    return [int(step) for log in logs for step in re.findall(r"resuming at step (\d+)", log.read_text())]


def with_checkpoint(study, name):
    return (study.results / f"unfinished/train-{name}/checkpoint.pt").exists


@pytest.mark.long
def test_cancelled_requeued_and_without_a_leader_the_tables_are_the_same(
    tmp_path, new_study, long_config, undisturbed, cluster, lead
):
    study = new_study(tmp_path / "study", long_config)
    leader = lead(study, cluster)
    first, second = leader.wait_for(
        lambda: len(found := cluster.running("train")) == 2 and found, "two training jobs"
    )
    kept = leader.wait_for(
        lambda: len(found := list(study.results.glob("unfinished/*/checkpoint.pt"))) == 2 and found,
        "two checkpoints",
    )
    assert len(kept) == 2
    cluster.run("scancel", first)
    cluster.run("scontrol", "requeue", second)
    time.sleep(2)
    cluster.run("scontrol", "update", f"JobId={second}", "StartTime=now")
    leader.wait_for(lambda: len(resumed(study)) >= 2, "both runs to go on")

    leader.kill()
    assert cluster.running("train"), "the jobs outlive the one that sent them"
    recover = [sys.executable, str(study.checkout / "tools/recover.py"), "cancel"]
    said = leader.start(*recover).finish()
    assert "job(s) left" in said
    assert study.tables() == undisturbed
    assert list(study.results.glob("unfinished/*")) == []
    states = [job["JobState"] for job in ended(cluster, study)]
    print("states of the jobs:", {state: states.count(state) for state in set(states)})
    assert states.count("COMPLETED") == 8
    assert states.count("CANCELLED") >= 2
    assert slurm.peak(ended(cluster, study)) <= cluster.gpus


@pytest.mark.long
def test_waiting_for_the_jobs_of_a_dead_leader_takes_their_results(
    tmp_path, new_study, long_config, undisturbed, cluster, lead
):
    study = new_study(tmp_path / "study", long_config)
    leader = lead(study, cluster)
    leader.wait_for(lambda: len(cluster.running("train")) == 2, "two training jobs")
    leader.kill()
    recover = [sys.executable, str(study.checkout / "tools/recover.py"), "wait"]
    leader.start(*recover).finish()
    assert study.tables() == undisturbed
    assert [job["JobState"] for job in ended(cluster, study)].count("COMPLETED") >= 8


@pytest.mark.long
def test_a_run_that_meets_its_time_limit_goes_on_with_more(tmp_path, new_study, long_config, cluster, lead):
    config = copy.deepcopy(long_config)
    config["scales"]["tiny"]["vgg"] |= {"steps": 36_000, "snapshot_every": 3001}
    config["scales"]["tiny"]["seeds"] = [0]
    config |= {"claims": {}, "alternatives": {}}
    local = new_study(tmp_path / "local", config)
    local.run(VERDICTS)
    study = new_study(tmp_path / "study", config)
    lead(study, cluster, minutes="1 * attempt").finish()
    assert study.tables() == local.tables()
    states = [job["JobState"] for job in ended(cluster, study, completed=4)]
    print("states of the jobs:", {state: states.count(state) for state in set(states)})
    assert "TIMEOUT" in states
    assert resumed(study)


@pytest.mark.long
@pytest.mark.skipif(
    bool(slurm.missing(accounting=True)),
    reason=f"SLURM's accounting: not installed: {', '.join(slurm.missing(accounting=True))}",
)
def test_with_accounting_a_cancelled_job_is_sent_again_and_the_tables_are_the_same(
    tmp_path, new_study, long_config, undisturbed, lead
):
    with running(accounting=True) as cluster:
        study = new_study(tmp_path / "study", long_config)
        leader = lead(study, cluster)
        first = leader.wait_for(lambda: cluster.running("train"), "a training job")[0]
        leader.wait_for(lambda: list(study.results.glob("unfinished/*/checkpoint.pt")), "a checkpoint")
        cluster.run("scancel", first)
        leader.finish()
        assert study.tables() == undisturbed
        time.sleep(5)  # the database records the last job with a delay
        lines = cluster.run("sacct", "-X", "-n", "-P", "-o", "State,Account").splitlines()
        assert lines.count(f"COMPLETED|{slurm.ACCOUNT}") == 8
        assert sum(line.startswith("CANCELLED") for line in lines) == 1
