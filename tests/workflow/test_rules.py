"""The form of the workflow: linters find nothing, rules are complete, the profile runs jobs as intended."""

import importlib.util
import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bnopt.study import gpus

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "workflow").glob("*.smk"))
STAGES = [file for file in RULES if file.stem not in ("common", "start")]


def run_tool(name, *arguments):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"needs the package {name}")
    done = subprocess.run(
        [sys.executable, "-m", name, *map(str, arguments)],
        cwd=ROOT,
        # snakefmt looks for shfmt on PATH, where it is only once the environment has been activated.
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_snakemakes_linter_finds_nothing(tmp_path, new_study, tiny_config):
    done = new_study(tmp_path / "study", tiny_config).snakemake("--lint")
    assert done.returncode == 0, done.stdout
    assert "Congratulations" in done.stdout


def test_snakefmt_would_change_nothing():
    run_tool("snakefmt", "--check", "--config", "pyproject.toml", "Snakefile", *RULES)


def test_ruff_finds_nothing():
    run_tool("ruff", "check", "--no-cache", ".")


def test_ruff_would_change_nothing():
    run_tool("ruff", "format", "--check", "--no-cache", ".")


# -- the rules ------------------------------------------------------------------------------------


def _rule_blocks():
    """Yield the file and the text of every rule."""
    for file in [ROOT / "Snakefile", *RULES]:
        text = file.read_text(encoding="utf-8")
        for block in re.split(r"^(?=(?:rule|checkpoint|use rule) )", text, flags=re.MULTILINE)[1:]:
            yield pytest.param(file, block, id=re.match(r".*", block)[0].removesuffix(":"))


RULE_BLOCKS = list(_rule_blocks())


@pytest.mark.parametrize("file", STAGES, ids=lambda file: file.name)
def test_every_stage_opens_with_what_goes_in_and_what_comes_out(file):
    head = file.read_text(encoding="utf-8").split('"""')[1]
    assert re.search(r"^INPUTS ", head, flags=re.MULTILINE)
    assert re.search(r"^OUTPUTS ", head, flags=re.MULTILINE)
    assert not file.read_text(encoding="utf-8").split('"""')[0]


@pytest.mark.parametrize(("file", "block"), RULE_BLOCKS)
def test_every_rule_is_plain(file, block):
    if block.startswith("rule "):
        assert block.split("\n")[1].strip().startswith('"""'), "a rule says in its first line what it does"
    assert not block.startswith("checkpoint"), "which jobs there are is known before any runs"
    for word in ("lambda", "    run:", "    script:", "    message:", "    notebook:"):
        assert word not in block


@pytest.mark.parametrize(("file", "block"), RULE_BLOCKS)
def test_every_interpolation_in_a_command_is_quoted(file, block):
    for command in re.findall(r'shell:\s+r?"""(.*?)"""', block, flags=re.DOTALL):
        for word in re.findall(r"(?<!\{)\{([^{}]+)\}(?!\})", command):
            # A seed consists of digits only.
            assert word.endswith(":q") or word == "wildcards.seed", word


@pytest.mark.parametrize(("file", "block"), RULE_BLOCKS)
def test_every_command_writes_a_log_and_its_code_and_settings_are_tracked(file, block):
    if "shell:" not in block:
        return
    assert "log:" in block
    assert ">{log:q} 2>&1" in block
    if re.search(r" -m (fork_server )?bnopt\.", block):
        assert re.search(r"^ +code=", block, flags=re.MULTILINE)
        assert re.search(r"^ +settings=", block, flags=re.MULTILINE)


# -- the profile ----------------------------------------------------------------------------------


PROFILE = yaml.safe_load((ROOT / "profiles" / "default" / "config.yaml").read_text(encoding="utf-8"))
LIMIT = re.compile(r"Provided resources: .*\bgpu=.*?(\d+)")


@pytest.mark.parametrize(("wish", "limit"), [([], 9999), (["--resources", "gpu=3"], 3)])
def test_without_a_visible_gpu_the_cores_are_the_only_limit(copy_of_finished, monkeypatch, wish, limit):
    """The number is that of `gpus.places`, unless the call says another one; the profile says none."""
    assert "gpu" not in str(PROFILE.get("resources"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    study, target = copy_of_finished, "results/tiny/statistics/claims.csv"
    done = study.snakemake("--force", target, *wish, profile=None)  # that of the profile prints no resources
    assert done.returncode == 0, done.stdout
    assert LIMIT.search(done.stdout)[1] == str(limit), done.stdout


@pytest.mark.parametrize(("wish", "gpus"), [([], 1), (["--config", "device=cpu"], 0)])
def test_a_job_that_is_to_use_the_processor_waits_for_no_gpu(finished, wish, gpus):
    target = "results/tiny/probes/along_gradient/vgg_batch/seed0.csv"
    said = finished.snakemake("--dry-run", "--forceall", target, *wish, profile=None).stdout
    found = re.findall(r"^ +resources: .*gpu=(\d+)", said, re.MULTILINE)
    assert found == [str(gpus)] * 2, said  # one for training, one for the probe


def test_the_profile_uses_all_cores_goes_on_after_an_interruption_and_shows_what_failed():
    assert PROFILE["cores"] == "all"
    assert PROFILE["rerun-incomplete"] is True
    assert PROFILE["show-failed-logs"] is True


def test_the_profile_says_how_to_run_and_never_what_to_compute():
    assert not {"config", "configfile", "configfiles", "set-resources"} & set(PROFILE)


@pytest.mark.skipif(
    gpus.visible() > 0,
    reason="with a GPU its number limits the training jobs, not the cores",
)
def test_without_a_gpu_training_jobs_run_side_by_side(finished):
    """Snakemake's log of the first call shows at least two training jobs at once."""
    log = min((finished.folder / ".snakemake" / "log").iterdir()).read_text(encoding="utf-8")
    events = re.findall(r"^(?:local)?rule (train):$|^Finished jobid: \d+ \(Rule: train\)$", log, re.MULTILINE)
    under_way = list(itertools.accumulate(1 if start else -1 for start in events))
    assert under_way[-1] == 0
    assert max(under_way) > 1


def test_the_workflow_reads_its_profile_by_itself_beside_the_snakefile(
    tmp_path, checkout, new_study, pair_config
):
    """`snakemake` without options, called in the checkout, uses profiles/default."""
    folder = tmp_path / "bnopt"
    shutil.copytree(checkout, folder)
    study = new_study(folder, pair_config)
    command = [sys.executable, "-m", "snakemake", "--dry-run"]
    done = subprocess.run(
        command, cwd=study.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "profiles/default" in done.stdout


def test_the_conda_environment_is_made_from_the_only_pins():
    """Snakemake copies environment.yml to another folder, so it cannot refer to requirements.txt."""
    spec = importlib.util.spec_from_file_location("environment", ROOT / "tools" / "environment.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    assert text == tool.environment((ROOT / "requirements.txt").read_text(encoding="utf-8")), (
        "environment.yml is made by python tools/environment.py"
    )
    packages = yaml.safe_load(text)["dependencies"]
    assert [name for name in packages if isinstance(name, str)] == ["python=3.12", "pip"]
    assert len(packages[-1]["pip"]) > 100
