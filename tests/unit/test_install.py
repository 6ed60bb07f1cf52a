"""A failed installation is explained in one sentence that says what to do."""

import importlib.util
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def install():
    spec = importlib.util.spec_from_file_location("install", ROOT / "tools" / "install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def elsewhere(install, tmp_path, monkeypatch):
    """The folder in which a test creates an environment."""
    monkeypatch.setattr(install, "ROOT", tmp_path)
    monkeypatch.setattr(install, "ENVIRONMENT", tmp_path / ".venv")
    return tmp_path / ".venv"


def refusal(call, *arguments):
    with pytest.raises(SystemExit) as stopped:
        call(*arguments)
    assert str(stopped.value).startswith("error: ")
    return str(stopped.value)


def test_an_old_python_is_refused_with_the_version_needed_and_what_to_type(install):
    message = refusal(install.check_python, (3, 10))
    assert "Python 3.11 or later is needed, this is Python 3.10" in message
    assert "make PYTHON=" in message
    install.check_python((3, 11))


def test_the_version_needed_is_that_of_the_package(install):
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'requires-python = ">={".".join(map(str, install.LEAST_PYTHON))}"' in text


@pytest.mark.parametrize(("name", "found"), [("a: b", ":"), ("{x}", "{ }"), ("half}/below", "}")])
def test_a_checkout_with_a_colon_or_braces_in_its_path_is_refused(
    install, tmp_path, monkeypatch, name, found
):
    monkeypatch.setattr(sys, "argv", ["tools/install.py"])
    monkeypatch.setattr(install, "ROOT", tmp_path / name)
    monkeypatch.setattr(install, "create", lambda: pytest.fail("the path is refused first"))
    said = refusal(install.main)
    assert f"{tmp_path / name}: expected a path of the checkout without colons and" in said
    assert f"found {found}; move the checkout" in said
    install.check_place(tmp_path / 'it\'s a "new" checkout; $(x) ü')


def test_a_full_disk_is_refused_before_anything_is_installed(install):
    assert "10 GiB of free disk are needed" in refusal(install.check_disk, 3 * 2**30)
    install.check_disk(11 * 2**30)


def test_without_a_package_index_pip_s_failure_says_what_to_do(install, elsewhere, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    venv.create(elsewhere, with_pip=True)
    (tmp_path / "requirements.txt").write_text("no-such-package-anywhere==1.0\n", encoding="utf-8")
    message = refusal(install.install)
    assert "network" in message
    assert "call make again" in message
    assert "no-such-package-anywhere" in message


@pytest.fixture(scope="module")
def pip_works(tmp_path_factory):
    """A folder with an environment, and with a package that pip finds there."""
    folder = tmp_path_factory.mktemp("pip")
    venv.create(folder / ".venv", with_pip=True)
    info = "toy-1.0.dist-info"
    files = {
        "toy.py": "",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": f"toy.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n",
    }
    with zipfile.ZipFile(folder / "toy-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
            (folder / "installed" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "installed" / name).write_text(text)
    (folder / "requirements.txt").write_text("toy==1.0\n")
    (folder / "pip.conf").write_text(
        f"[install]\ntarget = {folder / 'elsewhere'}\n[global]\nno-index = true\n"
    )
    return folder


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PIP_TARGET", "elsewhere"),
        ("PIP_USER", "1"),
        ("PIP_PREFIX", "elsewhere"),
        ("PIP_DRY_RUN", "1"),
        ("PIP_CONFIG_FILE", "pip.conf"),
        ("PYTHONPATH", "installed"),
    ],
)
def test_pip_installs_into_the_environment_whatever_the_caller_has_set(
    install, pip_works, monkeypatch, capfd, name, value
):
    """A package that PYTHONPATH has would count as installed."""
    monkeypatch.setattr(install, "ROOT", pip_works)
    monkeypatch.setattr(install, "ENVIRONMENT", pip_works / ".venv")
    for variable in [variable for variable in os.environ if variable.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    for variable in ("HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"):
        monkeypatch.setenv(variable, str(pip_works))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(pip_works))
    monkeypatch.setenv(name, value if value == "1" else str(pip_works / value))
    for file in pip_works.glob(".venv/lib/python*/site-packages/toy*"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    install.install()
    assert len(list(pip_works.glob(".venv/lib/python*/site-packages/toy.py"))) == 1
    said = capfd.readouterr().out
    unused = {"PIP_CONFIG_FILE": "install.target", "PYTHONPATH": None}.get(name, name)
    assert (
        f"Settings of pip that are not used here: {unused}.\n" in said if unused else "not used" not in said
    )


def test_the_environment_links_to_its_python_as_that_of_python_m_venv(install, elsewhere, monkeypatch):
    create = venv.create
    monkeypatch.setattr(
        venv, "create", lambda *a, **k: create(*a, **k | {"with_pip": False})
    )  # takes seconds
    install.create()
    assert (elsewhere / "bin" / "python").is_symlink()


def test_without_venv_the_message_names_the_package_to_install(install, elsewhere, monkeypatch):
    monkeypatch.setitem(sys.modules, "venv", None)
    assert "install the package python3-venv" in refusal(install.create)
    assert not elsewhere.exists()


needs_make = pytest.mark.skipif(not shutil.which("make"), reason="needs make, of the package make")


@needs_make
def test_make_stops_with_the_sentence(tmp_path):
    """With a Python that claims to be 3.9, `make reproduce` prints the sentence and installs nothing."""
    for name in ("Makefile", "requirements.txt", "config.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    old = tmp_path / "python-old"
    old.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c "
        "'import runpy, sys; sys.version_info = (3, 9, 2); "
        'sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name="__main__")\' "$@"\n',
        encoding="utf-8",
    )
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "reproduce", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "error: Python 3.11 or later is needed, this is Python 3.9" in done.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.fixture
def installed(tmp_path):
    """A folder in which make finds everything installed: programs that print their arguments."""
    for name in ("Makefile", "config.yaml", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("snakemake", "pytest", "python", "ruff", "snakefmt"):
        (programs / name).write_text('#!/bin/sh\nprintf "%s\\n" "${0##*/}" "$@"\n', encoding="utf-8")
        (programs / name).chmod(0o755)
    (tmp_path / ".venv" / "installed").write_text(f"{tmp_path.resolve()}\n", encoding="utf-8")
    return tmp_path


def make(folder, *words, **environment):
    # Without the variables of the make that may be running these tests.
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", *words],
        cwd=folder,
        env=surroundings | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@needs_make
@pytest.mark.parametrize("target", ["reproduce", "store", "test", "lint"])
def test_make_names_the_programs_of_the_environment_by_their_path(installed, target):
    """The make of macOS looks for programs in its own PATH, not in the one it exports."""
    commands = make(installed, "--dry-run", target).splitlines()
    programs = {line.split()[0] for line in commands if not line.startswith("echo")}
    assert programs
    assert all(program.startswith(".venv/bin/") for program in programs)


@needs_make
@pytest.mark.parametrize("images", ["it's", 'say "a b"', "`touch pwned` \\ ü;"])
def test_make_passes_on_a_folder_of_any_name(installed, images):
    words = ["snakemake", "--cores", "all", "--config", "scale=digits"]
    for printed in (
        make(installed, "reproduce", f"IMAGES={images}"),
        make(installed, "reproduce", IMAGES=images),
    ):
        assert printed.splitlines()[:6] == [*words, f"images={images}"]
    assert make(installed, "reproduce").splitlines()[:6] == [*words, printed.splitlines()[6]]
    assert not (installed / "pwned").exists()


@needs_make
@pytest.mark.parametrize("parts", ["all", "[paper,mechanism]"])
def test_make_passes_on_parts_and_seeds(installed, parts):
    (installed / "p").touch()  # a pattern [paper,mechanism] would match it
    words = ["scale=deep-linear", f"parts={parts}", "seeds=[0,1,2]", "tools/store.py", "deep-linear"]
    printed = make(installed, "store", "SCALE=deep-linear", f"PARTS={parts}", "SEEDS=0,1,2").splitlines()
    assert [line for line in printed if line in words] == words


# -- a checkout that was moved, a Python that is gone ----------------------------------------------


@pytest.fixture
def moved(tmp_path):
    """A checkout with a real environment and a program in it, renamed to a folder with a space."""
    before, now = tmp_path / "before", tmp_path / "after a move"
    before.mkdir()
    for name in ("Makefile", "config.yaml"):
        shutil.copy(ROOT / name, before)
    shutil.copytree(ROOT / "tools", before / "tools")
    (before / "requirements.txt").write_text("", encoding="utf-8")
    make(before, "install", f"PYTHON={sys.executable}")
    program = before / ".venv" / "bin" / "snakemake"
    program.write_text(
        f"#!{before}/.venv/bin/python\nimport sys\nprint(sys.prefix, sys.argv)\n", encoding="utf-8"
    )
    program.chmod(0o755)
    before.rename(now)
    return now


@needs_make
def test_the_environment_of_a_moved_checkout_is_repaired_with_a_sentence(moved):
    printed = make(moved, "reproduce", f"PYTHON={sys.executable}")
    assert f"{moved / '.venv'} was moved or copied" in printed
    assert f"{moved / '.venv'} ['.venv/bin/snakemake', '--cores'" in printed
    assert "after a move" in (moved / ".venv/bin/activate").read_text(encoding="utf-8")
    assert "was moved" not in make(moved, "reproduce", f"PYTHON={sys.executable}")
    # Ctrl-C during the first imports of snakemake, or of any other program, ends in a sentence.
    program = [moved / ".venv/bin/python", "-c", "import os, signal; os.kill(os.getpid(), signal.SIGINT)"]
    assert subprocess.run(program, capture_output=True, text=True, check=False).stderr == "stopped\n"
    # A copy uses its own environment, not that of the original.
    copy = shutil.copytree(moved, moved.parent / "copy", symlinks=True)
    assert f"{copy / '.venv'} [" in make(copy, "reproduce", f"PYTHON={sys.executable}")


@needs_make
@pytest.mark.parametrize(
    "how", ["removed", pytest.param("replaced by another version", marks=pytest.mark.long)]
)
def test_an_environment_whose_python_is_gone_is_made_again_with_a_sentence(moved, how):
    python = moved / ".venv" / "bin" / "python"
    if how == "removed":
        python.unlink()
        python.symlink_to(moved / "no-such-python")
    else:
        (library,) = (moved / ".venv" / "lib").glob("python3*")
        library.rename(library.with_name("python3.1"))
    printed = make(moved, "install", f"PYTHON={sys.executable}")
    assert "does not work: its Python was removed or replaced. It is made again." in printed
    assert subprocess.run([python, "-c", "import pip"], check=False).returncode == 0
