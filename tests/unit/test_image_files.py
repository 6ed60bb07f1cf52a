"""Images as people have them: each file is read as viewers show it, or refused, or skipped with a word."""

import contextlib
import io
import itertools
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import unicodedata
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnopt import data
from bnopt.runtime import StudyError
from bnopt.study import image_sources

ROOT = Path(__file__).parents[2]
HEIGHT, WIDTH = 6, 7
COLOUR = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
GREY = COLOUR[..., 0].copy()


def encoded(image, kind, **options):
    """Return the bytes of an image file; an array may be given instead of an image."""
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def lossless(array, kind, **options):
    return encoded(array, kind, **options | ({"lossless": True} if kind == "WEBP" else {}))


def write_tree(root, content=None, suffix=".png"):
    """Write a folder tree with one image in each class of each part."""
    content = content or encoded(COLOUR, "PNG")
    for part, name in itertools.product(("train", "test"), ("cat", "dog")):
        (root / part / name).mkdir(parents=True)
        (root / part / name / f"0{suffix}").write_bytes(content)
    return root


def read(folder, content, name="0.png"):
    """Return how the content of a file is read: an array (height, width, channels)."""
    file = folder / name
    file.write_bytes(content)
    return data._read_image(file).transpose(1, 2, 0)


def refused(folder, content, name="0.png"):
    """Return the sentence with which the content of a file is refused."""
    with pytest.raises(StudyError) as caught:
        read(folder, content, name)
    return checked(str(caught.value), folder / name)


def refusal(root, path):
    """Return the sentence with which a folder is refused."""
    with pytest.raises(StudyError) as caught:
        data.prepare(images=str(root), cache="not used")
    return checked(str(caught.value), path)


def checked(message, path):
    assert message.startswith(f"{image_sources.shown(path)}: expected ")
    assert ", found " in message
    assert message.isprintable()
    message.encode("utf-8")
    assert 1 <= len(re.split(r"[.!?]\s+(?=[A-Z])", message)) <= 2
    return message


# -- orientation ----------------------------------------------------------------------------------


def turned(stored, orientation):
    """Return an image as it is to be shown, pixel by pixel from the definition in the EXIF standard.

    The orientation says on which sides of the shown image the first row and column of the stored one lie.
    """
    row_side, column_side = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    height, width = stored.shape[:2]
    lies = row_side in ("left", "right")
    shown = np.empty((width, height, *stored.shape[2:]) if lies else stored.shape, stored.dtype)
    for row, column in itertools.product(range(height), range(width)):
        place = {}
        for side, index in ((row_side, row), (column_side, column)):
            axis = 0 if side in ("top", "bottom") else 1
            place[axis] = index if side in ("top", "left") else shown.shape[axis] - 1 - index
        shown[place[0], place[1]] = stored[row, column]
    return shown


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("PNG", {}),
        ("WEBP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
    ids=["jpeg", "png", "webp", "tiff", "compressed tiff"],
)
def test_an_image_is_turned_as_its_exif_data_says(tmp_path, kind, options, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain = read(tmp_path, lossless(COLOUR, kind, **options))
    found = read(tmp_path, lossless(COLOUR, kind, exif=exif, **options))
    np.testing.assert_array_equal(found, turned(plain, orientation))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif",
    [b"Exif\0\0junk", b"Exif\0\0II*\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0", b"MM"],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_data_does_not_matter(tmp_path, kind, exif):
    plain = read(tmp_path, lossless(COLOUR, kind))
    np.testing.assert_array_equal(read(tmp_path, lossless(COLOUR, kind, exif=exif)), plain)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_does_not_matter(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(read(tmp_path, lossless(COLOUR, "PNG", exif=exif)), COLOUR)


# -- modes that are read --------------------------------------------------------------------------


def png(header, rows, *more, depth=8):
    """Return a PNG written by hand: colour type, packed rows, and chunks before the pixels."""

    def chunk(name, content):
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    size = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, header, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [(b"IHDR", size), *more, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*entry) for entry in chunks)


def packed(values, bits):
    """Return rows of values of few bits each, packed into bytes from the left."""
    for row in values:
        text = "".join(f"{value:0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        yield bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


def tiff(values, photometric, bits):
    """Return an uncompressed TIFF written by hand; values: (height, width, channels), little-endian."""
    content = values.astype("<u2" if bits == 16 else np.uint8).tobytes()
    channels = values.shape[2]
    start = 8 + len(content)
    sizes = struct.pack(f"<{channels}H", *[bits] * channels)
    entries = [
        (256, 3, 1, WIDTH),
        (257, 3, 1, HEIGHT),
        (258, 3, channels, start if channels > 2 else bits),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, 8),
        (277, 3, 1, channels),
        (278, 3, 1, HEIGHT),
        (279, 4, 1, len(content)),
    ]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = struct.pack("<2sHI", b"II", 42, start + len(sizes))
    return head + content + sizes + struct.pack("<H", len(entries)) + directory + bytes(4)


FEW = {bits: GREY >> (8 - bits) for bits in (1, 2, 4)}
INDEX = GREY % 5
PALETTE = np.random.default_rng(1).integers(0, 256, (5, 3), dtype=np.uint8)
OPAQUE = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)


