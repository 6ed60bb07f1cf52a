"""Results made with other settings or code than the study has now.

Snakemake notices a change by comparing a job with the metadata in `.snakemake`. Where this is lost, or
Snakemake is told to ignore it, the record beside each result still says how it was made. So `Guard`
compares the records once the jobs are planned, and `write_expected` lets each job compare what it reads.
It also says which runs train again, because a part or a probe was added that needs their snapshots.
"""

import hashlib
import json
import os
import shlex
import sys
import time
from pathlib import Path

from bnopt.files import records
from bnopt.runtime import StudyError

SHOWN = 5
FOLDER = Path(".snakemake/expected")
KEPT_SECONDS = 30 * 24 * 3600


def differences(recorded):
    """Return path -> how its record differs, for each existing file made with other settings or code.

    recorded: path -> (settings, code), see `Jobs.recorded`.
    """
    found = {}
    for path, (settings, code) in recorded.items():
        if Path(path).exists():
            try:
                record = records.read(path)
            except StudyError:
                found[path] = "it has no intact record"
                continue
            if records.differs(record, [records.digest(json.loads(settings)), code]):
                found[path] = _explained(record, json.loads(settings))
    return found


def without_snapshots(recorded):
    """Return the existing results of runs that kept no snapshots, of which the study now needs some.

    recorded: as for `differences`. These runs train again; their curves will be the same.
    """
    found = []
    for path, (settings, _) in recorded.items():
        if json.loads(settings).get("snapshot_every") and Path(path).exists():
            try:
                before = records.read(path).get("settings") or {}
            except StudyError:
                continue  # without an intact record it is made again anyway
            if before.get("snapshot_every") == 0:
                found.append(path)
    return found


def _explained(record, settings):
    """Return in words how the settings of a record differ from these; else that the code does."""
    before, now = (records.flat(found) for found in (record.get("settings") or {}, settings))
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if not keys:
        same = json.dumps(record.get("settings")) == json.dumps(settings)
        return "other code" if same else "another order of its settings"
    more = f", and {len(keys) - 1} more settings" if len(keys) > 1 else ""
    was, found = (_short(of.get(keys[0], "none")) for of in (before, now))
    return f"{keys[0]} was {was}, now {found}{more}"


def _short(value):
    text = str(value)
    return text if len(text) <= 40 else f"{text[:40]} ..."


def write_expected(recorded):
    """Write path -> [digest of the settings, code] for the jobs; return the name of the file.

    The name depends on the content: another call, such as a dry run of an edited study, does not change
    what the jobs of a running one compare with.

    StudyError: it cannot be written.
    """
    expected = {path: [records.digest(json.loads(made)), code] for path, (made, code) in recorded.items()}
    text = json.dumps(expected, indent=0)
    file = FOLDER / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            _write(text, file)
        file.touch()
    except OSError as error:
        raise StudyError(
            f"{file}: could not be written ({error.strerror}); free disk space or grant access, then call "
            "snakemake again"
        ) from error
    for other in FOLDER.glob("*.json"):
        if time.time() - other.stat().st_mtime > KEPT_SECONDS:
            other.unlink(missing_ok=True)
    return str(file.resolve())


def _write(text, file):
    """Write a file whole or not at all, like `artefacts`, whose import of pandas would slow planning down."""
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


class Guard:
    """A filter of Snakemake's log: once the jobs are planned, refuse to go on with stale results.

    Snakemake has no other hook at this moment: `onstart` is not called if nothing is to be done. As a
    filter, it sees the message before anything is shown.
    """

    def __init__(self, workflow, recorded, options):
        self.workflow, self.recorded, self.options = workflow, recorded, options
        self.planned = False

    def filter(self, record):
        """Let every message pass; at the first one after planning, check the results."""
        text = record.getMessage()
        report = text.startswith("Creating report")
        nothing = text.startswith("Nothing to be done")
        event = getattr(getattr(record, "event", None), "name", "")
        if not self.planned and (report or nothing or event == "RUN_INFO"):
            self.planned = True
            self._check(everything=report or self.workflow.touch)
        return True

    def _check(self, *, everything):
        """Exit if a result of a job that will not run is stale; everything: also of jobs that would run."""
        dag = self.workflow.dag
        made = {job: list(map(str, job.output)) for job in dag.jobs if everything or not dag.needrun(job)}
        shown = {path for paths in made.values() for path in paths}
        if not everything:
            self._announce({str(path) for job in dag.jobs if dag.needrun(job) for path in job.output})
        stale = differences({path: made for path, made in self.recorded.items() if path in shown})
        if self.workflow.touch and not self.workflow.dryrun:
            stale = self._accept(stale)
        if stale:
            jobs = [job for job, paths in made.items() if stale.keys() & set(paths)]
            sys.exit(self._sentence(stale, _first(dag, jobs, stale)))

    def _announce(self, planned):
        """Print a line if finished runs train again for their snapshots; planned: files to be made."""
        again = without_snapshots({path: made for path, made in self.recorded.items() if path in planned})
        if again:
            names = ", ".join(dict.fromkeys(Path(path).parent.parent.name for path in again))
            text = f"note: finished runs without snapshots, which this study needs, train again: {names}"
            print(text, file=sys.stderr)

    def _accept(self, stale):
        """Note in the records of results that only the code differs and is accepted; return the others."""
        left = {path: why for path, why in stale.items() if why != "other code"}
        if not left:
            for path in stale:
                record = records.read(path)
                record["accepted"] = [*record.get("accepted", []), self.recorded[path][1]]
                text = json.dumps(record, indent=2, ensure_ascii=False)
                _write(f"{text}\n", records.of(path))
        return left

    def _sentence(self, stale, first):
        lines = [f"  {path}: {why}" for path, why in list(stale.items())[:SHOWN]]
        lines += [f"  and {len(stale) - SHOWN} more"] if len(stale) > SHOWN else []
        reason = (
            "--touch accepts changed code, but not changed settings"
            if self.workflow.touch
            else "Snakemake would keep them: its metadata are missing, or it was told to ignore changes"
        )
        command = " ".join(["snakemake --forcerun", *first, *([self.options] if self.options else [])])
        return "\n".join(
            [
                f"error: results: expected results of the present settings and code, found {len(stale)} of "
                f"others. {reason}.",
                *lines,
                f"To make them again, with all that follows from them: {command}",
            ]
        )


def _first(dag, jobs, stale):
    """Return what to force: the stale files of jobs that depend on no other stale job, or their rules."""
    first = [job for job in jobs if not _ancestors(dag, job) & set(jobs)]
    rules = {job.rule.name for job in first}
    whole = {
        name for name in rules if sum(job.rule.name == name for job in dag.jobs) == _count(first, name) > 1
    }
    files = [min(stale.keys() & set(map(str, job.output))) for job in first if job.rule.name not in whole]
    return [*sorted(whole), *(shlex.quote(file) for file in sorted(files))]


def _count(jobs, rule):
    return sum(job.rule.name == rule for job in jobs)


def _ancestors(dag, job):
    found, todo = set(), [job]
    while todo:
        for other in dag.dependencies[todo.pop()]:
            if other not in found:
                found.add(other)
                todo.append(other)
    return found
