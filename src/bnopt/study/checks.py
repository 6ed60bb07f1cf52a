"""Checks of the configuration that go beyond the schema.

Every name refers to something that exists, sizes fit each other, and everything that is judged or
shown is measured. `check` refuses a wrong configuration in one sentence, before any job runs.
"""

import math
from collections import Counter
from pathlib import Path

from bnopt import plugins
from bnopt.study import image_sources, schema
from bnopt.study.schema import expect_known, refuse
from bnopt.study.study import (
    ACCURACIES,
    ALL_NORMS,
    CHANCE,
    PAPER,
    RANDOM_LAYERS,
    RATE_SPREAD,
    TAU,
    TRAINING,
    choices,
    claims,
    tables_of,
    tasks_of,
)

# The least p value of eight seeds is 1/2⁸. Holm's adjustment multiplies it by the number of claims.
LARGEST_FAMILY = 12


def check(config):
    """Raise StudyError if the configuration breaks the schema or names something that does not exist."""
    schema.check(config)
    config = schema.with_defaults(config)
    _check_conditions(config)
    _check_scales(config)
    _check_images(config)
    _check_probes(config)
    _check_quantities(config)
    _check_rate_spread(config)
    for section in ("claims", "alternatives"):
        _check_claims(config, section)
    _check_tau(config)
    _check_families(config)
    _check_figures(config)


# -- scales and conditions ------------------------------------------------------------------------


def _check_conditions(config):
    for name, condition in config["conditions"].items():
        if name in (CHANCE, ALL_NORMS):
            meaning = {CHANCE: "the accuracy of guessing", ALL_NORMS: "all norms together"}[name]
            expected = f"another name, because claims use this one for {meaning}"
            refuse(f"conditions.{name}", expected, name)
        for kind, key in (("tasks", "task"), ("norms", "norm")):
            expect_known(f"conditions.{name}.{key}", condition[key], plugins.names(kind))


def _check_scales(config):
    expect_known("scale", config["scale"], config["scales"])
    used = {condition["task"] for condition in config["conditions"].values()}
    for name, scale in config["scales"].items():
        tasks = tasks_of(scale)
        for task in tasks:
            expect_known(f"scales.{name}.{task}", task, plugins.names("tasks"))
            _check_sizes(f"scales.{name}.{task}", task, scale[task])
        if not used & set(tasks):
            refuse(f"scales.{name}", f"a key {' or '.join(sorted(used))}", "none")


def _check_sizes(key, task, sizes):
    wanted = [name for name in plugins.arguments("tasks", task, "build") if name != "seed"]
    if set(sizes["net"]) != set(wanted):
        refuse(f"{key}.net", f"the keys {', '.join(wanted)}", ", ".join(sizes["net"]) or "none")
    steps = sizes["steps"]
    if sizes["test_every"] > steps:
        refuse(f"{key}.test_every", f"at most the {steps} steps of the run", sizes["test_every"])
    # Probes measure changes between snapshots, so a run has at least two.
    if sizes["snapshot_every"] >= steps:
        refuse(f"{key}.snapshot_every", f"fewer than the {steps} steps", sizes["snapshot_every"])
    _check_odd(f"{key}.snapshot_every", sizes["snapshot_every"])
    _check_layers(f"{key}.layers", task, sizes)


def _check_layers(key, task, sizes):
    below_the_last = len(_widths(task, sizes))
    names = {}
    for layer, number in sizes["layers"].items():
        if names.setdefault(number, layer) != layer:
            found = f"{names[number]} and {layer} for layer {number}"
            refuse(key, "one name per layer of the net", found)
        # The last layer has neither a norm nor a non-linearity.
        if number > below_the_last:
            expected = f"a layer below the last of this net, 1 to {below_the_last}"
            refuse(f"{key}.{layer}", expected, number)


def _widths(task, sizes):
    """Return the number of units of every layer of a net except the last."""
    return plugins.call("tasks", task, "widths", **sizes["net"])


