"""Generated blocks of a page of docs/: text between two comments that name the block."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "calibration.md"


def block(text, name):
    """Return the generated block of a page, or raise ValueError if the page does not have it once."""
    found = re.findall(_pattern(name), text, re.DOTALL)
    if len(found) != 1:
        raise ValueError(f"{PAGE.name}: expected one block <!-- {name} -->, found {len(found)}")
    return found[0]


def replace(name, content):
    """Replace a generated block of the page."""
    text = PAGE.read_text(encoding="utf-8")
    old = f"<!-- {name} -->\n{block(text, name)}\n<!-- end of {name} -->"
    new = f"<!-- {name} -->\n{content}\n<!-- end of {name} -->"
    PAGE.write_text(text.replace(old, new), encoding="utf-8")


def _pattern(name):
    return f"<!-- {name} -->\n(.*?)\n<!-- end of {name} -->"


def table(header, rows):
    """Return a Markdown table of texts."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
