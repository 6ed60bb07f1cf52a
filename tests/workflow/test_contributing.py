"""CONTRIBUTING.md typed in: what it says of adding a norm, a probe, a figure and a claim works."""

import copy
import re
import shutil
from pathlib import Path

import yaml

from bnopt.files.artefacts import read_table

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = dict(
    re.findall(r"^One file, `(src/\S+\.py)`.*?^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
)
ENTRIES = [
    yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
]


def test_the_examples_run_as_they_are_written(tmp_path, checkout, pair_config, new_study, config):
    pair_config = copy.deepcopy(pair_config)
    assert [Path(file).parent.name for file in FILES] == ["norms", "probes", "figures"]
    assert len(ENTRIES) == 4
    folder = tmp_path / "repository"
    shutil.copytree(checkout, folder)
    for file, code in FILES.items():
        (folder / file).write_text(code, encoding="utf-8")
    # What the last example compares with.
    pair_config["conditions"]["vgg_noisy_batch"] = config["conditions"]["vgg_noisy_batch"]
    for entry in ENTRIES:
        for section, entries in entry.items():
            assert not set(entries) & set(pair_config[section])
            pair_config[section] |= entries
    study = new_study(tmp_path / "study", pair_config, checkout=folder)
    results = study.results.relative_to(study.folder)
    curve = "runs/vgg_scale_only/seed0/training.csv"
    study.run(*(results / name for name in ("statistics/claims.csv", "figures/largest_loss.png", curve)))

    verdicts = read_table(study.results / "statistics" / "claims.csv").set_index("claim")["verdict"]
    for claim in ("bn_has_smaller_gradients", "noise_does_not_smooth"):
        assert verdicts[claim] in ("supported", "contradicted", "inconclusive")
    assert (study.results / "figures" / "largest_loss.png").exists()
    assert read_table(study.results / curve)["loss"][:-1].notna().all()
