"""The registration: only what decides a verdict changes the hash, and the page holds today's hash."""

import hashlib
import json

import pytest

from bnopt import claims
from bnopt.files import artefacts, fingerprints
from bnopt.study import jobs, registration, study

PARTS = ["claims", "quantities", "conditions", "sizes", "probes", "images", "seeds", "stopping rule", "code"]


@pytest.fixture
def hashes(changed):
    """Function: changes of the configuration (path, value) -> part -> hash at the scale `paper`."""
    return lambda *changes: registration.parts(study.written_out(changed(("scale", "paper"), *changes)))


def differing(before, after):
    return [part for part in PARTS if before[part] != after[part]]


DECIDING = {
    "a margin": ("claims > fig1 > bn_trains_faster > margin", 0.01, ["claims"]),
    "a direction": ("claims > fig1 > bn_trains_faster > expected", "less", ["claims"]),
    "a condition of a claim": ("claims > fig1 > bn_trains_faster > condition_b", "vgg_l1", ["claims"]),
    "layers": ("claims > fig1 > bn_does_not_stabilise_{moment} > layers", ["#3"], ["claims"]),
    "a summary": ("quantities > final_accuracy > summary", "last", ["quantities"]),
    "a floor": ("quantities > effective_beta > floor", 0.001, ["quantities"]),
    "a learning rate": ("conditions > vgg_batch > lr", 0.2, ["conditions"]),
    "steps": ("scales > paper > vgg > steps", 16000, ["sizes"]),
    "depth": ("scales > paper > deep_linear > net > depth", 24, ["sizes"]),
    "step sizes": ("probes > along_gradient > vgg > step_sizes", [0.5, 4], ["probes"]),
    "images": ("scales > paper > images", "digits", ["images"]),
    "seeds": ("scales > paper > seeds", [0, 1, 2], ["seeds"]),
    "the order of seeds": ("scales > paper > seeds", [1, 0, 2, 3, 4, 5, 6, 7], ["seeds"]),
    "a claim less": ("claims > fig1 > bn_trains_faster", ..., ["claims"]),
}
PROSE = {
    "a label": ("claims > fig1 > bn_trains_faster > label", "Another"),
    "a source": ("claims > fig1 > bn_trains_faster > source", "Figure 99"),
    "a statement": ("claims > fig1 > bn_trains_faster > statement", "Another."),
    "the paper's value": ("claims > fig1 > bn_trains_faster > paper_value", "another"),
    "a caption": ("figures > fig4 > caption", "Another."),
    "an alternative": ("alternatives > noise_variance_beats_plain", ...),
    "where snapshots stay": ("scales > paper > keep_snapshots", True),
    "sizes of another scale": ("scales > digits > vgg > steps", 7),
    "a condition that no claim names": ("conditions > vgg_new", {"task": "vgg", "norm": "none", "lr": 0.3}),
}


@pytest.mark.parametrize("what", DECIDING)
def test_what_decides_a_verdict_changes_its_part_and_the_hash(hashes, what):
    path, value, parts = DECIDING[what]
    before, after = hashes(), hashes((path, value))
    assert differing(before, after) == parts
    assert registration.of_parts(before) != registration.of_parts(after)


@pytest.mark.parametrize("what", PROSE)
def test_prose_and_what_no_claim_uses_change_nothing(hashes, what):
    assert hashes(PROSE[what]) == hashes()


def test_a_family_and_a_quantity_of_a_claim_enter(config, hashes):
    moved = dict(config["claims"]["fig1"])
    claim = moved.pop("bn_trains_faster")
    other = config["claims"]["fig2"] | {"bn_trains_faster": claim}
    after = hashes(("claims > fig1", moved), ("claims > fig2", other))
    assert differing(hashes(), after) == ["claims"]
    quantity = ("claims > fig1 > bn_trains_faster > quantity", "final_accuracy")
    assert differing(hashes(), hashes(quantity)) == ["claims"]


def test_the_code_that_judges_enters_and_the_code_that_trains_does_not(hashes, monkeypatch):
    before, hash_of = hashes(), fingerprints.module_hash
    for module, parts in {
        "bnopt.verdicts": ["code"],
        "bnopt.summaries": ["code"],
        "bnopt.claims": ["code"],
        "bnopt.evidence": ["code"],
        "bnopt.statistics": ["code"],
        "bnopt.quantities.along_gradient": ["code"],
        "bnopt.train": [],
        "bnopt.report": [],
    }.items():
        monkeypatch.setattr(
            fingerprints, "module_hash", lambda name, m=module: "other" if name == m else hash_of(name)
        )
        assert differing(before, hashes()) == parts, module


