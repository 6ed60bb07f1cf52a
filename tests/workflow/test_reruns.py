"""What a change reruns: exactly what it can have changed. Most are dry runs on copies of a finished study."""

import copy
import os
import signal
import time

AFTER_JUDGING = {"draw_claims", "bundle", "compile", "web", "all"}
AFTER_DRAWING = {"bundle", "compile", "web", "all"}
BEFORE_STATISTICS = {"prepare", "train", "probe", "spread_rates", "random_layers"}


def rules(jobs):
    return {rule for rule, _ in jobs}


def conditions(jobs, rule):
    return {wildcards["condition"] for name, wildcards in jobs if name == rule}


def changed(study, *path_and_value):
    config = copy.deepcopy(study.config)
    *parents, key, value = path_and_value
    entry = config
    for parent in parents:
        entry = entry[parent]
    entry[key] = value
    study.config = config
    return study


# -- the configuration ----------------------------------------------------------------------------


def test_one_more_seed_runs_that_seed_and_what_summarises_it(copy_of_finished):
    study = changed(copy_of_finished, "scales", "tiny", "seeds", [0, 1])
    jobs = study.planned()
    assert conditions(jobs, "train") == set(study.config["conditions"])
    for rule, wildcards in jobs:
        if rule in BEFORE_STATISTICS:
            assert wildcards.get("seed") == "1", (rule, wildcards)
    assert {"train", "probe", "summarise", "judge"} <= rules(jobs)


def test_a_claims_margin_runs_the_judge_and_what_shows_the_verdicts(copy_of_finished):
    study = changed(copy_of_finished, "claims", "bn_trains_faster", "margin", 0.01)
    jobs = study.planned()
    assert "judge" in rules(jobs)
    assert {"draw_claims", "bundle", "web"} <= rules(jobs)
    assert rules(jobs) <= {"judge"} | AFTER_JUDGING


def test_one_more_claim_trains_nothing(copy_of_finished):
    claim = {
        "place": "here",
        "family": "fig1",
        "statement": "The noise alone leaves the loss less smooth.",
        "quantity": "test_accuracy",
        "condition_a": "vgg_noise",
        "condition_b": "vgg_none",
        "expected": "less",
        "margin": 0,
    }
    assert rules(changed(copy_of_finished, "claims", "mine", claim).planned()) <= {"judge"} | AFTER_JUDGING


def test_a_caption_runs_the_reports_alone(copy_of_finished):
    jobs = changed(copy_of_finished, "figures", "fig4", "caption", "Another.").planned()
    assert {"bundle", "web"} <= rules(jobs) <= AFTER_DRAWING


def test_a_learning_rate_retrains_its_condition_alone(copy_of_finished):
    jobs = changed(copy_of_finished, "conditions", "vgg_noisy_batch", "lr", 0.2).planned()
    assert conditions(jobs, "train") == {"vgg_noisy_batch"}
    assert conditions(jobs, "probe") == {"vgg_noisy_batch"}
    assert "prepare" not in rules(jobs)


def test_a_probes_settings_retrain_nothing_and_run_that_probe_alone(copy_of_finished):
    jobs = changed(copy_of_finished, "probes", "activations", "vgg", "bins", 41).planned()
    assert "train" not in rules(jobs)
    assert {wildcards["probe"] for rule, wildcards in jobs if rule == "probe"} == {"activations"}
    assert {wildcards["table"] for rule, wildcards in jobs if rule == "summarise"} == {"activations"}


def test_images_made_again_retrain_nothing_that_does_not_use_them(copy_of_finished, tmp_path):
    """All runs wait for the images to be found good, and only those of the task vgg depend on them."""
    study = copy_of_finished
    tasks = {name: entry["task"] for name, entry in study.config["conditions"].items()}
    vgg = {name for name, task in tasks.items() if task == "vgg"}
    (tmp_path / "images").mkdir()
    (study.results / "data" / "images.json").touch()
    assert "train" not in rules(study.planned())
    for changes in [["--config", f"images={tmp_path / 'images'}"], ["--forcerun", "prepare"]]:
        jobs = study.planned(*changes)
        assert ("prepare", {"scale": "tiny"}) in jobs
        assert conditions(jobs, "train") == vgg
        assert not {name for name in conditions(jobs, "probe") if tasks[name] != "vgg"}
        assert "random_layers" not in rules(jobs)


def test_a_lost_figure_is_drawn_again_and_no_other(copy_of_finished):
    (copy_of_finished.results / "figures" / "fig4.pdf").unlink()
    jobs = copy_of_finished.planned()
    assert [wildcards["figure"] for rule, wildcards in jobs if rule == "draw"] == ["fig4"]
    assert rules(jobs) <= {"draw"} | AFTER_DRAWING


