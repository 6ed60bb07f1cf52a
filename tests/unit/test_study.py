"""The configuration: it is valid, it is written out in full, and each job gets its own part of it."""

import copy
import json
import math
import os
import re
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest
import yaml

from bnopt import plugins
from bnopt.runtime import StudyError
from bnopt.study import checks, image_sources, jobs, schema, study
from bnopt.study.study import written_out

SECTIONS = ("claims", "alternatives")
SCALES = ["digits", "cifar10-small", "cifar10-vgg", "deep-linear", "paper"]


def refusal(config):
    with pytest.raises(StudyError) as caught:
        checks.check(config)
    return str(caught.value)


# -- the configuration itself ---------------------------------------------------------------------


def test_the_study_is_valid(config):
    checks.check(config)


def test_the_study_is_valid_at_every_scale(changed, config):
    assert list(config["scales"]) == SCALES
    for scale in SCALES:
        checks.check(changed(("scale", scale)))


def test_checking_and_writing_out_leave_the_configuration_as_it_was(config):
    before = copy.deepcopy(config)
    checks.check(config)
    settings_of_all_jobs(config)
    assert config == before


def properties(of_schema, key=""):
    """Yield the key and the schema of every property that a schema describes."""
    if isinstance(of_schema, dict):
        for name, entry in of_schema.get("properties", {}).items():
            yield f"{key}.{name}", entry
        for word, value in of_schema.items():
            if word == "properties":
                for name, entry in value.items():
                    yield from properties(entry, f"{key}.{name}")
            else:
                yield from properties(value, key if word in ("items", "$defs") else f"{key}.{word}")
    elif isinstance(of_schema, list):
        for entry in of_schema:
            yield from properties(entry, key)


@pytest.fixture(scope="module")
def whole_schema():
    return yaml.safe_load(schema.SCHEMA.read_text(encoding="utf-8"))


def test_every_key_of_the_schema_is_described(whole_schema):
    found = dict(properties(whole_schema))
    assert {".scale", ".scales", ".images", ".claims"} <= set(found)
    assert len(found) > 40

    def described(entry):
        if "$ref" in entry:
            entry = whole_schema["$defs"][entry["$ref"].removeprefix("#/$defs/")]
        return len(entry.get("description", "")) > 3

    assert [key for key, entry in found.items() if not described(entry)] == []


def test_every_object_of_the_schema_is_closed_or_a_map_of_names(whole_schema):
    """An object that lists its keys takes no others."""

    def open_objects(entry, key=""):
        if isinstance(entry, dict):
            lists_keys = "properties" in entry and entry.get("type") == "object"
            if lists_keys and entry.get("additionalProperties") is not False:
                yield key
            for name, value in entry.items():
                yield from open_objects(value, f"{key}.{name}")

    sizes = ".properties.scales.additionalProperties"
    assert list(open_objects(whole_schema)) == [
        # The other keys of a scale are tasks.
        sizes,
        # The code of the task and of the probe says which keys there are.
        f"{sizes}.additionalProperties.properties.net",
        ".properties.probes.additionalProperties.additionalProperties",
        # One name has a meaning of its own.
        ".properties.figures.additionalProperties.properties.tables",
    ]


# -- reading --------------------------------------------------------------------------------------


def test_the_files_are_read_as_one_configuration(config, tmp_path):
    root = Path(__file__).parents[2]
    assert schema.read(root / "config.yaml", root / "claims.yaml") == config
    only = tmp_path / "config.yaml"
    only.write_text("scale: ü\n", encoding="utf-8")
    assert schema.read(only) == {"scale": "ü"}
    assert schema.read() == {}


def test_claims_yaml_holds_the_sections_that_messages_place_there():
    root = Path(__file__).parents[2]
    assert tuple(schema.read(root / "claims.yaml")) == schema.CLAIMS_SECTIONS
    assert not set(schema.read(root / "config.yaml")) & set(schema.CLAIMS_SECTIONS)


# -- defaults -------------------------------------------------------------------------------------

QUANTITY = {"table": "training", "column": "loss"}
CLAIM = {"label": "a", "statement": "b", "quantity": "q", "condition_a": "vgg_none", "expected": "less"}
CLAIM |= {"condition_b": "vgg_batch"}
# Path of a key with a default -> the default, as the schema has it.
DEFAULTS = {
    "scales > digits > keep_snapshots": True,
    "scales > digits > vgg > tf32": False,
    "conditions > vgg_none > part": "paper",
    "figures > fig4 > part": "paper",
    "claims > f > c > part": "paper",
    "alternatives > a > part": "paper",
    "quantities > q > summary": "mean",
    "quantities > q > compare": "log_ratio",
    "quantities > q > floor": 1e-12,
    "quantities > q > until_accuracy": None,
    "quantities > q > steps": None,
    "quantities > q > sensitivity": ["geometric_mean", "median", "equal_loss"],
    "claims > f > c > for": {},
    "claims > f > c > headline": "",
    "claims > f > c > layers": [],
    "claims > f > c > margin_from": "convention",
    "claims > f > c > paper_value": "",
    "alternatives > a > for": {},
    "alternatives > a > layers": [],
    "alternatives > a > margin_from": "convention",
    "alternatives > a > paper_value": "",
}


@pytest.fixture
def with_short_entries(changed):
    """Function: (path, value)s -> the study with a quantity, claim and alternative of required keys alone."""

    def with_short_entries(*changes):
        return changed(
            ("quantities > q", dict(QUANTITY)),
            ("claims > f", {"c": CLAIM | {"source": "Section 1"}}),
            ("alternatives > a", CLAIM | {"varies": "c"}),
            *changes,
        )

    return with_short_entries


def value_at(entry, path):
    for key in path.split(" > "):
        entry = entry[key]
    return entry


@pytest.mark.parametrize("path", DEFAULTS)
def test_a_key_that_is_left_out_means_its_default(with_short_entries, path):
    short, full = with_short_entries(), with_short_entries((path, copy.deepcopy(DEFAULTS[path])))
    checks.check(short)
    with pytest.raises(KeyError):
        value_at(short, path)
    assert value_at(schema.with_defaults(short), path) == DEFAULTS[path]
    assert written_out(short) == written_out(full)
    texts = zip(settings_of_all_jobs(short).values(), settings_of_all_jobs(full).values(), strict=True)
    assert all(json.loads(of_short) == json.loads(of_full) for of_short, of_full in texts)


def test_every_default_of_the_schema_is_tested(whole_schema):
    found = {key.split(".")[-1] for key, entry in properties(whole_schema) if "default" in entry}
    assert found == {path.split(" > ")[-1] for path in DEFAULTS}


def test_values_that_are_written_are_no_defaults(with_short_entries):
    full = with_short_entries(
        ("quantities > q", QUANTITY | {"summary": "last", "floor": 0.5, "sensitivity": []}),
        ("scales > digits > vgg > tf32", True),
        ("scales > digits > keep_snapshots", False),
    )
    filled = schema.with_defaults(full)
    rest = {"compare": "log_ratio", "until_accuracy": None, "steps": None}
    assert filled["quantities"]["q"] == full["quantities"]["q"] | rest
    assert filled["scales"]["digits"]["vgg"] == full["scales"]["digits"]["vgg"]
    assert filled["scales"]["digits"]["keep_snapshots"] is False
    assert schema.with_defaults(filled) == filled


@pytest.mark.parametrize("entries", ["as they are", "short", "without tau"])
def test_defaults_are_those_that_a_validator_fills_in(config, with_short_entries, whole_schema, entries):
    """The second implementation validates all of the configuration, which takes ten times as long."""

    def fill_in(validator, properties, instance, of_object):
        if isinstance(instance, dict):
            for key, of_key in properties.items():
                if "default" in of_key:
                    instance.setdefault(key, copy.deepcopy(of_key["default"]))
        yield from jsonschema.Draft202012Validator.VALIDATORS["properties"](
            validator, properties, instance, of_object
        )

    filler = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"properties": fill_in})
    if entries == "short":
        config = with_short_entries()
    elif entries == "without tau":
        config = {key: value for key, value in config.items() if key != "tau"}
    expected = copy.deepcopy(config)
    # Its errors do not matter: an empty list is a default of some keys, but not allowed in a file.
    list(filler(whole_schema).iter_errors(expected))
    assert expected != config
    assert json.dumps(schema.with_defaults(config)) == json.dumps(expected)


def test_defaults_are_values_of_their_own(with_short_entries):
    short = with_short_entries()
    filled = schema.with_defaults(short)
    filled["quantities"]["q"]["sensitivity"].append("last")
    filled["claims"]["f"]["c"]["layers"].append("#1")
    assert schema.with_defaults(short)["quantities"]["q"]["sensitivity"][-1] == "equal_loss"
    assert schema.with_defaults(short)["claims"]["f"]["c"]["layers"] == []


