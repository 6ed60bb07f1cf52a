"""Stage 1: prepare the images of a scale once, in one compact file."""

import json
import os
import unicodedata
from pathlib import Path

import numpy as np

from bnopt import plugins, runtime
from bnopt.files import artefacts, images
from bnopt.files.images import Images
from bnopt.runtime import StudyError
from bnopt.study import image_sources
from bnopt.study.image_sources import PARTS, SOURCE, SUFFIXES, UNREAD, shown

# The formats of Pillow that are read, and the modes that become grey or RGB as every viewer shows them.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
MODES = ("1", "L", "P", "RGB", "LA", "PA", "RGBA")
LARGEST = 255
EXPECTED = "expected an image of 8 bits per channel, grey or RGB"
# The number of skipped files that the log and the description name for each reason.
MOST_NAMED = 5


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

    Raises StudyError if `sort_out` does, if a file is not an image that can be read as it looks, or if
    images differ in size or number of channels.
    """
    files, _ = sort_out(root)
    first = None
    parts = []
    for part in PARTS:
        pixels, labels = [], []
        for label, of_class in enumerate(files[part].values()):
            for file in of_class:
                image = _read_image(file)
                first = first or (file, image.shape)
                if image.shape != first[1]:
                    raise StudyError(
                        f"{shown(file)}: expected {_describe(first[1])} as in {shown(first[0])}, "
                        f"found {_describe(image.shape)}"
                    )
                pixels.append(image)
                labels.append(label)
        parts.append((np.stack(pixels), labels))
    return _images(*parts, classes=list(files["train"]), source=_source(root))


# -- which files are read -------------------------------------------------------------------------


def sort_out(root):
    """Return part -> class -> files to read, both sorted by name, and path -> why it is skipped.

    Raises StudyError if a part is missing or empty, if there are fewer than two classes, if the classes
    of the parts differ, or if an image would be lost: it lies too deep or not deep enough, its link is
    broken, or nothing here reads its kind.
    """
    skipped = {}
    for entry in _visible(root, skipped):
        if entry.name not in (*PARTS, SOURCE):
            skipped[entry.path] = "not in train/ or test/"
    folders = {part: _class_folders(root / part, skipped) for part in PARTS}
    _check_classes(root, folders)
    # Names are those of train/. One name may be stored in two forms of Unicode: composed and decomposed.
    names = {folder.name: key for key, folder in folders["train"].items()}
    files = {
        part: {name: _image_files(folders[part][names[name]], skipped) for name in sorted(names)}
        for part in PARTS
    }
    return files, skipped


def _visible(path, skipped):
    """Return the entries of a folder sorted by name, without hidden ones and those of the system."""
    if not path.is_dir():
        return []
    visible = []
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if entry.name.endswith(".icloud"):
            raise StudyError(
                f"{shown(entry.path)}: expected an image, found the mark of a file that iCloud has not "
                "downloaded; download it"
            )
        if image_sources.is_ignored(entry.name):
            skipped[entry.path] = "hidden or of the system"
        else:
            visible.append(entry)
    return visible


def _class_folders(path, skipped):
    """Return the name of each class in its composed form -> its folder."""
    if not path.is_dir():
        raise StudyError(f"{shown(path)}: expected a folder with one folder per class, found none")
    folders = {}
    for entry in _visible(path, skipped):
        if entry.is_symlink() and not os.path.exists(entry.path):
            raise StudyError(
                f"{shown(entry.path)}: expected the folder of a class, found a broken link to "
                f"{shown(os.readlink(entry.path))}; restore or remove it"
            )
        if not os.path.isdir(entry.path):
            if image_sources.suffix(entry.name) in SUFFIXES | UNREAD:
                raise StudyError(
                    f"{shown(entry.path)}: expected only the folders of classes, found an image; move it "
                    f"to the folder of its class or out of {path.name}/"
                )
            skipped[entry.path] = "not in the folder of a class"
            continue
        key = unicodedata.normalize("NFC", _checked_name(entry))
        if key in folders:
            raise StudyError(f"{shown(path)}: expected different names of classes, found {key} twice")
        folders[key] = Path(entry.path)
    return folders


def _checked_name(entry):
    """Return the name of a class, which is written to the results as UTF-8."""
    try:
        entry.name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise StudyError(
            f"{shown(entry.path)}: expected the name of a class in UTF-8, found other bytes; rename the "
            "folder"
        ) from error
    return entry.name


def _check_classes(root, folders):
    """Raise StudyError unless both parts have the same two or more classes."""
    train, test = (set(folders[part]) for part in PARTS)
    if train != test:
        different = ", ".join(map(shown, sorted(train ^ test)))
        raise StudyError(
            f"{shown(root)}: expected the same classes in train/ and test/, "
            f"found {different} in only one of them"
        )
    if len(train) < 2:
        raise StudyError(
            f"{shown(root / 'train')}: expected a folder for each of two or more classes, "
            f"found {', '.join(map(shown, train)) or 'none'}"
        )


def _image_files(path, skipped):
    """Return the images in the folder of a class, sorted by name."""
    files = []
    for entry in _visible(path, skipped):
        if os.path.isdir(entry.path):
            _refuse_images_below(entry)
            skipped[entry.path] = "a folder without images"
        elif image_sources.suffix(entry.name) in SUFFIXES:
            files.append(_checked_file(entry))
        else:
            _refuse_image_of_another_kind(entry)
            skipped[entry.path] = "not an image"
    if not files:
        expected = f"image files ({' '.join(sorted(SUFFIXES))})"
        raise StudyError(f"{shown(path)}: expected {expected}, found none")
    return files


def _refuse_images_below(entry):
    first = next(image_sources.image_entries(entry.path), None)
    if first:
        raise StudyError(
            f"{shown(entry.path)}: expected an image, found a folder with images in it, such as "
            f"{shown(first.name)}; move them one level up or the folder elsewhere"
        )


def _checked_file(entry):
    """Return the path of an image, which is a file or a link to one."""
    file = Path(entry.path)
    if not file.is_file():
        broken = file.is_symlink() and not file.exists()
        found = f"a broken link to {shown(os.readlink(file))}" if broken else "something that is no file"
        raise StudyError(f"{shown(file)}: expected an image, found {found}; restore or remove it")
    return file


def _refuse_image_of_another_kind(entry):
    """Raise StudyError if a file is an image that would be lost because of its suffix."""
    ending = image_sources.suffix(entry.name)
    if ending in UNREAD:
        raise StudyError(
            f"{shown(entry.path)}: expected an image of a kind that is read "
            f"({' '.join(sorted(SUFFIXES))}), found {ending}; convert or remove it"
        )
    kind = _kind_of(entry.path)
    if kind:
        raise StudyError(
            f"{shown(entry.path)}: expected a name that ends as those of images do, found a {kind} image "
            f"named {ending or 'without a suffix'}; rename or remove it"
        )


def _kind_of(path):
    """Return the format of an image, whatever its name, or None if the file is no image."""
    from PIL import Image

    if not os.path.isfile(path):  # Opening a pipe would wait for its other end.
        return None
    try:
        # Text may begin as a PPM does.
        with Image.open(path, formats=[kind for kind in FORMATS if kind != "PPM"]) as image:
            return image.format
    except Exception:  # Pillow raises errors of many kinds for files that are no images.
        return None


def _source(root):
    """Return the source of the images: the folder's name and, if there is one, the text of its SOURCE.txt."""
    name = f"images from {image_sources.name(root)}"
    file = root / SOURCE
    if not os.path.lexists(file):
        return name
    try:
        # Editors of Windows write a mark at the beginning of UTF-8, which utf-8-sig leaves out.
        return f"{name}: {' '.join(file.read_text(encoding='utf-8-sig').split())}"
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(
            f"{shown(file)}: expected text in UTF-8, found {error}; save it as UTF-8 or remove it"
        ) from error


