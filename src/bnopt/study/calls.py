"""The present call of Snakemake: what another call needs to be about the same study."""

import json
from pathlib import Path

import yaml


def options(settings, config):
    """Return the words that another call of Snakemake in this folder needs: --configfile and --config.

    settings: Snakemake's own about the configuration; config: the configuration of this call.
    """
    files = [_shown(file) for file in settings.configfiles]
    pairs = [f"{key}={_as_word(config.get(key, value))}" for key, value in settings.config.items()]
    return [
        *(["--configfile", *files] if files else []),
        *(["--replace-workflow-config"] if settings.replace_workflow_config else []),
        *(["--config", *pairs] if pairs else []),
    ]


def _shown(file):
    """Return a path relative to this folder, if the file lies in it."""
    file = Path(file).resolve()
    return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


def _as_word(value):
    """Return a value as `--config` reads it; a text that YAML takes for a number needs quotes."""
    return (
        value if isinstance(value, str) and _reads_as_text(value) else json.dumps(value, ensure_ascii=False)
    )


def _reads_as_text(value):
    try:
        return yaml.safe_load(value) == value
    except yaml.YAMLError:
        return True
