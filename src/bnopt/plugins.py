"""Finds a task, norm, probe, quantity or figure by its name: one file, one name."""

import ast
import importlib
from pathlib import Path

from bnopt.runtime import StudyError

ROOT = Path(__file__).parent


def names(kind):
    """Return the names that exist in the folder `kind`, sorted."""
    return sorted(file.stem for file in (ROOT / kind).glob("*.py") if file.stem != "__init__")


def load(kind, name):
    """Import `bnopt.<kind>.<name>`; raise StudyError if there is no such file."""
    if name not in names(kind):
        raise StudyError(f"{kind}: expected one of {', '.join(names(kind))}, found {name!r}")
    return importlib.import_module(f"bnopt.{kind}.{name}")


def arguments(kind, name, function):
    """Return the names of a plug-in function's keyword-only arguments, without importing the file."""
    tree = ast.parse((ROOT / kind / f"{name}.py").read_text(encoding="utf-8"))
    definitions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if function not in definitions:
        raise StudyError(f"{kind}/{name}.py: expected a function {function}, found none")
    return [argument.arg for argument in definitions[function].args.kwonlyargs]
