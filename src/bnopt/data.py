"""Stage 1: prepare the images of a scale once, in one compact file."""

import json
from pathlib import Path

import numpy as np

from bnopt import plugins, runtime
from bnopt.files import artefacts, images
from bnopt.files.images import Images
from bnopt.runtime import StudyError
from bnopt.study import image_sources
from bnopt.study.image_sources import PARTS, SOURCE, SUFFIXES


def prepare(*, images, cache, least_side=1, least_number=1):
    """Return the images of a source.

    images: the name of a data set (`datasets/`), or the path of a folder tree `train/<class>/*`,
    `test/<class>/*`; least_side, least_number: of a folder, the smallest side of its images in pixels and
    the smallest number of images in `train`; cache: folder for downloads.
    """
    if image_sources.is_named(images):
        parts, classes, source = plugins.load("datasets", images).read(cache)
        return _images(*parts, classes=classes, source=source)
    prepared = folder(Path(images))
    _check_enough(prepared, images, least_side, least_number)
    return prepared


def folder(root):
    """Return the images of a folder tree `train/<class>/*`, `test/<class>/*`, sorted by name.

    Raises StudyError if a part is missing or empty, if there are fewer than two classes, if the classes
    of the parts differ, if a file is not an image, or if images differ in size or number of channels.
    """
    classes = {part: _subfolders(root / part) for part in PARTS}
    if classes["train"] != classes["test"]:
        different = sorted(set(classes["train"]) ^ set(classes["test"]))
        raise StudyError(
            f"{root}: expected the same classes in train/ and test/, "
            f"found {', '.join(different)} in only one of them"
        )
    if len(classes["train"]) < 2:
        raise StudyError(
            f"{root / 'train'}: expected a folder for each of two or more classes, "
            f"found {', '.join(classes['train']) or 'none'}"
        )
    first = None
    parts = []
    for part in PARTS:
        pixels, labels = [], []
        for label, name in enumerate(classes[part]):
            for file in _image_files(root / part / name):
                image = _read_image(file)
                first = first or (file, image.shape)
                if image.shape != first[1]:
                    raise StudyError(
                        f"{file}: expected {_describe(first[1])} as in {first[0]}, "
                        f"found {_describe(image.shape)}"
                    )
                pixels.append(image)
                labels.append(label)
        parts.append((np.stack(pixels), labels))
    return _images(*parts, classes=classes["train"], source=_source(root))


def _source(root):
    """Return the source of the images: the folder's name and, if there is one, the text of its SOURCE.txt."""
    name = f"images from the folder {root.name}"
    file = root / SOURCE
    if not file.is_file():
        return name
    try:
        return f"{name}: {' '.join(file.read_text(encoding='utf-8').split())}"
    except UnicodeDecodeError as error:
        raise StudyError(
            f"{file}: expected text in UTF-8, found {error}; save it as UTF-8 or remove it"
        ) from error


def _check_enough(prepared, root, least_side, least_number):
    """Raise StudyError if images are too small for the poolings of the net or too few for a batch."""
    number, _, height, width = prepared.train_images.shape
    if min(height, width) < least_side:
        raise StudyError(
            f"{root}: expected images of at least {least_side} x {least_side} pixels, because every pooling "
            f"of the net (M under convolutions) halves them; found {height} x {width}"
        )
    if number < least_number:
        raise StudyError(
            f"{Path(root) / 'train'}: expected at least as many images as the batch_size, {least_number}; "
            f"found {number}"
        )


def _subfolders(path):
    if not path.is_dir():
        raise StudyError(f"{path}: expected a folder with one folder per class, found none")
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir())


def _image_files(path):
    files = sorted(f for f in path.iterdir() if f.is_file() and f.suffix.lower() in SUFFIXES)
    if not files:
        raise StudyError(f"{path}: expected image files ({' '.join(sorted(SUFFIXES))}), found none")
    return files


def _read_image(file):
    """Return an image as uint8 (channels, height, width)."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"values of more than 8 bits, mode {image.mode}")
            pixels = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise StudyError(
            f"{file}: expected an image of 8 bits per channel, found a file that cannot be read as one "
            f"({error}); repair or remove it"
        ) from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _describe(shape):
    channels, height, width = shape
    return f"{height} x {width} pixels with {channels} channel{'s' if channels > 1 else ''}"


def _images(train, test, *, classes, source):
    """Return `Images` made of (pixels, labels) of both parts; mean and std are those of the training part."""
    pixels = train[0]
    # Sums over integers are exact: equal on every machine, and no float copy of the data is needed.
    counts = [np.bincount(channel.ravel(), minlength=256) for channel in pixels.swapaxes(0, 1)]
    values = np.arange(256)
    mean = np.array([(c * values).sum() / c.sum() for c in counts])
    std = np.array(
        [np.sqrt((c * (values - m) ** 2).sum() / c.sum()) for c, m in zip(counts, mean, strict=True)]
    )
    if not (std > 0).all():
        raise StudyError(f"{source}: expected images that differ, found one colour in all of them")
    return Images(
        train_images=np.ascontiguousarray(pixels),
        train_labels=np.asarray(train[1], dtype=np.int64),
        test_images=np.ascontiguousarray(test[0]),
        test_labels=np.asarray(test[1], dtype=np.int64),
        classes=np.array(classes),
        mean=mean,
        std=std,
        source=np.array(source),
    )


def summary(prepared):
    """Return a description of prepared images, as plain values, for readers and the report."""
    channels, height, width = prepared.train_images.shape[1:]
    return {
        "source": str(prepared.source),
        "classes": prepared.classes.tolist(),
        "train": len(prepared.train_labels),
        "test": len(prepared.test_labels),
        "channels": channels,
        "height": height,
        "width": width,
        "mean": prepared.mean.tolist(),
        "std": prepared.std.tolist(),
        "sha256": prepared.checksum(),
    }


def main(argv=None):
    """Prepare images from the command line."""
    parser = runtime.parser(__spec__.name, __doc__)
    parser.add_argument("--cache", required=True, help="folder for downloads")
    parser.add_argument("--images", required=True, help="prepared images to write (.npz)")
    parser.add_argument("--summary", required=True, help="description to write (.json)")
    options = parser.parse_args(argv)
    job = runtime.job_of(options)
    prepared = prepare(cache=options.cache, **job.settings)
    images.write(prepared, options.images)
    description = json.dumps(summary(prepared), indent=2, ensure_ascii=False)
    artefacts.write_recorded(f"{description}\n", options.summary, job=job)
    print(
        f"{options.images}: {len(prepared.train_labels)} training and "
        f"{len(prepared.test_labels)} test images, {len(prepared.classes)} classes"
    )


if __name__ == "__main__":
    runtime.run(main)