def _check_images(config):
    """Check that the images of each scale exist, and are large enough and enough for its tasks."""
    for name, scale in config["scales"].items():
        runs = name == config["scale"]
        source = config.get("images", scale["images"]) if runs else scale["images"]
        if image_sources.is_named(source):
            for task in tasks_of(scale):
                _check_fit(f"scales.{name}.{task}", task, scale[task], source)
        elif runs and not image_sources.has_parts(source):
            key = "images" if "images" in config else f"scales.{name}.images"
            known = ", ".join(plugins.names("datasets"))
            found = image_sources.shown(source) + _what_is_missing(source)
            refuse(key, f"{known} or an existing folder with train/ and test/ in it", found)


def _what_is_missing(source):
    """Return what a path is that should be a folder of images, or "" if there is nothing."""
    path = Path(image_sources.path(source))
    if path.is_dir():
        missing = [part for part in image_sources.PARTS if not (path / part).is_dir()]
        return f", a folder without {' and '.join(f'{part}/' for part in missing)}"
    return ", which is no folder; unpack an archive first" if path.exists() else ""


def _check_fit(key, task, sizes, source):
    needed = image_sources.needs({task: sizes})
    side, number = image_sources.known(source)
    if needed and side < needed["least_side"]:
        expected = f"a net for images of {side} x {side} pixels, the size of {source}"
        refuse(f"{key}.net", expected, f"one that needs {needed['least_side']} x {needed['least_side']}")
    if needed and number < needed["least_number"]:
        expected = f"at most the {number} training images of {source}"
        refuse(f"{key}.batch_size", expected, sizes["batch_size"])


# -- what is measured -----------------------------------------------------------------------------


def _check_probes(config):
    for name, settings in config["probes"].items():
        expect_known(f"probes.{name}", name, plugins.names("probes"))
        arguments = plugins.arguments("probes", name, "measure")
        for task, found in settings.items():
            key = f"probes.{name}.{task}"
            expect_known(key, task, plugins.names("tasks"))
            if set(found) != set(arguments):
                expected = f"the keys {', '.join(arguments)}" if arguments else "no keys"
                refuse(key, expected, ", ".join(map(str, found)) or "none")
            for scale, sizes in config["scales"].items():
                if task in sizes:
                    _check_measurable(key, f"(scale {scale})", found, task, sizes[task])


def _check_measurable(key, scale, settings, task, sizes):
    """Check that the layers, units, samples and snapshots that a probe needs exist at a scale."""
    for layer in settings.get("layers", []):
        expect_known(f"{key}.layers {scale}", layer, sizes["layers"])
        width = _widths(task, sizes)[sizes["layers"][layer] - 1]
        if settings.get("units", 1) > width:
            refuse(f"{key}.units {scale}", f"at most the {width} units of layer {layer}", settings["units"])
    if settings.get("samples", 1) > sizes["batch_size"]:
        expected = f"at most the batch_size, {sizes['batch_size']}"
        refuse(f"{key}.samples {scale}", expected, settings["samples"])
    snapshots = math.ceil(sizes["steps"] / sizes["snapshot_every"])
    every = settings.get("every", 1)
    if every >= snapshots:
        refuse(f"{key}.every {scale}", f"fewer than the {snapshots} snapshots of a run", every)
    if math.gcd(every, sizes["snapshot_every"]) > 1:  # probes measure the steps that are multiples of both
        expected = f"a number without a factor in common with snapshot_every ({sizes['snapshot_every']})"
        refuse(f"{key}.every {scale}", expected, every)
    _check_odd(f"{key}.every", every)


def _check_odd(key, interval):
    """Refuse an even interval: gradient descent at the edge of stability has cycles of two steps."""
    if interval % 2 == 0:
        expected = "an odd number, because an even interval shows only one phase of a cycle of two steps"
        refuse(key, expected, interval)


def _check_quantities(config):
    known = [TRAINING, RATE_SPREAD, *([TAU] if TAU in config else []), *config["probes"]]
    for name, quantity in config["quantities"].items():
        expect_known(f"quantities.{name}.table", quantity["table"], known)
        if "times" in quantity:
            expect_known(f"quantities.{name}.times.table", quantity["times"]["table"], list(config["probes"]))
        steps = quantity["steps"]
        if steps and steps[0] >= steps[1]:
            refuse(f"quantities.{name}.steps", "the smaller fraction of the run first", steps)


