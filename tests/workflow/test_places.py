"""A study runs in any folder, whatever its location and name, with the same results."""

import itertools
import os
import re
import shutil
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

from bnopt.files.artefacts import read_table
from bnopt.study import image_sources

HOSTILE = 'it\'s a "new" study; $(touch pwned) `touch pwned` & ü, 日本 {x} %s #1'
# A checkout's path may have characters that make, TeX or a shell misreads, but it has no colons or braces.
HOSTILE_CHECKOUT = 'it\'s a "new" checkout; $(touch pwned) `touch pwned` & ü'
VERDICTS = "results/tiny/statistics/claims.csv"


@pytest.fixture(scope="module")
def pair(tmp_path_factory, new_study, pair_config):
    """A study of two conditions and two seeds, run from the beginning in a folder with a hostile name."""
    study = new_study(tmp_path_factory.mktemp("places") / HOSTILE, pair_config)
    figures = [f"results/tiny/figures/{name}.png" for name in (*pair_config["figures"], "claims")]
    study.run(VERDICTS, *figures)
    return study


def test_a_folder_may_have_any_name(pair):
    assert [file for file in pair.folder.parent.rglob("pwned")] == []
    for name in (*pair.config["figures"], "claims"):
        assert (pair.results / "figures" / f"{name}.png").stat().st_size > 3000


def test_every_claim_has_a_verdict(pair):
    verdicts = read_table(pair.results / "statistics" / "claims.csv")
    assert verdicts["claim"].tolist() == list(pair.written_out["claims"])
    assert len(verdicts) >= 5
    assert set(verdicts["verdict"]) <= {"supported", "contradicted", "inconclusive"}
    assert (verdicts["n"] == 2).all()
    assert verdicts["p_sign_flip"].between(0.25, 1).all()
    assert (verdicts["p_holm"] >= verdicts["p_sign_flip"]).all()
    finite = verdicts[np.isfinite(verdicts["effect"])]
    assert (finite["ci_low"] <= finite["effect"]).all()
    assert (finite["effect"] <= finite["ci_high"]).all()


def test_a_study_without_alternatives_has_an_empty_table_of_them(pair, tmp_path):
    assert pair.config["alternatives"] == {}
    study = pair.copy_to(tmp_path / "copy")
    said = study.run("results/tiny/statistics/alternatives.csv")
    assert len(read_table(study.results / "statistics" / "alternatives.csv")) == 0
    # The closing message lists existing results only. The report does not exist yet.
    assert "Results of the scale tiny: " in said
    assert "statistics/claims.csv   every claim" in said
    assert "report.html" not in said


def test_a_run_is_the_same_to_the_byte_wherever_and_beside_whatever_it_runs(pair, finished):
    """Compare runs of equal condition, seed and sizes from two folders and two studies."""
    here, there = pair.tables(), finished.tables()
    shared = sorted(here.keys() & {name for name in there if name.startswith(("runs/", "probes/"))})
    assert len(shared) == 4  # the training.csv and along_gradient tables of two runs
    assert [name for name in shared if here[name] != there[name]] == []
    snapshots = sorted(f.relative_to(pair.results) for f in pair.results.rglob("seed0/snapshots/*.pt"))
    assert len(snapshots) == 8  # steps 0, 3, 6 and 9 of two runs
    for file in snapshots:
        assert (pair.results / file).read_bytes() == (finished.results / file).read_bytes()


def test_a_study_run_twice_gives_the_same_bytes_in_every_table(pair, tmp_path):
    again = pair.copy_to(tmp_path / "again")
    shutil.rmtree(again.results / "statistics")
    shutil.rmtree(again.results / "probes" / "along_gradient" / "vgg_none")
    shutil.rmtree(again.results / "runs" / "vgg_batch" / "seed1")
    again.run(VERDICTS)
    assert len(again.tables()) > 10
    assert again.tables() == pair.tables()


def test_a_finished_study_may_be_moved(finished, tmp_path):
    moved = finished.copy_to(tmp_path / HOSTILE)
    assert moved.planned() == []


def test_a_checkout_with_its_results_may_be_renamed(finished, tmp_path):
    """The usual case: `make reproduce`, whose results lie in the checkout."""
    study = finished.copy_to(tmp_path / "before")
    config, study.checkout = study.config, study.folder
    shutil.copytree(finished.checkout, study.folder, dirs_exist_ok=True)
    study.config = config
    # The style and the text have other paths than in the study that ran, so Snakemake notes these first.
    study.run("--touch")
    assert study.planned() == []
    moved = study.folder.rename(tmp_path / HOSTILE_CHECKOUT)
    study.folder = study.checkout = moved
    assert study.planned() == []