def test_an_entry_of_required_keys_alone_is_written_out_in_full(with_short_entries):
    found = written_out(with_short_entries())
    claim = CLAIM | {"layers": [], "margin": 1, "margin_from": "", "paper_value": ""}
    assert found["claims"]["c"] == claim | {"source": "Section 1", "family": "f"}
    assert found["alternatives"]["a"] == claim | {"source": "c", "varies": "c", "family": "alternatives"}
    assert found["quantities"]["q"] == {
        **QUANTITY,
        "summary": "mean",
        "compare": "log_ratio",
        "floor": 1e-12,
        "until_accuracy": None,
        "steps": None,
        "sensitivity": ["geometric_mean", "median", "equal_loss"],
    }


@pytest.mark.parametrize(("compare", "none"), [("difference", 0), ("log_ratio", 1)])
def test_a_claim_without_a_margin_has_the_one_that_changes_nothing(with_short_entries, compare, none):
    of_quantity = ("quantities > q > compare", compare)
    found = written_out(with_short_entries(of_quantity))["claims"]["c"]
    assert (found["margin"], found["margin_from"]) == (none, "")
    found = written_out(with_short_entries(of_quantity, ("claims > f > c > margin", 3)))["claims"]["c"]
    assert (found["margin"], found["margin_from"]) == (3, "convention")
    drawn = ("claims > f > c > margin_from", "paper")
    found = written_out(with_short_entries(of_quantity, ("claims > f > c > margin", 3), drawn))["claims"]["c"]
    assert (found["margin"], found["margin_from"]) == (3, "paper")


# -- the study written out ------------------------------------------------------------------------


def plainly_written_out(config):
    """Return what `written_out` should, in plain loops and with the defaults written by hand."""
    chosen = [p for p in ("paper", "mechanism", "norms") if config["parts"] == "all" or p in config["parts"]]
    scale = config["scales"][config["scale"]]
    sizes = {task: {"tf32": False} | scale[task] for task in ("vgg", "deep_linear") if task in scale}
    found = {
        "scale": config["scale"],
        "parts": chosen,
        "images": config["images"] if "images" in config else scale["images"],
        "seeds": config["seeds"] if "seeds" in config else scale["seeds"],
        "keep_snapshots": scale.get("keep_snapshots", True),
        "sizes": sizes,
        "random_layers": config["random_layers"],
        "tau": {},
        "quantities": {},
        "headline": {},
        "part_of": {},
        **{key: {} for key in ("conditions", "probes", "rate_spread", "figures", "claims", "alternatives")},
    }
    for name, condition in config["conditions"].items():
        if condition["task"] in sizes and plainly_asked(condition, chosen):
            found["conditions"][name] = {key: condition[key] for key in condition if key != "part"}
    for name, probe in config["probes"].items():
        for task, settings in probe.items():
            if task in sizes:
                found["probes"].setdefault(name, {})[task] = settings
    for name, others in config["rate_spread"].items():
        if all(other in found["conditions"] for other in others):
            found["rate_spread"][name] = others
    ranked = config.get("tau")
    if ranked and ranked["part"] in chosen and all(n in found["conditions"] for n in ranked["conditions"]):
        found["tau"] = {key: ranked[key] for key in ("reference", "conditions", "measures")}
    for name, figure in config["figures"].items():
        if not plainly_asked(figure, chosen):
            continue
        shown = dict(figure, tables={})
        shown.pop("part", None)
        for table, conditions in figure["tables"].items():
            left = [condition for condition in conditions if condition in found["conditions"]]
            if left or table == "random_layers":
                shown["tables"][table] = left
        if "layers" in figure:
            shown["layers"] = {task: layers for task, layers in figure["layers"].items() if task in sizes}
        if sum(map(len, shown["tables"].values())) or list(figure["tables"]) == ["random_layers"]:
            found["figures"][name] = shown
    for name, quantity in config["quantities"].items():
        found["quantities"][name] = {
            "summary": "mean",
            "compare": "log_ratio",
            "floor": 1e-12,
            "until_accuracy": None,
            "steps": None,
            "sensitivity": ["geometric_mean", "median", "equal_loss"],
        } | quantity
    for family, entries in [*config["claims"].items(), ("alternatives", config["alternatives"])]:
        section = "alternatives" if family == "alternatives" else "claims"
        for name, entry in entries.items():
            for claim_name, claim in plainly_filled_in(name, entry, config["conditions"]):
                headline = claim.pop("headline", "")
                if plainly_asked(claim, chosen) and plainly_possible(claim, found):
                    if section == "claims":
                        found["part_of"][claim_name] = claim.get("part", "paper")
                    found["headline"] |= {claim_name: headline} if headline else {}
                    found[section][claim_name] = plainly_claimed(claim, family, found["quantities"])
    found["tables"] = plainly_needed(found)
    return found


# What stands under `for`, as readers see it; what is missing here stays as it is.
IN_WORDS = {
    "none": "no norm", "batch": "BatchNorm", "l1": "L₁", "l2": "L₂", "linf": "L∞", "vgg": "VGG",
    "deep_linear": "deep linear network", "loss_variation": "loss variation", "beta": "effective β",
    "gradient_predictiveness": "gradient predictiveness", "predictiveness": "gradient predictiveness",
    "effective_beta": "effective β", "sharpness": "largest eigenvalue", "_equal_loss": " at equal loss",
}  # fmt: skip
# Conditions that a text describes.
DESCRIBED = {
    "vgg_none": "no norm, rate 0.1", "vgg_none_x1.41": "no norm, rate 0.1, weights × 1.41",
    "vgg_none_x2": "no norm, rate 0.1, weights × 2",
}  # fmt: skip
RATES = {0.1: "0.1", 0.01: "0.01", 0.5: "0.5", 1e-6: "1e-6", 1e-7: "1e-7"}


def plainly_filled_in(name, entry, conditions):
    """Return name, claim for every combination of values under `for`, the first varying slowest."""
    claims = [(name, {key: value for key, value in entry.items() if key != "for"})]
    for word, values in entry.get("for", {}).items():
        claims = [
            (name.replace(f"{{{word}}}", value), plainly_replaced(claim, f"{{{word}}}", value))
            for name, claim in claims
            for value in values
        ]
    for _, claim in claims:
        for key in ("label", "statement"):
            rate = conditions.get(claim["condition_a"], {"lr": 0.1})["lr"]
            claim[key] = claim[key].replace("{lr}", RATES[rate])
            claim[key] = claim[key].replace("{condition_b}", DESCRIBED.get(claim["condition_b"], "?"))
    return claims


def plainly_replaced(claim, placeholder, value):
    """Return a claim with a value in place of a placeholder; in the texts for readers, the value in words."""
    filled = json.loads(json.dumps(claim, ensure_ascii=False).replace(placeholder, value))
    for key in ("label", "statement"):
        filled[key] = claim[key].replace(placeholder, IN_WORDS.get(value, value))
    return filled


def plainly_asked(entry, chosen):
    return entry["part"] in chosen if "part" in entry else "paper" in chosen


def plainly_possible(claim, found):
    """Return whether the study has the conditions of a claim and measures its table."""
    for condition in (claim["condition_a"], claim["condition_b"]):
        named = isinstance(condition, str) and condition not in ("chance", "all_norms")
        if named and condition not in found["conditions"]:
            return False
    quantity = found["quantities"][claim["quantity"]]
    if "times" in quantity and quantity["times"]["table"] not in found["probes"]:
        return False
    if quantity["table"] in ("rate_spread", "tau"):
        return bool(found[quantity["table"]])
    return quantity["table"] == "training" or quantity["table"] in found["probes"]


def plainly_claimed(claim, family, quantities):
    full = {"layers": [], "paper_value": "", "margin_from": "convention", "family": family} | claim
    full.pop("part", None)
    if "margin" not in claim:
        full["margin"] = 1 if quantities[claim["quantity"]]["compare"] == "log_ratio" else 0
        full["margin_from"] = ""
    if "varies" in claim:
        full["source"] = claim["varies"]
    return full


def plainly_needed(found):
    """Return table -> conditions, both found by asking who names them."""
    shown = [pair for figure in found["figures"].values() for pair in figure["tables"].items()]
    for section in SECTIONS:
        for claim in found[section].values():
            pair = [claim["condition_a"], claim["condition_b"]]
            quantity = found["quantities"][claim["quantity"]]
            shown.append((quantity["table"], pair))
            if "times" in quantity:
                shown.append((quantity["times"]["table"], pair))
    tables = {"training": list(found["conditions"])}
    if "tau" in dict(shown):
        shown += [(table, found["tau"]["conditions"]) for table in found["tau"]["measures"]]
    for table in dict(shown):
        if table not in ("training", "random_layers"):
            named = [name for shown_table, names in shown if shown_table == table for name in names]
            tables[table] = [name for name in found["conditions"] if name in named]
        if table == "tau":
            tables[table] = ["all_norms"]
    return tables