def _check_rate_spread(config):
    for name, names in config["rate_spread"].items():
        for other in (name, *names):
            expect_known(f"rate_spread.{name}", other, config["conditions"])
        own = config["conditions"][name]
        for other in names:
            entry = config["conditions"][other]
            _check_part(config, f"rate_spread.{name}", own["part"], other)
            free = {"lr": None, "part": None}
            if entry | free != own | free:
                expected = f"conditions that differ from {name} only in their learning rate"
                others = ", ".join(str(value) for key, value in entry.items() if key not in free)
                refuse(f"rate_spread.{name}", expected, f"{other} ({others})")


def _check_tau(config):
    entry = config.get(TAU, {"conditions": [], "measures": {}})
    for condition in entry["conditions"]:
        expect_known("tau.conditions", condition, config["conditions"])
        _check_part(config, "tau.conditions", entry["part"], condition)
        for table in entry["measures"]:
            expect_known("tau.measures", table, config["probes"])
            _check_table(config, f"tau.measures.{table}", table, condition)
    for table, measures in entry["measures"].items():
        _check_columns(config, f"tau.measures.{table}", table, measures)
    if len(_tasks_of(config, entry["conditions"])) > 1:
        refuse("tau.conditions", "conditions of one task", ", ".join(entry["conditions"]))
    if entry["conditions"]:
        expect_known("tau.reference", entry["reference"], entry["conditions"])


def _check_columns(config, key, table, columns):
    """Check that a quantity names each of these columns of a table: planning knows columns by quantities."""
    named = {quantity["column"] for quantity in config["quantities"].values() if quantity["table"] == table}
    known = {column for column in named if not column.endswith("*")}
    for column in columns:
        if column not in known:
            expected = f"one of {', '.join(sorted(known))}" if known else "a column that a quantity names"
            hint = f"the columns of {table} that quantities name; to rank another, add a quantity of it"
            refuse(key, f"{expected} ({hint})", column)


# -- what is judged and shown ---------------------------------------------------------------------


def _check_families(config):
    known = claims(config, "claims").values()
    sizes = Counter(claim["family"] for claim in known)
    for family, size in sizes.items():
        parts = sorted({claim["part"] for claim in known if claim["family"] == family})
        if len(parts) > 1:
            expected = "claims of one part, because p values are adjusted within a family"
            refuse(f"claims.{family}", expected, f"claims of the parts {' and '.join(parts)}")
        if size > LARGEST_FAMILY:
            expected = f"at most {LARGEST_FAMILY} claims, because eight seeds confirm none of a larger family"
            remedy = "split the family, as by panels of a figure, or give your own claims one of their own"
            refuse(f"claims.{family}", expected, f"{size}; {remedy}")


def _check_claims(config, section):
    known = claims(config, "claims")
    for name, claim in claims(config, section).items():
        key = f"claims.{claim['family']}.{name}" if section == "claims" else f"{section}.{name}"
        if section == "alternatives":
            _check_varies(config, key, claim, known)
        expect_known(f"{key}.quantity", claim["quantity"], config["quantities"])
        quantity = config["quantities"][claim["quantity"]]
        _check_pair(config, key, claim, quantity)
        _check_margin(key, claim, quantity)
        _check_every_column(key, claim, quantity)
        _check_headline(key, claim, quantity)
        table = quantity["table"]
        if table not in config["probes"] and claim["layers"]:
            found = ", ".join(claim["layers"])
            refuse(f"{key}.layers", f"none, because the table {table} has no layers", found)
        sides = (claim["condition_a"], claim["condition_b"])
        pair = [side for side in sides if side in config["conditions"]]
        for condition in pair:
            _check_part(config, key, claim["part"], condition)
            for needed in tables_of(quantity):
                _check_table(config, key, needed, condition)
        for task in _tasks_of(config, pair) if table in config["probes"] else []:
            _check_measured(config, f"{key}.layers", table, task, claim["layers"])


