"""What is wrong in config.yaml is refused in a sentence: every key of it, in every way it can be wrong.

A place is a key with * for a name that is the study's own: scales.*.vgg.steps. It is tried at the first
such key of config.yaml.
"""

import copy
import math
import re
from pathlib import Path

import pytest
import yaml

from bnopt import data
from bnopt.runtime import StudyError
from bnopt.study import checks, study

SCHEMA = yaml.safe_load(checks.SCHEMA.read_text(encoding="utf-8"))
GONE = ...
SECTIONS = ("claims", "alternatives")

# -- the places -----------------------------------------------------------------------------------


def resolved(schema):
    """Return a part of the schema with what it refers to put in its place."""
    if "$ref" in schema:
        return SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")] | schema
    return schema


def places(schema=SCHEMA, keys=()):
    """Yield every place the schema describes, and its part of the schema; a list is one place."""
    schema = resolved(schema)
    yield ".".join(keys), schema
    children = dict(schema.get("properties", {}))
    if isinstance(schema.get("additionalProperties"), dict):
        children["*"] = schema["additionalProperties"]
    for key, child in children.items():
        yield from places(child, (*keys, key))


SITES = dict(places())
CLOSED = [place for place, schema in SITES.items() if schema.get("additionalProperties") is False]


def key_at(config, place):
    """Return the first key of config.yaml at a place, as a path, and its value, None if it has none.

    A claim that stands for several is taken only if there is no other: its messages name those.
    """
    found = list(_matches(config, place.split("."))) if place else [([], config)]
    found.sort(key=lambda match: (match[1] is None, "{" in "".join(map(str, match[0]))))
    return found[0]


def _matches(entry, keys):
    first, *rest = keys
    names = [name for name in entry if name not in ("random_layers",)] if first == "*" else [first]
    for name in names:
        value = entry.get(name)
        if not rest:
            yield [name], value
        elif isinstance(value, dict):
            for path, found in _matches(value, rest):
                yield [name, *path], found


@pytest.fixture
def config(config):
    """config.yaml with the claims as alternatives too, so that both have every key."""
    claims = copy.deepcopy(config["claims"])
    return config | {"alternatives": {name: claim | {"place": name} for name, claim in claims.items()}}


@pytest.fixture
def refusal(changed):
    """Function: path, value -> what is said of config.yaml with this value; it has the right form."""

    def refusal(path, value, *more):
        with pytest.raises(StudyError) as caught:
            checks.check(changed((path, value), *more))
        message = str(caught.value)
        assert re.fullmatch(r"config\.yaml: \S.*: expected \S.*[,;] found \S.*", message), message
        assert 1 <= len(re.split(r"[.!?]\s+(?=[A-Z])", message)) <= 2, message
        assert len(message) < 1500
        return message

    return refusal


def assert_names(message, keys):
    """Assert that a message is about this key, or what is in it; a claim's {placeholders} are filled in."""
    place = re.escape(".".join(map(str, keys)) or "top level")
    pattern = re.sub(r"\\{\w+\\}", r"[\\w.{}-]+", place)
    assert re.match(rf"config\.yaml: {pattern}[.: ]", message), message


# -- wrong types ----------------------------------------------------------------------------------

VALUES = {
    "string": ["text", "1e-1"],
    "integer": [3],
    "number": [0.5, math.nan, math.inf, -math.inf],
    "boolean": [True],
    "null": [None],
    "array": [[], [None]],
    "object": [{}, {"key": 1}],
}
# What the values of a type may look like; everything else is of a wrong type.
SAME = {"string": {"string"}, "integer": {"integer"}, "number": {"integer", "number"}}
NEVER = {"number": [math.nan, math.inf, -math.inf], "array": [[[]], [None], [True]]}


