"""CIFAR-10 (Krizhevsky, 2009): photographs of ten classes, downloaded by torchvision."""

from http.client import HTTPException

from bnopt.runtime import StudyError

SIDE = 32
TRAINING_IMAGES = 50_000


def read(cache):
    """Return the training and test parts as (pixels, labels), the classes, and the source of the images.

    torchvision downloads the images once to the folder `cache` and checks their MD5 sums. Raises
    StudyError if this fails.
    """
    from torchvision.datasets import CIFAR10

    try:
        train, test = (CIFAR10(cache, train=train, download=True) for train in (True, False))
    except (OSError, RuntimeError, HTTPException) as error:
        raise StudyError(
            f"CIFAR-10: expected to download it or to find it complete in {cache}, found: {error}. "
            "Check the network and delete a damaged archive, or put cifar-10-python.tar.gz "
            "there yourself, or use a folder of images: --config images=PATH"
        ) from error
    parts = [(part.data.transpose(0, 3, 1, 2), part.targets) for part in (train, test)]
    return parts, train.classes, "CIFAR-10 (Krizhevsky, 2009)"