def _check_varies(config, key, claim, known):
    name = claim["varies"]
    if name not in known:
        refuse(f"{key}.varies", "the name of the claim it varies", name)
    if known[name]["part"] not in (PAPER, claim["part"]):
        found = f"{name} of the part {known[name]['part']}"
        refuse(f"{key}.varies", f"a claim of {_allowed_parts(claim['part'])}", found)
    sides = ([of["condition_a"]] for of in (claim, known[name]))
    own, varied = (_tasks_of(config, [side for side in of if side in config["conditions"]]) for of in sides)
    if own and varied and own != varied:
        expected = f"a claim about {own[0]}, the task of condition_a"
        refuse(f"{key}.varies", expected, f"{name}, about {varied[0]}")


def _check_pair(config, key, claim, quantity):
    a, b = claim["condition_a"], claim["condition_b"]
    if quantity["table"] == TAU:
        _check_of_all_norms(config, key, claim, quantity)
        return
    expect_known(f"{key}.condition_a", a, config["conditions"])
    if b == CHANCE and quantity["table"] != TRAINING:
        expected = f"a condition or a number, because the table {quantity['table']} has no chance"
        refuse(f"{key}.condition_b", expected, b)
    if isinstance(b, str):
        expect_known(f"{key}.condition_b", b, [*config["conditions"], CHANCE, "a number"])
    elif quantity["compare"] == "log_ratio" and b <= 0:
        refuse(f"{key}.condition_b", f"more than 0 for the log ratio of {claim['quantity']}", b)
    if b not in config["conditions"] and quantity["summary"] == "equal_loss":
        refuse(f"{key}.condition_b", "a condition, because two runs are compared at equal loss", b)
    if a == b:
        refuse(f"{key}.condition_b", "another condition than condition_a", b)
    if b in config["conditions"] and len(tasks := _tasks_of(config, [a, b])) > 1:
        found = " and ".join(f"{name} ({task})" for name, task in zip((a, b), tasks, strict=True))
        refuse(f"{key}.condition_b", "two conditions of one task", found)


def _check_of_all_norms(config, key, claim, quantity):
    """Check a claim about the table `tau`: one correlation per seed, compared with a number."""
    expect_known(f"{key}.condition_a", claim["condition_a"], [ALL_NORMS])
    if isinstance(claim["condition_b"], str):
        refuse(f"{key}.condition_b", "a number, because the table tau has no other row", claim["condition_b"])
    if claim["part"] != config[TAU]["part"]:
        refuse(f"{key}.part", f"{config[TAU]['part']}, the part of tau", claim["part"])
    of_runs = [s for s in (quantity["summary"], *quantity["sensitivity"]) if s in ("equal_loss", "whole_run")]
    of_runs += [key for key in ("steps", "until_accuracy") if quantity[key]]
    if quantity["compare"] != "difference" or of_runs:
        expected = "a difference of one number per seed, such as summary: last, compare: difference"
        found = ", ".join([quantity["summary"], quantity["compare"], *of_runs])
        refuse(f"quantities.{claim['quantity']}", expected, found)


def _check_every_column(key, claim, quantity):
    """Check a claim about several columns: the largest of their effects counts, so none is above it."""
    if quantity["column"].endswith("*") and claim["expected"] not in ("less", "not_greater"):
        expected = f"less or not_greater, because the largest effect of {quantity['column']} counts"
        refuse(f"{key}.expected", expected, claim["expected"])


def _check_margin(key, claim, quantity):
    least, kind = (1, "factor") if quantity["compare"] == "log_ratio" else (0, "difference")
    margin = claim["margin"]
    if margin < least:
        expected = f"a {kind} of at least {least} for the quantity {claim['quantity']}"
        refuse(f"{key}.margin", expected, margin)
    if margin == least and claim["expected"] == "equivalent":
        refuse(f"{key}.margin", f"a {kind} of more than {least} for an equivalence", margin)
    if quantity["column"] in ACCURACIES and kind == "difference" and margin >= 1:
        refuse(
            f"{key}.margin", "a difference of accuracies, which is less than 1 (5 points are 0.05)", margin
        )


