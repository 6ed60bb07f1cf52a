"""Results of other settings or code are never shown under the present ones, whatever Snakemake knows."""

import re
import shlex
import shutil

import pytest
import yaml

from bnopt.files import records

CHANGES = {
    "a learning rate": (
        ("conditions", "vgg_l1", "lr", 0.2),
        "results/tiny/runs/vgg_l1/seed0/training.csv: lr was 0.1, now 0.2",
    ),
    "a probe's settings": (
        ("probes", "activations", "vgg", "bins", 41),
        "settings.bins was",
    ),
    "a caption": (("figures", "fig4", "caption", "Another."), "report/report.tex: captions.fig4 was"),
    "a claim's margin": (
        ("claims", "fig1", "bn_trains_faster", "margin", 0.01),
        "statistics/claims.csv: claims.bn_trains_faster.margin was 0, now 0.01",
    ),
    "what a figure shows": (
        ("figures", "fig4", "tables", {"along_gradient": ["vgg_batch", "vgg_none"]}),
        "figures/fig4.pdf: ",
    ),
}


def command_in(said):
    """Return the arguments of the command that a refusal tells to type."""
    return shlex.split(re.search(r"(?:make them|make it) again.*: snakemake (.*)", said)[1])


@pytest.mark.parametrize("what", CHANGES)
def test_without_metadata_a_change_is_refused_with_the_command_that_makes_anew(copy_of_finished, what):
    """Snakemake alone says that nothing is to be done."""
    path, words = CHANGES[what]
    study = copy_of_finished.change(*path)
    shutil.rmtree(study.folder / ".snakemake")
    said = study.refused()
    assert "expected results of the present settings and code" in said
    assert words in said or re.search(r"and \d+ more", said), said
    jobs = study.planned(*command_in(said))
    assert jobs != []
    # Only what depends on the change is made again.
    assert ("train" in {rule for rule, _ in jobs}) == (what == "a learning rate")


@pytest.mark.parametrize(
    "told",
    [["--rerun-triggers", "mtime"], ["--touch"], ["--report", "page.html"]],
    ids=["to ignore changes", "that all is up to date", "to show what there is"],
)
def test_settings_are_not_mistaken_whatever_snakemake_is_told(copy_of_finished, told):
    study = copy_of_finished.change("conditions", "vgg_l1", "lr", 0.2)
    said = study.refused(*told)
    assert "vgg_l1/seed0/training.csv: lr was 0.1, now 0.2" in said
    assert not (study.folder / "page.html").exists()


def test_a_job_refuses_a_table_of_other_settings_when_it_reads_it(copy_of_finished):
    """Jobs that a call may not run are not planned, so nothing but the job itself can notice."""
    study = copy_of_finished.change("conditions", "vgg_l1", "lr", 0.2)
    target = "results/tiny/statistics/training_per_seed.csv"
    said = study.refused("--allowed-rules", "summarise", "--force", target)
    table = "results/tiny/runs/vgg_l1/seed0/training.csv"
    assert (
        f"error: {table}: expected a result of the present settings and code, found one of other settings"
        in said
    )
    assert command_in(said) == ["--force", table]


def test_code_that_is_accepted_is_noted_in_the_records(copy_of_finished, checkout, edited):
    study = copy_of_finished
    shutil.rmtree(study.folder / ".snakemake")
    table = study.results / "statistics/training_per_seed.csv"
    with edited(checkout / "src/bnopt/statistics.py", lambda text: f"{text}\nCHANGED = 1\n"):
        said = study.refused()
        assert "statistics/training_per_seed.csv: other code" in said
        assert command_in(said) == ["--forcerun", "summarise"]
        before = records.read(table)["code"]
        study.run("--touch")
        record = records.read(table)
        assert record["code"] == before
        assert len(record["accepted"]) == 1
        assert study.planned() == []
        # Jobs accept it too when they read it.
        study.run("--force", "results/tiny/statistics/claims.csv")


# -- the same study in every call -----------------------------------------------------------------


@pytest.mark.parametrize("said", ["seeds=[0]", "scale=tiny", "device=cpu"])
def test_saying_what_holds_anyway_reruns_nothing(finished, said):
    assert finished.planned("--config", said) == []


def test_a_caption_given_by_configfile_is_on_the_page_and_in_the_report(copy_of_finished):
    study, caption = copy_of_finished, "A caption of my own."
    mine = study.folder / "my own.yaml"
    mine.write_text(yaml.safe_dump({"figures": {"fig4": {"caption": caption}}}), encoding="utf-8")
    study.run("--configfile", "my own.yaml")
    assert caption in (study.results / "report.html").read_text(encoding="utf-8")
    assert caption in (study.results / "report/generated/numbers.tex").read_text(encoding="utf-8")
    assert study.planned("--configfile", "my own.yaml") == []


def test_a_scale_given_by_configfile_has_its_page(copy_of_finished):
    study = copy_of_finished
    mine = {"scale": "mine", "scales": {"mine": study.config["scales"]["tiny"]}}
    (study.folder / "mine.yaml").write_text(yaml.safe_dump(mine), encoding="utf-8")
    # The results of the same settings, and the report's facts, which name the scale.
    shutil.copytree(study.results, study.results.with_name("mine"))
    page = study.results.with_name("mine") / "report.html"
    page.unlink()
    options = ["--configfile", "mine.yaml"]
    command = command_in(study.refused(*options))
    assert command[-2:] == options
    study.run(*command)
    assert "mine" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--configfile", "mine.yaml"], "error: mine.yaml: figures.fig4: expected only the keys"),
        (["--config", "images=nowhere"], "error: --config: images: expected"),
    ],
)
def test_a_mistake_is_looked_for_where_it_was_made(copy_of_finished, options, sentence):
    (copy_of_finished.folder / "mine.yaml").write_text("figures: {fig4: {captoin: x}}", encoding="utf-8")
    assert sentence in copy_of_finished.refused(*options)
