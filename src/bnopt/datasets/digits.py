"""The UCI digits: small grey images of handwritten digits, included in scikit-learn."""

import numpy as np

SIDE = 8
TRAINING_IMAGES = 1437


def read(cache):
    """Return the training and test parts as (pixels, labels), the classes, and the source of the images.

    There are 1,797 images of 8 x 8 pixels. scikit-learn does not split them; the test part is a stratified
    fifth, always the same. Nothing is downloaded, so `cache` is unused.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    del cache
    pixels, labels = load_digits(return_X_y=True)
    pixels = pixels.reshape(-1, 1, SIDE, SIDE).astype(np.uint8)
    train, test = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    parts = [(pixels[part], labels[part]) for part in (train, test)]
    classes = [str(digit) for digit in range(10)]
    return parts, classes, "UCI digits, as embedded in scikit-learn"
