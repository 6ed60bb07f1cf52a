"""The configuration: it is in order, and each job gets its own slice of it."""

import copy
import json
import math
import shutil
from pathlib import Path

import pytest
import yaml

from bnopt import plugins
from bnopt.runtime import StudyError
from bnopt.study import checks, study

SECTIONS = ("claims", "alternatives")


def refusal(config):
    with pytest.raises(StudyError) as caught:
        checks.check(config)
    return str(caught.value)


# -- the configuration itself ---------------------------------------------------------------------


def test_the_study_is_in_order(config):
    checks.check(config)


def test_the_study_is_in_order_at_every_scale(changed, config):
    for scale in config["scales"]:
        checks.check(changed(("scale", scale)))


def test_checking_leaves_the_configuration_as_it_was(config):
    before = copy.deepcopy(config)
    checks.check(config)
    settings_of_all_jobs(config)
    assert config == before


def properties(schema, place=""):
    """Yield place, schema of every property a schema describes, and place, schema of every open map."""
    if isinstance(schema, dict):
        for name, entry in schema.get("properties", {}).items():
            yield f"{place}.{name}", entry
        for key, value in schema.items():
            if key == "properties":
                for name, entry in value.items():
                    yield from properties(entry, f"{place}.{name}")
            else:
                yield from properties(value, place if key in ("items", "$defs") else f"{place}.{key}")
    elif isinstance(schema, list):
        for entry in schema:
            yield from properties(entry, place)


@pytest.fixture(scope="module")
def schema():
    return yaml.safe_load(checks.SCHEMA.read_text(encoding="utf-8"))


def test_every_key_of_the_schema_is_described(schema):
    found = dict(properties(schema))
    assert {".scale", ".scales", ".images", ".claims"} <= set(found)
    assert len(found) > 40

    def described(entry):
        if "$ref" in entry:
            entry = schema["$defs"][entry["$ref"].removeprefix("#/$defs/")]
        return len(entry.get("description", "")) > 3

    assert [place for place, entry in found.items() if not described(entry)] == []


def test_every_object_of_the_schema_is_closed_or_a_map_of_names(schema):
    """An object that lists its keys takes no other; the settings of a probe are checked against its code."""

    def open_objects(entry, place=""):
        if isinstance(entry, dict):
            lists_keys = "properties" in entry and entry.get("type") == "object"
            if lists_keys and entry.get("additionalProperties") is not False:
                yield place
            for key, value in entry.items():
                yield from open_objects(value, f"{place}.{key}")

    assert list(open_objects(schema)) == [
        ".properties.probes.additionalProperties.additionalProperties",
        # Of its names one is special.
        ".properties.figures.additionalProperties.properties.tables",
    ]


# -- what is allowed ------------------------------------------------------------------------------


def test_numbers_may_be_written_whole(changed):
    checks.check(changed(("conditions > vgg_none > lr", 1), ("claims > bn_trains_faster > margin", 0)))


def test_only_the_images_of_the_scale_that_runs_have_to_exist(changed):
    checks.check(changed(("scales > paper > images", "no/such/folder")))
    refusal(changed(("scales > paper > images", "no/such/folder"), ("scale", "paper")))


def test_images_on_the_command_line_replace_those_of_the_scale(changed, tmp_path):
    config = changed(("scales > digits > images", "no/such/folder"), ("images", str(tmp_path)))
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
    checks.check(config)
    assert study.images_settings(config, "digits")["images"] == str(tmp_path)


def test_seeds_on_the_command_line_replace_those_of_the_scale_in_every_job(changed):
    config = changed(("seeds", [5, 7]))
    checks.check(config)
    assert study.runs_settings(config, "paper", "training")["seeds"] == [5, 7]
    assert study.figure_settings(config, "digits", "fig1")["seeds"] == [5, 7]
    assert study.report_settings(config, "digits")["seeds"] == [5, 7]


def test_where_jobs_compute_is_in_no_jobs_settings(changed):
    plain, wished = changed(), changed(("device", "cuda"))
    checks.check(wished)
    for scale, condition in (("digits", "vgg_batch"), ("paper", "deep_linear_none")):
        assert study.train_settings(plain, scale, condition) == study.train_settings(wished, scale, condition)
        settings = [study.probe_settings(c, scale, condition, "theorems") for c in (plain, wished)]
        assert settings[0] == settings[1]


def test_a_path_that_starts_with_a_tilde_is_in_the_home_folder(changed, tmp_path, monkeypatch):
    for part in ("train", "test"):
        (tmp_path / "my images" / part).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    config = changed(("images", "~/my images"))
    checks.check(config)
    assert study.images_settings(config, "digits")["images"] == str(tmp_path / "my images")


