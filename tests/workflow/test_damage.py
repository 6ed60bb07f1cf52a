"""What is damaged is recognised and named; where there is no room nothing half-written stays."""

import re
import resource
import shlex
import shutil

import pytest

from bnopt.artefacts import read_table

VERDICTS = "results/tiny/statistics/claims.csv"


@pytest.fixture(scope="module")
def pair(tmp_path_factory, new_study, pair_config):
    """Two conditions at two seeds, with their verdicts."""
    study = new_study(tmp_path_factory.mktemp("damage") / "study", pair_config)
    study.run(VERDICTS)
    return study


@pytest.fixture
def copy_of_pair(pair, tmp_path):
    """A copy of it, to be damaged."""
    return pair.copy_to(tmp_path / "copy")


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGE = {
    "prepared images": ("data/images.npz", "data/images.npz"),
    "a snapshot": ("runs/vgg_batch/seed1/snapshots/step000004.pt", "runs/vgg_batch/seed1/snapshots"),
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
    # Its time is that of now, so what reads it runs again; of a snapshot the folder's time counts.
    (file.parent / ".snakemake_timestamp").touch() if what == "a snapshot" else None
    said = study.refused(VERDICTS)
    place = f"error: {file.relative_to(study.folder)}: expected"
    assert place in said
    command = re.search(r"to make it anew: snakemake (.*)", said.split(place)[1])[1]
    assert shlex.split(command) == ["--force", str(to_make.relative_to(study.folder))]

    study.run(*shlex.split(command))
    study.run(VERDICTS)
    assert study.tables() == pair.tables()


def test_a_report_does_not_cite_damaged_records(copy_of_finished):
    study = copy_of_finished
    report, records = ("results/tiny/report/report.tex", "results/tiny/provenance.json")
    file = study.folder / records
    file.write_bytes(file.read_bytes()[:-100])
    assert f"to make it anew: snakemake --force {records}" in study.refused(report)
    study.run("--force", records)
    assert study.planned(report) != []


# -- no room --------------------------------------------------------------------------------------


def without_room(study, kib, target):
    """Call snakemake where no file may grow beyond some KiB: the kernel itself refuses to write more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (kib * 1024, before[1]))
    try:
        return study.refused(target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("target", "kib", "partial"),
    [
        ("results/tiny/data/images.npz", 64, "data/images.npz"),
        ("results/tiny/runs/vgg_batch/seed0/training.csv", 8, "runs/vgg_batch/seed0"),
        ("results/tiny/figures/fig4.png", 24, "figures/fig4.png"),
        pytest.param(
            *("results/tiny/report/report.pdf", 60, "report/report.pdf"),
            marks=pytest.mark.skipif(not shutil.which("latexmk"), reason="needs latexmk"),
        ),
    ],
    ids=["images", "snapshots", "figure", "report"],
)
def test_without_room_nothing_half_written_is_left_and_later_the_work_is_finished(
    copy_of_pair, target, kib, partial
):
    study = copy_of_pair
    place = study.results / partial
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
        if partial == "data/images.npz":
            (study.results / "data" / "images.json").unlink()
    said = without_room(study, kib, target)
    assert "File too large" in said or "File size limit exceeded" in said
    assert not (study.folder / target).exists()
    study.run(target)
    assert (study.folder / target).stat().st_size > 0


def test_every_table_of_a_study_can_be_verified(pair):
    tables = sorted(pair.results.rglob("*.csv"))
    assert len(tables) > 12
    for table in tables:
        read_table(table)
