"""Write environment.yml, the conda environment, from requirements.txt: python tools/environment.py

Snakemake (`--sdm conda`, `--containerize`) copies environment.yml to another folder before conda reads
it, so it cannot refer to requirements.txt. A test compares the two.
"""

import argparse
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = """\
# Written by tools/environment.py; do not edit. Python and pip come from conda, everything else in the exact
# versions of requirements.txt from pip.
name: bnopt
channels:
  - conda-forge
dependencies:
  - python=3.12
  - pip
  - pip:
"""


def environment(requirements):
    """Return the text of environment.yml for the text of requirements.txt."""
    lines = [line for line in requirements.splitlines() if line and not line.startswith("#")]
    return HEAD + "".join(f'    - "{line}"\n' for line in lines)


def main():
    """Write the file."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    (ROOT / "environment.yml").write_text(environment(text), encoding="utf-8")


if __name__ == "__main__":
    main()