def test_images_of_a_folder_are_to_be_large_enough_for_the_net_and_enough_for_a_batch(changed, tmp_path):
    folder = ("scales > paper > images", str(tmp_path))
    needed = {"images": str(tmp_path), "least_side": 16, "least_number": 128}
    assert study.images_settings(changed(folder), "paper") == needed
    assert study.images_settings(changed(folder, ("scales > paper > vgg", ...)), "paper") == {
        "images": str(tmp_path)
    }
    assert study.images_settings(changed(), "paper") == {"images": "cifar10"}


# -- the settings of the jobs ---------------------------------------------------------------------


def settings_of_all_jobs(config, scale="digits"):
    """Return job -> its settings, as the rules pass them on."""
    jobs = {("prepare",): study.as_json(study.images_settings(config, scale), ordered=False)}
    for condition in config["conditions"]:
        jobs["train", condition] = study.as_json(
            study.train_settings(config, scale, condition), ordered=False
        )
    for table, conditions in study.tables(config).items():
        for condition in conditions if table in config["probes"] else []:
            jobs["probe", table, condition] = study.as_json(
                study.probe_settings(config, scale, condition, table), ordered=False
            )
    for figure in config["figures"]:
        jobs["draw", figure] = study.as_json(study.figure_settings(config, scale, figure), ordered=True)
    for section in SECTIONS:
        jobs["judge", section] = study.as_json(study.claims_settings(config, section), ordered=True)
    return jobs


def difference(before, after):
    """Return the jobs whose settings changed, that came or that went."""
    before, after = settings_of_all_jobs(before), settings_of_all_jobs(after)
    return {job for job in before.keys() | after.keys() if before.get(job) != after.get(job)}


def test_a_claims_margin_is_seen_by_the_judge_of_its_section_alone(config, changed):
    for path, value in [
        ("claims > bn_trains_faster > margin", 0.01),
        ("claims > bn_trains_faster > statement", "Something else."),
        ("claims > bn_trains_faster > family", "other"),
    ]:
        assert difference(config, changed((path, value))) == {("judge", "claims")}
    alternative = next(iter(config["alternatives"]))
    new = changed((f"alternatives > {alternative} > family", "other"))
    assert difference(config, new) == {("judge", "alternatives")}


def test_how_a_quantity_becomes_a_number_is_seen_by_the_judges_alone(config, changed):
    for path, value in [
        ("quantities > test_accuracy > summary", "final"),
        ("quantities > mean_relative_change > sensitivity", ["median"]),
    ]:
        found = difference(config, changed((path, value)))
        assert ("judge", "claims") in found
        assert found <= {("judge", section) for section in SECTIONS}


def test_a_conditions_learning_rate_is_seen_by_its_own_jobs_and_the_figures_that_show_it(config, changed):
    found = difference(config, changed(("conditions > vgg_noisy_batch > lr", 0.2)))
    tables = {table for table, names in study.tables(config).items() if "vgg_noisy_batch" in names}
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


def test_a_seed_is_seen_by_no_job_of_another_seed_but_by_the_figures_of_all(config, changed):
    seen = difference(config, changed(("scales > digits > seeds", [0, 1, 2, 3, 4, 5, 6])))
    assert seen == {("draw", figure) for figure in config["figures"]}


def test_a_new_condition_that_nothing_names_is_trained_and_changes_nothing_else(config, changed):
    new = changed(("conditions > vgg_new", {"task": "vgg", "norm": "batch", "lr": 0.3}))
    assert difference(config, new) == {("train", "vgg_new")}


def test_another_scales_sizes_are_seen_by_none_of_this_scales_jobs(config, changed):
    new = changed(("scales > paper > vgg > steps", 7), ("scales > paper > vgg > layers > #2", 4))
    assert difference(config, new) == set()


def test_a_caption_is_seen_by_no_job_but_the_report(config, changed):
    new = changed(("figures > fig1 > caption", "Another."))
    assert difference(config, new) == set()
    assert study.report_settings(new, "digits") != study.report_settings(config, "digits")


def test_the_report_is_told_the_sizes_of_the_scale_it_is_about(config):
    for scale, sizes in config["scales"].items():
        told = study.report_settings(config, scale)
        assert told["tasks"] == {task: sizes[task] for task in ("vgg", "deep_linear") if task in sizes}
        assert (told["scale"], told["images"], told["seeds"]) == (scale, sizes["images"], sizes["seeds"])
        assert list(told["captions"]) == list(config["figures"])


def test_a_probes_settings_are_seen_by_its_own_jobs(config, changed):
    found = difference(config, changed(("probes > activations > vgg > bins", 41)))
    conditions = study.tables(config)["activations"]
    assert found == {
        ("probe", "activations", name) for name in conditions if config["conditions"][name]["task"] == "vgg"
    }