def in_colours(grey):
    return np.repeat(grey[..., None], 3, axis=2)


def indexed(**options):
    image = Image.fromarray(INDEX)
    image.putpalette(PALETTE.tobytes())
    return encoded(image, options.pop("kind", "PNG"), **options)


def ppm(magic, largest, values):
    """Return a PPM or PGM with its largest value; values of more than 8 bits take two bytes."""
    kind = ">u2" if largest > 255 else np.uint8
    return f"{magic} {WIDTH} {HEIGHT} {largest}\n".encode() + values.astype(kind).tobytes()


def plain_ppm(magic, largest, values):
    return f"{magic} {WIDTH} {HEIGHT} {largest}\n{' '.join(map(str, values.ravel()))}\n".encode()


FIFTEENTHS = np.array([[round(value / 15 * 255) for value in row] for row in FEW[4]], np.uint8)
# Content, and the values to be read: one channel for grey, three for all that is not plain grey.
READ = {
    "grey png": (encoded(GREY, "PNG"), GREY[..., None]),
    "rgb png": (encoded(COLOUR, "PNG"), COLOUR),
    "grey png of 1 bit": (png(0, packed(FEW[1], 1), depth=1), in_colours(FEW[1] * 255)),
    "grey png of 2 bits": (png(0, packed(FEW[2], 2), depth=2), FEW[2][..., None] * 85),
    "grey png of 4 bits": (png(0, packed(FEW[4], 4), depth=4), FEW[4][..., None] * 17),
    "indexed png": (indexed(), PALETTE[INDEX]),
    "indexed gif": (indexed(kind="GIF"), PALETTE[INDEX]),
    "indexed bmp": (indexed(kind="BMP"), PALETTE[INDEX]),
    "indexed tiff": (indexed(kind="TIFF"), PALETTE[INDEX]),
    "indexed png with an opaque palette": (indexed(transparency=bytes([255] * 5)), PALETTE[INDEX]),
    "indexed png with an unused transparent colour": (
        png(
            3,
            (row.tobytes() for row in INDEX),
            (b"PLTE", bytes(PALETTE) + b"abc"),
            (b"tRNS", bytes([255] * 5 + [0])),
        ),
        PALETTE[INDEX],
    ),
    "rgba png, opaque": (encoded(np.concatenate([COLOUR, OPAQUE], 2), "PNG"), COLOUR),
    "rgba webp, opaque": (lossless(np.concatenate([COLOUR, OPAQUE], 2), "WEBP"), COLOUR),
    "rgba tiff, opaque": (encoded(np.concatenate([COLOUR, OPAQUE], 2), "TIFF"), COLOUR),
    "grey png with alpha, opaque": (
        encoded(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(OPAQUE[..., 0])]), "PNG"),
        in_colours(GREY),
    ),
    "rgb png with an unused transparent colour": (
        png(2, (row.tobytes() for row in COLOUR), (b"tRNS", struct.pack(">3H", 1, 2, 3))),
        COLOUR,
    ),
    "rgb webp": (lossless(COLOUR, "WEBP"), COLOUR),
    "rgb bmp": (encoded(COLOUR, "BMP"), COLOUR),
    "rgb tiff": (encoded(COLOUR, "TIFF"), COLOUR),
    "rgb tiff by hand": (tiff(COLOUR, 2, 8), COLOUR),
    "rgb tiff, compressed": (encoded(COLOUR, "TIFF", compression="tiff_deflate"), COLOUR),
    "grey tiff": (tiff(GREY[..., None], 1, 8), GREY[..., None]),
    "grey tiff in which 0 is white": (tiff(GREY[..., None], 0, 8), 255 - GREY[..., None]),
    "ppm": (ppm("P6", 255, COLOUR), COLOUR),
    "pgm": (ppm("P5", 255, GREY), GREY[..., None]),
    "plain ppm": (plain_ppm("P3", 255, COLOUR), COLOUR),
    "pgm of values up to 15": (ppm("P5", 15, FEW[4]), FIFTEENTHS[..., None]),
    "plain pgm of values up to 15": (plain_ppm("P2", 15, FEW[4]), FIFTEENTHS[..., None]),
    "pbm": (
        f"P4 {WIDTH} {HEIGHT}\n".encode() + b"".join(packed(FEW[1], 1)),
        in_colours(255 - FEW[1] * 255),
    ),
}


