"""Shared fixtures: a small real data set, a small study, short runs, and points of these runs."""

import copy
import dataclasses
import functools
import json
import os
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pandas as pd
import pytest
import yaml

# Results are bitwise reproducible on one device with one thread. The default here is the CPU.
os.environ["BNOPT_DEVICE"] = "cpu"
os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).parents[1]
SCALE = "digits"
TRAIN_SAMPLES, TEST_SAMPLES = 200, 60
RATES = {"vgg": 0.1, "deep_linear": 1e-6}
# A YAML alias loads as one shared object, so a test's change would appear twice. JSON makes separate copies.
FILES = [yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) for name in ("config.yaml", "claims.yaml")]
CONFIG = json.loads(json.dumps(FILES[0] | FILES[1]))
# Settings of probes that no figure and no claim asks for yet: probe -> task -> settings. Now there is none.
NOT_CONFIGURED = {}
PROBES = CONFIG["probes"] | NOT_CONFIGURED
MEASURED = [(probe, task) for probe, tasks in PROBES.items() for task in tasks]
# A norm of each kind of state that a probe could change: none, running statistics, noise drawn from a stream,
# settled statistics, reparametrised weights, and statistics of a sample.
KINDS = ("none", "batch", "noisy_batch", "frozen", "weight_norm", "layer")


