"""Sources of images: a named data set, or a folder train/<class>/*, test/<class>/*."""

import hashlib
import json
import os
import stat
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from bnopt import plugins

# The parts of a folder of images, the accepted suffixes, and the file that states the source.
PARTS = ("train", "test")
SUFFIXES = {
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
}
SOURCE = "SOURCE.txt"
# Suffixes of images that are not read. A folder with one of them is refused: it would lose an image.
UNREAD = {
    *(".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".j2k", ".jpx", ".jpf", ".svg", ".psd", ".xcf"),
    *(".tga", ".ico", ".icns", ".dib", ".pcx", ".qoi", ".dds", ".eps", ".pfm", ".pam", ".exr", ".hdr"),
    *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2", ".dcm", ".dicom", ".fits"),
}
# Files and folders of operating systems and file servers. Names are compared without regard to case.
SYSTEM = {
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "lost+found"),
    *("@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "system volume information"),
}
# Checksums of folders, so that planning reads a folder's files only after a change.
CHECKSUMS = Path(".snakemake", "checksums_of_images.json")
MOST_CHECKSUMS = 20
# File systems store times in steps of up to two seconds: a later change within a step would go unnoticed.
STEP_OF_TIME = 2


def is_named(source):
    """Return whether a source of images is a named data set rather than a folder."""
    return source in plugins.names("datasets")


def known(source):
    """Return the side in pixels and the number of training images of a named data set, without reading it."""
    return tuple(plugins.constant("datasets", source, name) for name in ("SIDE", "TRAINING_IMAGES"))


def path(source):
    """Return the absolute path of a folder of images, or "" for a named data set."""
    return "" if is_named(source) else os.path.abspath(os.path.expanduser(source))


def name(source):
    """Return the name of a source in settings and reports; for a folder this is not its path.

    So the same folder is the same images, however its path is written and wherever the folder is moved.
    """
    return (
        source
        if is_named(source)
        else f"the folder {shown(os.path.basename(os.path.realpath(path(source))))}"
    )


def shown(text):
    """Return a path or name as printable text: bytes that are not UTF-8 and line breaks are escaped."""
    return "".join(c if c.isprintable() else _escaped(c) for c in str(text))


def _escaped(character):
    # Python keeps a byte that is not UTF-8 as one of these characters.
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def has_parts(folder):
    """Return whether a folder has both parts."""
    return all(os.path.isdir(os.path.join(os.path.expanduser(folder), part)) for part in PARTS)


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
    prepared. The record of the images repeats the settings: it says which content a folder of this name had.
    """
    if is_named(source):
        return {"images": source}
    return {"images": f"{content(source)} in {name(source)}"} | needs(sizes)


# -- the files of a folder ------------------------------------------------------------------------


def suffix(name):
    """Return the suffix of a file's name in lower case."""
    return os.path.splitext(name)[1].lower()


def is_ignored(name):
    """Return whether an entry is hidden, such as .DS_Store or ._1.png, or belongs to the system."""
    return name.startswith(".") or name.lower() in SYSTEM


def image_entries(folder, links=3):
    """Yield everything at any depth in a folder that is called an image, as entries of `os.scandir`.

    links: the number of levels on which symbolic links to folders are followed. The limit ends loops.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # The job that reads the images names the folder and the reason.
        return
    for entry in entries:
        if is_ignored(entry.name):
            continue
        link = entry.is_symlink()
        # `entry.is_dir` needs no further call of the system, but raises an error for a link to itself.
        if os.path.isdir(entry.path) if link else entry.is_dir():
            if links > 0 or not link:
                yield from image_entries(entry.path, links - 1)
        elif suffix(entry.name) in SUFFIXES | UNREAD:
            yield entry


def content(source):
    """Return a fingerprint of the names and the content of a folder's images, or a data set's name."""
    return source if is_named(source) else _fingerprint(path(source))


@cache
def _fingerprint(root):
    """Return the fingerprint of a folder; files are read only if their status has changed."""
    files = [os.path.join(root, SOURCE)]
    files += [entry.path for part in PARTS for entry in image_entries(os.path.join(root, part))]
    names = [file.removeprefix(root) for file in files]
    status = [_status(file) for file in files]
    known = _checksums()
    key = _digest(list(zip(names, status, strict=True)))
    if key not in known:
        known[key] = _digest([(name, _read(file)) for name, file in zip(names, files, strict=True)])
        changed = max((found[2] for found in status if found), default=0)
        if changed < (time.time() - STEP_OF_TIME) * 1e9:
            _remember(known)
    return known[key]


def _status(file):
    """Return what changes with a file's content, or None if it is no file that can be read.

    The time of the last change of the status and the inode reveal files that were renamed into each
    other, even where all files have one time of modification, as those of an archive do.
    """
    try:
        found = os.stat(file)
    except (OSError, ValueError):
        return None
    regular = stat.S_ISREG(found.st_mode)
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino] if regular else None


def _read(file):
    """Return the SHA-256 of a file, or None if it is no file that can be read."""
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest() if _status(file) else None
    except OSError:
        return None


def _digest(listing):
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()[:16]


def _checksums():
    """Return the remembered fingerprints: that of the files' status -> that of their content."""
    try:
        found = json.loads(CHECKSUMS.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _remember(known):
    """Keep the last fingerprints for the next call, which otherwise reads the files again."""
    partial = CHECKSUMS.with_name(f".{CHECKSUMS.name}.{os.getpid()}")
    try:
        CHECKSUMS.parent.mkdir(exist_ok=True)
        partial.write_text(json.dumps(dict(list(known.items())[-MOST_CHECKSUMS:])), encoding="utf-8")
        os.replace(partial, CHECKSUMS)
    except OSError:
        with suppress(OSError):
            partial.unlink()
