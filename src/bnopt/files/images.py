"""The prepared images of a scale: one file, which every run reads."""

import hashlib
from dataclasses import dataclass, fields

import numpy as np

from bnopt.files import records
from bnopt.files.artefacts import atomic


@dataclass(frozen=True)
class Images:
    """Labelled images, split into training and test.

    `*_images`: uint8 (samples, channels, height, width); `*_labels`: int64 (samples,), indices in
    `classes`; `mean`, `std`: float64 (channels,), of the training images, in units of pixel values;
    `source`: where the images come from.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    source: np.ndarray

    def checksum(self):
        """Return the SHA-256 of all arrays, their names, types and shapes."""
        digest = hashlib.sha256()
        for field in fields(self):
            array = np.ascontiguousarray(getattr(self, field.name))
            digest.update(f"{field.name} {array.dtype} {array.shape}\n".encode())
            digest.update(array)
        return digest.hexdigest()


def write(images, path):
    """Write prepared images and their checksum to an uncompressed .npz file."""
    arrays = {field.name: getattr(images, field.name) for field in fields(images)}
    with atomic(path) as partial:
        np.savez(partial, checksum=np.array(images.checksum()), **arrays)


def read(path):
    """Read prepared images; raise StudyError if the file is truncated or altered."""
    with open(path, "rb") as opened:
        try:
            with np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            checksum = str(arrays.pop("checksum"))
            images = Images(**arrays)
            if images.checksum() != checksum:
                raise ValueError("its checksum does not match its content")
        except Exception as error:  # numpy raises errors of many kinds for damaged bytes
            raise records.damaged(
                path, f"expected prepared images, found a damaged file ({error})"
            ) from error
    return images