@pytest.mark.parametrize("parts", [["paper"], ["norms", "paper"], "all"])
@pytest.mark.parametrize("scale", SCALES)
def test_a_study_is_written_out_as_described(changed, scale, parts):
    config = changed(("scale", scale), ("parts", parts))
    found, expected = written_out(config), plainly_written_out(config)
    assert found == expected
    # Tables, figures and claims are shown in the order in which the configuration has them.
    for section in ("conditions", "probes", "figures", "quantities", *SECTIONS, "tables"):
        assert list(found[section]) == list(expected[section]), section
    assert found["tables"]["training"] == list(found["conditions"])


@pytest.mark.parametrize(
    "changes",
    [
        [("scales > digits > vgg", ...)],
        [("scales > digits > deep_linear", ...)],
        [("images", "some/folder"), ("seeds", [7, 5])],
        [("scales > digits > keep_snapshots", False)],
        [("rate_spread > vgg_batch", ...)],
        [("rate_spread", {})],
        [("alternatives", {}), ("rate_spread", {})],
        [("figures", {})],
        [("claims", {}), ("alternatives", {})],
        [("figures > theorems > tables > theorems", ["vgg_none"]), ("scales > digits > vgg", ...)],
        [("figures > theorems > tables", {"random_layers": []})],
    ],
    ids=lambda changes: ", ".join(path.replace(" > ", ".") for path, _ in changes),
)
def test_a_changed_study_is_written_out_as_described(changed, changes):
    config = changed(*changes)
    assert written_out(config) == plainly_written_out(config)


def test_a_study_written_out_names_only_what_it_has(changed):
    for scale in SCALES:
        found = written_out(changed(("scale", scale)))
        text = json.dumps([found[key] for key in ("claims", "alternatives", "figures")], ensure_ascii=False)
        assert not re.search(r"[{][a-z]+[}]", text)
        assert set(found["tables"]) <= {"training", "rate_spread", *found["probes"]}
        for name, conditions in found["tables"].items():
            assert set(conditions) <= set(found["conditions"]), name
            if name in found["probes"]:
                tasks = {found["conditions"][condition]["task"] for condition in conditions}
                assert tasks <= set(found["probes"][name])


# -- files of other parts -------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["digits", "deep-linear"])
@pytest.mark.parametrize("parts", [["paper"], ["paper", "mechanism"], ["norms", "paper"], "all"])
def test_files_of_other_parts_are_those_that_the_study_lacks(config, parts, scale):
    """Tables of probes of conditions that the study has can be made, though nothing needs them."""
    chosen = config | {"scale": scale, "parts": parts}
    found = jobs.of_other_parts(chosen)
    assert list(found) == [p for p in ("paper", "mechanism", "norms") if parts != "all" and p not in parts]
    here = jobs.Jobs(written_out(chosen))
    own = {path.removeprefix(f"results/{scale}/") for path in here.recorded()}
    for part, files in found.items():
        whole = jobs.Jobs(written_out(chosen | {"parts": [*parts, part]}))
        of_part = {path.removeprefix(f"results/{scale}/") for path in whole.recorded()} - own
        # Training, the same with the snapshots; figures in the other format.
        of_part |= {path.replace("training.csv", "snapshots") for path in of_part}
        of_part |= {path.replace(".pdf", ".png") for path in of_part}
        possible = {path for path in of_part if path.split("/")[0] == "probes"}
        possible = {path for path in possible if path.split("/")[2] in here.study["conditions"]}
        assert {path for path in of_part | own if re.fullmatch(files, path)} == of_part - possible


# -- parts ----------------------------------------------------------------------------------------


@pytest.fixture
def with_a_part(changed):
    """Function: (path, value)s -> the study with a condition, figure, claim, alternative of `mechanism`."""

    def with_a_part(*changes):
        mine = {"part": "mechanism", "condition_b": "vgg_new", "quantity": "loss_variation"}
        tables = {"along_gradient": ["vgg_noise", "vgg_new"]}
        return changed(
            ("conditions > vgg_new", {"part": "mechanism", "task": "vgg", "norm": "none", "lr": 0.2}),
            ("figures > fig4 > part", "mechanism"),
            ("figures > fig4 > tables", tables),
            ("claims > f", {"c": CLAIM | mine | {"source": "Section 1"}}),
            ("alternatives > a", CLAIM | mine | {"varies": "c"}),
            *changes,
        )

    return with_a_part


def test_what_belongs_to_another_part_is_left_out_and_what_is_left_is_as_if_it_were_not_there(
    changed, with_a_part
):
    plain, config = changed(("figures > fig4", ...)), with_a_part()
    checks.check(config)
    assert written_out(config) == written_out(plain)
    assert settings_of_all_jobs(config) == settings_of_all_jobs(plain)
    assert jobs.Jobs(written_out(config)).recorded() == jobs.Jobs(written_out(plain)).recorded()


@pytest.mark.parametrize("parts", ["all", ["mechanism", "paper"]])
def test_a_part_that_is_added_brings_its_own_jobs_and_changes_no_others(with_a_part, parts):
    config = with_a_part()
    of_new = {("train", "vgg_new"), ("draw", "fig4")}
    # The figure shows this condition, whose run now keeps snapshots.
    of_new |= {("train", "vgg_noise"), *(("probe", "along_gradient", n) for n in ("vgg_noise", "vgg_new"))}
    of_new |= {("judge", section) for section in SECTIONS}
    assert difference(config, config | {"parts": parts}) >= of_new
    added = written_out(config | {"parts": parts})
    assert {"c", "vgg_new", "fig4", "a"} <= {
        n for key in (*SECTIONS, "conditions", "figures") for n in added[key]
    }
    assert '"part"' not in "".join(settings_of_all_jobs(config | {"parts": parts}).values())


def test_parts_of_the_study_itself_change_no_jobs_of_the_paper_but_those_that_need_more_snapshots(config):
    for scale in SCALES:
        of_paper = settings_of_all_jobs(config | {"scale": scale})
        of_all = settings_of_all_jobs(config | {"scale": scale, "parts": "all"})
        changed_jobs = {job for job, settings in of_paper.items() if of_all[job] != settings}
        keeping = {job for job in changed_jobs if job[0] == "train"}
        for job in keeping:
            before, after = json.loads(of_paper[job]), json.loads(of_all[job])
            assert before["snapshot_every"] == 0 < after["snapshot_every"]
            assert before | {"snapshot_every": None} == after | {"snapshot_every": None}
        assert changed_jobs - keeping <= {("judge", section) for section in SECTIONS}


def test_what_is_ranked_is_measured_although_no_figure_shows_it(changed):
    found = written_out(changed(("parts", "all"), ("figures > norms", ...)))
    for table in ("along_gradient", "curvature"):
        assert set(found["tau"]["conditions"]) <= set(found["tables"][table])
    # Nothing is ranked for a claim that is not asked for.
    without = changed(("parts", "all"), ("figures > norms", ...), ("claims > norms", {}))
    without["claims"]["norms_trained"] = {}
    assert "tau" not in written_out(without)["tables"]
    assert "vgg_layer" not in written_out(without)["tables"]["along_gradient"]


def test_rank_correlations_are_no_table_of_runs(config):
    job = jobs.Jobs(written_out(config | {"parts": "all"}))
    assert "tau" not in job.summarised()
    recorded = [
        path for path in job.recorded() if "tau" in Path(path).parts or Path(path).name.startswith("tau")
    ]
    assert recorded == ["results/digits/statistics/tau_per_seed.csv"]


def test_norms_are_ranked_in_their_part_alone_also_if_the_paper_has_all_of_them(changed):
    of_paper = ("tau > conditions", ["vgg_none", "vgg_batch"])
    assert written_out(changed(of_paper))["tau"] == {}
    assert written_out(changed(of_paper, ("parts", ["paper", "norms"])))["tau"]["conditions"] == of_paper[1]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("claims > f > c > part", "paper", ["claims.f.c", "part paper, found vgg_new of the part mechanism"]),
        ("claims > f > c > part", "norms", ["claims.f.c", "part paper or norms, found vgg_new of the part"]),
        ("alternatives > a > part", "norms", ["alternatives.a.varies", "found c of the part mechanism"]),
        ("alternatives > a > part", "paper", ["alternatives.a.varies", "part paper, found c of the part"]),
        ("figures > fig4 > part", "norms", ["figures.fig4.tables.along_gradient", "part paper or norms"]),
        ("rate_spread > vgg_none", ["vgg_none", "vgg_new"], ["rate_spread.vgg_none", "found vgg_new of"]),
    ],
)
def test_who_names_a_condition_or_claim_of_another_part_is_refused(with_a_part, path, value, words):
    message = refusal(with_a_part((path, value)))
    for word in words:
        assert word in message