def _check_enough(prepared, root, least_side, least_number):
    """Raise StudyError if images are too small for the poolings of the net or too few for a batch."""
    number, _, height, width = prepared.train_images.shape
    if min(height, width) < least_side:
        raise StudyError(
            f"{shown(root)}: expected images of at least {least_side} x {least_side} pixels, because every "
            f"pooling of the net (M under convolutions) halves them; found {height} x {width}"
        )
    if number < least_number:
        raise StudyError(
            f"{shown(Path(root) / 'train')}: expected at least as many images as the batch_size, "
            f"{least_number}; found {number}"
        )


# -- reading an image -----------------------------------------------------------------------------


def _read_image(file):
    """Return an image, turned as viewers show it, as uint8 (channels, height, width)."""
    from PIL import Image

    try:
        with Image.open(file, formats=FORMATS) as image:
            found = _unreadable(image)
            if not found:
                image.load()
                _turn(image)
                found = _transparent(image)
            if not found:
                pixels = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    except Exception as error:  # Pillow raises errors of many kinds for damaged bytes.
        found = f"{_what_is_wrong(file, error)}; repair or remove it"
        raise StudyError(f"{shown(file)}: {EXPECTED}, found {found}") from error
    if found:
        raise StudyError(f"{shown(file)}: {EXPECTED}, found {found}")
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _unreadable(image):
    """Return what an opened image has that cannot be read as it looks, and what to do; or None.

    Pillow cuts 16 bits to 8 without a word while it decodes. Only the decoder's arguments tell: a raw
    mode such as RGB;16B, or the largest value of a PPM.
    """
    tiles = [tile.args if isinstance(tile.args, tuple) else (tile.args,) for tile in image.tile]
    arguments = [str(argument) for of_tile in tiles for argument in of_tile]
    largest = [int(argument) for argument in arguments if argument.isdecimal() and image.format == "PPM"]
    if (
        image.mode.startswith(("I", "F"))
        or any(";16" in argument for argument in arguments)
        or max(largest, default=0) > LARGEST
    ):
        return "values of more than 8 bits; convert it to 8 bits, all images on the same scale"
    if image.mode not in MODES:
        return f"the colour space {image.mode}; convert it to RGB"
    # The further pictures of an MPO, a JPEG of a camera, are previews or views of the same scene.
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        return f"{frames} frames or pages; save the one to read as an image of its own"
    return None


