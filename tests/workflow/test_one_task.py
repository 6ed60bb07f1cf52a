"""A scale with sizes for only one task is a complete study, from the runs to the report."""

from bnopt.files.artefacts import read_table

PAIRS = ["vgg_none", "vgg_batch", "deep_linear_none", "deep_linear_batch"]


def test_what_needs_the_other_task_is_left_out_and_the_rest_is_finished(
    new_study, pruned, tiny_config, tmp_path
):
    config = pruned(tiny_config, conditions=PAIRS, tables=["training", "along_gradient"])
    assert {"fig4", "fig10", "fig11"} <= set(config["figures"])
    del config["scales"]["tiny"]["vgg"]
    study = new_study(tmp_path / "study", config)
    study.run()

    assert {folder.name for folder in (study.results / "runs").iterdir()} == set(PAIRS[2:])
    figures = {file.stem for file in (study.results / "figures").glob("*.pdf")}
    assert {"fig10", "fig11", "claims"} <= figures
    assert "fig4" not in figures
    verdicts = read_table(study.results / "statistics" / "claims.csv")
    assert len(verdicts) >= 3
    assert not verdicts["condition_a"].str.startswith("vgg").any()
    assert (study.results / "report" / "report.tex").stat().st_size > 10_000
    assert study.planned() == []
