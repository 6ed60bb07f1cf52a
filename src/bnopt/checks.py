"""Refuses a configuration that is wrong, in a sentence, before anything runs."""

import json
import math
from functools import cache
from pathlib import Path

import jsonschema
import yaml

from bnopt import plugins
from bnopt.formats import PARTS
from bnopt.runtime import StudyError
from bnopt.study import CHANCE, RANDOM_LAYERS, SPREAD, TRAINING, claims, scale_of, tasks_of

SCHEMA = Path(__file__).parents[2] / "workflow" / "config.schema.yaml"
# Side in pixels and number of training images of the named data sets; those of a folder are checked when
# it is prepared.
SIDE = {"digits": 8, "cifar10": 32}
TRAINING_IMAGES = {"digits": 1437, "cifar10": 50_000}
# Units of every layer of deep_linear.
WIDTH = 10
LONGEST = 300


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


def check_keys(file):
    """Raise StudyError if a YAML file says a key twice in one place, where the last would silently win."""
    text = Path(file).read_text(encoding="utf-8")
    nodes = [(yaml.compose(text, Loader=yaml.SafeLoader), "")]
    for node, place in nodes:
        if isinstance(node, yaml.SequenceNode):
            nodes += [(value, place) for value in node.value]
        if isinstance(node, yaml.MappingNode):
            lines = {}
            for key, value in node.value:
                path = f"{place}.{key.value}" if place else str(key.value)
                line = key.start_mark.line + 1
                if key.value in lines:
                    _refuse(path, "this key once", f"it in lines {lines[key.value]} and {line}")
                lines[key.value] = line
                nodes.append((value, path))


def check(config):
    """Raise StudyError if the configuration breaks the schema or names what does not exist."""
    _check_schema(config)
    _check_conditions(config)
    _check_scales(config)
    _check_images(config)
    _check_probes(config)
    _check_quantities(config)
    _check_rate_spread(config)
    for section in ("claims", "alternatives"):
        _check_claims(config, section)
    _check_figures(config)


def _refuse(place, expected, found):
    """Raise what a user reads, in one line: the place, what was expected, what was found."""
    found = str(found) or '""'
    found = found if len(found) <= LONGEST else f"{found[:LONGEST]} ..."
    text = f"{place}: expected {expected}{';' if ',' in expected else ','} found {found}"
    raise StudyError(f"config.yaml: {' '.join(text.split())}")


def _expect_known(place, name, known):
    if name not in known:
        _refuse(
            place,
            f"one of {', '.join(map(str, known))}" if known else "a name that is defined, there is none",
            name,
        )


# -- one key by itself ----------------------------------------------------------------------------


@cache
def _validator():
    return Validator(yaml.safe_load(SCHEMA.read_text(encoding="utf-8")))


def _check_schema(config):
    errors = sorted(_validator().iter_errors(config), key=lambda e: (len(e.path), str(e.path)))
    if errors:
        _refuse(*_in_words(jsonschema.exceptions.best_match(errors)))


def _in_words(error):
    """Return place, what was expected and what was found of a schema error."""
    place = ".".join(map(str, error.absolute_path)) or "top level"
    found = json.dumps(error.instance, default=str, ensure_ascii=False)
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = sorted(str(key) for key in error.instance if key not in known)
        return place, f"only the keys {', '.join(known)}", ", ".join(unknown)
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        return place, f"the key {missing[0]}", "none"
    if error.validator == "type" and isinstance(error.instance, str):
        number = error.validator_value in ("number", "integer") and _is_number(error.instance)
        hint = "; YAML reads 1e-1 as text, write 1.0e-1" if number else ""
        return place, _kind(error), f"the text {found}{hint}"
    return place, _kind(error), found


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _kind(error):
    """Return what a schema rule asks for, in words."""
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
        "maxItems": lambda: f"{value or 'no'} items",
        "minProperties": lambda: f"{value} or more entries",
        "minLength": lambda: "a text that is not empty",
    }
    return words[rule]() if rule in words else described


# -- scales and conditions ------------------------------------------------------------------------


def _check_conditions(config):
    for name, condition in config["conditions"].items():
        if name == CHANCE:
            expected = "another name than the one that claims use for the accuracy of a guess"
            _refuse(f"conditions.{name}", expected, name)
        for kind, key in (("tasks", "task"), ("norms", "norm")):
            _expect_known(f"conditions.{name}.{key}", condition[key], plugins.names(kind))


def _check_scales(config):
    _expect_known("scale", config["scale"], config["scales"])
    tasks = {condition["task"] for condition in config["conditions"].values()}
    for name, sizes in config["scales"].items():
        if not tasks & set(sizes):
            _refuse(f"scales.{name}", f"a key {' or '.join(sorted(tasks))}", "none")
        for task in tasks_of(sizes):
            _check_steps(f"scales.{name}.{task}", sizes[task])
            _check_layers(f"scales.{name}.{task}.layers", task, sizes[task])


