"""Write docs/registration.md, the hashes of what decides the verdicts at the scale `paper`.

python tools/register.py            write the page
python tools/register.py SCALE      print the hashes of a scale, and the items that differ from the page
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from bnopt import runtime  # noqa: E402
from bnopt.files import artefacts  # noqa: E402
from bnopt.runtime import StudyError  # noqa: E402
from bnopt.study import checks, registration, schema, study  # noqa: E402


def main():
    """Write the page, or print the hashes of a scale."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scale", nargs="?", help="print its hashes; without it, write the page")
    chosen = parser.parse_args().scale
    config = schema.read(ROOT / "config.yaml", ROOT / "claims.yaml")
    checks.check(config)
    scale = chosen or registration.SCALE
    if scale not in config["scales"]:
        raise StudyError(f"expected a scale, one of {', '.join(config['scales'])}; found {scale}")
    of_scale = study.written_out(config | {"scale": scale, "parts": "all"})
    if not chosen:
        artefacts.write_text(registration.page_of(of_scale), registration.PAGE)
    found = registration.compared(of_scale)
    for part, items in registration.hashes(of_scale).items():
        print(f"part {part} of the scale {scale}; registered: {found[part]['registered'] or 'nothing'}")
        for item, of_item in items.items():
            print(f"  {of_item}  {item}{' (differs)' if item in found[part]['differs'] else ''}")


if __name__ == "__main__":
    runtime.run(main)
