"""What is said about results before jobs run: which runs train again for their snapshots; and a full disk."""

import json
import resource
from types import SimpleNamespace

import pandas as pd
import pytest

from bnopt.files import artefacts, records
from bnopt.runtime import Job, StudyError
from bnopt.study import stale

# Snapshots of a run: steps between them before and now; None is a job without this setting.
RUNS = {
    "none_before": (0, 11),
    "some_before": (11, 41),
    "none_needed": (0, 0),
    "no_run": (None, None),
    "damaged": (0, 11),
}


@pytest.fixture
def recorded(tmp_path):
    """Path -> (settings, code) of the runs as they are now; one of them does not exist yet."""
    found = {}
    for name, (before, now) in RUNS.items():
        path = tmp_path / "runs" / name / "seed0" / "training.csv"
        path.parent.mkdir(parents=True)
        settings = {} if before is None else {"snapshot_every": before}
        job = Job(stage="bnopt.train", settings=settings, code="abc")
        artefacts.write_table(pd.DataFrame({"x": [1]}), path, job=job)
        found[str(path)] = json.dumps({} if now is None else {"snapshot_every": now}), "abc"
    records.of(path).write_text("{", encoding="utf-8")
    found[str(tmp_path / "missing.csv")] = json.dumps({"snapshot_every": 11}), "abc"
    return found


def test_runs_without_snapshots_are_those_that_kept_none_and_now_need_some(recorded):
    (path,) = stale.without_snapshots(recorded)
    assert "none_before" in path


@pytest.mark.parametrize("other", [{"settings": [1]}, {"accepted": 5}, [1]])
def test_a_record_of_another_form_is_not_intact(recorded, other):
    path = next(iter(recorded))
    before = records.read(path)
    text = json.dumps(before | other if isinstance(other, dict) else other)
    records.of(path).write_text(text, encoding="utf-8")
    assert stale.differences({path: recorded[path]}) == {path: "it has no intact record"}


class Planned:
    """A job of Snakemake."""

    def __init__(self, output):
        self.output = output


@pytest.mark.parametrize("again", [True, False])
def test_a_line_names_the_conditions_whose_runs_train_again(recorded, capsys, again):
    jobs = [Planned(list(recorded)), Planned(["results/other.csv"])]
    planned = jobs if again else jobs[1:]
    dag = SimpleNamespace(jobs=jobs, needrun=lambda job: job in planned)
    guard = stale.Guard(SimpleNamespace(dag=dag, touch=False, dryrun=True), recorded, "")
    guard._announce({path for job in planned for path in job.output})
    line = "note: finished runs without snapshots, which this study needs, train again: none_before\n"
    assert capsys.readouterr().err == (line if again else "")


def test_without_room_while_planning_a_sentence_says_so_and_nothing_half_written_is_left(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    recorded = {f"run{number}": ("{}", "code") for number in range(100)}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(StudyError, match=r"^\S+json: could not be written \(File too large\); free disk"):
            stale.write_expected(recorded)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / stale.FOLDER).iterdir()) == []
    file = stale.write_expected(recorded)
    assert [str(found) for found in (tmp_path / stale.FOLDER).iterdir()] == [file]