def _check_steps(place, sizes):
    steps = sizes["steps"]
    if sizes["test_every"] > steps:
        _refuse(f"{place}.test_every", f"at most the {steps} steps of the run", sizes["test_every"])
    # What changes from one snapshot to the next is measured: there are two or more.
    if sizes["snapshot_every"] >= steps:
        _refuse(f"{place}.snapshot_every", f"fewer than the {steps} steps", sizes["snapshot_every"])


def _check_layers(place, task, sizes):
    below_the_last = len(_widths(task, sizes["net"]))
    names = {}
    for layer, number in sizes["layers"].items():
        if names.setdefault(number, layer) != layer:
            found = f"{names[number]} and {layer} for layer {number}"
            _refuse(place, "one name per layer of the net", found)
        # The last layer has no norm and no non-linearity.
        if number > below_the_last:
            expected = f"a layer below the last of this net, 1 to {below_the_last}"
            _refuse(f"{place}.{layer}", expected, number)


def _widths(task, net):
    """Return the units of each layer of a net but the last."""
    if task == "deep_linear":
        return [WIDTH] * (net["depth"] - 1)
    return [size for size in (*net["convolutions"], *net["hidden"]) if size != "M"]


def _check_images(config):
    """Check that the images exist, and are as large and as many as their scale needs."""
    for name, sizes in config["scales"].items():
        runs = name == config["scale"]
        source = scale_of(config, name)["images"] if runs else sizes["images"]
        if source in SIDE and "vgg" in sizes:
            _check_fit(f"scales.{name}.vgg", sizes["vgg"], source)
        elif source not in SIDE and runs and not _has_parts(Path(source).expanduser()):
            place = "images" if "images" in config else f"scales.{name}.images"
            _refuse(place, "digits, cifar10 or an existing folder with train/ and test/ in it", source)


def _has_parts(folder):
    return all((folder / part).is_dir() for part in PARTS)


def _check_fit(place, sizes, source):
    side, images = SIDE[source], TRAINING_IMAGES[source]
    poolings = sizes["net"]["convolutions"].count("M")
    if side < 2**poolings:
        expected = f"at most {int(math.log2(side))} M for {source}, of {side} x {side} pixels"
        _refuse(f"{place}.net.convolutions", expected, poolings)
    if sizes["batch_size"] > images:
        expected = f"at most the {images} training images of {source}"
        _refuse(f"{place}.batch_size", expected, sizes["batch_size"])


# -- what is measured -----------------------------------------------------------------------------


def _check_probes(config):
    for name, settings in config["probes"].items():
        _expect_known(f"probes.{name}", name, plugins.names("probes"))
        arguments = plugins.arguments("probes", name, "measure")
        for task, found in settings.items():
            place = f"probes.{name}.{task}"
            _expect_known(place, task, plugins.names("tasks"))
            if set(found) != set(arguments):
                expected = f"the keys {', '.join(arguments)}" if arguments else "no keys"
                _refuse(place, expected, ", ".join(map(str, found)) or "none")
            for scale, sizes in config["scales"].items():
                if task in sizes:
                    _check_measurable(place, f"(scale {scale})", found, task, sizes[task])


def _check_measurable(place, scale, settings, task, sizes):
    """Check that what a probe is told to measure is there at a scale."""
    for layer in settings.get("layers", []):
        _expect_known(f"{place}.layers {scale}", layer, sizes["layers"])
        width = _widths(task, sizes["net"])[sizes["layers"][layer] - 1]
        if settings.get("units", 1) > width:
            _refuse(
                f"{place}.units {scale}", f"at most the {width} units of layer {layer}", settings["units"]
            )
    if settings.get("samples", 1) > sizes["batch_size"]:
        expected = f"at most the batch_size, {sizes['batch_size']}"
        _refuse(f"{place}.samples {scale}", expected, settings["samples"])
    snapshots = math.ceil(sizes["steps"] / sizes["snapshot_every"])
    if settings.get("every", 1) >= snapshots:
        expected = f"fewer than the {snapshots} snapshots of a run"
        _refuse(f"{place}.every {scale}", expected, settings["every"])


def _check_quantities(config):
    known = [TRAINING, SPREAD, *config["probes"]]
    for name, quantity in config["quantities"].items():
        _expect_known(f"quantities.{name}.table", quantity["table"], known)


def _check_rate_spread(config):
    for name, names in config["rate_spread"].items():
        for other in (name, *names):
            _expect_known(f"rate_spread.{name}", other, config["conditions"])
        own = config["conditions"][name]
        for other in names:
            entry = config["conditions"][other]
            if (entry["task"], entry["norm"]) != (own["task"], own["norm"]):
                expected = f"conditions that differ from {name} in their learning rate alone"
                _refuse(f"rate_spread.{name}", expected, f"{other} ({entry['task']}, {entry['norm']})")


# -- what is judged and shown ---------------------------------------------------------------------