OF_TAU = {
    "a norm less": ("tau > conditions", ["vgg_none", "vgg_batch", "vgg_layer"], ["conditions", "probes"]),
    "the reference": ("tau > reference", "vgg_none", ["probes"]),
    "a measure less": ("tau > measures", {"along_gradient": ["beta"]}, ["probes", "code"]),
    "a learning rate of a norm": ("conditions > vgg_layer > lr", 0.2, ["conditions"]),
    "how often curvature is measured": ("probes > curvature > vgg > every", 5, ["probes"]),
}


@pytest.mark.parametrize("what", OF_TAU)
def test_what_rank_correlations_are_made_of_enters_if_a_claim_is_about_them(hashes, what):
    path, value, parts = OF_TAU[what]
    chosen = ("parts", ["paper", "norms"])
    assert differing(hashes(chosen), hashes(chosen, (path, value))) == parts
    assert hashes((path, value)) == hashes()


def test_the_code_of_rank_correlations_and_of_the_tables_they_rank_enters(config):
    def code(parts):
        of_study = study.written_out(config | {"scale": "paper", "parts": parts})
        return set(registration.content(of_study)["code"])

    assert code(["paper", "norms"]) - code(["paper"]) == {"bnopt.tau", "bnopt.quantities.curvature"}


def test_every_module_that_a_verdict_passes_through_enters():
    reached = set(fingerprints.reached("bnopt.claims", "bnopt.statistics"))
    plumbing = {name for name in reached if name.startswith(("bnopt.files", "bnopt.quantities"))}
    plumbing |= {"bnopt", "bnopt.runtime", "bnopt.plugins"}
    assert reached - plumbing == set(registration.CODE)


def test_a_hash_is_that_of_the_sorted_content(config):
    of_study = study.written_out(config | {"scale": "deep-linear"})
    content, found = registration.content(of_study), registration.parts(of_study)
    assert list(found) == list(content) == PARTS
    for part, of_part in content.items():
        text = json.dumps(of_part, sort_keys=True, ensure_ascii=False)
        assert found[part] == hashlib.sha256(text.encode()).hexdigest()[:16]
    lines = json.dumps(found, sort_keys=True)
    assert registration.of_parts(found) == hashlib.sha256(lines.encode()).hexdigest()[:16]
    assert set(content["sizes"]) == {"deep_linear"}
    assert content["images"] == ""


def test_the_page_is_of_today(config):
    of_study = study.written_out(config | {"scale": registration.SCALE})
    found = registration.compared(of_study)
    text = registration.PAGE.read_text(encoding="utf-8")
    remedy = (
        f"what decides a verdict changed ({', '.join(found['differs']) or 'text'}): if that is meant, call "
        "python tools/register.py"
    )
    assert text == registration.page_of(of_study), remedy
    assert found["differs"] == []
    assert found["hash"] == found["registered"]


def test_another_scale_differs_in_sizes_images_and_seeds_and_without_a_page_in_all(config, tmp_path):
    of_study = study.written_out(config | {"scale": "digits"})
    assert registration.compared(of_study)["differs"] == ["sizes", "images", "seeds"]
    nothing = registration.compared(of_study, tmp_path / "none.md")
    assert nothing["registered"] == ""
    assert nothing["differs"] == PARTS
    # The page of a study that is read back has the study's own hashes.
    page = tmp_path / "page.md"
    page.write_text(registration.page_of(of_study), encoding="utf-8")
    assert registration.compared(of_study, page)["differs"] == []


def test_the_verdicts_carry_the_hash_and_the_alternatives_do_not(config, tmp_path):
    of_study = study.written_out(config | {"scale": "digits"})
    job = jobs.Jobs(of_study)
    settings = json.loads(job.claims_settings(None)) | {"tables": ["training"], "claims": {}}
    table = "condition,seed,layer,step,loss,accuracy,diverged\nvgg_none,0,,0,1,0.5,0\n"
    artefacts.write_recorded(table, tmp_path / "training.csv")
    files = [str(tmp_path / f"{name}.csv") for name in ("claims", "sensitivity", "numbers")]
    words = ["--claims", files[0], "--sensitivity", files[1], "--numbers", files[2]]
    words += ["--settings", json.dumps(settings), "--tables", str(tmp_path / "training.csv")]
    claims.main([*words, "--registration"])
    assert "registration" not in artefacts.read_table(files[0])
    claims.main([*words, "--registration", job.registration_hash(None)])
    assert list(artefacts.read_table(files[0]))[-1] == "registration"
    assert json.loads(job.registration(None)) == registration.compared(of_study)
    assert job.registration_hash(None) == registration.compared(of_study)["hash"]
