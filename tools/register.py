"""Write docs/registration.md, the hash of what decides the verdicts at the scale `paper`.

python tools/register.py            write the page
python tools/register.py SCALE      print the hashes of a scale, and the parts that differ from the page
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main():
    """Write the page, or print the hashes of a scale."""
    sys.path.insert(0, str(ROOT / "src"))
    from bnopt.files import artefacts
    from bnopt.study import registration, schema, study

    config = schema.read(ROOT / "config.yaml", ROOT / "claims.yaml")
    scale = sys.argv[1] if len(sys.argv) > 1 else registration.SCALE
    if len(sys.argv) > 2 or scale not in config["scales"]:
        expected = f"nothing or a scale ({', '.join(config['scales'])})"
        sys.exit(f"error: expected {expected}, found {' '.join(sys.argv[1:])}\n\n{__doc__}")
    of_scale = study.written_out(config | {"scale": scale})
    if len(sys.argv) == 1:
        artefacts.write_text(registration.page_of(of_scale), registration.PAGE)
    found = registration.compared(of_scale)
    for part, of_part in registration.parts(of_scale).items():
        print(f"{of_part}  {part}{' (differs)' if part in found['differs'] else ''}")
    print(f"{found['hash']}  all of the scale {scale}; registered: {found['registered']}")


if __name__ == "__main__":
    main()
