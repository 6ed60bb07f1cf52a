"""Sources of images: a named data set, or a folder train/<class>/*, test/<class>/*."""

import hashlib
import json
from functools import cache
from pathlib import Path

from bnopt import plugins

# The parts of a folder of images, the accepted suffixes, and the file that states the source.
PARTS = ("train", "test")
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
SOURCE = "SOURCE.txt"


def is_named(source):
    """Return whether a source of images is a named data set rather than a folder."""
    return source in plugins.names("datasets")


def known(source):
    """Return the side in pixels and the number of training images of a named data set, without reading it."""
    return tuple(plugins.constant("datasets", source, name) for name in ("SIDE", "TRAINING_IMAGES"))


def has_parts(folder):
    """Return whether a folder has both parts."""
    return all((Path(folder).expanduser() / part).is_dir() for part in PARTS)


def needs(sizes):
    """Return the least side in pixels and least number of images that these tasks need; {} for no images."""
    needed = [
        (side, of_task["batch_size"])
        for task, of_task in sizes.items()
        if (side := plugins.call("tasks", task, "image_side", **of_task["net"]))
    ]
    names = ("least_side", "least_number")
    return {name: max(values) for name, values in zip(names, zip(*needed, strict=True), strict=False)}


def settings(source, sizes):
    """Return the settings of the job that prepares images for tasks of these sizes.

    A named data set is checked against the sizes before any job runs; a folder is checked when it is
    prepared.
    """
    if is_named(source):
        return {"images": source}
    return {"images": str(Path(source).expanduser())} | needs(sizes)


def content(source):
    """Return a fingerprint of a folder's files (names and sizes), or the name of a named data set."""
    return source if is_named(source) else _listing(Path(source).expanduser())


@cache
def _listing(root):
    images = (file for part in PARTS for file in root.glob(f"{part}/*/*"))
    read = [root / SOURCE, *(file for file in images if file.suffix.lower() in SUFFIXES)]
    listing = sorted((str(file.relative_to(root)), file.stat().st_size) for file in read if file.is_file())
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()[:16]