@pytest.mark.parametrize("name", READ)
def test_an_image_is_read_as_its_format_defines_it(tmp_path, name):
    content, expected = READ[name]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Palette images with Transparency")
        found = read(tmp_path, content)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


def test_a_grey_jpeg_is_grey_and_one_in_colours_has_three_channels(tmp_path):
    smooth = np.add.outer(np.arange(16), np.arange(24)).astype(np.uint8) * 5
    grey = read(tmp_path, encoded(smooth, "JPEG", quality=95))
    assert grey.shape == (16, 24, 1)
    assert np.abs(grey[..., 0].astype(int) - smooth).max() <= 4
    colour = np.stack([smooth, 255 - smooth, np.full_like(smooth, 90)], axis=2)
    found = read(tmp_path, encoded(colour, "JPEG", quality=100, subsampling=0))
    assert np.abs(found.astype(int) - colour).max() <= 4


@pytest.mark.parametrize("suffix", sorted(image_sources.SUFFIXES))
def test_every_accepted_suffix_is_read_in_any_case(tmp_path, suffix):
    Image.init()
    kind = Image.registered_extensions()[suffix].replace("MPO", "JPEG")
    root = write_tree(tmp_path / "images", encoded(GREY if kind == "PPM" else COLOUR, kind), suffix.upper())
    assert len(data.prepare(images=str(root), cache="not used").train_images) == 2
    assert data.describe_skipped(str(root)) == {}


def test_the_first_picture_of_a_camera_is_read_without_its_preview(tmp_path):
    content = encoded(COLOUR, "MPO", save_all=True, append_images=[Image.fromarray(255 - COLOUR)])
    plain = read(tmp_path, encoded(COLOUR, "JPEG"), "0.jpg")
    np.testing.assert_array_equal(read(tmp_path, content, "0.jpg"), plain)


# -- images that are refused ----------------------------------------------------------------------

DEEP = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 90
HALF = np.full((HEIGHT, WIDTH, 1), 128, np.uint8)
ONE_CLEAR = OPAQUE.copy()
ONE_CLEAR[2, 3] = 254


def deep_png(channels, colour_type):
    deep = np.repeat(DEEP[..., None], channels, axis=2).astype(">u2")
    return png(colour_type, (row.tobytes() for row in deep), depth=16)


