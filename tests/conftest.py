"""What several tests share: a small real data set, a small study, short runs, and points of these runs."""

import copy
import dataclasses
import functools
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

# Bitwise promises hold on one device; the tests compare on the CPU, whatever the machine has.
os.environ["BNOPT_DEVICE"] = "cpu"

ROOT = Path(__file__).parents[1]
TRAIN_SAMPLES, TEST_SAMPLES = 200, 60


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Path of a prepared file of a few real images: part of the embedded digits."""
    from bnopt import data, images

    digits = data.digits()
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


@pytest.fixture(scope="session")
def config():
    """The study itself, as config.yaml has it."""
    return yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def small_config(config):
    """The study with the sizes of its digits scale shrunk to what a test can afford."""
    small = copy.deepcopy(config)
    sizes = small["scales"]["digits"]["vgg"]
    sizes["net"] = {"convolutions": [4, 4, "M", 6, 6], "hidden": [8]}
    sizes["layers"] = {name: 1 + i % 5 for i, name in enumerate(sizes["layers"])}
    sizes |= {"steps": 12, "batch_size": 32, "test_every": 5, "snapshot_every": 3}
    small["scales"]["digits"]["seeds"] = [0, 1]
    return small


@pytest.fixture(scope="session")
def sizes(small_config):
    """The keyword arguments of a small run on the digits: task, net, batch_size."""
    of_task = small_config["scales"]["digits"]["vgg"]
    return {"task": "vgg", "net": of_task["net"], "batch_size": of_task["batch_size"]}


@pytest.fixture(scope="session")
def probe_settings(small_config):
    """Function: probe -> the keyword arguments that the small study gives its `measure`."""
    from bnopt import study

    return lambda probe: study.probe_settings(small_config, "digits", "vgg_batch", probe)["settings"]


@pytest.fixture(scope="session")
def run_of(prepared, sizes, tmp_path_factory):
    """Function: norm, seed, lr -> curve and snapshot folder of a short run with a snapshot at every step."""
    from bnopt.train import train

    @functools.cache
    def run_of(norm, seed=0, lr=0.1):
        folder = tmp_path_factory.mktemp("snapshots")
        curve = train(
            prepared,
            **sizes,
            norm=norm,
            lr=lr,
            steps=12,
            test_every=5,
            snapshot_every=1,
            seed=seed,
            folder=folder,
        )
        return SimpleNamespace(curve=curve, folder=folder, norm=norm, seed=seed, lr=lr)

    return run_of


@pytest.fixture(scope="session")
def point_of(prepared, sizes, run_of):
    """Function: norm, step, seed -> a fresh Point of such a run at that step."""
    import torch

    from bnopt import snapshots
    from bnopt.point import Point
    from bnopt.run import Run

    def point_of(norm, step, seed=0):
        folder = run_of(norm, seed).folder
        run = Run(prepared, **sizes, norm=norm, seed=seed, device=torch.device("cpu"))
        return Point(run, snapshots.read(folder, step, "cpu"), step=step, lr=0.1)

    return point_of
