"""Plug-ins: tasks, norms, probes, quantities, figures and data sets, found by the name of their file.

A file whose name begins with an underscore is a helper of its folder, not a plug-in.
"""

import ast
import importlib
import sys
from functools import cache
from pathlib import Path

from bnopt.runtime import StudyError

ROOT = Path(__file__).parent
KINDS = ("datasets", "tasks", "norms", "probes", "quantities", "figures")


def names(kind):
    """Return the names of all plug-ins in the folder `kind`, sorted.

    Copies and locks of editors have names that no module can have: "batch (1).py", ".#batch.py".
    """
    stems = [file.stem for file in (ROOT / kind).glob("*.py")]
    return sorted(stem for stem in stems if stem.isidentifier() and not stem.startswith("_"))


def load(kind, name):
    """Import `bnopt.<kind>.<name>`; raise StudyError if there is no such file."""
    if name not in names(kind):
        raise StudyError(f"{kind}: expected one of {', '.join(names(kind))}, found {name!r}")
    return importlib.import_module(f"bnopt.{kind}.{name}")


def loaded():
    """Return the modules of all plug-ins that this process has imported."""
    return [m for m in sys.modules if m.startswith(tuple(f"bnopt.{kind}." for kind in KINDS))]


def arguments(kind, name, function):
    """Return the names of a plug-in function's keyword-only arguments, without importing the file."""
    return [argument.arg for argument in _definition(kind, name, function).args.kwonlyargs]


def constant(kind, name, wanted):
    """Return the value of a literal constant of a plug-in, without importing the file."""
    constants = _constants(kind, name)
    if wanted not in constants:
        raise StudyError(f"{kind}/{name}.py: expected a constant {wanted}, found none")
    return constants[wanted]


def call(kind, name, function, **arguments):
    """Call a function of a plug-in without importing the file, which may import torch.

    The function may use only its arguments, Python's built-ins and the literal constants of its file.
    """
    definition = ast.Module([_definition(kind, name, function)], type_ignores=[])
    namespace = dict(_constants(kind, name))
    exec(compile(definition, str(ROOT / kind / f"{name}.py"), "exec"), namespace)
    return namespace[function](**arguments)


@cache
def _tree(file):
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise StudyError(
            f"{file}, line {error.lineno}: expected Python, found a mistake ({error.msg}); correct it"
        ) from error


def _definition(kind, name, function):
    body = _tree(ROOT / kind / f"{name}.py").body
    definitions = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
    if function not in definitions:
        raise StudyError(f"{kind}/{name}.py: expected a function {function}, found none")
    return definitions[function]


def _constants(kind, name):
    """Return name -> value of the literals assigned at the top level of a file."""
    found = {}
    for node in _tree(ROOT / kind / f"{name}.py").body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found
