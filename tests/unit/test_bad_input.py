"""Errors in config.yaml and claims.yaml are refused in one sentence: every key, with every kind of error.

A pattern is a key with * for names that the study chooses: scales.*.vgg.steps. It is tested at the first
key of the configuration that it matches.
"""

import copy
import functools
import math
import operator
import re
from pathlib import Path

import pytest
import yaml

from bnopt import plugins
from bnopt.runtime import StudyError
from bnopt.study import checks, image_sources, study
from bnopt.study import schema as schemas

SCHEMA = yaml.safe_load(schemas.SCHEMA.read_text(encoding="utf-8"))
GONE = ...
SECTIONS = ("claims", "alternatives")
IN_CLAIMS_YAML = ("quantities", *SECTIONS)
# Families of claims that have every key together.
FAMILIES = ("fig1", "fig2", "fig4", "fig5", "norms")
# The keys of `net` that each task has.
NETS = {"vgg": ("convolutions", "hidden"), "deep_linear": ("depth",)}

# -- the keys -------------------------------------------------------------------------------------


def resolved(schema):
    """Return a part of the schema in which a reference is replaced by the definition it names."""
    if "$ref" in schema:
        return SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")] | schema
    return schema


def patterns(schema=SCHEMA, keys=()):
    """Yield the pattern of every key that the schema describes, and its part of the schema.

    A list is one key. The tasks of a scale are listed one by one, because their nets have different keys.
    """
    schema = resolved(schema)
    yield ".".join(keys), schema
    children = dict(schema.get("properties", {}))
    if isinstance(schema.get("additionalProperties"), dict):
        children["*"] = schema["additionalProperties"]
    for key, child in children.items():
        if keys[3:] == ("net",) and key not in NETS[keys[2]]:
            continue
        names = NETS if (*keys, key) == ("scales", "*", "*") else [key]
        for name in names:
            yield from patterns(child, (*keys, name))


PATTERNS = dict(patterns())
CLOSED = [pattern for pattern, schema in PATTERNS.items() if schema.get("additionalProperties") is False]


def key_at(config, pattern):
    """Return the first key of the configuration that a pattern matches, as a path, and its value or None.

    A claim with placeholders is taken only if no other matches: its messages name the claims it gives.
    """
    found = list(_matches(config, pattern.split("."))) if pattern else [([], config)]
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
    """The configuration with a few families of claims, as alternatives too: both sections have every key.

    A check of all claims takes several times as long, and finds no other errors.
    """
    families = {family: claims for family, claims in config["claims"].items() if family in FAMILIES}
    claims = {name: claim for of_family in families.values() for name, claim in of_family.items()}
    alternatives = {name: copy.deepcopy(claim) | {"varies": name} for name, claim in claims.items()}
    for alternative in alternatives.values():
        del alternative["source"]
        alternative.pop("headline", None)
    return config | {"claims": families, "alternatives": alternatives}


def file_of(section):
    """Return the file in which a message places a section of the configuration."""
    return "claims.yaml" if section in IN_CLAIMS_YAML else "config.yaml"


@pytest.fixture
def refusal(changed, refusal_of):
    """Function: path, value -> the message about the configuration with this value; its form is checked."""
    return lambda path, value, *more: refusal_of(changed((path, value), *more))


@pytest.fixture
def refusal_of():
    """Function: a configuration -> the message about it; its form is checked."""

    def refusal_of(config):
        with pytest.raises(StudyError) as caught:
            checks.check(config)
        message = str(caught.value)
        found = re.fullmatch(r"(\w+\.yaml): (\S.*?): expected \S.*[,;] found \S.*", message)
        assert found, message
        assert found[1] == file_of(found[2].split(".")[0]), message
        assert 1 <= len(re.split(r"[.!?]\s+(?=[A-Z])", message)) <= 2, message
        assert len(message) < 1500
        return message

    return refusal_of


def assert_names(message, keys):
    """Assert that a message is about this key or a key in it; placeholders of claims may be filled in."""
    key = re.escape(".".join(map(str, keys)) or "top level")
    key = re.sub(r"\\{\w+\\}", r"[\\w.{}-]+", key)
    file = file_of(keys[0] if keys else "top level")
    assert re.match(rf"{file}: {key}[.: ]", message), message


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
# Type -> the types whose values it takes; values of all other types are wrong.
SAME = {"string": {"string"}, "integer": {"integer"}, "number": {"integer", "number"}}
NEVER = {"number": [math.nan, math.inf, -math.inf], "array": [[[]], [None], [True]]}


