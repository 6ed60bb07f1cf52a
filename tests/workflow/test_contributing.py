"""The examples in CONTRIBUTING.md work: a norm, a probe, a figure, a claim, a task and a scale."""

import copy
import re
import shutil
from pathlib import Path

import pytest
import yaml

from bnopt.files.artefacts import read_table

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"One file, `(src/\S+\.py)`.*?^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE))
ENTRIES = [
    yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
]


def type_in(config, entry):
    """Add an entry to a configuration as a person would, below existing keys."""
    for key, value in entry.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            type_in(config[key], value)
        else:
            assert key not in config
            config[key] = value


@pytest.fixture(scope="module")
def study(tmp_path_factory, checkout, pair_config, new_study, config):
    """A study with every example entry, in a repository with every example file."""
    assert [Path(file).parent.name for file in FILES] == ["norms", "probes", "figures", "tasks"]
    assert len(ENTRIES) == 5
    folder = tmp_path_factory.mktemp("contributing") / "repository"
    shutil.copytree(checkout, folder)
    for file, code in FILES.items():
        (folder / file).write_text(code, encoding="utf-8")
    typed = copy.deepcopy(pair_config)
    # One of the claims compares this condition.
    typed["conditions"]["vgg_noisy_batch"] = config["conditions"]["vgg_noisy_batch"]
    for entry in ENTRIES:
        type_in(typed, entry)
    return new_study(folder.parent / "study", typed, checkout=folder)


def judged(study, scale, claim):
    rows = read_table(study.folder / "results" / scale / "statistics" / "claims.csv")
    return rows.set_index("claim")["verdict"][claim] in ("supported", "contradicted", "inconclusive")


def test_a_norm_a_probe_a_figure_and_a_claim(study):
    results = study.results.relative_to(study.folder)
    curve = "runs/vgg_scale_only/seed0/training.csv"
    study.run(*(results / name for name in ("statistics/claims.csv", "figures/largest_loss.png", curve)))
    assert judged(study, "tiny", "bn_has_smaller_gradients")
    assert judged(study, "tiny", "noise_does_not_smooth")
    assert (study.results / "figures" / "largest_loss.png").exists()
    assert read_table(study.results / curve)["loss"][:-1].notna().all()


def test_a_task_and_a_scale(study):
    study.run("results/mlp/statistics/claims.csv", "--config", "scale=mlp")
    assert judged(study, "mlp", "bn_smooths_loss_mlp")
    curve = read_table(study.folder / "results/mlp/runs/mlp_batch/seed0/training.csv")
    assert curve["accuracy"][30:40].mean() > 2 * curve["chance"][0]
