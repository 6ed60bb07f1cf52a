"""A damaged file is detected and named in the error. On a full disk no half-written file is left behind."""

import re
import resource
import shlex
import shutil
from pathlib import Path

import pytest

from bnopt.files.artefacts import read_table

VERDICTS = "results/tiny/statistics/claims.csv"


@pytest.fixture(scope="module")
def pair(tmp_path_factory, new_study, pair_config):
    """A study of two conditions and two seeds, with its verdicts."""
    study = new_study(tmp_path_factory.mktemp("damage") / "study", pair_config)
    study.run(VERDICTS)
    return study


@pytest.fixture
def copy_of_pair(pair, tmp_path):
    """A copy of the study `pair`; tests may damage it."""
    return pair.copy_to(tmp_path / "copy")


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


PROBED = "results/tiny/probes/along_gradient/vgg_batch/seed1.csv"
DAMAGE = {
    "prepared images": ("data/images.npz", "data/images.npz"),
    "a snapshot": ("runs/vgg_batch/seed1/snapshots/step000003.pt", "runs/vgg_batch/seed1/snapshots"),
    "the table of a run": ("runs/vgg_none/seed0/training.csv", "runs/vgg_none/seed0/training.csv"),
    "the table of a probe": (
        "probes/along_gradient/vgg_none/seed1.csv",
        "probes/along_gradient/vgg_none/seed1.csv",
    ),
    "a statistic": ("statistics/training_per_seed.csv", "statistics/training_per_seed.csv"),
}


@pytest.mark.parametrize(
    ("what", "change"), [*((what, flip) for what in DAMAGE), ("the table of a run", lambda whole: whole[:-7])]
)
def test_a_damaged_file_is_named_with_the_command_that_makes_it_anew(copy_of_pair, pair, what, change):
    study = copy_of_pair
    file, to_make = (study.results / name for name in DAMAGE[what])
    file.write_bytes(change(file.read_bytes()))
    # The file is new now, so the jobs that read it rerun. Of a run, the time of its curve counts.
    read = [PROBED, "--force"] if what == "a snapshot" else [VERDICTS]
    said = study.refused(*read)
    place = f"error: {file.relative_to(study.folder)}: expected"
    assert place in said
    command = re.search(r"to make it again: snakemake (.*)", said.split(place)[1])[1]
    assert shlex.split(command) == ["--force", str(to_make.relative_to(study.folder))]

    study.run(*shlex.split(command))
    study.run(*dict.fromkeys([read[0], VERDICTS]))
    assert study.tables() == pair.tables()


def one_missing(folder):
    (folder / "step000003.pt").unlink()


def all_missing(folder):
    for file in folder.iterdir():
        file.unlink()


def one_too_many(folder):
    shutil.copy(folder / "step000003.pt", folder / "step000004.pt")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (one_missing, "found 3; that of step 3 is missing"),
        (all_missing, "found 0; that of step 0 is missing"),
        (one_too_many, "found 5; that of step 4 is one too many"),
    ],
)
def test_missing_snapshots_are_not_taken_for_those_of_a_run_that_diverged(copy_of_pair, pair, change, found):
    study = copy_of_pair
    folder = study.results / "runs/vgg_batch/seed1/snapshots"
    change(folder)
    said = study.refused(PROBED, "--force")
    path = folder.relative_to(study.folder)
    assert f"error: {path}: expected 4 snapshots, as its curve says, {found}" in said
    assert f"to make it again: snakemake --force {path}\n" in said
    study.run("--force", path)
    study.run(*dict.fromkeys([PROBED, VERDICTS]))
    assert study.tables() == pair.tables()


def test_a_report_does_not_cite_damaged_records(copy_of_finished):
    study = copy_of_finished
    report, records = ("results/tiny/report/report.tex", "results/tiny/provenance.json")
    file = study.folder / records
    file.write_bytes(file.read_bytes()[:-100])
    assert f"to make it again: snakemake --force {records}" in study.refused(report)
    study.run("--force", records)
    assert study.planned(report) != []


# -- full disk ------------------------------------------------------------------------------------


def without_room(study, size, target):
    """Call snakemake with a limit on the size of a file. The kernel refuses to write more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        return study.refused(target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


SENTENCE = r"error: \S+/{}: could not be .*written \(File too large\)"


@pytest.mark.parametrize(
    ("target", "largest", "log", "reason"),
    [
        ("data/images.npz", "images.npz", "prepare", SENTENCE),
        ("runs/vgg_batch/seed0/training.csv", "snapshots/step000000.pt", "train/vgg_batch/seed0", SENTENCE),
        ("figures/fig4.png", "fig4.png", "draw/fig4", SENTENCE),
        pytest.param(
            *("report/report.pdf", "report.pdf", "compile", "File size limit exceeded"),
            marks=pytest.mark.skipif(not shutil.which("latexmk"), reason="needs latexmk"),
        ),
    ],
    ids=["images", "snapshots", "figure", "report"],
)
def test_without_room_nothing_half_written_is_left_and_later_the_work_is_finished(
    copy_of_pair, target, largest, log, reason
):
    study, target = copy_of_pair, Path("results/tiny", target)
    file = study.folder / target
    largest = file.parent / largest
    if not file.exists():
        study.run(target)
    # Enough for Snakemake's own files and for all files of the job except its largest.
    room = largest.stat().st_size * 9 // 10
    file.unlink()
    without_room(study, room, target)
    said = (study.folder / "logs/tiny" / f"{log}.log").read_text()
    assert re.search(reason.format(re.escape(largest.name)), said), said
    assert not file.exists()
    assert not largest.exists()
    assert list(study.results.rglob(".*.partial*")) == []
    study.run(target)
    assert file.stat().st_size > 0


def test_every_table_of_a_study_can_be_verified(pair):
    tables = sorted(pair.results.rglob("*.csv"))
    assert len(tables) > 12
    for table in tables:
        read_table(table)