# -- allowed values -------------------------------------------------------------------------------


def test_numbers_may_be_written_whole(changed):
    margin = ("claims > fig1 > bn_trains_faster > margin", 0)
    checks.check(changed(("conditions > vgg_none > lr", 1), margin))


def test_only_the_images_of_the_scale_that_runs_have_to_exist(changed):
    checks.check(changed(("scales > paper > images", "no/such/folder")))
    refusal(changed(("scales > paper > images", "no/such/folder"), ("scale", "paper")))


def test_images_on_the_command_line_replace_those_of_the_scale(changed, tmp_path):
    config = changed(("scales > digits > images", "no/such/folder"), ("images", str(tmp_path)))
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
    checks.check(config)
    assert images_settings(config)["images"].endswith(f" in the folder {tmp_path.name}")


def test_seeds_on_the_command_line_replace_those_of_the_scale_in_every_job(changed):
    for scale in ("digits", "paper"):
        config = changed(("seeds", [5, 7]), ("scale", scale))
        checks.check(config)
        of_study = written_out(config)
        assert study.runs_settings(of_study, "training")["seeds"] == [5, 7]
        assert study.figure_settings(of_study, "fig1")["seeds"] == [5, 7]
        assert study.gather_settings(of_study)["seeds"] == [5, 7]
        assert study.report_settings(of_study)["seeds"] == [5, 7]


def test_the_device_is_in_no_jobs_settings(changed):
    for scale in SCALES:
        plain, wished = changed(("scale", scale)), changed(("scale", scale), ("device", "cuda"))
        checks.check(wished)
        assert settings_of_all_jobs(plain) == settings_of_all_jobs(wished)
        assert written_out(plain) == written_out(wished)


def test_a_path_that_starts_with_a_tilde_is_in_the_home_folder(changed, tmp_path, monkeypatch):
    for part in ("train", "test"):
        (tmp_path / "my images" / part).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    config = changed(("images", "~/my images"))
    checks.check(config)
    assert images_settings(config)["images"].endswith(" in the folder my images")
    assert image_sources.path("~/my images") == str(tmp_path / "my images")


def test_images_of_a_folder_are_to_be_large_enough_for_the_net_and_enough_for_a_batch(changed, tmp_path):
    paper, folder = ("scale", "paper"), ("scales > paper > images", str(tmp_path))
    named = {"images": f"{image_sources.content(tmp_path)} in the folder {tmp_path.name}"}
    needed = named | {"least_side": 16, "least_number": 128}
    assert images_settings(changed(paper, folder)) == needed
    assert images_settings(changed(paper, folder, ("scales > paper > vgg", ...))) == named
    assert images_settings(changed(paper)) == {"images": "cifar10"}


def test_the_images_that_tasks_need_are_the_largest_and_most_of_each():
    small = {"net": {"convolutions": [4, "M", "M"], "hidden": []}, "batch_size": 10}
    no_images = {"net": {"depth": 3}, "batch_size": 1000}
    assert image_sources.needs({"vgg": small}) == {"least_side": 4, "least_number": 10}
    assert image_sources.needs({"deep_linear": no_images, "vgg": small}) == image_sources.needs(
        {"vgg": small}
    )
    assert image_sources.needs({"deep_linear": no_images}) == image_sources.needs({}) == {}


def test_named_sources_of_images_are_the_data_sets(tmp_path):
    assert [
        name for name in ("digits", "cifar10", "mnist", "", str(tmp_path)) if image_sources.is_named(name)
    ] == [
        "digits",
        "cifar10",
    ]
    assert image_sources.known("cifar10") == (32, 50_000)
    assert not image_sources.has_parts(tmp_path)
    (tmp_path / "train").mkdir()
    assert not image_sources.has_parts(tmp_path)
    (tmp_path / "test").mkdir()
    assert image_sources.has_parts(tmp_path)


# -- the settings of the jobs ---------------------------------------------------------------------


def images_settings(config):
    """Return the settings of the job that prepares the images."""
    of_study = written_out(config)
    settings = image_sources.settings(of_study["images"], of_study["sizes"])
    assert json.loads(jobs.Jobs(of_study).data_settings(None)) == settings
    return settings


def settings_of_all_jobs(config):
    """Return job -> its settings, as the rules pass them on."""
    of_study = written_out(config)
    job = jobs.Jobs(of_study)
    found = {("prepare",): job.data_settings(None)}
    for condition in of_study["conditions"]:
        found["train", condition] = job.train_settings(SimpleNamespace(condition=condition))
    for table, conditions in of_study["tables"].items():
        for condition in conditions if table in of_study["probes"] else []:
            wildcards = SimpleNamespace(condition=condition, probe=table)
            found["probe", table, condition] = job.probe_settings(wildcards)
    for figure in of_study["figures"]:
        found["draw", figure] = job.figure_settings(SimpleNamespace(figure=figure))
    found["judge", "claims"] = job.claims_settings(None)
    found["judge", "alternatives"] = job.alternatives_settings(None)
    found["specify",] = job.specifications_settings(None)
    for claim in of_study["headline"]:
        found["draw_specification", claim] = job.specification_settings(SimpleNamespace(claim=claim))
    return found


def difference(before, after):
    """Return the jobs whose settings changed, that came or that went."""
    before, after = settings_of_all_jobs(before), settings_of_all_jobs(after)
    return {job for job in before.keys() | after.keys() if before.get(job) != after.get(job)}


def test_a_claims_margin_is_seen_by_those_alone_that_judge_it(config, changed):
    specify = ("specify",)
    for path, value in [
        ("claims > fig1 > bn_trains_faster > margin", 0.01),
        ("claims > fig1 > bn_trains_faster > statement", "Something else."),
        ("claims > fig1 > bn_trains_faster > label", "Something else"),
    ]:
        assert difference(config, changed((path, value))) == {("judge", "claims"), specify}
    for_readers = ("claims > fig1 > bn_allows_larger_lr > label", "Something else")
    assert difference(config, changed(for_readers)) == {("judge", "claims")}
    fig1 = config["claims"]["fig1"]
    new = changed(
        ("claims > fig1 > bn_trains_faster", ...),
        ("claims > other", {"bn_trains_faster": fig1["bn_trains_faster"]}),
    )
    assert difference(config, new) == {("judge", "claims"), specify}
    alternative = next(iter(config["alternatives"]))
    new = changed((f"alternatives > {alternative} > varies", "bn_trains_faster"))
    assert difference(config, new) == {("judge", "alternatives")}


def test_how_a_quantity_becomes_a_number_is_seen_by_the_judges_alone(config, changed):
    for path, value in [
        ("quantities > test_accuracy > summary", "final"),
        ("quantities > mean_relative_change > sensitivity", ["median"]),
    ]:
        found = difference(config, changed((path, value)))
        assert ("judge", "claims") in found
        assert found <= {("specify",), *(("judge", section) for section in SECTIONS)}


def test_a_quantity_of_another_part_is_seen_by_no_job(config, changed):
    path = "quantities > tau_beta > summary"
    assert difference(config, changed((path, "first"))) == set()
    all_parts = changed(("parts", "all"))
    assert difference(all_parts, changed(("parts", "all"), (path, "first"))) == {("judge", "claims")}


def test_whether_a_claim_is_a_headline_is_seen_by_its_curve_alone(config, changed):
    entries = "claims > fig1 > bn_trains_faster", "claims > fig1 > bn_allows_larger_lr"
    new = changed((f"{entries[0]} > headline", ...), (f"{entries[1]} > headline", True))
    curves = {("draw_specification", path.split(" > ")[-1]) for path in entries}
    assert difference(config, new) == {("specify",), *curves}


def test_a_conditions_learning_rate_is_seen_by_its_own_jobs_and_the_figures_that_show_it(config, changed):
    found = difference(config, changed(("conditions > vgg_noisy_batch > lr", 0.2)))
    needed = written_out(config)["tables"]
    tables = {table for table, names in needed.items() if "vgg_noisy_batch" in names}
    expected = {("train", "vgg_noisy_batch")}
    expected |= {("probe", table, "vgg_noisy_batch") for table in tables & set(config["probes"])}
    assert {job for job in found if job[0] != "draw"} == expected
    assert len(expected) > 1
    shown = {
        name
        for name, figure in config["figures"].items()
        if any("vgg_noisy_batch" in names for names in figure["tables"].values())
    }
    assert {job[1] for job in found if job[0] == "draw"} == shown


def test_a_seed_is_seen_by_no_job_of_another_seed_but_by_the_figures_and_curves_of_all(config, changed):
    seen = difference(config, changed(("scales > digits > seeds", [0, 1, 2, 3, 4, 5, 6])))
    assert seen == {("specify",), *(("draw", figure) for figure in written_out(config)["figures"])}