def test_the_number_of_steps_is_seen_by_training_alone(config, changed):
    of_task = [name for name, entry in config["conditions"].items() if entry["task"] == "vgg"]
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
    looking = {p for p, tasks in config["probes"].items() if name in tasks["vgg"].get("layers", [])}
    shown = {f for f, entry in config["figures"].items() if name in entry.get("layers", {}).get("vgg", [])}
    assert {job[1] for job in found if job[0] == "probe"} == looking
    assert {job[1] for job in found if job[0] == "draw"} == shown
    assert {job[0] for job in found} == {"probe", "draw"}


def test_only_runs_that_some_table_needs_keep_snapshots(config):
    tables = study.tables(config)
    probed = {name for table, names in tables.items() if table in config["probes"] for name in names}
    kept = {
        name
        for name in config["conditions"]
        if study.train_settings(config, "digits", name)["snapshot_every"] > 0
    }
    assert kept == probed
    # Both kinds exist, so the comparison says something.
    assert "vgg_batch" in kept
    assert "vgg_noise" not in kept


def test_a_claim_alone_is_reason_enough_to_keep_snapshots(config, changed):
    new = changed(("claims > bn_smooths_loss > condition_a", "vgg_noise"))
    assert study.train_settings(config, "digits", "vgg_noise")["snapshot_every"] == 0
    assert study.train_settings(new, "digits", "vgg_noise")["snapshot_every"] > 0
    assert "vgg_noise" in study.tables(new)["along_gradient"]


def test_every_condition_is_trained_and_every_table_is_in_the_order_of_the_conditions(config):
    tables = study.tables(config)
    order = list(config["conditions"])
    assert tables["training"] == order
    for names in tables.values():
        assert names == [name for name in order if name in names]
    assert "chance" not in {name for names in tables.values() for name in names}


def test_training_is_given_the_arguments_it_takes(config):
    settings = study.train_settings(config, "digits", "vgg_batch")
    sizes = config["scales"]["digits"]["vgg"]
    assert settings == {
        "task": "vgg",
        "norm": "batch",
        "lr": 0.1,
        "tf32": False,
        **{key: sizes[key] for key in ("net", "steps", "batch_size", "test_every", "snapshot_every")},
    }


def test_a_probe_is_given_the_layers_of_the_net(config):
    settings = study.probe_settings(config, "digits", "vgg_batch", "activations")
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


def test_quantities_get_their_defaults_and_claims_all_their_keys(config):
    settings = study.claims_settings(config, "claims")
    assert list(settings["tables"]) == list(study.tables(config))
    assert settings["quantities"]["test_accuracy"]["floor"] == 0
    assert settings["quantities"]["test_accuracy"]["sensitivity"] == []
    assert settings["quantities"]["mean_relative_change"]["floor"] == 1e-12
    keys = {frozenset(claim) for claim in settings["claims"].values()}
    assert len(keys) == 1
    assert "for" not in next(iter(keys))


# -- placeholders ---------------------------------------------------------------------------------


def test_a_claim_with_for_is_one_claim_per_value(config):
    claims = study.claims(config, "claims")
    assert "bn_does_not_stabilise_{moment}" not in claims
    for moment in ("mean", "variance"):
        claim = claims[f"bn_does_not_stabilise_{moment}"]
        assert claim["quantity"] == f"{moment}_relative_change"
        assert claim["statement"].endswith(f"({moment}).")
        assert claim["layers"] == ["#3", "#11"]
    assert claims["bn_trains_faster"]["layers"] == []


def test_for_takes_all_combinations_in_order_and_fills_in_every_text():
    config = {
        "claims": {
            "{a}_{b}": {
                "for": {"a": ["x", "y"], "b": ["1", "2"]},
                "layers": ["#{b}"],
                "statement": "{a}{a}, {b}",
                "margin": 2,
            },
            "plain": {"statement": "as it is", "margin": 0},
        }
    }
    claims = study.claims(config, "claims")
    assert list(claims) == ["x_1", "x_2", "y_1", "y_2", "plain"]
    assert claims["y_1"] == {"layers": ["#1"], "statement": "yy, 1", "margin": 2, "paper_value": ""}
    assert claims["plain"] == {"layers": [], "statement": "as it is", "margin": 0, "paper_value": ""}


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


def content_of(folder):
    return study.images_content({"scales": {"s": {"images": str(folder)}}}, "s")


