"""Recorded functions against the functions themselves.

A CUDA graph replays kernels on the memory they were recorded with, and runs no Python. Where there is
no GPU, `trace` takes its place: a list of the operations that PyTorch performed, replayed likewise.
"""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from bnopt import graphs, plugins
from bnopt.graphs import Recorded

CPU = torch.device("cpu")
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(
            not torch.cuda.is_available(), reason="no GPU: CUDA graphs are replayed by traces on the CPU only"
        ),
    ),
]
SILENT = [name for name in plugins.names("norms") if "nois" not in name]


def trace(function):
    """What `graphs.record` does, on the CPU: warm up, note the operations, replay these and no Python."""
    for _ in range(graphs.WARM_UP):
        function()
    operations = torch.no_grad()(make_fx(lambda: tuple(function()))())
    results = [result.detach().clone() for result in operations()]

    def replay():
        for kept, value in zip(results, operations(), strict=True):
            kept.copy_(value)

    return replay, results


@pytest.fixture(params=DEVICES)
def place(request, monkeypatch):
    if request.param == "cpu":
        monkeypatch.setattr(graphs, "record", trace)
    return torch.device(request.param)


def test_a_replay_takes_its_arguments_and_keeps_its_results(place):
    double = Recorded(lambda x: [2 * x])
    x = torch.ones(3, device=place)
    first = double(x)
    second = double(torch.full((3,), 5.0, device=place))
    assert first[0].tolist() == [2, 2, 2]
    assert second[0].tolist() == [10, 10, 10]
    assert x.tolist() == [1, 1, 1]
