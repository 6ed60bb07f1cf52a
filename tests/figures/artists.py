"""Reads figures back: their panels by place, and the lines, bands and legend entries in them."""

import matplotlib.colors
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle


def panels(figure):
    """Return (row, column) -> axes of every panel of a figure; colour bars are no panels."""
    found = {}
    for ax in figure.axes:
        if ax.get_label() != "<colorbar>":
            spec = ax.get_subplotspec()
            assert (spec.rowspan.start, spec.colspan.start) not in found
            found[spec.rowspan.start, spec.colspan.start] = ax
    return found


def colour(artist_colour):
    """Return a colour as text, without its transparency."""
    return matplotlib.colors.to_hex(artist_colour)


def look(line):
    """Return colour and dashes of a line: the dashes None for a solid one, "" for none at all."""
    dashes = line._unscaled_dash_pattern[1]  # matplotlib has no public way to read a pattern of its own
    if line.get_linestyle() in ("None", "none", "", " "):
        return colour(line.get_color()), ""
    return colour(line.get_color()), None if dashes is None else tuple(dashes)


def style_look(style):
    """Return colour and dashes of a style of lines, {"color": ..., "linestyle": ...}."""
    return look(Line2D([], [], **{key: style[key] for key in ("color", "linestyle")}))


def points(line):
    """Return x -> y of a line."""
    x, y = (np.atleast_1d(np.asarray(data, dtype=float)).tolist() for data in line.get_data())
    assert len(set(x)) == len(x)
    return dict(zip(x, y, strict=True))


def edges(collection):
    """Return x -> (lowest, highest) value of a filled band."""
    found = {}
    for path in collection.get_paths():
        for x, y in path.vertices.tolist():
            low, high = found.get(x, (np.inf, -np.inf))
            found[x] = (min(low, y), max(high, y))
    return found


def fill(collection):
    """Return colour and transparency of a filled band."""
    (rgba,) = collection.get_facecolor().tolist()
    return colour(rgba), round(rgba[3], 3)


def legend(found):
    """Return [(text, look)] of a legend: of a line its colour and dashes, of a band its colour and alpha."""
    entries = []
    for text, handle in zip(found.get_texts(), found.legend_handles, strict=True):
        if isinstance(handle, Rectangle):
            rgba = handle.get_facecolor()
            entries.append((text.get_text(), (colour(rgba), round(rgba[3], 3))))
        else:
            entries.append((text.get_text(), look(handle)))
    return entries


def legends(figure):
    """Return all legends of a figure: its own, of its subfigures, and of its panels."""
    own = [*figure.legends, *(legend for part in figure.subfigs for legend in part.legends)]
    return own + [ax.get_legend() for ax in figure.axes if ax.get_legend()]


# How an eye without green receptors (deuteranopia) or red ones (protanopia) sees linear red, green and blue:
# Machado, Oliveira and Fernandes (2009), severity 1.
EYES = {
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "all receptors": np.eye(3),
}


def lab(colour, eye):
    """Return lightness and the two colour coordinates of CIE L*a*b* as an eye sees a colour."""
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(EYES[eye]) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.array(to_xyz) @ seen / [0.9505, 1, 1.089]
    x, y, z = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])