def _turn(image):
    """Turn and mirror an image as its EXIF data says."""
    from PIL import ImageOps

    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception as error:  # Damaged EXIF data; viewers show the image as it is stored.
        print(f"{shown(image.filename)}: its EXIF data is damaged and not used ({shown(error)})")


def _transparent(image):
    """Return a description if pixels of an image are transparent, and what to do; or None."""
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < LARGEST:
        return (
            "transparent pixels, whose colour depends on the background; "
            "put it on a background and save it without transparency"
        )
    return None


def _what_is_wrong(file, error):
    """Return in words why a file cannot be read as an image."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, Image.DecompressionBombError):
        return f"too many pixels ({error})"
    try:
        with open(file, "rb") as opened:
            start = opened.read(64)
    except OSError as unreadable:
        return f"a file that cannot be opened ({unreadable.strerror})"
    if not start:
        return "an empty file"
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS instead of the image (git lfs pull fetches it)"
    if not isinstance(error, UnidentifiedImageError):
        return f"damaged or incomplete content ({shown(error)})"
    if start[4:8] == b"ftyp":
        return f"content of the kind {shown(start[8:12].decode('latin-1'))}, as in HEIC, AVIF or a film"
    text = start.decode("utf-8", "ignore")  # the last letter may be cut
    if len(text.encode()) > len(start) - 4 and all(c.isprintable() or c in "\t\r\n" for c in text):
        return f"text that begins with {text[:20]!r}"
    return f"content of no kind of image that is read (it begins with the bytes {start[:8].hex(' ')})"


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


def describe_skipped(root):
    """Return reason -> the number of skipped entries of a folder and the first names; {} without a folder."""
    found = {}
    for path, reason in (sort_out(Path(root))[1] if root else {}).items():
        found.setdefault(reason, []).append(shown(os.path.relpath(path, root)))
    return {
        reason: {"number": len(names), "first": sorted(names)[:MOST_NAMED]}
        for reason, names in sorted(found.items())
    }


def summary(prepared, skipped=None):
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
        "skipped": skipped or {},
    }


def main(argv=None):
    """Prepare images from the command line."""
    parser = runtime.parser(__spec__.name, __doc__)
    parser.add_argument("--cache", required=True, help="folder for downloads")
    # Snakemake passes an empty text as nothing.
    parser.add_argument("--folder", nargs="?", const="", default="", help="folder of images, if it is one")
    parser.add_argument("--images", required=True, help="prepared images to write (.npz)")
    parser.add_argument("--summary", required=True, help="description to write (.json)")
    options = parser.parse_args(argv)
    job = runtime.job_of(options)
    source = {"images": options.folder} if options.folder else {}
    prepared = prepare(cache=options.cache, **job.settings | source)
    skipped = describe_skipped(options.folder)
    images.write(prepared, options.images)
    description = json.dumps(summary(prepared, skipped), indent=2, ensure_ascii=False)
    artefacts.write_recorded(f"{description}\n", options.summary, job=job)
    print(
        f"{options.images}: {len(prepared.train_labels)} training and "
        f"{len(prepared.test_labels)} test images, {len(prepared.classes)} classes"
    )
    for reason, of_reason in skipped.items():
        print(f"skipped, {reason}: {of_reason['number']}, such as {', '.join(of_reason['first'])}")


if __name__ == "__main__":
    runtime.run(main)