# -- the code -------------------------------------------------------------------------------------


def test_comments_and_docstrings_rerun_nothing(finished, checkout, edited):
    with (
        edited(checkout / "src/bnopt/run.py", lambda text: f"# A comment.\n{text}\n\n# And another.\n"),
        edited(checkout / "src/bnopt/train.py", lambda text: text.replace('"""', '"""So: ', 1)),
        edited(checkout / "workflow/train.smk", lambda text: f"# A comment.\n{text}"),
    ):
        assert finished.planned() == []


def test_a_norms_code_retrains_the_conditions_that_use_it(finished, checkout, edited):
    norms = {name: entry["norm"] for name, entry in finished.config["conditions"].items()}
    with edited(checkout / "src/bnopt/norms/l1.py", lambda text: f"{text}\nCHANGED = 1\n"):
        jobs = finished.planned()
    assert conditions(jobs, "train") == {name for name, norm in norms.items() if norm == "l1"}
    assert conditions(jobs, "probe") <= conditions(jobs, "train")
    assert conditions(jobs, "train")


def test_a_probes_code_retrains_nothing(finished, checkout, edited):
    with edited(checkout / "src/bnopt/probes/activations.py", lambda text: f"{text}\nCHANGED = 1\n"):
        jobs = finished.planned()
    assert "train" not in rules(jobs)
    assert {wildcards["probe"] for rule, wildcards in jobs if rule == "probe"} == {"activations"}


def test_one_figures_code_draws_that_figure_again(finished, checkout, edited):
    with edited(checkout / "src/bnopt/figures/fig4.py", lambda text: f"{text}\nCHANGED = 1\n"):
        jobs = finished.planned()
    assert [wildcards["figure"] for rule, wildcards in jobs if rule == "draw"] == ["fig4"]
    assert rules(jobs) <= {"draw"} | AFTER_DRAWING


def test_the_style_of_figures_draws_them_again_and_nothing_else(finished, checkout, edited):
    with edited(checkout / "paper/figures.mplstyle", lambda text: f"{text}\nlines.linewidth: 3\n"):
        jobs = finished.planned()
    drawn = {wildcards["figure"] for rule, wildcards in jobs if rule == "draw"}
    assert drawn == set(finished.config["figures"])
    assert "draw_claims" in rules(jobs)
    assert rules(jobs) <= {"draw", "draw_claims"} | AFTER_DRAWING


def test_the_text_of_the_report_runs_the_reports_alone(finished, checkout, edited):
    with edited(checkout / "paper/main.tex", lambda text: f"{text}\n% more\n"):
        assert rules(finished.planned()) <= AFTER_DRAWING


NORM = '''"""A norm of one's own."""

from torch import nn


def build(channels):
    """Return the identity."""
    return nn.Identity()
'''


def test_a_norm_is_one_file_and_one_line_and_trains_its_condition_alone(copy_of_finished, checkout):
    study = changed(copy_of_finished, "conditions", "vgg_mine", {"task": "vgg", "norm": "mine", "lr": 0.1})
    file = checkout / "src/bnopt/norms/mine.py"
    file.write_text(NORM, encoding="utf-8")
    try:
        jobs = study.planned()
        assert conditions(jobs, "train") == {"vgg_mine"}
        assert rules(jobs) & BEFORE_STATISTICS == {"train"}
        curve = study.results / "runs" / "vgg_mine" / "seed0" / "training.csv"
        study.run(curve.relative_to(study.folder))
    finally:
        file.unlink()
    plain = (study.results / "runs" / "vgg_none" / "seed0" / "training.csv").read_text()
    assert curve.read_text() == plain.replace("vgg_none", "vgg_mine")


# -- interruptions --------------------------------------------------------------------------------


def test_after_a_power_cut_unlocking_and_calling_again_finishes_the_work(tmp_path, new_study, pair_config):
    config = copy.deepcopy(pair_config)
    config["scales"]["tiny"]["vgg"]["steps"] = 100_000
    study = new_study(tmp_path / "study", config)
    run = study.results / "runs" / "vgg_none" / "seed0"
    target = (run / "training.csv").relative_to(study.folder)
    process = study.start(target)
    try:
        deadline = time.monotonic() + 120
        while not list(run.glob("*/step*.pt")):
            assert process.poll() is None, "snakemake ended before it was killed"
            assert time.monotonic() < deadline, "training did not start"
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (run / "training.csv").exists()
    assert not (run / "snapshots").exists()

    changed(study, "scales", "tiny", "vgg", "steps", 12)
    study.run("--unlock")
    study.run(target)
    assert (run / "training.csv").read_text().count("\n") == 1 + 13
    assert len(list((run / "snapshots").iterdir())) >= 3