def test_a_copy_that_keeps_no_times_makes_little_again(copy_of_finished):
    """`cp -r` gives files new times in any order; here in the reverse of that in which they were made."""
    study = copy_of_finished
    files = sorted(study.results.rglob("*"), key=lambda file: -file.stat().st_mtime)
    for seconds, file in enumerate(files, start=int(time.time()) - len(files)):
        os.utime(file, (seconds, seconds))
    assert {rule for rule, _ in study.planned()} <= {"compile", "web", "all"}
    study.run("--touch")
    assert study.planned() == []


def test_what_editors_and_synchronisation_leave_reruns_nothing(copy_of_finished, checkout):
    study, left = copy_of_finished, []
    stored = checkout / "docs/results/cifar10-small"
    try:
        for file in (
            checkout / "workflow/report/claims.rst",
            checkout / "src/bnopt/norms/batch.py",
            stored / "fig4.png",
            study.results / "runs/vgg_none/seed0/training.csv",
            study.results / "probes/along_gradient/vgg_none/seed0.csv",
            study.results / "statistics/claims.csv.provenance.json",
        ):
            left.append(file.with_stem(f"{file.stem} (conflicted copy)"))
            shutil.copy(file, left[-1])
        # Emacs locks a file by a link to nowhere.
        left.append(checkout / "workflow/report/.#claims.rst")
        left[-1].symlink_to("someone@somewhere.1")
        left.append(stored.with_name("cifar10-small (1)"))
        shutil.copytree(stored, left[-1])
        assert study.planned() == []
        study.run("--force", "results/tiny/provenance.json")
        assert "conflicted" not in (study.results / "provenance.json").read_text(encoding="utf-8")
    finally:
        for file in left:
            shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)


@pytest.mark.parametrize("setting", ["core.autocrlf=true", "core.eol=crlf"])
def test_a_clone_has_the_same_line_ends_whatever_git_is_set_to(checkout, tmp_path, setting):
    """Else stored results do not match their records, and scripts do not run."""
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    shutil.copytree(checkout, origin)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], cwd=origin, check=True, capture_output=True)
    subprocess.run([*git, "clone", "-q", "-c", setting, origin, clone], check=True, capture_output=True)
    read_table(clone / "docs/results/digits/claims.csv")
    texts = [
        file for file in origin.rglob("*") if file.suffix in (".csv", ".json", ".py", ".smk", ".tex", "")
    ]
    for file in texts:
        if file.is_file() and ".git" not in file.relative_to(origin).parts:
            assert (clone / file.relative_to(origin)).read_bytes() == file.read_bytes(), file


def test_the_reports_are_made_in_a_folder_of_any_name(finished, tmp_path):
    moved = finished.copy_to(tmp_path / HOSTILE)
    (moved.results / "report.html").unlink()
    pdf = moved.results / "report" / "report.pdf"
    if pdf.exists():
        pdf.unlink()
    moved.run()
    assert (moved.results / "report.html").stat().st_size > 50_000
    assert pdf.exists() == (finished.results / "report" / "report.pdf").exists()
    assert list(tmp_path.rglob("pwned")) == []


def test_another_checkout_of_the_same_code_trains_and_probes_nothing(finished, tmp_path):
    moved = finished.copy_to(tmp_path / "study")
    moved.checkout = tmp_path / HOSTILE_CHECKOUT
    shutil.copytree(finished.checkout, moved.checkout)
    # The figure style and the report text have a new path, so only figures and reports are made again.
    drawn = {"draw", "draw_claims", "draw_specification"}
    again = {*drawn, "bundle", "compile", "page", "web", "all"}
    assert {rule for rule, _ in moved.planned()} <= again


@pytest.mark.parametrize(("name", "found"), [("a: b", ":"), ("{x}", "{ }"), ("half}/below", "}")])
def test_a_checkout_with_a_colon_or_braces_in_its_path_is_refused(
    tmp_path, new_study, pair_config, checkout, name, found
):
    folder = tmp_path / name
    shutil.copytree(checkout, folder)
    said = new_study(folder, pair_config, checkout=folder).refused("--dry-run", VERDICTS).splitlines()
    expected = f"error: {folder}: expected a path of the checkout without colons and braces, found {found};"
    assert said[-1].startswith(expected), said
    assert len(said) == 2  # the first names the profile


