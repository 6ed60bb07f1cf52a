"""Recorded functions against the functions themselves, bit for bit.

A CUDA graph replays kernels on the memory with which they were recorded, and runs no Python. Without a
GPU, `trace` imitates it: it replays the operations that PyTorch performed, on the same tensors.
"""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from bnopt import plugins
from bnopt.run import device, graphs, snapshots
from bnopt.run.graphs import Recorded
from bnopt.run.point import Point
from bnopt.run.run import Run
from bnopt.run.vectors import value_and_gradient
from bnopt.train import train

NORMS = plugins.names("norms")
SILENT = [name for name in NORMS if "nois" not in name]
RUNS = [(task, norm) for task in ("vgg", "deep_linear") for norm in SILENT]
STEPS = 8


def trace(function):
    """Imitate `graphs.record` on the CPU: warm up, record the operations, replay them without Python."""
    for _ in range(graphs.WARM_UP):
        function()
    replayed = torch.no_grad()(make_fx(lambda: tuple(function()))())
    results = [result.detach().clone() for result in replayed()]

    def replay():
        for result, value in zip(results, replayed(), strict=True):
            result.copy_(value)

    return replay, results


class Recorder:
    """Records the functions of runs on a device if asked to; counts recordings and replays."""

    def __init__(self, name, monkeypatch):
        self.device, self.monkeypatch = torch.device(name), monkeypatch
        self.recordings = self.replays = 0
        self.record = trace if name == "cpu" else graphs.record
        monkeypatch.setenv("BNOPT_DEVICE", name)
        monkeypatch.setattr(graphs, "record", self._counted)

    def _counted(self, function):
        self.recordings += 1
        replay, results = self.record(function)

        def counted():
            self.replays += 1
            replay()

        return counted, results

    def recording(self, wanted):
        """Choose whether runs record their functions from now on."""

        def recorded(run, function, *, changes=()):
            return Recorded(function, changes=changes) if wanted else function

        self.monkeypatch.setattr(Run, "recorded", recorded)


@pytest.fixture
def recorder(device_name, monkeypatch):
    return Recorder(device_name, monkeypatch)


# -- one function ---------------------------------------------------------------------------------


def test_a_replay_uses_its_own_arguments_and_returns_new_tensors(recorder):
    twice_and_square = Recorded(lambda x: [2 * x, x * x])
    x = torch.ones(3, device=recorder.device)
    first = twice_and_square(x)
    second = twice_and_square(torch.full((3,), 5.0, device=recorder.device))
    assert [result.tolist() for result in first] == [[2, 2, 2], [1, 1, 1]]
    assert [result.tolist() for result in second] == [[10, 10, 10], [25, 25, 25]]
    assert x.tolist() == [1, 1, 1]
    assert (recorder.recordings, recorder.replays) == (1, 2)


def test_recording_changes_nothing_and_every_call_changes_its_tensors_once(recorder):
    total = torch.zeros(2, device=recorder.device)

    def add(x):
        total.add_(x)
        return [total + 0]

    add = Recorded(add, changes=[total])
    one = torch.ones(2, device=recorder.device)
    assert [add(one * n)[0].tolist() for n in (1, 2, 3)] == [[1, 1], [3, 3], [6, 6]]
    assert total.tolist() == [6, 6]


def test_the_python_in_a_recorded_function_does_not_run_again(recorder):
    calls = []
    function = Recorded(lambda x: (calls.append(1), [x + len(calls)])[1])
    x = torch.zeros(1, device=recorder.device)
    first, during = function(x)[0].item(), len(calls)
    assert during >= 1
    assert function(x)[0].item() == first
    assert len(calls) == during


def test_a_recording_that_fails_restores_the_tensors_it_changed(recorder):
    total = torch.zeros(2, device=recorder.device)

    def fail(x):
        total.add_(x)
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        Recorded(fail, changes=[total])(torch.ones(2, device=recorder.device))
    assert total.tolist() == [0, 0]


def test_a_call_with_other_shapes_or_another_number_of_tensors_is_refused(recorder):
    add = Recorded(lambda x, y: [x + y])
    three = torch.ones(3, device=recorder.device)
    add(three, three)
    with pytest.raises(RuntimeError, match="size"):
        add(three, torch.ones(4, device=recorder.device))
    with pytest.raises(ValueError, match="shorter"):
        add(three)


# -- training -------------------------------------------------------------------------------------


@pytest.fixture
def trained(recorder, prepared, sizes_of, tmp_path):
    """Function: task, norm, whether to record steps -> the curve and the snapshots of a run."""

    def trained(task, norm, *, recorded, lr=None, warmup=0):
        recorder.recording(recorded)
        folder = tmp_path / f"{task}-{norm}-{recorded}"
        run = Run(prepared, **sizes_of(task), norm=norm, seed=0, device=device.choose())
        run.fast_pass = None  # as on GPUs
        curve = train(
            run,
            lr=lr or {"vgg": 0.1, "deep_linear": 1e-6}[task],
            warmup=warmup,
            steps=STEPS,
            test_every=3,
            snapshot_every=2,
            folder=folder,
        )
        return curve, [snapshots.read(folder, step, "cpu") for step in snapshots.steps(folder)]

    return trained


