"""What surrounds a study changes nothing: files of the folder, variables, programs in PATH, conda, LaTeX."""

import os
import re
import shutil
from pathlib import Path

import pytest
import yaml

from workflow import conda

ROOT = Path(__file__).parents[2]
FIGURES = [f"results/tiny/figures/{name}" for name in ("fig1.pdf", "fig1.png", "claims.pdf", "claims.png")]
TRAINED = "results/tiny/runs/deep_linear_none/seed0/training.csv"
PAGE, PDF = "results/tiny/report.html", "results/tiny/report/report.pdf"
NEEDS_LATEX = pytest.mark.skipif(not shutil.which("latexmk"), reason="needs latexmk, of the package latexmk")


def program(folder, name, text):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def first_in_path(monkeypatch):
    """Function: a folder -> the jobs of this test find its programs before all others."""

    def first_in_path(folder):
        monkeypatch.setenv("PATH", os.pathsep.join([str(folder), os.environ["PATH"]]))

    return first_in_path


@pytest.fixture
def hostile(copy_of_finished, tmp_path, monkeypatch, first_in_path):
    """A copy of the finished study in surroundings that have broken jobs of such projects."""
    study = copy_of_finished
    first_in_path(program(tmp_path / "bin", "python", "#!/bin/sh\necho the wrong python >&2; exit 9\n"))
    modules, home = tmp_path / "modules", tmp_path / "home"
    modules.mkdir()
    home.mkdir()
    for name in ("torch", "matplotlib"):
        (modules / f"{name}.py").write_text("raise SystemExit('a module of PYTHONPATH')")
    for name in ("random", "numpy", "torch", "bnopt", "snakemake"):
        (study.folder / f"{name}.py").write_text("raise SystemExit('a module of the current folder')")
    for folder in (study.folder, home):
        (folder / "matplotlibrc").write_text("axes.grid: True\ntext.usetex: True\nfont.size: 30\n")
        for name in ("latexmkrc", ".latexmkrc"):
            (folder / name).write_text('$out_dir = "build";\n')
    profile = tmp_path / "profile"
    profile.mkdir()
    # It matters for the page alone, which a nested call makes.
    (profile / "config.yaml").write_text("report-stylesheet: no/such/file.css\n")
    variables = {
        **{"PYTHONPATH": modules, "PYTHONWARNINGS": "error::UserWarning", "PYTHONOPTIMIZE": "1"},
        **{"MPLBACKEND": "module://matplotlib_inline.backend_inline", "MATPLOTLIBRC": home},
        **{"SNAKEMAKE_PROFILE": profile, "GIT_DIR": tmp_path / "no repository", "TEXINPUTS": home},
        **{"ONEDNN_DEFAULT_FPMATH_MODE": "BF16", "SOURCE_DATE_EPOCH": "1000000000"},
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    return study


def test_surroundings_that_break_jobs_elsewhere_change_no_number_and_no_figure(finished, hostile):
    hostile.run("--force", *FIGURES, PAGE, *([PDF] if (finished.folder / PDF).exists() else []))
    # Last: whatever follows from this table would be made again too.
    hostile.run("--force", TRAINED)
    for file in (*FIGURES, TRAINED):
        assert (hostile.folder / file).read_bytes() == (finished.folder / file).read_bytes(), file
        assert (hostile.folder / file).stat().st_mtime_ns > (finished.folder / file).stat().st_mtime_ns
    if (finished.folder / PDF).exists():
        assert (hostile.folder / PDF).read_bytes() == (finished.folder / PDF).read_bytes()
    assert not list(hostile.folder.rglob("build"))


# -- LaTeX ----------------------------------------------------------------------------------------


@NEEDS_LATEX
def test_where_latex_fails_the_page_is_made_and_the_exit_status_says_so(
    copy_of_finished, tmp_path, first_in_path
):
    """Texts with letters of all kinds are compiled in tests/unit/test_compile.py."""
    study = copy_of_finished
    for file in (PAGE, PDF):
        (study.folder / file).unlink()
    missing = "printf '! LaTeX Error: File `siunitx.sty'\"'\"' not found.\\n'; exit 1"
    first_in_path(program(tmp_path / "bin", "latexmk", f"#!/bin/sh\n{missing}\n"))
    said = study.refused()
    assert (study.folder / PAGE).exists()
    assert not (study.folder / PDF).exists()
    assert "install texlive-science (Debian, Ubuntu) or siunitx (tlmgr)" in said
    assert re.search(r"report\.html +figures and verdicts in a browser", said)
    assert "compile" in said
    assert {rule for rule, _ in study.planned()} == {"compile", "all"}


# -- conda and containers -------------------------------------------------------------------------


@pytest.fixture
def with_conda(tmp_path, first_in_path):
    """The folder of a stand-in for conda, first in PATH, with a `python` that cannot run a job."""
    folder = tmp_path / "conda"
    first_in_path(conda.install(folder))
    first_in_path(program(tmp_path / "bin", "python", "#!/bin/sh\nexit 9\n"))
    return folder


def test_with_conda_a_finished_study_has_nothing_to_do(finished, with_conda):
    done = finished.snakemake("--dry-run", "--sdm", "conda")
    assert "Nothing to be done" in done.stdout
    assert not (with_conda / "called.txt").exists()


def test_with_conda_jobs_run_in_an_environment_made_from_a_copy_of_environment_yml(
    finished, copy_of_finished, with_conda, monkeypatch, tmp_path
):
    for name, value in (("PIP_TARGET", str(tmp_path)), ("PIP_REQUIRE_VIRTUALENV", "1"), ("PYTHONHOME", "")):
        monkeypatch.setenv(name, value)
    study = copy_of_finished
    study.run("--sdm", "conda", "--force", "results/tiny/figures/fig1.png", PAGE)
    study.run("--sdm", "conda", "--force", TRAINED)
    [created] = [line for line in (with_conda / "asked.txt").read_text().splitlines() if "create" in line]
    copy = Path(re.search(r"--file (\S+)", created)[1])
    assert study.folder in copy.parents
    [requirements] = [
        e["pip"] for e in yaml.safe_load(copy.read_text())["dependencies"] if "pip" in e and e != "pip"
    ]
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert requirements == [line for line in pins if not line.startswith("#")]
    called = (with_conda / "called.txt").read_text()
    for module in ("fork_server bnopt.figure", "fork_server bnopt.train", "snakemake"):
        assert f"-m {module} " in called
    for file in ("results/tiny/figures/fig1.png", TRAINED):
        assert (study.folder / file).read_bytes() == (finished.folder / file).read_bytes()
    assert (study.folder / PAGE).stat().st_size > 50_000


def test_without_containers_apptainer_is_not_asked(copy_of_finished, tmp_path, first_in_path):
    first_in_path(program(tmp_path / "bin", "apptainer", "#!/bin/sh\necho asked; exit 9\n"))
    call = ("--sdm", "apptainer")
    assert "Nothing to be done" in copy_of_finished.snakemake("--dry-run", *call).stdout
    copy_of_finished.run(*call, "--force", "results/tiny/figures/fig1.png")


def test_a_container_is_described_with_the_exact_versions(finished, with_conda):
    said = finished.run("--containerize")
    assert "conda env create" in said
    assert "requirements.txt" not in said.replace("versions of requirements.txt from pip", "")