def pytest_configure(config):
    """Give workers the groups in the order of the tests, not those of most tests first."""
    if config.pluginmanager.hasplugin("xdist"):
        config.option.loadscopereorder = False


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config, items):
    """With several workers (`--dist loadgroup`), run a file, or all tests that share a study, on one worker.

    So its fixtures are made once. Groups with the real snakemake come first, because they take longest: at
    the end only short ones are left, and no worker waits long for another.
    """
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            of_file = f"{item.path.parent.name}-{item.path.stem}"
            group = "finished" if "first_run" in item.fixturenames else of_file
            item.add_marker(pytest.mark.xdist_group(group))
        items.sort(key=lambda item: item.path.parent.name != "workflow")
        items.sort(key=lambda item: "first_run" not in item.fixturenames)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Path of a prepared file with a few real images, a subset of the embedded digits."""
    from bnopt import data
    from bnopt.files import images

    digits = data.prepare(images="digits", cache=None)
    few = dataclasses.replace(
        digits,
        train_images=digits.train_images[:TRAIN_SAMPLES],
        train_labels=digits.train_labels[:TRAIN_SAMPLES],
        test_images=digits.test_images[:TEST_SAMPLES],
        test_labels=digits.test_labels[:TEST_SAMPLES],
    )
    path = tmp_path_factory.mktemp("data") / "images.npz"
    images.write(few, path)
    return path


@pytest.fixture(params=["cpu", "cuda"])
def device_name(request):
    """Name of a device: the CPU, then the GPU. The GPU is skipped where there is none."""
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU: what is promised on GPUs is not seen here")
    return request.param


@pytest.fixture(scope="session")
def config():
    """The real study, as config.yaml and claims.yaml define it."""
    return copy.deepcopy(CONFIG)


@pytest.fixture
def changed(config):
    """Function: (path, value) pairs -> a copy of the configuration with these changes.

    The keys of a path are joined by " > ". The value ... removes the entry.
    """

    def changed(*changes):
        result = copy.deepcopy(config)
        for path, value in changes:
            entry = result
            *parents, key = path.split(" > ")
            for parent in parents:
                entry = entry[parent]
            key = int(key) if isinstance(entry, list) else key
            if value is ...:
                del entry[key]
            else:
                entry[key] = value
        return result

    return changed


@pytest.fixture(params=MEASURED, ids="-".join)
def measured(request):
    """A pair (probe, task): each probe with each task it is configured for."""
    return request.param


@pytest.fixture(scope="session")
def small_config(config):
    """The study with a digits scale small enough for a test."""
    small = copy.deepcopy(config)
    scale = small["scales"][SCALE]
    few_steps = {"steps": 8, "test_every": 3, "snapshot_every": 3}
    scale["seeds"] = [0, 1]
    scale["vgg"] |= few_steps | {
        "net": {"convolutions": [4, 4, "M", 6, 6], "hidden": [8]},
        # The net has five layers below the logits. Names measured together have different layers.
        "layers": {"#1": 1, "#2": 1, "#3": 2, "#5": 3, "#9": 3, "#10": 5, "#11": 4, "#13": 5},
        "batch_size": 32,
    }
    scale["deep_linear"] |= few_steps | {
        "net": {"depth": 10},
        "layers": {name: number for number, name in enumerate(scale["deep_linear"]["layers"], start=1)},
        "batch_size": 40,
    }
    small["probes"] |= copy.deepcopy(NOT_CONFIGURED)
    for of_task in small["probes"].values():
        for settings in of_task.values():
            fewer = {"units": 3, "bins": 8, "directions": 1, "every": 1, "samples": 8}
            fewer |= {"products": 6, "draws": 3}
            settings |= {key: value for key, value in fewer.items() if key in settings}
            if "step_sizes" in settings:
                settings["step_sizes"] = sorted({settings["step_sizes"][0], 1, settings["step_sizes"][-1]})
    return small


@pytest.fixture(scope="session")
def sizes_of(small_config):
    """Function: task -> the arguments of a small run: task, net, batch_size."""

    def sizes_of(task="vgg"):
        of_task = small_config["scales"][SCALE][task]
        return {"task": task, "net": of_task["net"], "batch_size": of_task["batch_size"]}

    return sizes_of


@pytest.fixture(scope="session")
def sizes(sizes_of):
    """The arguments of a small run of the task vgg."""
    return sizes_of("vgg")


@pytest.fixture(scope="session")
def probe_settings(small_config):
    """Function: probe, task -> the keyword arguments of its `measure` in the small study."""
    from bnopt.study import study

    small = study.written_out(small_config)

    def probe_settings(probe, task="vgg"):
        return study.probe_settings(small, f"{task}_batch", probe)["settings"]

    return probe_settings


@pytest.fixture(scope="session")
def run_of(prepared, sizes_of, tmp_path_factory):
    """Function: norm, seed, lr, task -> the curve of a short run and its snapshots, one per step."""
    from bnopt.run import device
    from bnopt.run.run import Run
    from bnopt.train import train

    @functools.cache
    def trained(norm, seed, lr, task):
        folder = tmp_path_factory.mktemp("snapshots")
        # Train on the CPU even if a GPU test asks first: later tests share this run.
        with mock.patch.dict(os.environ, BNOPT_DEVICE="cpu"):
            run = Run(prepared, **sizes_of(task), norm=norm, seed=seed, device=device.choose())
            curve = train(run, lr=lr, steps=12, test_every=5, snapshot_every=1, folder=folder)
        return SimpleNamespace(curve=curve, folder=folder)

    def run_of(norm, seed=0, lr=None, task="vgg"):
        return trained(norm, seed, lr or RATES[task], task)

    return run_of


@pytest.fixture(scope="session")
def point_of(prepared, sizes_of, run_of):
    """Function: norm, step, seed, task -> a new Point of a short run at that step."""
    import torch

    from bnopt.run import snapshots
    from bnopt.run.point import Point
    from bnopt.run.run import Run

    def point_of(norm, step, seed=0, task="vgg"):
        folder = run_of(norm, seed, task=task).folder
        run = Run(prepared, **sizes_of(task), norm=norm, seed=seed, device=torch.device("cpu"))
        return Point(run, snapshots.read(folder, step, "cpu"), step=step, lr=RATES[task])

    return point_of


@pytest.fixture(scope="session")
def stored_config():
    """Function: a scale -> the configuration of its stored results."""
    chosen = {
        "digits": {"parts": "all", "seeds": list(range(8))},
        "cifar10-small": {"seeds": list(range(8))},
        "cifar10-vgg": {"parts": "all"},
        "deep-linear": {"parts": ["paper", "mechanism"]},
    }
    return lambda scale: copy.deepcopy(CONFIG) | {"scale": scale} | chosen.get(scale, {})


@pytest.fixture(scope="session")
def stored_study(stored_config):
    """Function: a scale -> the study of its stored results, written out."""
    from bnopt.study import study

    return lambda scale: study.written_out(stored_config(scale))


@pytest.fixture(scope="session")
def page_of(tmp_path_factory, stored_study):
    """Function: a scale with stored results -> the file of its page, with grey figures.

    folder: where the tables are; settings: more settings of the job.
    """
    from PIL import Image

    from bnopt import page
    from bnopt.files import artefacts
    from bnopt.specifications import COLUMNS
    from bnopt.study import study

    @functools.cache
    def figures(names):
        folder = tmp_path_factory.mktemp("figures")
        for name in names:
            Image.linear_gradient("L").resize((600, 300)).convert("RGB").save(folder / f"{name}.png")
        return [str(folder / f"{name}.png") for name in names]

    def specifications(folder):
        """Return the table in a folder; an empty one where the results are of older code."""
        if (folder / "specifications.csv").exists():
            return folder / "specifications.csv"
        empty = tmp_path_factory.mktemp("specifications") / "specifications.csv"
        artefacts.write_table(pd.DataFrame(columns=COLUMNS), empty)
        return empty

    def page_of(scale, folder=None, settings=()):
        stored = ROOT / "docs" / "results"
        folder = folder or stored / scale
        told = study.page_settings(stored_study(scale)) | dict(settings)
        names = {"sensitivity": "claims_sensitivity", "per-seed": "claims_per_seed"}
        words = ["--settings", json.dumps(told), "--images", str(folder / "images.json")]
        for name in ("claims", "sensitivity", "per-seed", "alternatives"):
            words += [f"--{name}", str(folder / f"{names.get(name, name)}.csv")]
        words += ["--specifications", str(specifications(folder))]
        for name, file in {"template": "html.jinja", "style": "css", "script": "js"}.items():
            words += [f"--{name}", str(ROOT / "workflow" / "page" / f"claims.{file}")]
        others = sorted(file for file in stored.glob("*/claims.csv") if file.parent.name != scale)
        file = tmp_path_factory.mktemp("page") / "claims.html"
        words += ["--stored", *map(str, others), "--figures", *figures(tuple(told["captions"]))]
        page.main([*words, "--page", str(file)])
        return file

    return page_of


@pytest.fixture(scope="session")
def browser():
    """A real Chromium without a window, driven by selenium; skipped where it is not installed."""
    import shutil

    webdriver = pytest.importorskip("selenium.webdriver", reason="needs the package selenium")
    from selenium.webdriver.chrome.service import Service

    programs = [shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")]
    if not all(programs):
        pytest.skip("needs a browser and its driver, of the packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    # In a container, the sandbox and the small shared memory keep Chromium from starting.
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(programs[1]))
    yield driver
    driver.quit()
