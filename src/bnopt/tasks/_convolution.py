"""The convolutions of the task vgg: 3 × 3, on images of any size, and faster on images of 2 × 2 pixels."""

import torch
from torch import nn
from torch.nn import functional

# Output pixel p of a 2 × 2 image sees its input pixel q through one entry of the 3 × 3 kernel. These are
# the entries, counted by rows, of all (p, q): q's row and column minus p's, plus 1.
_PIXELS = [(row, column) for row in (0, 1) for column in (0, 1)]
_ENTRIES = torch.tensor([3 * (q[0] - p[0] + 1) + q[1] - p[1] + 1 for p in _PIXELS for q in _PIXELS])


class Convolution(nn.Conv2d):
    """A 3 × 3 convolution that keeps the size of its images, with the parameters of `torch.nn.Conv2d`.

    On images of 2 × 2 pixels, every output pixel sees every input pixel. There the convolution is a dense
    product of all channels of all pixels. On CPUs this takes a third to a half of the time: the convolution
    itself pads the images to 4 × 4, and the gradient of its weights is slow. Larger images are slower as
    dense products, because many entries of their matrices are zero.
    """

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, images):
        if images.shape[2:] == (2, 2) and images.device.type == "cpu":
            return dense(images, self.weight, self.bias)
        return super().forward(images)


def dense(images, weight, bias):
    """Return the 3 × 3 convolution of 2 × 2 images, (samples, channels, 2, 2), as one dense product.

    The channels of a pixel are adjacent in memory in the result, and best so in `images` and `weight`.
    """
    outputs, inputs = weight.shape[:2]
    kernel = weight.permute(0, 2, 3, 1).reshape(outputs, 9, inputs)
    blocks = kernel.index_select(1, _ENTRIES).view(outputs, 4, 4 * inputs)
    matrix = blocks.transpose(0, 1).reshape(4 * outputs, 4 * inputs)
    pixels = images.permute(0, 2, 3, 1).reshape(len(images), 4 * inputs)
    return functional.linear(pixels, matrix, bias.repeat(4)).view(-1, 2, 2, outputs).permute(0, 3, 1, 2)
