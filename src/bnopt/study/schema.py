"""The files of the configuration and their schema: reading, defaults, and error messages."""

import codecs
import json
import locale
import math
import re
from copy import deepcopy
from functools import cache
from pathlib import Path

import jsonschema
import yaml

from bnopt.runtime import StudyError

SCHEMA = Path(__file__).parents[3] / "workflow" / "config.schema.yaml"
# The sections of claims.yaml; all others are in config.yaml.
CLAIMS_SECTIONS = ("quantities", "claims", "alternatives")
LONGEST = 300
# PyYAML's own parser takes a tenth of a second per file; the one in C may be missing.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Stricter than JSON Schema: 500.0 is not an integer, and numbers are finite.
TYPES = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
    {
        "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
        "number": lambda _, value: (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        ),
    }
)


Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=TYPES)


def read(*files):
    """Return the configuration in YAML files, such as config.yaml and claims.yaml, as one dictionary.

    Raises StudyError if a file cannot be read, holds no mapping, or has a key twice.
    """
    config = {}
    for file in files:
        expected = f"{file}: expected part of the configuration of a study"
        try:
            part = yaml.load(Path(file).read_text(encoding="utf-8"), LOADER)
        # ValueError: the text is not UTF-8, or has a date such as 2001-13-01.
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise StudyError(f"{expected}, found {' '.join(str(error).split())}") from error
        if not isinstance(part, dict):
            raise StudyError(f"{expected}, found no keys")
        check_keys(file)
        config |= part
    return config


def check(config):
    """Raise StudyError for the first key that breaks the schema."""
    errors = sorted(Validator(_schema()).iter_errors(config), key=lambda e: (len(e.path), str(e.path)))
    if errors:
        refuse(*_in_words(jsonschema.exceptions.best_match(errors)))


def with_defaults(config):
    """Return a copy of a valid configuration in which every key that has a default has a value."""
    filled = deepcopy(config)
    _fill_in(filled, _schema())
    return filled


def _fill_in(entry, schema):
    """Give the missing keys of a mapping, and of those in it, their defaults."""
    if "$ref" in schema:
        schema = _schema()["$defs"][schema["$ref"].removeprefix("#/$defs/")] | schema
    if not isinstance(entry, dict):
        return
    of_keys = schema.get("properties", {})
    for key, of_key in of_keys.items():
        if "default" in of_key:
            entry.setdefault(key, deepcopy(of_key["default"]))
    for key, value in entry.items():
        of_others = schema.get("additionalProperties")
        _fill_in(value, of_keys.get(key, of_others if isinstance(of_others, dict) else {}))


def parts():
    """Return the names of all parts of a study."""
    return _schema()["$defs"]["part"]["enum"]


@cache
def _schema():
    return yaml.load(SCHEMA.read_text(encoding="utf-8"), LOADER)


def check_text(file):
    """Raise StudyError if a file is not text in UTF-8, or if Snakemake would read it as something else.

    A file that does not exist is left to Snakemake.
    """
    content = Path(file).read_bytes() if Path(file).exists() else b""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"the byte 0x{content[error.start]:02x} in line {line}"
    else:
        found = "zero bytes, as in UTF-16" if "\0" in text else ""
    if found:
        raise StudyError(f"{file}: expected text in UTF-8, found {found}; save the file as UTF-8")
    _check_syntax(file, text)
    encoding = locale.getpreferredencoding(False)
    if not content.isascii() and codecs.lookup(encoding).name != "utf-8":
        raise StudyError(
            f"{file}: expected a locale with UTF-8, because the file has letters beyond ASCII; found "
            f"{encoding}; call snakemake again with the variable PYTHONUTF8=1"
        )


def _check_syntax(file, text):
    """Raise StudyError if a text is not YAML: Snakemake would name neither the file nor the line."""
    try:
        yaml.compose(text, Loader=LOADER)
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = f"{file}, line {mark.line + 1}" if mark else str(file)
        raise StudyError(
            f"{where}: expected YAML, found a syntax error ({problem or error}); indent with spaces as "
            "the entries around it do, and put a text that holds ': ' in quotes"
        ) from error


