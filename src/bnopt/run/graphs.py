"""Functions of tensors recorded as CUDA graphs: a GPU runs their kernels without waiting for Python."""

import torch

# Calls before recording, in which libraries choose kernels and allocate their buffers.
WARM_UP = 3


class Recorded:
    """A function of tensors that is recorded at its first call and replayed, with the same bits.

    function: returns a sequence of tensors. Its Python code runs only during the recording. Its results
    may therefore depend only on its arguments, whose shapes are the same at every call, and on tensors
    that outlive it. changes: the tensors that it changes in place; recording restores their values.
    """

    def __init__(self, function, *, changes=()):
        self.function, self.changes = function, changes
        self.replay = None

    def __call__(self, *arguments):
        """Return the results of the function for these arguments, as new tensors."""
        if self.replay is None:
            self._record(arguments)
        for own, given in zip(self.arguments, arguments, strict=True):
            own.copy_(given)
        self.replay()
        return [result.clone() for result in self.results]

    def _record(self, arguments):
        self.arguments = [argument.detach().clone() for argument in arguments]
        before = [tensor.detach().clone() for tensor in self.changes]
        try:
            self.replay, self.results = record(lambda: self.function(*self.arguments))
        finally:
            with torch.no_grad():
                for tensor, value in zip(self.changes, before, strict=True):
                    tensor.copy_(value)


def record(function):
    """Record `function()` on a GPU; return a function that replays its kernels, and the results it fills."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # The stream is one of this GPU: PyTorch's own belongs to the first GPU that a process records on.
    with torch.cuda.graph(graph, stream=stream):
        results = function()
    return graph.replay, results