def test_a_new_condition_that_nothing_names_is_trained_and_changes_nothing_else(config, changed):
    new = changed(("conditions > vgg_new", {"task": "vgg", "norm": "batch", "lr": 0.3}))
    assert difference(config, new) == {("train", "vgg_new")}


def test_another_scales_sizes_are_seen_by_none_of_this_scales_jobs(config, changed):
    new = changed(("scales > paper > vgg > steps", 7), ("scales > paper > vgg > layers > #2", 4))
    assert difference(config, new) == set()


def test_a_caption_is_seen_by_no_job_but_the_report(config, changed):
    new = changed(("figures > fig1 > caption", "Another."))
    assert difference(config, new) == set()
    assert study.report_settings(written_out(new)) != study.report_settings(written_out(config))


def test_the_report_gets_the_sizes_of_the_scale_it_is_about(changed, config):
    for scale, sizes in config["scales"].items():
        found = study.report_settings(written_out(changed(("scale", scale), ("parts", "all"))))
        tasks = [task for task in ("vgg", "deep_linear") if task in sizes]
        assert found["tasks"] == {task: {"tf32": False} | sizes[task] for task in tasks}
        # Without a task that needs images there are none to describe.
        images = sizes["images"] if "vgg" in sizes else ""
        assert (found["scale"], found["images"], found["seeds"]) == (scale, images, sizes["seeds"])
        shown = {
            name: figure["caption"]
            for name, figure in config["figures"].items()
            if any(
                config["conditions"][condition]["task"] in tasks
                for conditions in figure["tables"].values()
                for condition in conditions
            )
        }
        assert found["captions"] == shown
        assert list(found["captions"]) == list(shown)
        whole = written_out(changed(("scale", scale), ("parts", "all")))
        assert found["headline"] == list(whole["headline"])
        columns = {name: quantity["column"] for name, quantity in whole["quantities"].items()}
        assert {columns[name] for name in found["accuracies"]} <= {"accuracy", "test_accuracy"}
        others = {columns[name] for name in set(columns) - set(found["accuracies"])}
        assert not others & {"accuracy", "test_accuracy"}
        if len(tasks) == 2:
            assert list(shown) == list(config["figures"])


def test_a_probes_settings_are_seen_by_its_own_jobs(config, changed):
    found = difference(config, changed(("probes > activations > vgg > bins", 41)))
    conditions = written_out(config)["tables"]["activations"]
    assert found == {
        ("probe", "activations", name) for name in conditions if config["conditions"][name]["task"] == "vgg"
    }


def test_the_number_of_steps_is_seen_by_training_alone(config, changed):
    conditions = written_out(config)["conditions"]
    of_task = [name for name, entry in conditions.items() if entry["task"] == "vgg"]
    for key in ("steps", "test_every"):
        found = difference(config, changed((f"scales > digits > vgg > {key}", 777)))
        assert found == {("train", name) for name in of_task}


def test_where_a_layer_is_in_the_net_is_seen_by_those_who_look_at_it(config, changed):
    name = "#11"
    net = config["scales"]["digits"]["vgg"]["net"]
    last = sum(size != "M" for size in net["convolutions"]) + len(net["hidden"])
    free = set(range(1, last + 1)) - set(config["scales"]["digits"]["vgg"]["layers"].values())
    new = changed((f"scales > digits > vgg > layers > {name}", min(free, default=last)))
    found = difference(config, new)
    asked = written_out(config)["tables"]
    probes = config["probes"].items()
    looking = {p for p, tasks in probes if p in asked and name in tasks["vgg"].get("layers", [])}
    shown = {f for f, entry in config["figures"].items() if name in entry.get("layers", {}).get("vgg", [])}
    assert {job[1] for job in found if job[0] == "probe"} == looking
    assert {job[1] for job in found if job[0] == "draw"} == shown
    assert {job[0] for job in found} == {"probe", "draw"}


def test_only_runs_that_some_table_needs_write_snapshots(config):
    of_study = written_out(config)
    tables = of_study["tables"]
    probed = {name for table, names in tables.items() if table in config["probes"] for name in names}
    writing = {
        name for name in of_study["conditions"] if study.train_settings(of_study, name)["snapshot_every"] > 0
    }
    assert writing == probed
    # Both kinds exist, so neither side of the comparison is trivial.
    assert "vgg_batch" in writing
    assert "vgg_noise" not in writing


def test_a_claim_alone_is_reason_enough_to_write_snapshots(config, changed):
    old = written_out(config)
    new = written_out(changed(("claims > fig4 > bn_smooths_loss > condition_a", "vgg_noise")))
    assert study.train_settings(old, "vgg_noise")["snapshot_every"] == 0
    assert study.train_settings(new, "vgg_noise")["snapshot_every"] > 0
    assert "vgg_noise" in new["tables"]["along_gradient"]


def test_every_condition_is_trained_and_every_table_is_in_the_order_of_the_conditions(config):
    tables = written_out(config | {"parts": "all"})["tables"]
    order = list(config["conditions"])
    assert tables["training"] == order
    assert tables.pop("tau") == ["all_norms"]
    for names in tables.values():
        assert names == [name for name in order if name in names]
    assert "chance" not in {name for names in tables.values() for name in names}


def test_training_is_given_the_arguments_it_takes(config):
    settings = study.train_settings(written_out(config), "vgg_batch")
    sizes = config["scales"]["digits"]["vgg"]
    assert settings == {
        "task": "vgg",
        "norm": "batch",
        "lr": 0.1,
        "tf32": False,
        **{key: sizes[key] for key in ("net", "steps", "batch_size", "test_every", "snapshot_every")},
    }


def test_warmup_and_initial_scale_are_settings_of_the_conditions_that_have_them_alone(config, changed):
    new = changed(
        ("conditions > vgg_none > warmup", 0.1),
        ("conditions > vgg_batch > initial_scale", 2),
        ("conditions > vgg_l1 > initial_scale", 1),
    )
    old, new = written_out(config), written_out(new)
    for condition in old["conditions"]:
        before, after = study.train_settings(old, condition), study.train_settings(new, condition)
        assert before.keys() == study.train_settings(old, "vgg_noise").keys()
        if condition == "vgg_none":
            assert after == before | {"warmup": 0.1}
        elif condition == "vgg_batch":
            assert after == before | {"net": before["net"] | {"initial_scale": 2}}
        else:
            assert after == before
    # Probes measure at the configured rate.
    before, after = (study.probe_settings(s, "vgg_none", "along_gradient") for s in (old, new))
    assert after == before


def test_a_probe_is_given_the_layers_of_the_net(config):
    settings = study.probe_settings(written_out(config), "vgg_batch", "activations")
    sizes = config["scales"]["digits"]["vgg"]
    wanted = config["probes"]["activations"]["vgg"]
    assert settings["settings"] == wanted | {"layers": {n: sizes["layers"][n] for n in wanted["layers"]}}
    assert settings["probe"] == "activations"
    assert {key: settings[key] for key in ("task", "norm", "lr", "net", "batch_size")} == {
        "task": "vgg",
        "norm": "batch",
        "lr": 0.1,
        "net": sizes["net"],
        "batch_size": sizes["batch_size"],
    }


def test_a_probe_of_every_nth_snapshot_is_given_steps(config):
    of_study = written_out(config)
    for condition in ("vgg_batch", "deep_linear_none"):
        task = config["conditions"][condition]["task"]
        settings = study.probe_settings(of_study, condition, "theorems")["settings"]
        every = config["probes"]["theorems"][task]["every"]
        assert settings["every"] == every * config["scales"]["digits"][task]["snapshot_every"]
    # The study itself still counts snapshots.
    assert of_study["probes"]["theorems"] == config["probes"]["theorems"]


def test_quantities_get_their_defaults_and_claims_all_their_keys(config):
    of_study = written_out(config)
    for section in SECTIONS:
        settings = study.claims_settings(of_study, section)
        assert list(settings["tables"]) == list(of_study["tables"])
        used = {claim["quantity"] for claim in settings["claims"].values()}
        assert settings["quantities"] == {name: of_study["quantities"][name] for name in used}
        assert {quantity["floor"] for quantity in settings["quantities"].values()} == {1e-12}
        keys = {frozenset(claim) for claim in settings["claims"].values()}
        assert len(keys) == 1
        assert "for" not in next(iter(keys))


MEAN, MEDIAN = ["mean", "median"], ["median", "mean"]
STEPS = ["all", "until_converged", "first_half", "second_half"]


