"""Fingerprints of code change when a job would do something else, and only then."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bnopt.files import fingerprints

SOURCE = Path(fingerprints.__file__).parents[2]
TRAIN = ("bnopt.train", "bnopt.tasks.vgg")


@pytest.fixture
def code(tmp_path):
    """A copy of the package that tests may change; `hash` and `reached` are those of a new process."""
    shutil.copytree(SOURCE / "bnopt", tmp_path / "bnopt", ignore=shutil.ignore_patterns("__pycache__"))
    return Code(tmp_path)


class Code:
    def __init__(self, source):
        self.source = source

    def _fresh(self):
        spec = importlib.util.spec_from_file_location(
            "fresh_fingerprints", self.source / "bnopt" / "files" / "fingerprints.py"
        )
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def hash(self, *modules):
        return self._fresh().code_hash(*modules)

    def reached(self, *modules):
        return self._fresh().reached(*modules)

    def file(self, module):
        return self.source.joinpath(*module.split(".")).with_suffix(".py")

    def write(self, module, text):
        self.file(module).write_text(text, encoding="utf-8")

    def extend(self, module):
        """Add a statement to a module, the smallest change of its code."""
        self.write(module, self.file(module).read_text(encoding="utf-8") + "\nCHANGED = 1\n")

    def replace(self, module, old, new):
        text = self.file(module).read_text(encoding="utf-8")
        assert old in text
        self.write(module, text.replace(old, new, 1))


def of_norm(name):
    return (*TRAIN, f"bnopt.norms.{name}")


BEFORE = '''"""A module."""
import math

LIMIT = 1


class Thing:
    """A class."""

    size = 2

    def area(self, x, *, y=3):
        """Return an area."""
        return math.pi * x**2 + y


async def later():
    """Return later."""
    return "text"
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 1", "LIMIT = 1  # a comment"),
        ("import math\n", "# comments\n# at length\n\n\nimport math\n\n"),
        ('"""A module."""\n', ""),
        ('"""A module."""', '"""Another\n\ndocstring of several lines."""'),
        ('    """A class."""\n\n', ""),
        ('"""Return an area."""', "'Return the area; it is no string that the code sees.'"),
        ('"""Return later."""', '"""Return much later."""'),
        ("math.pi * x**2 + y", "(\n            math.pi  * x ** 2\n            + (y)\n        )"),
        ('"text"', "'text'"),
        ('"text"', '"te" "xt"'),
        ("LIMIT = 1\n", "LIMIT = 1;\n"),
        ("\n\n\n", "\n\n\n\n\n"),
    ],
)
def test_comments_docstrings_and_layout_change_nothing(code, old, new):
    code.write("bnopt.thing", BEFORE)
    before = code.hash("bnopt.thing")
    code.replace("bnopt.thing", old, new)
    assert code.hash("bnopt.thing") == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 1", "LIMIT = 2"),
        ("LIMIT = 1", "LIMIT = 1.0"),
        ("LIMIT = 1", "LIMIT = True"),
        ("LIMIT = 1", "limit = 1"),
        ("LIMIT = 1\n", "LIMIT = 1\nMORE = 1\n"),
        ("size = 2", "size = 3"),
        ("y=3", "y=4"),
        ("*, y=3", "y=3"),
        ("math.pi * x**2 + y", "math.pi * (x**2 + y)"),
        ('"text"', '"texts"'),
        ('"text"', 'b"text"'),
        ("async def", "def"),
        ("class Thing", "@print\nclass Thing"),
        ("import math", "import cmath as math"),
        ('    """Return later."""\n', '    f"""Return later."""\n'),
        ("LIMIT = 1\n", 'LIMIT = 1\n"""Not a docstring, but a statement."""\nMORE = LIMIT\n'),
    ],
)
def test_any_change_of_code_is_noticed(code, old, new):
    code.write("bnopt.thing", BEFORE)
    before = code.hash("bnopt.thing")
    code.replace("bnopt.thing", old, new)
    assert code.hash("bnopt.thing") != before


# Versions of Python differ in how they turn the tree of this code back into text.
DIFFICULT = r'''
def shown(name, values, width=8, *rest: int, **more):
    """Docstring."""
    first = f"it's {name!r:>8} of \"{values['key']}\"\n" f'{width = } {{}} {"é" + "日"}'
    return first, rf"\d{name}", b"\xff", u"\U0001fae8", 1e-5, 2j, ..., None, -1, [*rest], lambda: {**more}


match shown:
    case {"a": [1, *others], **left} if (n := len(others)):
        print(f"{n:}{n + 1:>3}", left, sep="")
'''


def test_fingerprints_are_the_same_in_every_version_of_python(code):
    code.write("bnopt.thing", DIFFICULT)
    assert code._fresh().module_hash("bnopt.thing") == "cfd31322bcae6f8a"


def test_a_function_that_is_only_a_docstring_is_one_that_does_nothing(code):
    code.write("bnopt.thing", 'def f():\n    """Do nothing."""\n')
    documented = code.hash("bnopt.thing")
    code.write("bnopt.thing", "def f():\n    pass\n")
    assert code.hash("bnopt.thing") == documented


@pytest.mark.parametrize(
    "statement",
    [
        "from bnopt import used",
        "from bnopt import plugins, used",
        "import bnopt.used",
        "import bnopt.used as other",
        "from bnopt.used import value",
        "from bnopt.used import *",
        "def f():\n    from bnopt import used",
        "if True:\n    import bnopt.used",
        "try:\n    import bnopt.used\nexcept ImportError:\n    pass",
        "from bnopt import between",
        "from . import used",
        "from .used import value",
        "from .between import value",
    ],
)
def test_a_change_in_an_imported_module_is_noticed_however_it_is_imported(code, statement):
    code.write("bnopt.used", "value = 1\n")
    code.write("bnopt.between", "from bnopt.used import value\n")
    code.write("bnopt.thing", f"{statement}\n")
    before = code.hash("bnopt.thing")
    code.write("bnopt.used", "value = 1  # the same\n")
    assert code.hash("bnopt.thing") == before
    code.write("bnopt.used", "value = 2\n")
    assert code.hash("bnopt.thing") != before


@pytest.mark.parametrize("statement", ["from ._affine import Affine", "from . import _affine"])
def test_a_plugin_may_import_a_helper_of_its_folder_by_a_relative_name(code, statement):
    code.write("bnopt.norms.new", f"{statement}\n")
    assert "bnopt.norms._affine" in code.reached("bnopt.norms.new")
    code.write("bnopt.norms.new", "from ..run.vectors import length\n")
    assert code.reached("bnopt.norms.new") == ("bnopt.norms.new", "bnopt.run.vectors")


def test_what_is_not_imported_does_not_matter(code):
    code.write("bnopt.thing", "import json\nfrom bnopt.run import vectors\n")
    before = code.hash("bnopt.thing")
    code.write("bnopt.other", "value = 1\n")
    code.extend("bnopt.train")
    assert code.hash("bnopt.thing") == before
    assert code.reached("bnopt.thing") == ("bnopt.run.vectors", "bnopt.thing")


def test_modules_that_import_each_other_have_a_fingerprint(code):
    code.write("bnopt.one", "from bnopt import two\n")
    code.write("bnopt.two", "from bnopt import one\n")
    assert code.reached("bnopt.one") == code.reached("bnopt.two") == ("bnopt", "bnopt.one", "bnopt.two")


def test_which_module_holds_the_code_matters(code):
    code.write("bnopt.one", "from bnopt import two\nvalue = 1\n")
    code.write("bnopt.two", "other = 2\n")
    before = code.hash("bnopt.one")
    code.write("bnopt.one", "from bnopt import two\n")
    code.write("bnopt.two", "value = 1\nother = 2\n")
    assert code.hash("bnopt.one") != before


def test_the_order_in_which_modules_are_named_does_not_matter():
    assert fingerprints.code_hash("bnopt.train", "bnopt.norms.batch") == fingerprints.code_hash(
        "bnopt.norms.batch", "bnopt.train"
    )


def test_a_norms_change_matters_only_to_those_who_load_it(code):
    before = {name: code.hash(*of_norm(name)) for name in ("none", "batch", "noise", "noisy_batch")}
    assert len(set(before.values())) == 4
    code.extend("bnopt.norms.noise")
    changed = {name for name in before if code.hash(*of_norm(name)) != before[name]}
    assert changed == {"noise", "noisy_batch"}


def test_a_new_norm_changes_no_fingerprint_of_the_others(code):
    before = code.hash(*of_norm("batch"))
    code.write("bnopt.norms.new", "from torch import nn\ndef build(channels):\n    return nn.Identity()\n")
    assert code.hash(*of_norm("batch")) == before
    assert "bnopt.norms.new" in code.reached(*of_norm("new"))


@pytest.mark.parametrize(
    ("module", "stages"),
    [
        ("bnopt.train", {"bnopt.train"}),
        ("bnopt.run.run", {"bnopt.train", "bnopt.probe"}),
        ("bnopt.run.point", {"bnopt.probe"}),
        ("bnopt.summaries", {"bnopt.claims"}),
        ("bnopt.verdicts", {"bnopt.claims"}),
        ("bnopt.files.images", {"bnopt.data"}),
        ("bnopt.figures._drawing", {"bnopt.figure"}),
        ("bnopt.figure", {"bnopt.figure"}),
        ("bnopt.study.image_sources", {"bnopt.data"}),
        ("bnopt.study.study", set()),
        ("bnopt.study.jobs", set()),
        ("bnopt.run.checkpoint", {"bnopt.train", "bnopt.probe"}),
        ("bnopt.provenance", set()),
    ],
)
def test_a_change_reruns_only_the_stages_that_reach_it(code, module, stages):
    loaded = {"bnopt.figure": ["bnopt.figures.fig1"]}
    every = ["bnopt.data", "bnopt.train", "bnopt.probe", "bnopt.statistics", "bnopt.claims", "bnopt.figure"]
    before = {stage: code.hash(stage, *loaded.get(stage, [])) for stage in every}
    code.extend(module)
    assert {s for s in every if code.hash(s, *loaded.get(s, [])) != before[s]} == stages


def test_a_module_that_does_not_exist_is_an_error():
    with pytest.raises(FileNotFoundError):
        fingerprints.code_hash("bnopt.norms.no_such_norm")


def test_a_file_that_is_not_python_is_named_with_the_line(code):
    code.write("bnopt.norms.batch", "import math\n\ndef f(:\n")
    with pytest.raises(SyntaxError) as caught:
        code.hash(*of_norm("batch"))
    assert (caught.value.filename, caught.value.lineno) == (str(code.file("bnopt.norms.batch")), 3)


def test_fingerprints_are_made_without_importing_anything_that_is_fingerprinted():
    program = (
        "import sys; from bnopt.files import fingerprints; "
        "fingerprints.code_hash('bnopt.train', 'bnopt.tasks.vgg', 'bnopt.norms.batch', 'bnopt.figure'); "
        "heavy = {'torch', 'numpy', 'pandas', 'matplotlib'} & set(sys.modules); "
        "print(sorted(heavy | {m for m in sys.modules if m.startswith('bnopt.')}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['bnopt.files', 'bnopt.files.fingerprints']"


def test_fingerprints_are_the_same_in_every_process(code):
    here = code.hash(*of_norm("noisy_batch"))
    program = (
        f"from bnopt.files import fingerprints; print(fingerprints.code_hash(*{of_norm('noisy_batch')!r}))"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": str(code.source), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == here