def check_keys(file):
    """Raise StudyError if a mapping in a YAML file has a key twice: YAML would silently take the last one."""
    text = Path(file).read_text(encoding="utf-8")
    nodes = [(yaml.compose(text, Loader=LOADER), "")]
    for node, parent in nodes:
        if isinstance(node, yaml.SequenceNode):
            nodes += [(value, parent) for value in node.value]
        if isinstance(node, yaml.MappingNode):
            lines = {}
            for key, value in node.value:
                path = f"{parent}.{key.value}" if parent else str(key.value)
                line = key.start_mark.line + 1
                if key.value in lines:
                    refuse(path, "this key once", f"it in lines {lines[key.value]} and {line}")
                lines[key.value] = line
                nodes.append((value, path))


def refuse(key, expected, found):
    """Raise a StudyError of one line: file and key, what was expected, and what was found."""
    found = str(found) or '""'
    found = found if len(found) <= LONGEST else f"{found[:LONGEST]} ..."
    text = f"{key}: expected {expected}{';' if ',' in expected else ','} found {found}"
    file = "claims.yaml" if key.split(".")[0] in CLAIMS_SECTIONS else "config.yaml"
    raise StudyError(f"{file}: {' '.join(text.split())}")


def expect_known(key, name, known):
    """Raise StudyError unless `name` is one of `known`."""
    if name not in known:
        names = ", ".join(map(str, known))
        refuse(key, f"one of {names}" if known else "a defined name, but none is defined", name)


def _in_words(error):
    """Return the key of a schema error, what was expected there, and what was found."""
    key = ".".join(map(str, error.absolute_path)) or "top level"
    found = json.dumps(error.instance, default=str, ensure_ascii=False)
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = sorted(str(name) for name in error.instance if name not in known)
        # An unknown key at the top is itself the key, by which the file or option that holds it is found.
        key = key if error.absolute_path else unknown[0]
        return key, f"only the keys {', '.join(known)}", ", ".join(unknown)
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return key, f"the key {missing[0]}", "none"
    if error.validator == "type":
        text = "the text " if isinstance(error.instance, str) else ""
        return key, _expectation(error), f"{text}{found}{_hint(error.validator_value, error.instance)}"
    return key, _expectation(error), found


def _hint(kind, found):
    """Return how to write a value that is of another type than the one expected, or ""."""
    if isinstance(found, str) and _is_number(found):
        if "number" in kind:
            with_point = re.sub(r"^([+-]?\d+)(?=e)", r"\1.0", found.strip().lower())
            return f"; write {with_point} without quotes (YAML reads 1e-6 as text)"
        if kind == "integer":
            return "; write a whole number without a point, an exponent or quotes"
    if kind == "string" and isinstance(found, int | float):
        return "; put it in quotes"
    return ""


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _expectation(error):
    """Return in words what the violated rule of the schema expects."""
    rule, value = error.validator, error.validator_value
    described = error.schema.get("description", f"{rule} {value}").rstrip(".")
    words = {
        "type": lambda: f"a value of type {value if isinstance(value, str) else ' or '.join(value)}",
        "enum": lambda: "one of " + ", ".join(map(str, value)),
        "contains": lambda: f"{value['const']} among the items",
        "uniqueItems": lambda: "every item once",
        "minimum": lambda: f"at least {value}",
        "exclusiveMinimum": lambda: f"more than {value}",
        "maximum": lambda: f"at most {value}",
        "minItems": lambda: f"{value} or more items",
        "maxItems": lambda: f"at most {value} items" if value else "no items",
        "minProperties": lambda: f"{value} or more entries",
        "minLength": lambda: "a text that is not empty",
    }
    return words[rule]() if rule in words else described