@pytest.mark.parametrize(("task", "norm"), RUNS)
def test_a_recorded_run_equals_the_plain_one_bit_for_bit(recorder, trained, task, norm):
    curve, states = trained(task, norm, recorded=False)
    assert recorder.recordings == 0
    fast_curve, fast_states = trained(task, norm, recorded=True)
    assert (recorder.recordings, recorder.replays) == (1, STEPS)

    assert curve.equals(fast_curve)
    assert curve["loss"][0] != curve["loss"][STEPS - 1]
    assert len(states) == len(fast_states) == STEPS // 2
    for state, fast in zip(states, fast_states, strict=True):
        assert all(torch.equal(state[name], fast[name]) for name in state)


@pytest.mark.parametrize("norm", ["none", "batch", "frozen", "weight_norm"])
def test_the_steps_of_a_warmup_are_plain_and_those_after_it_recorded(recorder, trained, norm):
    curve, states = trained("vgg", norm, recorded=False, warmup=0.5)
    fast_curve, fast_states = trained("vgg", norm, recorded=True, warmup=0.5)
    # The fourth step of the warm-up has the full rate.
    assert (recorder.recordings, recorder.replays) == (1, STEPS - STEPS // 2 + 1)
    assert curve.equals(fast_curve)
    for state, fast in zip(states, fast_states, strict=True):
        assert all(torch.equal(state[name], fast[name]) for name in state)


def test_a_recorded_run_diverges_at_the_same_step(trained):
    curve, states = trained("vgg", "none", recorded=False, lr=1e4)
    fast_curve, fast_states = trained("vgg", "none", recorded=True, lr=1e4)
    assert curve["diverged"].any()
    assert curve.equals(fast_curve)
    assert len(states) == len(fast_states)


# -- probes ---------------------------------------------------------------------------------------


def points(recorder, prepared, sizes_of, run_of, task, norm, steps):
    run = Run(prepared, **sizes_of(task), norm=norm, seed=0, device=recorder.device)
    run.fast_pass = None  # as on GPUs
    folder = run_of(norm, task=task).folder
    for step in steps:
        state = snapshots.read(folder, step, recorder.device)
        yield Point(run, state, step=step, lr=0.1 if task == "vgg" else 1e-6)


@pytest.mark.parametrize(("task", "norm"), RUNS)
def test_a_recorded_pass_equals_the_plain_one_at_every_point_of_a_run(
    run_of, recorder, prepared, sizes_of, task, norm
):
    run_of(norm, task=task)
    recorder.recording(True)
    values = []
    for point in points(recorder, prepared, sizes_of, run_of, task, norm, (2, 5, 9)):
        before = {name: tensor.clone() for name, tensor in point.run.model.state_dict().items()}
        buffers = {name: buffer.clone() for name, buffer in point.buffers.items()}
        for factor in (1.0, 0.5):
            parameters = [factor * p for p in point.parameters]
            value, gradient = value_and_gradient(point.loss, parameters)
            fast_value, fast_gradient = point.value_and_gradient(parameters)
            assert torch.equal(value, fast_value)
            assert all(torch.equal(a, b) for a, b in zip(gradient, fast_gradient, strict=True))
            values.append(value.item())
        # A pass in evaluation mode in between has no effect on the others.
        point.loss(point.parameters, training=False)
        assert all(torch.equal(before[name], value) for name, value in point.run.model.state_dict().items())
        assert all(torch.equal(buffers[name], value) for name, value in point.buffers.items())
    assert len(set(values)) == 6
    assert recorder.recordings == 1


@pytest.mark.parametrize("norm", ["batch", "l1"])
def test_probes_return_the_same_rows_recorded_or_not(
    run_of, recorder, prepared, sizes_of, probe_settings, measured, norm
):
    name, task = measured
    measure = plugins.load("probes", name).measure
    run_of(norm, task=task)
    rows = []
    for recorded in (False, True):
        recorder.recording(recorded)
        found = points(recorder, prepared, sizes_of, run_of, task, norm, (4, 8))
        rows.append([measure(point, **probe_settings(name, task)) for point in found])
    assert rows[0] == rows[1]


# -- which runs are recorded ------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
def test_runs_are_recorded_on_gpus_if_they_draw_no_noise(prepared, sizes, norm):
    run = Run(prepared, **sizes, norm=norm, seed=0, device=torch.device("cpu"))
    assert run.recorded(len) is len
    run.device = torch.device("cuda")
    recorded = run.recorded(len, changes=[1])
    if norm in SILENT:
        assert isinstance(recorded, Recorded)
        assert (recorded.function, recorded.changes) == (len, [1])
    else:
        assert recorded is len
