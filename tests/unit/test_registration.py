"""The registration: what decides a verdict changes the hash of its part; the page holds today's hashes."""

import hashlib
import json

import pytest

from bnopt import claims
from bnopt.files import artefacts, fingerprints
from bnopt.study import jobs, registration, schema, study

ITEMS = ["claims", "quantities", "conditions", "sizes", "probes", "images", "seeds", "stopping rule", "code"]
PARTS = ["paper", "mechanism", "norms"]
CHOICES = [["paper"], ["paper", "mechanism"], ["norms", "paper"], "all"]


@pytest.fixture
def hashes(changed):
    """Function: changes of the configuration (path, value) -> part -> item -> hash at the scale `paper`."""
    chosen = [("scale", "paper"), ("parts", "all")]
    return lambda *changes: registration.hashes(study.written_out(changed(*chosen, *changes)))


def differing(before, after):
    """Return part -> the items that differ, of the parts in which any does."""
    found = {part: [item for item in ITEMS if before[part][item] != after[part][item]] for part in PARTS}
    found = {part: items for part, items in found.items() if items}
    assert list(found) == [part for part in PARTS if before[part]["all"] != after[part]["all"]]
    return found


def of_all(*items):
    return {part: list(items) for part in PARTS}


# What changes -> path, value, and the items that change of each part.
DECIDING = {
    "a margin": ("claims > fig1 > bn_trains_faster > margin", 0.01, {"paper": ["claims"]}),
    "a direction": ("claims > fig1 > bn_trains_faster > expected", "less", {"paper": ["claims"]}),
    "a condition": ("claims > fig1 > bn_trains_faster > condition_b", "vgg_l1", {"paper": ["claims"]}),
    "a quantity": ("claims > fig1 > bn_trains_faster > quantity", "final_accuracy", {"paper": ["claims"]}),
    "layers": ("claims > fig1 > bn_does_not_stabilise_{moment} > layers", ["#3"], {"paper": ["claims"]}),
    "a claim less": ("claims > fig1 > bn_trains_faster", ..., {"paper": ["claims"]}),
    "a margin of mechanism": (
        "claims > edge_vgg > vgg_{norm}_at_edge > margin",
        0.3,
        {"mechanism": ["claims"]},
    ),
    "a direction of mechanism": (
        "claims > edge_vgg > bn_ends_flatter > expected",
        "greater",
        {"mechanism": ["claims"]},
    ),
    "a quantity of mechanism": (
        "claims > edge_vgg > bn_ends_flatter > quantity",
        "sharpness_at_start",
        {"mechanism": ["claims"]},
    ),
    "a claim of mechanism less": (
        "claims > propagation > bn_keeps_rank",
        ...,
        {"mechanism": ["claims", "quantities"]},
    ),
    "a boundary of norms": (
        "claims > norms > smoother_trains_better_{what}{at} > condition_b",
        -0.4,
        {"norms": ["claims"]},
    ),
    "a margin of norms": (
        "claims > norms_trained > smoother_trains_better_{what}{at}_trained > margin",
        0.1,
        {"norms": ["claims"]},
    ),
    "a summary": ("quantities > final_accuracy > summary", "last", {"paper": ["quantities"]}),
    "a floor": ("quantities > effective_beta > floor", 0.001, {"paper": ["quantities"]}),
    "a summary of mechanism": (
        "quantities > late_curvature > steps",
        [0.4, 1],
        {"mechanism": ["quantities"]},
    ),
    "a summary of norms": ("quantities > tau_beta > summary", "mean", {"norms": ["quantities"]}),
    "a learning rate": ("conditions > vgg_batch > lr", 0.2, of_all("conditions")),
    "a rate of paper": ("conditions > vgg_noise > lr", 0.2, {"paper": ["conditions"]}),
    "a rate of mechanism": ("conditions > vgg_none_x2 > lr", 0.2, {"mechanism": ["conditions"]}),
    "a rate of norms": ("conditions > vgg_layer > lr", 0.2, {"norms": ["conditions"]}),
    "steps": ("scales > paper > vgg > steps", 16000, of_all("sizes")),
    "depth": (
        "scales > paper > deep_linear > net > depth",
        24,
        {"paper": ["sizes"], "mechanism": ["sizes"]},
    ),
    "step sizes": ("probes > along_gradient > vgg > step_sizes", [0.5, 1, 4], of_all("probes")),
    "layers of the shift": ("probes > covariate_shift > vgg > layers", ["#5", "#10"], {"paper": ["probes"]}),
    "how often the law is measured": (
        "probes > shift_is_curvature > deep_linear > every",
        5,
        {"mechanism": ["probes"]},
    ),
    "how often curvature is measured": (
        "probes > curvature > vgg > every",
        5,
        {"mechanism": ["probes"], "norms": ["probes"]},
    ),
    "norms that are ranked": (
        "tau > conditions",
        ["vgg_none", "vgg_batch", "vgg_layer"],
        {"norms": ["conditions", "probes"]},
    ),
    "the reference of ranks": ("tau > reference", "vgg_none", {"norms": ["probes"]}),
    "a ranked measure less": ("tau > measures", {"along_gradient": ["beta"]}, {"norms": ["probes", "code"]}),
    "images": ("scales > paper > images", "digits", of_all("images")),
    "seeds": ("scales > paper > seeds", [0, 1, 2], of_all("seeds")),
    "the order of seeds": ("scales > paper > seeds", [1, 0, 2, 3, 4, 5, 6, 7], of_all("seeds")),
}
PROSE = {
    "a label": ("claims > fig1 > bn_trains_faster > label", "Another"),
    "a source": ("claims > fig1 > bn_trains_faster > source", "Figure 99"),
    "a statement": ("claims > edge_vgg > bn_ends_flatter > statement", "Another."),
    "the paper's value": ("claims > fig1 > bn_trains_faster > paper_value", "another"),
    "where a margin comes from": ("claims > edge_vgg > vgg_{norm}_at_edge > margin_from", "convention"),
    "a caption": ("figures > fig4 > caption", "Another."),
    "a figure": ("figures > norms", ...),
    "an alternative": ("alternatives > noise_variance_beats_plain", ...),
    "another spread over rates": ("rate_spread > vgg_batch", ["vgg_batch", "vgg_batch_lr0.5"]),
    "where snapshots stay": ("scales > paper > keep_snapshots", True),
    "sizes of another scale": ("scales > digits > vgg > steps", 7),
    "a condition that no claim names": ("conditions > vgg_new", {"task": "vgg", "norm": "none", "lr": 0.3}),
    "one of another part": (
        "conditions > vgg_new",
        {"task": "vgg", "norm": "none", "lr": 0.3, "part": "norms"},
    ),
    "a norm that is not ranked": ("conditions > vgg_weight_norm > lr", 0.3),
}