def wrong_types(schema):
    """Yield values of types that the schema does not allow, and values that no type allows."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    same = set().union(*(SAME.get(kind, {kind}) for kind in kinds))
    for kind, values in VALUES.items():
        yield from values if kind not in same else NEVER.get(kind, [])


@pytest.mark.parametrize("pattern", [pattern for pattern in PATTERNS if pattern])
def test_a_wrong_type_is_refused(config, refusal_of, pattern):
    keys, _ = key_at(config, pattern)
    short = shortened(config, keys)
    for value in wrong_types(PATTERNS[pattern]):
        changed = copy.deepcopy(short)
        entry = functools.reduce(operator.getitem, keys[:-1], changed)
        entry[keys[-1]] = value
        assert_names(refusal_of(changed), keys)


def shortened(config, keys):
    """Return the configuration with one entry per section, that of the keys: a wrong type is found first."""
    found = dict(config)
    for section in ("conditions", "probes", "quantities", "figures", "claims", "alternatives", "scales"):
        kept = keys[1] if keys[0] == section and len(keys) > 1 else next(iter(config[section]))
        found[section] = {kept: config[section][kept]} if kept in config[section] else config[section]
    return found


@pytest.mark.parametrize("nothing", [{}, None, [], "text", 5])
def test_a_configuration_that_is_no_map_is_refused(nothing):
    with pytest.raises(StudyError, match=r"^config\.yaml: top level: expected"):
        checks.check(nothing)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("conditions > vgg_none > lr", "1e-1", ["type number", 'found the text "1e-1"', "write 1.0e-1"]),
        ("probes > along_gradient > vgg > step_sizes > 0", "2E-07", ["type number", "write 2.0e-07 without"]),
        ("scales > digits > vgg > steps", "500", ["type integer", 'found the text "500"']),
        ("scales > digits > vgg > steps", 500.0, ["type integer", "found 500.0"]),
        ("scales > digits > vgg > batch_size", None, ["type integer", "found null"]),
        ("scales > digits > seeds > 1", "one", ["type integer", 'found the text "one"']),
        ("conditions > vgg_none", "none", ["type object", 'found the text "none"']),
        ("claims > fig1 > bn_trains_faster > condition_b", None, ["type string or number", "found null"]),
        ("claims > fig1 > bn_trains_faster", "faster", ["type object", 'found the text "faster"']),
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
PART = [("all", "one of paper, mechanism, norms", '"all"')]
NONE_OF = (UNKNOWN, "expected one of", f"found {UNKNOWN}")
LAYERS = [
    ([], "1 or more items", "found []"),
    (["2"], "by the paper's name, such as #11", '"2"'),
    (["#-1"], "by the paper's name", "#-1"),
    (["#99"], "one of #", "found #99"),
]


def sizes(task, *, net):
    """Return pattern -> wrong values for the sizes of a task at the scale digits."""
    place = f"scales.*.{task}"
    steps = {"vgg": 500, "deep_linear": 2000}[task]
    last = {"vgg": 9, "deep_linear": 24}[task]
    return {f"{place}.net.{key}": wrong for key, wrong in net.items()} | {
        place: [],
        f"{place}.net": [],
        f"{place}.tf32": [("yes", "type boolean", 'found the text "yes"')],
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
            # A run with one snapshot would show no change.
            (steps, f"fewer than the {steps} steps", f"found {steps}"),
            (steps + 1, f"fewer than the {steps} steps"),
            (10, "an odd number", "one phase of a cycle of two steps", "found 10"),
        ],
    }


LOST = ("bn_smoths_loss", "the name of the claim it varies", "found bn_smoths_loss")


def of_claims(section):
    """Return pattern -> wrong values for the keys of a claim or an alternative."""
    place = f"{section}.*.*" if section == "claims" else f"{section}.*"
    own = {"source": [NO_TEXT], "headline": [NO_TEXT]}
    own = own if section == "claims" else {"varies": [NO_TEXT, LOST]}
    return {
        section: [],
        f"{section}.*": [],
        place: [],
        **{f"{place}.{key}": wrong for key, wrong in own.items()},
        f"{place}.part": PART,
        f"{place}.label": [NO_TEXT, ("A {placeholder}", "in braces only", "{placeholder}")],
        f"{place}.for": [({}, "1 or more entries"), ({"A b": ["x"]}, "word of small letters", "A b")],
        f"{place}.for.*": [([], "1 or more items"), (["a", "a"], "every item once", '["a", "a"]')],
        f"{place}.statement": [
            NO_TEXT,
            ("It trains {much} faster.", "in braces only", "{much}"),
            ("A brace { alone.", "in braces only", "{"),
            ("It trains at {lr.x}.", "in braces only", "{lr.x}"),
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
        f"{place}.margin_from": [("guess", "one of paper, convention, prototype", '"guess"')],
        f"{place}.paper_value": [],  # the paper may print nothing
    }


# Pattern -> wrong values, each with words of its message. []: every value of the right type is right.
WRONG = {
    "": [],
    "scale": [NONE_OF, ("", "one of digits")],
    "parts": [
        ("paper", "all, or a list of parts with paper", 'found "paper"'),
        ([], "paper among the items", "found []"),
        (["mechanism"], "paper among the items", '["mechanism"]'),
        (["paper", "paper"], "every item once"),
        (["paper", "figures"], "one of paper, mechanism, norms", '"figures"'),
    ],
    "images": [
        NO_TEXT,
        ("no/such/folder", "cifar10, digits or an existing folder with train/ and test/", "no/such/folder"),
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
            ],
            "hidden": [([0], "at least 1", "found 0"), ([-8], "at least 1", "found -8")],
        },
    ),
    **sizes("deep_linear", net={"depth": [(-1, "at least 2"), (0, "at least 2"), (1, "at least 2")]}),
    "conditions": [({}, "1 or more entries", "found {}")],
    "conditions.*": [],
    "conditions.*.part": PART,
    "conditions.*.task": [NONE_OF, ("", "one of deep_linear, vgg")],
    "conditions.*.norm": [NONE_OF, ("bach", "one of batch", "none", "found bach")],
    "conditions.*.lr": [(0, "more than 0", "found 0"), (-0.1, "more than 0", "found -0.1")],
    "conditions.*.warmup": [(0, "more than 0", "found 0"), (1.5, "at most 1", "found 1.5")],
    "conditions.*.initial_scale": [(0, "more than 0", "found 0"), (-2, "more than 0", "found -2")],
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
    "probes.*.*.phases": [(-1, "at least 1"), (0, "at least 1")],
    "probes.*.*.products": [(-1, "at least 1"), (0, "at least 1")],
    "probes.*.*.draws": [(-1, "at least 2"), (1, "at least 2", "found 1")],
    "probes.*.*.every": [
        (-1, "at least 1"),
        (0, "at least 1"),
        (46, "fewer than the 46 snapshots of a run"),
        (4, "odd number", "one phase", "found 4"),
        (33, "without a factor in common with snapshot_every (11)", "found 33"),
    ],
    "rate_spread": [],
    "rate_spread.*": [
        ([], "2 or more items"),
        (["vgg_none"], "2 or more items"),
        (["vgg_none", "vgg_none"], "every item once"),
        (["vgg_none", UNKNOWN], "one of vgg_none", f"found {UNKNOWN}"),
        (
            ["vgg_none", "vgg_batch"],
            "differ from vgg_none only in their learning rate",
            "vgg_batch (vgg, batch)",
        ),
    ],
    "tau": [],
    "tau.part": PART,
    "tau.reference": [("vgg_noise", "one of vgg_none", "found vgg_noise")],
    "tau.conditions": [
        (["vgg_none"], "2 or more items"),
        (["vgg_none", "vgg_none"], "every item once"),
        (["vgg_none", UNKNOWN], "one of vgg_none", f"found {UNKNOWN}"),
        (["vgg_none", "deep_linear_none"], "conditions of one task", "vgg_none, deep_linear_none"),
        (["vgg_none", "vgg_none_x2"], "the part paper or norms", "vgg_none_x2 of the part mechanism"),
    ],
    "tau.measures": [({}, "1 or more entries"), ({UNKNOWN: ["beta"]}, "one of along_gradient")],
    "tau.measures.*": [
        ([], "1 or more items"),
        (["beta", "beta"], "every item once"),
        (["beta", "bta"], "one of beta, beta_at_lr", "predictiveness", "add a quantity of it", "found bta"),
        (["sharpness"], "one of beta, beta_at_lr", "columns of along_gradient", "found sharpness"),
        (["gradient_change_at_*"], "one of beta, beta_at_lr", "found gradient_change_at_*"),
    ],
    "random_layers": [],
    "random_layers.draws": [(-1, "at least 1"), (0, "at least 1")],
    "random_layers.seed": [(-1, "at least 0")],
    "quantities": [],
    "quantities.*": [],
    "quantities.*.table": [NONE_OF, ("activation", "one of training", "activations", "found activation")],
    "quantities.*.column": [NO_TEXT],
    "quantities.*.times": [],
    "quantities.*.times.table": [NONE_OF, ("training", "one of along_gradient", "found training")],
    "quantities.*.times.column": [NO_TEXT, ("beta*", "a single column", "beta*")],
    "quantities.*.summary": [("average", "one of mean", "median", '"average"')],
    "quantities.*.compare": [("ratio", "one of difference, log_ratio", '"ratio"')],
    "quantities.*.floor": [(0, "more than 0", "found 0"), (-1, "more than 0")],
    "quantities.*.until_accuracy": [(0, "more than 0"), (-1, "more than 0"), (1.1, "at most 1", "found 1.1")],
    "quantities.*.steps": [
        ([0.5], "2 or more items", "found [0.5]"),
        ([0, 0.5, 1], "at most 2 items", "found [0, 0.5, 1]"),
        ([-0.5, 1], "at least 0", "found -0.5"),
        ([0.5, 1.5], "at most 1", "found 1.5"),
        ([1, 0.5], "the smaller fraction of the run first", "found [1, 0.5]"),
        ([0.5, 0.5], "the smaller fraction of the run first", "found [0.5, 0.5]"),
    ],
    "quantities.*.sensitivity": [(["mode"], "one of mean", '"mode"'), (["last", "last"], "every item once")],
    "figures": [],
    "figures.*": [],
    "figures.*.part": PART,
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
    assert set(WRONG) == set(PATTERNS)
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
    free = {pattern for pattern, wrong in WRONG.items() if not wrong} - unlisted
    closed_or_names = {pattern for pattern, schema in PATTERNS.items() if schema["type"] == "object"}
    assert free - closed_or_names == {"claims.*.*.paper_value", "alternatives.*.paper_value"}
    assert {task: tuple(plugins.arguments("tasks", task, "widths")) for task in NETS} == NETS
    assert plugins.names("tasks") == sorted(NETS)


@pytest.mark.parametrize("pattern", [pattern for pattern, wrong in WRONG.items() if wrong])
def test_what_is_out_of_range_is_refused(config, refusal, pattern):
    keys, _ = key_at(config, pattern)
    for value, *words in WRONG[pattern]:
        message = refusal(" > ".join(keys), value)
        assert_names(message, keys)
        for word in words:
            assert word in message


# -- wrong keys and names -------------------------------------------------------------------------

OPTIONAL = {
    "": {"images", "seeds", "device", "tau"},
    "tau": {"part"},
    "scales.*.vgg": {"tf32"},
    "scales.*.deep_linear": {"tf32"},
    "scales.*": {"keep_snapshots"},
    "conditions.*": {"part", "warmup", "initial_scale"},
    "quantities.*": {"times", "summary", "compare", "floor", "until_accuracy", "steps", "sensitivity"},
    "figures.*": {"part", "layers"},
    **{
        pattern: {"part", "for", "headline", "layers", "margin", "margin_from", "paper_value"}
        for pattern in ("claims.*.*", "alternatives.*")
    },
}
BY_CODE = ["probes.*.*", "scales.*.vgg.net", "scales.*.deep_linear.net"]


@pytest.mark.parametrize("pattern", [*CLOSED, *BY_CODE], ids=lambda pattern: pattern or "top level")
def test_an_unknown_key_is_refused_beside_those_that_are_known(config, refusal, pattern):
    keys, known = key_at(config, pattern)
    for unknown, value in (("lerning_rate", 0.1), ("Lr", None)):
        message = refusal(" > ".join([*keys, unknown]), value)
        # At the top, the unknown key tells which file or option holds it.
        assert_names(message, keys or [unknown])
        expected, found = message.split("found")
        assert unknown in found
        assert all(str(key) in expected for key in known)


@pytest.mark.parametrize("value", [0.1, None, {}])
def test_an_unknown_key_of_a_scale_is_no_task(refusal, value):
    """Every key of a scale that the schema does not list is a task."""
    message = refusal("scales > digits > lerning_rate", value)
    assert_names(message, ["scales", "digits", "lerning_rate"])
    assert ("expected the key net" if value == {} else "expected a value of type object") in message


@pytest.mark.parametrize("pattern", [*CLOSED, "scales.*"], ids=lambda pattern: pattern or "top level")
def test_a_missing_key_is_refused_with_its_name(config, refusal, pattern):
    keys, known = key_at(config, pattern)
    required = set(PATTERNS[pattern]["properties"]) - OPTIONAL.get(pattern, set())
    assert required
    assert required <= set(known)
    for key in required:
        message = refusal(" > ".join([*keys, key]), GONE)
        assert_names(message, keys)
        assert f"expected the key {key}, found none" in message


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("scales > deep-linear > deep_linear", ["scales.deep-linear:", "expected a key deep_linear or vgg"]),
        ("scales > digits > vgg > net > hidden", ["scales.digits.vgg.net:", "the keys convolutions, hidden"]),
        ("scales > digits > vgg > net > convolutions", ["the keys convolutions, hidden", "found hidden"]),
        ("scales > digits > deep_linear > net > depth", ["deep_linear.net:", "the keys depth, found none"]),
        ("probes > activations > vgg > bins", ["probes.activations.vgg:", "the keys layers, units, bins"]),
        ("figures > fig1 > layers", ["figures.fig1:", "expected the key layers"]),
    ],
)
def test_what_a_task_a_probe_or_a_figure_needs_is_not_to_be_left_out(refusal, path, words):
    message = refusal(path, GONE)
    for word in words:
        assert word in message


CONDITION = {"task": "vgg", "norm": "none", "lr": 0.1}
SIZES = {"net": {"depth": 3}, "layers": {"#1": 1}, "steps": 4, "batch_size": 2}
SIZES |= {"test_every": 1, "snapshot_every": 1}
NAMES = [
    ("scales > resnet/8", {}, ["letters, digits", "resnet/8"]),
    ("scales > digits > resnet", SIZES, ["vgg", "found resnet"]),
    ("scales > digits > vgg > layers > 2", 2, ["paper's name", '"2"']),
    ("scales > digits > vgg > layers > #-1", 2, ["paper's name", '"#-1"']),
    ("conditions > 1st", CONDITION, ["letters, digits", "1st"]),
    ("conditions > a b", CONDITION, ["letters, digits", "a b"]),
    ("conditions > a/b", CONDITION, ["letters, digits", "a/b"]),
    ("conditions > chance", CONDITION, ["another name", "found chance"]),
    ("conditions > all_norms", CONDITION, ["another name", "all norms together", "found all_norms"]),
    ("probes > hessian", {"vgg": {}}, ["one of activations, along_gradient", "found hessian"]),
    ("probes > activations > resnet", {"units": 5}, ["one of deep_linear, vgg", "found resnet"]),
    ("rate_spread > vgg_non", ["vgg_none", "vgg_batch"], ["one of vgg_none", "found vgg_non"]),
    (
        "quantities > a b",
        {"table": "training", "column": "loss", "summary": "mean", "compare": "difference"},
        ["letters, digits", "a b"],
    ),
    ("figures > fig99", {"caption": "More.", "tables": {"training": ["vgg_none"]}}, ["fig1", "found fig99"]),
    # The forest plot is drawn for every study, from the claims and not from tables.
    (
        "figures > claims",
        {"caption": "More.", "tables": {"training": ["vgg_none"]}},
        ["fig1", "found claims"],
    ),
    ("figures > fig1 > tables > hessian", ["vgg_none"], ["along_gradient", "found hessian"]),
    ("figures > fig1 > tables > rate_spread", ["vgg_none"], ["one of training", "found rate_spread"]),
    ("figures > fig4 > layers", {"vgg": ["#3"]}, ["expected no layers", "found vgg"]),
    ("claims > a b", {}, ["letters, digits", "a b"]),
    ("claims > {family}", {}, ["letters, digits", "{family}"]),
    ("claims > fig1 > bn_trains_faster > varies", "a", ["source, headline; found varies"]),
    ("alternatives > bn_trains_faster > source", "a", ["paper_value, varies; found source"]),
]


@pytest.mark.parametrize("expected", ["greater", "not_less", "equivalent"])
def test_of_several_columns_the_one_with_the_largest_effect_counts(config, changed, refusal, expected):
    path = "claims > fig4 > bn_smooths_gradients"
    of_every_size = {"quantity": "gradient_change_at_every_step_size", "margin": 2}
    claim = config["claims"]["fig4"]["bn_smooths_gradients"] | of_every_size
    checks.check(changed((path, claim | {"expected": "not_greater"})))
    message = refusal(path, claim | {"expected": expected})
    for word in ("less or not_greater", "the largest effect of gradient_change_at_*", f"found {expected}"):
        assert word in message


def test_an_alternative_varies_a_claim_about_its_own_task(refusal):
    message = refusal("alternatives > bn_trains_faster > varies", "l1_best_dln")
    for word in ("varies", "a claim about vgg, the task of condition_a", "about deep_linear"):
        assert word in message


def test_exact_p_values_allow_twenty_seeds(changed, refusal):
    checks.check(changed(("seeds", list(range(20)))))
    for path in ("seeds", "scales > digits > seeds"):
        assert "at most 20 items" in refusal(path, list(range(21)))


RANKED = "claims > norms > smoother_trains_better_{what}{at}"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (f"{RANKED} > condition_a", "vgg_batch", ["one of all_norms", "found vgg_batch"]),
        (f"{RANKED} > condition_b", "vgg_batch", ["a number, because the table tau", "found vgg_batch"]),
        (f"{RANKED} > condition_b", "chance", ["found chance"]),
        (f"{RANKED} > part", "paper", ["norms, the part of tau", "found paper"]),
        (f"{RANKED} > layers", ["#3"], ["the table tau has no layers"]),
        ("quantities > tau_beta > summary", "equal_loss", ["a difference of one number", "equal_loss, diff"]),
        ("quantities > tau_beta > compare", "log_ratio", ["a difference of one number", "last, log_ratio"]),
        ("quantities > tau_beta > steps", [0, 1], ["a difference of one number", "last, difference, steps"]),
        ("quantities > tau_beta > until_accuracy", 0.9, ["a difference of one number", "until_accuracy"]),
        ("quantities > tau_beta > sensitivity", ["equal_loss"], ["a difference of one", "rence, equal_loss"]),
        ("tau", GONE, ["quantities.tau_loss_variation.table", "found tau"]),
    ],
)
def test_a_claim_about_rank_correlations_compares_them_with_a_number(refusal, path, value, words):
    message = refusal(path, value)
    for word in words:
        assert word in message


def test_a_family_of_more_claims_than_eight_seeds_can_confirm_is_refused(config, changed, refusal):
    claim = config["claims"]["fig1"]["bn_trains_faster"]
    checks.check(changed(("claims > f", {f"c{n}": claim for n in range(12)})))
    message = refusal("claims > f", {f"c{n}": claim for n in range(13)})
    assert_names(message, ["claims", "f"])
    assert "at most 12 claims" in message
    assert "found 13; split the family" in message
    # What a placeholder gives counts, too.
    several = claim | {"for": {"n": [str(n) for n in range(13)]}}
    assert "found 13" in refusal("claims > f", {"c{n}": several})


def test_a_family_of_two_parts_is_refused(config, changed, refusal):
    """Its adjusted p values would depend on which parts are chosen."""
    claim = config["claims"]["fig1"]["bn_trains_faster"]
    checks.check(changed(("claims > f", {n: claim | {"part": "norms"} for n in "ab"})))
    message = refusal("claims > f", {"a": claim, "b": claim | {"part": "norms"}, "c": claim})
    assert_names(message, ["claims", "f"])
    assert "expected claims of one part" in message
    assert "found claims of the parts norms and paper" in message


@pytest.mark.parametrize("other", ["chance", 0.5])
def test_only_two_runs_are_compared_at_equal_loss(refusal, changed, other):
    at_equal_loss = ("quantities > test_accuracy > summary", "equal_loss")
    checks.check(changed(at_equal_loss))
    message = refusal("claims > fig1 > bn_generalises_better > condition_b", other, at_equal_loss)
    assert_names(message, ["claims", "fig1", "bn_generalises_better", "condition_b"])
    assert f"expected a condition, because two runs are compared at equal loss; found {other}" in message


def test_the_steps_of_a_headline_claim_are_all_those_that_its_curve_varies(refusal):
    path = "quantities > loss_variation > steps"
    message = refusal(path, [0.5, 1])
    assert_names(message, ["claims", "fig4", "bn_smooths_loss", "headline"])
    assert "without steps" in message
    assert "found loss_variation with steps [0.5, 1]" in message


def test_a_spread_over_rates_and_another_setting_is_refused(refusal):
    message = refusal("conditions > vgg_none_lr0.5 > warmup", 0.1)
    assert "differ from vgg_none only in their learning rate" in message
    assert "found vgg_none_lr0.5 (vgg, none, 0.1)" in message


@pytest.mark.parametrize(("path", "value", "words"), NAMES, ids=[row[0].replace(" > ", ".") for row in NAMES])
def test_an_unknown_or_odd_name_is_refused(refusal, path, value, words):
    message = refusal(path, value)
    assert_names(message, path.split(" > ")[:-1])
    for word in words:
        assert word in message


@pytest.mark.parametrize("section", SECTIONS)
def test_an_odd_name_of_a_claim_is_refused(config, refusal, section):
    claim = key_at(config, "claims.*.*" if section == "claims" else "alternatives.*")[1]
    keys = [section, "fig1"] if section == "claims" else [section]
    for name in ("", "a b", "../up", "é"):
        assert_names(refusal(" > ".join([*keys, name]), claim), keys)


NAMED = ["conditions", "quantities", "claims", "alternatives", "figures", "probes", "rate_spread", "scales"]


@pytest.mark.parametrize("section", NAMED)
def test_a_name_that_yaml_reads_as_a_number_is_refused(changed, section):
    config = changed()
    config[section][1] = next(iter(config[section].values()))
    message = rf"^{file_of(section)}: {section}[.:].* found 1(; put it in quotes)?$"
    with pytest.raises(StudyError, match=message):
        checks.check(config)


def test_a_claim_whose_name_yaml_reads_as_a_number_is_refused(changed):
    config = changed()
    config["claims"]["fig1"][1] = config["claims"]["fig1"]["bn_trains_faster"]
    with pytest.raises(StudyError, match=r"^claims\.yaml: claims\.fig1[.:].* found 1; put it in quotes$"):
        checks.check(config)


def test_a_message_is_one_line_whatever_was_written(refusal):
    refusal("conditions > vgg_none > norm", "none\nor batch")
    refusal("conditions > a\nb", CONDITION)
    assert (
        len(refusal("claims > fig1 > bn_trains_faster > layers", [f"#{n}" * 999 for n in range(99)])) < 1000
    )


# -- conditions between keys ----------------------------------------------------------------------


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
    checks.check(changed(("probes > theorems > vgg > every", 45), ("probes > theorems > vgg > samples", 128)))
    one = ("probes > theorems > vgg > every", 1)
    others = [(f"probes > {probe} > vgg > every", 1) for probe in ("curvature", "shift_is_curvature")]
    checks.check(changed((f"{sizes} > snapshot_every", 499), one, *others))
    # With fewer snapshots per run, a probe that measures every n-th has fewer too.
    with pytest.raises(StudyError, match=r"probes\.theorems\.vgg\.every \(scale digits\): .* 18 snapshots"):
        checks.check(changed((f"{sizes} > snapshot_every", 29)))


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
    message = refusal(poolings, [*net, "M"])
    assert_names(message, poolings.split(" > ")[:-1])
    sides = "images of {0} x {0} pixels, the size of {1}; found one that needs {2} x {2}"
    assert sides.format(32, "cifar10", 64) in message
    # Three halvings of the 8 pixels of the digits are possible, four are not.
    poolings = "scales > digits > vgg > net > convolutions"
    checks.check(changed((poolings, [8, "M", "M", "M", *[8] * 7])))
    message = refusal(poolings, [8, "M", "M", "M", "M", *[8] * 7])
    assert_names(message, poolings.split(" > ")[:-1])
    assert sides.format(8, "digits", 16) in message
    # Images on the command line replace those of the scale that runs, and of no other.
    checks.check(changed(("images", "digits")))
    with pytest.raises(
        StudyError, match=r"scales\.paper\.vgg\.net: expected a net for images of 8 x 8 pixels"
    ):
        checks.check(changed(("images", "digits"), ("scale", "paper")))


def test_the_digits_are_as_large_and_as_many_as_the_checks_take_them_to_be():
    (pixels, labels), _ = plugins.load("datasets", "digits").read("no cache")[0]
    assert len(pixels) == len(labels)
    assert (pixels.shape[2], pixels.shape[0]) == image_sources.known("digits")
    assert pixels.shape[2] == pixels.shape[3]


def not_measured(config):
    """Return a layer of the task vgg that the probe activations does not measure."""
    probes = config["probes"]
    measured = probes["activations"]["vgg"]["layers"]
    return next(n for n in probes["covariate_shift"]["vgg"]["layers"] if n not in measured)


def test_a_layer_that_is_not_measured_is_neither_judged_nor_shown(config, refusal):
    layer = not_measured(config)
    message = refusal("claims > fig1 > bn_does_not_stabilise_{moment} > layers", ["#3", layer])
    assert "claims.fig1.bn_does_not_stabilise_mean.layers:" in message
    assert message.endswith(f"found {layer}")
    message = refusal("figures > fig2 > layers > vgg", ["#2", layer])
    assert "figures.fig2.layers.vgg:" in message
    assert message.endswith(f"found {layer}")


@pytest.mark.parametrize("claim", ["fig1 > bn_trains_faster", "fig4 > bn_smooths_loss"])
def test_a_table_without_layers_has_none_to_choose_from(refusal, claim):
    message = refusal(f"claims > {claim} > layers", ["#3"])
    assert_names(message, ["claims", *claim.split(" > "), "layers"])
    assert "none, because the table" in message
    assert message.endswith("found #3")


def test_conditions_of_two_tasks_are_never_compared(refusal):
    message = refusal("claims > fig4 > bn_smooths_loss > condition_a", "deep_linear_batch")
    assert_names(message, ["claims", "fig4", "bn_smooths_loss", "condition_b"])
    for words in ("one task", "deep_linear_batch (deep_linear)", "vgg_none (vgg)"):
        assert words in message


def test_a_folder_without_both_parts_is_refused_before_prepared_images_are_lost(tmp_path, changed, refusal):
    (tmp_path / "train").mkdir()
    assert "train/ and test/" in refusal("images", str(tmp_path))
    (tmp_path / "test").mkdir()
    checks.check(changed(("images", str(tmp_path))))


@pytest.mark.parametrize(("text", "hinted"), [("1e-1", True), ("1.0e-1", True), ("fast", False), ("", False)])
def test_only_numbers_get_a_hint_how_to_write_them(refusal, text, hinted):
    assert ("write 1.0e-1" in refusal("conditions > vgg_none > lr", text)) == hinted


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: 1\nb: é\n".encode("latin-1"), "the byte 0xe9 in line 2"),
        ("a: é\n".encode("utf-16"), "the byte 0xff in line 1"),
        ("a: 1\n".encode("utf-16-le"), "zero bytes, as in UTF-16"),
    ],
)
def test_a_file_that_is_not_utf_8_is_refused_with_its_line(tmp_path, content, words):
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    with pytest.raises(StudyError, match=f"config.yaml: expected text in UTF-8, found {words}"):
        schemas.check_text(file)


@pytest.mark.parametrize(
    ("text", "line"), [("a:\n  b: 1\n c: 2\n", 3), ("a:\n  b: with: colon\n", 2), ("a:\n\tb: 1\n", 2)]
)
def test_a_file_that_is_no_yaml_is_refused_with_its_line(tmp_path, text, line):
    file = tmp_path / "claims.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(
        StudyError, match=rf"claims\.yaml, line {line}: expected YAML, .*; indent with spaces"
    ):
        schemas.check_text(file)


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "ANSI_X3.4-1968", "cp1252"])
def test_letters_that_the_locale_would_misread_are_refused(tmp_path, monkeypatch, encoding):
    file = tmp_path / "config.yaml"
    file.write_text("a: β\n", encoding="utf-8")
    schemas.check_text(file)
    monkeypatch.setattr(schemas.locale, "getpreferredencoding", lambda _: encoding)
    with pytest.raises(
        StudyError, match=f"expected a locale with UTF-8, .* found {encoding}; .*PYTHONUTF8=1"
    ):
        schemas.check_text(file)
    file.write_text("a: b\n", encoding="utf-8")
    schemas.check_text(file)
    schemas.check_text(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "a: expected this key once, found it in lines 1 and 3"),
        ("a: {b: 1, c: 2, b: 3}\n", "a.b: expected this key once, found it in lines 1 and 1"),
        ("a:\n- b: 1\n- c: 1\n  c: 2\n", "a.c: expected this key once, found it in lines 3 and 4"),
        ("claims:\n  a: {b: 1, b: 1}\n", "claims.a.b: expected this key once, found it in lines 2 and 2"),
    ],
)
def test_a_key_written_twice_is_refused(tmp_path, text, message):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(StudyError) as caught:
        schemas.check_keys(file)
    name = "claims.yaml" if text.startswith("claims") else "config.yaml"
    assert str(caught.value) == f"{name}: {message}"


def test_one_key_in_several_mappings_and_aliases_are_no_repetition(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("a: &x {b: 1}\nb: {b: 1}\nc: *x\nd: [{b: 1}, {b: 2}]\n")
    schemas.check_keys(file)
    for name in ("config.yaml", "claims.yaml"):
        schemas.check_keys(Path(__file__).parents[2] / name)
    file.write_text("")
    schemas.check_keys(file)


def test_a_guess_has_an_accuracy_and_nothing_else(changed, refusal):
    checks.check(changed(("claims > fig1 > bn_trains_faster > condition_b", "chance")))
    message = refusal("claims > fig4 > bn_smooths_loss > condition_b", "chance")
    assert_names(message, ["claims", "fig4", "bn_smooths_loss", "condition_b"])
    assert "a condition or a number, because the table along_gradient has no chance; found chance" in message


def test_the_margin_of_a_log_ratio_is_a_factor(refusal):
    message = refusal("claims > fig4 > bn_smooths_loss > margin", 0.5)
    for words in (
        "claims.fig4.bn_smooths_loss.margin",
        "factor of at least 1",
        "loss_variation",
        "found 0.5",
    ):
        assert words in message
    assert "more than 0 for the log ratio" in refusal("claims > fig4 > bn_smooths_loss > condition_b", 0)


def test_a_headline_claim_is_about_whole_runs(refusal):
    """A specification curve varies the steps that count, and `final` and `last` name steps of their own."""
    for name, quantity in [
        ("bn_allows_larger_lr", "final_accuracy with the summary final"),
        ("bn_generalises_better", "test_accuracy with the summary last"),
    ]:
        path = f"claims > fig1 > {name}"
        message = refusal(f"{path} > headline", "A step", (f"{path} > quantity", quantity.split()[0]))
        assert_names(message, ["claims", "fig1", name, "headline"])
        assert "expected a quantity with the summary mean or median, because" in message
        assert message.endswith(f"found {quantity}")


@pytest.mark.parametrize(
    ("claim", "least"), [("fig1 > plain_fails_at_larger_lr", 0), ("fig4 > bn_smooths_loss", 1)]
)
def test_an_equivalence_has_a_margin_within_which_it_can_be_true(refusal, claim, least):
    message = refusal(f"claims > {claim} > margin", least, (f"claims > {claim} > expected", "equivalent"))
    assert_names(message, ["claims", *claim.split(" > "), "margin"])
    assert f"of more than {least} for an equivalence" in message


def test_a_margin_of_accuracies_is_a_fraction(refusal):
    message = refusal("claims > fig2 > noisy_bn_matches_bn > margin", 5)
    assert "less than 1 (5 points are 0.05)" in message


@pytest.mark.parametrize("probe", ["covariate_shift", "along_gradient", "activations"])
def test_a_probe_that_is_not_set_up_for_a_task_is_neither_judged_nor_shown(config, refusal, probe):
    message = refusal(f"probes > {probe} > deep_linear", GONE)
    for words in (f"probes.{probe}", "task deep_linear", "found them for vgg"):
        assert words in message
    # Without claims, figures are still refused.
    nothing = [(section, {}) for section in SECTIONS]
    assert "figures." in refusal(f"probes > {probe} > deep_linear", GONE, *nothing)


def test_a_spread_over_rates_is_there_for_what_is_judged_by_it(refusal):
    claim = "claims > fig4 > bn_smooths_loss"
    judged = (f"{claim} > quantity", "loss_spread_over_rates")
    message = refusal("rate_spread > vgg_none", GONE, judged)
    assert_names(message, ["claims", "fig4", "bn_smooths_loss"])
    assert message.endswith("rate_spread has an entry for: vgg_batch, found vgg_none")
    assert "has an entry for: none, found vgg_batch" in refusal("rate_spread", {}, judged)


def test_a_claim_needs_quantities_to_choose_from(refusal):
    message = refusal("quantities", {})
    assert_names(message, ["claims", "fig1", "bn_trains_faster", "quantity"])
    assert "a defined name, but none is defined; found training_accuracy" in message


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("fig1 > bn_does_not_stabilise_{moment} > quantity", "{momment}_change", "{momment}_change"),
        ("fig1 > bn_trains_faster > for", {"moment": ["mean", "variance"]}, "bn_trains_faster twice"),
        ("fig1 > bn_does_not_stabilise_{moment} > for > moment", ["skew"], "skew_relative_change"),
    ],
)
def test_placeholders_are_filled_with_what_there_is(refusal, path, value, word):
    assert word in refusal(f"claims > {path}", value).split("found")[1]


def test_an_entry_is_never_lost_to_another_of_its_name(config, refusal):
    claim, other = "bn_does_not_stabilise_mean", config["claims"]["fig1"]["bn_trains_faster"]
    for family in ("fig1", "fig2"):
        assert f"{claim} twice" in refusal(f"claims > {family} > {claim}", other)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("seeds", ["1.0"], ['found the text "1.0"', "write a whole number without a point"]),
        ("seeds", ["1e3"], ["write a whole number without a point, an exponent"]),
        ("seeds", ["-1"], ["write a whole number"]),
        ("scales > digits > seeds > 0", "1", ["write a whole number without a point, an exponent or quotes"]),
        ("images", 2018, ["type string", "found 2018", "put it in quotes"]),
        ("scales > digits > images", 2018, ["found 2018", "put it in quotes"]),
        ("scales > digits > images", False, ["found false", "put it in quotes"]),
        ("scale", 1.5, ["found 1.5", "put it in quotes"]),
    ],
)
def test_the_hint_fits_the_value(refusal, path, value, words):
    message = refusal(path, value)
    for word in words:
        assert word in message
    assert "1.0e-1" not in message


def test_a_path_that_is_no_folder_of_images_is_refused_with_what_it_is(tmp_path, refusal):
    assert refusal("images", str(tmp_path)).endswith("a folder without train/ and test/")
    (tmp_path / "train").mkdir()
    assert refusal("images", str(tmp_path)).endswith("a folder without test/")
    (tmp_path / "pics.zip").write_bytes(b"PK")
    assert "which is no folder; unpack" in refusal("images", str(tmp_path / "pics.zip"))
    for nowhere in ("~nobody of this name/pics", "no\nsuch/folder", "no\udcffsuch/folder"):
        message = refusal("images", nowhere)
        assert "\n" not in message
        message.encode("utf-8")
