"""The configuration: refuses what is wrong in it and cuts it into the settings of each job.

Every function takes the whole configuration as read from config.yaml and returns plain values; the
rules pass these on as JSON, so that what a job is given is exactly what is tracked.
"""

import hashlib
import itertools
import json
from functools import cache
from pathlib import Path

import jsonschema
import yaml

from bnopt import plugins
from bnopt.runtime import StudyError

SCHEMA = Path(__file__).parents[2] / "workflow" / "config.schema.yaml"
TRAINING = "training"
SPREAD = "rate_spread"
RANDOM_LAYERS = "random_layers"
CHANCE = "chance"


def scale_of(config, scale):
    """Return the sizes of a scale; `images` at the top level replaces its images."""
    return config["scales"][scale] | ({"images": config["images"]} if "images" in config else {})


def images_settings(config, scale):
    """Return the settings of the job that prepares the images of a scale."""
    source = scale_of(config, scale)["images"]
    if source in ("digits", "cifar10"):
        return {"images": source}
    return {"images": str(Path(source).expanduser())}


def images_content(config, scale):
    """Return a fingerprint of the names and sizes of a folder's images, so that a change is noticed."""
    source = images_settings(config, scale)["images"]
    return _listing(source) if source not in ("digits", "cifar10") else source


@cache
def _listing(folder):
    files = sorted(file for file in Path(folder).rglob("*") if file.is_file())
    listing = [(str(file.relative_to(folder)), file.stat().st_size) for file in files]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()[:16]


def net_settings(config, scale, condition):
    """Return what makes a run: its task, norm, sizes and learning rate."""
    chosen = config["conditions"][condition]
    sizes = scale_of(config, scale)[chosen["task"]]
    return {key: chosen[key] for key in ("task", "norm", "lr")} | {
        key: sizes[key] for key in ("net", "batch_size")
    }


def train_settings(config, scale, condition):
    """Return the settings of a training job; it keeps snapshots only if some table needs them."""
    sizes = scale_of(config, scale)[config["conditions"][condition]["task"]]
    probed = any(condition in needs for t, needs in tables(config).items() if t in config["probes"])
    return net_settings(config, scale, condition) | {
        "steps": sizes["steps"],
        "test_every": sizes["test_every"],
        "snapshot_every": sizes["snapshot_every"] if probed else 0,
    }


def probe_settings(config, scale, condition, probe):
    """Return the settings of a probing job; layers named as in the paper become those of the net."""
    task = config["conditions"][condition]["task"]
    settings = dict(config["probes"][probe][task])
    if "layers" in settings:
        numbers = scale_of(config, scale)[task]["layers"]
        settings["layers"] = {name: numbers[name] for name in settings["layers"]}
    return net_settings(config, scale, condition) | {"probe": probe, "settings": settings}


def figure_settings(config, scale, figure):
    """Return the settings of a drawing job: per table its conditions, and what they are."""
    entry = config["figures"][figure]
    shown = dict.fromkeys(c for names in entry["tables"].values() for c in names)
    settings = {
        "tables": entry["tables"],
        "conditions": {name: config["conditions"][name] for name in shown},
    }
    if "layers" in entry:
        sizes = scale_of(config, scale)
        settings["layers"] = {
            task: {name: sizes[task]["layers"][name] for name in names}
            for task, names in entry["layers"].items()
        }
    return settings


def claims_settings(config, section):
    """Return the settings of a judging job: tables, all claims of a section, all quantities with defaults."""
    quantities = {
        name: {"floor": 0.0, "until_accuracy": None, "sensitivity": []} | quantity
        for name, quantity in config["quantities"].items()
    }
    return {"tables": list(tables(config)), "claims": claims(config, section), "quantities": quantities}


def report_settings(config, scale):
    """Return what the report says of the study: scale, sizes, conditions and captions."""
    sizes = scale_of(config, scale)
    return {
        "scale": scale,
        "images": sizes["images"],
        "seeds": sizes["seeds"],
        "tasks": {task: sizes[task] for task in sizes if task not in ("images", "seeds")},
        "conditions": config["conditions"],
        "captions": {name: figure["caption"] for name, figure in config["figures"].items()},
    }


def claims(config, section):
    """Return the entries of `claims` or `alternatives` by name.

    An entry with `for` stands for one claim per combination of values.
    """
    rows = {}
    for name, entry in config[section].items():
        choices = entry.get("for", {})
        body = {key: value for key, value in entry.items() if key != "for"}
        for values in itertools.product(*choices.values()):
            names = dict(zip(choices, values, strict=True))
            row = {"layers": [], "paper_value": ""} | _fill(body, names)
            rows[_fill(name, names)] = row
    return rows


def _fill(value, names):
    """Replace {placeholders} in every text of a nested value."""
    if isinstance(value, str):
        return value.format(**names)
    if isinstance(value, list):
        return [_fill(item, names) for item in value]
    if isinstance(value, dict):
        return {key: _fill(item, names) for key, item in value.items()}
    return value


def tables(config):
    """Return table -> conditions needed: of `training` all, of a probe those that figures and claims name."""
    needed = {TRAINING: list(config["conditions"])}
    for figure in config["figures"].values():
        for table, conditions in figure["tables"].items():
            if table != RANDOM_LAYERS:
                needed.setdefault(table, []).extend(conditions)
    for claim in [*claims(config, "claims").values(), *claims(config, "alternatives").values()]:
        table = config["quantities"][claim["quantity"]]["table"]
        pair = (claim["condition_a"], claim["condition_b"])
        needed.setdefault(table, []).extend(c for c in pair if c in config["conditions"])
    order = list(config["conditions"])
    return {table: sorted(set(names), key=order.index) for table, names in needed.items()}


def as_json(settings, *, ordered):
    """Return settings as one canonical JSON text: equal settings are equal texts.

    ordered: whether the order of the keys has a meaning, as that of the conditions in a figure has.
    """
    return json.dumps(settings, sort_keys=not ordered, ensure_ascii=False, allow_nan=False)


# -- what is refused ------------------------------------------------------------------------------


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
    validator = jsonschema.Draft202012Validator(yaml.safe_load(SCHEMA.read_text(encoding="utf-8")))
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
            for layer, number in sizes[task]["layers"].items():
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
        for layer in entry.get("layers", []) if measured else []:
            _expect_known(f"{place}.layers", layer, measured)
        for scale, sizes in config["scales"].items():
            for layer in measured:
                _expect_known(f"probes.{table}.{task}.layers (scale {scale})", layer, sizes[task]["layers"])