@pytest.mark.parametrize("what", DECIDING)
def test_what_decides_a_verdict_changes_its_items_and_the_hash_of_its_part_alone(hashes, what):
    path, value, items = DECIDING[what]
    assert differing(hashes(), hashes((path, value))) == items


@pytest.mark.parametrize("what", PROSE)
def test_prose_and_what_no_claim_uses_change_nothing(hashes, what):
    assert hashes(PROSE[what]) == hashes()


def test_a_family_enters(config, hashes):
    moved = dict(config["claims"]["fig1"])
    claim = moved.pop("bn_trains_faster")
    other = config["claims"]["fig2"] | {"bn_trains_faster": claim}
    after = hashes(("claims > fig1", moved), ("claims > fig2", other))
    assert differing(hashes(), after) == {"paper": ["claims"]}


def test_the_code_that_judges_enters_and_the_code_that_trains_does_not(hashes, monkeypatch):
    before, hash_of = hashes(), fingerprints.module_hash
    code = ["code"]
    for module, items in {
        **{f"bnopt.{name}": of_all("code") for name in ("verdicts", "summaries", "claims", "evidence")},
        "bnopt.statistics": of_all("code"),
        "bnopt.quantities.along_gradient": of_all("code"),
        "bnopt.quantities._extrema": of_all("code"),
        "bnopt.quantities.activations": {"paper": code},
        "bnopt.quantities.shift_is_curvature": {"mechanism": code},
        "bnopt.quantities.curvature": {"mechanism": code, "norms": code},
        "bnopt.tau": {"norms": code},
        "bnopt.rate_spread": {},
        "bnopt.train": {},
        "bnopt.report": {},
    }.items():
        monkeypatch.setattr(
            fingerprints, "module_hash", lambda name, m=module: "other" if name == m else hash_of(name)
        )
        assert differing(before, hashes()) == items, module