def _check_headline(key, claim, quantity):
    """Check that the registered summary and steps of a headline claim are among the choices of its curve."""
    known = choices(quantity)["summary"]
    if claim.get("headline") and quantity["summary"] not in known:
        expected = (
            f"a quantity with the summary {' or '.join(known)}, because a specification curve varies it"
        )
        refuse(f"{key}.headline", expected, f"{claim['quantity']} with the summary {quantity['summary']}")
    if claim.get("headline") and quantity["steps"]:
        expected = "a quantity without steps, because a specification curve varies them"
        refuse(f"{key}.headline", expected, f"{claim['quantity']} with steps {quantity['steps']}")


def _check_figures(config):
    # The forest plot of the claims and the specification curves are drawn for every study.
    known = [name for name in plugins.names("figures") if name not in ("claims", "specification")]
    for name, figure in config["figures"].items():
        key = f"figures.{name}"
        expect_known(key, name, known)
        shown = []
        for table, conditions in figure["tables"].items():
            expect_known(f"{key}.tables.{table}", table, [TRAINING, RANDOM_LAYERS, *config["probes"]])
            for condition in conditions:
                expect_known(f"{key}.tables.{table}", condition, config["conditions"])
                _check_part(config, f"{key}.tables.{table}", figure["part"], condition)
                _check_table(config, f"{key}.tables.{table}", table, condition)
            shown += [(table, task) for task in _tasks_of(config, conditions) if table in config["probes"]]
        _check_figure_layers(config, name, figure.get("layers", {}), shown)


def _check_figure_layers(config, name, layers, shown):
    """Check that a figure lists layers for exactly the tasks whose probes it shows, all of them measured."""
    key = f"figures.{name}.layers"
    expects_layers = "layers" in plugins.arguments("figures", name, "draw")
    if expects_layers != bool(layers):
        expected, found = ("the key layers", "none") if expects_layers else ("no layers", ", ".join(layers))
        refuse(key if layers else f"figures.{name}", expected, found)
    if not expects_layers:
        return
    tasks = list(dict.fromkeys(task for _, task in shown))
    if set(tasks) != set(layers):
        refuse(key, f"layers for the tasks shown: {', '.join(tasks)}", ", ".join(map(str, layers)))
    for table, task in shown:
        _check_measured(config, f"{key}.{task}", table, task, layers[task])


def _check_part(config, key, part, condition):
    """Check that whoever asks for this part gets the condition: it belongs to the same part or to `paper`."""
    of_condition = config["conditions"][condition]["part"]
    if of_condition not in (PAPER, part):
        refuse(key, f"conditions of {_allowed_parts(part)}", f"{condition} of the part {of_condition}")


def _allowed_parts(part):
    return f"the part {PAPER}" if part == PAPER else f"the part {PAPER} or {part}"


def _check_table(config, key, table, condition):
    """Check that a table can be made for a condition."""
    if table == RATE_SPREAD and condition not in config["rate_spread"]:
        known = ", ".join(config["rate_spread"]) or "none"
        refuse(key, f"conditions that rate_spread has an entry for: {known}", condition)
    if table in config["probes"]:
        task = config["conditions"][condition]["task"]
        found = config["probes"][table]
        if task not in found:
            expected = f"probes.{table} to have settings for the task {task} of {condition}"
            refuse(key, expected, f"them for {', '.join(found)}")


def _check_measured(config, key, table, task, layers):
    """Check that a probe measures these layers."""
    measured = config["probes"][table][task].get("layers", [])
    if layers and not measured:
        refuse(key, f"none, because the table {table} has no layers", ", ".join(layers))
    for layer in layers:
        expect_known(key, layer, measured)


def _tasks_of(config, conditions):
    """Return the tasks of these conditions without repetition."""
    return list(dict.fromkeys(config["conditions"][name]["task"] for name in conditions))
