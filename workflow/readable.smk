"""Files of the configuration that cannot be read as text are refused before Snakemake reads them."""

import sys
from pathlib import Path

SOURCE = str(Path(workflow.basedir, "src"))
sys.path.insert(0, SOURCE)

from bnopt.runtime import StudyError
from bnopt.study import schema

try:
    for file in ("config.yaml", "claims.yaml"):
        schema.check_text(file)
except StudyError as error:
    sys.exit(f"error: {error}")
