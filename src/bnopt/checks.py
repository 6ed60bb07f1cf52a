"""Refuses a configuration that is wrong, in a sentence, before anything runs."""

import json
import math
from pathlib import Path

import jsonschema
import yaml

from bnopt import plugins
from bnopt.runtime import StudyError
from bnopt.study import CHANCE, RANDOM_LAYERS, SPREAD, TRAINING, claims, scale_of

SCHEMA = Path(__file__).parents[2] / "workflow" / "config.schema.yaml"


# JSON takes 500.0 for an integer; here a count is written as one. And numbers are finite.
TYPES = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
    {
        "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
        "number": lambda _, value: (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        ),
    }
)
Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=TYPES)


def check(config):
    """Raise StudyError if the configuration breaks the schema or names what does not exist."""
    _check_schema(config)
    _check_conditions(config)
    _check_scales(config)
    _check_probes(config)
    _check_quantities(config)
    for section in ("claims", "alternatives"):
        _check_claims(config, section)
    _check_figures(config)


def _check_schema(config):
    validator = Validator(yaml.safe_load(SCHEMA.read_text(encoding="utf-8")))
    errors = sorted(validator.iter_errors(config), key=lambda e: (len(e.path), str(e.path)))
    if errors:
        raise StudyError(_sentence(jsonschema.exceptions.best_match(errors)))


def _sentence(error):
    """Return a schema error as a sentence: key, what was expected, what was found."""
    place = ".".join(map(str, error.absolute_path)) or "top level"
    found = json.dumps(error.instance, default=str)
    if error.validator == "additionalProperties":
        known = ", ".join(error.schema.get("properties", {}))
        unknown = sorted(map(str, set(error.instance) - set(error.schema.get("properties", {}))))
        return f"config.yaml: {place}: expected only the keys {known}; found {', '.join(unknown)}"
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        return f"config.yaml: {place}: expected the key {missing[0]}, found none"
    if error.validator == "type" and isinstance(error.instance, str):
        hint = ""
        if error.validator_value in ("number", "integer"):
            hint = "; YAML reads 1e-1 as text, write 1.0e-1"
        return f"config.yaml: {place}: expected {_kind(error)}, found the text {found}{hint}"
    if error.validator == "propertyNames":
        return f"config.yaml: {place}: {_kind(error)}; found {error.message}"
    if error.validator == "uniqueItems":
        return f"config.yaml: {place}: expected every item once, found {found}"
    return f"config.yaml: {place}: expected {_kind(error)}, found {found}"


def _kind(error):
    """Return what a schema rule asks for, in words."""
    rule, value = error.validator, error.validator_value
    words = {
        "type": lambda: f"a value of type {value}" if isinstance(value, str) else " or ".join(value),
        "enum": lambda: "one of " + ", ".join(map(str, value)),
        "minimum": lambda: f"at least {value}",
        "exclusiveMinimum": lambda: f"more than {value}",
        "maximum": lambda: f"at most {value}",
        "minItems": lambda: f"{value} or more items",
        "minProperties": lambda: f"{value} or more entries",
        "minLength": lambda: "a text that is not empty",
        "pattern": lambda: f"a text like {value}",
    }
    default = error.schema.get("description", f"{rule} {value}")
    return words[rule]() if rule in words else default


def _expect_known(place, name, known):
    if name not in known:
        raise StudyError(f"config.yaml: {place}: expected one of {', '.join(map(str, known))}; found {name}")


def _check_scales(config):
    _expect_known("scale", config["scale"], config["scales"])
    tasks = {condition["task"] for condition in config["conditions"].values()}
    for name in config["scales"]:
        sizes = scale_of(config, name)
        source = sizes["images"]
        embedded = source in ("digits", "cifar10")
        if name == config["scale"] and not embedded and not Path(source).expanduser().is_dir():
            raise StudyError(
                f"config.yaml: images: expected digits, cifar10 or an existing folder; found {source}"
            )
        for task in sorted(tasks):
            if task not in sizes:
                raise StudyError(f"config.yaml: scales.{name}: expected the key {task}, found none")
            count = _count_layers(task, sizes[task]["net"])
            names = {}
            for layer, number in sizes[task]["layers"].items():
                if names.setdefault(number, layer) != layer:
                    raise StudyError(
                        f"config.yaml: scales.{name}.{task}.layers: expected a name per layer of the net, "
                        f"found {names[number]} and {layer} for layer {number}"
                    )
                # The last layer has no norm and no non-linearity.
                if number >= count:
                    raise StudyError(
                        f"config.yaml: scales.{name}.{task}.layers.{layer}: expected a layer below "
                        f"the last of this net, 1 to {count - 1}; found {number}"
                    )