def test_every_module_that_a_verdict_passes_through_enters():
    reached = set(fingerprints.reached("bnopt.claims", "bnopt.statistics"))
    plumbing = {name for name in reached if name.startswith(("bnopt.files", "bnopt.quantities"))}
    plumbing |= {"bnopt", "bnopt.runtime", "bnopt.plugins"}
    assert reached - plumbing == set(registration.CODE)


@pytest.mark.parametrize("scale", ["digits", "deep-linear", "paper"])
def test_the_hash_of_a_part_does_not_depend_on_the_other_parts(changed, scale):
    of_choice = [
        study.written_out(changed(("scale", scale), ("parts", parts), ("rate_spread > vgg_l1", ["vgg_l1"])))
        for parts in CHOICES
    ]
    found = [registration.hashes(of_study) for of_study in of_choice]
    whole = found[-1]
    # No norms are ranked where there is no VGG.
    judged = ["paper", "mechanism"] if scale == "deep-linear" else PARTS
    assert list(whole) == judged
    for of_study, of_parts in zip(of_choice, found, strict=True):
        assert set(of_parts) == {part for part in of_study["parts"] if part in judged}
        for part, items in of_parts.items():
            assert items == whole[part]
            assert registration.content(of_study, part) == registration.content(of_choice[-1], part)


# -- a slow second implementation -------------------------------------------------------------------


def slow(config, scale, part):
    """Return the content of a part, collected claim by claim from the configuration with its defaults."""
    config = schema.with_defaults(config)
    sizes_of_scale = config["scales"][scale]
    found = {item: {} for item in ITEMS}
    modules = {f"bnopt.{n}" for n in ("claims", "effects", "evidence", "statistics", "summaries", "verdicts")}

    def add_table(table, conditions):
        if table in ("training", "tau"):
            return
        for name in conditions:
            task = config["conditions"][name]["task"]
            found["probes"].setdefault(table, {})[task] = config["probes"][table][task]

    for name, claim in study.claims(config, "claims").items():
        quantity = config["quantities"][claim["quantity"]]
        sides = [claim["condition_a"], claim["condition_b"]]
        if sides[0] == "all_norms":
            sides += config["tau"]["conditions"]
        used = [side for side in sides if side in config["conditions"]]
        tasks = {config["conditions"][side]["task"] for side in used}
        if claim["part"] != part or not tasks <= set(sizes_of_scale):
            continue
        found["claims"][name] = {
            key: claim[key]
            for key in ("quantity", "layers", "condition_a", "condition_b", "expected", "margin", "family")
        }
        found["quantities"][claim["quantity"]] = quantity
        for side in used:
            entry = dict(config["conditions"][side])
            del entry["part"]
            found["conditions"][side] = entry
        for task in tasks:
            found["sizes"][task] = sizes_of_scale[task]
        tables = {quantity["table"]} | ({quantity["times"]["table"]} if "times" in quantity else set())
        if "tau" in tables:
            tables |= set(config["tau"]["measures"])
            found["probes"]["tau"] = {
                key: config["tau"][key] for key in ("reference", "measures", "conditions")
            }
            modules.add("bnopt.tau")
        for table in {"training", *tables}:
            add_table(table, used)
            if (fingerprints.SOURCE / "bnopt" / "quantities" / f"{table}.py").exists():
                modules.add(f"bnopt.quantities.{table}")
            if table in ("along_gradient", "random_directions"):
                modules.add("bnopt.quantities._extrema")
    # A table is probed for the conditions of all claims about it; its settings are listed for every task that
    # the part has, if the probe has settings for the task.
    for table in found["probes"]:
        if table != "tau":
            for task in found["sizes"]:
                if task in config["probes"][table]:
                    found["probes"][table][task] = config["probes"][table][task]
    found["images"] = sizes_of_scale["images"] if "vgg" in found["sizes"] else ""
    found["seeds"] = sizes_of_scale["seeds"]
    found["stopping rule"] = (
        "all of these seeds are run; verdicts of fewer seeds are interim and change nothing"
    )
    found["code"] = {module: fingerprints.module_hash(module) for module in modules}
    return found