def test_images_and_the_checkout_may_lie_in_folders_of_any_name(tmp_path, new_study, pair_config, checkout):
    images = tmp_path / HOSTILE / "images"
    for part in ("train", "test"):
        for label, name in enumerate(("two words", "it's")):
            (images / part / name).mkdir(parents=True)
            for number in range(40):
                pixels = np.random.default_rng([label, number]).integers(0, 256, (8, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(images / part / name / f"{number}.png")
    hostile_checkout = tmp_path / HOSTILE_CHECKOUT
    shutil.copytree(checkout, hostile_checkout)
    study = new_study(tmp_path / "study", pair_config | {"images": str(images)}, checkout=hostile_checkout)
    study.run("results/tiny/runs/vgg_batch/seed0/training.csv")
    curve = read_table(study.results / "runs" / "vgg_batch" / "seed0" / "training.csv")
    assert set(curve["chance"]) == {0.5}
    assert np.isfinite(curve["loss"][:-1]).all()
    assert list(tmp_path.rglob("pwned")) == []

    # A new image is detected.
    assert study.planned("results/tiny/data/images.npz") == []
    Image.new("L", (8, 8), 9).save(images / "train" / "it's" / "more.png")
    assert [rule for rule, _ in study.planned("results/tiny/data/images.npz")] == ["prepare"]


PREPARED = "results/tiny/data/images.npz"


def write_images(root, noise=0):
    """Write a folder with noise in two classes."""
    for part, label, number in itertools.product(("train", "test"), range(2), range(20)):
        file = root / part / f"class {label}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng([label, number, noise]).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
    return root


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, new_study, pair_config):
    """A study beside a folder of images, 2018, that has been prepared."""
    study = new_study(tmp_path_factory.mktemp("prepared") / "study", pair_config)
    write_images(study.folder / "2018")
    study.run(PREPARED, "--config", "images=2018")
    return study


def rules_for(study, images, *targets):
    return {rule for rule, _ in study.planned(*targets or [PREPARED], "--config", f"images={images}")}


def test_results_behind_a_link_are_named_by_their_scale(tmp_path, new_study, pair_config):
    study = new_study(tmp_path / "study", pair_config)
    (tmp_path / "big disk").mkdir()
    study.results.parent.mkdir()
    study.results.symlink_to(tmp_path / "big disk")
    assert f"Results of the scale tiny: {study.results}\n" in study.run(PREPARED)
    assert (tmp_path / "big disk" / "data" / "images.npz").exists()


def test_the_same_folder_is_the_same_images_however_its_path_is_written(prepared, tmp_path):
    (tmp_path / "link").symlink_to(prepared.folder / "2018")
    for path in ("2018", "2018/", "./2018", prepared.folder / "2018", tmp_path / "link"):
        assert rules_for(prepared, path) == set()


def test_images_that_move_with_the_study_are_the_same_and_so_are_copies(prepared, tmp_path):
    moved = prepared.copy_to(tmp_path / HOSTILE)
    assert rules_for(moved, "2018") == set()
    # A copy has other times, unless it is made with `cp -a`.
    shutil.copytree(moved.folder / "2018", tmp_path / "2018", copy_function=shutil.copyfile)
    assert rules_for(moved, tmp_path / "2018") == set()
    for name in (".DS_Store", "train/class 0/._1.png", "train/class 0/notes.txt"):
        (moved.folder / "2018" / name).write_text("no image")
    assert rules_for(moved, "2018") == set()


def test_images_of_equal_size_swapped_between_classes_are_noticed(prepared, tmp_path):
    study = prepared.copy_to(tmp_path / "copy")
    one, other = (study.folder / "2018" / "train" / name / "0.png" for name in ("class 0", "class 1"))
    assert one.stat().st_size == other.stat().st_size
    before, after = one.read_bytes(), other.read_bytes()
    assert before != after
    for file, content in ((one, after), (other, before)):
        times = file.stat()
        file.write_bytes(content)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert rules_for(study, "2018") == {"prepare"}


def test_other_images_in_a_folder_of_the_same_name_are_refused_without_the_metadata(prepared, tmp_path):
    study = prepared.copy_to(tmp_path / "copy")
    shutil.rmtree(study.folder / ".snakemake")
    shutil.copytree(study.folder / "2018", tmp_path / "same" / "2018")
    assert rules_for(study, tmp_path / "same" / "2018") == set()
    write_images(tmp_path / "other" / "2018", noise=1)
    for options in ([], ["--rerun-triggers", "mtime"], ["--touch"]):
        said = study.refused(PREPARED, *options, "--config", f"images={tmp_path / 'other' / '2018'}")
        assert re.search(r"data/images.json: images was \w{16} in the folder 2018, now \w{16} in the", said)


@pytest.mark.parametrize(
    "name", ["007", "1e3", "true", "pics #2", "a: b", "[x]", "{x}", '"x"', os.fsdecode(b"caf\xe9")]
)
def test_a_folder_may_have_a_name_that_yaml_reads_as_something_else(prepared, tmp_path, name):
    study = prepared.copy_to(tmp_path / "copy")
    (study.folder / "2018").rename(study.folder / name)
    said = study.snakemake("--dry-run", PREPARED, "--config", f"images={name}", profile=None).stdout
    label = image_sources.shown(name).replace("\\", "")
    assert f"the folder {label}" in said.replace("\\", ""), said


def test_the_configuration_of_a_folder_replaces_that_of_the_checkout(pair, checkout):
    """The two files are never merged: no condition comes from the checkout's own config.yaml."""
    assert (checkout / "config.yaml").exists()
    assert {file.name for file in (pair.results / "runs").iterdir()} == set(pair.config["conditions"])
