"""The contract of every task: its planning functions agree with the nets that it builds.

Planning calls them without importing the task: they must not need its net or its data.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from bnopt import plugins
from bnopt.files import images
from bnopt.files.images import Images
from bnopt.run.run import Run
from bnopt.study import schema
from bnopt.study.study import tasks_of

ROOT = Path(__file__).parents[2]
CONFIG = schema.read(ROOT / "config.yaml")
BATCH_SIZE = 2
CASES = [(task, scale) for scale, sizes in CONFIG["scales"].items() for task in tasks_of(sizes)]
pytestmark = pytest.mark.parametrize(("task", "scale"), CASES, ids=map("-".join, CASES))


@pytest.fixture
def net(task, scale):
    """The arguments of the task's `build` at a scale of the configuration."""
    return CONFIG["scales"][scale][task]["net"]


@pytest.fixture
def run_of(task, net, tmp_path):
    """Function: side -> a run of the task on images of this side in pixels; None for no images."""

    def run_of(side):
        path = None if side is None else tmp_path / f"{side}.npz"
        if path:
            images.write(random_images(side), path)
        given = {"task": task, "norm": "batch", "net": net, "batch_size": BATCH_SIZE}
        return Run(path, **given, seed=0, device=torch.device("cpu"))

    return run_of


def random_images(side):
    """Return two training and two test images with one channel, of two classes."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, BATCH_SIZE, 1, side, side), dtype=np.uint8)
    labels = np.arange(BATCH_SIZE)
    return Images(
        train_images=pixels[0],
        train_labels=labels,
        test_images=pixels[1],
        test_labels=labels,
        classes=np.array(["a", "b"]),
        mean=np.array([127.0]),
        std=np.array([70.0]),
        source=np.array("a test"),
    )


def outputs(run):
    """Return module name -> the shape of its output, for one pass on a batch."""
    shapes = {}
    for name, module in run.model.named_modules():
        module.register_forward_hook(
            lambda _module, _inputs, output, name=name: shapes.__setitem__(name, tuple(output.shape))
        )
    run.model(run.batch(0)[0])
    return shapes


def runs_on(run_of, side):
    """Return whether the net can be built for images of this side, and be run on them."""
    try:
        outputs(run_of(side))
    except (RuntimeError, ValueError, ZeroDivisionError):
        return False
    return True


def test_widths_are_the_units_of_all_layers_of_the_net_but_the_last(task, net, run_of):
    widths = plugins.call("tasks", task, "widths", **net)
    run = run_of(plugins.call("tasks", task, "image_side", **net))
    shapes = outputs(run)
    layers = [name for name, _ in run.model.named_children()]
    assert layers == [str(number) for number in range(1, len(widths) + 2)]
    for layer, width in zip(layers[:-1], widths, strict=True):
        linear = run.model.get_submodule(f"{layer}.linear")
        assert linear.weight.shape[0] == width
        assert {shapes[f"{layer}.{module}"][1] for module in run.task.SITES.values()} == {width}


# PyTorch warns of layers without inputs, which are built for images that are too small.
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_image_side_is_the_smallest_side_on_which_the_net_runs(task, net, run_of):
    side = plugins.call("tasks", task, "image_side", **net)
    if side is None:
        assert runs_on(run_of, None)
    else:
        with pytest.raises(TypeError):
            run_of(None)
        assert [smaller for smaller in range(1, side + 1) if runs_on(run_of, smaller)] == [side]