@pytest.mark.parametrize(
    ("name", "summary", "steps", "grid"),
    [
        ("training_accuracy", MEAN, STEPS, ["all"]),
        ("final_loss", [*MEAN, "geometric_mean"], STEPS, ["all"]),
        ("sigma", [*MEDIAN, "geometric_mean", "equal_loss"], STEPS, ["all"]),
        ("shift_cosine", [*MEAN, "equal_loss"], [STEPS[1], STEPS[0], *STEPS[2:]], ["all"]),
        ("loss_variation", [*MEAN, "geometric_mean", "equal_loss"], STEPS, ["all", "up_to_lr", "lr"]),
        ("random_beta", [*MEAN, "geometric_mean", "equal_loss"], STEPS, ["all", "up_to_lr", "lr"]),
        ("beta_in_evaluation", [*MEAN, "geometric_mean", "equal_loss"], STEPS, ["all"]),
    ],
)
def test_the_choices_of_a_quantity_begin_with_the_registered_ones(config, name, summary, steps, grid):
    found = study.choices(written_out(config)["quantities"][name])
    assert found == {"summary": summary, "steps": steps, "grid": grid}


def test_curves_are_given_the_headline_claims_and_what_these_use(config):
    settings = study.specifications_settings(written_out(config))
    assert list(settings["claims"]) == list(written_out(config)["headline"])
    assert 10 <= len(settings["claims"]) <= 16
    used = {claim["quantity"] for claim in settings["claims"].values()}
    assert set(settings["quantities"]) == set(settings["choices"]) == used
    assert settings["tables"][0] == "training"
    assert set(settings["tables"][1:]) == {
        quantity["table"] for quantity in settings["quantities"].values()
    } - {"training"}
    pairs = ("vgg_batch", "vgg_none", "deep_linear_batch", "deep_linear_none")
    assert settings["grids"] == {"along_gradient": list(pairs)}


def test_a_study_without_headline_claims_has_an_empty_table_of_them(tiny):
    settings = study.specifications_settings(tiny.study)
    assert settings["claims"] == settings["grids"] == {}
    assert settings["tables"] == ["training"]
    assert tiny.specification_runs(of()) == tiny.specification_patterns(of()) == []
    assert tiny.specification_statistics(of()) == in_results("statistics/training_per_seed.csv")
    assert tiny.figure_names == ["fig4", "fig5", "theorems", "claims"]


def test_curves_read_the_runs_whose_step_sizes_they_choose(config):
    job = jobs.Jobs(written_out(config))
    runs, patterns = job.specification_runs(of()), job.specification_patterns(of())
    assert patterns == in_results("probes/along_gradient/{condition}/seed{seed}.csv")
    pairs = ("vgg_batch", "vgg_none", "deep_linear_batch", "deep_linear_none")
    assert runs == [patterns[0].format(condition=c, seed=seed) for c in pairs for seed in (0, 1, 2)]
    assert "specification_bn_smooths_loss" in job.figure_names


# -- the files that jobs read ---------------------------------------------------------------------


@pytest.fixture
def tiny(changed):
    """The jobs of a study of four conditions, two of them without probes, at two seeds."""
    config = changed(("scales > digits > seeds", [0, 3]))
    names = ("vgg_none", "vgg_batch", "vgg_none_lr0.5", "deep_linear_none")
    config["conditions"] = {name: config["conditions"][name] for name in names}
    config["probes"] = {
        name: config["probes"][name] for name in ("along_gradient", "theorems", "activations")
    }
    config["rate_spread"] = {"vgg_none": ["vgg_none", "vgg_none_lr0.5"]}
    del config["tau"]
    quantities = ("training_accuracy", "loss_spread_over_rates")
    config["quantities"] = {name: config["quantities"][name] for name in quantities}
    config["figures"] = {
        "fig4": {"caption": "a", "tables": {"along_gradient": ["vgg_none", "vgg_batch"]}},
        "fig5": {"caption": "b", "tables": {"training": ["deep_linear_none"]}},
        "theorems": {"caption": "c", "tables": {"random_layers": [], "theorems": ["vgg_batch"]}},
    }
    claim = CLAIM | {"source": "Section 1", "quantity": "training_accuracy"}
    other = CLAIM | {"varies": "c", "quantity": "loss_spread_over_rates", "condition_b": 0.5}
    config |= {"claims": {"f": {"c": claim}}, "alternatives": {"a": other}}
    checks.check(config)
    return jobs.Jobs(written_out(config))


def of(**wildcards):
    return SimpleNamespace(scale="digits", **wildcards)


def in_results(*files):
    return [f"results/digits/{file}" for file in files]


def test_jobs_read_the_images_if_their_task_needs_them(tiny):
    assert tiny.task_data(of(condition="vgg_batch")) == "results/digits/data/images.npz"
    assert tiny.task_data(of(condition="deep_linear_none")) == []


def test_a_table_is_read_for_the_runs_that_need_it(tiny):
    assert tiny.tables(of(table="along_gradient")) == in_results(
        "probes/along_gradient/vgg_none/seed0.csv",
        "probes/along_gradient/vgg_none/seed3.csv",
        "probes/along_gradient/vgg_batch/seed0.csv",
        "probes/along_gradient/vgg_batch/seed3.csv",
    )
    assert tiny.tables(of(), table="theorems") == in_results(
        "probes/theorems/vgg_batch/seed0.csv", "probes/theorems/vgg_batch/seed3.csv"
    )
    assert tiny.tables(of(table="rate_spread")) == in_results(
        "probes/rate_spread/vgg_none/seed0.csv", "probes/rate_spread/vgg_none/seed3.csv"
    )
    assert tiny.tables(of(table="training")) == in_results(
        *(
            f"runs/{condition}/seed{seed}/training.csv"
            for condition in ("vgg_none", "vgg_batch", "vgg_none_lr0.5", "deep_linear_none")
            for seed in (0, 3)
        )
    )
    # Nothing names this probe.
    assert tiny.tables(of(table="activations")) == []


@pytest.mark.parametrize("table", ["training", "theorems", "rate_spread"])
def test_the_pattern_of_a_table_gives_its_files(tiny, table):
    runs = study.runs_settings(tiny.study, table)
    pattern = tiny.table_pattern(of(table=table))
    assert pattern == tiny.table_pattern(of(table="another"), table)
    paths = [pattern.format(condition=c, seed=s) for c in runs["conditions"] for s in runs["seeds"]]
    assert paths == tiny.tables(of(table=table))


def test_the_judges_read_the_numbers_of_all_tables(tiny):
    tables = ("training", "along_gradient", "theorems", "rate_spread")
    assert tiny.statistics(of()) == in_results(*(f"statistics/{table}_per_seed.csv" for table in tables))


def test_a_spread_over_rates_reads_the_curves_of_one_seed(tiny):
    assert tiny.spread_curves(of(spread="vgg_none", seed="3")) == in_results(
        "runs/vgg_none/seed3/training.csv", "runs/vgg_none_lr0.5/seed3/training.csv"
    )


def test_a_figure_reads_its_statistics_its_first_runs_and_all_curves(tiny):
    drawn = of(figure="fig4")
    assert tiny.figure_statistics(drawn) == in_results("statistics/along_gradient_over_seeds.csv")
    assert tiny.figure_runs(drawn) == in_results(
        "probes/along_gradient/vgg_none/seed0.csv", "probes/along_gradient/vgg_batch/seed0.csv"
    )
    assert tiny.figure_curves(drawn) == in_results(
        *(f"runs/{name}/seed{seed}/training.csv" for name in ("vgg_none", "vgg_batch") for seed in (0, 3))
    )
    drawn = of(figure="theorems")
    assert tiny.figure_statistics(drawn) == in_results(
        "theorems/random_layers.csv", "statistics/theorems_over_seeds.csv"
    )
    assert tiny.figure_runs(drawn) == in_results("probes/theorems/vgg_batch/seed0.csv")
    assert tiny.figure_runs(of(figure="fig5")) == in_results("runs/deep_linear_none/seed0/training.csv")


def test_the_report_shows_all_figures_and_the_activations_if_there_are_any(tiny, config):
    names = ("fig4", "fig5", "theorems", "claims")
    assert tiny.figures(of()) == in_results(*(f"figures/{name}.pdf" for name in names))
    assert tiny.measured(of(), "activations") == []
    found = jobs.Jobs(written_out(config)).measured(of(), "activations")
    assert found == in_results("statistics/activations_per_seed.csv")