def _count_layers(task, net):
    if task == "deep_linear":
        return net["depth"]
    return sum(size != "M" for size in net["convolutions"]) + len(net["hidden"]) + 1


def _check_conditions(config):
    for name, condition in config["conditions"].items():
        if name == CHANCE:
            raise StudyError(
                f"config.yaml: conditions.{name}: expected another name, found the one that claims use for "
                "the accuracy of a guess"
            )
        for kind, key in (("tasks", "task"), ("norms", "norm")):
            _expect_known(f"conditions.{name}.{key}", condition[key], plugins.names(kind))


def _check_probes(config):
    for name, settings in config["probes"].items():
        _expect_known(f"probes.{name}", name, plugins.names("probes"))
        arguments = plugins.arguments("probes", name, "measure")
        for task, found in settings.items():
            place = f"probes.{name}.{task}"
            _expect_known(place, task, plugins.names("tasks"))
            if set(found) != set(arguments):
                raise StudyError(
                    f"config.yaml: {place}: expected the keys {', '.join(arguments)}; "
                    f"found {', '.join(found)}"
                )


def _check_quantities(config):
    for name, quantity in config["quantities"].items():
        known = [TRAINING, SPREAD, *config["probes"]]
        _expect_known(f"quantities.{name}.table", quantity["table"], known)
    for name, conditions in config["rate_spread"].items():
        for condition in (name, *conditions):
            _expect_known(f"rate_spread.{name}", condition, config["conditions"])


def _check_claims(config, section):
    for name, claim in claims(config, section).items():
        place = f"{section}.{name}"
        _expect_known(f"{place}.quantity", claim["quantity"], config["quantities"])
        quantity = config["quantities"][claim["quantity"]]
        a, b = claim["condition_a"], claim["condition_b"]
        _expect_known(f"{place}.condition_a", a, config["conditions"])
        if isinstance(b, str):
            _expect_known(f"{place}.condition_b", b, [*config["conditions"], CHANCE, "a number"])
        if b in config["conditions"] and config["conditions"][a]["task"] != config["conditions"][b]["task"]:
            raise StudyError(
                f"config.yaml: {place}: expected two conditions of one task, found {a} "
                f"({config['conditions'][a]['task']}) and {b} ({config['conditions'][b]['task']})"
            )
        least, kind = (1, "factor") if quantity["compare"] == "log_ratio" else (0, "difference")
        if claim["margin"] < least:
            raise StudyError(
                f"config.yaml: {place}.margin: expected a {kind} of at least {least} for the "
                f"quantity {claim['quantity']}, found {claim['margin']}"
            )
        _check_table(
            config, place, quantity["table"], [c for c in (a, b) if c in config["conditions"]], claim
        )


def _check_figures(config):
    for name, figure in config["figures"].items():
        _expect_known(f"figures.{name}", name, plugins.names("figures"))
        expects_layers = "layers" in plugins.arguments("figures", name, "draw")
        if expects_layers != ("layers" in figure):
            expected, found = ("the key layers", "none") if expects_layers else ("no layers", "some")
            raise StudyError(f"config.yaml: figures.{name}: expected {expected}, found {found}")
        for table, conditions in figure["tables"].items():
            place = f"figures.{name}.tables.{table}"
            _expect_known(place, table, [TRAINING, RANDOM_LAYERS, *config["probes"]])
            for condition in conditions:
                _expect_known(place, condition, config["conditions"])
            for task, layers in figure.get("layers", {}).items():
                shown = [c for c in conditions if config["conditions"][c]["task"] == task]
                _check_table(config, f"figures.{name}", table, shown, {"layers": layers})


def _check_table(config, place, table, conditions, entry):
    """Check that a table can be measured for the conditions, with the layers the entry names."""
    if table in (TRAINING, RANDOM_LAYERS, SPREAD) and entry.get("layers") and "statement" in entry:
        raise StudyError(
            f"config.yaml: {place}.layers: expected none, the table {table} has no layers; "
            f"found {', '.join(entry['layers'])}"
        )
    if table in (TRAINING, RANDOM_LAYERS):
        return
    if table == SPREAD:
        for condition in conditions:
            _expect_known(place, condition, config["rate_spread"])
        return
    for task in {config["conditions"][condition]["task"] for condition in conditions}:
        if task not in config["probes"][table]:
            raise StudyError(
                f"config.yaml: {place}: expected probes.{table} to have settings for the task "
                f"{task}, found them for {', '.join(config['probes'][table])}"
            )
        measured = config["probes"][table][task].get("layers", [])
        for layer in entry.get("layers", []):
            _expect_known(f"{place}.layers", layer, measured or [f"none: {table} has no layers"])
        for scale, sizes in config["scales"].items():
            for layer in measured:
                _expect_known(f"probes.{table}.{task}.layers (scale {scale})", layer, sizes[task]["layers"])
