"""A call of snakemake in a fork (`forked`) does what a plain call does; most tests here rely on it."""

import re
import resource
import subprocess

import pytest

from workflow import forked


@pytest.fixture(scope="module")
def study(tmp_path_factory, new_study, pair_config):
    return new_study(tmp_path_factory.mktemp("forked") / "study", pair_config)


@pytest.fixture
def plain_calls(monkeypatch):
    """The commands that were called plainly."""
    calls, run = [], subprocess.run
    monkeypatch.setattr(forked.subprocess, "run", lambda *a, **k: calls.append(a[0]) or run(*a, **k))
    return calls


def both(study, *arguments):
    """Return the finished processes of a forked and of a plain call."""
    command, surroundings = study._command(*arguments, profile=None), study.surroundings()
    return [call(command, **surroundings) for call in (forked.run, subprocess.run)]


def test_it_plans_the_same(study, plain_calls):
    done = both(study, "--dry-run", "results/tiny/statistics/claims.csv")
    assert [one.returncode for one in done] == [0, 0]
    assert len(plain_calls) == 1
    # Snakemake lists jobs in any order, and the files of a reason too.
    jobs = [
        sorted(re.findall(r"^(?:local)?rule .*|^    (?:output|wildcards): .*", one.stdout, re.MULTILINE))
        for one in done
    ]
    assert jobs[0] == jobs[1]
    assert "rule train:" in jobs[0]


def test_it_fails_and_says_the_same(study):
    done = both(study, "no_such_file")
    assert done[0].returncode == done[1].returncode != 0
    texts = [re.sub(r"^  (?:Date|Workflow ID): .*", "", one.stdout, flags=re.MULTILINE) for one in done]
    assert texts[0] == texts[1]
    assert "no_such_file" in texts[0]


def test_jobs_have_its_folder_and_its_variables_and_one_call_leaves_nothing_to_the_next(study, monkeypatch):
    snakefile = study.folder / "own.smk"
    snakefile.write_text('rule all:\n    shell: "echo $WISH $PWD"\n')
    command = [*study._command(profile=None), "--snakefile", str(snakefile), "--forceall"]
    for wish in ("one", ""):
        monkeypatch.setenv("WISH", wish)
        done = forked.run(command, **study.surroundings())
        assert f"{wish} {study.folder}".strip() in done.stdout.splitlines(), done.stdout


def test_what_python_reads_when_it_starts_and_limits_are_left_to_a_plain_call(
    study, plain_calls, monkeypatch
):
    def is_plain():
        plain_calls.clear()
        assert study.snakemake("--version").returncode == 0
        return bool(plain_calls)

    monkeypatch.setenv("WISH", "1")
    assert not is_plain()
    for name in ("PYTHONUTF8", "LC_ALL"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "1" if name == "PYTHONUTF8" else "C")
            assert is_plain(), name
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**9, before[1]))
    try:
        assert is_plain()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not is_plain()
