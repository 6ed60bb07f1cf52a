"""One file, one name: what is in a folder can be named, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from bnopt import plugins
from bnopt.runtime import StudyError

ROOT = Path(plugins.__file__).parent
KINDS = ["tasks", "norms", "probes", "quantities", "figures"]


@pytest.fixture
def empty_root(tmp_path, monkeypatch):
    """A package with one empty folder of norms in the place of the real one."""
    monkeypatch.setattr(plugins, "ROOT", tmp_path)
    (tmp_path / "norms").mkdir()
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_the_names_of_a_kind_are_its_files(kind):
    expected = sorted(file.stem for file in (ROOT / kind).iterdir() if file.suffix == ".py")
    assert expected
    assert plugins.names(kind) == expected


def test_a_new_file_is_a_new_name(empty_root):
    assert plugins.names("norms") == []
    for name in ("z.py", "a.py", "__init__.py", "notes.txt"):
        (empty_root / "norms" / name).touch()
    assert plugins.names("norms") == ["a", "z"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_loads_the_file_of_that_name(kind):
    for name in plugins.names(kind):
        module = plugins.load(kind, name)
        assert module.__name__ == f"bnopt.{kind}.{name}"
        assert Path(module.__file__) == ROOT / kind / f"{name}.py"


@pytest.mark.parametrize("name", ["bach", "", "batch.py", "../data", ".batch", "__init__", "Batch"])
def test_an_unknown_name_is_refused_with_those_that_exist(name):
    with pytest.raises(StudyError) as caught:
        plugins.load("norms", name)
    known = ", ".join(plugins.names("norms"))
    assert str(caught.value) == f"norms: expected one of {known}, found {name!r}"


def test_the_arguments_of_the_probes_are_their_keyword_only_ones():
    assert plugins.arguments("probes", "along_gradient", "measure") == ["step_sizes"]
    assert plugins.arguments("probes", "activations", "measure") == ["layers", "units", "bins"]


def test_arguments_are_read_without_running_the_file(empty_root):
    (empty_root / "norms" / "x.py").write_text("raise SystemExit\ndef build(a, b=1, *, c, d=2): pass\n")
    assert plugins.arguments("norms", "x", "build") == ["c", "d"]


def test_a_file_without_its_function_is_refused(empty_root):
    (empty_root / "norms" / "x.py").write_text("def built(): pass\n")
    with pytest.raises(StudyError) as caught:
        plugins.arguments("norms", "x", "build")
    assert str(caught.value) == "norms/x.py: expected a function build, found none"


def test_names_and_arguments_import_no_plugin_and_no_torch():
    program = (
        "import sys; from bnopt import plugins; plugins.names('norms'); "
        "plugins.arguments('probes', 'activations', 'measure'); "
        "print([m for m in sys.modules if m in ('torch', 'numpy', 'pandas') or m.startswith('bnopt.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(ROOT.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['bnopt.runtime', 'bnopt.plugins']"
