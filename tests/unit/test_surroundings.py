"""The surroundings of a job: its Python, its variables, and the files of the current folder."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bnopt.study import jobs

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
STYLE = ROOT / "paper" / "figures.mplstyle"


def job(command, folder, *, given=None, own=None, conda=False, **environment):
    """Run a command as a rule does, in a folder; return the finished process."""
    given = os.environ | environment if given is None else given
    prefix = jobs.shell_prefix(given, {"PYTHONPATH": str(SOURCE)} | (own or {}), conda=conda)
    return subprocess.run(
        ["bash", "-c", prefix + command], cwd=folder, env=given, capture_output=True, text=True, check=False
    )


def seen(code, folder, **environment):
    """Return what this code prints in a job."""
    done = job(f'exec "$python" -c {shlex.quote(code)}', folder, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def program(folder, name, text):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
    return str(folder)


@pytest.mark.parametrize("path", [None, "/nowhere"])
def test_a_job_runs_with_the_python_that_runs_snakemake_whatever_path_says(tmp_path, path):
    wrong = program(tmp_path / "bin", "python", "#!/bin/sh\nexit 9\n")
    bash = os.pathsep.join([wrong, "/usr/bin", "/bin"]) if path is None else os.environ["PATH"]
    assert seen("import sys; print(sys.executable)", tmp_path, PATH=bash) == sys.executable


def test_a_python_in_a_folder_with_a_hostile_name_is_found(tmp_path, monkeypatch):
    folder = tmp_path / "it's a $(touch pwned) {x} ü"
    folder.mkdir()
    (folder / "python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    assert "ü" in seen("import sys; print(sys.executable)", tmp_path)
    assert list(tmp_path.rglob("pwned")) == []


def test_in_a_conda_environment_a_job_runs_with_its_python_and_its_packages_alone(tmp_path):
    """Snakemake puts the environment first in PATH before the prefix."""
    folder = program(
        tmp_path / "bin", "python", '#!/bin/sh\necho conda "$PYTHONNOUSERSITE" "${PYTHONHOME-}"\n'
    )
    given = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONHOME": "/nowhere"}
    assert job('"$python"', tmp_path, given=given, conda=True).stdout == "conda 1 \n"


@pytest.mark.parametrize("name", ["random", "json", "numpy", "torch", "bnopt", "sitecustomize"])
def test_no_file_of_the_current_folder_is_imported(tmp_path, name):
    (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the current folder')")
    code = f"import importlib.util; print(importlib.util.find_spec({name!r}))"
    assert str(tmp_path) not in seen(code, tmp_path)
    done = job('exec "$python" -m bnopt.gather --help', tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", ["", ":", ".", ":{folder}", "{folder}:", "{folder}"])
def test_nothing_in_the_callers_pythonpath_hides_a_package(tmp_path, path):
    """An empty entry means the current folder: `PYTHONPATH=$PYTHONPATH:more` often leaves one."""
    (tmp_path / "random.py").write_text("raise SystemExit('from PYTHONPATH')")
    (tmp_path / "numpy.py").write_text("raise SystemExit('from PYTHONPATH')")
    path = path.format(folder=tmp_path)
    assert seen("import random, numpy, bnopt; print(numpy.__file__ is not None)", tmp_path, PYTHONPATH=path)


BREAKING = {
    "PYTHONWARNINGS": ("error", "import warnings; warnings.warn('ignored')"),
    "PYTHONOPTIMIZE": (
        "2",
        "import bnopt.gather as g; assert g.__doc__, 1; print(1 if __debug__ else 1 / 0)",
    ),
    "PYTHONIOENCODING": ("ascii", "print('β')"),
    "PYTHONINSPECT": ("1", "import sys; assert not sys.flags.inspect"),
    "PYTHONSTARTUP": ("/nowhere", "import os; assert 'PYTHONSTARTUP' not in os.environ"),
    "PYTHONDEVMODE": ("1", "import sys; assert not sys.flags.dev_mode"),
    "SNAKEMAKE_PROFILE": ("nowhere", "import os; assert 'SNAKEMAKE_PROFILE' not in os.environ"),
    "NVIDIA_TF32_OVERRIDE": ("1", "import os; assert 'NVIDIA_TF32_OVERRIDE' not in os.environ"),
    "ONEDNN_DEFAULT_FPMATH_MODE": ("BF16", "import os; assert not [n for n in os.environ if 'FPMATH' in n]"),
}


@pytest.mark.parametrize("name", BREAKING)
def test_a_variable_of_the_caller_breaks_no_job(tmp_path, name):
    value, code = BREAKING[name]
    seen(code, tmp_path, **{name: value})


def test_variables_that_snakemake_runs_with_and_those_of_a_job_itself_reach_it(tmp_path):
    own = {"BNOPT_OPTIONS": "images='it is' $HOME {x}\nβ"}
    done = job('printf %s "$BNOPT_OPTIONS"', tmp_path, own=own, BNOPT_OPTIONS="of the caller")
    assert done.stdout == own["BNOPT_OPTIONS"]
    code = "import os; print(os.environ['PYTHONUNBUFFERED'], os.environ['WHATEVER'])"
    assert seen(code, tmp_path, PYTHONUNBUFFERED="1", WHATEVER="2") == "1 2"


def test_a_variable_with_a_name_that_no_shell_knows_does_not_matter(tmp_path):
    assert seen("print(1)", tmp_path, **{"BASH_FUNC_module%%": "() { :; }", "PYTHON-X": "1"}) == "1"


def test_a_command_that_fails_ends_the_job(tmp_path):
    assert job("false\necho more", tmp_path).stdout == ""


# -- figures --------------------------------------------------------------------------------------

RCPARAMS = f"""
import json, sys
{{before}}
from bnopt import figure
figure.use_style({str(STYLE)!r})
import matplotlib
with matplotlib._api.suppress_matplotlib_deprecation_warning():
    print(json.dumps({{{{k: str(matplotlib.rcParams[k]) for k in matplotlib.rcParams}}}}, sort_keys=True))