def frames(kind, **options):
    more = [Image.fromarray(array) for array in (255 - COLOUR, COLOUR // 2)]
    return encoded(COLOUR, kind, save_all=True, append_images=more, **options)


def transparent(kind, alpha):
    return lossless(np.concatenate([COLOUR, alpha], 2), kind)


DEEPER = "more than 8 bits"
CLEAR = "transparent pixels"
REFUSED = {
    "grey png of 16 bits": (deep_png(1, 0), DEEPER),
    "grey png of 16 bits with alpha": (deep_png(2, 4), DEEPER),
    "rgb png of 16 bits": (deep_png(3, 2), DEEPER),
    "rgba png of 16 bits": (deep_png(4, 6), DEEPER),
    "grey tiff of 16 bits": (tiff(DEEP[..., None], 1, 16), DEEPER),
    "rgb tiff of 16 bits": (tiff(np.repeat(DEEP[..., None], 3, 2), 2, 16), DEEPER),
    "grey tiff of 16 bits, compressed": (encoded(DEEP, "TIFF", compression="tiff_lzw"), DEEPER),
    "tiff of floating point": (encoded(DEEP.astype(np.float32), "TIFF"), DEEPER),
    "tiff of 32 bits": (encoded(DEEP.astype(np.int32), "TIFF"), DEEPER),
    "ppm of 16 bits": (ppm("P6", 65535, np.repeat(DEEP[..., None], 3, 2)), DEEPER),
    "ppm of 12 bits": (ppm("P6", 4095, np.repeat(DEEP[..., None], 3, 2)), DEEPER),
    "pgm of 12 bits": (ppm("P5", 4095, DEEP), DEEPER),
    "plain ppm of 12 bits": (plain_ppm("P3", 4095, np.repeat(DEEP[..., None], 3, 2)), DEEPER),
    "plain pgm of 12 bits": (plain_ppm("P2", 4095, DEEP), DEEPER),
    "cmyk jpeg": (encoded(Image.fromarray(COLOUR).convert("CMYK"), "JPEG"), "colour space CMYK"),
    "cmyk tiff": (encoded(Image.fromarray(COLOUR).convert("CMYK"), "TIFF"), "colour space CMYK"),
    "ycbcr tiff": (encoded(Image.fromarray(COLOUR).convert("YCbCr"), "TIFF"), "colour space YCbCr"),
    "lab tiff": (encoded(Image.new("LAB", (WIDTH, HEIGHT)), "TIFF"), "colour space LAB"),
    "rgba png": (transparent("PNG", HALF), CLEAR),
    "rgba png with one pixel that is hardly transparent": (transparent("PNG", ONE_CLEAR), CLEAR),
    "rgba webp": (transparent("WEBP", HALF), CLEAR),
    "rgba tiff": (transparent("TIFF", HALF), CLEAR),
    "grey png with alpha": (
        encoded(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(HALF[..., 0])]), "PNG"),
        CLEAR,
    ),
    "indexed png with a transparent colour": (indexed(transparency=2), CLEAR),
    "indexed png with alpha": (indexed(transparency=bytes([255, 9, 255, 255, 255])), CLEAR),
    "indexed gif with a transparent colour": (indexed(kind="GIF", transparency=2), CLEAR),
    "rgb png with a transparent colour": (
        png(2, (row.tobytes() for row in COLOUR), (b"tRNS", struct.pack(">3H", *COLOUR[0, 0]))),
        CLEAR,
    ),
    "grey png with a transparent colour": (
        png(0, (row.tobytes() for row in GREY), (b"tRNS", struct.pack(">H", GREY[0, 0]))),
        CLEAR,
    ),
    "animated gif": (frames("GIF"), "3 frames"),
    "animated png": (frames("PNG"), "3 frames"),
    "animated webp": (frames("WEBP"), "3 frames"),
    "tiff of several pages": (frames("TIFF"), "3 frames or pages"),
    "avif named png": (encoded(COLOUR, "AVIF"), "of the kind avif"),
    "heic named png": (struct.pack(">I", 24) + b"ftypheic" + bytes(80), "of the kind heic"),
    "an empty file": (b"", "an empty file"),
    "a page of an error": (b"<!DOCTYPE html>\n<html>not found</html>", "text that begins with '<!DOCTYPE"),
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
    "an icon": (encoded(COLOUR, "ICO"), "no kind of image that is read"),
    "a TGA": (encoded(COLOUR, "TGA"), "no kind of image that is read"),
    "random bytes": (bytes(range(128, 250)), "begins with the bytes 80 81 82"),
    "a truncated png": (encoded(COLOUR, "PNG")[:-40], "damaged or incomplete"),
    "a truncated jpeg": (encoded(COLOUR, "JPEG")[:-10], "damaged or incomplete"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_image_that_cannot_be_read_as_it_looks_is_refused_with_the_reason(tmp_path, name):
    content, reason = REFUSED[name]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Palette images with Transparency")
        message = refused(tmp_path, content)
    assert "expected an image of 8 bits per channel, grey or RGB, found" in message
    assert reason in message
    assert re.search("convert it|save|put it on|repair or remove", message)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_a_damaged_image_is_read_or_refused_in_a_sentence(tmp_path, kind):
    """Pillow raises errors of many kinds. Here every byte of a small image is changed, or it ends early."""
    exif = {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"}
    whole = lossless(COLOUR[:2, :2], kind, **exif if kind in ("PNG", "JPEG", "WEBP") else {})
    step = max(1, len(whole) // 300)
    damaged = [whole[:length] for length in range(0, len(whole), step)]
    for position, mask in itertools.product(range(0, len(whole), step), (0xFF, 0x01)):
        damaged.append(whole[:position] + bytes([whole[position] ^ mask]) + whole[position + 1 :])
    count = 0
    for content in damaged:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            try:
                read(tmp_path, content)
            except StudyError as error:
                checked(str(error), tmp_path / "0.png")
                count += 1
    assert count > 10


# -- what else lies in folders of images ----------------------------------------------------------


def test_hidden_entries_and_those_of_the_system_are_skipped_with_a_word(tmp_path):
    root = write_tree(tmp_path / "images")
    expected = data.prepare(images=str(root), cache="not used").checksum()
    image = encoded(COLOUR, "PNG")
    for name in [
        *("train/.ipynb_checkpoints/0-checkpoint.png", "train/cat/.ipynb_checkpoints/0.png"),
        *("train/@eaDir/0.png", "test/dog/@eaDir/SYNO_THUMB.jpg", "train/cat/._0.png", "test/._cat"),
        *("__MACOSX/train/cat/._0.png", "test/.DS_Store", "test/cat/Thumbs.db", "train/cat/.hidden.png"),
        *(".git/HEAD", "train/cat/desktop.ini", "train/#recycle/0.png", "train/lost+found/0.png"),
    ]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(image)
    assert data.prepare(images=str(root), cache="not used").checksum() == expected
    skipped = data.describe_skipped(str(root))
    assert list(skipped) == ["hidden or of the system"]
    assert skipped["hidden or of the system"]["number"] == 14
    assert "test/.DS_Store" in skipped["hidden or of the system"]["first"]


def test_what_is_no_image_is_skipped_with_a_word(tmp_path):
    root = write_tree(tmp_path / "images")
    expected = data.prepare(images=str(root), cache="not used").checksum()
    for name in ("train/labels.csv", "README.md", "train/cat/notes.txt", "train/cat/P1 10 10.txt"):
        (root / name).write_text("P1 10 10 0 1 about")
    (root / "val" / "cat").mkdir(parents=True)
    (root / "val" / "cat" / "0.png").write_bytes(encoded(COLOUR, "PNG"))
    (root / "test" / "dog" / "masks").mkdir()
    (root / "test" / "dog" / "masks" / "about.txt").write_text("about")
    (root / "test" / "dog" / "about").symlink_to("nowhere")
    os.mkfifo(root / "test" / "dog" / "pipe")
    (root / Path(os.fsdecode(b"test/dog/\xff\n.txt"))).write_text("about")
    assert data.prepare(images=str(root), cache="not used").checksum() == expected
    skipped = data.describe_skipped(str(root))
    json.dumps(skipped, ensure_ascii=False).encode("utf-8")
    assert skipped == {
        "a folder without images": {"number": 1, "first": ["test/dog/masks"]},
        "not an image": {
            "number": 5,
            "first": [
                *("test/dog/\\xff\\n.txt", "test/dog/about", "test/dog/pipe", "train/cat/P1 10 10.txt"),
                "train/cat/notes.txt",
            ],
        },
        "not in train/ or test/": {
            "number": 2,
            "first": ["README.md", "val"],
        },
        "not in the folder of a class": {"number": 1, "first": ["train/labels.csv"]},
    }


def test_the_log_and_the_description_say_what_was_skipped(tmp_path, capsys):
    root = write_tree(tmp_path / "images")
    (root / "train" / "cat" / "0.png").write_bytes(encoded(255 - COLOUR, "PNG"))
    for number in range(8):
        (root / "train" / "cat" / f".{number}.png").write_bytes(b"")
    told = {"images": tmp_path / "images.npz", "summary": tmp_path / "images.json"}
    options = [word for name, file in told.items() for word in (f"--{name}", str(file))]
    settings = json.dumps({"images": image_sources.name(str(root))})
    data.main(["--settings", settings, "--cache", "not used", "--folder", str(root), *options])
    assert "skipped, hidden or of the system: 8, such as train/cat/.0.png, " in capsys.readouterr().out
    described = json.loads(told["summary"].read_text(encoding="utf-8"))
    assert described["skipped"]["hidden or of the system"]["number"] == 8
    record = (tmp_path / "images.json.provenance.json").read_text(encoding="utf-8")
    assert "the folder images" in record
    assert str(root) not in record


def broken_link(root):
    (root / "train" / "cat" / "1.png").symlink_to(root / "nowhere" / "1.png")
    return "train/cat/1.png", "a broken link to"


def broken_link_to_a_class(root):
    for part in ("train", "test"):
        (root / part / "mouse").symlink_to(root / "nowhere")
    return "train/mouse", "expected the folder of a class, found a broken link to"


def link_to_itself(root):
    (root / "train" / "cat" / "1.png").symlink_to("1.png")
    return "train/cat/1.png", "a broken link to 1.png"


def pipe(root):
    os.mkfifo(root / "train" / "cat" / "1.png")
    return "train/cat/1.png", "something that is no file"


def one_folder_deeper(root):
    (root / "train" / "dog" / "more" / "still more").mkdir(parents=True)
    (root / "train" / "dog" / "more" / "still more" / "1.jpeg").write_bytes(b"")
    return "train/dog/more", "a folder with images in it, such as 1.jpeg; move them"


def linked_folder_deeper(root):
    (root / "train" / "dog" / "more").symlink_to(root / "train" / "cat")
    return "train/dog/more", "a folder with images in it"


def folder_named_as_an_image(root):
    (root / "train" / "dog" / "1.png").mkdir()
    (root / "train" / "dog" / "1.png" / "1.png").write_bytes(b"")
    return "train/dog/1.png", "a folder with images in it"


def not_in_a_class(root):
    (root / "train" / "1.png").write_bytes(b"")
    return "train/1.png", "found an image; move it"


def of_an_unread_kind(root):
    (root / "test" / "cat" / "IMG_1.HEIC").write_bytes(b"")
    return "test/cat/IMG_1.HEIC", "found .heic; convert or remove it"


def without_a_suffix(root):
    (root / "test" / "cat" / "0001").write_bytes(encoded(COLOUR, "JPEG"))
    return "test/cat/0001", "a JPEG image named without a suffix; rename"


def with_another_suffix(root):
    (root / "test" / "cat" / "1.png.bak").write_bytes(encoded(COLOUR, "PNG"))
    return "test/cat/1.png.bak", "a PNG image named .bak; rename"


def not_downloaded(root):
    (root / "test" / "cat" / ".1.png.icloud").write_bytes(b"bplist00")
    return "test/cat/.1.png.icloud", "has not downloaded"


def class_in_other_bytes(root):
    for part in ("train", "test"):
        os.rename(root / part / "cat", os.fsencode(root / part) + b"/caf\xe9")
    return os.fsdecode(b"train/caf\xe9"), "found other bytes; rename"


def class_in_one_part(root):
    (root / "train" / "new\nclass").mkdir()
    return "", "found new\\nclass in only one"


def one_class_in_two_forms(root):
    for form in ("NFC", "NFD"):
        (root / "train" / unicodedata.normalize(form, "é")).mkdir()
    return "train", "found é twice"


def source_that_is_no_file(root):
    (root / "SOURCE.txt").symlink_to("nowhere")
    return "SOURCE.txt", "expected text in UTF-8"


LOST = [
    *(
        broken_link,
        broken_link_to_a_class,
        link_to_itself,
        pipe,
        one_folder_deeper,
        linked_folder_deeper,
        folder_named_as_an_image,
    ),
    *(not_in_a_class, of_an_unread_kind, without_a_suffix, with_another_suffix, not_downloaded),
    *(class_in_other_bytes, class_in_one_part, one_class_in_two_forms, source_that_is_no_file),
]


@pytest.mark.parametrize("damage", LOST)
def test_no_image_is_lost_without_a_word(tmp_path, damage):
    root = write_tree(tmp_path / "images")
    path, words = damage(root)
    assert words in refusal(root, root / path if path else root)


def test_names_of_files_may_be_in_any_encoding(tmp_path):
    root = write_tree(tmp_path / "images")
    for number, name in enumerate((b"caf\xe9.png", b"a\nb.png", "日本.png".encode(), b" .png", b"-x.png")):
        array = np.full_like(COLOUR, number)
        with open(os.fsencode(root / "train" / "cat") + b"/" + name, "wb") as file:
            file.write(encoded(array, "PNG"))
    assert len(data.prepare(images=str(root), cache="not used").train_images) == 7


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"two\nlines.png"])
def test_a_damaged_image_with_a_name_in_any_encoding_is_refused_in_a_sentence(tmp_path, name):
    root = write_tree(tmp_path / "images")
    with open(os.fsencode(root / "train" / "cat") + b"/" + name, "wb") as file:
        file.write(b"no image")
    refusal(root, root / "train" / "cat" / os.fsdecode(name))


def test_one_name_in_two_forms_of_unicode_is_one_class(tmp_path):
    """MacOS stores é decomposed, other systems as they get it; both look the same."""
    root = write_tree(tmp_path / "images")
    for part, form in (("train", "NFD"), ("test", "NFC")):
        (root / part / "cat").rename(root / part / unicodedata.normalize(form, "éclair"))
    prepared = data.prepare(images=str(root), cache="not used")
    assert prepared.classes.tolist() == ["dog", unicodedata.normalize("NFD", "éclair")]
    assert prepared.train_labels.tolist() == prepared.test_labels.tolist() == [0, 1]


def test_a_source_saved_by_an_editor_of_windows_has_no_mark_at_its_beginning(tmp_path):
    root = write_tree(tmp_path / "images")
    (root / "SOURCE.txt").write_text("Drawn by hand.\r\n", encoding="utf-8-sig")
    assert str(data.prepare(images=str(root), cache="not used").source).endswith("images: Drawn by hand.")


def test_a_loop_of_links_ends(tmp_path):
    root = write_tree(tmp_path / "images")
    (root / "train" / "cat" / "loop").symlink_to(root)
    assert "a folder with images in it" in refusal(root, root / "train" / "cat" / "loop")


UNREADABLE = """
import os, sys
from PIL import Image
from bnopt import data, plugins, runtime
from bnopt.study import image_sources
os.geteuid() or os.setuid(65534)  # root may read anything
plugins.names = lambda kind: []  # who runs this may not read the code either
image_sources.content(sys.argv[1])
runtime.run(lambda: data.prepare(images=sys.argv[1], cache="not used"))
"""


@pytest.mark.parametrize("name", ["train/cat/0.png", "train/cat", "train"])
def test_what_may_not_be_read_is_refused_in_a_sentence(name):
    with tempfile.TemporaryDirectory() as folder:
        root = write_tree(Path(folder) / "images")
        Path(folder).chmod(0o755)
        (root / name).chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", UNREADABLE, str(root)],
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        (root / name).chmod(0o755)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith(f"error: {root / name}: ")
    assert "ermission denied" in done.stderr
    assert done.stderr.count("\n") == 1