def _check_claims(config, section):
    for name, claim in claims(config, section).items():
        place = f"{section}.{name}"
        if section == "alternatives" and claim["place"] not in claims(config, "claims"):
            _refuse(f"{place}.place", "the name of the claim it varies", claim["place"])
        _expect_known(f"{place}.quantity", claim["quantity"], config["quantities"])
        quantity = config["quantities"][claim["quantity"]]
        _check_pair(config, place, claim, quantity)
        _check_margin(place, claim, quantity)
        table = quantity["table"]
        if table not in config["probes"] and claim["layers"]:
            found = ", ".join(claim["layers"])
            _refuse(f"{place}.layers", f"none: the table {table} has no layers", found)
        pair = [claim[key] for key in ("condition_a", "condition_b") if claim[key] in config["conditions"]]
        for condition in pair:
            _check_table(config, place, table, condition)
        for task in _tasks_of(config, pair) if table in config["probes"] else []:
            _check_measured(config, f"{place}.layers", table, task, claim["layers"])


def _check_pair(config, place, claim, quantity):
    a, b = claim["condition_a"], claim["condition_b"]
    _expect_known(f"{place}.condition_a", a, config["conditions"])
    if b == CHANCE and quantity["table"] != TRAINING:
        expected = f"a condition or a number, as the table {quantity['table']} has no chance"
        _refuse(f"{place}.condition_b", expected, b)
    if isinstance(b, str):
        _expect_known(f"{place}.condition_b", b, [*config["conditions"], CHANCE, "a number"])
    elif quantity["compare"] == "log_ratio" and b <= 0:
        _refuse(f"{place}.condition_b", f"more than 0 for the log ratio of {claim['quantity']}", b)
    if a == b:
        _refuse(f"{place}.condition_b", "another condition than condition_a", b)
    if b in config["conditions"] and len(tasks := _tasks_of(config, [a, b])) > 1:
        found = " and ".join(f"{name} ({task})" for name, task in zip((a, b), tasks, strict=True))
        _refuse(f"{place}.condition_b", "two conditions of one task", found)


def _check_margin(place, claim, quantity):
    least, kind = (1, "factor") if quantity["compare"] == "log_ratio" else (0, "difference")
    margin = claim["margin"]
    if margin < least:
        expected = f"a {kind} of at least {least} for the quantity {claim['quantity']}"
        _refuse(f"{place}.margin", expected, margin)
    if margin == least and claim["expected"] == "equivalent":
        _refuse(f"{place}.margin", f"a {kind} of more than {least} for what is to be equivalent", margin)


def _check_figures(config):
    # The forest plot of the claims is drawn for every study.
    known = [name for name in plugins.names("figures") if name != "claims"]
    for name, figure in config["figures"].items():
        place = f"figures.{name}"
        _expect_known(place, name, known)
        shown = []
        for table, conditions in figure["tables"].items():
            _expect_known(f"{place}.tables.{table}", table, [TRAINING, RANDOM_LAYERS, *config["probes"]])
            for condition in conditions:
                _expect_known(f"{place}.tables.{table}", condition, config["conditions"])
                _check_table(config, f"{place}.tables.{table}", table, condition)
            shown += [(table, task) for task in _tasks_of(config, conditions) if table in config["probes"]]
        _check_figure_layers(config, name, figure.get("layers", {}), shown)


def _check_figure_layers(config, name, layers, shown):
    """Check that a figure of layers has some for every task it shows a probe of, all of them measured."""
    place = f"figures.{name}.layers"
    expects_layers = "layers" in plugins.arguments("figures", name, "draw")
    if expects_layers != bool(layers):
        expected, found = ("the key layers", "none") if expects_layers else ("no layers", ", ".join(layers))
        _refuse(place if layers else f"figures.{name}", expected, found)
    if not expects_layers:
        return
    tasks = list(dict.fromkeys(task for _, task in shown))
    if set(tasks) != set(layers):
        _refuse(place, f"layers for the tasks shown: {', '.join(tasks)}", ", ".join(map(str, layers)))
    for table, task in shown:
        _check_measured(config, f"{place}.{task}", table, task, layers[task])


def _check_table(config, place, table, condition):
    """Check that a table can be made of a condition."""
    if table == SPREAD and condition not in config["rate_spread"]:
        known = ", ".join(config["rate_spread"]) or "none"
        _refuse(place, f"conditions that rate_spread has an entry for: {known}", condition)
    if table in config["probes"]:
        task = config["conditions"][condition]["task"]
        found = config["probes"][table]
        if task not in found:
            expected = f"probes.{table} to have settings for the task {task} of {condition}"
            _refuse(place, expected, f"them for {', '.join(found)}")


def _check_measured(config, place, table, task, layers):
    """Check that a probe measures these layers."""
    measured = config["probes"][table][task].get("layers", [])
    if layers and not measured:
        _refuse(place, f"none: the table {table} has no layers", ", ".join(layers))
    for layer in layers:
        _expect_known(place, layer, measured)


def _tasks_of(config, conditions):
    """Return the tasks of conditions, each once."""
    return list(dict.fromkeys(config["conditions"][name]["task"] for name in conditions))