def test_stored_results_are_those_of_other_scales(tmp_path, capsys):
    whole = [f"{scale}/{file}" for scale in ("digits", "paper") for file in ("claims.csv", "images.json")]
    # Copies that file managers and synchronisations leave, and a folder that was copied in part.
    copies = ["paper (1)/claims.csv", "paper (1)/images.json", "paper/fig4 (1).png", "part/claims.csv"]
    for name in (*whole, *copies, "paper/fig1.png", "paper/fig4.png", "old/note.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert jobs.stored_of_others(tmp_path, "claims.csv")(of()) == [str(tmp_path / "paper" / "claims.csv")]
    figures = [str(tmp_path / "paper" / name) for name in ("fig1.png", "fig4.png")]
    assert jobs.stored_of_others(tmp_path, "fig*.png")(of()) == figures
    assert jobs.stored_of_others(tmp_path / "none", "claims.csv")(of()) == []
    # Each is named once, with the reason.
    assert sorted(capsys.readouterr().err.splitlines()) == [
        f"{tmp_path / 'paper (1)'}: ignored, named as no stored results are",
        f"{tmp_path / 'paper' / 'fig4 (1).png'}: ignored, named as no stored results are",
        f"{tmp_path / 'part'}: ignored, images.json is missing",
    ]


@pytest.mark.parametrize(
    ("name", "label"),
    [("fig1", "Figure 01"), ("fig12", "Figure 12"), ("theorems", "theorems"), ("figure", "figure")],
)
def test_figures_are_labelled_in_the_order_of_their_numbers(name, label):
    assert jobs.figure_labels(of(figure=name)) == {"figure": label}


@pytest.mark.parametrize("scale", SCALES)
def test_the_code_of_a_job_is_that_of_its_stage_and_its_plugins(changed, scale):
    """Two jobs have one fingerprint if and only if they load the same plug-ins."""
    job = jobs.Jobs(written_out(changed(("scale", scale))))
    conditions, probes, tables = (job.study[key] for key in ("conditions", "probes", "tables"))
    trained = {name: job.train_code(of(condition=name)) for name in conditions}
    nets = {name: (entry["task"], entry["norm"]) for name, entry in conditions.items()}
    assert all((trained[a] == trained[b]) == (nets[a] == nets[b]) for a in nets for b in nets)
    some = next(iter(conditions))
    assert len({job.probe_code(of(condition=some, probe=name)) for name in probes}) == len(probes)
    assert len({job.probe_code(of(condition=name, probe="theorems")) for name in nets}) == len(
        set(nets.values())
    )
    assert len({job.statistics_code(of(table=name)) for name in tables}) == len(tables)
    assert len({job.figure_code(of(figure=name)) for name in job.study["figures"]}) == len(
        job.study["figures"]
    )


def test_the_code_that_prepares_images_includes_the_data_set(changed):
    sources = ("digits", "cifar10", "one/folder", "another/folder")
    found = [jobs.Jobs(written_out(changed(("images", source)))).data_code(None) for source in sources]
    assert found[2] == found[3]
    assert len(set(found)) == 3


# -- placeholders ---------------------------------------------------------------------------------


def test_a_claim_with_for_is_one_claim_per_value(config):
    claims = study.claims(schema.with_defaults(config), "claims")
    assert "bn_does_not_stabilise_{moment}" not in claims
    for moment in ("mean", "variance"):
        claim = claims[f"bn_does_not_stabilise_{moment}"]
        assert claim["quantity"] == f"{moment}_relative_change"
        assert claim["statement"].endswith(f"({moment}).")
        assert claim["layers"] == ["#3", "#11"]
    assert claims["bn_trains_faster"]["layers"] == []


def test_for_takes_all_combinations_in_order_and_fills_in_every_text():
    several = {
        "for": {"a": ["x", "y"], "b": ["1", "2"]},
        "label": "of_{a}_and_{b}",
        "layers": ["#{b}"],
        "quantity": "q",
        "source": "s",
        "statement": "{a}{a}, {b}",
        "margin": 2,
        "margin_from": "paper",
    }
    plain = {"for": {}, "label": "l", "quantity": "q", "source": "s", "statement": "as_it_is"}
    plain |= {"margin_from": "paper"}
    config = {
        "claims": {"one": {"{a}_{b}": several}, "two": {"plain": plain}},
        "quantities": {"q": {"compare": "difference"}},
    }
    claims = study.claims(config, "claims")
    assert list(claims) == ["x_1", "x_2", "y_1", "y_2", "plain"]
    rest = {"quantity": "q", "source": "s"}
    filled = {"layers": ["#1"], "statement": "yy, 1", "margin": 2, "margin_from": "paper", "family": "one"}
    assert claims["y_1"] == rest | filled | {"label": "of_y_and_1"}
    filled = {"label": "l", "statement": "as_it_is", "margin": 0, "margin_from": "", "family": "two"}
    assert claims["plain"] == rest | filled


# -- canonical text -------------------------------------------------------------------------------


def test_equal_settings_are_equal_texts():
    a = {"lr": 0.1, "net": {"hidden": [8], "convolutions": [4, "M"]}}
    b = {"net": {"convolutions": [4, "M"], "hidden": [8]}, "lr": 0.1}
    assert study.as_json(a, ordered=False) == study.as_json(b, ordered=False)
    assert json.loads(study.as_json(a, ordered=False)) == a


def test_order_is_kept_where_it_has_a_meaning():
    a, b = {"x": 1, "y": 2}, {"y": 2, "x": 1}
    assert study.as_json(a, ordered=True) != study.as_json(b, ordered=True)
    for ordered in (True, False):
        assert study.as_json([1, 2], ordered=ordered) != study.as_json([2, 1], ordered=ordered)


def test_numbers_and_letters_pass_through_the_text_exactly():
    settings = {"lr": 0.1, "tiny": 1e-300, "third": 1 / 3, "text": "ü θ 'quoted' \"twice\" $(x)", "n": 2**53}
    text = study.as_json(settings, ordered=False)
    assert json.loads(text) == settings
    assert "ü θ" in text
    assert "\n" not in text


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_what_json_cannot_say_is_never_passed_on(number):
    with pytest.raises(ValueError, match="JSON"):
        study.as_json({"lr": number}, ordered=False)


# -- folders of images ----------------------------------------------------------------------------


@pytest.fixture
def content_of(tmp_path, monkeypatch):
    """Function: a folder -> the fingerprint of its images, as another call of snakemake computes it."""
    (tmp_path / "working directory").mkdir()
    monkeypatch.chdir(tmp_path / "working directory")

    def content_of(folder):
        image_sources._fingerprint.cache_clear()
        return image_sources.content(str(folder))

    return content_of


def write_files(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode()[-5:])


def swap(one, other):
    between = one.with_name("between")
    for old, new in ((one, between), (other, one), (between, other)):
        old.rename(new)


def test_what_is_in_a_folder_of_images_is_noticed_wherever_it_is(tmp_path, content_of):
    one = tmp_path / "one"
    write_files(one, "train/cat/1.png", "train/cat/5.png", "train/dog/2.png")
    before = content_of(one)

    def copy_of(name):
        return Path(shutil.copytree(one, tmp_path / name))

    assert content_of(copy_of("moved elsewhere, ü")) == before
    cat = "train/cat/1.png"
    changes = {
        "more": lambda root: write_files(root, "train/cat/2.png"),
        "less": lambda root: (root / cat).unlink(),
        "renamed": lambda root: (root / cat).rename(root / "train" / "cat" / "3.png"),
        "moved": lambda root: (root / "train" / "cat").rename(root / "train" / "mouse"),
        "resized": lambda root: (root / cat).write_bytes(b"more pixels"),
        "changed": lambda root: (root / cat).write_bytes(b"2.png"),
        "swapped": lambda root: swap(root / cat, root / "train" / "dog" / "2.png"),
        "swapped within a class": lambda root: swap(root / cat, root / "train" / "cat" / "5.png"),
        "said": lambda root: (root / "SOURCE.txt").write_text("Drawn by hand."),
        "linked": lambda root: (root / "test").symlink_to(one / "train"),
        "too deep": lambda root: write_files(root, "train/cat/more/1.png"),
        "not deep enough": lambda root: write_files(root, "train/1.png"),
        "of another kind": lambda root: write_files(root, "train/cat/9.heic"),
        "a broken link": lambda root: (root / "train" / "cat" / "lost.png").symlink_to("nowhere"),
    }
    found = set()
    for name, change in changes.items():
        folder = copy_of(name)
        change(folder)
        found.add(content_of(folder))
    assert before not in found
    assert len(found) == len(changes)


@pytest.mark.parametrize("change", ["swapped", "rewritten"])
def test_other_content_of_equal_size_and_time_is_noticed(tmp_path, content_of, change):
    """Files of an archive often share one time. A remembered checksum must not hide the change."""
    write_files(tmp_path, "train/cat/1.png", "train/dog/2.png")
    one, other = (tmp_path / "train" / name for name in ("cat/1.png", "dog/2.png"))
    long_ago = 10**18
    for file in (one, other):
        os.utime(file, ns=(long_ago, long_ago))
    time.sleep(image_sources.STEP_OF_TIME + 0.1)
    before = content_of(tmp_path)
    assert image_sources.CHECKSUMS.exists()
    if change == "swapped":
        swap(one, other)
    else:
        one.write_bytes(b"2.png")
        os.utime(one, ns=(long_ago, long_ago))
    assert content_of(tmp_path) != before


def test_a_folder_is_read_once_and_again_only_after_a_change(tmp_path, content_of, monkeypatch):
    write_files(tmp_path, "train/cat/1.png", "test/cat/2.png")
    time.sleep(image_sources.STEP_OF_TIME + 0.1)
    read, of_file = [], image_sources._read
    monkeypatch.setattr(image_sources, "_read", lambda file: read.append(file) or of_file(file))
    before = content_of(tmp_path)
    assert len(read) == 3  # two images and SOURCE.txt, which does not exist
    assert content_of(tmp_path) == before
    assert len(read) == 3
    # Other times alone, as those of a copy, change nothing but that the files are read.
    os.utime(tmp_path / "train" / "cat" / "1.png")
    assert content_of(tmp_path) == before
    assert len(read) == 6


@pytest.mark.parametrize("text", ["", "[]", '{"one": ', "\0"])
def test_a_damaged_list_of_checksums_is_not_used(tmp_path, content_of, text):
    write_files(tmp_path, "train/cat/1.png")
    before = content_of(tmp_path)
    image_sources.CHECKSUMS.parent.mkdir(exist_ok=True)
    image_sources.CHECKSUMS.write_text(text)
    assert content_of(tmp_path) == before


def test_where_checksums_cannot_be_kept_images_are_read_each_time(tmp_path, content_of):
    write_files(tmp_path, "train/cat/1.png")
    time.sleep(image_sources.STEP_OF_TIME + 0.1)
    image_sources.CHECKSUMS.parent.write_text("a file, not a folder")
    assert content_of(tmp_path) == content_of(tmp_path)


def test_planning_ends_whatever_is_in_a_folder_of_images(tmp_path, content_of):
    """Loops of links, pipes that nobody writes to, and names in any encoding."""
    write_files(tmp_path, "train/cat/1.png", "train/dog/1.png")
    before = content_of(tmp_path)
    for name in ("cat", "dog"):
        (tmp_path / "train" / name / "all").symlink_to(tmp_path)
        (tmp_path / "train" / name / "self").symlink_to("self")
    os.mkfifo(tmp_path / "train" / "cat" / "pipe.png")
    (tmp_path / "train" / "cat" / "socket.png").symlink_to("/dev/zero")
    (Path(os.fsdecode(os.fsencode(tmp_path / "train" / "dog") + b"/\xff.png"))).write_bytes(b"1")
    assert content_of(tmp_path) not in {before, content_of(tmp_path / "nowhere")}


def test_what_is_not_read_of_a_folder_of_images_does_not_matter(tmp_path, content_of):
    write_files(tmp_path / "one", "train/cat/1.png")
    other = Path(shutil.copytree(tmp_path / "one", tmp_path / "other"))
    ignored = [".DS_Store", "train/.DS_Store", "train/cat/Thumbs.db", "train/cat/notes.txt", "more.png"]
    ignored += ["train/cat/._1.png", "train/@eaDir/1.png", "train/cat/@eaDir/1.png", "train/.cat/1.png"]
    write_files(other, *ignored)
    assert content_of(other) == content_of(tmp_path / "one")


def test_the_same_folder_has_the_same_settings_however_its_path_is_written(changed, tmp_path, monkeypatch):
    folder = tmp_path / "place" / "pics"
    write_files(folder, "train/cat/1.png", "test/cat/1.png")
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "place too").symlink_to(tmp_path / "place")
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("HOME", str(tmp_path))
    ways = [str(folder), f"{folder}/", f"{folder}//.", "pics", "./pics/", "pics/train/..", "~/place/pics"]
    ways += ["../link", str(tmp_path / "place too" / "pics")]
    found = [settings_of_all_jobs(changed(("images", way))) for way in ways]
    found += [settings_of_all_jobs(changed(("scales > digits > images", way))) for way in ways]
    assert all(settings == found[0] for settings in found)
    assert len({image_sources.content(way) for way in ways}) == 1
    assert all(os.path.samefile(image_sources.path(way), folder) for way in ways)
    monkeypatch.chdir(folder)
    assert image_sources.name(".") == "the folder pics"
    # No settings name the place of the folder: it may be moved.
    assert str(tmp_path) not in str(found)