def wrong_types(schema):
    """Yield values that are of no type the schema names, and what is never a value of one."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    same = set().union(*(SAME.get(kind, {kind}) for kind in kinds))
    for kind, values in VALUES.items():
        yield from values if kind not in same else NEVER.get(kind, [])


@pytest.mark.parametrize("place", [place for place in SITES if place])
def test_a_wrong_type_is_refused(config, refusal, place):
    keys, _ = key_at(config, place)
    for value in wrong_types(SITES[place]):
        assert_names(refusal(" > ".join(keys), value), keys)


@pytest.mark.parametrize("nothing", [{}, None, [], "text", 5])
def test_a_configuration_that_is_no_map_is_refused(nothing):
    with pytest.raises(StudyError, match=r"^config\.yaml: top level: expected"):
        checks.check(nothing)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("conditions > vgg_none > lr", "1e-1", ["type number", 'found the text "1e-1"', "write 1.0e-1"]),
        ("probes > along_gradient > vgg > step_sizes > 0", "1e-1", ["type number", "write 1.0e-1"]),
        ("scales > digits > vgg > steps", "500", ["type integer", 'found the text "500"']),
        ("scales > digits > vgg > steps", 500.0, ["type integer", "found 500.0"]),
        ("scales > digits > vgg > batch_size", None, ["type integer", "found null"]),
        ("scales > digits > seeds > 1", "one", ["type integer", 'found the text "one"']),
        ("conditions > vgg_none", "none", ["type object", 'found the text "none"']),
        ("claims > bn_trains_faster > condition_b", None, ["type string or number", "found null"]),
    ],
)
def test_a_wrong_type_is_called_by_its_name(refusal, path, value, words):
    message = refusal(path, value)
    assert_names(message, path.split(" > "))
    for word in words:
        assert word in message


# -- wrong ranges and names -----------------------------------------------------------------------

NO_TEXT = ("", "not empty", 'found ""')
UNKNOWN = "no_such_name"
NONE_OF = (UNKNOWN, "expected one of", f"found {UNKNOWN}")
LAYERS = [
    ([], "1 or more items", "found []"),
    (["2"], "by the paper's name, such as #11", '"2"'),
    (["#-1"], "by the paper's name", "#-1"),
    (["#99"], "one of #", "found #99"),
]


def sizes(task, *, net):
    """Return what is wrong for each size of a task at the scale digits, whose runs have so many steps."""
    place = f"scales.*.{task}"
    steps = {"vgg": 500, "deep_linear": 2000}[task]
    last = {"vgg": 9, "deep_linear": 24}[task]
    return {f"{place}.net.{key}": wrong for key, wrong in net.items()} | {
        place: [],
        f"{place}.net": [],
        f"{place}.layers": [({"#1": 1, "#2": 1}, "one name per layer", "#1 and #2 for layer 1")],
        f"{place}.layers.*": [
            (-1, "at least 1"),
            (0, "at least 1"),
            (last + 1, f"below the last of this net, 1 to {last}", f"found {last + 1}"),
        ],
        f"{place}.steps": [(-5, "at least 2"), (0, "at least 2"), (1, "at least 2")],
        f"{place}.batch_size": [(-8, "at least 2"), (0, "at least 2"), (1, "at least 2")],
        f"{place}.test_every": [
            (-1, "at least 1"),
            (0, "at least 1"),
            (steps + 1, f"at most the {steps} steps", f"found {steps + 1}"),
        ],
        f"{place}.snapshot_every": [
            (-1, "at least 1"),
            (0, "at least 1"),
            # Of a run with one snapshot no change could be told.
            (steps, f"fewer than the {steps} steps", f"found {steps}"),
            (steps + 1, f"fewer than the {steps} steps"),
        ],
    }


LOST = ("bn_smoths_loss", "the name of the claim it varies", "found bn_smoths_loss")


def of_claims(section):
    """Return what is wrong for each key of a claim; an alternative is a claim too."""
    place = f"{section}.*"
    return {
        section: [],
        place: [],
        f"{place}.for": [({}, "1 or more entries"), ({"A b": ["x"]}, "word of small letters", "A b")],
        f"{place}.for.*": [([], "1 or more items"), (["a", "a"], "every item once", '["a", "a"]')],
        f"{place}.place": [NO_TEXT, *([] if section == "claims" else [LOST])],
        f"{place}.family": [NO_TEXT],
        f"{place}.statement": [
            NO_TEXT,
            ("It trains {much} faster.", "in braces only", "{much}"),
            ("A brace { alone.", "in braces only", "{"),
        ],
        f"{place}.quantity": [NONE_OF, ("", "expected one of")],
        f"{place}.layers": LAYERS,
        f"{place}.condition_a": [NONE_OF, ("chance", "one of vgg_none", "found chance")],
        f"{place}.condition_b": [
            (UNKNOWN, "one of vgg_none", "chance", f"found {UNKNOWN}"),
            ("deep_linear_batch", "two conditions of one task", "(vgg)", "deep_linear_batch (deep_linear)"),
            ("vgg_batch", "another condition than condition_a", "found vgg_batch"),
        ],
        f"{place}.expected": [("more", "one of greater", "not_less", '"more"')],
        f"{place}.margin": [(-0.1, "at least 0", "found -0.1")],
        f"{place}.paper_value": [],  # the paper may print nothing
    }


# What is out of range, and words of what is said of it. []: whatever is of the right type is right.
WRONG = {
    "": [],
    "scale": [NONE_OF, ("", "one of digits")],
    "images": [
        NO_TEXT,
        ("no/such/folder", "digits, cifar10 or an existing folder with train/ and test/", "no/such/folder"),
    ],
    "seeds": [([], "1 or more items", "found []"), ([0, 0], "every item once"), ([-1], "at least 0", "-1")],
    "device": [("gpu", "one of auto, cpu, cuda", '"gpu"')],
    "scales": [({}, "1 or more entries", "found {}")],
    "scales.*": [],
    "scales.*.images": [
        NO_TEXT,
        ("no/such/folder", "existing folder with train/ and test/", "found no/such/folder"),
    ],
    "scales.*.keep_snapshots": [
        ("no", "type boolean", 'found the text "no"'),
        (1, "type boolean", "found 1"),
    ],
    "scales.*.vgg.tf32": [("yes", "type boolean", 'found the text "yes"')],
    "scales.*.seeds": [
        ([], "1 or more items", "found []"),
        ([-1], "at least 0", "found -1"),
        ([0, 1, 0], "every item once", "found [0, 1, 0]"),
        ([0, 0.5], "type integer", "found 0.5"),
    ],
    **sizes(
        "vgg",
        net={
            "convolutions": [
                ([], "1 or more items", "found []"),
                (["M", 8], "type integer", '"M"'),
                ([8, "N"], "number of channels or M", '"N"'),
                ([8, 0], "at least 1", "found 0"),
                ([-8], "at least 1", "found -8"),
                ([8, "M", "M", "M", "M", *[8] * 7], "at most 3 M", "8 x 8 pixels", "found 4"),
            ],
            "hidden": [([0], "at least 1", "found 0"), ([-8], "at least 1", "found -8")],
        },
    ),
    **sizes("deep_linear", net={"depth": [(-1, "at least 2"), (0, "at least 2"), (1, "at least 2")]}),
    "conditions": [({}, "1 or more entries", "found {}")],
    "conditions.*": [],
    "conditions.*.task": [NONE_OF, ("", "one of deep_linear, vgg")],
    "conditions.*.norm": [NONE_OF, ("bach", "one of batch", "none", "found bach")],
    "conditions.*.lr": [(0, "more than 0", "found 0"), (-0.1, "more than 0", "found -0.1")],
    "probes": [],
    "probes.*": [({}, "1 or more entries")],
    "probes.*.*": [],
    "probes.*.*.step_sizes": [
        ([], "1 or more items"),
        ([0.5, 2], "1 among the items", "found [0.5, 2]"),
        ([0, 1], "more than 0", "found 0"),
        ([-1, 1], "more than 0", "found -1"),
        ([1, 1], "every item once", "found [1, 1]"),
    ],
    "probes.*.*.layers": [*LAYERS, (["#1", "#1"], "every item once")],
    "probes.*.*.units": [(-1, "at least 1"), (0, "at least 1"), (9, "at most the 8 units of layer #2")],
    "probes.*.*.bins": [(-1, "at least 2"), (0, "at least 2"), (1, "at least 2")],
    "probes.*.*.directions": [(-1, "at least 1"), (0, "at least 1")],
    "probes.*.*.samples": [(-1, "at least 2"), (1, "at least 2"), (129, "at most the batch_size, 128")],
    "probes.*.*.every": [(-1, "at least 1"), (0, "at least 1"), (50, "fewer than the 50 snapshots of a run")],
    "rate_spread": [],
    "rate_spread.*": [
        ([], "2 or more items"),
        (["vgg_none"], "2 or more items"),
        (["vgg_none", "vgg_none"], "every item once"),
        (["vgg_none", UNKNOWN], "one of vgg_none", f"found {UNKNOWN}"),
        (
            ["vgg_none", "vgg_batch"],
            "differ from vgg_none in their learning rate alone",
            "vgg_batch (vgg, batch)",
        ),
    ],
    "random_layers": [],
    "random_layers.draws": [(-1, "at least 1"), (0, "at least 1")],
    "random_layers.seed": [(-1, "at least 0")],
    "quantities": [],
    "quantities.*": [],
    "quantities.*.table": [NONE_OF, ("activation", "one of training", "activations", "found activation")],
    "quantities.*.column": [NO_TEXT],
    "quantities.*.summary": [("average", "one of mean", "median", '"average"')],
    "quantities.*.compare": [("ratio", "one of difference, log_ratio", '"ratio"')],
    "quantities.*.floor": [(0, "more than 0", "found 0"), (-1, "more than 0")],
    "quantities.*.until_accuracy": [(0, "more than 0"), (-1, "more than 0"), (1.1, "at most 1", "found 1.1")],
    "quantities.*.sensitivity": [(["mode"], "one of mean", '"mode"'), (["last", "last"], "every item once")],
    "figures": [],
    "figures.*": [],
    "figures.*.caption": [NO_TEXT],
    "figures.*.tables": [({}, "1 or more entries")],
    "figures.*.tables.random_layers": [(["vgg_none"], "no items", "vgg_none")],
    "figures.*.tables.*": [
        ([], "1 or more items", "found []"),
        (["vgg_none", "vgg_none"], "every item once"),
        (["vgg_none", UNKNOWN], "one of vgg_none", f"found {UNKNOWN}"),
        (["chance"], "one of vgg_none", "found chance"),
    ],
    "figures.*.layers": [
        ({}, "1 or more entries"),
        ({"resnet": ["#3"]}, "layers for the tasks shown: vgg", "found resnet"),
        ({"vgg": ["#3"], "deep_linear": ["#9"]}, "layers for the tasks shown: vgg", "deep_linear"),
    ],
    "figures.*.layers.*": [*LAYERS, (["#3", "#3"], "every item once"), (["#1"], "one of #2", "found #1")],
    **of_claims("claims"),
    **of_claims("alternatives"),
}


def test_no_key_is_forgotten():
    assert set(WRONG) == set(SITES)
    unlisted = {
        "",
        "claims",
        "alternatives",
        "figures",
        "probes",
        "quantities",
        "random_layers",
        "rate_spread",
    }
    free = {place for place, wrong in WRONG.items() if not wrong} - unlisted
    closed_or_names = {place for place, schema in SITES.items() if schema["type"] == "object"}
    assert free - closed_or_names == {"claims.*.paper_value", "alternatives.*.paper_value"}


@pytest.mark.parametrize("place", [place for place, wrong in WRONG.items() if wrong])
def test_what_is_out_of_range_is_refused(config, refusal, place):
    keys, _ = key_at(config, place)
    for value, *words in WRONG[place]:
        message = refusal(" > ".join(keys), value)
        assert_names(message, keys)
        for word in words:
            assert word in message


# -- wrong keys and names -------------------------------------------------------------------------

OPTIONAL = {
    "": {"images", "seeds", "device"},
    "scales.*.vgg": {"tf32"},
    "scales.*": {"vgg", "deep_linear"},  # of a task that no condition has
    "quantities.*": {"floor", "until_accuracy", "sensitivity"},
    "figures.*": {"layers"},
    **{f"{section}.*": {"for", "layers", "paper_value"} for section in SECTIONS},
}


@pytest.mark.parametrize("place", [*CLOSED, "probes.*.*"], ids=lambda place: place or "top level")
def test_an_unknown_key_is_refused_beside_those_that_are_known(config, refusal, place):
    keys, known = key_at(config, place)
    for unknown, value in (("lerning_rate", 0.1), ("Lr", None)):
        message = refusal(" > ".join([*keys, unknown]), value)
        assert_names(message, keys)
        expected, found = message.split("found")
        assert unknown in found
        assert all(str(key) in expected for key in known)


@pytest.mark.parametrize("place", CLOSED, ids=lambda place: place or "top level")
def test_a_missing_key_is_refused_with_its_name(config, refusal, place):
    keys, known = key_at(config, place)
    required = set(SITES[place]["properties"]) - OPTIONAL.get(place, set())
    assert required <= set(known)
    for key in required:
        message = refusal(" > ".join([*keys, key]), GONE)
        assert_names(message, keys)
        assert f"expected the key {key}, found none" in message


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("scales > deep-linear > deep_linear", ["scales.deep-linear:", "expected a key deep_linear or vgg"]),
        ("probes > activations > vgg > bins", ["probes.activations.vgg:", "the keys layers, units, bins"]),
        ("figures > fig1 > layers", ["figures.fig1:", "expected the key layers"]),
    ],
)
def test_what_a_task_a_probe_or_a_figure_needs_is_not_to_be_left_out(refusal, path, words):
    message = refusal(path, GONE)
    for word in words:
        assert word in message


CONDITION = {"task": "vgg", "norm": "none", "lr": 0.1}
NAMES = [
    ("scales > resnet/8", {}, ["letters, digits", "resnet/8"]),
    ("scales > digits > resnet", {}, ["vgg", "found resnet"]),
    ("scales > digits > vgg > layers > 2", 2, ["paper's name", '"2"']),
    ("scales > digits > vgg > layers > #-1", 2, ["paper's name", '"#-1"']),
    ("conditions > 1st", CONDITION, ["letters, digits", "1st"]),
    ("conditions > a b", CONDITION, ["letters, digits", "a b"]),
    ("conditions > a/b", CONDITION, ["letters, digits", "a/b"]),
    ("conditions > chance", CONDITION, ["another name", "found chance"]),
    ("probes > hessian", {"vgg": {}}, ["one of activations, along_gradient", "found hessian"]),
    ("probes > activations > resnet", {"units": 5}, ["one of deep_linear, vgg", "found resnet"]),
    ("rate_spread > vgg_non", ["vgg_none", "vgg_batch"], ["one of vgg_none", "found vgg_non"]),
    (
        "quantities > a b",
        {"table": "training", "column": "loss", "summary": "mean", "compare": "difference"},
        ["letters, digits", "a b"],
    ),
    ("figures > fig99", {"caption": "More.", "tables": {"training": ["vgg_none"]}}, ["fig1", "found fig99"]),
    # The forest plot is drawn in any case, of the claims and not of tables.
    (
        "figures > claims",
        {"caption": "More.", "tables": {"training": ["vgg_none"]}},
        ["fig1", "found claims"],
    ),
    ("figures > fig1 > tables > hessian", ["vgg_none"], ["along_gradient", "found hessian"]),
    ("figures > fig1 > tables > rate_spread", ["vgg_none"], ["one of training", "found rate_spread"]),
    ("figures > fig4 > layers", {"vgg": ["#3"]}, ["expected no layers", "found vgg"]),
]


@pytest.mark.parametrize(("path", "value", "words"), NAMES, ids=[row[0].replace(" > ", ".") for row in NAMES])
def test_an_unknown_or_odd_name_is_refused(refusal, path, value, words):
    message = refusal(path, value)
    assert_names(message, path.split(" > ")[:-1])
    for word in words:
        assert word in message


@pytest.mark.parametrize("section", SECTIONS)
def test_an_odd_name_of_a_claim_is_refused(config, refusal, section):
    claim = next(iter(config[section].values()))
    for name in ("", "a b", "../up", "é"):
        assert_names(refusal(f"{section} > {name}", claim), [section])


@pytest.mark.parametrize(
    "place", ["conditions", "quantities", "claims", "figures", "probes", "rate_spread", "scales"]
)
def test_a_name_that_yaml_reads_as_a_number_is_refused(changed, place):
    config = changed()
    config[place][1] = next(iter(config[place].values()))
    with pytest.raises(StudyError, match=rf"^config\.yaml: {place}[.:].* found 1$"):
        checks.check(config)


def test_a_message_is_one_line_whatever_was_written(refusal):
    refusal("conditions > vgg_none > norm", "none\nor batch")
    refusal("conditions > a\nb", CONDITION)
    assert len(refusal("claims > bn_trains_faster > layers", [f"#{n}" * 999 for n in range(99)])) < 1000


# -- what one key asks of another -----------------------------------------------------------------


def test_a_layer_beyond_the_net_is_refused_at_every_scale(config, changed, refusal):
    last = {
        "vgg": lambda net: sum(size != "M" for size in net["convolutions"]) + len(net["hidden"]),
        "deep_linear": lambda net: net["depth"] - 1,
    }
    for name, scale in config["scales"].items():
        for task in study.tasks_of(scale):
            number = last[task](scale[task]["net"])
            layer = list(scale[task]["layers"])[-1]
            path = f"scales > {name} > {task} > layers > {layer}"
            checks.check(changed((path, number)))
            message = refusal(path, number + 1)
            assert_names(message, path.split(" > "))
            assert f"1 to {number}; found {number + 1}" in message


@pytest.mark.parametrize("key", ["test_every", "snapshot_every"])
def test_steps_beyond_the_run_are_refused_at_every_scale(config, refusal, key):
    for name, scale in config["scales"].items():
        for task in study.tasks_of(scale):
            path = f"scales > {name} > {task} > {key}"
            assert_names(refusal(path, scale[task]["steps"] + 1), path.split(" > "))


def test_the_longest_intervals_that_a_run_has_are_allowed(changed):
    sizes = "scales > digits > vgg"
    checks.check(changed((f"{sizes} > test_every", 500)))
    checks.check(changed(("probes > theorems > vgg > every", 49), ("probes > theorems > vgg > samples", 128)))
    one = ("probes > theorems > vgg > every", 1)
    checks.check(changed((f"{sizes} > snapshot_every", 499), one))
    # Fewer snapshots of a run are fewer of them for a probe.
    with pytest.raises(StudyError, match=r"probes\.theorems\.vgg\.every \(scale digits\): .* 20 snapshots"):
        checks.check(changed((f"{sizes} > snapshot_every", 25)))


def test_a_layer_that_a_scale_does_not_have_is_refused(config, refusal):
    for name, scale in config["scales"].items():
        for task in study.tasks_of(scale):
            message = refusal(f"scales > {name} > {task} > layers > #11", GONE)
            assert f"(scale {name})" in message
            assert "found #11" in message


def test_images_are_as_large_and_as_many_as_a_net_and_a_batch_need(changed, refusal):
    path = "scales > digits > vgg > batch_size"
    assert "at most the 1437 training images of digits, found 1438" in refusal(path, 1438)
    checks.check(changed((path, 1437)))
    poolings = "scales > paper > vgg > net > convolutions"
    net = [8, "M", 8, "M", 8, "M", 8, "M", 8, "M", *[8] * 8]
    checks.check(changed((poolings, net)))
    assert_names(refusal(poolings, [*net, "M"]), poolings.split(" > "))
    # Images on the command line are those of the scale that runs, and of no other.
    checks.check(changed(("images", "digits")))
    with pytest.raises(StudyError, match=r"scales\.paper\.vgg\.net\.convolutions: expected at most 3 M"):
        checks.check(changed(("images", "digits"), ("scale", "paper")))


def test_the_digits_are_as_large_and_as_many_as_the_checks_take_them_to_be():
    shape = data.digits().train_images.shape
    assert (shape[0], shape[2]) == (checks.TRAINING_IMAGES["digits"], checks.SIDE["digits"])


def not_measured(config):
    """Return a layer of the task vgg that the probe activations does not measure."""
    probes = config["probes"]
    measured = probes["activations"]["vgg"]["layers"]
    return next(n for n in probes["covariate_shift"]["vgg"]["layers"] if n not in measured)


def test_a_layer_that_is_not_measured_is_neither_judged_nor_shown(config, refusal):
    layer = not_measured(config)
    message = refusal("claims > bn_does_not_stabilise_{moment} > layers", ["#3", layer])
    assert "claims.bn_does_not_stabilise_mean.layers:" in message
    assert message.endswith(f"found {layer}")
    message = refusal("figures > fig2 > layers > vgg", ["#2", layer])
    assert "figures.fig2.layers.vgg:" in message
    assert message.endswith(f"found {layer}")


@pytest.mark.parametrize("claim", ["bn_trains_faster", "bn_smooths_loss"])
def test_a_table_without_layers_has_none_to_choose_from(refusal, claim):
    message = refusal(f"claims > {claim} > layers", ["#3"])
    assert_names(message, ["claims", claim, "layers"])
    assert "none: the table" in message
    assert message.endswith("found #3")


def test_conditions_of_two_tasks_are_never_compared(refusal):
    message = refusal("claims > bn_smooths_loss > condition_a", "deep_linear_batch")
    assert_names(message, ["claims", "bn_smooths_loss", "condition_b"])
    for words in ("one task", "deep_linear_batch (deep_linear)", "vgg_none (vgg)"):
        assert words in message


def test_a_folder_without_both_parts_is_refused_before_what_is_prepared_is_lost(tmp_path, changed, refusal):
    (tmp_path / "train").mkdir()
    assert "train/ and test/" in refusal("images", str(tmp_path))
    (tmp_path / "test").mkdir()
    checks.check(changed(("images", str(tmp_path))))


@pytest.mark.parametrize(("text", "hinted"), [("1e-1", True), ("1.0e-1", True), ("fast", False), ("", False)])
def test_how_to_write_a_number_is_said_of_numbers(refusal, text, hinted):
    assert ("write 1.0e-1" in refusal("conditions > vgg_none > lr", text)) == hinted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "a: expected this key once, found it in lines 1 and 3"),
        ("a: {b: 1, c: 2, b: 3}\n", "a.b: expected this key once, found it in lines 1 and 1"),
        ("a:\n- b: 1\n- c: 1\n  c: 2\n", "a.c: expected this key once, found it in lines 3 and 4"),
    ],
)
def test_a_key_said_twice_is_refused(tmp_path, text, said):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(StudyError) as caught:
        checks.check_keys(file)
    assert str(caught.value) == f"config.yaml: {said}"


def test_one_key_in_several_places_and_aliases_are_no_repetition(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("a: &x {b: 1}\nb: {b: 1}\nc: *x\nd: [{b: 1}, {b: 2}]\n")
    checks.check_keys(file)
    checks.check_keys(Path(__file__).parents[2] / "config.yaml")
    file.write_text("")
    checks.check_keys(file)


def test_a_guess_has_an_accuracy_and_nothing_else(changed, refusal):
    checks.check(changed(("claims > bn_trains_faster > condition_b", "chance")))
    message = refusal("claims > bn_smooths_loss > condition_b", "chance")
    assert_names(message, ["claims", "bn_smooths_loss", "condition_b"])
    assert "a condition or a number, as the table along_gradient has no chance; found chance" in message


def test_the_margin_of_a_log_ratio_is_a_factor(refusal):
    message = refusal("claims > bn_smooths_loss > margin", 0.5)
    for words in ("claims.bn_smooths_loss.margin", "factor of at least 1", "loss_variation", "found 0.5"):
        assert words in message
    assert "more than 0 for the log ratio" in refusal("claims > bn_smooths_loss > condition_b", 0)


@pytest.mark.parametrize(("claim", "least"), [("plain_fails_at_larger_lr", 0), ("bn_smooths_loss", 1)])
def test_an_equivalence_has_a_margin_within_which_it_can_be_true(refusal, claim, least):
    message = refusal(f"claims > {claim} > margin", least, (f"claims > {claim} > expected", "equivalent"))
    assert_names(message, ["claims", claim, "margin"])
    assert f"of more than {least} for what is to be equivalent" in message


@pytest.mark.parametrize("probe", ["covariate_shift", "along_gradient", "activations"])
def test_a_probe_that_is_not_set_up_for_a_task_is_neither_judged_nor_shown(config, refusal, probe):
    message = refusal(f"probes > {probe} > deep_linear", GONE)
    for words in (f"probes.{probe}", "task deep_linear", "found them for vgg"):
        assert words in message
    # Figures alone are reason enough.
    nothing = [(section, {}) for section in SECTIONS]
    assert "figures." in refusal(f"probes > {probe} > deep_linear", GONE, *nothing)


def test_a_spread_over_rates_is_there_for_what_is_judged_by_it(refusal):
    claim = "claims > bn_smooths_loss"
    judged = (f"{claim} > quantity", "loss_spread_over_rates")
    message = refusal("rate_spread > vgg_none", GONE, judged)
    assert_names(message, ["claims", "bn_smooths_loss"])
    assert message.endswith("rate_spread has an entry for: vgg_batch, found vgg_none")
    assert "has an entry for: none, found vgg_batch" in refusal("rate_spread", {}, judged)


def test_a_claim_needs_quantities_to_choose_from(refusal):
    message = refusal("quantities", {})
    assert_names(message, ["claims", "bn_trains_faster", "quantity"])
    assert "a name that is defined, there is none; found training_accuracy" in message


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("claims > bn_does_not_stabilise_{moment} > quantity", "{momment}_shift", "{momment}_shift"),
        ("claims > bn_trains_faster > for", {"moment": ["mean", "variance"]}, "bn_trains_faster twice"),
        ("claims > bn_does_not_stabilise_{moment} > for > moment", ["skew"], "skew_shift"),
    ],
)
def test_placeholders_are_filled_with_what_there_is(refusal, path, value, word):
    assert word in refusal(path, value).split("found")[1]


def test_an_entry_is_never_lost_to_another_of_its_name(config, refusal):
    claim = "bn_does_not_stabilise_mean"
    assert claim in refusal(f"claims > {claim}", config["claims"]["bn_trains_faster"])
