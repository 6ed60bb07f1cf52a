"""Plug-ins: the files of a folder, and nothing else, are found by name; planning imports none of them."""

import subprocess
import sys
from pathlib import Path

import pytest

from bnopt import plugins
from bnopt.runtime import StudyError

ROOT = Path(plugins.__file__).parent
KINDS = ["datasets", "tasks", "norms", "probes", "quantities", "figures"]


@pytest.fixture
def empty_root(tmp_path, monkeypatch):
    """A package that has only an empty folder of norms replaces the real one."""
    monkeypatch.setattr(plugins, "ROOT", tmp_path)
    (tmp_path / "norms").mkdir()
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_the_names_of_a_kind_are_its_files(kind):
    files = [file.stem for file in (ROOT / kind).iterdir() if file.suffix == ".py"]
    expected = sorted(name for name in files if name[0] != "_")
    assert expected
    assert plugins.names(kind) == expected


def test_a_new_file_is_a_new_name(empty_root):
    assert plugins.names("norms") == []
    for name in ("z.py", "a.py", "__init__.py", "_helper.py", "notes.txt"):
        (empty_root / "norms" / name).touch()
    assert plugins.names("norms") == ["a", "z"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_loads_the_file_of_that_name(kind):
    for name in plugins.names(kind):
        module = plugins.load(kind, name)
        assert module.__name__ == f"bnopt.{kind}.{name}"
        assert Path(module.__file__) == ROOT / kind / f"{name}.py"


@pytest.mark.parametrize(
    "name", ["bach", "", "batch.py", "../data", ".batch", "__init__", "_lp_norm", "Batch"]
)
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


def test_a_file_that_is_not_python_is_refused_with_the_line(empty_root):
    (empty_root / "norms" / "x.py").write_text("COUNT = 3\ndef build(:\n")
    with pytest.raises(StudyError) as caught:
        plugins.constant("norms", "x", "COUNT")
    assert str(caught.value).startswith(f"{empty_root / 'norms' / 'x.py'}, line 2: expected Python, found")


def test_a_file_without_its_function_is_refused(empty_root):
    (empty_root / "norms" / "x.py").write_text("def built(): pass\n")
    with pytest.raises(StudyError) as caught:
        plugins.arguments("norms", "x", "build")
    assert str(caught.value) == "norms/x.py: expected a function build, found none"


# A plug-in that must not be imported, with constants and functions for planning.
PLANNED = """
import torch

SIZES = {"a": [1, -2], "b": (None, "text")}
COUNT = 3
COUNT = 4
SUM = 1 + len("a")


def area(*, width, height=2):
    scale = COUNT
    return scale * width * max(height, 0)


def trained(*, width):
    return torch.zeros(width)


def _inner():
    return 1


raise SystemExit
"""


@pytest.fixture
def planned(empty_root):
    """The name of a norm that cannot be imported."""
    (empty_root / "norms" / "x.py").write_text(PLANNED)
    return "x"


@pytest.mark.parametrize(("name", "value"), [("SIZES", {"a": [1, -2], "b": (None, "text")}), ("COUNT", 4)])
def test_a_constant_is_read_without_running_the_file(planned, name, value):
    assert plugins.constant("norms", planned, name) == value


@pytest.mark.parametrize("name", ["SUM", "MISSING", "area", "scale"])
def test_a_constant_that_is_no_literal_or_missing_is_refused(planned, name):
    with pytest.raises(StudyError) as caught:
        plugins.constant("norms", planned, name)
    assert str(caught.value) == f"norms/x.py: expected a constant {name}, found none"


def test_the_constants_of_the_data_sets_are_those_of_their_modules():
    for name in plugins.names("datasets"):
        module = plugins.load("datasets", name)
        for constant in ("SIDE", "TRAINING_IMAGES"):
            assert plugins.constant("datasets", name, constant) == getattr(module, constant)


def test_a_function_is_called_without_running_the_file(planned):
    assert plugins.call("norms", planned, "area", width=5) == 4 * 5 * 2
    assert plugins.call("norms", planned, "area", width=5, height=-1) == 0


def test_a_called_function_has_only_its_arguments_built_ins_and_constants(planned):
    with pytest.raises(NameError, match="torch"):
        plugins.call("norms", planned, "trained", width=5)
    with pytest.raises(TypeError, match="width"):
        plugins.call("norms", planned, "area")


def test_a_missing_function_cannot_be_called(planned):
    with pytest.raises(StudyError) as caught:
        plugins.call("norms", planned, "volume", width=5)
    assert str(caught.value) == "norms/x.py: expected a function volume, found none"


NETS = {
    "vgg": [
        {"convolutions": [4, "M"], "hidden": []},
        {"convolutions": [8, 8, "M", 16, "M", 32], "hidden": [32, 16]},
    ],
    "deep_linear": [{"depth": 2}, {"depth": 25}],
}


@pytest.mark.parametrize(("task", "net"), [(task, net) for task, nets in NETS.items() for net in nets])
@pytest.mark.parametrize("function", ["widths", "image_side"])
def test_a_planning_function_of_a_task_gives_what_its_module_gives(task, net, function):
    expected = getattr(plugins.load("tasks", task), function)(**net)
    assert plugins.call("tasks", task, function, **net) == expected


def in_a_process(program):
    """Return the last line that a program prints in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(ROOT.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1]


def test_loaded_are_the_plugins_that_this_process_has_imported_with_their_helpers():
    program = (
        "from bnopt import plugins; before = plugins.loaded(); plugins.names('norms'); "
        "plugins.call('tasks', 'deep_linear', 'widths', depth=3); plugins.load('norms', 'l1'); "
        "import bnopt.summaries; print(before, sorted(plugins.loaded()))"
    )
    assert in_a_process(program) == "[] ['bnopt.norms._lp_norm', 'bnopt.norms.l1']"


def test_planning_imports_no_plugin_and_no_torch():
    program = (
        "import sys; from bnopt import plugins; plugins.names('norms'); "
        "plugins.arguments('probes', 'activations', 'measure'); "
        "plugins.constant('datasets', 'digits', 'SIDE'); "
        "plugins.call('tasks', 'vgg', 'widths', convolutions=[4], hidden=[]); "
        "print([m for m in sys.modules if m in ('torch', 'numpy', 'pandas') or m.startswith('bnopt.')])"
    )
    assert in_a_process(program) == "['bnopt.runtime', 'bnopt.plugins']"