"""
PLACES = (".", "MATPLOTLIBRC", "MPLCONFIGDIR", "XDG_CONFIG_HOME", "HOME")
UGLY = "text.usetex: True\naxes.grid: True\nfont.size: 30\nbackend: nonsense\n"


def rc_params(folder, before="", **environment):
    own = {"PYTHONPATH": str(SOURCE)} | environment
    done = subprocess.run(
        [sys.executable, "-P", "-c", RCPARAMS.format(before=before)],
        cwd=folder, env=os.environ | own, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    found = rc_params(tmp_path_factory.mktemp("clean"))
    assert '"text.usetex": "False"' in found
    assert '"font.size": "8.5"' in found
    return found


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "nonsense", "TkAgg"])
def test_figures_do_not_depend_on_a_backend_that_was_left_in_the_environment(tmp_path, clean, backend):
    assert rc_params(tmp_path, MPLBACKEND=backend) == clean


@pytest.mark.parametrize(
    ("where", "text"),
    [
        *(
            (where, UGLY.encode())
            for where in (".", "MATPLOTLIBRC", "MPLCONFIGDIR", "XDG_CONFIG_HOME", "HOME")
        ),
        *((where, "# gr\xfcn\n".encode("latin-1")) for where in (".", "HOME")),
    ],
)
def test_figures_do_not_depend_on_the_users_matplotlibrc(tmp_path, clean, where, text):
    folder = tmp_path / {"XDG_CONFIG_HOME": "matplotlib", "HOME": ".config/matplotlib"}.get(where, ".")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "matplotlibrc").write_bytes(text)
    elsewhere = tmp_path if where == "." else ROOT
    assert rc_params(elsewhere, **({} if where == "." else {where: str(tmp_path)})) == clean


def test_figures_do_not_depend_on_a_matplotlib_that_was_imported_before(tmp_path, clean):
    before = "import matplotlib; matplotlib.rcParams.update({'text.usetex': True, 'axes.grid': True})"
    assert rc_params(tmp_path, before=before) == clean
