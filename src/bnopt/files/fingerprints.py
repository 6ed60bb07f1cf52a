"""Fingerprints of code: they change with the code of a job, not with comments, docstrings or layout.

The modules are parsed, not imported, so planning jobs does not import torch.
"""

import ast
import hashlib
import importlib.util
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[2]


def code_hash(*modules):
    """Return a hash of the code of `modules` and of all first-party modules they import."""
    return combined({module: module_hash(module) for module in reached(*modules)})


def combined(hashes):
    """Return one hash from the hashes of several modules, a dictionary name -> hash."""
    lines = "".join(f"{module} {found}\n" for module, found in sorted(hashes.items()))
    return _short_hash(lines)


@cache
def module_hash(module):
    """Return a hash of the code of one module, without its imports."""
    # As ASCII: which letters `repr` escapes depends on the version of Python.
    return _short_hash(ascii(_shape(tree(module))))


def _short_hash(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def reached(*modules):
    """Return the sorted names of `modules` and of every first-party module they import, at any depth."""
    found, todo = set(), list(modules)
    while todo:
        module = todo.pop()
        if module not in found:
            found.add(module)
            todo.extend(_imports(module))
    return tuple(sorted(found))


def _file(module):
    path = SOURCE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def tree(module):
    """Return the syntax tree of a module's file without its docstrings; a SyntaxError names the file."""
    file = _file(module)
    parsed = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    for node in ast.walk(parsed):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return parsed


def _shape(value):
    """Return a syntax tree as nested tuples of names and values, equal in every version of Python.

    `ast.unparse` would not do: versions quote texts differently. Empty fields are left out, because a
    newer version may have more of them.
    """
    if isinstance(value, ast.AST):
        fields = [(name, field) for name, field in ast.iter_fields(value) if field not in (None, [])]
        return type(value).__name__, *((name, _shape(field)) for name, field in fields)
    return [_shape(item) for item in value] if isinstance(value, list) else value


@cache
def _imports(module):
    names = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = _absolute(node, module)
            names.add(start)
            names.update(f"{start}.{alias.name}" for alias in node.names)
    return frozenset(n for n in names if n.split(".")[0] == "bnopt" and _file(n).exists())


def _absolute(node, module):
    """Return the full name from which a module imports; `from ._affine import Affine` is relative to it."""
    package = module if _file(module).name == "__init__.py" else module.rpartition(".")[0]
    return importlib.util.resolve_name("." * node.level + (node.module or ""), package)