@pytest.mark.parametrize("scale", ["digits", "deep-linear", "paper"])
def test_content_and_hashes_are_those_of_a_slow_second_implementation(config, scale):
    of_study = study.written_out(config | {"scale": scale, "parts": "all"})
    found = registration.hashes(of_study)
    for part in found:
        content = registration.content(of_study, part)
        expected = slow(config, scale, part)
        assert list(content) == ITEMS
        for item in ITEMS:
            assert content[item] == expected[item], (part, item)
        lines = {}
        for item in ITEMS:
            text = json.dumps(expected[item], sort_keys=True, ensure_ascii=False)
            lines[item] = hashlib.sha256(text.encode()).hexdigest()[:16]
        together = hashlib.sha256(json.dumps(lines, sort_keys=True).encode()).hexdigest()[:16]
        assert found[part] == lines | {"all": together}
        assert list(found[part]) == [*ITEMS, "all"]


def test_the_runs_of_a_spread_over_rates_enter_if_a_claim_is_about_it(hashes):
    claim = ("claims > fig1 > bn_trains_faster > quantity", "loss_spread_over_rates")
    assert differing(hashes(), hashes(claim)) == {"paper": ["claims", "quantities", "probes", "code"]}
    new = ("conditions > vgg_none_new", {"task": "vgg", "norm": "none", "lr": 0.3})
    spread = ("rate_spread > vgg_none", ["vgg_none", "vgg_none_new"])
    assert differing(hashes(claim), hashes(claim, new, spread)) == {"paper": ["conditions", "probes"]}
    after = hashes(claim, spread, (new[0], new[1] | {"lr": 0.4}))
    assert differing(hashes(claim, spread, new), after) == {"paper": ["conditions"]}
    assert hashes(new, spread) == hashes()
    assert hashes(claim, ("rate_spread > vgg_dyt", ["vgg_dyt"])) == hashes(claim)


# -- the page ---------------------------------------------------------------------------------------


def test_the_page_is_of_today(config):
    of_study = study.written_out(config | {"scale": registration.SCALE, "parts": "all"})
    found = registration.compared(of_study)
    text = registration.PAGE.read_text(encoding="utf-8")
    changes = [f"{part}: {', '.join(of['differs'])}" for part, of in found.items() if of["differs"]]
    remedy = (
        f"what decides a verdict changed ({'; '.join(changes) or 'text'}): if that is meant, call "
        "python tools/register.py"
    )
    assert text == registration.page_of(of_study), remedy
    assert list(found) == PARTS
    for of_part in found.values():
        assert of_part["differs"] == []
        assert of_part["hash"] == of_part["registered"]


def test_the_table_of_the_page_has_a_column_per_part_and_is_read_back(config):
    of_study = study.written_out(config | {"scale": registration.SCALE, "parts": "all"})
    lines = registration.PAGE.read_text(encoding="utf-8").splitlines()
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    expected = registration.hashes(of_study)
    assert table[0] == ["item", *PARTS]
    assert [row[0] for row in table[2:]] == [*ITEMS, "all"]
    for row in table[2:]:
        assert row[1:] == [f"`{expected[part][row[0]]}`" for part in PARTS]
    assert registration.registered() == expected
    counts = [sum(part == of for of in of_study["part_of"].values()) for part in PARTS]
    numbers = ", ".join(f"{count} of `{part}`" for count, part in zip(counts, PARTS, strict=True))
    assert f"- Claims: {numbers}; all are in `claims.yaml`" in lines