def test_what_is_in_a_folder_of_images_is_noticed_wherever_it_is(tmp_path):
    one = tmp_path / "one"
    (one / "train" / "cat").mkdir(parents=True)
    (one / "train" / "cat" / "1.png").write_bytes(b"pixels")
    before = content_of(one)

    def copy_of(name):
        return Path(shutil.copytree(one, tmp_path / name))

    assert content_of(copy_of("moved elsewhere, ü")) == before
    changes = {
        "more": lambda root: (root / "train" / "cat" / "2.png").write_bytes(b"pixels"),
        "less": lambda root: (root / "train" / "cat" / "1.png").unlink(),
        "renamed": lambda root: (root / "train" / "cat" / "1.png").rename(root / "train" / "cat" / "3.png"),
        "moved": lambda root: (root / "train" / "cat").rename(root / "train" / "dog"),
        "resized": lambda root: (root / "train" / "cat" / "1.png").write_bytes(b"more pixels"),
        "said": lambda root: (root / "SOURCE.txt").write_text("Drawn by hand."),
        "linked": lambda root: (root / "test").symlink_to(one / "train"),
    }
    found = set()
    for name, change in changes.items():
        folder = copy_of(name)
        change(folder)
        found.add(content_of(folder))
    assert before not in found
    assert len(found) == len(changes)


def test_what_is_not_read_of_a_folder_of_images_does_not_matter(tmp_path):
    (tmp_path / "one" / "train" / "cat").mkdir(parents=True)
    (tmp_path / "one" / "train" / "cat" / "1.png").write_bytes(b"pixels")
    other = Path(shutil.copytree(tmp_path / "one", tmp_path / "other"))
    for name in (".DS_Store", "train/.DS_Store", "train/cat/Thumbs.db", "train/cat/notes.txt", "more.png"):
        (other / name).write_bytes(b"of no interest")
    (other / "train" / "cat" / "lost.png").symlink_to("nowhere")
    assert content_of(other) == content_of(tmp_path / "one")


def test_images_that_come_with_a_name_have_that_name_as_their_content():
    for name in ("digits", "cifar10"):
        assert study.images_content({"scales": {"s": {"images": name}}}, "s") == name


# -- files and names ------------------------------------------------------------------------------


def test_every_task_norm_probe_quantity_and_figure_has_its_use(config):
    """Each file of an open folder is named by the configuration: nothing lies around unused."""
    conditions = config["conditions"].values()
    used = {
        "tasks": {condition["task"] for condition in conditions},
        "norms": {condition["norm"] for condition in conditions},
        "probes": set(config["probes"]) & set(study.tables(config)),
        "quantities": set(study.tables(config)),
        "figures": {*config["figures"], "claims"},
    }
    for kind, names in used.items():
        assert set(plugins.names(kind)) == names


# -- scales for one task --------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["digits", "cifar10-small", "paper"])
def test_a_scale_with_sizes_for_every_task_leaves_nothing_out(config, scale):
    assert study.restricted(config, scale) is config


@pytest.mark.parametrize(("task", "other"), [("vgg", "deep_linear"), ("deep_linear", "vgg")])
def test_a_scale_for_one_task_leaves_out_what_needs_the_other_and_nothing_else(changed, task, other):
    whole = changed((f"scales > digits > {other}", ...))
    left = study.restricted(whole, "digits")
    assert f'"{other}"' not in study.as_json({k: v for k, v in left.items() if k != "scales"}, ordered=True)
    assert set(left) == set(whole)
    assert list(left["conditions"]) == [n for n, c in whole["conditions"].items() if c["task"] == task]
    # As each section says it of itself: by the names of its conditions.
    for section in ("claims", "alternatives"):
        stays = {
            name: claim
            for name, claim in study.claims(whole, section).items()
            if {claim["condition_a"], claim["condition_b"]} & set(whole["conditions"])
            <= set(left["conditions"])
        }
        assert study.claims(left, section) == stays
    assert left["claims"]
    for name, figure in whole["figures"].items():
        shown = [c for names in figure["tables"].values() for c in names if c in left["conditions"]]
        assert (name in left["figures"]) == bool(shown), name
        if shown:
            assert study.figure_settings(left, "digits", name)["conditions"].keys() == set(shown)
    assert study.tables(left)[study.TRAINING] == list(left["conditions"])
    kept = {table: set(names) & set(left["conditions"]) for table, names in study.tables(whole).items()}
    assert {table: set(names) for table, names in study.tables(left).items()} == {
        table: names for table, names in kept.items() if names
    }


def test_braces_in_what_a_claim_says_stay_braces_at_a_scale_for_one_task(changed):
    claim = "claims > bn_trains_faster >"
    whole = changed(
        ("scales > digits > deep_linear", ...),
        (f"{claim} statement", "It is {{so}}."),
        (f"{claim} paper_value", "{{{{1}}}}"),
    )
    checks.check(whole)
    for config in (whole, study.restricted(whole, "digits")):
        found = study.claims(config, "claims")["bn_trains_faster"]
        assert (found["statement"], found["paper_value"]) == ("It is {so}.", "{{1}}")
