"""Functions of tensors recorded as CUDA graphs: a GPU runs their kernels without waiting for Python."""

import torch

# Calls before recording, in which libraries choose kernels and allocate what they keep.
WARM_UP = 3


class Recorded:
    """A function of tensors, recorded at its first call and replayed from then on, to the same bits.

    function: returns a sequence of tensors. The Python in it runs while recording only, so its results
    may depend on nothing but its arguments, of the same shapes at every call, and tensors that outlive
    it. changes: those of these tensors that it changes in place; recording leaves them as they were.
    """

    def __init__(self, function, *, changes=()):
        self.function, self.changes = function, changes
        self.replay = None

    def __call__(self, *arguments):
        """Return what the function returns for these arguments, in tensors of their own."""
        if self.replay is None:
            self._record(arguments)
        for kept, given in zip(self.arguments, arguments, strict=True):
            kept.copy_(given)
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
    """Return a function that replays the kernels of `function()` on a GPU, and the results it fills."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # On a stream of this GPU: the one PyTorch would take is of the first GPU a process records on.
    with torch.cuda.graph(graph, stream=stream):
        results = function()
    return graph.replay, results