@pytest.mark.parametrize("parts", CHOICES)
def test_another_scale_differs_part_by_part_and_without_a_page_in_all(config, tmp_path, parts):
    of_study = study.written_out(config | {"scale": "digits", "parts": parts})
    found = registration.compared(of_study)
    assert list(found) == of_study["parts"]
    for of_part in found.values():
        assert of_part["differs"] == ["sizes", "images", "seeds"]
    nothing = registration.compared(of_study, tmp_path / "none.md")
    for part, of_part in nothing.items():
        assert of_part == {"hash": found[part]["hash"], "registered": "", "differs": ITEMS}
    # The page of a study that is read back has the study's own hashes.
    page = tmp_path / "page.md"
    page.write_text(registration.page_of(of_study), encoding="utf-8")
    for part, of_part in registration.compared(of_study, page).items():
        assert of_part == {"hash": found[part]["hash"], "registered": found[part]["hash"], "differs": []}


def test_a_change_of_a_cell_of_the_page_is_another_registered_hash_of_its_part(config, tmp_path):
    of_study = study.written_out(config | {"parts": "all"})
    before, seeds = registration.compared(of_study), registration.registered()["norms"]["seeds"]
    page = tmp_path / "page.md"
    text = registration.PAGE.read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| seeds "))
    page.write_text(text.replace(row, f"{row.removesuffix(f'`{seeds}` |')}`0123456789abcdef` |"), "utf-8")
    after = registration.compared(of_study, page)
    assert registration.registered(page)["norms"]["seeds"] == "0123456789abcdef"
    assert [part for part in PARTS if after[part]["registered"] != before[part]["registered"]] == ["norms"]


def test_a_part_that_the_page_lacks_differs_in_all(config, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(registration.page_of(study.written_out(config | {"parts": ["paper"]})), encoding="utf-8")
    found = registration.compared(study.written_out(config | {"parts": "all"}), page)
    assert {part: of["differs"] for part, of in found.items()} == {
        "paper": [],
        "mechanism": ITEMS,
        "norms": ITEMS,
    }


# -- verdicts ---------------------------------------------------------------------------------------


def test_the_verdicts_carry_the_hash_of_their_part_and_the_alternatives_none(config, tmp_path):
    of_study = study.written_out(config | {"scale": "digits", "parts": "all"})
    job = jobs.Jobs(of_study)
    chosen = ["bn_trains_faster", "gradients_grow_with_bn", "bn_trains_faster_again"]
    judged = dict.fromkeys(chosen, of_study["claims"]["bn_trains_faster"])
    judged["gradients_grow_with_bn"] = judged["gradients_grow_with_bn"] | {"family": "propagation"}
    settings = json.loads(job.claims_settings(None)) | {"tables": ["training"], "claims": judged}
    table = "condition,seed,layer,step,loss,accuracy,diverged\nvgg_none,0,,0,1,0.5,0\n"
    artefacts.write_recorded(table, tmp_path / "training.csv")
    files = [str(tmp_path / f"{name}.csv") for name in ("claims", "sensitivity", "numbers")]
    words = ["--claims", files[0], "--sensitivity", files[1], "--numbers", files[2]]
    words += ["--settings", json.dumps(settings), "--tables", str(tmp_path / "training.csv")]
    claims.main([*words, "--registration", "{}"])
    assert "registration" not in artefacts.read_table(files[0])
    claims.main([*words, "--registration", job.registration_hashes(None)])
    found = artefacts.read_table(files[0])
    assert list(found)[-1] == "registration"
    of_parts = {part: of["hash"] for part, of in registration.compared(of_study).items()}
    assert found["registration"].tolist() == [of_parts[part] for part in ("paper", "mechanism", "paper")]
    assert json.loads(job.registration(None)) == registration.compared(of_study)


def test_every_family_has_the_hash_of_its_part(config):
    of_study = study.written_out(config | {"scale": "digits", "parts": "all"})
    found = json.loads(jobs.Jobs(of_study).registration_hashes(None))
    of_parts = registration.hashes(of_study)
    filled = schema.with_defaults(config)
    for family, entries in filled["claims"].items():
        (part,) = {entry["part"] for entry in entries.values()}
        assert found.pop(family) == of_parts[part]["all"]
    assert found == {}