def test_a_folder_named_like_a_data_set_is_said_by_its_path(tmp_path, monkeypatch):
    write_files(tmp_path, "digits/train/cat/1.png")
    monkeypatch.chdir(tmp_path)
    assert image_sources.name("digits") == "digits"
    assert image_sources.path("digits") == ""
    assert image_sources.name("./digits") == "the folder digits"


def test_images_that_come_with_a_name_have_that_name_as_their_content():
    for name in ("digits", "cifar10"):
        assert image_sources.content(name) == name


# -- files and names ------------------------------------------------------------------------------


def test_every_task_norm_probe_quantity_and_figure_has_its_use(config, small_config):
    """The configuration names every file, except a probe that only people ask for."""
    waiting = set(small_config["probes"]) - set(config["probes"])
    conditions = config["conditions"].values()
    tables = written_out(config | {"parts": "all"})["tables"]
    used = {
        "datasets": {scale["images"] for scale in config["scales"].values()},
        "tasks": {condition["task"] for condition in conditions},
        "norms": {condition["norm"] for condition in conditions},
        "probes": set(config["probes"]) & set(tables),
        # The first has a row per layer and step already; the other is made of summarised tables.
        "quantities": set(tables) - {"propagation", "tau"},
        "figures": {*config["figures"], "claims", "specification"},
    }
    for kind, names in used.items():
        not_yet = waiting if kind in ("probes", "quantities") else set()
        assert set(plugins.names(kind)) - not_yet == names


# -- scales for one task --------------------------------------------------------------------------


def without_parts(entries):
    return {name: {k: v for k, v in entry.items() if k != "part"} for name, entry in entries.items()}


@pytest.mark.parametrize("scale", ["digits", "cifar10-small", "paper"])
def test_a_scale_with_sizes_for_every_task_leaves_nothing_out(changed, scale):
    config = schema.with_defaults(changed(("scale", scale), ("parts", "all")))
    left = written_out(config)
    for section in ("probes", "rate_spread", "random_layers", "quantities"):
        assert left[section] == config[section]
    for section in ("conditions", "figures"):
        assert left[section] == without_parts(config[section])
    for section in SECTIONS:
        expected = study.claims(config, section)
        expected = {name: without_headline(claim) for name, claim in expected.items()}
        assert left[section] == without_parts(expected)


def without_headline(claim):
    return {key: value for key, value in claim.items() if key != "headline"}


@pytest.mark.parametrize(("task", "other"), [("vgg", "deep_linear"), ("deep_linear", "vgg")])
def test_a_scale_for_one_task_leaves_out_what_needs_the_other_and_nothing_else(changed, task, other):
    whole = changed((f"scales > digits > {other}", ...), ("parts", "all"))
    left = written_out(whole)
    assert f'"{other}"' not in study.as_json(left, ordered=True)
    assert list(left["conditions"]) == [n for n, c in whole["conditions"].items() if c["task"] == task]

    def named(side):
        return set(whole["tau"]["conditions"]) if side == "all_norms" else {side} & set(whole["conditions"])

    # By the conditions that a claim names.
    for section in ("claims", "alternatives"):
        stays = {
            name: without_headline(claim)
            for name, claim in study.claims(schema.with_defaults(whole), section).items()
            if named(claim["condition_a"]) | named(claim["condition_b"]) <= set(left["conditions"])
        }
        assert left[section] == without_parts(stays)
    assert left["claims"]
    for name, figure in whole["figures"].items():
        shown = [c for names in figure["tables"].values() for c in names if c in left["conditions"]]
        assert (name in left["figures"]) == bool(shown), name
        if shown:
            assert study.figure_settings(left, name)["conditions"].keys() == set(shown)
    assert left["tables"][study.TRAINING] == list(left["conditions"])
    of_both = written_out(changed(("parts", "all")))["tables"]
    needed = {table: set(names) & set(left["conditions"]) for table, names in of_both.items()}
    needed["tau"] = {"all_norms"} if task == "vgg" else set()
    assert {table: set(names) for table, names in left["tables"].items()} == {
        table: names for table, names in needed.items() if names
    }


def test_braces_in_the_texts_of_a_claim_stay_braces_also_at_a_scale_for_one_task(changed):
    claim = "claims > fig1 > bn_trains_faster >"
    texts = (f"{claim} statement", "It is {{so}}."), (f"{claim} paper_value", "{{{{1}}}}")
    for config in (changed(*texts), changed(("scales > digits > deep_linear", ...), *texts)):
        checks.check(config)
        found = written_out(config)["claims"]["bn_trains_faster"]
        assert (found["statement"], found["paper_value"]) == ("It is {so}.", "{{1}}")
