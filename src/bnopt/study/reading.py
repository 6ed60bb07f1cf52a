"""Reads the study: checked, and written out in full."""

from pathlib import Path

import yaml

from bnopt.runtime import StudyError
from bnopt.study import checks, schema, study


def read(*files):
    """Return the study of YAML files, such as config.yaml and claims.yaml, written out.

    Raises StudyError if a file cannot be read, or if the configuration is wrong.
    """
    config = {}
    for file in files:
        try:
            config |= yaml.safe_load(Path(file).read_text(encoding="utf-8"))
        except (OSError, TypeError, UnicodeDecodeError, yaml.YAMLError) as error:
            found = " ".join(str(error).split())
            expected = "part of the configuration of a study"
            raise StudyError(f"{file}: expected {expected}, found {found}") from error
    return study_of(config, files)


def study_of(config, files):
    """Return the study of a configuration that was read from `files`, written out.

    Raises StudyError for the first mistake, with its file and key.
    """
    for file in files:
        schema.check_keys(file)
    # On the command line (--config seeds=[0,1]) numbers in a list arrive as texts.
    if isinstance(config.get("seeds"), list):
        numbers = [int(seed) if str(seed).isdecimal() else seed for seed in config["seeds"]]
        config = config | {"seeds": numbers}
    checks.check(config)
    return study.written_out(config)
