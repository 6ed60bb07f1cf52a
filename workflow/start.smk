"""What comes before the configuration: the package, variables, and files that are not text.

A file of the configuration that is not UTF-8 is refused before Snakemake reads it. So is a checkout whose
path cannot be used, before anything fails for it.
"""

import os
import sys
from pathlib import Path

# PYTHONPATH separates folders by colons, and Snakemake takes braces in the path of a file for wildcards.
if found := [letter for letter in ":{}" if letter in str(workflow.basedir)]:
    sys.exit(
        f"error: {workflow.basedir}: expected a path of the checkout without colons and braces, found "
        f"{' '.join(found)}; move the checkout or rename its folder"
    )

SOURCE = str(Path(workflow.basedir, "src"))
sys.path.insert(0, SOURCE)

from bnopt.runtime import StudyError
from bnopt.study import schema

# For the programs that Snakemake itself starts; `jobs.shell_prefix` is for jobs. The Snakemake of a job on
# SLURM imports no file of the current folder, and the pip of conda (`--sdm conda`) installs into the
# environment that conda makes.
os.environ |= {"PYTHONSAFEPATH": "1"}
for name in ("TARGET", "PREFIX", "ROOT", "USER", "REQUIRE_VIRTUALENV", "PYTHON", "CONSTRAINT", "DRY_RUN"):
    os.environ.pop(f"PIP_{name}", None)

try:
    for file in ("config.yaml", "claims.yaml"):
        schema.check_text(file)
except StudyError as error:
    sys.exit(f"error: {error}")
